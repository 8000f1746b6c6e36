/* SPDX-License-Identifier: GPL-2.0 */
/* portwake stats --json over a known workload, against the workload's own arithmetic. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 9
#define FIRST_PORT 7951
#define HELD_PORT 7952
#define SERVER_PORT 7953
#define CLIENTS 6
#define ATTACH_MS 1000

/* One port again and again, held for 2, 4, ... ms; one held to the end; and clients of one server. */
static void by_now(struct work *w)
{
	struct wsock held, server, client;

	work_step(w);
	work_name("rounds");
	for (int i = 0; i < ROUNDS; i++) {
		struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_UDP);

		ws_bind(&s, FIRST_PORT);
		usleep((useconds_t)(2000 * (i + 1)));
		ws_close(&s);
		usleep(3000);
	}
	work_name("holder");
	server = ws_listener_on(w, SERVER_PORT);
	held = ws_open_as(w, FAM_V4, IPPROTO_UDP);
	ws_bind(&held, HELD_PORT);
	for (int i = 0; i < CLIENTS; i++) {
		client = ws_open(w);
		ws_finish(&client, ws_join(&client, &server));
	}
	ws_close(&server);
	usleep(20000);
	work_step(w);
	ws_close(&held);
}

struct tally {
	struct stage *stage;
	json_t *rows;
	int64_t end;		/* when the tracer was told to stop */
};

static json_t *parse_rows(const struct run *run)
{
	json_t *rows = json_array();
	const char *line = run->partial, *stop;

	for (; (stop = strchr(line, '\n')); line = stop + 1) {
		json_t *row = json_loadb(line, (size_t)(stop - line), JSON_REJECT_DUPLICATES, NULL);

		if (!json_is_object(row))
			fail_msg("not a JSON object: %.*s", (int)(stop - line), line);
		assert_string_equal(json_string_value(json_object_get(row, "event")), "stats");
		json_array_append_new(rows, row);
	}
	assert_string_equal(line, "");
	return rows;
}

static struct tally tally_by(const char *by)
{
	struct tally tally = { .stage = stage_new("stats") };
	struct run *run;

	stage_start(tally.stage, by_now);
	stage_await_step(tally.stage);
	run = run_start(&(struct run_options){ .text = true, .args = ARGS("stats", "--json", "--by", by, "--netns",
									  tally.stage->inode) });
	/* It says no word before the end. */
	run_sleep(ATTACH_MS * (int)slow());
	stage_go(tally.stage);
	stage_await_step(tally.stage);
	tally.end = now_ns();
	assert_int_equal(run_stop(run, SIGINT), 0);
	stage_go(tally.stage);
	stage_join(tally.stage);
	tally.rows = parse_rows(run);
	return tally;
}

static int64_t num(const json_t *row, const char *name)
{
	const json_t *value = json_object_get(row, name);

	if (!json_is_integer(value))
		fail_msg("%s is %s", name, value ? "no number" : "missing");
	return json_integer_value(value);
}

static const json_t *find_row(const struct tally *tally, const char *name, int64_t value)
{
	size_t i;
	json_t *row;

	json_array_foreach(tally->rows, i, row) {
		if (json_integer_value(json_object_get(row, name)) == value &&
		    json_is_integer(json_object_get(row, name)))
			return row;
	}
	fail_msg("no row with %s %lld", name, (long long)value);
	return NULL;
}

/* A number must lie between two, give or take a hundredth and a little of the clock. */
static void assert_between(const json_t *row, const char *name, int64_t low, int64_t high)
{
	int64_t value = num(row, name), slack = MS / 2 * slow();

	if (value < low - low / 100 - slack || value > high + high / 100 + slack)
		fail_msg("%s is %.3f ms, not from %.3f to %.3f", name, (double)value / 1e6, (double)low / 1e6,
			 (double)high / 1e6);
}

/* Least and most that a lifetime can have held its port, from the logged intervals of its first and last event. */
static void bounds(const struct truth *t, uint32_t life, int64_t end, int64_t *least, int64_t *most)
{
	const struct happening *first = NULL, *last = NULL;

	for (uint32_t i = 0; i < t->happenings; i++) {
		if (t->happening[i].life != life)
			continue;
		first = first ? first : &t->happening[i];
		last = &t->happening[i];
	}
	if (last->t0 >= end) {
		*least = *most = end - first->t1;
		return;
	}
	*least = last->t0 - first->t1;
	*most = last->t1 - first->t0;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

struct sums {
	int64_t least[ROUNDS], most[ROUNDS], all_least, all_most;
	size_t count;
};

static struct sums sum_port(const struct tally *tally, uint16_t port)
{
	const struct truth *t = tally->stage->work.truth;
	struct sums sums = { 0 };

	for (uint32_t i = 0; i < t->lives && sums.count < ROUNDS; i++) {
		if (t->life[i].port != port)
			continue;
		bounds(t, i, tally->end, &sums.least[sums.count], &sums.most[sums.count]);
		sums.all_least += sums.least[sums.count];
		sums.all_most += sums.most[sums.count];
		sums.count++;
	}
	qsort(sums.least, sums.count, sizeof(*sums.least), by_size);
	qsort(sums.most, sums.count, sizeof(*sums.most), by_size);
	return sums;
}

static void assert_spans(const json_t *row, const struct sums *s)
{
	assert_between(row, "held_ns", s->all_least, s->all_most);
	assert_between(row, "shortest_ns", s->least[0], s->most[0]);
	assert_between(row, "median_ns", s->least[s->count / 2], s->most[s->count / 2]);
	assert_between(row, "p99_ns", s->least[s->count - 1], s->most[s->count - 1]);
	assert_between(row, "longest_ns", s->least[s->count - 1], s->most[s->count - 1]);
}

static void stats_by_port(void **state)
{
	struct tally tally = tally_by("port");
	struct sums sums = sum_port(&tally, FIRST_PORT), held = sum_port(&tally, HELD_PORT);
	const json_t *row = find_row(&tally, "port", FIRST_PORT);

	(void)state;
	assert_int_equal(num(row, "lifetimes"), ROUNDS);
	assert_int_equal(num(row, "now"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "proto")), "udp");
	assert_string_equal(json_string_value(json_object_get(row, "last_comm")), "rounds");
	assert_true(num(row, "last_pid") > 0);
	assert_spans(row, &sums);
	assert_between(row, "reuse_shortest_ns", 3 * MS, (3 + 5) * MS * slow());
	assert_between(row, "reuse_median_ns", 3 * MS, (3 + 10) * MS * slow());

	row = find_row(&tally, "port", HELD_PORT);
	assert_int_equal(num(row, "lifetimes"), 1);
	assert_int_equal(num(row, "now"), 1);
	assert_between(row, "held_ns", held.all_least, held.all_most + 200 * MS * slow());
	assert_true(json_is_null(json_object_get(row, "median_ns")));
	/* The rounds, what is held, the server, and each client's port, which some may share. */
	assert_true(json_array_size(tally.rows) > 3 && json_array_size(tally.rows) <= 3 + CLIENTS);
	json_decref(tally.rows);
}

static void stats_by_process(void **state)
{
	struct tally tally = tally_by("process");
	const json_t *row;

	(void)state;
	assert_int_equal(json_array_size(tally.rows), 1);
	row = json_array_get(tally.rows, 0);
	assert_int_equal(num(row, "pid"), tally.stage->work.truth->life[0].pid);
	assert_int_equal(num(row, "lifetimes"), ROUNDS + 2 + CLIENTS);
	assert_int_equal(num(row, "now"), 1);
	json_decref(tally.rows);
}

static void stats_by_destination(void **state)
{
	struct tally tally = tally_by("destination");
	const json_t *row = find_row(&tally, "remote_port", SERVER_PORT);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(row, "remote_addr")), "127.0.0.1");
	assert_string_equal(json_string_value(json_object_get(row, "proto")), "tcp");
	assert_int_equal(num(row, "lifetimes"), CLIENTS);
	assert_int_equal(num(row, "now"), 0);
	assert_int_equal(json_array_size(tally.rows), 2);
	row = json_array_get(tally.rows, json_array_get(tally.rows, 0) == row);
	assert_true(json_is_null(json_object_get(row, "remote_addr")));
	assert_int_equal(num(row, "lifetimes"), ROUNDS + 2);
	json_decref(tally.rows);
}

static void stats_by_container(void **state)
{
	struct tally tally = tally_by("container");
	const json_t *row = json_array_get(tally.rows, 0);

	(void)state;
	assert_int_equal(json_array_size(tally.rows), 1);
	assert_true(json_is_null(json_object_get(row, "container")));
	assert_int_equal(num(row, "lifetimes"), ROUNDS + 2 + CLIENTS);
	json_decref(tally.rows);
}

#define AT_THE_END 800000

static void bind_and_close(struct work *w)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	work_name("at-the-end");
	work_step(w);
	for (int i = 0; i < AT_THE_END; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
			work_die("bind");
		close(fd);
	}
}

/* What a large ring holds when the end is asked for is counted, all of it. */
static void counts_what_the_ring_holds(void **state)
{
	struct stage *stage = stage_new("full ring");
	struct run *run;
	json_t *rows;

	(void)state;
	stage_start(stage, bind_and_close);
	stage_await_step(stage);
	run = run_start(&(struct run_options){ .text = true, .args = ARGS("stats", "--json", "--by", "process", "--ring-size",
									  "256M", "--netns", stage->inode) });
	run_sleep(ATTACH_MS * (int)slow());
	kill(run->pid, SIGSTOP);
	stage_go(stage);
	stage_join(stage);
	kill(run->pid, SIGINT);
	kill(run->pid, SIGCONT);
	assert_int_equal(run_wait(run, 20 * SECOND), 0);
	rows = parse_rows(run);
	assert_int_equal(json_array_size(rows), 1);
	assert_int_equal(num(json_array_get(rows, 0), "lifetimes"), AT_THE_END);
	json_decref(rows);
	run_free(&run);
}

static const struct plain list[] = {
	{ "stats/by_port", stats_by_port },
	{ "stats/by_process", stats_by_process },
	{ "stats/by_destination", stats_by_destination },
	{ "stats/by_container", stats_by_container },
	{ "stats/counts_what_the_ring_holds", counts_what_the_ring_holds },
};

const struct plain_list stats_tests = { list, COUNT_OF(list) };
