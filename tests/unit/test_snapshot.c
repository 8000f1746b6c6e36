/* SPDX-License-Identifier: GPL-2.0 */
/* Rows to one of each socket: doubles, owners, accepted sockets, TIME_WAITs. */
#include "user/snapshot.h"

#include "tests/unit/events.h"
#include "tests/unit/unit.h"

#define BUCKET	0xb000u

/* With this process, that began at start; pid 0: a row of an iterator that knows none. */
static struct event row_of(uint64_t cookie, uint32_t pid, uint64_t start)
{
	struct event e = ev_row(ev_sock(cookie, 40000, 1000));

	e.process = (struct event_process){ .pid = pid, .start = start };
	return e;
}

static struct event listener(uint64_t cookie, uint64_t bucket)
{
	struct event e = row_of(cookie, 100, 1);

	e.state = STATE_LISTEN;
	e.bucket = bucket;
	return e;
}

static struct event connected(uint64_t cookie, uint64_t bucket)
{
	struct event e = ev_row(ev_connect(cookie, 40000, 443, 1000));

	e.state = STATE_ESTABLISHED;
	e.bucket = bucket;
	return e;
}

static void add(struct snapshot *s, struct event row)
{
	snapshot_add(s, &row);
}

static void nothing_settles_to_nothing(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 0);
}

static void what_is_added_after_a_sort_is_sorted_in(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;
	uint64_t cookies[] = { 1, 2, 3, 3 };

	(void)state;
	add(&s, row_of(3, 0, 0));
	add(&s, row_of(2, 0, 0));
	assert_int_equal(snapshot_sort(&s), 0);
	add(&s, row_of(3, 100, 1));
	add(&s, row_of(1, 0, 0));
	assert_int_equal(snapshot_sort(&s), 0);
	assert_int_equal(s.count, ARRAY_SIZE(cookies));
	for (size_t i = 0; i < ARRAY_SIZE(cookies); i++)
		assert_int_equal(s.rows[i].cookie, cookies[i]);
	assert_int_equal(s.rows[2].process.pid, 100);
}

static void rows_come_by_cookie(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;
	uint64_t random = 1;

	(void)state;
	for (int i = 0; i < 3000; i++)
		add(&s, row_of(unit_random(&random) % 1000 + 1, 0, 0));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_true(s.count > 900 && s.count <= 1000);
	for (size_t i = 1; i < s.count; i++)
		assert_true(s.rows[i - 1].cookie < s.rows[i].cookie);
}

static void row_with_a_process_wins(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	add(&s, row_of(7, 0, 0));
	add(&s, row_of(7, 300, 30));
	add(&s, row_of(7, 0, 0));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.rows[0].process.pid, 300);
}

/* Of those that share it by fork, the one that was there first most likely opened it. */
static void oldest_process_wins(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	add(&s, row_of(7, 300, 30));
	add(&s, row_of(7, 900, 10));
	add(&s, row_of(7, 200, 20));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.rows[0].process.pid, 900);
}

static void accepted_sockets_are_left_out(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;
	struct event waiting = ev_tw_row(9, 40000, 443, TW, 1000);

	(void)state;
	waiting.bucket = BUCKET;
	/* In whatever order they come. */
	add(&s, connected(3, BUCKET));
	add(&s, listener(5, BUCKET));
	add(&s, connected(7, BUCKET));
	add(&s, waiting);
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.rows[0].cookie, 5);
}

static void connections_of_their_own_stay(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;
	struct event locked = connected(4, BUCKET), udp = connected(5, BUCKET);

	(void)state;
	/* Bound to the listener's number by name; a datagram socket; another bucket; a bucket that nobody knows. */
	locked.flags |= PW_F_LOCKED;
	udp.proto = IPPROTO_UDP;
	add(&s, listener(3, BUCKET));
	add(&s, locked);
	add(&s, udp);
	add(&s, connected(6, BUCKET + 8));
	add(&s, connected(7, 0));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 5);
}

/* Bound to one number, all share its bucket: whom a listener accepted has an address that it covers. */
static size_t left_beside(const char *listens, const char *address, uint8_t state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;
	struct event l = listener(3, BUCKET), other = connected(4, BUCKET);

	l.addr = ev_addr(listens);
	other.addr = ev_addr(address);
	other.state = state;
	add(&s, l);
	add(&s, other);
	assert_int_equal(snapshot_settle(&s), 0);
	return s.count;
}

static void accepted_is_whom_the_listener_covers(void **state)
{
	(void)state;
	assert_int_equal(left_beside("127.0.0.1", "127.0.0.1", STATE_ESTABLISHED), 1);
	assert_int_equal(left_beside("0.0.0.0", "127.0.0.1", STATE_ESTABLISHED), 1);
	assert_int_equal(left_beside("::", "::1", STATE_ESTABLISHED), 1);
	assert_int_equal(left_beside("::", "127.0.0.1", STATE_CLOSE_WAIT), 1);
	assert_int_equal(left_beside("127.0.0.1", "127.0.0.2", STATE_ESTABLISHED), 2);
	assert_int_equal(left_beside("127.0.0.1", "::1", STATE_ESTABLISHED), 2);
	assert_int_equal(left_beside("0.0.0.0", "::1", STATE_ESTABLISHED), 2);
	assert_int_equal(left_beside("::1", "127.0.0.1", STATE_ESTABLISHED), 2);
}

static void accepted_sockets_have_begun_elsewhere(void **state)
{
	(void)state;
	/* Bound, or connecting of their own accord: nobody accepted these. */
	assert_int_equal(left_beside("0.0.0.0", "127.0.0.1", STATE_CLOSE), 2);
	assert_int_equal(left_beside("0.0.0.0", "127.0.0.1", STATE_SYN_SENT), 2);
}

/* Whether connect() chose the number is read from the bucket: such a socket was never accepted. */
static void number_chosen_by_connect_is_its_own(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;
	struct event own = connected(4, BUCKET);

	(void)state;
	own.by_connect = true;
	add(&s, listener(3, BUCKET));
	add(&s, own);
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 2);
	assert_true(s.rows[1].flags & PW_F_EPHEMERAL);
	assert_false(s.rows[1].flags & PW_F_EPHEMERAL_UNKNOWN);
}

/* Its listener may be gone: then whose choice the number was is not known. */
static void choice_of_a_doubtful_number_is_not_known(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	add(&s, connected(4, BUCKET));
	assert_true(snapshot_doubtful(&s.rows[0]));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 1);
	assert_false(s.rows[0].flags & PW_F_EPHEMERAL);
	assert_true(s.rows[0].flags & PW_F_EPHEMERAL_UNKNOWN);
}

static void listener_without_a_bucket_drops_nobody(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	add(&s, listener(3, 0));
	add(&s, connected(4, 0));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 2);
}

static void all_listeners_of_a_group_stay(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	for (uint64_t cookie = 1; cookie <= 8; cookie++)
		add(&s, listener(cookie, BUCKET));
	add(&s, connected(9, BUCKET));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 8);
}

/* Bound to a number, shut down, open still: the socket has two rows, one by sock_diag, and its TIME_WAIT a third. */
static void socket_and_its_time_wait_both_stay(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	add(&s, ev_tw_row(7, 40000, 443, TW, 1000));
	add(&s, row_of(7, 0, 0));
	add(&s, row_of(7, 100, 1));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.rows[0].state, STATE_CLOSE);
	assert_int_equal(s.rows[0].process.pid, 100);
	assert_int_equal(s.rows[1].state, STATE_TIME_WAIT);
	assert_true(s.rows[1].flags & PW_F_HELD);
}

static void time_wait_alone_does_not_say_that_its_socket_holds(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;
	struct event moved = row_of(8, 100, 1);

	(void)state;
	moved.port = 40001;
	add(&s, ev_tw_row(7, 40000, 443, TW, 1000));
	add(&s, moved);
	add(&s, ev_tw_row(8, 40000, 443, TW + 8, 1000));
	add(&s, ev_tw_row(9, 40000, 444, TW + 16, 1000));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 4);
	for (size_t i = 0; i < s.count; i++)
		assert_false(s.rows[i].flags & PW_F_HELD);
}

static void each_time_wait_of_a_socket_stays(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	add(&s, ev_tw_row(7, 40000, 443, TW + 8, 1000));
	add(&s, ev_tw_row(7, 40002, 443, TW, 1000));
	add(&s, ev_tw_row(7, 40000, 443, TW + 8, 1001));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.rows[0].sk + s.rows[1].sk, TW + TW + 8);
}

/* What is settled stays settled. */
static void settling_twice_changes_nothing(void **state)
{
	_cleanup_snapshot_ struct snapshot s = SNAPSHOT_INIT;

	(void)state;
	add(&s, listener(3, BUCKET));
	add(&s, connected(4, BUCKET));
	add(&s, row_of(7, 0, 0));
	add(&s, row_of(7, 100, 1));
	add(&s, ev_tw_row(7, 40000, 443, TW, 1000));
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 3);
	assert_int_equal(snapshot_settle(&s), 0);
	assert_int_equal(s.count, 3);
}

static void no_memory_is_told_by_settle(void **state)
{
	struct snapshot s = SNAPSHOT_INIT;
	size_t k;

	(void)state;
	for (k = 0; k < 100; k++) {
		int r;

		unit_fail_after(k);
		for (uint64_t cookie = 1; cookie <= 3000; cookie++)
			add(&s, listener(cookie, BUCKET + cookie));
		r = snapshot_settle(&s);
		unit_fail_never();
		if (!r)
			break;
		assert_int_equal(r, -ENOMEM);
		snapshot_done(&s);
	}
	assert_true(k > 3 && k < 100);
	assert_int_equal(s.count, 3000);
	snapshot_done(&s);
	assert_int_equal(s.count, 0);
	assert_null(s.rows);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(nothing_settles_to_nothing),
	cmocka_unit_test(rows_come_by_cookie),
	cmocka_unit_test(what_is_added_after_a_sort_is_sorted_in),
	cmocka_unit_test(row_with_a_process_wins),
	cmocka_unit_test(oldest_process_wins),
	cmocka_unit_test(accepted_sockets_are_left_out),
	cmocka_unit_test(connections_of_their_own_stay),
	cmocka_unit_test(accepted_is_whom_the_listener_covers),
	cmocka_unit_test(accepted_sockets_have_begun_elsewhere),
	cmocka_unit_test(number_chosen_by_connect_is_its_own),
	cmocka_unit_test(choice_of_a_doubtful_number_is_not_known),
	cmocka_unit_test(listener_without_a_bucket_drops_nobody),
	cmocka_unit_test(all_listeners_of_a_group_stay),
	cmocka_unit_test(socket_and_its_time_wait_both_stay),
	cmocka_unit_test(time_wait_alone_does_not_say_that_its_socket_holds),
	cmocka_unit_test(each_time_wait_of_a_socket_stays),
	cmocka_unit_test(settling_twice_changes_nothing),
	cmocka_unit_test(no_memory_is_told_by_settle),
};

UNIT_MAIN(tests)
