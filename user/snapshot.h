/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sockets open now, in every network namespace in view, as statements of
 * the same kind as the live ones, flagged PW_F_ROW: what holds a file
 * descriptor (with its process), TCP in every state with TIME_WAIT and
 * bound-only, UDP.
 *
 * A row is true at its time. Sockets that share the port of a listener that
 * accepted them are left out: they allocated nothing.
 */
#ifndef PORTWAKE_USER_SNAPSHOT_H
#define PORTWAKE_USER_SNAPSHOT_H

#include "user/event.h"
#include "user/probe.h"

struct snapshot {
	struct event *rows;	/* by cookie; once settled, one for each socket */
	size_t count;
	size_t size;		/* rows that fit */
	size_t sorted;		/* rows that are in order and marked: all, when nothing was added since */
	int error;		/* of gathering: -ENOMEM */
};

#define SNAPSHOT_INIT ((struct snapshot){ 0 })

/*
 * 0 or -errno; each row tells whether it is still held. filter: what probe was opened with. pump() is called in each
 * namespace when its rows are taken, so that the ring does not fill meanwhile;
 * what it returns other than 0 ends the walk.
 */
int snapshot_take(struct snapshot *snapshot, struct probe *probe, const struct probe_options *filter,
		  int (*pump)(void *arg), void *arg);

/*
 * Connected on a number that it did not ask for and connect() did not choose:
 * accepted by a listener that is not there any more, or bound to 0 before.
 */
bool snapshot_doubtful(const struct event *row);

/* The same, without settling: every row of every socket, accepted ones too, sorted. */
int snapshot_gather(struct snapshot *snapshot, struct probe *probe, const struct probe_options *filter,
		    int (*pump)(void *arg), void *arg);

/* Adds one row. Then sort puts the rows of one socket side by side, the oldest process first, and marks the accepted; */
void snapshot_add(struct snapshot *snapshot, const struct event *row);
int snapshot_sort(struct snapshot *snapshot);

/* and settle, which sorts as well, makes one of each socket and drops the accepted. Pure. */
int snapshot_settle(struct snapshot *snapshot);

/* Is row of the same object (socket, TIME_WAIT) as the one before it? */
bool snapshot_same(const struct event *before, const struct event *row);

void snapshot_done(struct snapshot *snapshot);

#define _cleanup_snapshot_ _cleanup_(snapshot_done)

#endif
