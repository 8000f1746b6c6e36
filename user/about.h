/* SPDX-License-Identifier: GPL-2.0 */
/* What every answer about a port is made of: what the number is known for, a process, a line of each format. Pure. */
#ifndef PORTWAKE_USER_ABOUT_H
#define PORTWAKE_USER_ABOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "user/annotate.h"
#include "user/buf.h"
#include "user/history.h"
#include "user/json.h"
#include "user/options.h"
#include "user/question.h"
#include "user/range.h"

/* All borrowed. */
struct about {
	enum format format;
	const struct annotate_table *annotations;
	const struct range *range;	/* of the namespace that is asked about; unknown is said */
	uint32_t netns;			/* its inode */
	/* What /etc/services calls a port; NULL: nothing. */
	const char *(*service)(void *arg, uint16_t port, uint8_t proto);
	/* Is called between holders: takes what is in out, which may be much. 0 or -errno, which ends the answer. */
	int (*flush)(void *arg, struct buf *out);
	void *arg;
};

/*
 * The port itself: its lines of text, or its object. holders: how many there are; NULL: not known. asked: the time
 * that is asked about; last 0: now. 0, buf_error(out) or the object's error.
 */
int about_port(const struct about *about, uint16_t port, uint8_t proto, const size_t *holders,
	       const struct moment *asked, struct buf *out);

/* How much of a range is held, behind the ports that are. The same. */
int about_range(const struct about *about, const struct question *question, uint8_t proto, size_t held, struct buf *out);

/* An object as one line: of JSON, or of CSV. */
int about_line(const struct about *about, const struct js *js, struct buf *out);

/* The first line of CSV; of other formats nothing. */
int about_head(enum format format, struct buf *out);

/* buf_error(out), or what flush() says. */
int about_pass_on(const struct about *about, struct buf *out);

/* "  label      " of a line of text. */
void about_label(struct buf *out, const char *label);

/* A process as members, all null when it is NULL; and as a line of text, with some words before. */
void about_put_process(struct js *js, const struct past_process *process);
void about_text_process(const char *before, const struct past_process *process, struct buf *out);

/* "2026-11-20 12:03:07.123", local time. */
void about_text_time(uint64_t time, struct buf *out);

#endif
