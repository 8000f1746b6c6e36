/* SPDX-License-Identifier: GPL-2.0 */
/* What there is to say of a port and of who holds it now. Pure. */
#ifndef PORTWAKE_USER_WHO_H
#define PORTWAKE_USER_WHO_H

#include <stdint.h>

#include "user/about.h"
#include "user/holders.h"
#include "user/recall.h"

/* What answers are made of; all borrowed. */
struct answers {
	struct about about;
	uint64_t time;			/* of the look: ns since 1970 */
	const struct holder **by_port;	/* by port and protocol; of one port by namespace */
	size_t count;
	/* The command line of a process, NULL when not known; valid until the next call. arg is that of about. */
	const char *(*cmdline)(void *arg, const struct process *process);
	const struct recall *recall;	/* what a history knows of them */
};

/* Fills by_port, which the caller frees, from holders. 0 or -ENOMEM. */
int answers_index(struct answers *answers, const struct holders *holders);

/* Says all there is to one question about now. 0, buf_error(out) or what flush() returned. */
int answer(const struct answers *answers, const struct question *question, struct buf *out);

#endif
