/* SPDX-License-Identifier: GPL-2.0 */
/* The tracker and TIME_WAIT: who holds the port when, the socket or what it left behind. */
#include "user/lifetime.h"

#include "tests/unit/fed.h"

static void time_wait_takes_over_and_expires(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_close(7, 40000, PW_F_HELD, 1001));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1002));
	assert_int_equal(last()->tw_at, 1002);
	assert_int_equal(last()->holds, HOLD_TW);
	assert_int_equal(last()->owner, TEST_PID);
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1003));
	expect("allocate close time_wait");
	assert_int_equal(tracker_count(t.tracker), 1);
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 61002));
	assert_int_equal(last()->time, 61002);
	assert_int_equal(last()->owner, TEST_PID);
	expect("releasetime_wait");
}

static void expiry_of_another_time_wait_says_nothing(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1002));
	feed(ev_tw(PW_TW_END, 7, 40000, TW + 8, 1003));
	feed(ev_tw(PW_TW_END, 8, 40000, TW, 1003));
	expect("allocate time_wait");
}

/* A socket bound to a number keeps it: it and the TIME_WAIT hold the port, whichever goes last releases it. */
static void both_hold(const struct event *first, const struct event *second, const char *expected)
{
	struct event handover = ev_tw(PW_TW_START, 7, 40000, TW, 1001);

	handover.flags = PW_F_HELD;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(handover);
	assert_int_equal(last()->holds, HOLD_SOCK | HOLD_TW);
	expect("allocate time_wait");
	feed(*first);
	expect("");
	feed(*second);
	expect(expected);
}

static void release_waits_for_the_time_wait(void **state)
{
	struct event gone = ev_free(7, 40000, STATE_CLOSE, 1002), expired = ev_tw(PW_TW_END, 7, 40000, TW, 1003);

	(void)state;
	both_hold(&gone, &expired, "releasetime_wait");
}

static void release_waits_for_the_socket(void **state)
{
	struct event expired = ev_tw(PW_TW_END, 7, 40000, TW, 1002), gone = ev_free(7, 40000, STATE_CLOSE, 1003);

	(void)state;
	both_hold(&expired, &gone, "releaseclose");
}

static void time_wait_is_reused_by_the_same_four_tuple(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1001));
	feed(ev_connect(8, 40000, 80, 1002));
	expect("allocate time_wait releasereuse allocate");
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1003));
	expect("");
}

/* fentry and kprobes see the end itself: the new connection, or the look, then tells what it was. */
static void early_end_waits_for_its_cause(void **state)
{
	struct event end = ev_tw(PW_TW_END, 7, 40000, TW, 1002);

	(void)state;
	end.ended = PW_ENDED_EARLY;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1001));
	feed(end);
	expect("allocate time_wait");
	feed(ev_connect(8, 40000, 80, 1005));
	expect("releasereuse allocate");
	assert_int_equal(tracker_count(t.tracker), 1);
}

static void early_end_without_a_successor_is_settled_by_a_look(void **state)
{
	struct event end = ev_tw(PW_TW_END, 7, 40000, TW, 1002);

	(void)state;
	end.ended = PW_ENDED_EARLY;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1001));
	feed(end);
	tracker_lost(t.tracker, tracker_find(t.tracker, 7, 1), HOLD_TW, CAUSE_UNKNOWN, 2000);
	expect("allocate time_wait releaseunknown");
	assert_int_equal(tracker_count(t.tracker), 0);
}

static void end_with_the_namespace_says_so(void **state)
{
	struct event end = ev_tw(PW_TW_END, 7, 40000, TW, 1002);

	(void)state;
	end.ended = PW_ENDED_NETNS;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1001));
	feed(end);
	expect("allocate time_wait releasenetns");
}

static void time_wait_stays_beside_another_four_tuple(void **state)
{
	struct event elsewhere[5];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
		elsewhere[i] = ev_connect(8 + i, 40000, 80, 1002);
	elsewhere[0].remote_port = 81;
	elsewhere[1].remote = ev_addr("127.0.0.3");
	elsewhere[2].addr = ev_addr("127.0.0.4");
	elsewhere[3].netns++;
	elsewhere[4].proto = IPPROTO_UDP;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1001));
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
		feed(elsewhere[i]);
	expect("allocate time_wait allocate allocate allocate allocate allocate");
	assert_non_null(tracker_find(t.tracker, 7, 1));
}

static void same_socket_allocates_while_its_time_wait_lasts(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1001));
	feed(ev_connect(7, 40002, 80, 1002));
	assert_int_equal(last()->generation, 2);
	assert_int_equal(tracker_count(t.tracker), 2);
	expect("allocate time_wait allocate");
	feed(ev_close(7, 40002, PW_F_HELD, 1003));
	expect("close close");
	feed(ev_tw(PW_TW_START, 7, 40002, TW + 8, 1004));
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1005));
	assert_int_equal(last()->generation, 1);
	feed(ev_tw(PW_TW_END, 7, 40002, TW + 8, 1006));
	assert_int_equal(last()->generation, 2);
	expect("time_wait releasetime_wait releasetime_wait");
}

/* Bound to a number, it connects again elsewhere while its first TIME_WAIT lasts, and leaves a second. */
static void second_time_wait_of_a_socket_holds_as_well(void **state)
{
	struct event first = ev_tw(PW_TW_START, 7, 40000, TW, 1001), second = ev_tw(PW_TW_START, 7, 40000, TW + 8, 1003);

	(void)state;
	first.flags = second.flags = PW_F_HELD;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(first);
	feed(ev_connect(7, 40000, 81, 1002));
	feed(second);
	feed(ev_close(7, 40000, PW_F_HELD, 1004));
	feed(ev_free(7, 40000, STATE_CLOSE, 1005));
	expect("allocate time_wait close");
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1006));
	expect("");
	feed(ev_tw(PW_TW_END, 7, 40000, TW + 8, 1007));
	expect("releasetime_wait");
}

static void row_in_time_wait_begins_a_lifetime_without_owner(void **state)
{
	(void)state;
	tracker_starting(t.tracker, true);
	feed(ev_tw_row(7, 40000, 80, TW, 1000));
	assert_int_equal(last()->holds, HOLD_TW);
	assert_int_equal(last()->owner, 0);
	assert_int_equal(last()->since, 0);
	assert_int_equal(last()->tw_at, 0);
	expect("present");
	feed(ev_tw_row(7, 40000, 80, TW, 1001));
	expect("");
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1002));
	expect("release~time_wait");
}

static void row_in_time_wait_tells_a_missed_handover(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_close(7, 40000, PW_F_HELD, 1001));
	feed(ev_tw_row(7, 40000, 80, TW, 1002));
	assert_int_equal(last()->holds, HOLD_TW);
	assert_int_equal(last()->owner, TEST_PID);
	assert_int_equal(last()->since, 1000);
	expect("allocate close time_wait~");
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1003));
	expect("release~time_wait");
}

/* Reuse ends it at a known time, but the beginning of its TIME_WAIT was not seen: as with expiry. */
static void reuse_of_an_approximate_time_wait_is_approximate(void **state)
{
	(void)state;
	tracker_starting(t.tracker, true);
	feed(ev_tw_row(7, 40000, 80, TW, 1000));
	feed(ev_connect(8, 40000, 80, 1001));
	expect("present release~reuse allocate");
}

/* A socket that was shut down but is open still: a TIME_WAIT row does not say that its descriptor was closed. */
static void row_in_time_wait_of_an_open_socket(void **state)
{
	(void)state;
	tracker_starting(t.tracker, true);
	feed(ev_tw_row(7, 40000, 80, TW, 1000));
	tracker_starting(t.tracker, false);
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1001));
	expect("present release~time_wait");
	feed(ev_connect(7, 40002, 80, 1002));
	assert_int_equal(last()->generation, 2);
	feed(ev_close(7, 40002, PW_F_HELD, 1003));
	expect("allocate close");
}

static void close_behind_a_time_wait_row_is_told(void **state)
{
	(void)state;
	tracker_starting(t.tracker, true);
	feed(ev_tw_row(7, 40000, 80, TW, 1000));
	feed(ev_close(7, 0, 0, 1001));
	expect("present close");
}

/* Rows as snapshot_settle() leaves them: the socket holds its number, and its TIME_WAIT too. */
static void rows_of_a_socket_and_of_its_time_wait(void **state)
{
	struct event row = ev_row(ev_sock(7, 40000, 1000));

	(void)state;
	tracker_starting(t.tracker, true);
	row.flags = PW_F_ROW | PW_F_LOCKED;
	feed(row);
	row = ev_tw_row(7, 40000, 80, TW, 1000);
	row.flags |= PW_F_HELD;
	feed(row);
	assert_int_equal(tracker_count(t.tracker), 1);
	assert_int_equal(one(7, 1)->holds, HOLD_SOCK | HOLD_TW);
	t.count = 0;
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1001));
	expect("");
	feed(ev_close(7, 40000, PW_F_HELD, 1002));
	feed(ev_free(7, 40000, STATE_CLOSE, 1003));
	expect("close release~close");
}

/* The row is of the second TIME_WAIT: the first does not hide it. */
static void missed_handover_beside_an_older_time_wait(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1001));
	feed(ev_connect(7, 40002, 80, 1002));
	t.count = 0;
	feed(ev_tw_row(7, 40002, 80, TW + 8, 1003));
	expect("time_wait~");
	assert_int_equal(one(7, 2)->holds, HOLD_TW);
}

static struct pw_look net_told(uint32_t netns)
{
	struct pw_look look = { .net = 1, .net_cookie = 1 };

	tracker_net(t.tracker, netns, &look);
	return look;
}

static void begin_time_wait(uint64_t cookie, uint32_t netns, uint64_t net, uint64_t net_cookie)
{
	struct event connect = ev_connect(cookie, 40000, 80, 1000);
	struct event start = ev_tw(PW_TW_START, cookie, 40000, TW + cookie, 1001);

	connect.netns = netns;
	start.net = net;
	start.net_cookie = net_cookie;
	feed(connect);
	feed(start);
}

static void address_of_a_namespace_is_as_last_told(void **state)
{
	(void)state;
	begin_time_wait(7, TEST_NETNS, 0x100, 5);
	begin_time_wait(8, TEST_NETNS + 1, 0x200, 6);
	begin_time_wait(9, TEST_NETNS + 2, 0, 0);
	assert_int_equal(net_told(TEST_NETNS).net, 0x100);
	assert_int_equal(net_told(TEST_NETNS).net_cookie, 5);
	assert_int_equal(net_told(TEST_NETNS + 1).net, 0x200);
	assert_int_equal(net_told(TEST_NETNS + 2).net, 0);
	assert_int_equal(net_told(TEST_NETNS + 2).net_cookie, 0);
	begin_time_wait(10, TEST_NETNS, 0x300, 7);
	assert_int_equal(net_told(TEST_NETNS).net, 0x300);
	assert_int_equal(net_told(TEST_NETNS).net_cookie, 7);
	expect("allocate time_wait allocate time_wait allocate time_wait releasereuse allocate time_wait");
}

/* Of more namespaces than are remembered the last ones are. */
static void addresses_of_namespaces_are_bounded(void **state)
{
	const uint32_t many = 4096 + 1;

	(void)state;
	for (uint32_t i = 1; i <= many; i++)
		begin_time_wait(i, i, i, i);
	t.count = 0;
	assert_int_equal(net_told(many).net, many);
	assert_int_equal(net_told(1).net, 0);
}

static const struct CMUnitTest tests[] = {
	FED_TEST(time_wait_takes_over_and_expires),
	FED_TEST(expiry_of_another_time_wait_says_nothing),
	FED_TEST(release_waits_for_the_time_wait),
	FED_TEST(release_waits_for_the_socket),
	FED_TEST(time_wait_is_reused_by_the_same_four_tuple),
	FED_TEST(early_end_waits_for_its_cause),
	FED_TEST(early_end_without_a_successor_is_settled_by_a_look),
	FED_TEST(end_with_the_namespace_says_so),
	FED_TEST(time_wait_stays_beside_another_four_tuple),
	FED_TEST(same_socket_allocates_while_its_time_wait_lasts),
	FED_TEST(second_time_wait_of_a_socket_holds_as_well),
	FED_TEST(row_in_time_wait_begins_a_lifetime_without_owner),
	FED_TEST(row_in_time_wait_tells_a_missed_handover),
	FED_TEST(reuse_of_an_approximate_time_wait_is_approximate),
	FED_TEST(row_in_time_wait_of_an_open_socket),
	FED_TEST(close_behind_a_time_wait_row_is_told),
	FED_TEST(rows_of_a_socket_and_of_its_time_wait),
	FED_TEST(missed_handover_beside_an_older_time_wait),
	FED_TEST(address_of_a_namespace_is_as_last_told),
	FED_TEST(addresses_of_namespaces_are_bounded),
};

UNIT_MAIN(tests)
