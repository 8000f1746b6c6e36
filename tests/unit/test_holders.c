/* SPDX-License-Identifier: GPL-2.0 */
/* Rows to holders: states, processes, time left, order. */
#include "user/holders.h"

#include "tests/unit/events.h"
#include "tests/unit/unit.h"

#define BUCKET	0xb000u

struct set {
	struct snapshot rows;
	struct identity *identity;
	struct holder_wait waits[4];
	size_t wait_count;
	struct holders holders;
};

static struct set *fresh(void)
{
	static struct set set;

	set = (struct set){ .identity = identity_new(-1) };
	assert_non_null(set.identity);
	return &set;
}

static void add(struct set *set, struct event row)
{
	row.flags |= PW_F_ROW;
	snapshot_add(&set->rows, &row);
}

/* The same row as a process has it that /proc knows nothing of. */
static struct event by(struct event row, uint32_t pid, uint64_t start)
{
	row.process = (struct event_process){ .pid = pid ? 5000000 + pid : 0, .start = start, .comm = "owner" };
	return row;
}

static const struct holders *settle(struct set *set)
{
	assert_int_equal(snapshot_sort(&set->rows), 0);
	assert_int_equal(holders_of(&set->holders, &set->rows, set->waits, set->wait_count, set->identity), 0);
	return &set->holders;
}

static void done(struct set *set)
{
	holders_done(&set->holders);
	snapshot_done(&set->rows);
	identity_free(&set->identity);
}

static void names(void **state)
{
	(void)state;
	for (enum holder_state s = 0; s < HOLDER_STATE_END; s++) {
		assert_non_null(holder_state_name(s));
		for (enum holder_state t = 0; t < s; t++)
			assert_string_not_equal(holder_state_name(s), holder_state_name(t));
	}
	assert_null(holder_state_name(HOLDER_STATE_END));
}

static void nobody_holds_nothing(void **state)
{
	struct set *set = fresh();

	(void)state;
	assert_int_equal(settle(set)->count, 0);
	done(set);
}

static enum holder_state state_as(struct event row)
{
	struct set *set = fresh();
	enum holder_state state;

	add(set, row);
	assert_int_equal(settle(set)->count, 1);
	state = set->holders.rows[0].state;
	done(set);
	return state;
}

static void each_state(void **state)
{
	struct event bound = by(ev_sock(7, 40000, 1), 1, 1), connected = by(ev_connect(7, 40000, 443, 1), 1, 1);
	struct event udp = by(ev_udp(7, 40000, 1), 1, 1), ended = connected, loose = connected, own = udp;

	(void)state;
	assert_int_equal(state_as(bound), HOLDER_BOUND);
	assert_int_equal(state_as(by(ev_listen(7, 40000, 1), 1, 1)), HOLDER_LISTEN);
	assert_int_equal(state_as(connected), HOLDER_CONNECTED);
	assert_int_equal(state_as(ev_tw_row(7, 40000, 443, TW, 1)), HOLDER_TIME_WAIT);
	ended.state = STATE_CLOSE;
	assert_int_equal(state_as(ended), HOLDER_CLOSED);
	loose.traits = PW_T_DEAD;
	assert_int_equal(state_as(by(loose, 0, 0)), HOLDER_ORPHAN);
	assert_int_equal(state_as(udp), HOLDER_BOUND);
	udp.remote = ev_addr("127.0.0.2");
	assert_int_equal(state_as(udp), HOLDER_CONNECTED);
	own.flags |= PW_F_KERNEL;
	assert_int_equal(state_as(own), HOLDER_KERNEL);
}

static void every_process_once_oldest_first(void **state)
{
	struct set *set = fresh();
	struct event e = ev_sock(7, 40000, 1);
	const struct holder *h;

	(void)state;
	add(set, by(e, 3, 30));
	add(set, by(e, 0, 0));
	add(set, by(e, 1, 10));
	add(set, by(e, 3, 30));
	add(set, by(e, 2, 20));
	add(set, by(e, 1, 10));
	assert_int_equal(settle(set)->count, 1);
	h = set->holders.rows;
	assert_int_equal(h->process_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(h->processes[i]->pid, 5000001 + i);
	done(set);
}

/* A pid that was used again is another process. */
static void one_number_is_two_processes(void **state)
{
	struct set *set = fresh();

	(void)state;
	add(set, by(ev_sock(7, 40000, 1), 3, 30));
	add(set, by(ev_sock(7, 40000, 1), 3, 31));
	assert_int_equal(settle(set)->rows[0].process_count, 2);
	done(set);
}

/* The walk of the namespace comes after that of the descriptors. */
static void later_row_tells_the_socket(void **state)
{
	struct set *set = fresh();
	struct event early = by(ev_connect(7, 40000, 443, 1), 1, 1), late = by(early, 0, 0);

	(void)state;
	late.state = STATE_ESTABLISHED;
	late.traits = PW_T_REUSE | PW_T_V6ONLY;
	late.bound_dev = 3;
	late.sock_uid = 1000;
	late.by_connect = true;
	add(set, late);
	add(set, early);
	assert_int_equal(settle(set)->count, 1);
	assert_int_equal(set->holders.rows[0].tcp_state, STATE_ESTABLISHED);
	assert_int_equal(set->holders.rows[0].process_count, 1);
	assert_true(set->holders.rows[0].reuse && set->holders.rows[0].v6only && set->holders.rows[0].by_connect);
	assert_false(set->holders.rows[0].reuseport);
	assert_int_equal(set->holders.rows[0].bound_dev, 3);
	assert_int_equal(set->holders.rows[0].uid, 1000);
	assert_true(set->holders.rows[0].options_known);
	done(set);
}

static void row_of_sock_diag_knows_no_options(void **state)
{
	struct set *set = fresh();
	struct event diag = by(ev_sock(7, 40000, 1), 0, 0), seen = by(ev_sock(8, 40001, 1), 1, 1), again = by(seen, 0, 0);

	(void)state;
	diag.sk = again.sk = 0;
	seen.traits = PW_T_REUSEPORT;
	add(set, diag);
	add(set, again);
	add(set, seen);
	assert_int_equal(settle(set)->count, 2);
	assert_false(set->holders.rows[0].options_known);
	assert_int_equal(set->holders.rows[0].process_count, 0);
	assert_true(set->holders.rows[1].options_known && set->holders.rows[1].reuseport);
	done(set);
}

/* Two TIME_WAITs of one socket, and the socket itself. */
static void time_left_goes_to_its_own(void **state)
{
	struct set *set = fresh();
	const struct holder *h;

	(void)state;
	add(set, by(ev_sock(7, 40000, 1), 1, 1));
	add(set, ev_tw_row(7, 40000, 443, TW, 1));
	add(set, ev_tw_row(7, 40000, 444, TW + 1, 1));
	add(set, ev_tw_row(8, 40000, 443, TW + 2, 1));
	set->waits[0] = (struct holder_wait){ .cookie = 7, .remote_port = 444, .expires_ms = 1500 };
	set->waits[1] = (struct holder_wait){ .cookie = 7, .remote_port = 443, .expires_ms = 59000 };
	set->wait_count = 2;
	assert_int_equal(settle(set)->count, 4);
	h = set->holders.rows;
	assert_int_equal(h[0].state, HOLDER_BOUND);
	assert_true(h[0].expires_ns == UNKNOWN_NS);
	for (size_t i = 1; i < 4; i++) {
		uint64_t expected = h[i].remote_port == 444 ? 1500000000 : h[i].cookie == 7 ? 59000000000 : UNKNOWN_NS;

		assert_int_equal(h[i].state, HOLDER_TIME_WAIT);
		assert_true(h[i].expires_ns == expected);
		assert_int_equal(h[i].uid, UINT32_MAX);
	}
	done(set);
}

/* Closed between the walk of the descriptors and that of the namespace. */
static void connection_that_ends_meanwhile_is_told_once(void **state)
{
	struct set *set = fresh();
	struct event closed = by(ev_connect(9, 40001, 443, 1), 1, 1);
	const struct holder *h;

	(void)state;
	closed.state = STATE_CLOSE;
	add(set, by(ev_connect(7, 40000, 443, 1), 1, 1));
	add(set, ev_tw_row(7, 40000, 443, TW, 1));
	/* Another connection of the same socket, one of another, and a socket that keeps its number beside its own. */
	add(set, by(ev_connect(8, 40000, 444, 1), 1, 1));
	add(set, ev_tw_row(8, 40000, 445, TW + 1, 1));
	add(set, closed);
	add(set, ev_tw_row(9, 40001, 443, TW + 2, 1));
	assert_int_equal(settle(set)->count, 5);
	h = set->holders.rows;
	assert_int_equal(h[0].cookie, 8);
	assert_int_equal(h[0].state, HOLDER_CONNECTED);
	assert_int_equal(h[1].cookie, 7);
	assert_int_equal(h[1].state, HOLDER_TIME_WAIT);
	assert_int_equal(h[2].state, HOLDER_TIME_WAIT);
	assert_int_equal(h[3].state, HOLDER_TIME_WAIT);
	assert_int_equal(h[4].state, HOLDER_CLOSED);
	done(set);
}

static void accepted_stay_and_are_marked(void **state)
{
	struct set *set = fresh();
	struct event listener = by(ev_listen(7, 40000, 1), 1, 1), child = by(ev_connect(8, 40000, 443, 1), 2, 2);

	(void)state;
	listener.bucket = child.bucket = BUCKET;
	child.state = STATE_ESTABLISHED;
	child.traits = PW_T_UNFETCHED;
	add(set, child);
	add(set, listener);
	assert_int_equal(settle(set)->count, 2);
	assert_false(set->holders.rows[0].accepted);
	assert_true(set->holders.rows[1].accepted && set->holders.rows[1].unfetched);
	assert_int_equal(set->holders.rows[1].process_count, 1);
	done(set);
}

static void order(void **state)
{
	struct set *set = fresh();
	struct event e = ev_sock(9, 40000, 1);
	static const uint64_t expected[] = { 4, 9, 3, 2, 1 };

	(void)state;
	add(set, by(e, 1, 1));
	e.cookie = 1;
	e.netns++;
	add(set, by(e, 1, 1));
	e = ev_udp(2, 30000, 1);
	add(set, by(e, 1, 1));
	add(set, by(ev_sock(3, 40001, 1), 1, 1));
	add(set, by(ev_listen(4, 40000, 1), 1, 1));
	assert_int_equal(settle(set)->count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(set->holders.rows[i].cookie, expected[i]);
	done(set);
}

static void no_memory(void **state)
{
	struct set *set = fresh();

	(void)state;
	add(set, by(ev_sock(7, 40000, 1), 1, 1));
	assert_int_equal(snapshot_sort(&set->rows), 0);
	for (size_t n = 0; n < 2; n++) {
		unit_fail_after(n);
		assert_int_equal(holders_of(&set->holders, &set->rows, NULL, 0, set->identity), -ENOMEM);
		unit_fail_never();
		holders_done(&set->holders);
	}
	done(set);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names),
	cmocka_unit_test(nobody_holds_nothing),
	cmocka_unit_test(each_state),
	cmocka_unit_test(every_process_once_oldest_first),
	cmocka_unit_test(one_number_is_two_processes),
	cmocka_unit_test(later_row_tells_the_socket),
	cmocka_unit_test(row_of_sock_diag_knows_no_options),
	cmocka_unit_test(time_left_goes_to_its_own),
	cmocka_unit_test(connection_that_ends_meanwhile_is_told_once),
	cmocka_unit_test(accepted_stay_and_are_marked),
	cmocka_unit_test(order),
	cmocka_unit_test(no_memory),
};

UNIT_MAIN(tests)
