/* SPDX-License-Identifier: GPL-2.0 */
/* Where changes go. A sink takes each change as it comes and may buffer; the loop flushes it when it has time. */
#ifndef PORTWAKE_USER_SINK_H
#define PORTWAKE_USER_SINK_H

#include "user/lifetime.h"

struct sink_ops {
	/* offset: clock_offset() now, to turn the change's times into the wall clock's. */
	void (*change)(void *arg, const struct change *change, int64_t offset);
	/* At the end, each lifetime that lasts. NULL: of no interest. */
	void (*held)(void *arg, const struct lifetime *lifetime, uint64_t now);
	/* 0; -EAGAIN: more to write when fd() is writable; other -errno: the sink is broken, the loop ends. NULL: nothing to do. */
	int (*flush)(void *arg);
	/* Twice a second, from ready on. newest: tracker_first(). sure: what was lost before is told. NULL: of no interest. */
	void (*tick)(void *arg, struct lifetime *newest, uint64_t now, uint64_t sure, int64_t offset);
	/* At the end: all that happened up to now has been told. NULL: of no interest. */
	void (*end)(void *arg, struct lifetime *newest, uint64_t now);
	/* At SIGHUP, which ends a sink without it. */
	void (*reload)(void *arg, struct lifetime *newest, uint64_t sure);
	/* Descriptor to wait for after -EAGAIN; NULL: none. */
	int (*fd)(void *arg);
};

struct sink {
	const struct sink_ops *ops;
	void *arg;
};

#endif
