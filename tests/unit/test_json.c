/* SPDX-License-Identifier: GPL-2.0 */
/* JSON lines: what is written is compared as text, and read back by jansson. */
#include "user/json.h"

#include <math.h>

#include <jansson.h>

#include "tests/unit/unit.h"

static void check(struct js *value, const char *expected)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);

	assert_int_equal(js_line(value, &out), 0);
	assert_string_equal(buf_text(&out), expected);
	js_done(value);
}

static void members_keep_their_order(void **state)
{
	struct js line = js_object();

	(void)state;
	js_str(&line, "zeta", "z");
	js_uint(&line, "port", 60420);
	js_int(&line, "errno", -98);
	js_bool(&line, "yes", true);
	js_bool(&line, "no", false);
	js_null(&line, "pid");
	js_str(&line, "comm", NULL);
	js_strn(&line, "alpha", "abcdef", 3);
	check(&line, "{\"zeta\":\"z\",\"port\":60420,\"errno\":-98,\"yes\":true,\"no\":false,\"pid\":null,"
		     "\"comm\":null,\"alpha\":\"abc\"}\n");
}

static void empty_values(void **state)
{
	struct js object = js_object(), array = js_array();

	(void)state;
	check(&object, "{}\n");
	check(&array, "[]\n");
}

static void nested_values(void **state)
{
	struct js line = js_object(), list = js_array(), one = js_object();

	(void)state;
	js_uint(&one, "pid", 7);
	js_add(&list, NULL, &one);
	js_str(&list, NULL, "two");
	js_add(&line, "holders", &list);
	assert_null(one.text.data);
	assert_null(list.text.data);
	check(&line, "{\"holders\":[{\"pid\":7},\"two\"]}\n");
}

static void members_of_an_object_that_was_written(void **state)
{
	static const char *const others[] = {
		"", "{", "{}", "[1]", "{\"a\":1", "{\"a\":1} ", "{\"a\":1}\n", "{\"a\":\"\033\"}", "{\"a\":1},{\"b\":2}", "{\"a\":1}{\"b\":2}",
	};
	struct js line = js_object();

	(void)state;
	js_uint(&line, "port", 7);
	assert_int_equal(js_members(&line, "{\"holders\":[{\"pid\":7}],\"range\":null}"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(js_members(&line, others[i]), -EINVAL);
	js_uint(&line, "pid", 8);
	check(&line, "{\"port\":7,\"holders\":[{\"pid\":7}],\"range\":null,\"pid\":8}\n");
}

static void identifiers_are_strings(void **state)
{
	struct js line = js_object();

	(void)state;
	js_id(&line, "cookie", UINT64_MAX);
	js_id(&line, "zero", 0);
	check(&line, "{\"cookie\":\"18446744073709551615\",\"zero\":\"0\"}\n");
}

static void numbers_keep_every_digit(void **state)
{
	struct js line = js_object();

	(void)state;
	js_uint(&line, "most", INT64_MAX);
	js_int(&line, "least", INT64_MIN);
	js_real(&line, "half", 0.5);
	js_real(&line, "whole", 5);
	js_real(&line, "none", (double)NAN);
	js_real(&line, "much", (double)INFINITY);
	check(&line, "{\"most\":9223372036854775807,\"least\":-9223372036854775808,\"half\":0.5,\"whole\":5.0,\"none\":null,"
		     "\"much\":null}\n");
}

static void a_number_too_large_is_an_error_not_a_wrong_number(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	_cleanup_js_ struct js line = js_object();

	(void)state;
	js_uint(&line, "x", (uint64_t)INT64_MAX + 1);
	js_str(&line, "y", "z");
	assert_int_equal(js_line(&line, &out), -ERANGE);
	assert_int_equal(out.len, 0);
}

static void the_error_of_a_child_is_that_of_the_line(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	_cleanup_js_ struct js line = js_object();
	struct js child = js_object();

	(void)state;
	js_uint(&child, "x", UINT64_MAX);
	js_add(&line, "child", &child);
	assert_int_equal(js_line(&line, &out), -ERANGE);
}

static void foreign_text_cannot_leave_its_string(void **state)
{
	struct js line = js_object();

	(void)state;
	js_str(&line, "comm", "a\"},{\\\n\x1b[2J\x7f");
	check(&line, "{\"comm\":\"a\\\"},{\\\\\\n\\u001B[2J\x7f\"}\n");
}

static void bad_utf8_is_replaced(void **state)
{
	struct js line = js_object();

	(void)state;
	js_str(&line, "a", "\xff");
	js_str(&line, "b", "x\xc3\x28y\xe2\x82");
	js_str(&line, "c", "Z\xc3\xbcrich");
	js_strn(&line, "d", "Z\xc3\xbc", 2);
	js_str(&line, "e", "\xe2\x82\xac\xf0\x9f\x98\x80");
	check(&line, "{\"a\":\"\\uFFFD\",\"b\":\"x\\uFFFD(y\\uFFFD\\uFFFD\","
		     "\"c\":\"Z\\u00FCrich\",\"d\":\"Z\\uFFFD\",\"e\":\"\\u20AC\\uD83D\\uDE00\"}\n");
}

static void any_bytes_give_one_line_that_jansson_reads(void **state)
{
	uint64_t seed = 11;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		_cleanup_buf_ struct buf out = BUF_INIT(4096);
		_cleanup_js_ struct js line = js_object();
		size_t len = unit_random(&seed) % 64;
		char text[64];
		json_t *read;

		for (size_t i = 0; i < len; i++)
			text[i] = (char)unit_random(&seed);
		js_strn(&line, "comm", text, len);
		assert_int_equal(js_line(&line, &out), 0);
		assert_ptr_equal(strchr(out.data, '\n'), out.data + out.len - 1);
		read = json_loadb(out.data, out.len, JSON_ALLOW_NUL, NULL);
		assert_non_null(read);
		assert_true(json_is_string(json_object_get(read, "comm")));
		json_decref(read);
	}
}

static void a_full_buffer_gets_nothing(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(20);
	_cleanup_js_ struct js line = js_object();

	(void)state;
	buf_adds(&out, "before\n");
	js_str(&line, "key", "long enough to pass it");
	assert_int_equal(js_line(&line, &out), -ENOBUFS);
	assert_string_equal(buf_text(&out), "before\n");
	assert_int_equal(buf_error(&out), 0);
}

static int build(struct buf *out)
{
	_cleanup_js_ struct js line = js_object();
	struct js list = js_array(), inner = js_object();

	js_str(&line, "event", "allocate");
	js_str(&line, "comm", "bad \xff name");
	js_id(&line, "cookie", 12345);
	js_uint(&inner, "pid", 7);
	js_add(&list, NULL, &inner);
	js_add(&line, "holders", &list);
	return js_line(&line, out);
}

/* Whichever allocation fails: the whole line or none of it, and nothing leaks (the sanitizer run looks). */
static void every_failing_allocation_is_said(void **state)
{
	bool done = false;

	(void)state;
	for (size_t n = 0; !done && n < 200; n++) {
		_cleanup_buf_ struct buf out = BUF_INIT(4096);
		int r;

		unit_fail_after(n);
		r = build(&out);
		unit_fail_never();
		done = r == 0;
		assert_true(r == 0 || r == -ENOMEM);
		assert_true(r == 0 || out.len == 0);
	}
	assert_true(done);
}

static int build_csv(struct buf *out)
{
	static const char *const columns[] = { "name", "none", "missing", "list", "count", "ok", "id", "half", "plain", "empty" };
	_cleanup_js_ struct js js = js_object(), list = js_array();
	int r = js_csv_head(columns, 2, out);

	js_str(&js, "plain", "caf\xc3\xa9");
	js_str(&js, "name", "a \"b\", c\n\033\xff");
	js_str(&js, "empty", "");
	js_null(&js, "none");
	js_uint(&list, NULL, 1);
	js_add(&js, "list", &list);
	js_int(&js, "count", -7);
	js_bool(&js, "ok", true);
	js_id(&js, "id", UINT64_MAX);
	js_real(&js, "half", 0.5);
	return r ? r : js_csv(&js, columns, ARRAY_SIZE(columns), out);
}

static void csv_has_a_cell_for_each_column(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096), small = BUF_INIT(40);

	(void)state;
	assert_int_equal(build_csv(&out), 0);
	assert_string_equal(buf_text(&out), "name,none\n"
			    "\"a \"\"b\"\", c\\x0a\\x1b\xef\xbf\xbd\",,,,-7,true,18446744073709551615,0.5,caf\xc3\xa9,\n");
	assert_int_equal(build_csv(&small), -ENOBUFS);
	assert_string_equal(buf_text(&small), "name,none\n");
}

static void csv_without_memory_is_said(void **state)
{
	bool done = false;

	(void)state;
	for (size_t n = 0; !done && n < 100; n++) {
		_cleanup_buf_ struct buf out = BUF_INIT(4096);
		int r;

		unit_fail_after(n);
		r = build_csv(&out);
		unit_fail_never();
		done = r == 0;
		assert_true(done || r == -ENOMEM);
	}
	assert_true(done);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(members_keep_their_order),
	cmocka_unit_test(empty_values),
	cmocka_unit_test(nested_values),
	cmocka_unit_test(members_of_an_object_that_was_written),
	cmocka_unit_test(identifiers_are_strings),
	cmocka_unit_test(numbers_keep_every_digit),
	cmocka_unit_test(a_number_too_large_is_an_error_not_a_wrong_number),
	cmocka_unit_test(the_error_of_a_child_is_that_of_the_line),
	cmocka_unit_test(foreign_text_cannot_leave_its_string),
	cmocka_unit_test(bad_utf8_is_replaced),
	cmocka_unit_test(any_bytes_give_one_line_that_jansson_reads),
	cmocka_unit_test(a_full_buffer_gets_nothing),
	cmocka_unit_test(every_failing_allocation_is_said),
	cmocka_unit_test(csv_has_a_cell_for_each_column),
	cmocka_unit_test(csv_without_memory_is_said),
};

UNIT_MAIN(tests)
