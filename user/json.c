/* SPDX-License-Identifier: GPL-2.0 */
/* JSON lines, by jansson. */
#include "user/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "user/escape.h"

#define REPLACEMENT "\xef\xbf\xbd"

static struct js built(json_t *value)
{
	return (struct js){ .value = value, .error = value ? 0 : -ENOMEM };
}

struct js js_object(void)
{
	return built(json_object());
}

struct js js_array(void)
{
	return built(json_array());
}

/* Takes value, which is NULL when there was no memory for it. */
static void put(struct js *to, const char *key, json_t *value)
{
	int r = -1;

	if (value && !to->error)
		r = key ? json_object_set_new_nocheck(to->value, key, value) : json_array_append_new(to->value, value);
	else
		json_decref(value);
	if (r < 0 && !to->error)
		to->error = -ENOMEM;
}

static size_t valid_length(const char *text, size_t len)
{
	size_t at = 0, n = 1;

	while (at < len && n > 0) {
		n = escape_utf8_len(text + at, len - at);
		at += n;
	}
	return at;
}

static json_t *repaired(const char *text, size_t len)
{
	_cleanup_buf_ struct buf clean = BUF_INIT(len * strlen(REPLACEMENT));

	while (len > 0) {
		size_t good = valid_length(text, len);

		buf_add(&clean, text, good);
		if (good < len) {
			buf_adds(&clean, REPLACEMENT);
			good++;
		}
		text += good;
		len -= good;
	}
	return buf_error(&clean) ? NULL : json_stringn_nocheck(buf_text(&clean), clean.len);
}

void js_strn(struct js *to, const char *key, const char *text, size_t len)
{
	if (!text)
		js_null(to, key);
	else if (valid_length(text, len) == len)
		put(to, key, json_stringn_nocheck(text, len));
	else
		put(to, key, repaired(text, len));
}

void js_str(struct js *to, const char *key, const char *text)
{
	js_strn(to, key, text, text ? strlen(text) : 0);
}

void js_uint(struct js *to, const char *key, uint64_t value)
{
	if (value <= INT64_MAX)
		js_int(to, key, (int64_t)value);
	else if (!to->error)
		to->error = -ERANGE;
}

void js_int(struct js *to, const char *key, int64_t value)
{
	put(to, key, json_integer(value));
}

void js_id(struct js *to, const char *key, uint64_t value)
{
	char text[sizeof("18446744073709551615")];
	int len = snprintf(text, sizeof(text), "%" PRIu64, value);

	put(to, key, json_stringn_nocheck(text, (size_t)len));
}

void js_real(struct js *to, const char *key, double value)
{
	put(to, key, isfinite(value) ? json_real(value) : json_null());
}

void js_bool(struct js *to, const char *key, bool value)
{
	put(to, key, json_boolean(value));
}

void js_null(struct js *to, const char *key)
{
	put(to, key, json_null());
}

void js_add(struct js *to, const char *key, struct js *child)
{
	if (child->error && !to->error)
		to->error = child->error;
	put(to, key, child->value);
	*child = (struct js){ 0 };
}

static int append(const char *data, size_t len, void *out)
{
	return buf_add(out, data, len);
}

int js_line(const struct js *value, struct buf *out)
{
	size_t mark = out->len;
	int r = value->error ? value->error : buf_error(out);

	if (r < 0)
		return r;
	r = json_dump_callback(value->value, append, out, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (r == 0)
		r = buf_addc(out, '\n');
	if (r == 0)
		return 0;
	/* jansson says -1 whatever went wrong: the buffer knows, and what it does not was memory. */
	r = buf_error(out) ? buf_error(out) : -ENOMEM;
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

int js_csv(const struct js *value, const char *const *columns, size_t count, struct buf *out)
{
	size_t mark = out->len;
	int r = value->error ? value->error : buf_error(out);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_addc(out, ',');
		add_cell(out, json_object_get(value->value, columns[i]));
	}
	r = buf_addc(out, '\n');
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
	json_decref(value->value);
	*value = (struct js){ 0 };
}
