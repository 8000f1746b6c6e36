/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much time may go into what costs some: so much at once, and then a share of the time that passes. What is begun
 * is finished, and what it took beyond the budget is owed, as much again at most: what takes seconds waited for a CPU,
 * and to owe them would be to answer nothing for a minute. Pure.
 */
#ifndef PORTWAKE_USER_BUDGET_H
#define PORTWAKE_USER_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
	int64_t left, most;	/* ns */
	uint64_t at;		/* ns of any one clock: filled up until then */
	unsigned int share;	/* it fills up by one part in so many of the time that passes */
};

static inline bool budget_allows(struct budget *budget, uint64_t now)
{
	uint64_t more = now > budget->at ? (now - budget->at) / budget->share : 0;

	if (!more)
		return budget->left > 0;
	budget->at = now;
	budget->left += more > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)more;
	if (budget->left > budget->most)
		budget->left = budget->most;
	return budget->left > 0;
}

/* From since until now was spent. */
static inline void budget_spend(struct budget *budget, uint64_t since, uint64_t now)
{
	uint64_t spent = now > since ? now - since : 0;

	budget->left -= spent > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)spent;
	if (budget->left < -budget->most)
		budget->left = -budget->most;
}

#endif
