/* SPDX-License-Identifier: GPL-2.0 */
/* What a test is made of: namespaces with workloads in them, a tracer, and the comparison of the two. */
#define _GNU_SOURCE
#include "tests/e2e/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORK_WITHIN (60 * SECOND)
#define TRUTH_WITHIN (4 * SECOND)
#define MAX_SKIPS 200
#define BUSY 30000

static struct stage *stages;
static struct run *watcher;
static char current[128];
static char *skips[MAX_SKIPS];
static size_t skip_count;
static bool settled;	/* passed or skipped */

void case_begin(const char *name)
{
	snprintf(current, sizeof(current), "%s", name);
	settled = false;
}

void case_passed(void)
{
	settled = true;
}

static void say_how_to_repeat(void)
{
	const char *seed = getenv("E2E_SEED");

	print_message("  repeat it: PORTWAKE=%s %s%s%s%s '%s'\n", run_program(), seed ? "E2E_SEED=" : "",
		      seed ? seed : "", seed ? " " : "", self_path(), current);
}

#define FAIL_TEST(...)					\
	do {						\
		print_message("  " __VA_ARGS__);	\
		print_message("\n");			\
		fail();					\
	} while (0)

void skip_because(const char *format, ...)
{
	char reason[240], *line = NULL;
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	print_message("  skipped: %s\n", reason);
	if (skip_count < MAX_SKIPS && asprintf(&line, "%s: %s", current, reason) >= 0)
		skips[skip_count++] = line;
	settled = true;
	skip();
	abort();
}

void case_print_skips(void)
{
	if (skip_count)
		fprintf(stderr, "%zu skipped:\n", skip_count);
	for (size_t i = 0; i < skip_count; i++) {
		fprintf(stderr, "  %s\n", skips[i]);
		free(skips[i]);
	}
	skip_count = 0;
}

struct stage *stage_new(const char *name)
{
	struct stage *stage = calloc(1, sizeof(*stage));
	int err;

	if (!stage)
		abort();
	snprintf(stage->name, sizeof(stage->name), "%s", name);
	stage->sync_fd = -1;
	err = netns_new(&stage->ns);
	if (err) {
		free(stage);
		FAIL_TEST("no new network namespace: %s", strerror(-err));
	}
	snprintf(stage->inode, sizeof(stage->inode), "%llu", (unsigned long long)stage->ns.inode);
	stage->work = (struct work){ .truth = truth_new(stage->ns.inode), .netns = stage->ns.inode,
				     .fam = FAM_V4, .proto = IPPROTO_TCP };
	stage->next = stages;
	stages = stage;
	return stage;
}

/* A last lifetime: once it is reported, so is everything before it. */
static void last_words(struct work *work)
{
	struct work plain = *work;
	struct wsock s;

	plain.no_cookie = plain.before = plain.either = false;
	work_name("e2e-last");
	s = ws_open_as(&plain, FAM_V4, IPPROTO_UDP);
	ws_bind(&s, 0);
	ws_close(&s);
}

static void __attribute__((noreturn)) workload(struct stage *stage, void (*fn)(struct work *work), int sync_fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	if (netns_enter(&stage->ns))
		work_die("setns");
	/* Two ACKs that cross on two processors make a reset, which ends a TIME_WAIT before its time (RFC 1337). */
	sysctl_set("net/ipv4/tcp_rfc1337", "1");
	work_name("e2e-work");
	stage->work.sync_fd = sync_fd;
	fn(&stage->work);
	_exit(0);
}

void stage_start(struct stage *stage, void (*fn)(struct work *work))
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	stage->pid = fork();
	if (stage->pid < 0)
		abort();
	if (stage->pid == 0)
		workload(stage, fn, pair[1]);
	close(pair[1]);
	if (stage->sync_fd >= 0)
		close(stage->sync_fd);
	stage->sync_fd = pair[0];
}

uint64_t choose_seed(void)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)now_ns());
	setenv("E2E_SEED", text, 0);
	print_message("  E2E_SEED=%s\n", getenv("E2E_SEED"));
	return strtoull(getenv("E2E_SEED"), NULL, 10);
}

static bool has_stepped(void *arg)
{
	struct stage *stage = arg;
	struct pollfd p = { .fd = stage->sync_fd, .events = POLLIN };
	char c;

	return poll(&p, 1, 0) > 0 && read(stage->sync_fd, &c, 1) >= 0;
}

void stage_await_step(struct stage *stage)
{
	siginfo_t info = { 0 };

	if (!run_until(has_stepped, stage, getenv("E2E_LONG") ? 3 * WORK_WITHIN : WORK_WITHIN))
		FAIL_TEST("the workload did not get to its step");
	if (waitid(P_PID, (id_t)stage->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
		stage_join(stage);
}

void stage_go(struct stage *stage)
{
	if (write(stage->sync_fd, "g", 1) != 1)
		FAIL_TEST("the workload is gone");
}

struct child {
	pid_t pid;
	int status;
};

static bool child_ended(void *arg)
{
	struct child *child = arg;

	return waitpid(child->pid, &child->status, WNOHANG) == child->pid;
}

void stage_join(struct stage *stage)
{
	struct child child = { .pid = stage->pid };

	if (!run_until(child_ended, &child, WORK_WITHIN))
		FAIL_TEST("the workload did not end");
	stage->pid = 0;
	truth_settle(stage->work.truth);
	if (WIFEXITED(child.status) && WEXITSTATUS(child.status) == WORK_SKIPPED)
		skip_because("%s", stage->work.truth->skip);
	if (child.status)
		FAIL_TEST("the workload broke (wait status 0x%x)", (unsigned)child.status);
}

void stage_run(struct stage *stage, void (*fn)(struct work *work))
{
	stage_start(stage, fn);
	stage_join(stage);
}

void stage_enter(void *arg)
{
	const struct stage *stage = arg;

	if (netns_enter(&stage->ns))
		_exit(WORK_BROKEN);
}

const char *stage_number(const struct stage *stage)
{
	return stage->inode;
}

void stage_free(struct stage **at)
{
	struct stage *stage = *at;

	if (!stage)
		return;
	for (struct stage **p = &stages; *p; p = &(*p)->next) {
		if (*p == stage) {
			*p = stage->next;
			break;
		}
	}
	if (stage->pid) {
		kill(stage->pid, SIGKILL);
		waitpid(stage->pid, NULL, 0);
	}
	if (stage->sync_fd >= 0)
		close(stage->sync_fd);
	netns_close(&stage->ns);
	truth_free(&stage->work.truth);
	free(stage);
	*at = NULL;
}

int case_teardown(void **state)
{
	struct stage *next;

	(void)state;
	if (!settled)
		say_how_to_repeat();
	run_kill_strays();
	scratch_clean();
	for (struct stage *stage = stages; stage; stage = next) {
		next = stage->next;
		if (stage->keep == KEEP_FOR_TEST)
			stage_free(&stage);
	}
	return 0;
}

struct comparison {
	const struct stage *stage;
	const struct run *run;
};

static bool truth_told(void *arg)
{
	const struct comparison *c = arg;

	return truth_differs(c->stage->work.truth, c->run, false, false) == 0;
}

static void print_gaps(const struct run *run)
{
	int said = 0;

	for (size_t i = 0; i < run->count && said < 5; i++) {
		if (run->seen[i].kind == KIND_GAP && ++said)
			fprintf(stderr, "  %s\n", run->seen[i].line);
	}
}

/* Programs that a preemptible kernel skipped, which an emulated one does often. */
static bool is_skipping(const struct seen *s)
{
	return getenv("E2E_GUEST") && s->kind == KIND_GAP && strstr(s->line, "\"recursion\"");
}

/* What happened while portwake says that it missed something may be told late, without its cause, or not; or right. */
static bool forgive_gaps(struct truth *t, const struct run *run)
{
	bool any = false;

	for (size_t i = 0; i < run->count; i++) {
		const struct seen *gap = &run->seen[i];

		for (uint32_t k = 0; is_skipping(gap) && k < t->happenings; k++) {
			struct happening *h = &t->happening[k];

			if (h->t1 < gap->since || h->t0 > gap->until)
				continue;
			if (h->kind == KIND_LISTEN || h->kind == KIND_TIME_WAIT)
				h->optional = any = true;
			if (h->kind != KIND_RELEASE)
				continue;
			h->late = any = true;
			h->cause |= CAUSE_UNKNOWN;
			strcpy(h->err, "*");
		}
	}
	return any;
}

void assert_truth(struct stage *stage, struct run *run)
{
	struct comparison c = { .stage = stage, .run = run };
	unsigned n;

	stage_run(stage, last_words);
	if (run_until(truth_told, &c, TRUTH_WITHIN) && !run->bad)
		return;
	if (forgive_gaps(stage->work.truth, run) && run_until(truth_told, &c, TRUTH_WITHIN) && !run->bad)
		return;
	n = truth_differs(stage->work.truth, run, true, false);
	print_gaps(run);
	if (run->bad || run->reaped || run->out < 0)
		run_print_talk(run);
	FAIL_TEST("%s: %u differences, %u bad lines", stage->name, n, run->bad);
}

void assert_no_gap(const struct run *run)
{
	for (size_t i = 0; i < run->count; i++) {
		if (run->seen[i].kind == KIND_GAP && !is_skipping(&run->seen[i]))
			FAIL_TEST("a gap: %s", run->seen[i].line);
	}
}

void assert_ends_well(struct run *run, int sig)
{
	int status = run_stop(run, sig);
	unsigned broken;

	if (status || run->bad)
		run_print_talk(run);
	if (status < 0)
		FAIL_TEST("portwake did not end");
	if (status)
		FAIL_TEST("portwake ended with status %d", status);
	if (run->bad)
		FAIL_TEST("%u lines are not as the interface has them", run->bad);
	broken = stream_breaks_rules(run, true);
	if (broken)
		FAIL_TEST("%u lifetimes break the rules of the stream", broken);
}

struct run *live_on(struct stage *stage, const char *const *more)
{
	const char *args[16] = { "--netns", stage->inode };
	struct run *run;

	for (size_t i = 0; more && more[i] && i < 12; i++)
		args[i + 2] = more[i];
	run = run_live(args, NULL);
	if (!run)
		FAIL_TEST("no tracer");
	return run;
}

static struct run *watcher_get(void)
{
	static bool tried;

	if (!watcher && !tried)
		watcher = run_live(NULL, &(struct run_options){ .lasting = true });
	tried = true;
	if (!watcher)
		FAIL_TEST("no tracer");
	return watcher;
}

void scenario_run(const struct scenario *scenario, enum fam fam, int proto, const char *name)
{
	struct run *run = watcher_get();
	struct stage *stage = stage_new(name);

	stage->work.fam = fam;
	stage->work.proto = proto;
	stage_run(stage, scenario->work);
	assert_truth(stage, run);
	stage->work.truth->until = now_ns();
	stage->keep = KEEP_WATCHED;
}

/* What came after a scenario had been found right. */
static unsigned late_differences(void)
{
	unsigned n = 0;

	for (struct stage *stage = stages; stage; stage = stage->next) {
		if (stage->keep != KEEP_WATCHED || !truth_differs(stage->work.truth, watcher, false, false))
			continue;
		fprintf(stderr, "  since it was found right, %s has come to differ:\n", stage->name);
		n += truth_differs(stage->work.truth, watcher, true, false);
	}
	return n;
}

/* The shared tracer sees the whole machine; the scenarios themselves make some thousand events. */
static bool machine_is_busy(const struct run *run)
{
	uint64_t n = run->count;

	for (size_t i = 0; i < run->count; i++)
		n += run->seen[i].kind == KIND_GAP ? run->seen[i].lost : 0;
	if (n > BUSY)
		print_message("  %llu events: somebody else is at work here, gaps are forgiven\n", (unsigned long long)n);
	return n > BUSY;
}

void watcher_end(void **state)
{
	unsigned n;

	(void)state;
	if (!watcher)
		FAIL_TEST("no tracer");
	run_sleep(2000);
	n = late_differences();
	for (struct stage *stage = stages; stage; stage = stage->next) {
		if (stage->keep == KEEP_WATCHED)
			stage->keep = KEEP_FOR_TEST;
	}
	watcher->lasting = false;
	if (!machine_is_busy(watcher))
		assert_no_gap(watcher);
	assert_ends_well(watcher, SIGINT);
	run_free(&watcher);
	if (n)
		FAIL_TEST("%u differences came late", n);
}
