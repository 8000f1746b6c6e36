/* SPDX-License-Identifier: GPL-2.0 */
/* What a history knows of those who hold ports now, and a look does not: since when, and who took the port. */
#ifndef PORTWAKE_USER_RECALL_H
#define PORTWAKE_USER_RECALL_H

#include "user/holders.h"
#include "user/map.h"
#include "user/past.h"

struct recalled {
	uint64_t since;		/* ns since 1970 */
	uint32_t generation;
	uint16_t port;
	uint8_t how;		/* enum pw_how */
	bool began_before;	/* since is when it was first seen */
	struct past_process *owner;	/* NULL: unknown */
};

/* Zero-initialised knows nothing. */
struct recall {
	struct map by_cookie;	/* -> struct recalled */
	const char *boot;	/* of this boot; only while taking */
};

/*
 * Adds what is known of these ports: lifetimes of this boot that last by the word of a recorder that runs. 0, -ENOMEM,
 * or -errno of the history (history_why()).
 */
int recall_take(struct recall *recall, struct history *history, uint16_t first, uint16_t last, unsigned int protos,
		uint64_t now);

/* NULL: nothing is known of it. */
const struct recalled *recall_find(const struct recall *recall, const struct holder *holder);

void recall_done(struct recall *recall);

#define _cleanup_recall_ _cleanup_(recall_done)

#endif
