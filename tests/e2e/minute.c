/* SPDX-License-Identifier: GPL-2.0 */
/* What takes the kernel a minute or some seconds: it passes while the other tests run, under a tracer of its own. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define TIME_WAIT (60 * SECOND)
/* The kernel's timer is late by up to half a second, and the tracer may be by as much. */
#define TIME_WAIT_MOST (61 * SECOND)
#define REARMED_AFTER 4

static struct stage *stage;
static struct run *run;

static void ends_after(struct happening *end, int64_t earliest, int64_t latest)
{
	int64_t now = now_ns();

	end->t0 = now + earliest - 500 * MS;
	end->t1 = now + latest;
	end->optional = false;
	end->late = false;
	end->any_exact = true;
}

static struct wsock connected(struct work *w, struct wsock *server, int *accepted)
{
	struct wsock s = ws_open(w);

	*server = ws_listener(w);
	*accepted = ws_join(&s, server);
	return s;
}

/* The process ends at once; its TIME_WAIT does not. */
static void leaves_a_time_wait(struct work *w, void *arg)
{
	struct wsock server, s;
	int accepted;

	(void)arg;
	work_name("long-gone");
	s = connected(w, &server, &accepted);
	ends_after(ws_close_waits(&s), TIME_WAIT, TIME_WAIT_MOST);
	close(accepted);
	ws_close(&server);
}

/* The other end takes its time, so the minute begins anew when it closes at last. */
static void rearmed(struct work *w, void *arg)
{
	struct wsock server, s;
	struct happening *end;
	int accepted;

	(void)arg;
	work_name("rearmed");
	s = connected(w, &server, &accepted);
	end = ws_close_waits(&s);
	sleep(REARMED_AFTER);
	close(accepted);
	ends_after(end, TIME_WAIT, TIME_WAIT_MOST);
	ws_close(&server);
}

/* The listener's queue is full: nobody answers the SYN. */
static void times_out(struct work *w, void *arg)
{
	struct wsock server = ws_open(w), first = ws_open(w), second = ws_open(w);
	uint16_t port = *(uint16_t *)arg;

	work_name("times-out");
	ws_bind(&server, port);
	ws_listen(&server);
	if (listen(server.fd, 0) < 0)
		work_die("listen");
	ws_connect_ok(&first, port);
	ws_option(&second, IPPROTO_TCP, TCP_SYNCNT, 1);
	if (ws_connect(&second, port) != -ETIMEDOUT)
		work_die("connect did not time out");
	ws_close(&second);
	ws_close_resets(&first);
	ws_close(&server);
}

static void minute_work(struct work *w)
{
	pid_t pid[3 * FAM_COUNT];
	uint16_t port[FAM_COUNT];
	size_t n = 0;

	for (unsigned fam = 0; fam < FAM_COUNT; fam++) {
		w->fam = (enum fam)fam;
		port[fam] = (uint16_t)(7800 + fam);
		pid[n++] = work_spawn(w, leaves_a_time_wait, NULL);
		pid[n++] = work_spawn(w, rearmed, NULL);
		pid[n++] = work_spawn(w, times_out, &port[fam]);
	}
	while (n)
		work_reap(w, pid[--n]);
}

void minute_begin(void)
{
	struct run_options options = { .lasting = true };

	case_begin("a minute");
	stage = stage_new("a minute");
	stage->keep = KEEP_ALWAYS;
	run = run_live((const char *const[]){ "--netns", stage->inode, NULL }, &options);
	if (run)
		stage_start(stage, minute_work);
}

static bool minute_over(void *arg)
{
	(void)arg;
	return truth_differs(stage->work.truth, run, false, false) == 0;
}

static void time_wait_lasts(void **state)
{
	(void)state;
	if (!run)
		fail_msg("no tracer");
	stage_join(stage);
	run_until(minute_over, NULL, 75 * SECOND);
	assert_truth(stage, run);
	assert_no_gap(run);
	for (size_t i = 0; i < run->count; i++) {
		const struct seen *s = &run->seen[i];

		if (s->kind == KIND_RELEASE && s->time_wait_ns != SEEN_NULL)
			print_message("  %s: TIME_WAIT of %.3f s%s\n", s->comm, (double)s->time_wait_ns / 1e9,
				      s->exact ? "" : " (not exact)");
	}
	run->lasting = false;
	assert_ends_well(run, SIGINT);
	run_free(&run);
	stage_free(&stage);
}

static const struct plain list[] = {
	{ "minute/time_wait_and_timeouts", time_wait_lasts },
};

const struct plain_list minute_tests = { list, COUNT_OF(list) };
