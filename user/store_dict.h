/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Numbers for values that many rows share, so that each is written once. Bounded
 * by forgetting all of it: then values are told anew under new numbers, and what
 * is older than dict_floor() is referred to no more.
 */
#ifndef PORTWAKE_USER_STORE_DICT_H
#define PORTWAKE_USER_STORE_DICT_H

#include <stdbool.h>
#include <stdint.h>

#include "user/map.h"

struct dict {
	struct map map;
	size_t bytes;
	uint32_t next, floor;	/* the next number; the first one since it was forgotten */
};

/*
 * The number of a value. *fresh: it is new, and still to be written. 0 without memory. The bound is looked at by
 * dict_trim() alone, so that all numbers handed out in between stay good.
 */
uint32_t dict_number(struct dict *dict, const void *value, size_t size, bool *fresh);

/* When it has grown past its bound, forgets. */
void dict_trim(struct dict *dict);

/* Forgets: also what was numbered but never written. */
void dict_forget(struct dict *dict);

#endif
