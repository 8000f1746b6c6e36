/* SPDX-License-Identifier: GPL-2.0 */
/*
 * 32-bit numbers of things, by a hash of what the things are known for: 8 bytes a slot, three fifths to three quarters
 * of them taken. Zero-initialised is empty and ready for use; it never shrinks. One hash may stand for several things,
 * so whoever looks one up compares:
 *
 *	for (size_t pos = 0; (slot = index_next(&x, hash, &pos));)
 *		if (is_it(slot->number))
 */
#ifndef PORTWAKE_USER_INDEX_H
#define PORTWAKE_USER_INDEX_H

#include <stdint.h>

#include "user/base.h"

struct index_slot {
	uint32_t hash;
	uint32_t number;	/* 0: empty */
};

struct index {
	struct index_slot *slots;
	size_t size;		/* slots */
	size_t count;		/* of them taken */
};

/* Well spread for keys that follow each other, as cookies and ports do. */
static inline uint32_t index_hash(uint64_t key)
{
	return (uint32_t)(((key ^ (key >> 32)) * 0x9e3779b97f4a7c15ULL) >> 32);
}

/*
 * The next slot of that hash, or NULL; *pos is 0 at first. Its number may be written (not as 0). It stays where it is
 * until something is added or deleted.
 */
struct index_slot *index_next(const struct index *x, uint32_t hash, size_t *pos);

/* Something of that hash is looked for soon: a hint to the processor. */
static inline void index_expect(const struct index *x, uint32_t hash)
{
	if (x->size)
		__builtin_prefetch(&x->slots[(uint64_t)hash * x->size >> 32]);
}

/* Makes room for count numbers in all. 0, or -ENOMEM with the index as it was. */
int index_reserve(struct index *x, size_t count);

/* There must be room, and number is not 0. */
void index_add(struct index *x, uint32_t hash, uint32_t number);

void index_del(struct index *x, struct index_slot *slot);

/* Releases its memory; it is empty afterwards and can be used again. */
void index_done(struct index *x);

#define _cleanup_index_ _cleanup_(index_done)

#endif
