/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small machine of sockets that behave as the kernel's do, at random, and what the hooks say of them: the stream of
 * statements that a tracker gets. It knows the truth of what it did.
 */
#ifndef PORTWAKE_TESTS_STREAM_H
#define PORTWAKE_TESTS_STREAM_H

#include <stdbool.h>

#include "user/event.h"

#define STREAM_SOCKS	6
#define STREAM_TWS	12
#define STREAM_QUEUE	64

struct stream_noise {
	unsigned int lost;	/* percent of statements that never arrive */
	unsigned int repeated;	/* that arrive twice */
	unsigned int swapped;	/* that change places with the one before, where two CPUs can do that */
	unsigned int rows;	/* percent of turns that take a snapshot, beside one at the start */
	bool wild;		/* nothing of the kernel's: any statement at any time */
};

struct stream_sock {
	uint64_t cookie;	/* 0: no socket here */
	uint64_t sk;
	uint32_t netns;
	uint32_t pid;		/* 0: the kernel's own */
	uint32_t error;		/* that nobody has read yet */
	uint16_t port;		/* 0: none */
	uint16_t remote_port;
	uint8_t proto, state;
	bool open;		/* a descriptor leads to it */
	bool locked;		/* bound to a number of the program's choice */
	bool spoken;		/* the hooks have spoken of it: it has a cookie */
	bool v6;
};

struct stream_tw {
	struct stream_sock was;	/* cookie 0: none here */
	uint64_t tw;
};

/* One thing for the tracker to do. */
struct step {
	enum { STEP_EVENT, STEP_STARTING, STEP_STARTED, STEP_LOOK } kind;
	struct event event;
};

struct stream {
	struct stream_noise noise;
	uint64_t random;
	uint64_t time;
	uint64_t next_cookie, next_address;
	struct stream_sock socks[STREAM_SOCKS];
	struct stream_tw tws[STREAM_TWS];
	struct step queue[STREAM_QUEUE];
	size_t queue_first, queue_count;
	uint64_t allocations;	/* TCP ports taken, as they happened */
	bool unclear;		/* a socket left a second TIME_WAIT on one port: which of the two is whose cannot be told */
};

/* With sockets that were there before, of which the first steps tell. */
void stream_begin(struct stream *stream, uint64_t seed, const struct stream_noise *noise);

void stream_next(struct stream *stream, struct step *out);

/* From here on sockets only close and expire; true while there are any, or something is left to tell. */
bool stream_end(struct stream *stream, struct step *out);

/* The truth: does this object (a sock, or an inet_timewait_sock) still hold this port? */
bool stream_holds(const struct stream *stream, uint64_t object, uint64_t cookie, uint16_t port);

#endif
