/* SPDX-License-Identifier: GPL-2.0 */
/* portwake as a child process: its stream read, parsed and kept while anything else is waited for. */
#ifndef E2E_RUN_H
#define E2E_RUN_H

#include <stdio.h>
#include <sys/types.h>

#include "tests/e2e/seen.h"

struct run_options {
	const char *const *args;	/* after the program's name, ended by NULL */
	void (*before_exec)(void *arg);	/* in the child */
	void *arg;
	int stdout_fd;			/* > 0: instead of a pipe; stays the caller's */
	bool text;			/* stdout is not JSON: only kept as text */
	bool paused;			/* stdout is not read until run_resume() */
	bool lasting;			/* survives run_kill_strays() */
};

struct run {
	pid_t pid;
	int out, err;			/* -1: at its end */
	bool text, paused, lasting, reaped;
	int status;			/* of waitpid, when reaped */
	struct seen *seen;
	size_t count, room;
	char *partial;			/* bytes of an unfinished line, or all of a text output */
	size_t partial_len, partial_room;
	char *talk;			/* all of stderr so far, NUL-terminated */
	size_t talk_len, talk_room;
	unsigned bad;			/* lines that did not pass seen_parse() */
	char why[200], bad_line[400];	/* the first of them */
	struct run *next;
};

/* Path of the program under test ($PORTWAKE) and the factor for every deadline ($E2E_SLOW). */
const char *run_program(void);
/* Path of the test program. */
const char *self_path(void);
unsigned slow(void);
int64_t now_ns(void);

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)

struct run *run_start(const struct run_options *options);
/* Starts `portwake live --json ARGS...`, waits for ready; NULL (with a printed reason) when that fails. */
struct run *run_live(const char *const *args, const struct run_options *more);
void run_resume(struct run *run);
/* Reads whatever any run has to say, waiting up to ms for it. */
void run_pump(int ms);
void run_sleep(int ms);
/* Pumps until check(arg) holds; false at the deadline (ns, scaled by slow()). */
bool run_until(bool (*check)(void *arg), void *arg, int64_t deadline);
bool run_has(const struct run *run, enum kind kind);
/* Sends sig (0: none), drains the stream and reaps: the exit status, or 128 + signal, or -1 at the deadline. */
int run_stop(struct run *run, int sig);
int run_wait(struct run *run, int64_t deadline);
/* Reads at most max bytes of a paused run's stdout: their number, 0 at its end, -EAGAIN when there are none. */
ssize_t run_sip(struct run *run, size_t max);
void run_free(struct run **run);
/* Kills and frees what a failed test left behind. */
void run_kill_strays(void);
void run_print_talk(const struct run *run);
/* A field of the program's /proc/PID/status in KiB ("VmHWM"), 0 when it is gone. */
long run_status_kib(const struct run *run, const char *field);

#endif
