/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON lines. A value is built as text, member by member, in the order of the calls, and written once as one line.
 *
 *	_cleanup_js_ struct js line = js_object();
 *
 *	js_str(&line, "event", "allocate");
 *	js_uint(&line, "pid", pid);
 *	r = js_line(&line, &buf);
 *
 * The first failure sticks in the value (and in what it is added to) and comes out of js_line().
 */
#ifndef PORTWAKE_USER_JSON_H
#define PORTWAKE_USER_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "user/base.h"
#include "user/buf.h"

#define JS_MAX (64u << 20)	/* bytes of one value; past it: -ENOBUFS */

/* An object or an array, all but its last bracket. */
struct js {
	struct buf text;
};

struct js js_object(void);
struct js js_array(void);

/* Members of an object; with key NULL, elements of an array. */

/*
 * text NULL is null. Bytes that are no UTF-8 become U+FFFD, since JSON has no other way to hold them; what is not
 * ASCII goes out as \uXXXX, so that a line shown on a terminal does not disturb it.
 */
void js_str(struct js *to, const char *key, const char *text);
void js_strn(struct js *to, const char *key, const char *text, size_t len);

/* -ERANGE past INT64_MAX, which no JSON reader holds: such numbers go out by js_id(). */
void js_uint(struct js *to, const char *key, uint64_t value);
void js_int(struct js *to, const char *key, int64_t value);

/* A 64-bit identifier, as a string: "18446744073709551615". */
void js_id(struct js *to, const char *key, uint64_t value);

/* Finite numbers; others become null. */
void js_real(struct js *to, const char *key, double value);

/* ns since 1970, as clock_format() writes it. */
void js_time(struct js *to, const char *key, uint64_t realtime_ns);

/* UINT64_MAX, which a length that is not known has, is null. */
void js_span(struct js *to, const char *key, uint64_t ns);

void js_bool(struct js *to, const char *key, bool value);
void js_null(struct js *to, const char *key);

/* Takes child, with its error, and leaves it empty. */
void js_add(struct js *to, const char *key, struct js *child);

/*
 * The members of an object as js_line() once wrote it, without its newline. Text of another form (it is no object, an
 * empty one, or has bytes that are no printable ASCII) adds nothing: -EINVAL, which does not stick.
 */
int js_members(struct js *to, const char *object);

/*
 * Appends the value as one line with its newline: 0; the value's own error, or what buf_add() returned, and then
 * nothing was added.
 */
int js_line(const struct js *value, struct buf *out);

/*
 * Appends the members of an object that columns names, in that order and divided by commas, as one line of CSV (RFC
 * 4180, but for its newline, which is one byte). What is null, missing, an object or an array is an empty cell; text
 * is escaped as on a terminal. As js_line().
 */
int js_csv(const struct js *value, const char *const *columns, size_t count, struct buf *out);

/* The names themselves as the first line. buf_error(out). */
int js_csv_head(const char *const *columns, size_t count, struct buf *out);

void js_done(struct js *value);

#define _cleanup_js_ _cleanup_(js_done)

#endif
