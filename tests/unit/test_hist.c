/* SPDX-License-Identifier: GPL-2.0 */
/* The histogram against sorted arrays. */
#include "user/hist.h"

#include <math.h>

#include "tests/unit/unit.h"

#define VALUES 20000

static const double quantiles[] = { 0, 0.001, 0.01, 0.07, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1 };

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Nearest rank, by the book. */
static uint64_t honest(const uint64_t *sorted, size_t n, double q)
{
	size_t rank = (size_t)ceill((long double)n * (long double)q - 1e-9L);

	return sorted[rank ? rank - 1 : 0];
}

static void check_percentiles(const struct hist *h, uint64_t *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		uint64_t truth = honest(values, n, quantiles[i]), said = hist_percentile(h, quantiles[i]);
		uint64_t error = said > truth ? said - truth : truth - said;

		if (error > truth / 100)
			fail_msg("q %g of %zu: %lu, not %lu", quantiles[i], n, (unsigned long)said,
				 (unsigned long)truth);
	}
	assert_int_equal(h->count, n);
	assert_int_equal(h->min, values[0]);
	assert_int_equal(h->max, values[n - 1]);
}

/* Evenly over the magnitudes: as many below a microsecond as around a minute. */
static uint64_t log_uniform(uint64_t *seed)
{
	return unit_random(seed) >> (unit_random(seed) % 64);
}

static uint64_t around_a_minute(uint64_t *seed)
{
	return 60000000000ULL + unit_random(seed) % 40000000;
}

static uint64_t small(uint64_t *seed)
{
	return unit_random(seed) % 300;
}

static uint64_t two_humps(uint64_t *seed)
{
	return unit_random(seed) % 2 ? 1000 + unit_random(seed) % 100 : 7200000000000ULL;
}

static void percentiles_are_within_one_percent(void **state)
{
	static uint64_t (*const streams[])(uint64_t *) = { log_uniform, around_a_minute, small, two_humps };
	static uint64_t values[VALUES];
	static const size_t counts[] = { 1, 2, 3, 10, 100, 101, VALUES };
	uint64_t seed = 3;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(streams); s++) {
		for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
			_cleanup_hist_ struct hist h = { 0 };

			for (size_t i = 0; i < counts[c]; i++) {
				values[i] = streams[s](&seed);
				assert_int_equal(hist_add(&h, values[i]), 0);
			}
			check_percentiles(&h, values, counts[c]);
		}
	}
}

/* The edges of every bucket's magnitude, one value at a time between two others that set min and max free. */
static void every_magnitude_is_within_one_percent(void **state)
{
	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		for (int nudge = -1; nudge <= 1; nudge++) {
			_cleanup_hist_ struct hist h = { 0 };
			uint64_t value = (1ULL << bit) + (uint64_t)(int64_t)nudge;
			uint64_t all[] = { 0, value, UINT64_MAX };

			for (size_t i = 0; i < ARRAY_SIZE(all); i++)
				assert_int_equal(hist_add(&h, all[i]), 0);
			check_percentiles(&h, all, ARRAY_SIZE(all));
		}
	}
}

static void small_numbers_are_exact(void **state)
{
	_cleanup_hist_ struct hist h = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 128; i++)
		hist_add(&h, i);
	for (int i = 0; i < 128; i++)
		assert_int_equal(hist_percentile(&h, (i + 1) / 128.0), i);
}

static void totals_are_exact(void **state)
{
	_cleanup_hist_ struct hist h = { 0 };

	(void)state;
	assert_int_equal(hist_percentile(&h, 0.5), 0);
	hist_add(&h, 134217729);
	hist_add(&h, 987654321);
	hist_add(&h, 134217728);
	assert_int_equal(h.count, 3);
	assert_int_equal(h.min, 134217728);
	assert_int_equal(h.max, 987654321);
	assert_int_equal(h.sum, 134217729 + 987654321 + 134217728);
	assert_int_equal(hist_percentile(&h, 0), 134217728);
	assert_int_equal(hist_percentile(&h, 1), 987654321);
	assert_int_equal(hist_percentile(&h, -1), 134217728);
	assert_int_equal(hist_percentile(&h, 2), 987654321);
	assert_int_equal(hist_percentile(&h, (double)NAN), 134217728);
}

static void sum_stays_at_its_end(void **state)
{
	_cleanup_hist_ struct hist h = { 0 };

	(void)state;
	hist_add(&h, UINT64_MAX);
	hist_add(&h, 10);
	assert_true(h.sum == UINT64_MAX);
	assert_int_equal(h.count, 2);
}

static void a_single_value_is_exact(void **state)
{
	_cleanup_hist_ struct hist h = { 0 };

	(void)state;
	hist_add(&h, 60000000123ULL);
	hist_add(&h, 60000000123ULL);
	assert_int_equal(hist_percentile(&h, 0.5), 60000000123ULL);
}

static void memory_is_bounded_and_small_when_almost_empty(void **state)
{
	_cleanup_hist_ struct hist few = { 0 }, many = { 0 };
	uint64_t seed = 5;

	(void)state;
	assert_int_equal(sizeof(struct hist_cell), 8);
	for (int i = 0; i < 1000; i++)
		hist_add(&few, 60000000000ULL + (uint64_t)i * 1000);
	assert_true(few.size * sizeof(*few.cells) <= 64);
	for (int i = 0; i < 300000; i++)
		hist_add(&many, log_uniform(&seed));
	assert_true(many.used > HIST_BUCKETS * 9 / 10);
	assert_true(many.size <= HIST_BUCKETS);
}

static void merged_is_as_if_added(void **state)
{
	_cleanup_hist_ struct hist one = { 0 }, two = { 0 }, both = { 0 };
	uint64_t seed = 9;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		uint64_t value = log_uniform(&seed) / 1000;

		hist_add(i % 3 ? &one : &two, value);
		hist_add(&both, value);
	}
	assert_int_equal(hist_merge(&one, &two), 0);
	assert_int_equal(one.count, both.count);
	assert_int_equal(one.min, both.min);
	assert_int_equal(one.max, both.max);
	assert_int_equal(one.sum, both.sum);
	assert_int_equal(one.used, both.used);
	assert_memory_equal(one.cells, both.cells, one.used * sizeof(*one.cells));
}

static void merging_nothing_changes_nothing(void **state)
{
	_cleanup_hist_ struct hist h = { 0 }, empty = { 0 };

	(void)state;
	hist_add(&h, 7);
	assert_int_equal(hist_merge(&h, &empty), 0);
	assert_int_equal(h.count, 1);
	assert_int_equal(h.min, 7);
	assert_int_equal(hist_merge(&empty, &h), 0);
	assert_int_equal(empty.min, 7);
}

static void no_memory_counts_nothing(void **state)
{
	_cleanup_hist_ struct hist h = { 0 }, other = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 4; i++) {
		hist_add(&h, 1000 << i);
		hist_add(&other, 1000000 << i);
	}
	unit_fail_after(0);
	assert_int_equal(hist_add(&h, 5), -ENOMEM);
	assert_int_equal(hist_merge(&h, &other), -ENOMEM);
	assert_int_equal(hist_add(&h, 2000), 0);
	unit_fail_never();
	assert_int_equal(h.count, 5);
	assert_int_equal(h.min, 1000);
	assert_int_equal(h.max, 8000);
	assert_int_equal(h.sum, 17000);
	hist_done(&h);
	assert_int_equal(h.count, 0);
	assert_int_equal(hist_add(&h, 1), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(percentiles_are_within_one_percent),
	cmocka_unit_test(every_magnitude_is_within_one_percent),
	cmocka_unit_test(small_numbers_are_exact),
	cmocka_unit_test(totals_are_exact),
	cmocka_unit_test(sum_stays_at_its_end),
	cmocka_unit_test(a_single_value_is_exact),
	cmocka_unit_test(memory_is_bounded_and_small_when_almost_empty),
	cmocka_unit_test(merged_is_as_if_added),
	cmocka_unit_test(merging_nothing_changes_nothing),
	cmocka_unit_test(no_memory_counts_nothing),
};

UNIT_MAIN(tests)
