/* SPDX-License-Identifier: GPL-2.0 */
/* What a tracker told, kept as values, with owners that are counted. */
#ifndef PORTWAKE_TESTS_TOLD_H
#define PORTWAKE_TESTS_TOLD_H

#include "user/lifetime.h"

/* The tracker only hands it through. */
struct process {
	uint32_t pid;
};

struct told {
	uint64_t time, cookie;
	uint64_t seen, since, closed_at, tw_at;
	enum what what;
	enum cause cause;
	uint32_t generation;
	uint32_t netns;
	uint32_t owner;		/* its pid; 0: none */
	uint32_t error;
	uint32_t holder_pid;
	uint16_t port, remote_port;
	uint8_t proto, how, flags, holds;
	bool exact, listening, listened;
	struct event_addr addr, remote;
	char holder_comm[PW_COMM];
};

struct telling {
	struct tracker *tracker;
	struct told *told;
	size_t count, size;
	uint64_t owners, puts;	/* calls of the tracker for and back */
};

/* Zero-initialised memory in, a tracker that writes into it out; NULL without memory. */
struct tracker *telling_begin(struct telling *telling);

/* Ends the tracker; the numbers stay. */
void telling_end(struct telling *telling);
void telling_done(struct telling *telling);

/* What is told of a lifetime, without the change's own part. */
void told_lifetime(const struct lifetime *lifetime, struct told *out);

bool told_same(const struct told *a, const struct told *b);
void told_print(const char *label, const struct told *told);

#endif
