/* SPDX-License-Identifier: GPL-2.0 */
/* Allocation and its seam. */
#include "user/mem.h"

#include "tests/unit/unit.h"

static void calloc_zeroes(void **state)
{
	unsigned char *block = pw_calloc(100, 3);

	(void)state;
	assert_non_null(block);
	for (int i = 0; i < 300; i++)
		assert_int_equal(block[i], 0);
	pw_free(block);
}

/* Volatile, so that no compiler sees through it. */
static volatile size_t quarter = SIZE_MAX / 4 + 2;

static void overflow_is_refused(void **state)
{
	void *block = pw_calloc(1, 8);

	(void)state;
	assert_null(pw_calloc(quarter, 4));
	assert_null(pw_reallocarray(block, quarter, 4));
	pw_free(block);
}

static void strings_are_copied_up_to_the_length(void **state)
{
	char *whole = pw_strdup("portwake"), *part = pw_strndup("portwake", 4);

	(void)state;
	assert_string_equal(whole, "portwake");
	assert_string_equal(part, "port");
	pw_free(whole);
	pw_free(part);
}

static void hook_refuses_everything_until_it_is_taken_away(void **state)
{
	char *block = pw_strdup("kept");

	(void)state;
	unit_fail_after(1);
	pw_free(pw_calloc(1, 1));
	assert_null(pw_calloc(1, 1));
	assert_null(pw_strdup("x"));
	assert_null(pw_strndup("x", 1));
	assert_null(pw_reallocarray(block, 2, 100));
	assert_string_equal(block, "kept");
	unit_fail_never();
	block = pw_reallocarray(block, 2, 100);
	assert_string_equal(block, "kept");
	pw_free(block);
}

static size_t asked;

static bool note_size(size_t size)
{
	asked = size;
	return false;
}

static void hook_sees_the_size(void **state)
{
	void *block;

	(void)state;
	mem_fail_hook(note_size);
	block = pw_calloc(3, 7);
	mem_fail_hook(NULL);
	assert_int_equal(asked, 21);
	pw_free(block);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(calloc_zeroes),
	cmocka_unit_test(overflow_is_refused),
	cmocka_unit_test(strings_are_copied_up_to_the_length),
	cmocka_unit_test(hook_refuses_everything_until_it_is_taken_away),
	cmocka_unit_test(hook_sees_the_size),
};

UNIT_MAIN(tests)
