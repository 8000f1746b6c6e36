/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who holds which port since when: statements in, changes out. Pure: no clock,
 * file or socket; time comes with the statements.
 *
 * A lifetime is one socket's hold on one local port. The socket itself and the
 * TIME_WAIT that takes over from it each may hold it, at times both:
 *
 *                     PW_SOCK                PW_FREE, PW_CLOSE of a datagram socket
 *      (nothing) ------------------> socket ---------------------------------------> released
 *          |                           |                                                ^
 *          | a row in TIME_WAIT        | PW_TW_START                                    |
 *          |                           v                                                |
 *          +---------------------> TIME_WAIT --------------------------------------------
 *                                              PW_TW_END, reuse by the same four-tuple
 *
 * listen and close are marks on the way. A statement that says nothing new
 * changes nothing, so hooks may repeat and overlap. What the tracker does not
 * know it does not guess: an unknown time is 0, an unknown owner NULL.
 */
#ifndef PORTWAKE_USER_LIFETIME_H
#define PORTWAKE_USER_LIFETIME_H

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"
#include "user/lives.h"

struct explanation;	/* user/explain.h; here only handed through */

#define UNKNOWN_NS UINT64_MAX

enum what {
	WHAT_READY,
	WHAT_PRESENT,		/* held when tracing began */
	WHAT_ALLOCATE,
	WHAT_LISTEN,
	WHAT_CLOSE,		/* last descriptor closed; the port may be held on */
	WHAT_TIME_WAIT,
	WHAT_RELEASE,
	WHAT_DENIED,		/* a call that failed for want of a port; the tracker has no part in it */
	WHAT_GAP,
	WHAT_END
};

enum cause {
	CAUSE_NONE,
	CAUSE_CLOSE,
	CAUSE_RESET,		/* RST either way, refused, timed out, destroyed: change.error tells */
	CAUSE_TIME_WAIT,	/* its TIME_WAIT expired */
	CAUSE_REUSE,		/* its TIME_WAIT was taken over by a new connection */
	CAUSE_DISCONNECT,	/* connect(AF_UNSPEC), shutdown() of a listener */
	CAUSE_NETNS,		/* its network namespace is gone */
	CAUSE_UNKNOWN,		/* released while records were lost */
	CAUSE_END
};

/* The names of DESIGN's interface; NULL past the end. */
const char *what_name(enum what what);
const char *cause_name(enum cause cause);
const char *how_name(enum pw_how how);	/* NULL for PW_HOW_NONE */

/* A stretch of time in which records were lost. */
struct gap {
	uint64_t since, until;
	uint64_t lost;			/* records or lines */
	uint64_t lost_allocations;	/* of those, the ones that may have been an allocation */
	const char *reason;		/* static: "ring" "recursion" "map" "malformed" "memory" "output" */
};

/* What happened. Borrowed: valid during emit() only. */
struct change {
	enum what what;
	enum cause cause;	/* WHAT_RELEASE */
	bool exact;		/* its time is that of the event */
	uint64_t time;
	struct lifetime *lifetime;	/* NULL: WHAT_READY, WHAT_DENIED, WHAT_GAP; a sink may set `stored` */
	const struct gap *gap;	/* WHAT_GAP */
	const struct event *denied;		/* WHAT_DENIED: the call, */
	struct process *denied_owner;		/* who made it; NULL: unknown, or the kernel */
	struct explanation *explanation;	/* and why; borrowed: whoever keeps it takes a reference */
	uint32_t holder_pid;	/* WHAT_LISTEN, WHAT_CLOSE: who did it; 0: not known */
	char holder_comm[PW_COMM];
};

struct tracker_ops {
	void (*emit)(void *arg, const struct change *change);
	/* The process of a PW_SOCK statement, a new reference, or NULL. Called for what begins a lifetime or completes one. */
	struct process *(*owner)(void *arg, const struct event *event);
	void (*put)(void *arg, struct process *process);
};

struct tracker;

/* NULL without memory. ops and arg stay the caller's. */
struct tracker *tracker_new(const struct tracker_ops *ops, void *arg);
void tracker_free(struct tracker **tracker);

/*
 * While starting, and while catching up after a loss, rows of the snapshot
 * begin lifetimes: `present` ones at the start, late `allocate` ones after.
 */
void tracker_starting(struct tracker *tracker, bool starting);

/* 0, or -ENOMEM: the statement is not taken in, what was known stays right. */
int tracker_feed(struct tracker *tracker, const struct event *event);

/* The first lifetime, then lifetime->all_next. Releasing the current one while walking is not allowed. */
struct lifetime *tracker_first(struct tracker *tracker);
size_t tracker_count(const struct tracker *tracker);

/* Has this socket a lifetime now? */
bool tracker_knows(struct tracker *tracker, uint64_t cookie);

/* NULL when it has ended. */
struct lifetime *tracker_find(struct tracker *tracker, uint64_t cookie, uint32_t generation);

/* Every lifetime of a port; then tracker_port_next(). */
struct lifetime *tracker_port(struct tracker *tracker, uint32_t netns, uint8_t proto, uint16_t port);
struct lifetime *tracker_port_next(struct tracker *tracker, const struct lifetime *lifetime);

/* Sets net and net_cookie of a look as the last TIME_WAIT in that network namespace told them; 0: not told. */
void tracker_net(const struct tracker *tracker, uint32_t netns, struct pw_look *look);

/* A look at the kernel says that this hold (one of enum hold) is over. lifetime is gone when it was its last. */
void tracker_lost(struct tracker *tracker, struct lifetime *lifetime, enum hold hold, enum cause cause, uint64_t time);

#define _cleanup_tracker_ _cleanup_(tracker_free)

#endif
