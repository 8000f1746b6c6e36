/* SPDX-License-Identifier: GPL-2.0 */
/* Values to numbers. */
#include "user/store_dict.h"

#include <string.h>

#include "user/mem.h"

#define VALUES_MAX	8192
#define BYTES_MAX	(1U << 20)

struct value {
	struct value *next;	/* of the same hash */
	uint32_t number;
	uint32_t size;
	unsigned char bytes[];
};

static uint64_t hash_of(const void *data, size_t size)
{
	const unsigned char *bytes = data;
	uint64_t hash = 0xcbf29ce484222325ULL ^ size, word;

	for (; size >= sizeof(word); size -= sizeof(word), bytes += sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return hash ^ hash >> 29;
}

static struct value *add(struct dict *dict, uint64_t hash, const void *bytes, size_t size)
{
	struct value *value = pw_calloc(1, sizeof(*value) + size);

	if (!value)
		return NULL;
	value->next = map_get(&dict->map, hash);
	value->size = (uint32_t)size;
	memcpy(value->bytes, bytes, size);
	if (map_put(&dict->map, hash, value)) {
		pw_free(value);
		return NULL;
	}
	dict->bytes += sizeof(*value) + size;
	return value;
}

uint32_t dict_number(struct dict *dict, const void *bytes, size_t size, bool *fresh)
{
	uint64_t hash = hash_of(bytes, size);
	struct value *value = map_get(&dict->map, hash);

	while (value && (value->size != size || memcmp(value->bytes, bytes, size) != 0))
		value = value->next;
	*fresh = !value;
	if (!value) {
		value = add(dict, hash, bytes, size);
		if (!value)
			return 0;
		value->number = dict->next++;
	}
	return value->number;
}

void dict_forget(struct dict *dict)
{
	void *at;

	for (size_t pos = 0; map_next(&dict->map, &pos, NULL, &at);) {
		for (struct value *value = at, *next; value; value = next) {
			next = value->next;
			pw_free(value);
		}
	}
	map_done(&dict->map);
	dict->bytes = 0;
	dict->floor = dict->next;
}

void dict_trim(struct dict *dict)
{
	if (map_count(&dict->map) > VALUES_MAX || dict->bytes > BYTES_MAX)
		dict_forget(dict);
}
