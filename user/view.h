/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What takes privilege once tracing has begun: looks into the kernel, into other network namespaces, into other
 * processes. Asked here and now, or, by a tracer that has given its privilege up, of a process that kept some
 * (user/broker.h). One question at a time, by one thread.
 */
#ifndef PORTWAKE_USER_VIEW_H
#define PORTWAKE_USER_VIEW_H

#include "user/diag.h"
#include "user/probe.h"
#include "user/range.h"

/* A network namespace, and a process that is probably in it (0: none known). */
struct view_place {
	uint32_t netns, pid;
};

/* Takes the rows of a snapshot_take(). */
struct view_taker {
	void (*row)(void *arg, const struct event *row);
	/* Called again and again while that lasts, so that the ring does not fill; not 0 ends it, and is returned. */
	int (*pump)(void *arg);
	void *arg;
};

/* Each that returns int: 0 or -errno; -EOWNERDEAD: who was asked is gone for good. */
struct view_ops {
	int (*look)(void *arg, struct pw_look *looks, size_t count);
	int (*losses)(void *arg, struct probe_loss *out);
	int (*snapshot)(void *arg, const struct view_taker *taker);
	int (*range)(void *arg, struct view_place place, struct range *out);
	/* Of both families, whatever query->family says. */
	int (*dump)(void *arg, struct view_place place, const struct diag_query *query, diag_row_fn on_row, void *row_arg);
	/* procfd_find() */
	void (*find)(void *arg, const uint32_t *inodes, size_t count, struct event_process *out);
	/* A signal to the traced command. NULL: kill(2) will do. */
	int (*signal)(void *arg, int sig);
	/* Readable when something may be amiss with who is asked, which check() then tells. NULL: that cannot be. */
	int (*fd)(void *arg);
	int (*check)(void *arg);
};

struct view {
	const struct view_ops *ops;
	void *arg;
};

/* Asked here and now. */
struct view_direct {
	struct probe *probe;			/* both borrowed */
	const struct probe_options *filter;	/* what it was opened with */
};

struct view view_of(struct view_direct *direct);

#endif
