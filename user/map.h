/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hash map from a 64-bit key to a pointer that is not NULL. Zero-initialised is empty and ready for use. It
 * never owns its values. How many entries there may be is for the caller to bound.
 */
#ifndef PORTWAKE_USER_MAP_H
#define PORTWAKE_USER_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "user/base.h"

struct map_slot {
	uint64_t key;
	void *value;
};

struct map {
	struct map_slot *slots;
	size_t size;	/* slots: 0 or a power of two */
	size_t count;	/* entries */
	size_t used;	/* slots that are not empty: entries and the graves of deleted ones */
};

void *map_get(const struct map *m, uint64_t key);

/* Adds or replaces. 0, -EINVAL when value is NULL, or -ENOMEM with the map as it was; replacing never fails. */
int map_put(struct map *m, uint64_t key, void *value);

/* Removes and returns the value, or NULL. Allocates nothing. */
void *map_del(struct map *m, uint64_t key);

static inline size_t map_count(const struct map *m)
{
	return m->count;
}

/*
 * Walks the entries in no particular order: start with *pos = 0, until it returns false. key and value may be
 * NULL. While walking, any entry may be deleted or replaced; adding one is not allowed.
 *
 *	for (size_t pos = 0; map_next(&m, &pos, &key, &value);)
 */
bool map_next(const struct map *m, size_t *pos, uint64_t *key, void **value);

/* Releases the map's own memory; it is empty afterwards and can be used again. */
void map_done(struct map *m);

#define _cleanup_map_ _cleanup_(map_done)

#endif
