/* SPDX-License-Identifier: GPL-2.0 */
/* portwake as a child process: its stream read, parsed and kept while anything else is waited for. */
#define _GNU_SOURCE
#include "tests/e2e/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_RUNS 16
#define MAX_ARGS 32
#define CHUNK 65536
#define MOST_AT_ONCE 1000
#define PIPE_SIZE (1 << 20)
/* Parsing is slower than portwake is: a burst is read first, and parsed when it is over. */
#define PARSE_LATER (256 * 1024)
#define READY_WITHIN (20 * SECOND)

static struct run *runs;

const char *run_program(void)
{
	const char *path = getenv("PORTWAKE");

	return path && *path ? path : "build/portwake";
}

const char *self_path(void)
{
	static char path[4096];

	if (!*path && readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		abort();
	return path;
}

unsigned slow(void)
{
	const char *text = getenv("E2E_SLOW");
	long n = text ? strtol(text, NULL, 10) : 1;

	return n < 1 ? 1 : (unsigned)n;
}

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * SECOND + ts.tv_nsec;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void feed_line(struct run *run, const char *line, size_t len)
{
	char why[sizeof(run->why)];

	if (run->count == run->room) {
		run->room = run->room ? run->room * 2 : 256;
		run->seen = must(reallocarray(run->seen, run->room, sizeof(*run->seen)));
	}
	if (seen_parse(line, len, &run->seen[run->count], why, sizeof(why)) == 0) {
		run->count++;
		return;
	}
	if (!run->bad++) {
		memcpy(run->why, why, sizeof(why));
		snprintf(run->bad_line, sizeof(run->bad_line), "%.*s", (int)len, line);
	}
}

static void feed_lines(struct run *run)
{
	char *start = run->partial, *end = start + run->partial_len, *stop;

	while ((stop = memchr(start, '\n', (size_t)(end - start)))) {
		feed_line(run, start, (size_t)(stop - start));
		start = stop + 1;
	}
	run->partial_len = (size_t)(end - start);
	memmove(run->partial, start, run->partial_len);
}

static void make_room(char **buf, size_t *room, size_t used, size_t more)
{
	if (used + more + 1 > *room) {
		*room = (used + more + 1) * 2;
		*buf = must(realloc(*buf, *room));
	}
}

static ssize_t read_more(int *fd, char **buf, size_t *used, size_t *room, size_t max)
{
	ssize_t got;

	make_room(buf, room, *used, max);
	got = read(*fd, *buf + *used, max);
	if (got < 0)
		return -errno;
	if (got == 0) {
		close(*fd);
		*fd = -1;
	}
	*used += (size_t)got;
	(*buf)[*used] = '\0';
	return got;
}

/* All whole lines that have been read; at the end of the stream, what is left of one as well. */
static void parse_pending(struct run *run)
{
	if (run->text)
		return;
	feed_lines(run);
	if (run->out < 0 && run->partial_len) {
		feed_line(run, run->partial, run->partial_len);
		run->partial_len = 0;
	}
}

ssize_t run_sip(struct run *run, size_t max)
{
	ssize_t got;

	if (run->out < 0)
		return 0;
	got = read_more(&run->out, &run->partial, &run->partial_len, &run->partial_room, max);
	if (run->partial_len < PARSE_LATER || got == 0)
		parse_pending(run);
	return got;
}

static void read_talk(struct run *run)
{
	read_more(&run->err, &run->talk, &run->talk_len, &run->talk_room, CHUNK);
}

/* One look at every run: whether there was anything to read. */
static bool pump_once(int ms)
{
	struct pollfd fds[2 * MAX_RUNS];
	struct run *whose[2 * MAX_RUNS];
	nfds_t n = 0;

	for (struct run *run = runs; run && n < 2 * MAX_RUNS; run = run->next) {
		whose[n] = run;
		fds[n++] = (struct pollfd){ .fd = run->paused ? -1 : run->out, .events = POLLIN };
		whose[n] = run;
		fds[n++] = (struct pollfd){ .fd = run->err, .events = POLLIN };
	}
	if (poll(fds, n, ms) <= 0)
		return false;
	for (nfds_t i = 0; i < n; i++) {
		if (!fds[i].revents)
			continue;
		if (i % 2)
			read_talk(whose[i]);
		else
			run_sip(whose[i], CHUNK);
	}
	return true;
}

void run_pump(int ms)
{
	for (int i = 0; i < MOST_AT_ONCE; i++) {
		if (pump_once(i ? 0 : ms))
			continue;
		for (struct run *run = runs; run; run = run->next)
			parse_pending(run);
		break;
	}
}

bool run_until(bool (*check)(void *arg), void *arg, int64_t deadline)
{
	int64_t end = now_ns() + deadline * slow();

	while (!check(arg)) {
		if (now_ns() > end)
			return false;
		run_pump(10);
	}
	return true;
}

void run_sleep(int ms)
{
	int64_t end = now_ns() + ms * MS, left;

	while ((left = end - now_ns()) > 0)
		run_pump((int)(left / MS) + 1);
}

bool run_has(const struct run *run, enum kind kind)
{
	for (size_t i = 0; i < run->count; i++) {
		if (run->seen[i].kind == kind)
			return true;
	}
	return false;
}

/* $E2E_RUNG and $E2E_NO_DENIED go right behind the word that names the sub-command, and only where there is one that traces. */
static void fill_words(char **argv, const char *const *args)
{
	const char *rung = getenv("E2E_RUNG");
	size_t n = 1;

	for (; args && *args && n < MAX_ARGS - 4; args++) {
		argv[n++] = (char *)*args;
		if (n != 2 || (strcmp(*args, "live") != 0 && strcmp(*args, "stats") != 0))
			continue;
		if (rung) {
			argv[n++] = (char *)"--rung";
			argv[n++] = (char *)rung;
		}
		if (getenv("E2E_NO_DENIED"))
			argv[n++] = (char *)"--no-denied";
	}
}

static void become(const struct run_options *options, int out, int err)
{
	char *argv[MAX_ARGS] = { (char *)run_program() };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fill_words(argv, options->args);
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
		_exit(99);
	if (options->before_exec)
		options->before_exec(options->arg);
	execv(argv[0], argv);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(99);
}

static void nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct run *run_start(const struct run_options *options)
{
	struct run *run = must(calloc(1, sizeof(*run)));
	int out[2] = { -1, -1 }, err[2];

	if (pipe2(err, O_CLOEXEC) < 0 || (options->stdout_fd <= 0 && pipe2(out, O_CLOEXEC) < 0))
		abort();
	run->pid = fork();
	if (run->pid == 0)
		become(options, options->stdout_fd > 0 ? options->stdout_fd : out[1], err[1]);
	close(err[1]);
	if (out[1] >= 0)
		close(out[1]);
	run->out = out[0];
	run->err = err[0];
	nonblocking(run->err);
	if (run->out >= 0) {
		nonblocking(run->out);
		fcntl(run->out, F_SETPIPE_SZ, options->paused ? PIPE_SIZE / 16 : PIPE_SIZE);
	}
	run->text = options->text;
	run->paused = options->paused;
	run->lasting = options->lasting;
	run->talk = must(calloc(1, run->talk_room = 1));
	run->partial = must(calloc(1, run->partial_room = 1));
	run->next = runs;
	runs = run;
	return run;
}

static bool reap(struct run *run)
{
	if (!run->reaped && waitpid(run->pid, &run->status, WNOHANG) == run->pid)
		run->reaped = true;
	return run->reaped;
}

static bool ready_or_gone(void *arg)
{
	struct run *run = arg;

	return run_has(run, KIND_READY) || run->out < 0;
}

struct run *run_live(const char *const *args, const struct run_options *more)
{
	const char *argv[MAX_ARGS] = { "live", "--json" };
	struct run_options options = more ? *more : (struct run_options){ 0 };
	struct run *run;
	size_t n = 2;

	for (; args && *args && n < MAX_ARGS - 1; args++)
		argv[n++] = *args;
	options.args = argv;
	run = run_start(&options);
	if (run_until(ready_or_gone, run, READY_WITHIN) && run->out >= 0)
		return run;
	fprintf(stderr, "portwake live did not become ready within %lld s\n",
		(long long)(READY_WITHIN * slow() / SECOND));
	run_print_talk(run);
	run_stop(run, SIGKILL);
	run_free(&run);
	return NULL;
}

void run_resume(struct run *run)
{
	run->paused = false;
}

static bool ended(void *arg)
{
	struct run *run = arg;

	return (run->out < 0 || run->paused) && run->err < 0 && reap(run);
}

int run_wait(struct run *run, int64_t deadline)
{
	if (!run_until(ended, run, deadline))
		return -1;
	return WIFEXITED(run->status) ? WEXITSTATUS(run->status) : 128 + WTERMSIG(run->status);
}

int run_stop(struct run *run, int sig)
{
	if (sig && !reap(run))
		kill(run->pid, sig);
	return run_wait(run, 20 * SECOND);
}

void run_free(struct run **at)
{
	struct run *run = *at;

	if (!run)
		return;
	for (struct run **p = &runs; *p; p = &(*p)->next) {
		if (*p == run) {
			*p = run->next;
			break;
		}
	}
	for (size_t i = 0; i < run->count; i++)
		seen_clear(&run->seen[i]);
	if (run->out >= 0)
		close(run->out);
	if (run->err >= 0)
		close(run->err);
	free(run->seen);
	free(run->partial);
	free(run->talk);
	free(run);
	*at = NULL;
}

void run_kill_strays(void)
{
	struct run *next;

	for (struct run *run = runs; run; run = next) {
		next = run->next;
		if (run->lasting)
			continue;
		run->paused = false;
		run_stop(run, SIGKILL);
		run_free(&run);
	}
}

void run_print_talk(const struct run *run)
{
	fprintf(stderr, "stderr of portwake:\n%s", run->talk_len ? run->talk : "(nothing)\n");
	if (run->bad)
		fprintf(stderr, "%u bad lines; the first (%s): %s\n", run->bad, run->why, run->bad_line);
}

long run_status_kib(const struct run *run, const char *field)
{
	char path[64], line[128];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)run->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, field, strlen(field)) == 0 && sscanf(line + strlen(field), ": %ld", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kib;
}
