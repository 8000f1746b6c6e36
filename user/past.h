/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who had a port: what is recorded (history.h), as answers. A lifetime is told as it was at one moment: the first of
 * the asked time in which it held the port. What was not recorded is told too, so that it never looks like "nobody".
 */
#ifndef PORTWAKE_USER_PAST_H
#define PORTWAKE_USER_PAST_H

#include "user/about.h"
#include "user/history.h"

struct past_answers {
	struct about about;
	struct history *history;	/* borrowed, as is all here */
	const uint32_t *netns;		/* only these; netns_count 0: any */
	uint32_t netns_count;
	const char *why;		/* set by past_answer() when the history failed, and not the output */
};

/* Says all there is to one question about the past. 0, -errno with why, buf_error(out) or what flush() returned. */
int past_answer(struct past_answers *answers, const struct question *question, struct buf *out);

/*
 * A stretch without records as an object: event, since, until, lost, reason. The event is `blind`; `scope` where it is
 * denied calls or other namespaces that the recorder was told to leave out.
 */
void past_put_blind(struct js *js, const struct blind *blind);

/* The same as a line of text, behind its label. */
void past_text_blind(const struct blind *blind, struct buf *out);

#endif
