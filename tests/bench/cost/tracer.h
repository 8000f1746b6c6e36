/* SPDX-License-Identifier: GPL-2.0 */
/* What may be at work beside a load: nothing, a program that traces, or portwake's hooks with nothing on them. */
#ifndef PORTWAKE_BENCH_TRACER_H
#define PORTWAKE_BENCH_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TRACER_PROGRAMS 48

/* A BPF program that stands for a hook, and what bpf_stats says of it. */
struct program {
	char name[32];
	uint32_t id;
	uint32_t function;	/* BTF id of what it is attached to; 0: it has none */
	uint64_t runs, ns;
	uint32_t instructions;		/* after the verifier */
};

struct tracer {
	const char *name;
	const char *command;		/* a shell's; $PORTWAKE is the program; NULL: none */
	const char *asks;		/* only if this command succeeds; NULL: always */
	const char *ready;		/* what its output has once it is ready; NULL: it is given two seconds */
	bool bare;			/* instead of it, an empty program on each place where it has one */
	pid_t pid;
	double started_ms;		/* how long it took to be ready */
	double cpu_ms;			/* CPU time since then, and */
	long events, lost;		/* what it says of itself: after tracer_stop(); -1: nothing */
	long rss_kib;			/* at tracer_measure() */
	int fds[2 * TRACER_PROGRAMS], fd_count;
};

bool tracer_there(const struct tracer *tracer);
void tracer_start(struct tracer *tracer);
void tracer_measure(struct tracer *tracer);
void tracer_stop(struct tracer *tracer);

/* The programs that a running tracer has attached, with their counters: how many. */
int tracer_programs(const struct tracer *tracer, struct program *programs);

#endif
