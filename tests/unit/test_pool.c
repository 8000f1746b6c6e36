/* SPDX-License-Identifier: GPL-2.0 */
/* The pool against a slow twin that asks for each port by itself, and the cases that the twin cannot invent. */
#include "user/pool.h"

#include <math.h>
#include <netinet/in.h>

#include "tests/unit/unit.h"

#define LOW 100
#define HIGH 139
#define ROWS 120

static struct range range;
static struct process people[4];
static struct process *who[4] = { &people[0], &people[1], &people[2], &people[3] };

static void set_range(const char *reserved, uint8_t tw_reuse)
{
	assert_int_equal(range_parse("100\t139\n", reserved, &range), 0);
	range.tw_reuse = tw_reuse;
	for (uint32_t i = 0; i < ARRAY_SIZE(people); i++)
		people[i] = (struct process){ .pid = 50 + i / 2, .start = i };
}

static struct event_addr v4(uint8_t a, uint8_t d)
{
	return (struct event_addr){ .family = AF_INET, .bytes = { a, 0, 0, d } };
}

static struct holder tcp(uint16_t port, enum holder_state state)
{
	return (struct holder){ .proto = IPPROTO_TCP, .port = port, .state = state, .addr = v4(10, 1) };
}

static struct holder connected(uint16_t port, uint8_t remote)
{
	struct holder row = tcp(port, HOLDER_CONNECTED);

	row.by_connect = true;
	row.remote = v4(10, remote);
	row.remote_port = 443;
	return row;
}

static struct pool counted(const struct holder *rows, size_t count, uint8_t proto)
{
	struct pool pool;

	assert_int_equal(pool_count(&pool, rows, count, &range, proto), 0);
	return pool;
}

/* ---- the twin ---- */

static bool is_held(const struct holder *rows, size_t count, uint16_t port, uint8_t proto)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].port == port && rows[i].proto == proto)
			return true;
	return false;
}

/* As __inet_hash_connect() looks at one port: a bucket that bind() made, or the four-tuple itself. */
static bool connect_may_take(const struct holder *rows, size_t count, uint16_t port, const struct pool_destination *to)
{
	for (size_t i = 0; i < count; i++) {
		const struct holder *row = &rows[i];

		if (row->port != port || row->proto != IPPROTO_TCP)
			continue;
		if (!row->by_connect)
			return false;
		if (to && row->state != HOLDER_CLOSED && row->remote_port == to->remote_port &&
		    !memcmp(&row->remote, &to->remote, sizeof(to->remote)) &&
		    !memcmp(&row->addr, &to->addr, sizeof(to->addr)))
			return false;
	}
	return true;
}

static void compare_with_twin(const struct holder *rows, size_t count, const struct pool *pool)
{
	unsigned int held = 0, usable = 0, connectable = 0;

	for (uint16_t port = 1; port < 200; port++) {
		if (port < LOW || port > HIGH || port_set_has(&range.reserved, port))
			continue;
		usable++;
		held += is_held(rows, count, port, pool->proto);
		connectable += connect_may_take(rows, count, port, NULL);
	}
	assert_int_equal(pool->held, held);
	assert_int_equal(pool->free, usable - held);
	assert_int_equal(pool->connectable, pool->proto == IPPROTO_TCP ? connectable : 0);
	for (size_t i = 0; i < pool->destination_count; i++) {
		unsigned int left = 0;

		for (uint16_t port = LOW; port <= HIGH; port++)
			left += range_usable(&range, port) &&
				connect_may_take(rows, count, port, &pool->destinations[i]);
		assert_int_equal(pool->destinations[i].left, left);
		if (i)
			assert_true(pool->destinations[i - 1].held >= pool->destinations[i].held);
	}
}

static const struct process *owner_of(const struct holder *row)
{
	return row->process_count ? row->processes[0] : NULL;
}

/* Ports of each process, counted port by port. */
static void compare_processes(const struct holder *rows, size_t count, const struct pool *pool)
{
	for (size_t p = 0; p < pool->process_count; p++) {
		unsigned int ports = 0;

		for (uint16_t port = LOW; port <= HIGH; port++) {
			bool has = false;

			for (size_t i = 0; i < count; i++)
				has |= rows[i].port == port && rows[i].proto == pool->proto &&
				       range_usable(&range, port) && owner_of(&rows[i]) == pool->processes[p].process;
			ports += has;
		}
		assert_int_equal(pool->processes[p].ports, ports);
	}
}

static void compare_sums(const struct holder *rows, size_t count, const struct pool *pool)
{
	unsigned int sockets = 0, states = 0, how = 0;

	for (size_t i = 0; i < count; i++)
		sockets += rows[i].proto == pool->proto && range_usable(&range, rows[i].port);
	for (size_t i = 0; i < HOLDER_STATE_END; i++)
		states += pool->states[i];
	for (size_t i = 0; i < POOL_HOW_END; i++)
		how += pool->how[i];
	assert_int_equal(pool->sockets, sockets);
	assert_int_equal(states, sockets);
	assert_int_equal(how, sockets);
}

static struct holder random_row(uint64_t *random, const bool *bound)
{
	struct holder row = tcp((uint16_t)(LOW - 5 + unit_random(random) % 50), HOLDER_CONNECTED);

	row.proto = unit_random(random) % 3 ? IPPROTO_TCP : IPPROTO_UDP;
	row.state = (enum holder_state)(unit_random(random) % HOLDER_STATE_END);
	/* One bucket, one origin. */
	row.by_connect = row.proto == IPPROTO_TCP && !bound[row.port];
	row.locked = !row.by_connect && unit_random(random) % 2;
	row.addr = v4(10, (uint8_t)(unit_random(random) % 2));
	if (row.state != HOLDER_LISTEN && row.state != HOLDER_BOUND) {
		row.remote = v4(10, (uint8_t)(unit_random(random) % 3));
		row.remote_port = (uint16_t)(unit_random(random) % 2);
		row.doubtful = row.proto == IPPROTO_TCP && !row.by_connect && !row.locked;
	}
	row.process_count = row.state != HOLDER_TIME_WAIT;
	row.processes = &who[unit_random(random) % 4];
	return row;
}

static void against_the_twin(void **state)
{
	uint64_t random = 11;

	(void)state;
	for (int round = 0; round < 400; round++) {
		struct holder rows[ROWS];
		bool bound[200] = { false };
		size_t count = unit_random(&random) % ROWS;

		set_range(round % 2 ? "\n" : "90,104-109,139-150\n", 0);
		for (size_t i = 0; i < ARRAY_SIZE(bound); i++)
			bound[i] = unit_random(&random) % 4 == 0;
		for (size_t i = 0; i < count; i++)
			rows[i] = random_row(&random, bound);
		for (int p = 0; p < 2; p++) {
			_cleanup_pool_ struct pool pool = counted(rows, count, p ? IPPROTO_UDP : IPPROTO_TCP);

			compare_with_twin(rows, count, &pool);
			compare_processes(rows, count, &pool);
			compare_sums(rows, count, &pool);
		}
	}
}

/* ---- cases ---- */

static void nothing_held(void **state)
{
	_cleanup_pool_ struct pool pool = { 0 };

	(void)state;
	set_range("100-101\n", 2);
	pool = counted(NULL, 0, IPPROTO_TCP);
	assert_int_equal(pool.held, 0);
	assert_int_equal(pool.free, 38);
	assert_int_equal(pool.connectable, 38);
	assert_true(fabs(pool_time_wait_rate(&pool) - 38.0 / 60) < 1e-9);
	assert_true(isnan(pool.seconds_left));
}

static void range_not_known(void **state)
{
	struct holder row = connected(100, 1);
	_cleanup_pool_ struct pool pool = { 0 };

	(void)state;
	range = (struct range){ 0 };
	pool = counted(&row, 1, IPPROTO_TCP);
	assert_int_equal(pool.sockets, 0);
	assert_int_equal(pool.free, 0);
}

/* The number is shared between destinations, so each has nearly all. */
static void a_port_for_two_destinations(void **state)
{
	struct holder rows[] = { connected(100, 1), connected(100, 2), connected(101, 2) };
	_cleanup_pool_ struct pool pool = { 0 };

	(void)state;
	set_range("\n", 0);
	pool = counted(rows, 3, IPPROTO_TCP);
	assert_int_equal(pool.held, 2);
	assert_int_equal(pool.sockets, 3);
	assert_int_equal(pool.connectable, 40);
	assert_int_equal(pool.destination_count, 2);
	assert_int_equal(pool.destinations[0].remote.bytes[3], 2);
	assert_int_equal(pool.destinations[0].held, 2);
	assert_int_equal(pool.destinations[0].left, 38);
	assert_int_equal(pool.destinations[1].left, 39);
}

/* bind() before connect(): the number is lost to every connect(), and is counted once where it goes. */
static void bind_before_connect(void **state)
{
	struct holder rows[] = { connected(100, 1), connected(101, 1), connected(102, 2), connected(103, 1) };
	_cleanup_pool_ struct pool pool = { 0 };

	(void)state;
	set_range("\n", 0);
	rows[1].by_connect = rows[3].by_connect = false;
	rows[1].locked = true;
	/* To 0: perhaps accepted, and then of no destination. */
	rows[3].doubtful = true;
	pool = counted(rows, 4, IPPROTO_TCP);
	assert_int_equal(pool.connectable, 38);
	assert_int_equal(pool.destinations[0].held, 2);
	assert_int_equal(pool.destinations[0].left, 37);
	assert_int_equal(pool.destinations[1].left, 37);
	assert_int_equal(pool.how[POOL_EXPLICIT], 1);
	assert_int_equal(pool.how[POOL_UNKNOWN], 1);
	assert_int_equal(pool.how[POOL_CONNECT], 2);
}

/* SO_REUSEADDR lets bind() join a number that connect() took: from then on it is lost as well. */
static void bind_joins_a_connection(void **state)
{
	struct holder row = connected(100, 1);
	_cleanup_pool_ struct pool pool = { 0 };

	(void)state;
	set_range("\n", 0);
	row.locked = true;
	pool = counted(&row, 1, IPPROTO_TCP);
	assert_int_equal(pool.connectable, 39);
	assert_int_equal(pool.destinations[0].left, 39);
}

static void accepted_go_nowhere(void **state)
{
	struct holder rows[] = { tcp(105, HOLDER_LISTEN), connected(105, 1), connected(105, 2) };
	_cleanup_pool_ struct pool pool = { 0 };

	(void)state;
	set_range("\n", 0);
	rows[0].locked = true;
	for (int i = 1; i < 3; i++) {
		rows[i].by_connect = false;
		rows[i].accepted = true;
	}
	pool = counted(rows, 3, IPPROTO_TCP);
	assert_int_equal(pool.destination_count, 0);
	assert_int_equal(pool.held, 1);
	assert_int_equal(pool.how[POOL_ACCEPTED], 2);
	assert_int_equal(pool.how[POOL_EXPLICIT], 1);
	assert_int_equal(pool.connectable, 39);
}

static void how_a_number_was_come_by(void **state)
{
	struct holder rows[] = { tcp(100, HOLDER_BOUND), tcp(101, HOLDER_TIME_WAIT), tcp(102, HOLDER_TIME_WAIT) };
	_cleanup_pool_ struct pool pool = { 0 }, udp = { 0 };

	(void)state;
	set_range("\n", 0);
	rows[2].by_connect = true;
	pool = counted(rows, 3, IPPROTO_TCP);
	assert_int_equal(pool.how[POOL_BIND], 1);
	assert_int_equal(pool.how[POOL_UNKNOWN], 1);
	assert_int_equal(pool.how[POOL_CONNECT], 1);
	rows[0].proto = rows[1].proto = IPPROTO_UDP;
	rows[1].locked = true;
	udp = counted(rows, 3, IPPROTO_UDP);
	assert_int_equal(udp.how[POOL_EPHEMERAL], 1);
	assert_int_equal(udp.how[POOL_EXPLICIT], 1);
	for (int i = 0; i < POOL_HOW_END; i++)
		assert_non_null(pool_how_name((enum pool_how)i));
	assert_null(pool_how_name(POOL_HOW_END));
}

static unsigned int reusable(uint8_t tw_reuse, struct event_addr addr, struct event_addr remote, bool by_connect)
{
	struct holder row = tcp(100, HOLDER_TIME_WAIT);
	_cleanup_pool_ struct pool pool = { 0 };

	set_range("\n", tw_reuse);
	row.by_connect = by_connect;
	row.addr = addr;
	row.remote = remote;
	pool = counted(&row, 1, IPPROTO_TCP);
	assert_int_equal(pool.destinations[0].time_wait, 1);
	assert_int_equal(pool.destinations[0].left, 39);
	return pool.destinations[0].reusable;
}

static void time_waits_taken_over(void **state)
{
	struct event_addr loop6 = { .family = AF_INET6, .bytes = { [15] = 1 } };
	struct event_addr other6 = { .family = AF_INET6, .bytes = { 127, [15] = 1 } };

	(void)state;
	assert_int_equal(reusable(0, v4(127, 1), v4(127, 1), true), 0);
	assert_int_equal(reusable(1, v4(10, 1), v4(10, 2), true), 1);
	assert_int_equal(reusable(2, v4(10, 1), v4(10, 2), true), 0);
	assert_int_equal(reusable(2, v4(127, 1), v4(127, 2), true), 1);
	assert_int_equal(reusable(2, v4(10, 1), v4(127, 2), true), 1);
	assert_int_equal(reusable(2, loop6, loop6, true), 1);
	assert_int_equal(reusable(2, other6, other6, true), 0);
	/* connect() passes a number by that was bound, so it takes nothing over there. */
	assert_int_equal(reusable(1, v4(10, 1), v4(10, 2), false), 0);
}

static void processes_by_ports(void **state)
{
	struct holder rows[] = { connected(100, 1), connected(100, 2), connected(101, 1), connected(102, 1),
				 connected(103, 1), connected(104, 1), connected(105, 1) };
	_cleanup_pool_ struct pool pool = { 0 };

	(void)state;
	set_range("\n", 0);
	for (size_t i = 0; i < 6; i++) {
		rows[i].processes = &who[i < 3 ? 0 : 1];
		rows[i].process_count = 1;
	}
	pool = counted(rows, ARRAY_SIZE(rows), IPPROTO_TCP);
	assert_int_equal(pool.process_count, 3);
	assert_ptr_equal(pool.processes[0].process, who[1]);
	assert_int_equal(pool.processes[0].ports, 3);
	assert_ptr_equal(pool.processes[1].process, who[0]);
	assert_int_equal(pool.processes[1].ports, 2);
	assert_null(pool.processes[2].process);
	assert_int_equal(pool.processes[2].ports, 1);
}

static void time_to_the_end(void **state)
{
	struct holder rows[] = { connected(100, 1), connected(101, 1), connected(102, 2), connected(103, 3) };
	_cleanup_pool_ struct pool before = { 0 }, now = { 0 };

	(void)state;
	set_range("\n", 0);
	before = counted(rows, 1, IPPROTO_TCP);
	now = counted(rows, 3, IPPROTO_TCP);
	assert_int_equal(pool_compare(&now, &before, 500000000), 0);
	/* Two more in half a second, 37 free. */
	assert_true(fabs(now.seconds_left - 37.0 / 4) < 1e-9);
	assert_true(fabs(now.destinations[0].seconds_left - 38.0 / 2) < 1e-9);
	/* Nobody went there before. */
	assert_true(fabs(now.destinations[1].seconds_left - 39.0 / 2) < 1e-9);
	assert_int_equal(pool_compare(&now, &now, 500000000), 0);
	assert_true(isnan(now.seconds_left));
	assert_true(isnan(now.destinations[0].seconds_left));
	assert_int_equal(pool_compare(&before, &now, 500000000), 0);
	assert_true(isnan(before.seconds_left));
}

/* Destinations stand by what is held, which is not the order in which they are looked up. */
static void each_destination_finds_itself(void **state)
{
	struct holder rows[40];
	_cleanup_pool_ struct pool before = { 0 }, now = { 0 };
	size_t count = 0;

	(void)state;
	set_range("\n", 0);
	for (uint8_t to = 1; to < 9; to++)
		for (uint16_t i = 0; i < to; i++)
			rows[count++] = connected((uint16_t)(LOW + i), to);
	before = counted(rows, count, IPPROTO_TCP);
	rows[count++] = connected(LOW + 30, 4);
	now = counted(rows, count, IPPROTO_TCP);
	assert_int_equal(now.destination_count, 8);
	assert_int_equal(pool_compare(&now, &before, 1000000000), 0);
	for (size_t i = 0; i < 8; i++) {
		const struct pool_destination *d = &now.destinations[i];

		if (d->remote.bytes[3] == 4)
			assert_true(d->held == 5 && d->seconds_left == 35);
		else
			assert_true(isnan(d->seconds_left));
	}
}

static void at_the_end(void **state)
{
	struct holder rows[2] = { connected(100, 1), connected(101, 1) };
	_cleanup_pool_ struct pool now = { 0 };

	(void)state;
	assert_int_equal(range_parse("100\t101\n", "\n", &range), 0);
	now = counted(rows, 2, IPPROTO_TCP);
	assert_int_equal(now.free, 0);
	assert_int_equal(now.destinations[0].left, 0);
	assert_int_equal(pool_compare(&now, &now, 1), 0);
	assert_true(now.seconds_left == 0);
	assert_true(now.destinations[0].seconds_left == 0);
}

static void no_memory(void **state)
{
	struct holder rows[] = { connected(100, 1), connected(101, 2) };
	struct pool pool;
	size_t n = 0;
	int r;

	(void)state;
	set_range("\n", 0);
	do {
		unit_fail_after(n++);
		r = pool_count(&pool, rows, 2, &range, IPPROTO_TCP);
		if (r)
			assert_int_equal(r, -ENOMEM);
	} while (r);
	assert_int_equal(n, 5);
	unit_fail_after(0);
	assert_int_equal(pool_compare(&pool, &pool, 1), -ENOMEM);
	unit_fail_never();
	pool_done(&pool);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(against_the_twin),
	cmocka_unit_test(nothing_held),
	cmocka_unit_test(range_not_known),
	cmocka_unit_test(a_port_for_two_destinations),
	cmocka_unit_test(bind_before_connect),
	cmocka_unit_test(bind_joins_a_connection),
	cmocka_unit_test(accepted_go_nowhere),
	cmocka_unit_test(how_a_number_was_come_by),
	cmocka_unit_test(time_waits_taken_over),
	cmocka_unit_test(processes_by_ports),
	cmocka_unit_test(time_to_the_end),
	cmocka_unit_test(each_destination_finds_itself),
	cmocka_unit_test(at_the_end),
	cmocka_unit_test(no_memory),
};

UNIT_MAIN(tests)
