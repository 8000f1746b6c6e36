/* SPDX-License-Identifier: GPL-2.0 */
/* The index, also against an array that cannot be wrong, with hashes of few values so that they crowd and wrap. */
#include "user/index.h"

#include "tests/unit/unit.h"

#define NUMBERS 600

/* Both ends of the table, so that runs go around its end, and a few in between. */
static uint32_t crowded(uint32_t number)
{
	static const uint32_t hashes[] = { 0, 1, UINT32_MAX, UINT32_MAX - 1, 0x80000000, 0x80000001, 12345, 0xf0000000 };

	return number % 3 ? hashes[number % ARRAY_SIZE(hashes)] : number * 2654435761u;
}

static struct index_slot *find(const struct index *x, uint32_t hash, uint32_t number)
{
	struct index_slot *slot;

	for (size_t pos = 0; (slot = index_next(x, hash, &pos));)
		if (slot->number == number)
			return slot;
	return NULL;
}

static size_t count_of(const struct index *x, uint32_t hash)
{
	size_t count = 0;

	for (size_t pos = 0; index_next(x, hash, &pos);)
		count++;
	return count;
}

static void an_empty_index_has_nothing(void **state)
{
	_cleanup_index_ struct index x = { 0 };
	size_t pos = 0;

	(void)state;
	assert_null(index_next(&x, 0, &pos));
	assert_int_equal(index_reserve(&x, 1), 0);
	assert_null(index_next(&x, 0, &pos));
}

static void one_hash_may_stand_for_several(void **state)
{
	_cleanup_index_ struct index x = { 0 };

	(void)state;
	assert_int_equal(index_reserve(&x, 3), 0);
	index_add(&x, 7, 1);
	index_add(&x, 7, 2);
	index_add(&x, 8, 3);
	assert_int_equal(count_of(&x, 7), 2);
	index_del(&x, find(&x, 7, 1));
	assert_null(find(&x, 7, 1));
	assert_non_null(find(&x, 7, 2));
	assert_non_null(find(&x, 8, 3));
	find(&x, 7, 2)->number = 5;
	assert_non_null(find(&x, 7, 5));
	assert_int_equal(x.count, 2);
}

static void check_against(const struct index *x, const bool *there)
{
	size_t count = 0;

	for (uint32_t n = 1; n < NUMBERS; n++) {
		assert_int_equal(find(x, crowded(n), n) != NULL, there[n]);
		count += there[n];
	}
	assert_int_equal(x->count, count);
}

static void agrees_with_an_array(void **state)
{
	_cleanup_index_ struct index x = { 0 };
	bool there[NUMBERS] = { false };
	uint64_t seed = 42;

	(void)state;
	for (int step = 0; step < 40000; step++) {
		uint64_t dice = unit_random(&seed);
		uint32_t n = (uint32_t)(dice % (NUMBERS - 1) + 1);
		/* Long spells of growing and of shrinking. */
		bool add = (dice >> 32) % 10 < (step / 5000 % 2 ? 2 : 8);

		if (add && !there[n]) {
			assert_int_equal(index_reserve(&x, x.count + 1), 0);
			index_add(&x, crowded(n), n);
		} else if (!add && there[n]) {
			index_del(&x, find(&x, crowded(n), n));
		} else {
			continue;
		}
		there[n] = add;
		if (step % 97 == 0)
			check_against(&x, there);
	}
	check_against(&x, there);
}

static void churn_does_not_grow_it(void **state)
{
	_cleanup_index_ struct index x = { 0 };

	(void)state;
	for (uint32_t n = 1; n < 200000; n++) {
		assert_int_equal(index_reserve(&x, x.count + 1), 0);
		index_add(&x, index_hash(n), n);
		if (n > 10)
			index_del(&x, find(&x, index_hash(n - 10), n - 10));
	}
	assert_in_range(x.size, 1, 64);
}

/* What a lifetime costs rests on it: no more than 14 bytes each, however many. */
static void it_wastes_little(void **state)
{
	_cleanup_index_ struct index x = { 0 };

	(void)state;
	for (uint32_t n = 1; n < 100000; n++) {
		assert_int_equal(index_reserve(&x, n), 0);
		index_add(&x, index_hash(n), n);
		if (n >= 1000)
			assert_true(x.size * sizeof(*x.slots) <= (size_t)n * 14 + 256);
	}
}

static void without_memory_it_stays_as_it_was(void **state)
{
	_cleanup_index_ struct index x = { 0 };

	(void)state;
	unit_fail_after(0);
	assert_int_equal(index_reserve(&x, 1), -ENOMEM);
	unit_fail_never();
	assert_int_equal(index_reserve(&x, 1), 0);
	index_add(&x, 7, 1);
	unit_fail_after(0);
	assert_int_equal(index_reserve(&x, 1000), -ENOMEM);
	unit_fail_never();
	assert_non_null(find(&x, 7, 1));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(an_empty_index_has_nothing),
	cmocka_unit_test(one_hash_may_stand_for_several),
	cmocka_unit_test(agrees_with_an_array),
	cmocka_unit_test(churn_does_not_grow_it),
	cmocka_unit_test(it_wastes_little),
	cmocka_unit_test(without_memory_it_stays_as_it_was),
};

UNIT_MAIN(tests)
