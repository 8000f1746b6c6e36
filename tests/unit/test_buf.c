/* SPDX-License-Identifier: GPL-2.0 */
/* The bounded buffer. */
#include "user/buf.h"

#include "tests/unit/unit.h"

static void appends_in_order(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1000);

	(void)state;
	assert_string_equal(buf_text(&b), "");
	assert_int_equal(buf_adds(&b, "port"), 0);
	assert_int_equal(buf_addc(&b, ' '), 0);
	assert_int_equal(buf_printf(&b, "%d/%s", 60420, "tcp"), 0);
	assert_int_equal(buf_add(&b, "!?", 1), 0);
	assert_string_equal(buf_text(&b), "port 60420/tcp!");
	assert_int_equal(b.len, strlen("port 60420/tcp!"));
}

static void grows_past_its_first_size(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(100000);

	(void)state;
	for (int i = 0; i < 10000; i++)
		assert_int_equal(buf_printf(&b, "%05d", i), 0);
	assert_int_equal(b.len, 50000);
	assert_memory_equal(b.data + 49995, "09999", 6);
	assert_int_equal(buf_printf(&b, "%*s", 40000, "end"), 0);
	assert_memory_equal(b.data + 89997, "end", 4);
}

static void the_bound_is_exact_and_a_failed_append_adds_nothing(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(5);

	(void)state;
	assert_int_equal(buf_adds(&b, "abcd"), 0);
	assert_int_equal(buf_printf(&b, "%s", "ef"), -ENOBUFS);
	assert_string_equal(buf_text(&b), "abcd");
	buf_truncate(&b, b.len);
	assert_int_equal(buf_addc(&b, 'e'), 0);
	assert_int_equal(buf_addc(&b, 'f'), -ENOBUFS);
	assert_string_equal(buf_text(&b), "abcde");
}

static void the_first_error_sticks_until_reset(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(5);

	(void)state;
	assert_int_equal(buf_adds(&b, "abcdef"), -ENOBUFS);
	assert_int_equal(buf_addc(&b, 'a'), -ENOBUFS);
	assert_int_equal(buf_printf(&b, "a"), -ENOBUFS);
	assert_int_equal(buf_add_escaped(&b, "a", 1), -ENOBUFS);
	assert_int_equal(buf_pad(&b, 0, 2), -ENOBUFS);
	assert_int_equal(buf_error(&b), -ENOBUFS);
	assert_int_equal(b.len, 0);
	buf_reset(&b);
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(buf_adds(&b, "a"), 0);
}

static void no_memory_is_said_and_changes_nothing(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(100000);
	char big[2000];

	(void)state;
	memset(big, 'x', sizeof(big));
	unit_fail_after(1);
	assert_int_equal(buf_adds(&b, "kept"), 0);
	assert_int_equal(buf_add(&b, big, sizeof(big)), -ENOMEM);
	buf_truncate(&b, b.len);
	assert_int_equal(buf_printf(&b, "%2000d", 1), -ENOMEM);
	unit_fail_never();
	assert_string_equal(buf_text(&b), "kept");
}

static void escaped_text_is_all_or_nothing(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(8);

	(void)state;
	assert_int_equal(buf_add_escaped(&b, "a\nb", 3), 0);
	assert_string_equal(buf_text(&b), "a\\x0ab");
	assert_int_equal(buf_add_escaped(&b, "c\n", 2), -ENOBUFS);
	assert_string_equal(buf_text(&b), "a\\x0ab");
	assert_int_equal(b.len, 6);
}

static void padding_stops_at_the_column(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(100);

	(void)state;
	buf_adds(&b, "line\n");
	buf_adds(&b, "ab");
	assert_int_equal(buf_pad(&b, 5, 4), 0);
	assert_string_equal(buf_text(&b), "line\nab  ");
	assert_int_equal(buf_pad(&b, 5, 3), 0);
	assert_string_equal(buf_text(&b), "line\nab  ");
}

static void consume_drops_the_front(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(100);

	(void)state;
	buf_consume(&b, 5);
	buf_adds(&b, "abcdef");
	buf_consume(&b, 2);
	assert_string_equal(buf_text(&b), "cdef");
	buf_consume(&b, 100);
	assert_string_equal(buf_text(&b), "");
	assert_int_equal(b.len, 0);
}

static void truncate_goes_back_to_a_mark(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(6);
	size_t mark;

	(void)state;
	buf_truncate(&b, 0);
	buf_adds(&b, "abc");
	mark = b.len;
	buf_adds(&b, "de");
	buf_adds(&b, "fgh");
	buf_truncate(&b, mark);
	assert_string_equal(buf_text(&b), "abc");
	assert_int_equal(buf_error(&b), 0);
	buf_truncate(&b, 50);
	assert_int_equal(b.len, 3);
}

static void done_can_be_used_again(void **state)
{
	struct buf b = BUF_INIT(3);

	(void)state;
	buf_adds(&b, "abc");
	buf_done(&b);
	assert_int_equal(b.len, 0);
	assert_null(b.data);
	assert_int_equal(buf_adds(&b, "abc"), 0);
	assert_int_equal(buf_adds(&b, "d"), -ENOBUFS);
	buf_done(&b);
	buf_done(&b);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(appends_in_order),
	cmocka_unit_test(grows_past_its_first_size),
	cmocka_unit_test(the_bound_is_exact_and_a_failed_append_adds_nothing),
	cmocka_unit_test(the_first_error_sticks_until_reset),
	cmocka_unit_test(no_memory_is_said_and_changes_nothing),
	cmocka_unit_test(escaped_text_is_all_or_nothing),
	cmocka_unit_test(padding_stops_at_the_column),
	cmocka_unit_test(consume_drops_the_front),
	cmocka_unit_test(truncate_goes_back_to_a_mark),
	cmocka_unit_test(done_can_be_used_again),
};

UNIT_MAIN(tests)
