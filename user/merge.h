/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the live stream does not tell: the sockets that are there already,
 * merged into it by cookie, where what the stream said wins; and the ends that
 * no hook sees, found by looking at what seems held.
 */
#ifndef PORTWAKE_USER_MERGE_H
#define PORTWAKE_USER_MERGE_H

#include "user/lifetime.h"
#include "user/view.h"

struct early;

struct merge {
	struct tracker *tracker;		/* borrowed */
	struct view view;
	bool by_owner;				/* probe_by_owner() of the filter */
	bool ready;				/* what was there at the start has been told */
	/* Takes in all that is on the ring: 0 or -errno; each event is to come by merge_keep(). */
	int (*consume)(void *arg);
	void (*feed)(void *arg, const struct event *event);
	void *arg;
	struct early *early;			/* merge's own; NULL: nothing is being gathered */
};

/* While a snapshot is read the stream is put aside: true, event is kept and comes by feed() later. */
bool merge_keep(struct merge *merge, const struct event *event);

/* Takes a snapshot and merges it. 0 or -errno. */
int merge_snapshot(struct merge *merge);

enum merge_which {
	MERGE_HOOKLESS,	/* what may end without a hook's telling */
	MERGE_ALL,
};

/*
 * Asks the kernel of these lifetimes, takes in what it said meanwhile, and
 * settles what still seems held by the answers. after_loss: then its end has no
 * known cause.
 */
int merge_look(struct merge *merge, enum merge_which which, bool after_loss);

#endif
