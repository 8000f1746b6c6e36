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

/* 2026-11-20T12:03:07Z, a Friday. */
#define NOW (1795176187 * SEC)
#define LATER (9000000000ULL * SEC)

static char why[300];

static struct moment good(const char *text, uint64_t now)
{
	struct moment m = { 0 };

	if (clock_moment(text, now, &m, why, sizeof(why)))
		fail_msg("'%s' is refused: %s", text, why);
	return m;
}

static void refused(const char *text, uint64_t now, const char *expected)
{
	struct moment m = { 7, 7 };

	why[0] = '\0';
	if (clock_moment(text, now, &m, why, sizeof(why)) != -EINVAL || m.first != 7 || m.last != 7)
		fail_msg("'%s' is taken for a time", text);
	if (!strstr(why, text) || !strstr(why, expected))
		fail_msg("'%s': \"%s\" instead of \"%s\"", text, why, expected);
}

/* Berlin's rules, also where no zone files are installed. */
static void in_berlin(void)
{
	setenv("TZ", access("/usr/share/zoneinfo/Europe/Berlin", R_OK) ? "CET-1CEST,M3.5.0,M10.5.0/3" : "Europe/Berlin", 1);
}

static int in_utc(void **state)
{
	(void)state;
	setenv("TZ", "UTC0", 1);
	return 0;
}

static void parses_what_it_formats(void **state)
{
	uint64_t seed = 11;
	char text[CLOCK_TEXT_SIZE];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		uint64_t t = unit_random(&seed) % LATER;
		struct moment m = good(clock_format(t, text), LATER);

		assert_true(m.first == t && m.last == t);
	}
}

static void parses_zones_and_fractions(void **state)
{
	static const struct {
		const char *text;
		uint64_t first, width;
	} rows[] = {
		{ "2026-11-20T12:03:07Z", NOW, SEC }, { "2026-11-20 12:03:07Z", NOW, SEC },
		{ "2026-11-20t12:03:07z", NOW, SEC }, { "2026-11-20T12:03:07", NOW, SEC },
		{ "2026-11-20t12:03:07.5Z", NOW + SEC / 2, SEC / 10 }, { "2026-11-20 12:03:07.123", NOW + 123000000, 1000000 },
		{ "2026-11-20T13:03:07+01:00", NOW, SEC }, { "2026-11-20T06:33:07-05:30", NOW, SEC },
		{ "2026-11-20T12:03:07.123456789Z", NOW + 123456789, 1 }, { "2026-11-20 12:03", NOW - 7 * SEC, 60 * SEC },
		{ "2026-11-20T12:03Z", NOW - 7 * SEC, 60 * SEC }, { "1970-01-01T00:00:00Z", 0, SEC },
		{ "2000-02-29T00:00:00Z", 951782400 * SEC, SEC }, { "2026-11-20", 1795132800 * SEC, 86400 * SEC },
		{ "@1795176187", NOW, SEC }, { "@1795176187.25", NOW + SEC / 4, SEC / 100 },
		{ "@1795176187.000000001", NOW + 1, 1 }, { "@0", 0, SEC },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct moment m = good(rows[i].text, LATER);

		if (m.first != rows[i].first || m.last - m.first + 1 != rows[i].width)
			fail_msg("%s", rows[i].text);
	}
}

static void what_is_not_over_ends_now(void **state)
{
	struct moment m = good("2026-11-20", NOW);

	(void)state;
	/* last 0 would be no time at all. */
	assert_int_equal(good("@0.000000000", NOW).last, 1);
	assert_int_equal(m.first, NOW - 43387 * SEC);
	assert_int_equal(m.last, NOW);
	m = good("12:03", NOW);
	assert_int_equal(m.first, NOW - 7 * SEC);
	assert_int_equal(m.last, NOW);
}

static void times_of_today(void **state)
{
	(void)state;
	assert_int_equal(good("12:03", NOW + 3600 * SEC).first, NOW - 7 * SEC);
	assert_int_equal(good("12:03:07", NOW).first, NOW);
	assert_int_equal(good("12:03:06.5", NOW).last, NOW - SEC / 2 + SEC / 10 - 1);
	refused("12:04", NOW, "still to come today; for another day write its date, as in 2026-11-20 12:04");
	/* The day is the one that the clock on the wall has: in Berlin this is the 21st, from 23:00 UTC on. */
	in_berlin();
	assert_int_equal(good("00:30", NOW + 43200 * SEC).first, 1795217400 * SEC);
}

static void spans_lie_before_now(void **state)
{
	static const struct {
		const char *text;
		uint64_t seconds;
	} rows[] = {
		{ "-5m", 300 }, { "-90s", 90 }, { "-2h", 7200 }, { "-7d", 604800 }, { "1h", 3600 }, { "0s", 0 }, { "-1w", 604800 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct moment m = good(rows[i].text, NOW);

		assert_int_equal(m.first, NOW - rows[i].seconds * SEC);
		assert_int_equal(m.last, m.first);
	}
	refused("-9999999999s", NOW, "before 1970");
}

static void time_without_zone_is_local(void **state)
{
	(void)state;
	setenv("TZ", "<+0545>-5:45", 1);
	assert_int_equal(good("2026-11-20 17:48:07", NOW).first, NOW);
	in_berlin();
	assert_int_equal(good("2026-11-20 13:03:07", NOW).first, NOW);
	assert_int_equal(good("2026-07-20 13:03:07", NOW).first, 1784545387 * SEC);
	setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
	assert_int_equal(good("2026-11-20T07:03:07", NOW).first, NOW);
}

/* In Berlin 02:00 to 03:00 was twice on 2026-10-25, and never on 2026-03-29. */
static void clocks_put_back_and_forward(void **state)
{
	struct moment m;

	(void)state;
	in_berlin();
	refused("2026-10-25 02:30:00", NOW,
		"was twice: clocks were put back then; write the zone, as in 2026-10-25T02:30:00+02:00 or "
		"2026-10-25T02:30:00+01:00");
	refused("2026-10-25T02:00", NOW, "was twice");
	refused("2026-10-25 02:59:59.999", NOW, "was twice");
	refused("2026-03-29 02:30", NOW,
		"never was: clocks were put forward then; write the zone, as in 2026-03-29T02:30:00+01:00 or "
		"2026-03-29T02:30:00+02:00");
	refused("2026-03-29 02:00:00", NOW, "never was");
	assert_int_equal(good("2026-10-25T02:30:00+02:00", NOW).first, 1792888200 * SEC);
	assert_int_equal(good("2026-10-25T02:30:00+01:00", NOW).first, 1792891800 * SEC);
	assert_int_equal(good("2026-10-25 01:59:59", NOW).first, 1792886399 * SEC);
	assert_int_equal(good("2026-10-25 03:00:00", NOW).first, 1792893600 * SEC);
	assert_int_equal(good("2026-03-29 01:59:59", NOW).first, 1774745999 * SEC);
	assert_int_equal(good("2026-03-29 03:00:00", NOW).first, 1774746000 * SEC);
	/* Those days have 25 and 23 hours. */
	m = good("2026-10-25", NOW);
	assert_int_equal(m.last - m.first + 1, 25 * 3600 * SEC);
	m = good("2026-03-29", NOW);
	assert_int_equal(m.last - m.first + 1, 23 * 3600 * SEC);
	refused("02:30", 1792893600 * SEC, "was twice");
}

/* By rules that put clocks forward or back at midnight, over it, or soon after it: Cairo's, Santiago's, Beirut's, Havana's, ... */
static void days_whose_midnight_never_was_or_was_twice(void **state)
{
	static const struct {
		const char *zone, *day, *first, *end;
	} rows[] = {
		{ "EET-2EEST,M4.5.5/0,M10.5.4/24", "2026-04-24", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00" },
		{ "EET-2EEST,M4.5.5/0,M10.5.4/24", "2026-04-23", "2026-04-23T00:00:00+02:00", "2026-04-24T00:00:00+02:00" },
		{ "EET-2EEST,M4.5.5/0,M10.5.4/24", "2026-10-29", "2026-10-29T00:00:00+03:00", "2026-10-30T00:00:00+02:00" },
		{ "EET-2EEST,M4.5.5/0,M10.5.4/24", "2026-10-30", "2026-10-30T00:00:00+02:00", "2026-10-31T00:00:00+02:00" },
		{ "<-04>4<-03>,M9.1.6/24,M4.1.6/24", "2026-09-06", "2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00" },
		{ "EET-2EEST,M3.5.0/0,M10.5.0/0", "2026-03-29", "2026-03-29T01:00:00+03:00", "2026-03-30T00:00:00+03:00" },
		{ "CST5CDT,M3.2.0/0,M11.1.0/1", "2025-11-02", "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00" },
		{ "CST5CDT,M3.2.0/0,M11.1.0/1", "2025-11-01", "2025-11-01T00:00:00-04:00", "2025-11-02T00:00:00-04:00" },
		/* Back from one minute past midnight: the day before has its last hour then. */
		{ "NST3:30NDT,M3.2.0/0:01,M11.1.0/0:01", "2025-11-01", "2025-11-01T00:00:00-02:30", "2025-11-02T00:00:00-03:30" },
		{ "NST3:30NDT,M3.2.0/0:01,M11.1.0/0:01", "2025-11-02", "2025-11-02T00:00:00-02:30", "2025-11-03T00:00:00-03:30" },
		/* Forward from 23:30. */
		{ "EST5EDT,M3.5.0/23:30,M10.5.0", "2026-03-29", "2026-03-29T00:00:00-05:00", "2026-03-30T00:30:00-04:00" },
		{ "EST5EDT,M3.5.0/23:30,M10.5.0", "2026-03-30", "2026-03-30T00:30:00-04:00", "2026-03-31T00:00:00-04:00" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct moment m;

		setenv("TZ", rows[i].zone, 1);
		m = good(rows[i].day, NOW);
		if (m.first != good(rows[i].first, NOW).first || m.last + 1 != good(rows[i].end, NOW).first)
			fail_msg("%s %s: %llu to %llu", rows[i].zone, rows[i].day, (unsigned long long)m.first,
				 (unsigned long long)m.last);
	}
	/* With a clock time it is as ever. */
	setenv("TZ", "EET-2EEST,M4.5.5/0,M10.5.4/24", 1);
	refused("2026-04-24 00:00", NOW, "never was");
	refused("2026-10-29 23:30", NOW, "was twice");
	/* As Samoa's 30th of December 2011. */
	setenv("TZ", "<-10>10<+14>-14,J364/0,J100/0", 1);
	refused("2025-12-30", NOW, "never was: clocks were put forward by that whole day");
	assert_int_equal(good("2025-12-29", NOW).last + 1, good("2025-12-31", NOW).first);
}

static void refuses_what_is_no_time(void **state)
{
	static const char *const bad[] = {
		"", "noon", "yesterdayish", "2026", "2026-11", "2026-11-20T", "2026-11-20 ", "2026-11-20T12",
		"2026-11-20T12:03:07.", "2026-11-20T12:03:07.1234567890Z", "2026-11-20T12:03.5",
		"2026-11-20T12:03:07ZZ", "2026-11-20T12:03:07+0100", "2026-11-20T12:03:07+24:00",
		"2026-13-20T12:03:07Z", "2026-11-20T24:03:07Z", "2026-11-20Z", "12:03Z", "12:03+01:00",
		"2026-11-20T12:60:07Z", "2026-11-20T12:03:60Z", "1969-12-31T23:59:59Z",
		"2026-11-20_12:03:07Z", " 2026-11-20T12:03:07Z", "2026-11-20T12:03:07 Z", "9999-01-01T00:00:00Z",
		"-026-11-20T12:03:07Z", "5", "-5", "-m", "--5m", "-5mm", "5y", "+5m", "-5 m", "-1.5h", "@", "@-1", "@1.", "@1x",
		"@12345678901", "1:03", "12:3", "12:", ":03", "24:00", "12:03:", "12:03 ",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i], LATER, "is not a time; as in 2026-11-20T12:03:07Z, ");
	refused("2026-02-30T12:03:07Z", LATER, "a day that no calendar has");
	refused("2025-02-29", LATER, "a day that no calendar has");
	refused("1970-01-01T00:00:00+01:00", LATER, "before 1970");
	refused("2026-11-20T12:03:08Z", NOW, "still to come: only what has been can be asked for");
	refused("2026-11-21", NOW, "still to come");
	refused("@1795176188", NOW, "still to come");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(parses_what_it_formats, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(parses_zones_and_fractions, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(what_is_not_over_ends_now, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(times_of_today, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(spans_lie_before_now, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(time_without_zone_is_local, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(clocks_put_back_and_forward, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(days_whose_midnight_never_was_or_was_twice, in_utc, in_utc),
	cmocka_unit_test_setup_teardown(refuses_what_is_no_time, in_utc, in_utc),
	cmocka_unit_test(formats_rfc_3339),
	cmocka_unit_test(format_does_not_follow_the_time_zone),
	cmocka_unit_test(format_agrees_with_strftime),
	cmocka_unit_test(clocks_run_forward),
	cmocka_unit_test(offset_leads_from_one_clock_to_the_other),
};

UNIT_MAIN(tests)
