/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A log-linear (HDR) histogram of 64-bit numbers, here nanoseconds. Up to 127 exactly; above that 64 buckets for
 * each power of two, and a percentile is given as the middle of its bucket: at most 1/129 (0.78 %) off.
 *
 * Only buckets that were hit take memory (8 bytes each): an empty histogram none, one of a port with a few
 * lifetimes some tens of bytes, none ever more than HIST_BUCKETS * 8 (30 KiB). Debian 12 packages no HDR
 * histogram library for C (only for Java and Go), hence this one.
 */
#ifndef PORTWAKE_USER_HIST_H
#define PORTWAKE_USER_HIST_H

#include <stdint.h>

#include "user/base.h"

#define HIST_BUCKETS (128 + 57 * 64)

struct hist_cell {
	uint64_t bucket:12, count:52;
};

/* Zero-initialised is empty and ready for use. */
struct hist {
	uint64_t count, min, max;	/* exact; 0 while empty */
	uint64_t sum;			/* exact, stays at UINT64_MAX when it would pass it */
	struct hist_cell *cells;	/* by rising bucket */
	uint32_t used, size;
};

/* 0, or -ENOMEM: then the value is not counted anywhere. */
int hist_add(struct hist *h, uint64_t value);

/*
 * The value at rank ceil(q * count), q from 0 to 1, the lowest being rank 1: so q = 0.5 of an even count is the
 * lower of the two middle values. Never outside min and max; 0 for an empty histogram.
 */
uint64_t hist_percentile(const struct hist *h, double q);

/* Adds all of from to h. 0, or -ENOMEM: then h is as it was. */
int hist_merge(struct hist *h, const struct hist *from);

/* Releases the memory; empty afterwards. */
void hist_done(struct hist *h);

#define _cleanup_hist_ _cleanup_(hist_done)

#endif
