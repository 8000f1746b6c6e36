/* SPDX-License-Identifier: GPL-2.0 */
/* What is spent is owed, and is paid back by the time that passes. */
#include "user/budget.h"

#include "tests/unit/unit.h"

#define MS 1000000ULL

static struct budget fresh(void)
{
	return (struct budget){ .left = 200 * MS, .most = 200 * MS, .at = 1000 * MS, .share = 20 };
}

static void a_debt_is_paid_back_first(void **state)
{
	struct budget b = fresh();

	(void)state;
	assert_true(budget_allows(&b, 1000 * MS));
	budget_spend(&b, 1000 * MS, 1300 * MS);
	/* 100 ms too much: at a twentieth that takes 2 s, of which 300 ms have passed. */
	assert_false(budget_allows(&b, 1300 * MS));
	assert_false(budget_allows(&b, 3000 * MS));
	assert_true(budget_allows(&b, 3001 * MS));
}

/* Asked for on and on, it is a twentieth of the time and no more. */
static void the_share_is_kept(void **state)
{
	struct budget b = fresh();
	uint64_t now = b.at, spent = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		if (budget_allows(&b, now)) {
			budget_spend(&b, now, now + 10 * MS);
			spent += 10 * MS;
			now += 10 * MS;
		}
		now += MS;
	}
	assert_in_range(spent, (now - 1000 * MS) / 20, (now - 1000 * MS) / 20 + 210 * MS);
}

static void it_fills_up_to_the_brim(void **state)
{
	struct budget b = fresh();

	(void)state;
	assert_true(budget_allows(&b, UINT64_MAX));
	assert_int_equal(b.left, 200 * MS);
	budget_spend(&b, 1, 200 * MS);
	assert_int_equal(b.left, 1);
	budget_spend(&b, 1, 2);
	assert_false(budget_allows(&b, 5));
}

/* A stall of seconds is not owed whole. */
static void no_debt_is_larger_than_the_budget(void **state)
{
	struct budget b = fresh();

	(void)state;
	budget_spend(&b, 1000 * MS, 9000 * MS);
	assert_int_equal(b.left, -200 * MS);
	b.at = 9000 * MS;
	assert_false(budget_allows(&b, 13000 * MS));
	assert_true(budget_allows(&b, 13001 * MS));
	budget_spend(&b, 0, UINT64_MAX);
	assert_int_equal(b.left, -200 * MS);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_debt_is_paid_back_first),
	cmocka_unit_test(the_share_is_kept),
	cmocka_unit_test(it_fills_up_to_the_brim),
	cmocka_unit_test(no_debt_is_larger_than_the_budget),
};

UNIT_MAIN(tests)
