/* SPDX-License-Identifier: GPL-2.0 */
/* A sparse log-linear histogram. */
#include "user/hist.h"

#include <string.h>

#include "user/mem.h"

#define STEP_BITS	6
#define STEPS		(1U << STEP_BITS)	/* buckets of each power of two */
#define EXACT		(2 * STEPS)		/* below this a bucket is one number */
#define FIRST_SIZE	4

/* How many low bits a bucket of this magnitude ignores. */
static unsigned int shift_of(uint64_t value)
{
	return value < EXACT ? 0 : 63 - (unsigned int)__builtin_clzll(value) - STEP_BITS;
}

static uint32_t bucket_of(uint64_t value)
{
	unsigned int shift = shift_of(value);

	return shift * STEPS + (uint32_t)(value >> shift);
}

static uint64_t middle_of(uint32_t bucket)
{
	unsigned int shift = bucket < EXACT ? 0 : bucket / STEPS - 1;
	uint64_t low = (uint64_t)(bucket - shift * STEPS) << shift;

	return low + ((1ULL << shift) - 1) / 2;
}

/* Index of the first cell whose bucket is not below the one asked for. */
static uint32_t lower_bound(const struct hist *h, uint32_t bucket)
{
	uint32_t low = 0, high = h->used;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (h->cells[mid].bucket < bucket)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int make_room(struct hist *h, uint32_t cells)
{
	uint32_t size = h->size ? h->size : FIRST_SIZE;
	struct hist_cell *grown;

	if (cells <= h->size)
		return 0;
	while (size < cells)
		size *= 2;
	if (size > HIST_BUCKETS)
		size = HIST_BUCKETS;
	grown = pw_reallocarray(h->cells, size, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	h->cells = grown;
	h->size = size;
	return 0;
}

static int add_to_bucket(struct hist *h, uint32_t bucket, uint64_t count)
{
	uint32_t at = lower_bound(h, bucket);

	if (at == h->used || h->cells[at].bucket != bucket) {
		int r = make_room(h, h->used + 1);

		if (r < 0)
			return r;
		memmove(h->cells + at + 1, h->cells + at, (h->used - at) * sizeof(*h->cells));
		h->cells[at] = (struct hist_cell){ .bucket = bucket & 0xfff };
		h->used++;
	}
	h->cells[at].count += count;
	return 0;
}

/* Totals of h after count more values, min to max, that sum up to sum. */
static void add_totals(struct hist *h, uint64_t count, uint64_t min, uint64_t max, uint64_t sum)
{
	if (!h->count || min < h->min)
		h->min = min;
	if (max > h->max)
		h->max = max;
	h->count += count;
	if (__builtin_add_overflow(h->sum, sum, &h->sum))
		h->sum = UINT64_MAX;
}

int hist_add(struct hist *h, uint64_t value)
{
	int r = add_to_bucket(h, bucket_of(value), 1);

	if (r == 0)
		add_totals(h, 1, value, value, value);
	return r;
}

static uint64_t rank_of(uint64_t count, double q)
{
	/* 0.07 * 100 is a little more than 7 in a double, and must not become rank 8. */
	double exact = q * (double)count - 1e-6;
	uint64_t rank;

	if (!(exact > 1))
		return 1;
	if (exact >= (double)count)
		return count;
	rank = (uint64_t)exact;
	return rank + ((double)rank < exact);
}

uint64_t hist_percentile(const struct hist *h, double q)
{
	uint64_t left, value;
	uint32_t i = 0;

	if (!h->count)
		return 0;
	left = rank_of(h->count, q);
	if (left == 1)
		return h->min;
	if (left == h->count)
		return h->max;
	while (h->cells[i].count < left)
		left -= h->cells[i++].count;
	value = middle_of(h->cells[i].bucket);
	if (value < h->min)
		return h->min;
	return value > h->max ? h->max : value;
}

int hist_merge(struct hist *h, const struct hist *from)
{
	uint32_t cells = h->used + from->used;
	int r;

	if (!from->count)
		return 0;
	/* All the memory first: past this nothing can fail. */
	r = make_room(h, cells < HIST_BUCKETS ? cells : HIST_BUCKETS);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < from->used; i++)
		add_to_bucket(h, from->cells[i].bucket, from->cells[i].count);
	add_totals(h, from->count, from->min, from->max, from->sum);
	return 0;
}

void hist_done(struct hist *h)
{
	pw_free(h->cells);
	*h = (struct hist){ 0 };
}
