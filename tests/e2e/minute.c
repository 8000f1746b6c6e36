/* SPDX-License-Identifier: GPL-2.0 */
/* What takes the kernel a minute or some seconds: it passes while the other tests run, under a tracer of its own. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCH_FOR (75 * SECOND)
#define REARMED_AFTER 4

static struct stage *stage;
static struct run *run;

/* The release of a TIME_WAIT that minute_work() is to watch out for. */
static void watch_the_end(struct happening *end)
{
	end->t0 = end->t1 = 0;
	end->optional = false;
	end->late = false;
	end->about = true;
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
	watch_the_end(ws_close_waits(&s));
	close(accepted);
	ws_close(&server);
}

/*
 * On a slow machine the answer to the FIN may come while close() has the socket, which then waits for the other end's
 * itself: the TIME_WAIT begins with that (tcp_rcv_state_process(), TCP_FIN_WAIT1).
 */
static void may_begin_later(struct happening *end, int64_t after)
{
	struct happening *h = end;

	while (h->life != end->life || h->kind != KIND_TIME_WAIT)
		h--;
	if (slow() > 1)
		h->t1 += after;
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
	may_begin_later(end, (REARMED_AFTER + 1) * SECOND);
	sleep(REARMED_AFTER);
	close(accepted);
	watch_the_end(end);
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

static bool in_table(const char *path, const struct life *life)
{
	FILE *f = fopen(path, "re");
	char line[512];
	unsigned port, remote;
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, " %*d: %*[0-9A-F]:%X %*[0-9A-F]:%X", &port, &remote) == 2 &&
			port == life->port && remote == life->remote_port[0];
	fclose(f);
	return found;
}

/* The kernel's timer may be seconds late, so its own table is the truth. */
static bool still_there(struct truth *t, struct happening *end)
{
	const struct life *life = &t->life[end->life];
	int64_t before = now_ns();

	if (in_table("/proc/self/net/tcp", life) || in_table("/proc/self/net/tcp6", life))
		end->t0 = before;
	else
		end->t1 = now_ns();
	return !end->t1;
}

static void watch_the_ends(struct truth *t)
{
	int64_t begin = now_ns();
	bool any = true;

	while (any && now_ns() < begin + WATCH_FOR) {
		any = false;
		for (uint32_t i = 0; i < t->happenings; i++) {
			struct happening *h = &t->happening[i];

			if (h->about && !h->t1)
				any = still_there(t, h) || any;
		}
		/* Reading the table is dear. */
		usleep(now_ns() < begin + 55 * SECOND ? 1000000 : 50000);
	}
}

/* Unlike work_reap() it leaves open what is still to end. */
static void reap_without_settling(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		work_die("a process failed");
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
		reap_without_settling(pid[--n]);
	watch_the_ends(w->truth);
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

static bool workload_over(void *arg)
{
	siginfo_t info = { 0 };

	(void)arg;
	return waitid(P_PID, (id_t)stage->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

static void time_wait_lasts(void **state)
{
	(void)state;
	if (!run)
		fail_msg("no tracer");
	run_until(workload_over, NULL, WATCH_FOR);
	stage_join(stage);
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
