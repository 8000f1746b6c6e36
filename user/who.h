/* SPDX-License-Identifier: GPL-2.0 */
/* What there is to say of a port and of who holds it, as text and JSON. Pure. */
#ifndef PORTWAKE_USER_WHO_H
#define PORTWAKE_USER_WHO_H

#include <stdbool.h>
#include <stdint.h>

#include "user/annotate.h"
#include "user/buf.h"
#include "user/holders.h"
#include "user/question.h"
#include "user/range.h"

/* What answers are made of; all borrowed. */
struct answers {
	bool json;
	const struct annotate_table *annotations;
	const struct range *range;	/* of the namespace that is asked about; unknown is said */
	uint32_t netns;			/* its inode */
	uint64_t time;			/* of the look: ns since 1970 */
	const struct holder **by_port;	/* by port and protocol; of one port by namespace */
	size_t count;
	/* The command line of a process, NULL when not known; valid until the next call. */
	const char *(*cmdline)(void *arg, const struct process *process);
	/* What /etc/services calls a port; NULL: nothing. */
	const char *(*service)(void *arg, uint16_t port, uint8_t proto);
	/* Is called between holders: takes what is in out, which may be much. 0 or -errno, which ends the answer. */
	int (*flush)(void *arg, struct buf *out);
	void *arg;
};

/* Fills by_port, which the caller frees, from holders. 0 or -ENOMEM. */
int answers_index(struct answers *answers, const struct holders *holders);

/* Says all there is to one question. 0, buf_error(out) or what flush() returned. */
int answer(const struct answers *answers, const struct question *question, struct buf *out);

#endif
