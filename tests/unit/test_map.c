/* SPDX-License-Identifier: GPL-2.0 */
/* The hash map, also against an array that cannot be wrong. */
#include "user/map.h"

#include "tests/unit/unit.h"

#define KEYS 512

static int values[KEYS];

static void an_empty_map_has_nothing(void **state)
{
	_cleanup_map_ struct map m = { 0 };
	size_t pos = 0;

	(void)state;
	assert_null(map_get(&m, 0));
	assert_null(map_del(&m, 0));
	assert_int_equal(map_count(&m), 0);
	assert_false(map_next(&m, &pos, NULL, NULL));
}

static void put_get_replace_delete(void **state)
{
	_cleanup_map_ struct map m = { 0 };

	(void)state;
	assert_int_equal(map_put(&m, 0, &values[0]), 0);
	assert_int_equal(map_put(&m, UINT64_MAX, &values[1]), 0);
	assert_int_equal(map_count(&m), 2);
	assert_ptr_equal(map_get(&m, 0), &values[0]);
	assert_ptr_equal(map_get(&m, UINT64_MAX), &values[1]);
	assert_int_equal(map_put(&m, 0, &values[2]), 0);
	assert_int_equal(map_count(&m), 2);
	assert_ptr_equal(map_get(&m, 0), &values[2]);
	assert_ptr_equal(map_del(&m, 0), &values[2]);
	assert_null(map_get(&m, 0));
	assert_null(map_del(&m, 0));
	assert_int_equal(map_count(&m), 1);
}

static void null_is_no_value(void **state)
{
	_cleanup_map_ struct map m = { 0 };

	(void)state;
	assert_int_equal(map_put(&m, 5, NULL), -EINVAL);
	assert_int_equal(map_count(&m), 0);
}

static void check_against(const struct map *m, void *const *twin)
{
	bool seen[KEYS] = { false };
	size_t count = 0, walked = 0;
	uint64_t key;
	void *value;

	for (size_t k = 0; k < KEYS; k++) {
		assert_ptr_equal(map_get(m, k * 7), twin[k]);
		count += twin[k] != NULL;
	}
	assert_int_equal(map_count(m), count);
	for (size_t pos = 0; map_next(m, &pos, &key, &value); walked++) {
		assert_int_equal(key % 7, 0);
		assert_false(seen[key / 7]);
		seen[key / 7] = true;
		assert_ptr_equal(value, twin[key / 7]);
	}
	assert_int_equal(walked, count);
}

static void agrees_with_an_array(void **state)
{
	_cleanup_map_ struct map m = { 0 };
	void *twin[KEYS] = { NULL };
	uint64_t seed = 42;

	(void)state;
	for (int step = 0; step < 60000; step++) {
		uint64_t dice = unit_random(&seed);
		size_t k = dice % KEYS;
		/* Long spells of growing and of shrinking. */
		bool put = (dice >> 32) % 10 < (step / 5000 % 2 ? 2 : 8);

		if (put) {
			assert_int_equal(map_put(&m, k * 7, &values[step % KEYS]), 0);
			twin[k] = &values[step % KEYS];
		} else {
			assert_ptr_equal(map_del(&m, k * 7), twin[k]);
			twin[k] = NULL;
		}
		if (step % 997 == 0)
			check_against(&m, twin);
	}
	check_against(&m, twin);
}

static void current_entry_may_go_while_walking(void **state)
{
	_cleanup_map_ struct map m = { 0 };
	size_t walked = 0;
	uint64_t key;

	(void)state;
	for (uint64_t k = 0; k < KEYS; k++)
		assert_int_equal(map_put(&m, k, &values[k]), 0);
	for (size_t pos = 0; map_next(&m, &pos, &key, NULL); walked++) {
		if (key % 3 == 0)
			assert_ptr_equal(map_del(&m, key), &values[key]);
	}
	assert_int_equal(walked, KEYS);
	for (uint64_t k = 0; k < KEYS; k++)
		assert_ptr_equal(map_get(&m, k), k % 3 ? &values[k] : NULL);
}

static void an_entry_deleted_ahead_is_not_met(void **state)
{
	_cleanup_map_ struct map m = { 0 };
	uint64_t key, last = 0;
	size_t pos = 0;

	(void)state;
	for (uint64_t k = 0; k < 10; k++)
		map_put(&m, k, &values[k]);
	while (map_next(&m, &pos, &key, NULL))
		last = key;
	pos = 0;
	assert_true(map_next(&m, &pos, &key, NULL));
	map_del(&m, last);
	while (map_next(&m, &pos, &key, NULL))
		assert_int_not_equal(key, last);
}

static void churn_does_not_grow_it(void **state)
{
	_cleanup_map_ struct map m = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 200000; k++) {
		assert_int_equal(map_put(&m, k, &values[0]), 0);
		if (k >= 100)
			assert_non_null(map_del(&m, k - 100));
	}
	assert_int_equal(map_count(&m), 100);
	assert_true(m.size <= 512);
}

static void it_shrinks_when_most_are_gone(void **state)
{
	_cleanup_map_ struct map m = { 0 };

	(void)state;
	for (uint64_t k = 0; k < 50000; k++)
		map_put(&m, k, &values[0]);
	for (uint64_t k = 0; k < 50000; k++)
		map_del(&m, k);
	for (uint64_t k = 0; k < 200000; k++) {
		map_put(&m, k << 20, &values[0]);
		map_del(&m, k << 20);
	}
	assert_true(m.size <= 64);
}

static void no_memory_leaves_it_as_it_was(void **state)
{
	_cleanup_map_ struct map m = { 0 };
	uint64_t k = 0;

	(void)state;
	unit_fail_after(0);
	assert_int_equal(map_put(&m, 1, &values[1]), -ENOMEM);
	assert_int_equal(map_count(&m), 0);
	unit_fail_after(2);
	while (map_put(&m, k, &values[k]) == 0)
		k++;
	assert_true(k > 16);
	assert_int_equal(map_count(&m), k);
	/* Replacing and deleting need no memory. */
	assert_int_equal(map_put(&m, 0, &values[9]), 0);
	assert_ptr_equal(map_get(&m, 0), &values[9]);
	for (uint64_t i = 1; i < k; i++)
		assert_ptr_equal(map_del(&m, i), &values[i]);
	unit_fail_never();
	assert_int_equal(map_put(&m, k, &values[k]), 0);
	assert_int_equal(map_count(&m), 2);
}

static void done_is_empty_and_usable(void **state)
{
	struct map m = { 0 };

	(void)state;
	map_put(&m, 1, &values[1]);
	map_done(&m);
	assert_int_equal(map_count(&m), 0);
	assert_null(map_get(&m, 1));
	assert_int_equal(map_put(&m, 1, &values[2]), 0);
	map_done(&m);
	map_done(&m);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(an_empty_map_has_nothing),
	cmocka_unit_test(put_get_replace_delete),
	cmocka_unit_test(null_is_no_value),
	cmocka_unit_test(agrees_with_an_array),
	cmocka_unit_test(current_entry_may_go_while_walking),
	cmocka_unit_test(an_entry_deleted_ahead_is_not_met),
	cmocka_unit_test(churn_does_not_grow_it),
	cmocka_unit_test(it_shrinks_when_most_are_gone),
	cmocka_unit_test(no_memory_leaves_it_as_it_was),
	cmocka_unit_test(done_is_empty_and_usable),
};

UNIT_MAIN(tests)
