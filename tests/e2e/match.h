/* SPDX-License-Identifier: GPL-2.0 */
/* Reported events grouped into lifetimes, and each lifetime of the truth with its own. */
#ifndef E2E_MATCH_H
#define E2E_MATCH_H

#include "tests/e2e/truth.h"

/* The events of one (cookie, generation), in the order of the stream. */
struct group {
	struct seen **seen;
	size_t count;
	bool taken;
};

/* The differences between one lifetime and its events (group NULL: none were reported). */
unsigned life_differs(const struct life *life, const struct happening *const *due, size_t due_count,
		      const struct group *group, bool say);

#endif
