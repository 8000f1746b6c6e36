/* SPDX-License-Identifier: GPL-2.0 */
/* Foreign text made harmless. */
#include "user/escape.h"

#include "tests/unit/unit.h"

static void check(const char *text, size_t len, const char *expected)
{
	char out[256];

	assert_int_equal(escape_text(out, sizeof(out), text, len), strlen(expected));
	assert_string_equal(out, expected);
}

#define CHECK(text, expected) check(text, sizeof(text) - 1, expected)

static void plain_text_stands(void **state)
{
	(void)state;
	CHECK("", "");
	CHECK("nginx: worker [a] ~", "nginx: worker [a] ~");
	CHECK("Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x90\xa7", "Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x90\xa7");
}

static void controls_are_escaped(void **state)
{
	(void)state;
	CHECK("\x1b[31mred\n", "\\x1b[31mred\\x0a");
	CHECK("a\0b\x7f\t", "a\\x00b\\x7f\\x09");
	/* C1: "CSI" as one code point. */
	CHECK("\xc2\x9b" "2J", "\\xc2\\x9b2J");
	CHECK("\xc2\xa0", "\xc2\xa0");
}

static void reordering_is_escaped(void **state)
{
	(void)state;
	CHECK("a\xe2\x80\xaetxt", "a\\xe2\\x80\\xaetxt");
	CHECK("\xe2\x80\xa8", "\\xe2\\x80\\xa8");
	CHECK("\xe2\x81\xa6", "\\xe2\\x81\\xa6");
	CHECK("\xe2\x80\x8e\xe2\x80\x8f", "\\xe2\\x80\\x8e\\xe2\\x80\\x8f");
	CHECK("\xe2\x81\xa9", "\\xe2\\x81\\xa9");
	CHECK("\xef\xbb\xbf", "\\xef\\xbb\\xbf");
	/* Their neighbours are ordinary. */
	CHECK("\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf");
}

static void backslash_is_doubled(void **state)
{
	(void)state;
	CHECK("\\x1b", "\\\\x1b");
}

static void bad_utf8_is_escaped_byte_by_byte(void **state)
{
	(void)state;
	CHECK("\xff\xfe", "\\xff\\xfe");
	CHECK("\xc3", "\\xc3");
	CHECK("\xc3(", "\\xc3(");
	CHECK("\xe2\x82", "\\xe2\\x82");
	CHECK("\x80", "\\x80");
	/* Overlong slash and NUL, a surrogate, past U+10FFFF. */
	CHECK("\xc0\xaf", "\\xc0\\xaf");
	CHECK("\xe0\x80\x80", "\\xe0\\x80\\x80");
	CHECK("\xed\xa0\x80", "\\xed\\xa0\\x80");
	CHECK("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
}

static void utf8_length_is_that_of_one_character(void **state)
{
	(void)state;
	assert_int_equal(escape_utf8_len("", 0), 0);
	assert_int_equal(escape_utf8_len("ab", 2), 1);
	assert_int_equal(escape_utf8_len("\xc3\xbcx", 3), 2);
	assert_int_equal(escape_utf8_len("\xe2\x82\xac", 3), 3);
	assert_int_equal(escape_utf8_len("\xe2\x82\xac", 2), 0);
	assert_int_equal(escape_utf8_len("\xf0\x9f\x90\xa7", 4), 4);
	assert_int_equal(escape_utf8_len("\xf4\x8f\xbf\xbf", 4), 4);
	assert_int_equal(escape_utf8_len("\xbf", 1), 0);
}

static void cut_at_a_whole_character(void **state)
{
	char out[6];

	(void)state;
	assert_int_equal(escape_text(out, 6, "abcdefgh", 8), 5);
	assert_string_equal(out, "abcde");
	assert_int_equal(escape_text(out, 6, "ab\x1bz", 4), 2);
	assert_string_equal(out, "ab");
	assert_int_equal(escape_text(out, 4, "ab\xe2\x82\xac", 5), 2);
	assert_string_equal(out, "ab");
	assert_int_equal(escape_text(out, 1, "a", 1), 0);
	assert_string_equal(out, "");
}

static void any_bytes_come_out_printable_and_fit(void **state)
{
	char text[64], out[ESCAPE_MAX * sizeof(text) + 1];
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		size_t len = unit_random(&seed) % sizeof(text), written;

		for (size_t i = 0; i < len; i++)
			text[i] = (char)unit_random(&seed);
		written = escape_text(out, ESCAPE_MAX * len + 1, text, len);
		assert_int_equal(written, strlen(out));
		assert_true(written >= len);
		for (size_t at = 0; at < written;) {
			size_t n = escape_utf8_len(out + at, written - at);

			assert_true(n > 0 && (uint8_t)out[at] >= 0x20 && out[at] != 0x7f);
			at += n;
		}
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(plain_text_stands),
	cmocka_unit_test(controls_are_escaped),
	cmocka_unit_test(reordering_is_escaped),
	cmocka_unit_test(backslash_is_doubled),
	cmocka_unit_test(bad_utf8_is_escaped_byte_by_byte),
	cmocka_unit_test(utf8_length_is_that_of_one_character),
	cmocka_unit_test(cut_at_a_whole_character),
	cmocka_unit_test(any_bytes_come_out_printable_and_fit),
};

UNIT_MAIN(tests)
