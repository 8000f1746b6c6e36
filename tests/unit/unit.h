/* SPDX-License-Identifier: GPL-2.0 */
/* What every unit test needs: cmocka, an allocator that fails when told, reproducible random numbers. */
#ifndef PORTWAKE_TESTS_UNIT_H
#define PORTWAKE_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "user/mem.h"

/* main() of a test program: runs table[], or those tests of it that match the first argument. */
#define UNIT_MAIN(table)						\
	int main(int argc, char **argv)					\
	{								\
		if (argc > 1)						\
			cmocka_set_test_filter(argv[1]);		\
		return cmocka_run_group_tests(table, NULL, NULL);	\
	}

static inline size_t *unit_allocations_left(void)
{
	static size_t left;

	return &left;
}

static inline bool unit_refuses(size_t size)
{
	size_t *left = unit_allocations_left();

	(void)size;
	if (*left == 0)
		return true;
	(*left)--;
	return false;
}

/* The next n allocations succeed, all after them fail. */
static inline void unit_fail_after(size_t n)
{
	*unit_allocations_left() = n;
	mem_fail_hook(unit_refuses);
}

static inline void unit_fail_never(void)
{
	mem_fail_hook(NULL);
}

/* splitmix64: the same numbers in every run. */
static inline uint64_t unit_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

#endif
