/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Open addressing with linear probing. A deleted entry leaves a grave, so that a walk is not disturbed; graves go
 * when the table is rebuilt, which fits its size to the entries and so shrinks it too.
 */
#include "user/map.h"

#include "user/mem.h"

#define FIRST_SIZE 16

static char grave;

static bool is_entry(const struct map_slot *slot)
{
	return slot->value && slot->value != &grave;
}

/* The finaliser of splitmix64: cookies and pids are sequential, their hashes must not be. */
static size_t hash(uint64_t key)
{
	key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9ULL;
	key = (key ^ (key >> 27)) * 0x94d049bb133111ebULL;
	return (size_t)(key ^ (key >> 31));
}

/* The entry of key, or NULL. There always is an empty slot to stop at. */
static struct map_slot *find(const struct map *m, uint64_t key)
{
	if (!m->size)
		return NULL;
	for (size_t i = hash(key) & (m->size - 1);; i = (i + 1) & (m->size - 1)) {
		struct map_slot *slot = &m->slots[i];

		if (!slot->value)
			return NULL;
		if (slot->key == key && slot->value != &grave)
			return slot;
	}
}

static void add(struct map *m, uint64_t key, void *value)
{
	size_t i = hash(key) & (m->size - 1);

	while (is_entry(&m->slots[i]))
		i = (i + 1) & (m->size - 1);
	if (!m->slots[i].value)
		m->used++;
	m->slots[i] = (struct map_slot){ key, value };
	m->count++;
}

static int rebuild(struct map *m)
{
	struct map next = { .size = FIRST_SIZE };
	uint64_t key;
	void *value;

	while (next.size < (m->count + 1) * 2)
		next.size *= 2;
	next.slots = pw_calloc(next.size, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	for (size_t pos = 0; map_next(m, &pos, &key, &value);)
		add(&next, key, value);
	map_done(m);
	*m = next;
	return 0;
}

void *map_get(const struct map *m, uint64_t key)
{
	struct map_slot *slot = find(m, key);

	return slot ? slot->value : NULL;
}

int map_put(struct map *m, uint64_t key, void *value)
{
	struct map_slot *slot = find(m, key);

	if (!value)
		return -EINVAL;
	if (slot) {
		slot->value = value;
		return 0;
	}
	/* At most three quarters are not empty: probes stay short. */
	if ((m->used + 1) * 4 > m->size * 3) {
		int r = rebuild(m);

		if (r < 0)
			return r;
	}
	add(m, key, value);
	return 0;
}

void *map_del(struct map *m, uint64_t key)
{
	struct map_slot *slot = find(m, key);
	void *value;

	if (!slot)
		return NULL;
	value = slot->value;
	slot->value = &grave;
	m->count--;
	return value;
}

bool map_next(const struct map *m, size_t *pos, uint64_t *key, void **value)
{
	while (*pos < m->size) {
		const struct map_slot *slot = &m->slots[(*pos)++];

		if (!is_entry(slot))
			continue;
		if (key)
			*key = slot->key;
		if (value)
			*value = slot->value;
		return true;
	}
	return false;
}

void map_done(struct map *m)
{
	pw_free(m->slots);
	*m = (struct map){ 0 };
}
