/* SPDX-License-Identifier: GPL-2.0 */
/* As much as one machine can make, and readers that cannot keep up. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define FAST 20000		/* TCP, and as many UDP */
#define MORE 200000
#define PROCESSES 4
#define PER_PROCESS 3500
#define THREADS 4
#define RARE 50
#define PER_THREAD 3000
#define PEAK_KIB (64L * 1024)
#define SHADOW_KIB (1L << 30)	/* only a sanitizer's shadow is that large */
#define READER_LINE 640		/* bytes that stand for a line */

/* The least that has to be kept of a socket while the loop is to be fast. */
struct quick {
	int64_t t0, t1, t2, t3;
	struct sockaddr_in name;
};

static struct quick *quick_room(void)
{
	size_t size = 2 * FAST * sizeof(struct quick);
	struct quick *quick = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (quick == MAP_FAILED)
		work_die("mmap");
	return quick;
}

static void quick_tcp(struct quick *q)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	q->t0 = now_ns();
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, len) < 0)
		work_die("bind");
	q->t1 = now_ns();
	if (getsockname(fd, (struct sockaddr *)&q->name, &len) < 0)
		work_die("getsockname");
	q->t2 = now_ns();
	close(fd);
	q->t3 = now_ns();
}

static void quick_udp(struct quick *q)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	in.sin_port = htons(7999);
	q->t0 = now_ns();
	if (fd < 0 || sendto(fd, "x", 1, 0, (struct sockaddr *)&in, len) < 0)
		work_die("sendto");
	q->t1 = now_ns();
	if (getsockname(fd, (struct sockaddr *)&q->name, &len) < 0)
		work_die("getsockname");
	q->t2 = now_ns();
	close(fd);
	q->t3 = now_ns();
}

static void quick_truth(struct work *w, const struct quick *q, int proto)
{
	struct life life = {
		.netns = w->netns, .generation = 1, .proto = proto, .how = proto == IPPROTO_TCP ? HOW_BIND : HOW_SEND,
		.ephemeral = true, .pid = getpid(), .uid = getuid(), .port = ntohs(q->name.sin_port),
	};
	struct happening h = { .kind = KIND_ALLOCATE, .t0 = q->t0, .t1 = q->t1, .actor = getpid() };

	strcpy(life.comm, "e2e-work");
	strcpy(life.addr[0], proto == IPPROTO_TCP ? "127.0.0.1" : "0.0.0.0");
	if (proto != IPPROTO_TCP) {
		strcpy(life.remote_addr[0], "127.0.0.1");
		life.remote_port[0] = 7999;
	}
	h.life = truth_life(w->truth, &life);
	truth_add(w->truth, &h);
	h.t0 = q->t2;
	h.t1 = q->t3;
	h.kind = KIND_CLOSE;
	truth_add(w->truth, &h);
	h.kind = KIND_RELEASE;
	h.cause = CAUSE_CLOSE;
	truth_add(w->truth, &h);
}

static void forty_thousand(struct work *w)
{
	struct quick *quick = quick_room();
	int64_t start = now_ns();

	for (int i = 0; i < FAST; i++)
		quick_tcp(&quick[i]);
	for (int i = FAST; i < 2 * FAST; i++)
		quick_udp(&quick[i]);
	dprintf(STDERR_FILENO, "  40,000 sockets in %.2f s\n", (double)(now_ns() - start) / 1e9);
	for (int i = 0; i < 2 * FAST; i++)
		quick_truth(w, &quick[i], i < FAST ? IPPROTO_TCP : IPPROTO_UDP);
}

/* The same without a log: only the numbers are of interest. */
static void many_thousand(struct work *w)
{
	struct quick q;

	(void)w;
	for (int i = 0; i < MORE / 2; i++) {
		quick_tcp(&q);
		quick_udp(&q);
	}
}

static size_t count_of(const struct run *run, enum kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < run->count; i++)
		n += run->seen[i].kind == kind;
	return n;
}

static void as_fast_as_it_goes(void **state)
{
	struct stage *stage = stage_new("as fast as it goes");
	struct run *run = live_on(stage, NULL);

	(void)state;
	stage_run(stage, forty_thousand);
	assert_truth(stage, run);
	assert_no_gap(run);
	assert_ends_well(run, SIGINT);
	assert_int_equal(count_of(run, KIND_ALLOCATE), 2 * FAST + 1);
	assert_int_equal(count_of(run, KIND_RELEASE), 2 * FAST + 1);
}

/* Opens its share, says so, and closes when everybody has. */
static void open_share(struct work *w, void *arg)
{
	static struct wsock s[PER_PROCESS];
	int *pipes = arg;
	char c;

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ .rlim_cur = PER_PROCESS + 64, .rlim_max = PER_PROCESS + 64 });
	close(pipes[3]);
	for (int i = 0; i < PER_PROCESS; i++) {
		s[i] = ws_open_as(w, i % 2 ? FAM_V4 : FAM_V6, IPPROTO_UDP);
		ws_bind(&s[i], 0);
	}
	if (write(pipes[1], "o", 1) != 1 || read(pipes[2], &c, 1) != 0)
		work_die("pipe");
	for (int i = 0; i < PER_PROCESS; i++)
		ws_close(&s[i]);
}

static void open_at_once(struct work *w)
{
	pid_t pid[PROCESSES];
	int pipes[4];
	char c;

	if (pipe2(pipes, O_CLOEXEC) < 0 || pipe2(pipes + 2, O_CLOEXEC) < 0)
		work_die("pipe");
	for (int i = 0; i < PROCESSES; i++)
		pid[i] = work_spawn(w, open_share, pipes);
	close(pipes[1]);
	for (int i = 0; i < PROCESSES; i++) {
		if (read(pipes[0], &c, 1) != 1)
			work_die("a process has ended early");
	}
	close(pipes[3]);
	for (int i = 0; i < PROCESSES; i++)
		work_reap(w, pid[i]);
}

static void fourteen_thousand_at_once(void **state)
{
	struct stage *stage = stage_new("14,000 at once");
	struct run *run = live_on(stage, NULL);

	(void)state;
	stage_run(stage, open_at_once);
	assert_truth(stage, run);
	assert_no_gap(run);
	assert_ends_well(run, SIGINT);
	assert_int_equal(count_of(run, KIND_ALLOCATE), PROCESSES * PER_PROCESS + 1);
}

static void *thread_body(void *arg)
{
	struct work *w = arg;

	for (int i = 0; i < PER_THREAD; i++) {
		struct wsock s = ws_open_as(w, i % 3 ? FAM_V4 : FAM_V6, i % 2 ? IPPROTO_UDP : IPPROTO_TCP);

		if (i % 4 == 3)
			ws_send(&s, 7999);
		else
			ws_bind(&s, 0);
		ws_close(&s);
	}
	return NULL;
}

static void four_threads_work(struct work *w)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&thread[i], NULL, thread_body, w))
			work_die("pthread_create");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

/* Events lost to programs that the kernel skipped, as the run itself tells. */
static uint64_t lost_by_recursion(const struct run *run)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < run->count; i++)
		if (run->seen[i].kind == KIND_GAP && strstr(run->seen[i].line, "\"recursion\""))
			lost += run->seen[i].lost;
	return lost;
}

/*
 * On a slow machine threads are preempted inside of programs, and on a preemptible kernel those of the others are
 * then skipped, the second copy as well at times. What cannot be had then is told, and no more is missing than that.
 */
static void assert_told_or_lost(const struct run *run, size_t made, uint64_t lost)
{
	size_t told = count_of(run, KIND_ALLOCATE) - 1; /* but for the stage's last words */

	print_message("  %zu of %zu told, %llu lost by recursion\n", told, made, (unsigned long long)lost);
	assert_true(told <= made);
	assert_true(told + lost >= made);
	assert_true(lost <= made / RARE);
}

static void four_threads(void **state)
{
	struct stage *stage = stage_new("four threads");
	struct run *run = live_on(stage, NULL);
	uint64_t lost;

	(void)state;
	stage_run(stage, four_threads_work);
	lost = slow() > 1 ? lost_by_recursion(run) : 0;
	if (!lost) {
		assert_truth(stage, run);
		assert_no_gap(run);
	}
	assert_ends_well(run, SIGINT);
	if (lost)
		assert_told_or_lost(run, THREADS * PER_THREAD, lost);
}

/* Connections, half of them closed by the client: what a busy host does most. */
static void connections(struct work *w)
{
	struct wsock server = ws_listener(w);

	for (int i = 0; i < 2000; i++) {
		struct wsock s = ws_open(w);
		int accepted = ws_join(&s, &server);

		if (i % 4 == 0) {
			ws_close_resets(&s);
			close(accepted);
		} else if (i % 4 == 1) {
			ws_close_waits(&s);
			close(accepted);
		} else {
			ws_finish(&s, accepted);
		}
	}
	ws_close(&server);
}

static void two_thousand_connections(void **state)
{
	struct stage *stage = stage_new("2,000 connections");
	struct run *run = live_on(stage, NULL);

	(void)state;
	stage_run(stage, connections);
	assert_truth(stage, run);
	assert_no_gap(run);
	assert_ends_well(run, SIGINT);
}

/* What a lossy stream owes: every allocation is told or counted, and whatever the workload closed has an end. */
static void assert_loss_is_counted(const struct run *run, size_t made)
{
	uint64_t lost = 0, lost_allocations = 0;
	size_t gaps = 0, told = 0;

	for (size_t i = 0; i < run->count; i++) {
		const struct seen *s = &run->seen[i];

		/* What a snapshot after a gap has found is lost and counted already. */
		told += s->kind == KIND_ALLOCATE && s->exact;
		if (s->kind != KIND_GAP)
			continue;
		gaps++;
		lost += s->lost;
		lost_allocations += s->lost_allocations;
		if (s->until < s->since || s->lost < s->lost_allocations)
			fail_msg("a gap that makes no sense: %s", s->line);
	}
	print_message("  %zu told, %llu lost (%llu records) in %zu gaps\n", told, (unsigned long long)lost_allocations,
		      (unsigned long long)lost, gaps);
	assert_int_equal(told + lost_allocations, made);
	if (lost)
		assert_true(gaps > 0);
}

/* Lifetimes that were told of and have no release. */
static size_t left_open(const struct run *run)
{
	return count_of(run, KIND_ALLOCATE) + count_of(run, KIND_PRESENT) - count_of(run, KIND_RELEASE);
}

static void assert_summary_names_loss(const struct run *run)
{
	if (!strstr(run->talk, "lost"))
		fail_msg("the summary does not name the loss: %s", run->talk);
}

static void read_slowly(struct run *run, int ms)
{
	int64_t end = now_ns() + ms * MS;

	while (now_ns() < end) {
		run_sip(run, READER_LINE);
		usleep(1000);
	}
}

/* A sanitizer keeps what was freed, so its memory says nothing of the program's. */
static void assert_peak(long peak, bool shadow)
{
	print_message("  peak memory %ld KiB%s\n", peak, shadow ? ", a sanitizer's: not judged" : "");
	assert_true(peak > 0 && (shadow || peak < PEAK_KIB));
}

static void slow_reader(void **state)
{
	struct stage *stage = stage_new("slow reader");
	struct run *run = live_on(stage, NULL);
	bool shadow = run_status_kib(run, "VmPeak") > SHADOW_KIB;
	long peak;

	(void)state;
	run->paused = true;
	stage_start(stage, forty_thousand);
	read_slowly(run, 4000 * (int)slow());
	stage_join(stage);
	peak = run_status_kib(run, "VmHWM");
	kill(run->pid, SIGINT);
	run_resume(run);
	assert_ends_well(run, 0);
	assert_peak(peak, shadow);
	assert_loss_is_counted(run, 2 * FAST);
}

/* Nobody reads at all until the tracer has been told to stop. */
static void blocked_reader(void **state)
{
	struct stage *stage = stage_new("blocked reader");
	struct run *run = live_on(stage, NULL);
	bool shadow = run_status_kib(run, "VmPeak") > SHADOW_KIB;
	long peak;

	(void)state;
	run->paused = true;
	stage_run(stage, many_thousand);
	run_sleep(500);
	peak = run_status_kib(run, "VmHWM");
	kill(run->pid, SIGTERM);
	run_sleep(100);
	run_resume(run);
	assert_ends_well(run, 0);
	assert_peak(peak, shadow);
	assert_loss_is_counted(run, MORE);
	assert_true(run_has(run, KIND_GAP));
	assert_summary_names_loss(run);
}

static void smallest_ring(void **state)
{
	struct stage *stage = stage_new("smallest ring");
	char size[16];
	struct run *run;

	(void)state;
	snprintf(size, sizeof(size), "%ld", sysconf(_SC_PAGESIZE));
	run = live_on(stage, (const char *const[]){ "--ring-size", size, NULL });
	stage_run(stage, forty_thousand);
	run_sleep(3000 * (int)slow());
	assert_ends_well(run, SIGINT);
	assert_loss_is_counted(run, 2 * FAST);
	assert_true(run_has(run, KIND_GAP));
	assert_summary_names_loss(run);
	assert_int_equal(left_open(run), 0);
}

static const struct plain list[] = {
	{ "load/as_fast_as_it_goes", as_fast_as_it_goes },
	{ "load/fourteen_thousand_at_once", fourteen_thousand_at_once },
	{ "load/four_threads", four_threads },
	{ "load/two_thousand_connections", two_thousand_connections },
	{ "load/slow_reader", slow_reader },
	{ "load/blocked_reader", blocked_reader },
	{ "load/smallest_ring", smallest_ring },
};

const struct plain_list load_tests = { list, COUNT_OF(list) };
