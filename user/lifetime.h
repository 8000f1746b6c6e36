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
#include "user/map.h"

struct process;		/* user/identity.h; here only handed through */
struct explanation;	/* user/explain.h; the same */

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

enum hold {
	HOLD_SOCK = 1,
	HOLD_TW = 2,
};

struct lifetime {
	struct lifetime *all_next, *all_prev;	/* every lifetime */
	struct lifetime *port_next;		/* those of the same port */
	struct lifetime *cookie_next;		/* those of the same socket: at most one holds by HOLD_SOCK */
	struct process *owner;			/* a reference, given back through ops->put; NULL: unknown */
	uint64_t cookie;
	uint64_t sk;				/* kernel address of the sock */
	uint64_t tw;				/* kernel address of its inet_timewait_sock */
	uint64_t net, net_cookie;		/* of the namespace of that, for struct pw_look; 0: not told */
	uint64_t seen;				/* first statement; ns, CLOCK_BOOTTIME, like all times here */
	uint64_t since;				/* allocated; 0: before we looked */
	uint64_t closed_at;			/* 0: open */
	uint64_t tw_at;				/* 0: no TIME_WAIT yet */
	uint64_t tw_ended;			/* its TIME_WAIT ended early, why is not known yet; 0: no */
	uint32_t generation;			/* from 1; (cookie, generation) names it */
	uint32_t netns;
	uint32_t error;				/* positive errno that ended the hold; 0: none */
	uint32_t stale_error;			/* sk_err that lay in the socket when it took the port */
	uint16_t port;
	uint16_t remote_port;
	uint8_t proto;
	uint8_t how;				/* enum pw_how */
	uint8_t flags;				/* enum pw_flag */
	uint8_t holds;				/* enum hold */
	bool listening;
	bool listened;				/* now or before */
	bool inexact;				/* a time before its release was approximate */
	bool stored;				/* the store's own mark: it has told of this one; new ones stand before */
	struct event_addr addr;
	struct event_addr remote;
};

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

/* Every lifetime of a port; then lifetime->port_next. */
struct lifetime *tracker_port(struct tracker *tracker, uint32_t netns, uint8_t proto, uint16_t port);

/* A look at the kernel says that this hold (one of enum hold) is over. lifetime is gone when it was its last. */
void tracker_lost(struct tracker *tracker, struct lifetime *lifetime, enum hold hold, enum cause cause, uint64_t time);

#define _cleanup_tracker_ _cleanup_(tracker_free)

#endif
