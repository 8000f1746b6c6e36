/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Open addressing with linear probing; a deletion moves what follows up, so there are no graves and no rebuilding under
 * churn. The home of a hash is its share of the table, so the table is nearly sorted by hash: growing reads the old one
 * and writes the new one from front to back.
 */
#include "user/index.h"

#include "user/mem.h"

#define SPARE 16	/* empty slots there always are: a search ends at one */

static size_t home_of(const struct index *x, uint32_t hash)
{
	return (size_t)((uint64_t)hash * x->size >> 32);
}

struct index_slot *index_next(const struct index *x, uint32_t hash, size_t *pos)
{
	size_t i;

	if (!x->size)
		return NULL;
	for (i = home_of(x, hash) + *pos;; i++) {
		struct index_slot *slot;

		i = i < x->size ? i : i - x->size;
		slot = &x->slots[i];
		++*pos;
		if (!slot->number)
			return NULL;
		if (slot->hash == hash)
			return slot;
	}
}

int index_reserve(struct index *x, size_t count)
{
	struct index next = { 0 };

	if (count + count / 3 + SPARE <= x->size)
		return 0;
	next.size = count + count * 2 / 3 + SPARE;
	next.slots = pw_calloc(next.size, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	for (size_t i = 0; i < x->size; i++)
		if (x->slots[i].number)
			index_add(&next, x->slots[i].hash, x->slots[i].number);
	index_done(x);
	*x = next;
	return 0;
}

void index_add(struct index *x, uint32_t hash, uint32_t number)
{
	size_t i = home_of(x, hash);

	while (x->slots[i].number)
		i = i + 1 < x->size ? i + 1 : 0;
	x->slots[i] = (struct index_slot){ hash, number };
	x->count++;
}

/* How far slot i lies behind slot from, around the end. */
static size_t distance(const struct index *x, size_t from, size_t i)
{
	return i >= from ? i - from : i + x->size - from;
}

void index_del(struct index *x, struct index_slot *slot)
{
	size_t hole = (size_t)(slot - x->slots), i = hole;

	for (;;) {
		i = i + 1 < x->size ? i + 1 : 0;
		if (!x->slots[i].number)
			break;
		/* Whatever may stand in the hole without being before its home. */
		if (distance(x, home_of(x, x->slots[i].hash), i) >= distance(x, hole, i)) {
			x->slots[hole] = x->slots[i];
			hole = i;
		}
	}
	x->slots[hole] = (struct index_slot){ 0 };
	x->count--;
}

void index_done(struct index *x)
{
	pw_free(x->slots);
	*x = (struct index){ 0 };
}
