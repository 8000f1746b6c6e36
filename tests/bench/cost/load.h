/* SPDX-License-Identifier: GPL-2.0 */
/* The work whose cost is measured. */
#ifndef PORTWAKE_BENCH_LOAD_H
#define PORTWAKE_BENCH_LOAD_H

#include <stddef.h>

struct load {
	const char *name;
	const char *what;
	/* Once; NULL: a server and a client, whose rate is taken instead (load_nginx()). */
	void (*once)(void);
};

#define LOADS 10
extern const struct load loads[LOADS];

/* "bench: WHAT: errno", exit status 1. */
void die(const char *what) __attribute__((noreturn));

/* Of the calling process, which gets a network namespace of its own with what the loads need in it, and this CPU. */
void load_enter(int cpu);

/*
 * Runs it for so long; ns of the thread's CPU time for each time round, in the median of twenty slices: the best would
 * be one in which a tracer's buffer was full. In a guest ($ADDED) it is the best: there the buffer holds all of them.
 */
double load_run(const struct load *load, unsigned int ms);

/* Opens datagram sockets number `first` to `end` - 1, each with a port of its own, in the namespace at hand. */
void load_hold(unsigned int first, unsigned int end);

#endif
