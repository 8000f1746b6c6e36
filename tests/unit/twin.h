/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The slow honest twin of the tracker: the same contract (user/lifetime.h), made in the plainest way. Every lifetime
 * that ever was stands in one array that each statement walks from one end to the other. Nothing is forgotten.
 */
#ifndef PORTWAKE_TESTS_TWIN_H
#define PORTWAKE_TESTS_TWIN_H

#include "tests/unit/told.h"

struct twin_life {
	struct told is;		/* what may be told of it now */
	uint64_t sk;		/* where it can be looked at; 0: not known */
	uint64_t tw;		/* kernel address of the TIME_WAIT that holds, or held last */
	uint32_t error;		/* that ended the socket's hold */
	uint32_t stale_error;	/* that lay in the socket when it took the port */
	bool approximate;	/* when its TIME_WAIT began is not known */
	bool over;
};

struct twin {
	struct twin_life *lives;
	size_t count, size;
	struct told told[256];	/* by the last call of twin_feed() or twin_lost() */
	size_t told_count;
	bool starting;
};

void twin_feed(struct twin *twin, const struct event *event);
void twin_lost(struct twin *twin, uint64_t cookie, uint32_t generation, enum hold hold, enum cause cause, uint64_t time);
void twin_done(struct twin *twin);

#endif
