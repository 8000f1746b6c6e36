/* SPDX-License-Identifier: GPL-2.0 */
/* A growing byte buffer with a bound. */
#include "user/buf.h"

#include <stdint.h>
#include <string.h>

#include "user/escape.h"
#include "user/mem.h"

#define FIRST_SIZE 256

static size_t grown(const struct buf *b, size_t need)
{
	size_t size = b->size ? b->size : FIRST_SIZE;

	while (size < need)
		size *= 2;
	/* The last step goes to the bound and not past it. */
	return size > b->max + 1 ? b->max + 1 : size;
}

/* Room for more bytes and the NUL. */
static int reserve(struct buf *b, size_t more)
{
	size_t size;
	char *data;

	if (b->error)
		return b->error;
	if (more > b->max - b->len)
		return b->error = -ENOBUFS;
	if (b->len + more < b->size)
		return 0;
	size = grown(b, b->len + more + 1);
	data = pw_reallocarray(b->data, size, 1);
	if (!data)
		return b->error = -ENOMEM;
	b->data = data;
	b->size = size;
	return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	int r = reserve(b, len);

	if (r < 0)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_adds(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

int buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list args)
{
	size_t room = b->size - b->len;
	va_list again;
	int n, r;

	if (b->error)
		return b->error;
	va_copy(again, args);
	n = vsnprintf(b->data ? b->data + b->len : NULL, room, fmt, args);
	r = n < 0 ? (b->error = -EINVAL) : reserve(b, (size_t)n);
	if (r == 0 && (size_t)n >= room)
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
	va_end(again);
	if (r == 0)
		b->len += (size_t)n;
	else if (b->data)
		b->data[b->len] = '\0';
	return r;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	int r;

	va_start(args, fmt);
	r = buf_vprintf(b, fmt, args);
	va_end(args);
	return r;
}

int buf_add_escaped(struct buf *b, const char *text, size_t len)
{
	char piece[ESCAPE_PIECE];
	size_t before = b->len, used;
	int r = b->error;

	for (size_t at = 0; r == 0 && at < len; at += used) {
		size_t n = escape_next(piece, text + at, len - at, &used);

		r = buf_add(b, piece, n);
	}
	if (r < 0 && b->len != before) {
		b->len = before;
		b->data[before] = '\0';
	}
	return r;
}

int buf_pad(struct buf *b, size_t start, size_t column)
{
	int r = b->error;

	while (r == 0 && b->len < start + column)
		r = buf_addc(b, ' ');
	return r;
}

void buf_truncate(struct buf *b, size_t len)
{
	if (len < b->len) {
		b->len = len;
		b->data[len] = '\0';
	}
	b->error = 0;
}

void buf_consume(struct buf *b, size_t len)
{
	if (len > b->len)
		len = b->len;
	if (!len)
		return;
	b->len -= len;
	memmove(b->data, b->data + len, b->len + 1);
}

void buf_reset(struct buf *b)
{
	buf_truncate(b, 0);
}

void buf_done(struct buf *b)
{
	size_t max = b->max;

	pw_free(b->data);
	*b = BUF_INIT(max);
}
