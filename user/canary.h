/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Does each hook see what it says? A function that the kernel's symbols have
 * may yet be inlined where it matters (udp_lib_unhash() in Debian's 7.2), and
 * an attached program may never run. So before anything else is traced, ports
 * are taken and given back in a network namespace of the canary's own, and what
 * is told of them is held against what was done.
 */
#ifndef PORTWAKE_USER_CANARY_H
#define PORTWAKE_USER_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"

#define CANARY_PROOFS 32

/* A statement that must be made. */
struct proof {
	const char *hook;	/* by this hook of the ladder, */
	const char *what;	/* of this */
	uint64_t cookie;
	enum pw_kind kind;
	enum pw_how how;	/* PW_SOCK */
	bool held;		/* PW_FREE: the socket keeps its port */
	bool told;
};

struct canary {
	struct proof proofs[CANARY_PROOFS];
	size_t count;
	int home;		/* the namespace to come back to; -1: we are there */
	uint32_t netns;		/* inode number of its own, while in it */
};

#define CANARY_INIT ((struct canary){ .home = -1 })

/* Moves the calling thread into a new namespace with loopback up. 0 or -errno; then it has not moved. */
int canary_enter(struct canary *canary);

/*
 * Takes and gives back ports there, and notes what must be told; anew at each
 * call. 0 or -errno. Without IPv6 on this machine there is nothing to prove of it.
 */
int canary_sing(struct canary *canary);

/* Back home. 0 or -errno: the thread is still away. */
int canary_leave(struct canary *canary);

/* Takes in what a hook told. Pure, as are the two below. */
void canary_hear(struct canary *canary, const struct event *event);

/* Notes what must be told. */
void canary_expect(struct canary *canary, const struct proof *proof);

/* What this hook did not tell; NULL: it told all there was. */
const char *canary_missed(const struct canary *canary, const char *hook);

#endif
