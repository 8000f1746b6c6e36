/* SPDX-License-Identifier: GPL-2.0 */
/* Recorders that are killed, ended and begun again while sockets come and go, and some stay. */
#define _GNU_SOURCE
#include "tests/e2e/told.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/ask.h"
#include "tests/e2e/crowd.h"

#define KILLS 20
#define KILLS_SLOWLY 6		/* where a start takes long */
#define STAYS 6
#define PAUSE 900
/* What may be lost before the recorder was killed, and what a machine with other things to do adds to it. */
#define AT_MOST_LOST SECOND
#define LATE (300 * MS)

struct outage {
	int64_t down, up;
};

static uint32_t draw(uint32_t below)
{
	static uint64_t random;

	if (!random)
		random = choose_seed();
	random = random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(random >> 33) % below;
}

/* ---- sockets that stay ---- */

static void __attribute__((noreturn)) heir(int done)
{
	char c;

	work_name("the-heir");
	if (read(done, &c, 1) != 0)
		work_die("read");
	_exit(0);
}

/* Takes the ports and ends; a child of its own has the sockets from then on. */
static void first_owner(struct work *w, void *arg)
{
	struct wsock s[STAYS];
	const int *done = arg;

	work_name("first-owner");
	for (int i = 0; i < STAYS; i++) {
		s[i] = ws_open_as(w, (enum fam)(i & 1), i & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		ws_bind(&s[i], (uint16_t)(i < 3 ? 15000 + i : 0));
		if (i == 1 || i == 4)
			ws_listen(&s[i]);
	}
	close(done[1]);
	if (fork() == 0)
		heir(done[0]);
	_exit(0);
}

/* Those, and others beside them that come and go until the test says so; then it steps. */
static void some_stay(struct work *w)
{
	int done[2];

	if (pipe2(done, O_CLOEXEC) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		work_die("pipe");
	work_reap(w, work_spawn(w, first_owner, done));
	work_step(w);
	drip_work(w);
	work_step(w);
	close(done[1]);
	while (wait(NULL) > 0)
		;
}

/* ---- what there is to show ---- */

static void assert_blind_about(const struct blind_row *b, const struct outage *first, const struct outage *last,
			       int64_t before)
{
	if (b->since >= first->down - before && b->since <= first->up && b->until >= last->down &&
	    b->until <= last->up + LATE * slow())
		return;
	fail_msg("blind from %.3f s before an outage until %.3f s after it: %s", (double)(first->down - b->since) / 1e9,
		 (double)(b->until - last->up) / 1e9, b->reason);
}

/*
 * Each outage has its blind stretch, no longer than it may be, and there is none beside. Where one follows soon on another
 * their stretches are one.
 */
static void assert_outages(const struct past *past, const struct outage *outage, int count, int64_t most_lost)
{
	int64_t before = most_lost + (most_lost ? LATE * slow() : 2 * MS);
	int at = 0;

	for (size_t i = 0; i < past->blind_count; i++) {
		const struct blind_row *b = &past->blind[i];
		int first = at;

		if (b->since == INT64_MIN || b->until == FOR_EVER)
			continue;
		while (at < count && outage[at].down <= b->until)
			at++;
		if (at == first)
			fail_msg("blind without an outage: %s", b->reason);
		assert_blind_about(b, &outage[first], &outage[at - 1], before);
	}
	assert_int_equal(at, count);
}

static struct stage *begin(struct crowd *crowd, const char *name)
{
	struct stage *stage = stage_new(name);

	stage->work.arg = crowd;
	return stage;
}

/* All that is true, with the outages; then the same once nobody records, and of the sockets that are left. */
static void compare_all(struct stage *stage, const char *db, struct run *run, const struct outage *outage, int count,
			int64_t most_lost)
{
	struct past *past;

	run_sleep(300);
	stage->work.truth->stop = true;
	stage_await_step(stage);
	past = recorded(stage, db);
	print_message("  %u lifetimes, %zu recorded, %zu blind stretches\n", stage->work.truth->lives, past->count,
		      past->blind_count);
	assert_outages(past, outage, count, most_lost);
	past_free(&past, 1);
	record_end(run);
	assert_recorded(stage, db);
	assert_integrity(db);
	stage_go(stage);
	stage_join(stage);
}

static void killed_often(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct crowd crowd = { .pause_us = PAUSE };
	struct stage *stage = begin(&crowd, "killed often");
	struct run *run = record_on(stage, db, NULL);
	int kills = slow() > 1 && !getenv("E2E_LONG") ? KILLS_SLOWLY : KILLS;
	struct outage outage[KILLS];

	(void)state;
	stage_start(stage, some_stay);
	stage_await_step(stage);
	/* The owner of what stays is told before it is gone, and written. */
	run_sleep(1500 * (int)slow());
	stage_go(stage);
	for (int i = 0; i < kills; i++) {
		/* Mostly soon, but some live long enough to have written much. */
		run_sleep(50 + (int)draw(i % 4 ? 600 : 2500));
		outage[i].down = now_ns();
		record_kill(run);
		run_free(&run);
		if (i % 2)
			assert_integrity(db);
		else
			assert_string_equal(db_text(db, "PRAGMA integrity_check"), "ok");
		run_sleep((int)draw(100));
		run = record_on(stage, db, NULL);
		outage[i].up = now_ns();
	}
	compare_all(stage, db, run, outage, kills, AT_MOST_LOST);
}

/* Told to end it writes all that it was told of: nothing before is lost. */
static void ended_often(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	static const int signals[] = { SIGTERM, SIGINT, SIGTERM };
	struct crowd crowd = { .pause_us = PAUSE };
	struct stage *stage = begin(&crowd, "ended often");
	struct run *run = record_on(stage, db, NULL);
	struct outage outage[COUNT_OF(signals)];

	(void)state;
	stage_start(stage, some_stay);
	stage_await_step(stage);
	stage_go(stage);
	for (size_t i = 0; i < COUNT_OF(signals); i++) {
		run_sleep(100 + (int)draw(900));
		outage[i].down = now_ns();
		if (run_stop(run, signals[i]))
			fail_msg("it did not end well: %s", run->talk);
		run_free(&run);
		assert_string_equal(db_text(db, "PRAGMA integrity_check"), "ok");
		run = record_on(stage, db, NULL);
		outage[i].up = now_ns();
	}
	compare_all(stage, db, run, outage, COUNT_OF(signals), 0);
}

/* Its broker killed under it: nothing that it records is lost. */
static void without_broker(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct crowd crowd = { .pause_us = PAUSE };
	struct stage *stage = begin(&crowd, "without broker");
	struct run *run = record_on(stage, db, NULL);
	pid_t broker = record_broker(run);
	struct past *past;
	int status;

	(void)state;
	assert_true(broker > 0);
	stage_start(stage, drip_work);
	run_sleep(300);
	kill(broker, SIGKILL);
	status = run_wait(run, 5 * SECOND);
	stage->work.truth->stop = true;
	stage_join(stage);
	/* It goes on without, or it ends, so that it is begun again. */
	if (status >= 0) {
		assert_int_equal(status, 1);
		assert_recorded(stage, db);
		return;
	}
	past = recorded(stage, db);
	assert_no_blind(past);
	past_free(&past, 1);
	record_end(run);
}

static const struct plain list[] = {
	{ "outage/killed_often", killed_often },
	{ "outage/ended_often", ended_often },
	{ "outage/without_broker", without_broker },
};

const struct plain_list outage_tests = { list, COUNT_OF(list) };
