/* SPDX-License-Identifier: GPL-2.0 */
/* What is a question, what is none, and what it asks for. */
#include "user/question.h"

#include "tests/unit/unit.h"

#define NOW 1800000000000000000
#define ALL (PW_PROTO_TCP | PW_PROTO_UDP | PW_PROTO_UDPLITE)

static struct question good(const char *text, unsigned int protos)
{
	struct question q;
	char why[300] = "";

	if (question_parse(text, protos, &q, why, sizeof(why)))
		fail_msg("'%s' is refused: %s", text, why);
	assert_false(question_is_past(&q));
	return q;
}

static void ports_and_ranges(void **state)
{
	struct question q = good("443", 0);

	(void)state;
	assert_int_equal(q.first, 443);
	assert_int_equal(q.last, 443);
	assert_int_equal(q.protos, ALL);
	assert_true(q.any_proto);
	q = good("8000-8099", 0);
	assert_int_equal(q.first, 8000);
	assert_int_equal(q.last, 8099);
	q = good("1-65535/udp", 0);
	assert_int_equal(q.first, 1);
	assert_int_equal(q.last, 65535);
	assert_int_equal(q.protos, PW_PROTO_UDP);
	assert_false(q.any_proto);
}

/* What stands with the port goes before the option, and that before nothing. */
static void protocols(void **state)
{
	(void)state;
	assert_int_equal(good("53/tcp", 0).protos, PW_PROTO_TCP);
	assert_int_equal(good("53/UDPLITE", 0).protos, PW_PROTO_UDPLITE);
	assert_int_equal(good("53/tcp", PW_PROTO_UDP).protos, PW_PROTO_TCP);
	assert_int_equal(good("53", PW_PROTO_UDP).protos, PW_PROTO_UDP);
	assert_false(good("53", PW_PROTO_UDPLITE).any_proto);
}

static void what_is_no_question(void **state)
{
	static const char *const bad[] = {
		"", "0", "65536", "70000", "http", "-1", "+1", " 80", "80 ", "0x50", "80-", "-80", "90-80", "80-90-100",
		"80-65536", "80/", "80/sctp", "80/tcp,udp", "80/tcp/udp", "/tcp", "80,81", "99999999999999999999",
		"00000000000000000000000000000000000000000000000000000000000000000000000000000080",
	};
	struct question q = { .first = 7 };
	char why[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		why[0] = '\0';
		if (question_parse(bad[i], 0, &q, why, sizeof(why)) != -EINVAL || q.first != 7)
			fail_msg("'%s' is taken", bad[i]);
		if (!strstr(why, bad[i]) || !strstr(why, ": "))
			fail_msg("'%s': %s", bad[i], why);
	}
}

static struct question good_line(const char *line)
{
	struct question q;
	char why[300] = "";

	if (question_parse_line(line, 0, NOW, &q, why, sizeof(why)))
		fail_msg("'%s' is refused: %s", line, why);
	return q;
}

static void lines(void **state)
{
	struct question q = good_line("  443/tcp\t");

	(void)state;
	assert_int_equal(q.first, 443);
	assert_false(question_is_past(&q));
	assert_int_equal(good_line("8000-8099\r").last, 8099);
	q = good_line("60420/tcp 2026-11-20T12:03:07Z\r");
	assert_int_equal(q.first, 60420);
	assert_true(question_is_past(&q));
	assert_int_equal(q.time.first, 1795176187000000000);
	assert_int_equal(q.time.last, 1795176187999999999);
	assert_int_equal(good_line("60420 2026-11-20T12:03:07Z \t \r").time.first, 1795176187000000000);
	assert_int_equal(good_line("60420 \t 2026-11-20T13:03:07.5+01:00").time.first, 1795176187500000000);
	assert_int_equal(good_line("60420 -5m").time.first, NOW - 300000000000);
	assert_int_equal(good_line("80-90 -5m").last, 90);
}

static void what_is_no_line(void **state)
{
	static const char *const bad[][2] = {
		{ "", "empty" }, { "  \t\r", "empty" }, { "x", "'x'" }, { "443 tcp", "'tcp' is not a time" },
		{ "443 12.03", "'12.03' is not a time" }, { "443 2029-11-20", "'2029-11-20' is still to come" },
		{ "80 2026-11-20T12:03:07Z x", "'2026-11-20T12:03:07Z x' is not a time" },
		{ "70000 2026-11-20T12:03:07Z", "'70000'" },
	};
	struct question q = { .first = 7 };
	char why[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (question_parse_line(bad[i][0], 0, NOW, &q, why, sizeof(why)) != -EINVAL || q.first != 7)
			fail_msg("'%s' is taken", bad[i][0]);
		if (!strstr(why, bad[i][1]))
			fail_msg("'%s': %s", bad[i][0], why);
	}
}

static void filters_are_widened(void **state)
{
	struct question one = good("443/tcp", 0), range = good("65534-65535/udp", 0), past = good("80", 0);
	struct port_set ports = { { 0 } };
	unsigned int protos = 0;
	size_t count = 0;

	(void)state;
	past.time.last = 1;
	question_widen(&past, &ports, &protos);
	assert_int_equal(protos, 0);
	question_widen(&one, &ports, &protos);
	question_widen(&range, &ports, &protos);
	assert_int_equal(protos, PW_PROTO_TCP | PW_PROTO_UDP);
	for (unsigned int port = 0; port < NUM_PORTS; port++)
		count += port_set_has(&ports, (uint16_t)port);
	assert_int_equal(count, 3);
	assert_true(port_set_has(&ports, 443) && port_set_has(&ports, 65534) && port_set_has(&ports, 65535));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(ports_and_ranges),
	cmocka_unit_test(protocols),
	cmocka_unit_test(what_is_no_question),
	cmocka_unit_test(lines),
	cmocka_unit_test(what_is_no_line),
	cmocka_unit_test(filters_are_widened),
};

UNIT_MAIN(tests)
