/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON lines, written as text at once: a tree of values, made to be dumped and freed, is most of the cost of a line.
 * For CSV, where cells go by name, jansson reads the text back.
 */
#include "user/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "user/clock.h"
#include "user/escape.h"

static struct js built(char bracket)
{
	struct js js = { .text = BUF_INIT(JS_MAX) };

	buf_addc(&js.text, bracket);
	return js;
}

struct js js_object(void)
{
	return built('{');
}

struct js js_array(void)
{
	return built('[');
}

static void fail(struct js *js, int error)
{
	if (!js->text.error)
		js->text.error = error;
}

/* ---- strings ---- */

static bool is_plain(char c)
{
	return (unsigned char)c >= ' ' && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

static uint32_t code_point(const char *text, size_t len)
{
	static const uint8_t lead[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t code = (uint8_t)text[0] & lead[len];

	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((uint8_t)text[i] & 0x3f);
	return code;
}

static void put_code(struct buf *out, uint32_t code)
{
	static const char letters[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
	const char *letter = code && code < 0x80 ? strchr(letters, (int)code) : NULL;

	if (letter)
		buf_printf(out, "\\%c", names[letter - letters]);
	else if (code > 0xffff)
		buf_printf(out, "\\u%04X\\u%04X", 0xd800 | (code - 0x10000) >> 10, 0xdc00 | (code & 0x3ff));
	else
		buf_printf(out, "\\u%04X", code);
}

static void put_text(struct buf *out, const char *text, size_t len)
{
	buf_addc(out, '"');
	while (len > 0) {
		size_t used = 0;

		while (used < len && is_plain(text[used]))
			used++;
		buf_add(out, text, used);
		if (!used) {
			used = escape_utf8_len(text, len);
			put_code(out, used ? code_point(text, used) : 0xfffd);
			used += !used;
		}
		text += used;
		len -= used;
	}
	buf_addc(out, '"');
}

/* ---- members ---- */

static void put_key(struct js *to, const char *key)
{
	if (to->text.len > 1)
		buf_addc(&to->text, ',');
	if (!key)
		return;
	put_text(&to->text, key, strlen(key));
	buf_addc(&to->text, ':');
}

static void put(struct js *to, const char *key, const char *value)
{
	put_key(to, key);
	buf_adds(&to->text, value);
}

void js_strn(struct js *to, const char *key, const char *text, size_t len)
{
	if (!text) {
		js_null(to, key);
		return;
	}
	put_key(to, key);
	put_text(&to->text, text, len);
}

void js_str(struct js *to, const char *key, const char *text)
{
	js_strn(to, key, text, text ? strlen(text) : 0);
}

void js_uint(struct js *to, const char *key, uint64_t value)
{
	if (value <= INT64_MAX)
		js_int(to, key, (int64_t)value);
	else
		fail(to, -ERANGE);
}

void js_int(struct js *to, const char *key, int64_t value)
{
	put_key(to, key);
	buf_printf(&to->text, "%" PRId64, value);
}

void js_id(struct js *to, const char *key, uint64_t value)
{
	put_key(to, key);
	buf_printf(&to->text, "\"%" PRIu64 "\"", value);
}

void js_real(struct js *to, const char *key, double value)
{
	char text[32];

	if (!isfinite(value)) {
		js_null(to, key);
		return;
	}
	/* Every digit; and a number that was real is one for the reader too. */
	snprintf(text, sizeof(text), "%.17g", value);
	if (!text[strcspn(text, ".e")])
		strcat(text, ".0");
	put(to, key, text);
}

void js_time(struct js *to, const char *key, uint64_t realtime_ns)
{
	char text[CLOCK_TEXT_SIZE];

	js_str(to, key, clock_format(realtime_ns, text));
}

void js_span(struct js *to, const char *key, uint64_t ns)
{
	if (ns == UINT64_MAX)
		js_null(to, key);
	else
		js_uint(to, key, ns);
}

void js_bool(struct js *to, const char *key, bool value)
{
	put(to, key, value ? "true" : "false");
}

void js_null(struct js *to, const char *key)
{
	put(to, key, "null");
}

static bool is_object(const char *text)
{
	size_t length = strlen(text);
	json_t *value;
	bool is;

	/* As it is written here: one line, with nothing around. */
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 0x7f)
			return false;
	if (length < 3 || text[0] != '{' || text[length - 1] != '}')
		return false;
	value = json_loadb(text, length, JSON_ALLOW_NUL, NULL);
	is = json_is_object(value);
	json_decref(value);
	return is;
}

int js_members(struct js *to, const char *object)
{
	if (!is_object(object))
		return -EINVAL;
	put_key(to, NULL);
	buf_add(&to->text, object + 1, strlen(object) - 2);
	return 0;
}

static int close_value(struct buf *out, const struct js *js)
{
	if (js->text.error)
		return js->text.error;
	buf_add(out, js->text.data, js->text.len);
	return buf_addc(out, js->text.data[0] == '{' ? '}' : ']');
}

void js_add(struct js *to, const char *key, struct js *child)
{
	int r;

	put_key(to, key);
	r = close_value(&to->text, child);
	if (r)
		fail(to, r);
	js_done(child);
}

int js_line(const struct js *value, struct buf *out)
{
	size_t mark = out->len;
	int r = buf_error(out);

	if (r < 0)
		return r;
	r = close_value(out, value);
	if (r == 0)
		r = buf_addc(out, '\n');
	if (r < 0)
		buf_truncate(out, mark);
	return r;
}

static void add_quoted(struct buf *out, const char *text, size_t len)
{
	_cleanup_buf_ struct buf plain = BUF_INIT(len * ESCAPE_MAX);

	if (buf_add_escaped(&plain, text, len)) {
		out->error = buf_error(&plain);
		return;
	}
	if (!strpbrk(buf_text(&plain), ",\"")) {
		buf_add(out, buf_text(&plain), plain.len);
		return;
	}
	buf_addc(out, '"');
	for (const char *at = buf_text(&plain); *at; at++)
		buf_adds(out, *at == '"' ? "\"\"" : (char[]){ *at, '\0' });
	buf_addc(out, '"');
}

static void add_cell(struct buf *out, const json_t *cell)
{
	if (json_is_string(cell))
		add_quoted(out, json_string_value(cell), json_string_length(cell));
	else if (json_is_integer(cell))
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(cell));
	else if (json_is_real(cell))
		buf_printf(out, "%.17g", json_real_value(cell));
	else if (json_is_boolean(cell))
		buf_adds(out, json_is_true(cell) ? "true" : "false");
}

static void add_row(struct buf *out, const json_t *row, const char *const *columns, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_addc(out, ',');
		add_cell(out, json_object_get(row, columns[i]));
	}
	buf_addc(out, '\n');
}

int js_csv(const struct js *value, const char *const *columns, size_t count, struct buf *out)
{
	_cleanup_buf_ struct buf text = BUF_INIT(JS_MAX);
	size_t mark = out->len;
	json_t *row;
	int r = buf_error(out);

	if (!r)
		r = close_value(&text, value);
	if (r < 0)
		return r;
	row = json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL);
	if (!row)
		return -ENOMEM;
	add_row(out, row, columns, count);
	json_decref(row);
	r = buf_error(out);
	if (r < 0)
		buf_truncate(out, mark);
	return r;
}

int js_csv_head(const char *const *columns, size_t count, struct buf *out)
{
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s%s", i ? "," : "", columns[i]);
	return buf_addc(out, '\n');
}

void js_done(struct js *value)
{
	buf_done(&value->text);
}
