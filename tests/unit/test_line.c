/* SPDX-License-Identifier: GPL-2.0 */
/* Words of a line: addresses, states, errors, who did it; and the line that a change becomes. */
#include "user/line.h"

#include "tests/unit/events.h"
#include "tests/unit/unit.h"

static void check_addr(const char *text)
{
	struct event_addr addr = ev_addr(text);
	char out[ADDR_TEXT];

	assert_ptr_equal(addr_text(&addr, out), out);
	assert_string_equal(out, text);
}

static void addresses(void **state)
{
	struct event_addr none = { 0 };
	char out[ADDR_TEXT] = "left over";

	(void)state;
	check_addr("0.0.0.0");
	check_addr("255.255.255.255");
	check_addr("::");
	check_addr("::1");
	check_addr("fe80::1ff:fe23:4567:890a");
	check_addr("2001:db8:1111:2222:3333:4444:5555:6666");
	assert_string_equal(addr_text(&none, out), "");
}

static void check_endpoint(const char *addr, uint16_t port, const char *expected)
{
	struct event_addr a = ev_addr(addr);
	char out[ENDPOINT_TEXT];

	assert_string_equal(endpoint_text(&a, port, out), expected);
}

static void endpoints(void **state)
{
	(void)state;
	check_endpoint("127.0.0.1", 80, "127.0.0.1:80");
	check_endpoint("::1", 80, "[::1]:80");
	check_endpoint("255.255.255.255", 65535, "255.255.255.255:65535");
	check_endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 65535,
		       "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}

static void protocols(void **state)
{
	(void)state;
	assert_string_equal(proto_name(IPPROTO_TCP), "tcp");
	assert_string_equal(proto_name(IPPROTO_UDP), "udp");
	assert_string_equal(proto_name(IPPROTO_UDPLITE), "udplite");
	assert_null(proto_name(IPPROTO_SCTP));
	assert_null(proto_name(0));
}

static void errors(void **state)
{
	(void)state;
	assert_null(error_name(0));
	assert_string_equal(error_name(ECONNREFUSED), "ECONNREFUSED");
	assert_string_equal(error_name(ETIMEDOUT), "ETIMEDOUT");
	assert_null(error_name(100000));
	assert_null(error_name(UINT32_MAX));
}

static void states(void **state)
{
	struct line line = { 0 };

	(void)state;
	assert_string_equal(line_state(&line), "bound");
	line.remote = ev_addr("::1");
	assert_string_equal(line_state(&line), "connected");
	line.listening = true;
	assert_string_equal(line_state(&line), "listen");
	line.time_wait = true;
	assert_string_equal(line_state(&line), "time_wait");
}

static void done_by_another(void **state)
{
	struct process owner = { .pid = 7 };
	struct line line = { .owner = &owner };

	(void)state;
	assert_false(line_by_another(&line));
	line.holder_pid = 7;
	assert_false(line_by_another(&line));
	line.holder_pid = 8;
	assert_true(line_by_another(&line));
	line.owner = NULL;
	assert_true(line_by_another(&line));
	line.holder_pid = 0;
	assert_false(line_by_another(&line));
}

/* ---- line_of() ---- */

#define OFFSET	1700000000000000000

static struct lifetime plain(void)
{
	return (struct lifetime){
		.cookie = 7, .generation = 2, .netns = TEST_NETNS, .port = 40000, .proto = IPPROTO_TCP,
		.how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL, .since = 1000, .seen = 1000, .remote_port = 443,
		.addr = ev_addr("127.0.0.1"), .remote = ev_addr("127.0.0.2"), .holds = HOLD_SOCK,
		.error = ECONNRESET,
	};
}

static struct line line_at(enum what what, struct lifetime *l, uint64_t time)
{
	struct change change = { .what = what, .time = time, .lifetime = l, .exact = true, .cause = CAUSE_RESET };
	struct line line;

	line_of(&change, OFFSET, &line);
	return line;
}

static void lifetime_becomes_a_line(void **state)
{
	struct lifetime l = plain();
	struct line line;

	(void)state;
	l.owner = (struct process *)&l;
	line = line_at(WHAT_ALLOCATE, &l, 1000);
	assert_int_equal(line.what, WHAT_ALLOCATE);
	assert_int_equal(line.time, OFFSET + 1000);
	assert_int_equal(line.cookie, 7);
	assert_int_equal(line.generation, 2);
	assert_int_equal(line.netns, TEST_NETNS);
	assert_int_equal(line.port, 40000);
	assert_int_equal(line.remote_port, 443);
	assert_int_equal(line.proto, IPPROTO_TCP);
	assert_int_equal(line.how, PW_HOW_CONNECT);
	assert_int_equal(line.flags, PW_F_EPHEMERAL);
	assert_memory_equal(&line.addr, &l.addr, sizeof(l.addr));
	assert_memory_equal(&line.remote, &l.remote, sizeof(l.remote));
	assert_ptr_equal(line.owner, l.owner);
	assert_true(line.exact);
	assert_false(line.listening);
	assert_false(line.time_wait);
	/* An error is a release's. */
	assert_int_equal(line.error, 0);
}

static void release_has_its_times(void **state)
{
	struct lifetime l = plain();
	struct line line = line_at(WHAT_RELEASE, &l, 5000);

	(void)state;
	assert_int_equal(line.error, ECONNRESET);
	assert_int_equal(line.cause, CAUSE_RESET);
	assert_int_equal(line.held_ns, 4000);
	assert_int_equal(line.open_ns, 4000);
	assert_int_equal(line.time_wait_ns, UNKNOWN_NS);
	l.closed_at = 2000;
	l.tw_at = 2500;
	line = line_at(WHAT_RELEASE, &l, 5000);
	assert_int_equal(line.held_ns, 4000);
	assert_int_equal(line.open_ns, 1000);
	assert_int_equal(line.time_wait_ns, 2500);
}

static void unknown_beginning_has_no_length(void **state)
{
	struct lifetime l = plain();
	struct line line;

	(void)state;
	l.since = 0;
	l.closed_at = 2000;
	line = line_at(WHAT_RELEASE, &l, 5000);
	assert_int_equal(line.held_ns, UNKNOWN_NS);
	assert_int_equal(line.open_ns, UNKNOWN_NS);
}

/* Times of two CPUs may be inverted: a length is never negative. */
static void inverted_times_have_no_negative_length(void **state)
{
	struct lifetime l = plain();
	struct line line = line_at(WHAT_RELEASE, &l, 900);

	(void)state;
	assert_int_equal(line.held_ns, 0);
	l.tw_at = 950;
	line = line_at(WHAT_RELEASE, &l, 900);
	assert_int_equal(line.time_wait_ns, 0);
}

static void holder_is_taken_from_the_change(void **state)
{
	struct lifetime l = plain();
	struct change change = {
		.what = WHAT_CLOSE, .lifetime = &l, .holder_pid = 9, .holder_comm = "heir", .time = 1,
	};
	struct line line;

	(void)state;
	line_of(&change, OFFSET, &line);
	assert_int_equal(line.holder_pid, 9);
	assert_string_equal(line.holder_comm, "heir");
	assert_false(line.exact);
}

static void time_wait_is_a_line_in_time_wait(void **state)
{
	struct lifetime l = plain();

	(void)state;
	l.holds = HOLD_TW;
	assert_true(line_at(WHAT_PRESENT, &l, 1).time_wait);
	l.holds = HOLD_SOCK | HOLD_TW;
	assert_false(line_at(WHAT_PRESENT, &l, 1).time_wait);
}

static void gap_becomes_a_line(void **state)
{
	struct gap gap = { .since = 100, .until = 300, .lost = 5, .lost_allocations = 2, .reason = "ring" };
	struct change change = { .what = WHAT_GAP, .time = 300, .gap = &gap, .exact = true };
	struct line line;

	(void)state;
	line_of(&change, OFFSET, &line);
	assert_int_equal(line.what, WHAT_GAP);
	assert_int_equal(line.time, OFFSET + 100);
	assert_int_equal(line.until, OFFSET + 300);
	assert_int_equal(line.lost, 5);
	assert_int_equal(line.lost_allocations, 2);
	assert_string_equal(line.reason, "ring");
	assert_null(line.owner);
}

/* The wall clock may stand before boot's: 1970 and a bit. */
static void offset_may_be_negative(void **state)
{
	struct change change = { .what = WHAT_READY, .time = 5000 };
	struct line line;

	(void)state;
	line_of(&change, -2000, &line);
	assert_int_equal(line.time, 3000);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(addresses),
	cmocka_unit_test(endpoints),
	cmocka_unit_test(protocols),
	cmocka_unit_test(errors),
	cmocka_unit_test(states),
	cmocka_unit_test(done_by_another),
	cmocka_unit_test(lifetime_becomes_a_line),
	cmocka_unit_test(release_has_its_times),
	cmocka_unit_test(unknown_beginning_has_no_length),
	cmocka_unit_test(inverted_times_have_no_negative_length),
	cmocka_unit_test(holder_is_taken_from_the_change),
	cmocka_unit_test(time_wait_is_a_line_in_time_wait),
	cmocka_unit_test(gap_becomes_a_line),
	cmocka_unit_test(offset_may_be_negative),
};

UNIT_MAIN(tests)
