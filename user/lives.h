/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The lifetimes as memory: one block of them for many, found by socket and by port. The tracker (lifetime.h) alone
 * makes and ends them. A lifetime costs its struct and some 27 bytes; there is an allocation for every LIVES_CHUNK of
 * them, which is kept for those to come.
 */
#ifndef PORTWAKE_USER_LIVES_H
#define PORTWAKE_USER_LIVES_H

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"
#include "user/index.h"

struct process;		/* user/identity.h; here only handed through */

enum hold {
	HOLD_SOCK = 1,
	HOLD_TW = 2,
};

/* What a search by socket or port reads comes first, so that it touches few cache lines. */
struct lifetime {
	uint64_t cookie;
	/* These four are lives.c's own. */
	uint32_t number;			/* its own, from 1, as all links here are; 0: none */
	uint32_t port_next, port_prev;		/* of the same port, and the same side of TIME_WAIT */
	uint32_t cookie_next;			/* of the same socket: at most one holds by HOLD_SOCK */
	uint32_t netns;
	uint16_t port;
	uint16_t remote_port;
	uint8_t proto;
	uint8_t holds : 2;			/* enum hold; 0: idle, its socket is open and has no port */
	bool listening : 1;
	bool listened : 1;			/* now or before */
	bool inexact : 1;			/* a time before its release was approximate */
	bool stored : 1;			/* the store's own mark: it has told of this one; new ones stand before */
	bool waits : 1;				/* it stands with those in TIME_WAIT */
	bool parting : 1;			/* closed without its port: the record of where that went is on its way */
	struct event_addr remote;
	struct event_addr addr;
	uint8_t how;				/* enum pw_how */
	uint8_t flags;				/* enum pw_flag */
	uint8_t error;				/* positive errno that ended the hold; 0: none */
	uint8_t stale_error;			/* sk_err that lay in the socket when it took the port */
	uint32_t generation;			/* from 1; (cookie, generation) names it */
	uint32_t generations;			/* of its socket so far: in the first of cookie_next */
	struct lifetime *all_next, *all_prev;	/* every lifetime, the newest first */
	struct process *owner;			/* a reference, given back through ops->put; NULL: unknown */
	uint64_t sk;				/* kernel address of the sock */
	uint64_t tw;				/* kernel address of its inet_timewait_sock */
	uint64_t seen;				/* first statement; ns, CLOCK_BOOTTIME, like all times here */
	uint64_t since;				/* allocated; 0: before we looked */
	uint64_t closed_at;			/* 0: open */
	uint64_t tw_at;				/* 0: no TIME_WAIT yet */
	uint64_t tw_ended;			/* its TIME_WAIT ended early, why is not known yet; 0: no */
};

#define LIVES_CHUNK 128

/* Zero-initialised is empty and ready for use. */
struct lives {
	struct lifetime **chunks;
	size_t chunk_count;
	uint32_t vacant;		/* the first that is free, then cookie_next */
	struct index sockets;		/* cookie -> the first of its lifetimes, or what is idle */
	struct index ports;		/* port and side -> the first */
	struct lifetime *all;
	size_t count;
	struct lifetime *idle_first, *idle_last;	/* all_next, all_prev */
	size_t idle_count;
};

/* Zeroed, and in no list. NULL without memory. */
struct lifetime *lives_new(struct lives *s);

/* Gives back one that is in no list. */
void lives_free(struct lives *s, struct lifetime *l);

/*
 * Enters it by its cookie, port and waits, and numbers its generation. 0, or -ENOMEM: then it is in no list, as before.
 */
int lives_link(struct lives *s, struct lifetime *l);

/*
 * Ends it. With remember, and none other of its socket left, it stays as an idle one, so that the next of that socket
 * gets the next generation; of too many idle ones the oldest are forgotten. Otherwise it is given back.
 */
void lives_end(struct lives *s, struct lifetime *l, bool remember);

/* From now on it stands with those in TIME_WAIT. */
void lives_wait(struct lives *s, struct lifetime *l);

/* The first of a socket, an idle one (holds 0) too; then lives_socket_next(). NULL: none. */
struct lifetime *lives_socket(const struct lives *s, uint64_t cookie);
struct lifetime *lives_socket_next(const struct lives *s, const struct lifetime *l);

/* The first of a port in TIME_WAIT, or of the others; then lives_port_next(). */
struct lifetime *lives_port(const struct lives *s, uint32_t netns, uint8_t proto, uint16_t port, bool waits);
struct lifetime *lives_port_next(const struct lives *s, const struct lifetime *l);

/* A hint to the processor: the socket and the port of this statement are asked for next. */
void lives_expect(const struct lives *s, const struct event *e);

/* Forgets an idle one. */
void lives_forget(struct lives *s, struct lifetime *idle);

/* Releases the memory of all of them; it is empty afterwards. */
void lives_done(struct lives *s);

#endif
