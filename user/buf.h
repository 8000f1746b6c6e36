/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A byte buffer that grows up to a hard bound. Lines are built in it.
 *
 * An append is all or nothing. The first that fails sticks: later ones return the same error and add nothing,
 * so that a line can be built by many appends and judged once by buf_error().
 */
#ifndef PORTWAKE_USER_BUF_H
#define PORTWAKE_USER_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "user/base.h"

struct buf {
	char *data;	/* terminated by a NUL behind len; NULL while nothing was ever added */
	size_t len;
	size_t size;	/* allocated */
	size_t max;	/* len never exceeds this */
	int error;	/* 0, -ENOBUFS, -ENOMEM or -EINVAL */
};

#define BUF_INIT(bound) ((struct buf){ .max = (bound) })

/* Each returns 0, -ENOBUFS (the bound) or -ENOMEM, and then nothing was added. data may not lie inside b. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *text);
int buf_addc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list args) _printf_(2, 0);

/* text[0..len) as escape_text() makes it harmless. */
int buf_add_escaped(struct buf *b, const char *text, size_t len);

/* Spaces until the column (bytes since `start`) is reached; none when it is passed. */
int buf_pad(struct buf *b, size_t start, size_t column);

static inline int buf_error(const struct buf *b)
{
	return b->error;
}

static inline const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

/* Back to len bytes (a mark taken earlier) and no error: undoes a record that was half written. */
void buf_truncate(struct buf *b, size_t len);

/* Drops the first len bytes. */
void buf_consume(struct buf *b, size_t len);

/* Empty and without error; the memory is kept. */
void buf_reset(struct buf *b);

/* Releases the memory; the bound stays, so the buffer can be used again. */
void buf_done(struct buf *b);

#define _cleanup_buf_ _cleanup_(buf_done)

#endif
