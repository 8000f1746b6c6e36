/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The wall clock as it stood: boottime to wall time and back, through every setting of it. Back there may be
 * several moments (it was set back), or none (it was set forward). Pure.
 */
#ifndef PORTWAKE_USER_HISTORY_CLOCK_H
#define PORTWAKE_USER_HISTORY_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "user/base.h"

/* A time in which wall time less boottime was `offset`; of the first of a boot, and the last, that reaches beyond. */
struct wall_span {
	uint32_t boot;			/* boots are numbered in their order */
	uint32_t session;
	int64_t since, until;		/* boottime; until is the next one's since */
	int64_t offset;
};

struct walls {
	struct wall_span *spans;	/* by boot and since */
	size_t count, size;
};

/* Appends, in order: ends the one before, where that is of the same boot. 0 or -ENOMEM. */
int walls_add(struct walls *walls, uint32_t boot, uint32_t session, int64_t since, int64_t offset);
void walls_done(struct walls *walls);

/* 0 for a boot that it knows nothing of. */
uint64_t walls_time(const struct walls *walls, uint32_t boot, int64_t time);

/* A stretch of wall time: from since on, up to but without until. */
struct wall_stretch {
	uint64_t since, until;
};

/* A step of less is drift. */
#define WALL_STEP_NS	1000000000

/*
 * What the wall clock showed in a stretch of boottime: one stretch for each of its spans, those that touch as one. Start
 * with *at = 0, until it returns false.
 */
bool walls_next(const struct walls *walls, uint32_t boot, int64_t since, int64_t until, size_t *at, struct wall_stretch *out);

/* A stretch of boottime. */
struct wall_window {
	uint32_t boot;
	int64_t since, until;		/* both within */
};

/* Where the wall clock showed a time of since to until: at most walls->count of them. How many. */
size_t walls_windows(const struct walls *walls, uint64_t since, uint64_t until, struct wall_window *out);

#endif
