/* SPDX-License-Identifier: GPL-2.0 */
/* Reading and writing time. */
#include "user/clock.h"

#include <time.h>

#include "tests/unit/unit.h"

#define SEC 1000000000ULL

static void check(uint64_t seconds, uint64_t ns, const char *expected)
{
	char out[CLOCK_TEXT_SIZE];

	assert_ptr_equal(clock_format(seconds * SEC + ns, out), out);
	assert_string_equal(out, expected);
}

static void formats_rfc_3339(void **state)
{
	(void)state;
	check(0, 0, "1970-01-01T00:00:00.000000000Z");
	check(1795176187, 123456789, "2026-11-20T12:03:07.123456789Z");
	check(951782400, 1, "2000-02-29T00:00:00.000000001Z");
	check(4107542399, 999999999, "2100-02-28T23:59:59.999999999Z");
	check(4107542400, 0, "2100-03-01T00:00:00.000000000Z");
	check(18446744073, 709551615, "2554-07-21T23:34:33.709551615Z");
}

static void format_does_not_follow_the_time_zone(void **state)
{
	(void)state;
	setenv("TZ", "Asia/Kathmandu", 1);
	tzset();
	check(0, 0, "1970-01-01T00:00:00.000000000Z");
	unsetenv("TZ");
	tzset();
}

static void format_agrees_with_strftime(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		uint64_t t = unit_random(&seed);
		time_t seconds = (time_t)(t / SEC);
		char day[32], expected[64];
		struct tm tm;

		strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
		snprintf(expected, sizeof(expected), "%s.%09luZ", day, (unsigned long)(t % SEC));
		check(t / SEC, t % SEC, expected);
	}
}

static void clocks_run_forward(void **state)
{
	uint64_t boot = now_boottime(), wall = now_realtime();

	(void)state;
	usleep(2000);
	assert_in_range(now_boottime() - boot, 2000000, 5 * SEC);
	assert_in_range(now_realtime() - wall, 1000000, 5 * SEC);
}

static void offset_leads_from_one_clock_to_the_other(void **state)
{
	int64_t offset = clock_offset(), again = clock_offset();
	uint64_t before = now_realtime(), boot = now_boottime(), after = now_realtime();

	(void)state;
	/* Room for a preempted read and for a clock being slewed, far below what a wrong clock would give. */
	assert_true(boot + (uint64_t)offset + 1000000 >= before);
	assert_true(boot + (uint64_t)offset <= after + 1000000);
	assert_true(llabs(offset - again) < 1000000);
}

static void parses_what_it_formats(void **state)
{
	uint64_t seed = 11, out;
	char text[CLOCK_TEXT_SIZE];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		uint64_t t = unit_random(&seed) % (9000000000ULL * SEC);

		assert_int_equal(clock_parse(clock_format(t, text), &out), 0);
		assert_int_equal(out, t);
	}
}

static void parses_zones_and_fractions(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "2026-11-20T12:03:07Z", 1795176187 * SEC }, { "2026-11-20 12:03:07Z", 1795176187 * SEC },
		{ "2026-11-20t12:03:07.5Z", 1795176187 * SEC + SEC / 2 },
		{ "2026-11-20T13:03:07+01:00", 1795176187 * SEC }, { "2026-11-20T06:33:07-05:30", 1795176187 * SEC },
		{ "2026-11-20T12:03:07.123456789Z", 1795176187 * SEC + 123456789 }, { "1970-01-01T00:00:00Z", 0 },
		{ "2000-02-29T00:00:00Z", 951782400 * SEC },
	};
	uint64_t out;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		if (clock_parse(good[i].text, &out) || out != good[i].ns)
			fail_msg("%s", good[i].text);
	}
}

static void time_without_zone_is_local(void **state)
{
	uint64_t out = 0;

	(void)state;
	setenv("TZ", "Asia/Kathmandu", 1);
	tzset();
	assert_int_equal(clock_parse("2026-11-20 17:48:07", &out), 0);
	unsetenv("TZ");
	tzset();
	/* Without the zone's rules that name is UTC. */
	assert_true(out == 1795176187 * SEC || out == (1795176187 + 20700) * SEC);
}

static void refuses_what_is_no_time(void **state)
{
	static const char *const bad[] = {
		"", "noon", "2026", "2026-11-20", "2026-11-20T12:03", "2026-11-20T12:03:07.", "2026-11-20T12:03:07.1234567890Z",
		"2026-11-20T12:03:07z", "2026-11-20T12:03:07ZZ", "2026-11-20T12:03:07+0100", "2026-11-20T12:03:07+24:00",
		"2026-13-20T12:03:07Z", "2026-02-30T12:03:07Z", "2025-02-29T12:03:07Z", "2026-11-20T24:03:07Z",
		"2026-11-20T12:60:07Z", "2026-11-20T12:03:60Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+01:00",
		"2026-11-20_12:03:07Z", " 2026-11-20T12:03:07Z", "2026-11-20T12:03:07 Z", "9999-01-01T00:00:00Z",
		"-026-11-20T12:03:07Z",
	};
	uint64_t out = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (clock_parse(bad[i], &out) != -EINVAL || out != 7)
			fail_msg("'%s' is taken for a time", bad[i]);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(parses_what_it_formats),
	cmocka_unit_test(parses_zones_and_fractions),
	cmocka_unit_test(time_without_zone_is_local),
	cmocka_unit_test(refuses_what_is_no_time),
	cmocka_unit_test(formats_rfc_3339),
	cmocka_unit_test(format_does_not_follow_the_time_zone),
	cmocka_unit_test(format_agrees_with_strftime),
	cmocka_unit_test(clocks_run_forward),
	cmocka_unit_test(offset_leads_from_one_clock_to_the_other),
};

UNIT_MAIN(tests)
