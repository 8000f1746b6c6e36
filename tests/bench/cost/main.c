/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bench-cost: what a tracer costs the work it traces. Each round runs the work untraced, then beside one tracer, for
 * each tracer in turn, in one run, so that a disturbance does not hit one of them alone; a ratio is that of one round's
 * neighbours, and what is printed is the median of the rounds'. Writes Markdown to stdout. From the environment:
 *
 *	ROUNDS	how many (7)
 *	MS	how long each work runs each time, of its own CPU time (150)
 *	WORK	only these, by name, separated by commas
 *	TRACERS	the same of the tracers
 *	FIGURES	0: leave out what else is measured, 1: only that
 *	CHURN	seconds of the run that looks for loss (30)
 *	ADDED	what a ns is here (instructions): no ratios, but how many of them are added
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "bpf/event.h"
#include "tests/bench/cost/load.h"
#include "tests/bench/cost/tracer.h"

#define ROUNDS_MAX 101
#define RECORDS "$PORTWAKE --help | grep -q '^  record '"
#define THERE(program) "command -v " program " >/dev/null"
#define FENTRY "case $($PORTWAKE probes --json) in *'\"rung\":\"fentry\"'*) ;; *) false ;; esac"
#define READY "ready"

static struct tracer tracers[] = {
	{ .name = "live", .command = "$PORTWAKE live", .ready = READY },
	{ .name = "live-no-denied", .command = "$PORTWAKE live --no-denied", .ready = READY },
	{ .name = "record", .command = "$PORTWAKE record --db /tmp/bench.db", .asks = RECORDS, .ready = READY },
	{ .name = "record-no-denied", .command = "$PORTWAKE record --no-denied --db /tmp/bench.db", .asks = RECORDS,
	  .ready = READY },
	{ .name = "bare", .command = "$PORTWAKE live", .ready = READY, .bare = true },
	{ .name = "bare-no-denied", .command = "$PORTWAKE live --no-denied", .ready = READY, .bare = true },
	{ .name = "fentry", .command = "$PORTWAKE live", .asks = FENTRY, .ready = READY },
	{ .name = "base", .command = "$PORTWAKE live --rung base", .asks = FENTRY, .ready = READY },
	{ .name = "tcplife", .command = "tcplife", .asks = THERE("tcplife") },
	{ .name = "tcpstates", .command = "tcpstates", .asks = THERE("tcpstates") },
};

#define TRACERS (sizeof(tracers) / sizeof(tracers[0]))

static unsigned int rounds, slice_ms;
static double untraced[LOADS][ROUNDS_MAX * TRACERS];
static double ratios[TRACERS][LOADS][ROUNDS_MAX];

static unsigned int setting(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);

	return text && *text ? (unsigned int)atoi(text) : otherwise;
}

/* Is this one of those asked for? */
static bool is_asked(const char *list, const char *name)
{
	const char *asked = getenv(list), *at = asked;
	size_t length = strlen(name);

	if (!asked || !*asked)
		return true;
	for (; (at = strstr(at, name)); at += length)
		if ((at == asked || at[-1] == ',') && (!at[length] || at[length] == ','))
			return true;
	return false;
}

static bool is_run(size_t load)
{
	return loads[load].name && is_asked("WORK", loads[load].name);
}

static int by_size(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static double median(const double *values, size_t count)
{
	double sorted[ROUNDS_MAX * TRACERS];

	if (!count)
		return 0;
	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), by_size);
	return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* ---- rounds ---- */

static int last_cpu(void)
{
	return (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
}

/* All the work once, in a process with a network namespace of its own. */
static void pass(double out[LOADS])
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0 || (pid = fork()) < 0)
		die("fork");
	if (!pid) {
		load_enter(last_cpu());
		for (size_t i = 0; i < LOADS; i++)
			out[i] = is_run(i) ? load_run(&loads[i], slice_ms) : 0;
		_exit(write(fds[1], out, LOADS * sizeof(*out)) != (ssize_t)(LOADS * sizeof(*out)));
	}
	close(fds[1]);
	if (read(fds[0], out, LOADS * sizeof(*out)) != (ssize_t)(LOADS * sizeof(*out)))
		die("a pass of the work");
	close(fds[0]);
	waitpid(pid, NULL, 0);
}

static void run_rounds(void)
{
	double before[LOADS], with[LOADS];

	for (unsigned int round = 0; round < rounds; round++) {
		for (size_t t = 0; t < TRACERS; t++) {
			if (!is_asked("TRACERS", tracers[t].name) || !tracer_there(&tracers[t]))
				continue;
			pass(before);
			tracer_start(&tracers[t]);
			pass(with);
			tracer_stop(&tracers[t]);
			for (size_t i = 0; i < LOADS; i++) {
				untraced[i][round * TRACERS + t] = before[i];
				ratios[t][i][round] = before[i] > 0 ? with[i] / before[i] : 0;
			}
		}
		fprintf(stderr, "bench: round %u of %u\n", round + 1, rounds);
	}
}

static double median_untraced(size_t load)
{
	double seen[ROUNDS_MAX * TRACERS];
	size_t count = 0;

	for (size_t i = 0; i < rounds * TRACERS; i++)
		if (untraced[load][i] > 0)
			seen[count++] = untraced[load][i];
	return median(seen, count);
}

static const char *unit(void)
{
	return getenv("ADDED") ? getenv("ADDED") : "ns";
}

static bool has_run(size_t tracer)
{
	for (size_t i = 0; i < LOADS; i++)
		if (ratios[tracer][i][0] > 0)
			return true;
	return false;
}

static void print_cell(size_t tracer, size_t load)
{
	double ratio = median(ratios[tracer][load], rounds);

	if (ratio <= 0)
		printf(" - |");
	else if (getenv("ADDED"))
		printf(" %.0f |", (ratio - 1) * median_untraced(load));
	else
		printf(" %.3f |", ratio);
}

static void print_rounds(void)
{
	printf("\n| | %s untraced |", unit());
	for (size_t t = 0; t < TRACERS; t++)
		if (has_run(t))
			printf(" %s |", tracers[t].name);
	printf("\n|---|---|");
	for (size_t t = 0; t < TRACERS; t++)
		if (has_run(t))
			printf("---|");
	for (size_t i = 0; i < LOADS; i++) {
		if (!is_run(i))
			continue;
		printf("\n| %s | %.0f |", loads[i].what, median_untraced(i));
		for (size_t t = 0; t < TRACERS; t++)
			if (has_run(t))
				print_cell(t, i);
	}
	printf("\n");
}

/* ---- by program, as the kernel counts (bpf_stats) ---- */

static const struct program *find(const struct program *programs, int count, uint32_t id)
{
	for (int i = 0; i < count; i++)
		if (programs[i].id == id)
			return &programs[i];
	return NULL;
}

static void print_programs(const struct tracer *t, const struct load *load, const struct program *before, int count,
			   double times)
{
	struct program after[TRACER_PROGRAMS];
	int now = tracer_programs(t, after);
	double sum = 0;

	for (int i = 0; i < now; i++) {
		const struct program *was = find(before, count, after[i].id);
		double runs = (double)(after[i].runs - (was ? was->runs : 0)) / times;
		double ns = (double)(after[i].ns - (was ? was->ns : 0)) / times;

		if (runs < 0.01)
			continue;
		sum += ns;
		printf("| %s | %s | %.2f | %.0f | %u |\n", load->name, after[i].name, runs, ns, after[i].instructions);
	}
	printf("| %s | all | | %.0f | |\n", load->name, sum);
}

#define COUNTED 20000.0

static void count_one(const struct tracer *t, const struct load *load)
{
	struct program before[TRACER_PROGRAMS];
	int count = tracer_programs(t, before);
	pid_t pid = fork();

	if (!pid) {
		load_enter(last_cpu());
		for (int i = 0; i < (int)COUNTED; i++)
			load->once();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	print_programs(t, load, before, count, COUNTED);
	/* The TIME_WAITs of its namespace end now, and are not to be counted with the next. */
	usleep(500000);
}

static void print_stats_of(struct tracer *t)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (fd < 0)
		die("BPF_ENABLE_STATS");
	tracer_start(t);
	printf("\n%s: runs and %s each time round, by program (bpf_stats, which itself takes %s a run),\n"
	       "and its instructions after the verifier:\n\n| | program | runs | %s | verified |\n|---|---|---|---|---|\n",
	       t->name, unit(), getenv("ADDED") ? "a few" : "some 20 ns", unit());
	for (size_t i = 0; i < LOADS; i++)
		if (is_run(i) && loads[i].once)
			count_one(t, &loads[i]);
	tracer_stop(t);
	close(fd);
}

/* Of a guest's rungs each, elsewhere of what is there. */
static void print_stats(void)
{
	for (size_t t = 0; t < TRACERS; t++)
		if (getenv("ADDED") ? has_run(t) : t == 0)
			print_stats_of(&tracers[t]);
}

/* ---- what else is asked ---- */

#define HOLDERS 10	/* a process may not have as many descriptors as it likes */

static void hold_part(unsigned int first, unsigned int end, int ready)
{
	if (fork())
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	load_hold(first, end);
	if (write(ready, "", 1) == 1)
		pause();
	_exit(1);
}

/* Processes that hold so many sockets, until the one that is returned is killed. */
static pid_t hold(unsigned int count)
{
	int fds[2];
	char c;
	pid_t pid;

	if (pipe(fds) < 0 || (pid = fork()) < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		load_enter(last_cpu());
		for (unsigned int i = 0; i < HOLDERS; i++)
			hold_part(count / HOLDERS * i, count / HOLDERS * (i + 1), fds[1]);
		pause();
		_exit(1);
	}
	close(fds[1]);
	for (unsigned int i = 0; i < HOLDERS; i++)
		if (read(fds[0], &c, 1) != 1)
			die("sockets to hold");
	close(fds[0]);
	return pid;
}

static void put(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	usleep(300000);
}

static void print_sockets(struct tracer *t)
{
	static const unsigned int counts[] = { 0, 10000, 100000 };
	long empty = 0;

	for (size_t i = 0; i < 3; i++) {
		pid_t holder = counts[i] ? hold(counts[i]) : 0;
		double ms[5];

		for (size_t k = 0; k < 5; k++) {
			tracer_start(t);
			tracer_measure(t);
			tracer_stop(t);
			ms[k] = t->started_ms;
		}
		if (!counts[i])
			empty = t->rss_kib;
		printf("| %s: start to `ready`, %u sockets open | %.0f ms |\n", t->name, counts[i], median(ms, 5));
		if (counts[i])
			printf("| %s: memory a live lifetime, of %u | %.0f B |\n", t->name, counts[i],
			       (double)(t->rss_kib - empty) * 1024 / counts[i]);
		if (holder)
			put(holder);
	}
}

#define CHURN_DB "/tmp/bench-churn.db"

static volatile sig_atomic_t is_over;

static void on_alarm(int signal)
{
	(void)signal;
	is_over = 1;
}

static pid_t churn(unsigned int seconds, int cpu, uint64_t *made)
{
	pid_t pid = fork();

	if (!pid) {
		load_enter(cpu);
		signal(SIGALRM, on_alarm);
		alarm(seconds);
		for (; !is_over; ++*made)
			loads[0].once();
		_exit(0);
	}
	return pid;
}

static long recorded(pid_t one, pid_t other)
{
	char command[200];
	long count = -1;
	FILE *file;

	snprintf(command, sizeof(command), "sqlite3 " CHURN_DB " 'SELECT count(*) FROM lifetimes WHERE proto = \"tcp\" AND "
		 "how = \"connect\" AND pid IN (%d, %d)'", one, other);
	file = popen(command, "re");
	if (file && fscanf(file, "%ld", &count) != 1)
		count = -1;
	if (file)
		pclose(file);
	return count;
}

/* As fast as two can: is anything lost, is all of it in the database, and what does the reader take? */
static void print_churn(void)
{
	static struct tracer recorder = {
		.name = "record", .command = "$PORTWAKE record --db " CHURN_DB, .ready = READY,
	};
	struct tracer *t = &recorder;
	unsigned int seconds = setting("CHURN", 30);
	uint64_t *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t one, other;

	unlink(CHURN_DB);
	tracer_start(t);
	one = churn(seconds, 0, &made[0]);
	other = churn(seconds, last_cpu(), &made[8]);
	waitpid(one, NULL, 0);
	waitpid(other, NULL, 0);
	usleep(500000);
	tracer_stop(t);
	printf("| two that connect as fast as they can for %u s, recorded | %lu connections, %ld in the database, %ld records "
	       "lost |\n", seconds, (unsigned long)(made[0] + made[8]), recorded(one, other), t->lost);
	printf("| the recorder's CPU time a million events, database included | %.2f s |\n", t->cpu_ms * 1e3 / (double)t->events);
	munmap(made, 4096);
}

static void print_figures(void)
{
	printf("\n| | |\n|---|---|\n");
	print_sockets(&tracers[0]);
	print_sockets(&tracers[2]);
	print_churn();
	/* The ring puts 8 bytes before each. */
	printf("| on the ring: an allocation, IPv4 | %zu B |\n| a close | %zu B |\n| a release | %zu B |\n"
	       "| a TIME_WAIT's beginning or end | %zu B |\n| a process, once | %zu B |\n",
	       (size_t)PW_SOCK_V4 + 8, sizeof(struct pw_close) + 8, sizeof(struct pw_head) + 8,
	       sizeof(struct pw_tw) + 8, sizeof(struct pw_process) + 8);
}

static void print_machine(void)
{
	struct utsname name;
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[300], model[200] = "?";

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "model name : %199[^\n]", model) == 1)
			break;
	if (file)
		fclose(file);
	uname(&name);
	printf("%ld CPUs (%s), Linux %s %s; medians of %u rounds.\n\n"
	       "Beside each tracer, %s untraced in the round's neighbour:\n", sysconf(_SC_NPROCESSORS_ONLN), model,
	       name.release, name.machine, rounds, getenv("ADDED") ? "more than" : "of");
}

int main(void)
{
	unsigned int figures = setting("FIGURES", 2);

	setenv("PORTWAKE", "build/portwake", 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	rounds = setting("ROUNDS", 7);
	slice_ms = setting("MS", 150);
	if (rounds > ROUNDS_MAX)
		rounds = ROUNDS_MAX;
	print_machine();
	if (figures != 1) {
		run_rounds();
		print_rounds();
		print_stats();
	}
	if (figures)
		print_figures();
	return 0;
}
