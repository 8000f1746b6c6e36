/* SPDX-License-Identifier: GPL-2.0 */
/* The tracker, arrow by arrow of its drawing and cause by cause; the arrows of TIME_WAIT are in test_time_wait.c. */
#include "user/lifetime.h"

#include <malloc.h>

#include "tests/unit/fed.h"
#include "tests/unit/unit.h"

/* ---- nothing to socket ---- */

static void statement_begins_a_lifetime(void **state)
{
	struct event e = ev_connect(7, 40000, 80, 1000);

	(void)state;
	feed(e);
	assert_int_equal(t.count, 1);
	assert_int_equal(last()->what, WHAT_ALLOCATE);
	assert_true(last()->exact);
	assert_int_equal(last()->time, 1000);
	assert_int_equal(last()->since, 1000);
	assert_int_equal(last()->cookie, 7);
	assert_int_equal(last()->generation, 1);
	assert_int_equal(last()->owner, TEST_PID);
	assert_int_equal(last()->port, 40000);
	assert_int_equal(last()->how, PW_HOW_CONNECT);
	assert_int_equal(last()->remote_port, 80);
	assert_int_equal(last()->remote.family, AF_INET);
	assert_int_equal(last()->holds, HOLD_SOCK);
	assert_int_equal(last()->netns, TEST_NETNS);
	assert_int_equal(tracker_count(t.tracker), 1);
	assert_int_equal(one(7, 1)->sk, e.sk);
	assert_int_equal(one(7, 1)->seen, 1000);
	assert_int_equal(one(7, 1)->flags, PW_F_EPHEMERAL);
}

static void statement_twice_says_nothing_new(void **state)
{
	(void)state;
	feed(ev_sock(7, 40000, 1000));
	feed(ev_sock(7, 40000, 1001));
	expect("allocate");
	assert_int_equal(tracker_count(t.tracker), 1);
	assert_int_equal(t.owners, 1);
}

static void unknown_owner_is_not_guessed(void **state)
{
	struct event e = ev_sock(7, 40000, 1000);

	(void)state;
	e.process = (struct event_process){ 0 };
	e.flags |= PW_F_KERNEL;
	feed(e);
	assert_int_equal(last()->owner, 0);
	/* A later live statement may come from any process that has the descriptor. */
	e.process.pid = 200;
	e.flags = 0;
	feed(e);
	assert_null(one(7, 1)->owner);
}

static void update_begins_nothing(void **state)
{
	struct event e = ev_connect(7, 40000, 53, 1000);

	(void)state;
	e.flags |= PW_F_UPDATE;
	feed(e);
	expect("");
	assert_false(tracker_knows(t.tracker, 7));
}

static void later_statement_adds_the_remote_end(void **state)
{
	struct event e = ev_connect(7, 40000, 53, 1001);

	(void)state;
	feed(ev_udp(7, 40000, 1000));
	e.proto = IPPROTO_UDP;
	e.flags |= PW_F_UPDATE;
	e.addr = ev_addr("127.0.0.9");
	feed(e);
	expect("allocate");
	assert_int_equal(one(7, 1)->remote_port, 53);
	/* Nor does the route's address take the place of what it was bound to. */
	assert_int_equal(one(7, 1)->addr.bytes[3], 1);
	/* How it came to the port stays as it was. */
	assert_int_equal(one(7, 1)->how, PW_HOW_BIND);
	assert_int_equal(one(7, 1)->since, 1000);
}

/* A send names another remote end with each datagram: the first stays. A connect changes it. */
static void datagram_socket_keeps_its_first_remote_end(void **state)
{
	struct event e = ev_connect(7, 40000, 53, 1000);

	(void)state;
	e.proto = IPPROTO_UDP;
	e.how = PW_HOW_SEND;
	feed(e);
	e.remote_port = 54;
	feed(e);
	assert_int_equal(one(7, 1)->remote_port, 53);
	e.flags |= PW_F_UPDATE;
	feed(e);
	assert_int_equal(one(7, 1)->remote_port, 54);
	expect("allocate");
}

/* A row of sock_diag does not know the address; the next statement does. */
static void address_of_the_socket_is_filled_in(void **state)
{
	struct event e = ev_row(ev_sock(7, 40000, 1000));

	(void)state;
	e.sk = 0;
	feed(e);
	assert_int_equal(one(7, 1)->sk, 0);
	feed(ev_row(ev_sock(7, 40000, 1001)));
	assert_int_equal(one(7, 1)->sk, 0x1007);
}

static void late_statement_has_no_beginning(void **state)
{
	struct event e = ev_udp(7, 40000, 1000);

	(void)state;
	e.flags |= PW_F_LATE;
	feed(e);
	assert_int_equal(last()->since, 0);
	assert_int_equal(last()->time, 1000);
	expect("allocate~");
}

static void rows_are_present_at_the_start(void **state)
{
	(void)state;
	tracker_starting(t.tracker, true);
	feed(ev_row(ev_udp(7, 40000, 1000)));
	assert_int_equal(last()->since, 0);
	assert_int_equal(last()->owner, TEST_PID);
	feed(ev_row(ev_listen(8, 80, 1001)));
	assert_true(last()->listening);
	expect("present present");
	/* What is live is an allocation even now. */
	feed(ev_sock(9, 40001, 1002));
	expect("allocate");
}

static void rows_after_a_loss_are_late_allocations(void **state)
{
	(void)state;
	feed(ev_row(ev_udp(7, 40000, 1000)));
	assert_int_equal(last()->since, 0);
	expect("allocate~");
}

static void row_of_a_known_socket_says_nothing(void **state)
{
	struct event row = ev_row(ev_connect(7, 40000, 80, 1001));

	(void)state;
	tracker_starting(t.tracker, true);
	feed(ev_connect(7, 40000, 80, 1000));
	row.process.pid = 200;
	feed(row);
	expect("allocate");
	assert_int_equal(one(7, 1)->owner->pid, TEST_PID);
	assert_int_equal(one(7, 1)->since, 1000);
}

static void row_names_an_owner_that_was_unknown(void **state)
{
	struct event e = ev_sock(7, 40000, 1000);

	(void)state;
	e.process = (struct event_process){ 0 };
	feed(e);
	feed(ev_row(ev_sock(7, 40000, 1001)));
	assert_non_null(one(7, 1)->owner);
	assert_int_equal(one(7, 1)->owner->pid, TEST_PID);
	expect("allocate");
}

/* ---- listen ---- */

static void listen_follows_bind(void **state)
{
	(void)state;
	feed(ev_sock(7, 80, 1000));
	feed(ev_listen(7, 80, 1001));
	assert_int_equal(last()->time, 1001);
	feed(ev_listen(7, 80, 1002));
	expect("allocate listen");
	assert_true(one(7, 1)->listening);
	assert_int_equal(one(7, 1)->how, PW_HOW_BIND);
}

static void listen_without_bind_is_both(void **state)
{
	(void)state;
	feed(ev_listen(7, 40000, 1000));
	assert_int_equal(last()->how, PW_HOW_LISTEN);
	expect("allocate listen");
}

static void listener_that_stops_holds_on(void **state)
{
	struct event stop = ev_free(7, 80, STATE_LISTEN, 1002);

	(void)state;
	stop.flags = PW_F_HELD;
	feed(ev_listen(7, 80, 1000));
	feed(stop);
	expect("allocate listen");
	assert_false(one(7, 1)->listening);
	assert_true(one(7, 1)->listened);
	feed(ev_listen(7, 80, 1003));
	expect("listen");
}

/* Bound to a number it may have been connected before. */
static void listener_has_no_remote_end(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	assert_int_equal(one(7, 1)->remote_port, 80);
	feed(ev_listen(7, 40000, 1001));
	assert_int_equal(last()->remote.family, 0);
	assert_int_equal(last()->remote_port, 0);
	expect("allocate listen");
}

static void datagram_socket_never_listens(void **state)
{
	struct event e = ev_listen(7, 80, 1000);

	(void)state;
	e.proto = IPPROTO_UDP;
	feed(e);
	expect("allocate");
	assert_false(one(7, 1)->listening);
}

/* A listener that is found when it ends: when it began to listen is as unknown as when it took the port. */
static void late_listener_is_approximate_in_both(void **state)
{
	struct event e = ev_listen(7, 80, 1000);

	(void)state;
	e.flags |= PW_F_LATE;
	feed(e);
	expect("allocate~ listen~");
}

/* The statement that told of listen() was lost; the row after the loss makes up for it. */
static void listener_found_after_a_loss_is_told(void **state)
{
	(void)state;
	feed(ev_sock(7, 80, 1000));
	feed(ev_row(ev_listen(7, 80, 1001)));
	expect("allocate listen~");
	feed(ev_row(ev_listen(8, 81, 1002)));
	expect("allocate~ listen~");
	feed(ev_row(ev_listen(8, 81, 1003)));
	expect("");
}

/* ---- socket to released, cause by cause ---- */

struct cause_row {
	const char *name;
	uint8_t proto, left;
	uint32_t error;
	bool closed;		/* its last descriptor was closed before */
	enum cause cause;
};

enum { FIN_WAIT1 = 4, FIN_WAIT2 = 5, LAST_ACK = 9, CLOSING = 11, SYN_RECV = 3 };

static const struct cause_row cause_rows[] = {
	{ "bound only, destroyed", IPPROTO_TCP, STATE_CLOSE, 0, true, CAUSE_CLOSE },
	{ "listener closed", IPPROTO_TCP, STATE_LISTEN, 0, true, CAUSE_CLOSE },
	{ "listener shut down", IPPROTO_TCP, STATE_LISTEN, 0, false, CAUSE_DISCONNECT },
	{ "refused", IPPROTO_TCP, STATE_SYN_SENT, ECONNREFUSED, false, CAUSE_RESET },
	{ "timed out", IPPROTO_TCP, STATE_SYN_SENT, ETIMEDOUT, false, CAUSE_RESET },
	{ "closed while connecting", IPPROTO_TCP, STATE_SYN_SENT, 0, true, CAUSE_CLOSE },
	{ "reset by the peer", IPPROTO_TCP, STATE_ESTABLISHED, ECONNRESET, false, CAUSE_RESET },
	{ "reset by the peer, its end closed", IPPROTO_TCP, STATE_CLOSE_WAIT, EPIPE, false, CAUSE_RESET },
	{ "reset after close", IPPROTO_TCP, FIN_WAIT1, ECONNRESET, true, CAUSE_RESET },
	{ "SO_LINGER 0", IPPROTO_TCP, STATE_ESTABLISHED, 0, true, CAUSE_RESET },
	{ "SO_LINGER 0, peer closed", IPPROTO_TCP, STATE_CLOSE_WAIT, 0, true, CAUSE_RESET },
	{ "AF_UNSPEC", IPPROTO_TCP, STATE_ESTABLISHED, 0, false, CAUSE_DISCONNECT },
	{ "AF_UNSPEC while connecting", IPPROTO_TCP, STATE_SYN_SENT, 0, false, CAUSE_DISCONNECT },
	{ "peer closed first", IPPROTO_TCP, LAST_ACK, 0, true, CAUSE_CLOSE },
	{ "no TIME_WAIT was to be had", IPPROTO_TCP, FIN_WAIT2, 0, true, CAUSE_CLOSE },
	{ "both closed at once", IPPROTO_TCP, CLOSING, 0, true, CAUSE_CLOSE },
	{ "orphan given up", IPPROTO_TCP, FIN_WAIT1, 0, true, CAUSE_CLOSE },
	{ "half open, closed", IPPROTO_TCP, SYN_RECV, 0, true, CAUSE_CLOSE },
	{ "datagram socket destroyed", IPPROTO_UDP, STATE_ESTABLISHED, ECONNABORTED, false, CAUSE_RESET },
	{ "datagram socket disconnected", IPPROTO_UDP, STATE_ESTABLISHED, 0, false, CAUSE_DISCONNECT },
};

static void check_cause(const struct cause_row *row)
{
	struct event e = ev_connect(7, 40000, 80, 1000), freed = ev_free(7, 40000, row->left, 1002);

	e.proto = row->proto;
	feed(e);
	if (row->closed)
		feed(ev_close(7, 40000, PW_F_HELD, 1001));
	freed.error = row->error;
	feed(freed);
	if (last()->what != WHAT_RELEASE || last()->cause != row->cause || last()->error != row->error ||
	    !last()->exact || last()->time != 1002)
		fail_msg("%s: %s, errno %u", row->name, words(), last()->error);
	assert_int_equal(tracker_count(t.tracker), 0);
	t.count = 0;
	/* The next one is another socket. */
	feed(ev_close(7, 0, 0, 1003));
	expect("");
}

static void cause_of_each_way_to_lose_a_port(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cause_rows); i++)
		check_cause(&cause_rows[i]);
}

/* sk_err stays in a socket until somebody reads it: what lay there when the port was taken did not end it. */
static void stale_error_ends_nothing(void **state)
{
	struct event taken = ev_connect(7, 40000, 80, 1000), freed = ev_free(7, 40000, STATE_ESTABLISHED, 1001);

	(void)state;
	taken.error = freed.error = ECONNRESET;
	feed(taken);
	feed(freed);
	assert_int_equal(last()->error, 0);
	expect("allocate releasedisconnect");
	freed.error = ETIMEDOUT;
	feed(taken);
	feed(freed);
	assert_int_equal(last()->error, ETIMEDOUT);
	expect("allocate releasereset");
}

static void no_error_ends_what_is_closed_or_listens(void **state)
{
	struct event freed = ev_free(7, 40000, STATE_LISTEN, 1001);

	(void)state;
	freed.error = ECONNRESET;
	feed(ev_listen(7, 40000, 1000));
	feed(freed);
	assert_int_equal(last()->error, 0);
	expect("allocate listen releasedisconnect");
	freed.state = STATE_CLOSE;
	feed(ev_sock(7, 40000, 1002));
	feed(freed);
	assert_int_equal(last()->error, 0);
	expect("allocate releaseclose");
}

static void port_lost_at_an_unknown_time_is_approximate(void **state)
{
	struct event e = ev_free(7, 0, STATE_CLOSE, 1001);

	(void)state;
	e.flags = PW_F_LATE;
	feed(ev_udp(7, 40000, 1000));
	feed(e);
	expect("allocate release~disconnect");
}

static void another_port_ends_the_one_before(void **state)
{
	(void)state;
	feed(ev_udp(7, 40000, 1000));
	feed(ev_udp(7, 40001, 1005));
	assert_int_equal(last()->generation, 2);
	expect("allocate release~disconnect allocate");
	assert_null(tracker_port(t.tracker, TEST_NETNS, IPPROTO_UDP, 40000));
	assert_non_null(tracker_port(t.tracker, TEST_NETNS, IPPROTO_UDP, 40001));
}

static void free_of_an_unknown_socket_says_nothing(void **state)
{
	(void)state;
	feed(ev_free(7, 40000, STATE_ESTABLISHED, 1000));
	feed(ev_close(7, 40000, PW_F_HELD, 1001));
	feed(ev_tw(PW_TW_START, 7, 40000, TW, 1002));
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1003));
	expect("");
	assert_int_equal(tracker_count(t.tracker), 0);
}

static void release_twice_says_nothing_new(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_free(7, 40000, STATE_ESTABLISHED, 1001));
	feed(ev_free(7, 40000, STATE_ESTABLISHED, 1001));
	expect("allocate releasedisconnect");
}

/* ---- close ---- */

static void closing_process_is_told(void **state)
{
	struct event e = ev_close(7, 40000, PW_F_HELD, 1001);

	(void)state;
	e.process.pid = 300;
	strcpy(e.process.comm, "heir");
	feed(ev_connect(7, 40000, 80, 1000));
	feed(e);
	assert_int_equal(last()->what, WHAT_CLOSE);
	assert_int_equal(last()->time, 1001);
	assert_int_equal(last()->closed_at, 1001);
	assert_int_equal(last()->owner, TEST_PID);
	assert_int_equal(last()->holder_pid, 300);
	assert_string_equal(last()->holder_comm, "heir");
	feed(e);
	expect("allocate close");
	assert_int_equal(tracker_count(t.tracker), 1);
}

static void datagram_socket_is_released_by_its_close(void **state)
{
	(void)state;
	feed(ev_udp(7, 40000, 1000));
	feed(ev_close(7, 40000, 0, 1001));
	expect("allocate close releaseclose");
	assert_int_equal(tracker_count(t.tracker), 0);
}

static void datagram_socket_that_closes_without_its_port_lost_it_before(void **state)
{
	(void)state;
	feed(ev_udp(7, 40000, 1000));
	feed(ev_close(7, 0, 0, 1001));
	expect("allocate release~disconnect");
}

/* Without an address to look at it again, where the port went is not known. */
static void stream_socket_that_closes_without_its_port_lost_it_unseen(void **state)
{
	struct event e = ev_connect(7, 40000, 80, 1000);

	(void)state;
	e.sk = 0;
	feed(e);
	feed(ev_close(7, 0, 0, 1001));
	expect("allocate release~unknown");
	assert_int_equal(tracker_count(t.tracker), 0);
}

/* The packet that ends it is at work on another CPU: where the port went is told after the close. */
static void close_may_come_before_the_end(void **state)
{
	struct event free = ev_free(7, 40000, STATE_ESTABLISHED, 1002);

	(void)state;
	free.error = ECONNRESET;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(ev_close(7, 0, 0, 1001));
	expect("allocate close");
	feed(free);
	expect("releasereset");
	feed(ev_connect(8, 40001, 80, 1003));
	feed(ev_close(8, 0, 0, 1004));
	feed(ev_tw(PW_TW_START, 8, 40001, TW, 1005));
	expect("allocate close time_wait");
	assert_int_equal(one(8, 1)->holds, HOLD_TW);
}

/* The descriptor closes while a TIME_WAIT holds on: that is told even if how the socket itself lost the port was not. */
static void close_is_told_of_what_lives_on(void **state)
{
	struct event handover = ev_tw(PW_TW_START, 7, 40000, TW, 1001);

	(void)state;
	handover.flags = PW_F_HELD;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(handover);
	feed(ev_close(7, 0, 0, 1002));
	expect("allocate time_wait close");
	assert_int_equal(one(7, 1)->holds, HOLD_TW);
	feed(ev_tw(PW_TW_END, 7, 40000, TW, 1003));
	expect("releasetime_wait");
}

/* ---- looks ---- */

static void lost_hold_ends_the_lifetime(void **state)
{
	(void)state;
	feed(ev_connect(7, 40000, 80, 1000));
	tracker_lost(t.tracker, one(7, 1), HOLD_TW, CAUSE_UNKNOWN, 1001);
	expect("allocate");
	tracker_lost(t.tracker, one(7, 1), HOLD_SOCK, CAUSE_UNKNOWN, 1002);
	expect("release~unknown");
	assert_null(tracker_find(t.tracker, 7, 1));
}

static void lost_hold_leaves_the_other(void **state)
{
	struct event handover = ev_tw(PW_TW_START, 7, 40000, TW, 1001);

	(void)state;
	handover.flags = PW_F_HELD;
	feed(ev_connect(7, 40000, 80, 1000));
	feed(handover);
	tracker_lost(t.tracker, one(7, 1), HOLD_TW, CAUSE_NETNS, 1002);
	expect("allocate time_wait");
	tracker_lost(t.tracker, one(7, 1), HOLD_SOCK, CAUSE_NETNS, 1003);
	expect("release~netns");
}

/* ---- who is where ---- */

static void port_has_all_its_lifetimes(void **state)
{
	uint64_t sum = 0;
	size_t count = 0;

	(void)state;
	for (uint64_t cookie = 1; cookie <= 4; cookie++)
		feed(ev_connect(cookie, 40000, (uint16_t)(80 + cookie), 1000 + cookie));
	feed(ev_udp(9, 40000, 1010));
	feed(ev_free(2, 40000, STATE_ESTABLISHED, 1020));
	for (struct lifetime *l = tracker_port(t.tracker, TEST_NETNS, IPPROTO_TCP, 40000); l;
	     l = tracker_port_next(t.tracker, l)) {
		sum += l->cookie;
		count++;
	}
	assert_int_equal(count, 3);
	assert_int_equal(sum, 1 + 3 + 4);
	assert_int_equal(tracker_port(t.tracker, TEST_NETNS, IPPROTO_UDP, 40000)->cookie, 9);
	assert_null(tracker_port(t.tracker, TEST_NETNS, IPPROTO_UDPLITE, 40000));
	assert_null(tracker_port(t.tracker, TEST_NETNS + 1, IPPROTO_TCP, 40000));
}

static void generations_count_on_while_the_socket_is_open(void **state)
{
	(void)state;
	for (uint32_t i = 1; i <= 5; i++) {
		feed(ev_connect(7, (uint16_t)(40000 + i), 80, 1000 + 2 * i));
		assert_int_equal(last()->generation, i);
		feed(ev_free(7, (uint16_t)(40000 + i), STATE_SYN_SENT, 1001 + 2 * i));
	}
	assert_null(tracker_find(t.tracker, 7, 5));
	assert_false(tracker_knows(t.tracker, 7));
}

/* More open sockets without a port than the tracker remembers: those idle longest begin again at 1. */
static void idle_sockets_are_bounded(void **state)
{
	const uint64_t many = 65536 + 2;

	(void)state;
	for (uint64_t cookie = 1; cookie <= many; cookie++) {
		feed(ev_connect(cookie, 40000, 80, 1000));
		feed(ev_free(cookie, 40000, STATE_SYN_SENT, 1001));
		t.count = 0;
	}
	feed(ev_connect(1, 40000, 80, 1002));
	assert_int_equal(last()->generation, 1);
	feed(ev_connect(many, 40000, 80, 1002));
	assert_int_equal(last()->generation, 2);
}

/* They do not take the room of those that are open. */
static void closed_sockets_are_forgotten(void **state)
{
	(void)state;
	feed(ev_connect(1, 40000, 80, 1000));
	feed(ev_free(1, 40000, STATE_SYN_SENT, 1001));
	for (uint64_t cookie = 2; cookie <= 65536 + 2; cookie++) {
		feed(ev_connect(cookie, 40000, 80, 1000));
		feed(ev_free(cookie, 40000, STATE_SYN_SENT, 1001));
		feed(ev_close(cookie, 0, 0, 1002));
		t.count = 0;
	}
	feed(ev_connect(1, 40000, 80, 1003));
	assert_int_equal(last()->generation, 2);
}

/* A statement that is refused leaves nothing behind. */
static void no_memory_leaves_nothing(void **state)
{
	size_t before = mallinfo2().uordblks;

	(void)state;
	for (uint64_t cookie = 1; cookie <= 20000; cookie++) {
		struct event e = ev_connect(cookie, 40000, 80, 1000);

		unit_fail_after(cookie % 3);
		if (cookie % 3 < 2)
			assert_int_equal(tracker_feed(t.tracker, &e), -ENOMEM);
		unit_fail_never();
	}
	assert_int_equal(tracker_count(t.tracker), 0);
	assert_true(mallinfo2().uordblks < before + 100000);
}

static void records_that_are_no_statement_are_let_by(void **state)
{
	struct event e = { .kind = PW_PROCESS, .process.pid = 1 };

	(void)state;
	feed(e);
	expect("");
}

/* ---- names ---- */

#define CHECK_NAMES(name_of, first, end)							\
	for (int i = (first); i < (int)(end); i++) {						\
		assert_non_null(name_of(i));							\
		for (int j = (first); j < i; j++)						\
			assert_string_not_equal(name_of(i), name_of(j));			\
	}											\
	assert_null(name_of(end))

static void each_value_has_its_own_name(void **state)
{
	(void)state;
	CHECK_NAMES(what_name, 0, WHAT_END);
	CHECK_NAMES(cause_name, CAUSE_CLOSE, CAUSE_END);
	CHECK_NAMES(how_name, PW_HOW_BIND, PW_HOW_END);
	assert_null(how_name(PW_HOW_NONE));
	assert_null(cause_name(CAUSE_NONE));
}

struct name_row {
	int value;
	const char *name;
};

/* The names of the interface: scripts of users stand on them. */
static void names_do_not_drift(void **state)
{
	static const struct name_row whats[] = {
		{ WHAT_READY, "ready" }, { WHAT_PRESENT, "present" }, { WHAT_ALLOCATE, "allocate" },
		{ WHAT_LISTEN, "listen" }, { WHAT_CLOSE, "close" }, { WHAT_TIME_WAIT, "time_wait" },
		{ WHAT_RELEASE, "release" }, { WHAT_GAP, "gap" },
	};
	static const struct name_row causes[] = {
		{ CAUSE_CLOSE, "close" }, { CAUSE_RESET, "reset" }, { CAUSE_TIME_WAIT, "time_wait" },
		{ CAUSE_REUSE, "reuse" }, { CAUSE_DISCONNECT, "disconnect" }, { CAUSE_NETNS, "netns" },
		{ CAUSE_UNKNOWN, "unknown" },
	};
	static const struct name_row hows[] = {
		{ PW_HOW_BIND, "bind" }, { PW_HOW_CONNECT, "connect" }, { PW_HOW_SEND, "send" },
		{ PW_HOW_LISTEN, "listen" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(whats); i++)
		assert_string_equal(what_name(whats[i].value), whats[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
		assert_string_equal(cause_name(causes[i].value), causes[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(hows); i++)
		assert_string_equal(how_name(hows[i].value), hows[i].name);
}

static const struct CMUnitTest tests[] = {
	FED_TEST(statement_begins_a_lifetime),
	FED_TEST(statement_twice_says_nothing_new),
	FED_TEST(unknown_owner_is_not_guessed),
	FED_TEST(update_begins_nothing),
	FED_TEST(later_statement_adds_the_remote_end),
	FED_TEST(datagram_socket_keeps_its_first_remote_end),
	FED_TEST(address_of_the_socket_is_filled_in),
	FED_TEST(late_statement_has_no_beginning),
	FED_TEST(rows_are_present_at_the_start),
	FED_TEST(rows_after_a_loss_are_late_allocations),
	FED_TEST(row_of_a_known_socket_says_nothing),
	FED_TEST(row_names_an_owner_that_was_unknown),
	FED_TEST(listen_follows_bind),
	FED_TEST(listen_without_bind_is_both),
	FED_TEST(listener_that_stops_holds_on),
	FED_TEST(listener_has_no_remote_end),
	FED_TEST(datagram_socket_never_listens),
	FED_TEST(late_listener_is_approximate_in_both),
	FED_TEST(listener_found_after_a_loss_is_told),
	FED_TEST(cause_of_each_way_to_lose_a_port),
	FED_TEST(stale_error_ends_nothing),
	FED_TEST(no_error_ends_what_is_closed_or_listens),
	FED_TEST(port_lost_at_an_unknown_time_is_approximate),
	FED_TEST(another_port_ends_the_one_before),
	FED_TEST(free_of_an_unknown_socket_says_nothing),
	FED_TEST(release_twice_says_nothing_new),
	FED_TEST(closing_process_is_told),
	FED_TEST(datagram_socket_is_released_by_its_close),
	FED_TEST(datagram_socket_that_closes_without_its_port_lost_it_before),
	FED_TEST(stream_socket_that_closes_without_its_port_lost_it_unseen),
	FED_TEST(close_may_come_before_the_end),
	FED_TEST(close_is_told_of_what_lives_on),
	FED_TEST(lost_hold_ends_the_lifetime),
	FED_TEST(lost_hold_leaves_the_other),
	FED_TEST(port_has_all_its_lifetimes),
	FED_TEST(generations_count_on_while_the_socket_is_open),
	FED_TEST(idle_sockets_are_bounded),
	FED_TEST(closed_sockets_are_forgotten),
	FED_TEST(no_memory_leaves_nothing),
	FED_TEST(records_that_are_no_statement_are_let_by),
	FED_TEST(each_value_has_its_own_name),
	FED_TEST(names_do_not_drift),
};

UNIT_MAIN(tests)
