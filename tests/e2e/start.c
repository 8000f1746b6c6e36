/* SPDX-License-Identifier: GPL-2.0 */
/* What was there before the tracer, and what changes while it starts. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MANY 1000
#define CHURN_POOL 40
#define FIN_WAIT 4	/* seconds, to be scaled: longer than a tracer takes to start */
#define FIN_WAIT_MAX 60	/* where its end is not waited for */

static int64_t ready_time(const struct run *run)
{
	for (size_t i = 0; i < run->count; i++) {
		if (run->seen[i].kind == KIND_READY)
			return run->seen[i].time;
	}
	return 0;
}

/* `ready` is the word that the snapshot is complete. */
static void assert_present_first(const struct run *run)
{
	bool ready = false;

	for (size_t i = 0; i < run->count; i++) {
		ready = ready || run->seen[i].kind == KIND_READY;
		if (ready && run->seen[i].kind == KIND_PRESENT)
			fail_msg("present after ready: %s", run->seen[i].line);
	}
	assert_true(ready);
}

static unsigned fin_wait(const struct work *w)
{
	return w->fam == FAM_V4 ? FIN_WAIT * slow() : FIN_WAIT_MAX;
}

/* Closes with a wait of tcp_fin_timeout, which the tracer has to find, and (over IPv4) to see the end of. */
static void leave_waiting(struct work *w, void *arg)
{
	struct wsock s = ws_open(w);
	struct happening *end;

	ws_connect_ok(&s, *(uint16_t *)arg);
	w->truth->life[s.life].owner_unknown = true;
	end = ws_close_waits(&s);
	end->t0 = now_ns() + (fin_wait(w) - 1) * SECOND;
	end->t1 = now_ns() + (fin_wait(w) + 1) * SECOND;
	end->optional = w->fam != FAM_V4;
}

static void open_before(struct work *w)
{
	struct wsock server = ws_listener(w), bound = ws_open(w), chosen = ws_open(w), client = ws_open(w);
	struct wsock udp = ws_open_as(w, w->fam, IPPROTO_UDP), sent = ws_open_as(w, w->fam, IPPROTO_UDP);
	struct wsock joined = ws_open_as(w, w->fam, IPPROTO_UDP);
	uint16_t port = ws_port(&server);
	int waiting, accepted;
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%u", fin_wait(w));
	work_sysctl(w, "net/ipv4/tcp_fin_timeout", seconds);
	work_reap(w, work_spawn(w, leave_waiting, &port));
	waiting = ws_accept(&server);
	ws_bind(&bound, 7401);
	ws_bind_any(&chosen, 0);
	accepted = ws_join(&client, &server);
	ws_bind(&udp, 0);
	ws_send(&sent, 7999);
	ws_connect_ok(&joined, 7999);
	work_step(w);
	ws_close(&bound);
	ws_close(&chosen);
	ws_finish(&client, accepted);
	ws_close(&udp);
	ws_close(&sent);
	ws_close(&joined);
	ws_close(&server);
	if (w->fam == FAM_V4)
		sleep(fin_wait(w) + 1);
	close(waiting);
}

/* A life that the tracer found closed already has no close to tell, and its wait may be told or not. */
static void forgive_the_past(struct truth *t)
{
	for (uint32_t i = 0; i < t->happenings; i++) {
		struct happening *h = &t->happening[i];

		if (!t->life[h->life].owner_unknown)
			continue;
		if (h->kind == KIND_CLOSE)
			h->optional = true;
		if (h->kind == KIND_TIME_WAIT) {
			h->optional = h->late = true;
			h->t1 = now_ns();
		}
	}
}

/* A listen before the tracer is not an event of its stream. */
static void drop_old_listens(struct truth *t)
{
	for (uint32_t i = 0; i < t->happenings; i++) {
		if (t->happening[i].kind == KIND_LISTEN)
			t->happening[i].optional = true;
	}
}

static void found_open(enum fam fam)
{
	struct stage *stage = stage_new("found open");
	struct run *run;

	stage->work.fam = fam;
	stage->work.before = true;
	stage_start(stage, open_before);
	stage_await_step(stage);
	run = live_on(stage, NULL);
	drop_old_listens(stage->work.truth);
	forgive_the_past(stage->work.truth);
	stage_go(stage);
	stage_join(stage);
	assert_truth(stage, run);
	assert_present_first(run);
	assert_no_gap(run);
	assert_ends_well(run, SIGINT);
}

static void found_open_ipv4(void **state)
{
	(void)state;
	found_open(FAM_V4);
}

static void found_open_ipv6(void **state)
{
	(void)state;
	found_open(FAM_V6);
}

static void found_open_mapped(void **state)
{
	(void)state;
	found_open(FAM_MAPPED);
}

static void open_many(struct work *w)
{
	static struct wsock s[MANY];

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ .rlim_cur = MANY + 64, .rlim_max = MANY + 64 });
	for (int i = 0; i < MANY; i++) {
		s[i] = ws_open_as(w, i % 3 ? FAM_V4 : FAM_V6, i % 2 ? IPPROTO_UDP : IPPROTO_TCP);
		ws_bind(&s[i], 0);
		if (i % 4 == 0)
			ws_listen(&s[i]);
	}
	work_step(w);
	for (int i = 0; i < MANY; i++)
		ws_close(&s[i]);
}

static void found_a_thousand(void **state)
{
	struct stage *stage = stage_new("found a thousand");
	size_t present = 0;
	struct run *run;

	(void)state;
	stage->work.before = true;
	stage_start(stage, open_many);
	stage_await_step(stage);
	run = live_on(stage, NULL);
	drop_old_listens(stage->work.truth);
	for (size_t i = 0; i < run->count; i++)
		present += run->seen[i].kind == KIND_PRESENT;
	stage_go(stage);
	stage_join(stage);
	assert_truth(stage, run);
	assert_present_first(run);
	assert_int_equal(present, MANY);
	assert_no_gap(run);
	assert_ends_well(run, SIGINT);
}

/*
 * Ports of one number share what the kernel keeps of them, though not one address: neither is the other's child.
 * With an argument the second is connected.
 */
static void same_number(struct work *w)
{
	struct wsock four = ws_open_as(w, FAM_V4, IPPROTO_TCP), six = ws_open_as(w, FAM_V6, IPPROTO_TCP), server;
	int accepted = -1;

	work_sysctl(w, "net/ipv4/ip_local_port_range", "46400 46400");
	w->fam = FAM_V6;
	server = ws_listener_on(w, 7411);
	ws_bind(&four, 0);
	ws_listen(&four);
	ws_bind(&six, 0);
	if (w->arg)
		accepted = ws_join(&six, &server);
	work_step(w);
	if (w->arg)
		ws_finish(&six, accepted);
	else
		ws_close(&six);
	ws_close(&four);
	ws_close(&server);
	work_sysctl(w, "net/ipv4/ip_local_port_range", "46400 46500");
}

static void same_number_round(bool connected)
{
	struct stage *stage = stage_new("one number, two families");
	struct run *run;

	stage->work.before = true;
	stage->work.arg = connected ? stage : NULL;
	stage_start(stage, same_number);
	stage_await_step(stage);
	run = live_on(stage, NULL);
	drop_old_listens(stage->work.truth);
	stage_go(stage);
	stage_join(stage);
	assert_truth(stage, run);
	assert_ends_well(run, SIGINT);
	run_free(&run);
}

static void same_number_other_family(void **state)
{
	(void)state;
	same_number_round(false);
	same_number_round(true);
}

static void one_listener(struct work *w)
{
	struct wsock s = ws_listener(w);

	work_step(w);
	ws_close(&s);
}

static void found_in_every_namespace(void **state)
{
	struct stage *stage[3];
	struct run *run;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(stage); i++) {
		stage[i] = stage_new("one of three namespaces");
		stage[i]->work.before = true;
		stage_start(stage[i], one_listener);
		stage_await_step(stage[i]);
		drop_old_listens(stage[i]->work.truth);
	}
	run = run_live(NULL, NULL);
	assert_non_null(run);
	for (size_t i = 0; i < COUNT_OF(stage); i++) {
		stage_go(stage[i]);
		stage_join(stage[i]);
		assert_truth(stage[i], run);
	}
	assert_present_first(run);
	assert_ends_well(run, SIGINT);
}

static void churn_step(struct work *w, struct wsock *s, unsigned i)
{
	if (s->fd > 0)
		ws_close(s);
	*s = ws_open_as(w, i % 3 ? FAM_V4 : FAM_V6, i % 2 ? IPPROTO_UDP : IPPROTO_TCP);
	if (i % 4 == 0)
		ws_listen(s);
	else if (i % 4 == 1)
		ws_send(s, 7999);
	else if (i % 4 == 2)
		ws_bind(s, 0);
	else
		ws_connect_ok(s, 7999);
}

static void churn(struct work *w)
{
	struct wsock pool[CHURN_POOL] = { 0 };

	for (unsigned i = 0; !w->truth->stop; i++) {
		churn_step(w, &pool[(i * 7) % CHURN_POOL], i);
		usleep(300);
	}
	for (size_t i = 0; i < CHURN_POOL; i++)
		ws_close(&pool[i]);
}

/* What began before `ready` may be told either way; what ended before it need not be told at all. */
static void judge_by_ready(struct truth *t, int64_t ready)
{
	for (uint32_t i = 0; i < t->happenings; i++) {
		struct happening *h = &t->happening[i];
		struct life *life = &t->life[h->life];

		if (h->kind == KIND_ALLOCATE && h->t0 < ready)
			life->either = h->late = true;
		if (h->kind == KIND_LISTEN && h->t0 < ready)
			h->optional = h->late = true;
		if (h->kind == KIND_RELEASE && h->t0 < ready)
			life->unseen_ok = life->owner_unknown = true;
	}
}

static void churn_while_starting(void **state)
{
	struct stage *stage;
	struct run *run;

	(void)state;
	for (int round = 0; round < 3; round++) {
		stage = stage_new("churn while starting");
		stage_start(stage, churn);
		run_sleep(20 + round * 7);
		run = live_on(stage, NULL);
		run_sleep(150);
		stage->work.truth->stop = true;
		stage_join(stage);
		judge_by_ready(stage->work.truth, ready_time(run));
		assert_truth(stage, run);
		assert_present_first(run);
		assert_no_gap(run);
		assert_ends_well(run, SIGINT);
		run_free(&run);
	}
}

static const struct plain list[] = {
	{ "start/found_open/ipv4", found_open_ipv4 },
	{ "start/found_open/ipv6", found_open_ipv6 },
	{ "start/found_open/mapped", found_open_mapped },
	{ "start/found_a_thousand", found_a_thousand },
	{ "start/same_number_other_family", same_number_other_family },
	{ "start/found_in_every_namespace", found_in_every_namespace },
	{ "start/churn_while_starting", churn_while_starting },
};

const struct plain_list start_tests = { list, COUNT_OF(list) };
