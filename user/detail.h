/* SPDX-License-Identifier: GPL-2.0 */
/* The details of a denial as JSON: who held what was wanted, and what would help. Members of an object. */
#ifndef PORTWAKE_USER_DETAIL_H
#define PORTWAKE_USER_DETAIL_H

#include <stdbool.h>

#include "user/explain.h"
#include "user/json.h"

/* "holders", "holders_total", "range", "advice"; explanation NULL: none is known. */
void detail_put(struct js *to, const struct explanation *explanation);

/* Single ones that lines of other kinds have too. Unknown, none: null. */
void detail_traits(struct js *to, bool known, uint8_t traits, uint32_t bound_dev);
void detail_cookie(struct js *to, uint64_t cookie);
void detail_end(struct js *to, const struct event_addr *remote, uint16_t port);

#endif
