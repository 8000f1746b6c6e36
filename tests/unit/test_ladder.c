/* SPDX-License-Identifier: GPL-2.0 */
/* The ladder is well made: every hook has rungs, best first, and words for them are known. */
#include "user/ladder.h"

#include "tests/unit/unit.h"

#include "user/base.h"

static void every_hook_has_rungs_best_first(void **state)
{
	(void)state;
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		const struct rung *rungs = ladder[hook].rungs;

		assert_non_null(ladder[hook].name);
		assert_non_null(rungs[0].name);
		assert_int_equal(ladder_hook(ladder[hook].name), hook);
		for (size_t i = 0; i < LADDER_RUNGS && rungs[i].name; i++) {
			assert_non_null(rungs[i].programs[0]);
			assert_non_null(rungs[i].exact);
			assert_non_null(rungs[i].cost);
			if (i)
				assert_true(ladder_rank(rungs[i - 1].name) <= ladder_rank(rungs[i].name));
			if (rungs[i].needs)
				assert_true(ladder_hook(rungs[i].needs) < LADDER_HOOKS);
		}
	}
	assert_int_equal(ladder_hook("no such"), LADDER_HOOKS);
}

static void words_are_told_from_others(void **state)
{
	static const char *const good[] = { "fentry", "kprobe", "base", "bind=base", "tcp-release=kprobe" };
	static const char *const bad[] = { "", "=", "bind", "bind=", "bin=base", "bindx=base", "cgroup", "bind=cgroup",
					   "base=bind" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(ladder_knows(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(ladder_knows(bad[i]));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_hook_has_rungs_best_first),
	cmocka_unit_test(words_are_told_from_others),
};

UNIT_MAIN(tests)
