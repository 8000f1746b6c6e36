/* SPDX-License-Identifier: GPL-2.0 */
/*
 * portwake pool against what the test's own sockets hold, and against the kernel: what is said to be left is how many
 * further connect() and bind() succeed.
 */
#define _GNU_SOURCE
#include "tests/e2e/room.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST 20000
#define RANGE "20000 20039"
#define RESERVED "80,20004,20006-20007"
#define USABLE 37
#define SERVER_A 7001
#define SERVER_B 7002
#define SERVER_C 7003

static json_t *ask(const struct room *room)
{
	return room_ask(room, 0, ARGS("pool", "--json", "--duration", "50ms", "--netns", room->stage->inode));
}

static const json_t *pool_of(const json_t *row, const char *proto)
{
	const json_t *pools = room_get(row, "protocols");
	size_t i;
	json_t *pool;

	json_array_foreach(pools, i, pool) {
		if (!strcmp(room_text(pool, "proto"), proto))
			return pool;
	}
	fail_msg("nothing about %s", proto);
	return NULL;
}

static const json_t *destination(const json_t *pool, uint16_t port)
{
	const json_t *all = room_get(pool, "destinations");
	size_t i;
	json_t *one;

	json_array_foreach(all, i, one) {
		if (room_int(one, "remote_port") == port)
			return one;
	}
	fail_msg("no destination %u", port);
	return NULL;
}

/* What the test knows itself. */
struct tally {
	bool held[40], live[40], bound[40], to_a[40], to_b[40];
	unsigned sockets;
};

static unsigned count(const bool *set)
{
	unsigned n = 0;

	for (int i = 0; i < 40; i++)
		n += set[i];
	return n;
}

static void note(struct tally *tally, uint16_t port, bool *set)
{
	if (port < FIRST || port >= FIRST + 40)
		fail_msg("port %u is outside the range", port);
	tally->held[port - FIRST] = true;
	if (set)
		set[port - FIRST] = true;
	tally->sockets++;
}

static void note_live(struct tally *tally, uint16_t port, bool *set)
{
	note(tally, port, set);
	tally->live[port - FIRST] = true;
}

static void fill_tcp(struct room *room, struct tally *t)
{
	int a = room_listener(room, SERVER_A), b = room_listener(room, SERVER_B), fd, accepted;

	/* Before the kernel may choose it. */
	note_live(t, room_port(room_listener(room, FIRST + 9)), t->bound);
	for (int i = 0; i < 5; i++)
		note_live(t, room_port(room_join(room, a, &accepted)), t->to_a);
	for (int i = 0; i < 3; i++)
		note_live(t, room_port(room_join(room, b, &accepted)), t->to_b);
	for (int i = 0; i < 4; i++)
		note(t, room_time_wait(room, b), t->to_b);
	note_live(t, room_port(room_listener(room, 0)), t->bound);
	note_live(t, room_port(room_bind(room, SOCK_STREAM, 0)), t->bound);
	/* bind() before connect(): lost to every connect(), and like what a listener accepted that has gone. */
	fd = room_bind(room, SOCK_STREAM, 0);
	assert_int_equal(room_connect(room, fd, SERVER_A), 0);
	note_live(t, room_port(fd), t->bound);
	room_accept(room, a);
}

static void fill_udp(struct room *room, struct tally *t)
{
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, room->fam, AT_LOOP, 9);
	int fd = room_socket(room, SOCK_DGRAM);

	note_live(t, room_port(room_bind(room, SOCK_DGRAM, FIRST + 10)), NULL);
	note_live(t, room_port(room_bind(room, SOCK_DGRAM, 0)), NULL);
	assert_int_equal(room_connect(room, fd, 9), 0);
	note_live(t, room_port(fd), NULL);
	fd = room_socket(room, SOCK_DGRAM);
	assert_int_equal(sendto(fd, "", 1, 0, (struct sockaddr *)&to, len), 1);
	note_live(t, room_port(fd), NULL);
	/* One in the range that the kernel would not choose counts for nothing. */
	assert_true(room_bind(room, SOCK_DGRAM, FIRST + 4) >= 0);
}

static void check_parts(const json_t *pool, const char *part, const char *const *names, const unsigned *numbers)
{
	const json_t *object = room_get(pool, part);

	for (int i = 0; names[i]; i++)
		if (room_int(object, names[i]) != numbers[i])
			fail_msg("%s %s: %lld, not %u", part, names[i], (long long)room_int(object, names[i]),
				 numbers[i]);
}

static void check_tcp(const json_t *pool, const struct tally *t)
{
	const json_t *a = destination(pool, SERVER_A), *b = destination(pool, SERVER_B);
	unsigned connectable = USABLE - count(t->bound);

	assert_int_equal(room_int(pool, "sockets"), t->sockets);
	assert_int_equal(room_int(pool, "held"), count(t->held));
	assert_int_equal(room_int(pool, "free"), USABLE - count(t->held));
	assert_int_equal(room_int(pool, "connectable"), connectable);
	assert_int_equal((int)(json_number_value(room_get(pool, "time_wait_rate")) * 60 + 0.5), connectable);
	assert_int_equal(room_int(pool, "destination_count"), 2);
	assert_int_equal(room_int(a, "held"), count(t->to_a));
	assert_int_equal(room_int(a, "left"), connectable - count(t->to_a));
	assert_int_equal(room_int(a, "time_wait"), 0);
	assert_int_equal(room_int(b, "held"), count(t->to_b));
	assert_int_equal(room_int(b, "left"), connectable - count(t->to_b));
	assert_int_equal(room_int(b, "time_wait"), 4);
	assert_int_equal(room_int(b, "reusable"), 0);
	assert_true(json_is_null(room_get(a, "seconds_left")) && json_is_null(room_get(pool, "seconds_left")));
	check_parts(pool, "states", ARGS("listen", "bound", "connected", "time_wait", "kernel", "orphan", "closed"),
		    (unsigned[]){ 2, 1, 9, 4, 0, 0, 0 });
	check_parts(pool, "how", ARGS("explicit", "connect", "bind", "ephemeral", "accepted", "unknown"),
		    (unsigned[]){ 1, 12, 2, 0, 0, 1 });
}

static void check_process(const json_t *pool, unsigned ports)
{
	const json_t *first = json_array_get(room_get(pool, "processes"), 0);

	assert_int_equal(room_int(first, "pid"), getpid());
	assert_int_equal(room_int(first, "ports"), ports);
}

static void counts(enum fam fam)
{
	struct room *room = room_new(fam, RANGE, RESERVED);
	struct tally tcp = { 0 }, udp = { 0 };
	const json_t *pool;
	json_t *row;

	fill_tcp(room, &tcp);
	fill_udp(room, &udp);
	row = ask(room);
	assert_int_equal(room_int(row, "ephemeral_low"), FIRST);
	assert_int_equal(room_int(row, "ephemeral_high"), FIRST + 39);
	assert_int_equal(room_int(row, "range_size"), 40);
	assert_int_equal(room_int(row, "range_reserved"), 3);
	assert_int_equal(room_int(row, "range_usable"), USABLE);
	assert_int_equal(room_int(row, "tcp_tw_reuse"), 0);
	check_tcp(pool_of(row, "tcp"), &tcp);
	check_process(pool_of(row, "tcp"), count(tcp.live));
	pool = pool_of(row, "udp");
	assert_int_equal(room_int(pool, "sockets"), 4);
	assert_int_equal(room_int(pool, "held"), 4);
	assert_int_equal(room_int(pool, "free"), USABLE - 4);
	check_parts(pool, "how", ARGS("explicit", "ephemeral"), (unsigned[]){ 1, 3 });
	check_parts(pool, "states", ARGS("bound", "connected"), (unsigned[]){ 3, 1 });
	check_process(pool, 4);
	json_decref(row);
	room_free(&room);
}

static void pool_counts_ipv4(void **state)
{
	(void)state;
	counts(FAM_V4);
}

static void pool_counts_ipv6(void **state)
{
	(void)state;
	counts(FAM_V6);
}

/* Connects until the kernel has no port left: how often it could. */
static unsigned connect_all(struct room *room, int listener)
{
	unsigned n = 0;
	int accepted, r;

	while ((r = room_join(room, listener, &accepted)) >= 0)
		n++;
	assert_int_equal(r, -EADDRNOTAVAIL);
	return n;
}

static unsigned bind_all(struct room *room, int type)
{
	unsigned n = 0;
	int r;

	while ((r = room_bind(room, type, 0)) >= 0)
		n++;
	assert_int_equal(r, -EADDRINUSE);
	return n;
}

static void left_is_true(enum fam fam)
{
	struct room *room = room_new(fam, RANGE, "20004,20006");
	int a = room_listener(room, SERVER_A), b = room_listener(room, SERVER_B), c = room_listener(room, SERVER_C), fd;
	int accepted;
	json_t *row;

	room_listener(room, FIRST + 9);
	assert_true(room_join(room, a, &accepted) >= 0);
	assert_true(room_time_wait(room, a) != 0);
	assert_true(room_join(room, b, &accepted) >= 0);
	assert_true(room_bind(room, SOCK_STREAM, 0) >= 0);
	fd = room_bind(room, SOCK_STREAM, 0);
	assert_int_equal(room_connect(room, fd, SERVER_A), 0);
	room_accept(room, a);
	assert_true(room_bind(room, SOCK_DGRAM, 0) >= 0);
	row = ask(room);
	assert_int_equal(room_int(destination(pool_of(row, "tcp"), SERVER_A), "left"), connect_all(room, a));
	assert_int_equal(room_int(destination(pool_of(row, "tcp"), SERVER_B), "left"), connect_all(room, b));
	assert_int_equal(room_int(pool_of(row, "tcp"), "connectable"), connect_all(room, c));
	assert_int_equal(room_int(pool_of(row, "udp"), "free"), bind_all(room, SOCK_DGRAM));
	json_decref(row);
	row = ask(room);
	assert_int_equal(room_int(destination(pool_of(row, "tcp"), SERVER_A), "left"), 0);
	assert_true(json_number_value(room_get(destination(pool_of(row, "tcp"), SERVER_A), "seconds_left")) == 0);
	assert_int_equal(room_int(pool_of(row, "tcp"), "free"), 0);
	assert_int_equal(room_int(pool_of(row, "udp"), "free"), 0);
	json_decref(row);
	room_free(&room);
}

static void pool_left_is_what_connect_gets_ipv4(void **state)
{
	(void)state;
	left_is_true(FAM_V4);
}

static void pool_left_is_what_connect_gets_ipv6(void **state)
{
	(void)state;
	left_is_true(FAM_V6);
}

static void pool_free_is_what_bind_gets(void **state)
{
	struct room *room = room_new(FAM_V4, RANGE, RESERVED);
	int a = room_listener(room, SERVER_A), accepted;
	json_t *row;

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_true(room_join(room, a, &accepted) >= 0);
	row = ask(room);
	assert_int_equal(room_int(pool_of(row, "tcp"), "free"), bind_all(room, SOCK_STREAM));
	json_decref(row);
	room_free(&room);
}

/* SO_REUSEADDR lets bind() join the number of a connection: then no connect() gets it any more, to wherever. */
static void pool_loses_a_number_that_bind_joined(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20000", "");
	int a = room_listener(room, SERVER_A), b = room_listener(room, SERVER_B), on = 1, accepted;
	int joined = room_join(room, a, &accepted), other = room_socket(room, SOCK_STREAM);
	struct sockaddr_storage at;
	socklen_t len = addr_make(&at, room->fam, AT_LOOP, 20000);
	json_t *row = ask(room);

	(void)state;
	assert_int_equal(room_int(pool_of(row, "tcp"), "connectable"), 1);
	json_decref(row);
	assert_int_equal(setsockopt(joined, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(other, (struct sockaddr *)&at, len), 0);
	row = ask(room);
	assert_int_equal(room_int(pool_of(row, "tcp"), "connectable"), 0);
	json_decref(row);
	assert_int_equal(room_join(room, b, &accepted), -EADDRNOTAVAIL);
	room_free(&room);
}

/* What a listener accepted is nobody's outgoing connection when the listener has gone, either. */
static void pool_knows_not_which_way(void **state)
{
	struct room *room = room_new(FAM_V4, RANGE, "");
	int listener = room_listener(room, FIRST), accepted;
	const json_t *pool;
	json_t *row;

	(void)state;
	assert_true(room_port(room_join(room, listener, &accepted)) > FIRST);
	room_close(room, listener);
	row = ask(room);
	pool = pool_of(row, "tcp");
	check_parts(pool, "how", ARGS("explicit", "connect", "bind", "accepted", "unknown"),
		    (unsigned[]){ 0, 1, 0, 0, 1 });
	assert_int_equal(room_int(pool, "destination_count"), 1);
	assert_int_equal(room_int(destination(pool, FIRST), "held"), 1);
	json_decref(row);
	room_free(&room);
}

/* A second connection on a port, from the same address to another destination, is no second port. */
static void pool_shares_a_port_between_destinations(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20001", "");
	int a = room_listener(room, SERVER_A), b = room_listener(room, SERVER_B);
	json_t *row;

	(void)state;
	assert_int_equal(connect_all(room, a), 2);
	assert_int_equal(connect_all(room, b), 2);
	row = ask(room);
	assert_int_equal(room_int(pool_of(row, "tcp"), "sockets"), 4);
	assert_int_equal(room_int(pool_of(row, "tcp"), "held"), 2);
	assert_int_equal(room_int(pool_of(row, "tcp"), "connectable"), 2);
	json_decref(row);
	room_free(&room);
}

/* TIME_WAITs of loopback are taken over where the namespace says so, and pool says which. */
static void pool_tells_reusable_time_waits(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20001", "");
	int a = room_listener(room, SERVER_A), accepted;
	json_t *row;

	(void)state;
	room_write(room, "tcp_tw_reuse", "2");
	room_time_wait(room, a);
	room_time_wait(room, a);
	row = ask(room);
	assert_int_equal(room_int(destination(pool_of(row, "tcp"), SERVER_A), "left"), 0);
	assert_int_equal(room_int(destination(pool_of(row, "tcp"), SERVER_A), "reusable"), 2);
	json_decref(row);
	run_sleep(2100);
	assert_true(room_join(room, a, &accepted) >= 0);
	assert_true(room_join(room, a, &accepted) >= 0);
	assert_int_equal(room_join(room, a, &accepted), -EADDRNOTAVAIL);
	room_free(&room);
}

/* Eight more between two looks that are at least six seconds apart, and no more than the run takes as a whole. */
static void pool_tells_how_long_it_lasts(void **state)
{
	struct room *room = room_new(FAM_V4, RANGE, "");
	int a = room_listener(room, SERVER_A), accepted;
	struct run *run = run_start(&(struct run_options){
		.text = true, .before_exec = stage_enter, .arg = room->stage,
		.args = ARGS("pool", "--json", "--duration", "6", "--netns", room->stage->inode) });
	const json_t *pool;
	json_t *row;
	double seconds, most;
	int64_t began = now_ns();

	(void)state;
	run_sleep(3000);
	for (int i = 0; i < 8; i++)
		assert_true(room_join(room, a, &accepted) >= 0);
	assert_int_equal(run_wait(run, 30 * SECOND), 0);
	most = 32.0 / 8 * (double)(now_ns() - began) / SECOND;
	row = json_loads(run->partial, 0, NULL);
	pool = pool_of(row, "tcp");
	assert_int_equal(room_int(pool, "free"), 32);
	seconds = json_number_value(room_get(pool, "seconds_left"));
	if (seconds < 23.9 || seconds > most)
		fail_msg("32 left at 8 in 6 s: %g", seconds);
	seconds = json_number_value(room_get(destination(pool, SERVER_A), "seconds_left"));
	if (seconds < 23.9 || seconds > most)
		fail_msg("32 left at 8 in 6 s to A: %g", seconds);
	json_decref(row);
	room_free(&room);
}

static bool three_lines(void *arg)
{
	const struct run *run = arg;
	unsigned n = 0;

	for (const char *at = run->partial; at && (at = strchr(at, '\n')); at++)
		n++;
	return n >= 3;
}

static void pool_watches_until_told(void **state)
{
	struct room *room = room_new(FAM_V4, RANGE, "");
	struct run *run = run_start(&(struct run_options){
		.text = true, .before_exec = stage_enter, .arg = room->stage,
		.args = ARGS("pool", "--json", "--watch", "0.1", "--netns", room->stage->inode) });

	(void)state;
	assert_true(run_until(three_lines, run, 20 * SECOND));
	assert_int_equal(run_stop(run, SIGINT), 0);
	assert_int_equal(run->talk_len, 0);
	assert_int_equal(run->partial[run->partial_len - 1], '\n');
	room_free(&room);
}

static void pool_in_words(void **state)
{
	struct room *room = room_new(FAM_V6, RANGE, RESERVED);
	int a = room_listener(room, SERVER_A), accepted;
	struct run *run;

	(void)state;
	assert_true(room_join(room, a, &accepted) >= 0);
	run = run_start(&(struct run_options){ .text = true, .before_exec = stage_enter, .arg = room->stage,
					       .args = ARGS("pool", "-d", "50ms", "-n", room->stage->inode) });
	assert_int_equal(run_wait(run, 20 * SECOND), 0);
	assert_non_null(strstr(run->partial, "range 20000-20039, 40 ports, 3 reserved, 37 usable"));
	assert_non_null(strstr(run->partial, "[::1]:7001"));
	assert_non_null(strstr(run->partial, "connect 1"));
	room_free(&room);
}

static void pool_of_no_namespace(void **state)
{
	struct run *run = run_start(&(struct run_options){ .text = true, .args = ARGS("pool", "--netns", "3") });

	(void)state;
	assert_int_equal(run_wait(run, 20 * SECOND), 2);
	assert_non_null(strstr(run->talk, "network namespace 3"));
	assert_int_equal(run->partial_len, 0);
}

/* No "nothing": it was not looked at. */
static void pool_without_a_range(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20003", "");
	struct run *run;

	(void)state;
	room_listener(room, 20000);
	run = run_start(&(struct run_options){ .text = true, .before_exec = room_enter_blind, .arg = room->stage,
					       .args = ARGS("pool", "-d", "50ms", "-n", room->stage->inode) });
	assert_int_equal(run_wait(run, 20 * SECOND), 1);
	assert_int_equal(run->partial_len, 0);
	assert_non_null(strstr(run->talk, "cannot be read"));
	room_free(&room);
}

static void pool_shows_no_control_character(void **state)
{
	struct room *room = room_new(FAM_V4, RANGE, "");
	struct run *run;

	(void)state;
	room_bind(room, SOCK_DGRAM, 0);
	run = room_ask_by_evil(room, 0, ARGS("pool", "-d", "50ms", "-n", room->stage->inode));
	run_free(&run);
	room_free(&room);
}

static const struct plain list[] = {
	{ "pool_counts_ipv4", pool_counts_ipv4 },
	{ "pool_counts_ipv6", pool_counts_ipv6 },
	{ "pool_left_is_what_connect_gets_ipv4", pool_left_is_what_connect_gets_ipv4 },
	{ "pool_left_is_what_connect_gets_ipv6", pool_left_is_what_connect_gets_ipv6 },
	{ "pool_free_is_what_bind_gets", pool_free_is_what_bind_gets },
	{ "pool_loses_a_number_that_bind_joined", pool_loses_a_number_that_bind_joined },
	{ "pool_knows_not_which_way", pool_knows_not_which_way },
	{ "pool_shares_a_port_between_destinations", pool_shares_a_port_between_destinations },
	{ "pool_tells_reusable_time_waits", pool_tells_reusable_time_waits },
	{ "pool_tells_how_long_it_lasts", pool_tells_how_long_it_lasts },
	{ "pool_watches_until_told", pool_watches_until_told },
	{ "pool_shows_no_control_character", pool_shows_no_control_character },
	{ "pool_without_a_range", pool_without_a_range },
	{ "pool_in_words", pool_in_words },
	{ "pool_of_no_namespace", pool_of_no_namespace },
};

const struct plain_list pool_tests = { list, COUNT_OF(list) };
