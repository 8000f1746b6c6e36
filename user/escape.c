/* SPDX-License-Identifier: GPL-2.0 */
/* Escaping of foreign text for terminals. */
#include "user/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct utf8_form {
	uint8_t mask, lead, len;
	uint32_t least;
};

static const struct utf8_form utf8_forms[] = {
	{ 0x80, 0x00, 1, 0x0 },
	{ 0xe0, 0xc0, 2, 0x80 },
	{ 0xf0, 0xe0, 3, 0x800 },
	{ 0xf8, 0xf0, 4, 0x10000 },
};

static const struct utf8_form *form_of(uint8_t lead)
{
	for (size_t i = 0; i < sizeof(utf8_forms) / sizeof(utf8_forms[0]); i++) {
		if ((lead & utf8_forms[i].mask) == utf8_forms[i].lead)
			return &utf8_forms[i];
	}
	return NULL;
}

/* Returns the length of the sequence and its code point, or 0. */
static size_t decode(const char *text, size_t len, uint32_t *point)
{
	const uint8_t *byte = (const uint8_t *)text;
	const struct utf8_form *form = len ? form_of(byte[0]) : NULL;
	uint32_t p;

	if (!form || form->len > len)
		return 0;
	p = byte[0] & (uint8_t)~form->mask;
	for (size_t i = 1; i < form->len; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		p = p << 6 | (byte[i] & 0x3f);
	}
	if (p < form->least || p > 0x10ffff || (p >= 0xd800 && p <= 0xdfff))
		return 0;
	*point = p;
	return form->len;
}

size_t escape_utf8_len(const char *text, size_t len)
{
	uint32_t point;

	return decode(text, len, &point);
}

static bool harmless(uint32_t point)
{
	if (point < 0x20 || (point >= 0x7f && point < 0xa0))
		return false;
	if (point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e))
		return false;
	return !(point >= 0x2066 && point <= 0x2069) && point != 0xfeff;
}

size_t escape_next(char piece[ESCAPE_PIECE], const char *text, size_t len, size_t *used)
{
	static const char hex[] = "0123456789abcdef";
	uint32_t point = 0;
	size_t size = 0;

	*used = decode(text, len, &point);
	if (*used && point == '\\')
		return (size_t)(stpcpy(piece, "\\\\") - piece);
	if (*used && harmless(point)) {
		memcpy(piece, text, *used);
		return *used;
	}
	if (!*used)
		*used = 1;
	for (size_t i = 0; i < *used; i++) {
		piece[size++] = '\\';
		piece[size++] = 'x';
		piece[size++] = hex[(uint8_t)text[i] >> 4];
		piece[size++] = hex[(uint8_t)text[i] & 15];
	}
	return size;
}

size_t escape_text(char *out, size_t size, const char *text, size_t len)
{
	char piece[ESCAPE_PIECE];
	size_t written = 0, used;

	for (size_t at = 0; at < len; at += used) {
		size_t n = escape_next(piece, text + at, len - at, &used);

		if (written + n >= size)
			break;
		memcpy(out + written, piece, n);
		written += n;
	}
	out[written] = '\0';
	return written;
}
