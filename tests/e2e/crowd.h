/* SPDX-License-Identifier: GPL-2.0 */
/* Workloads for what is to be recorded: ten processes that do all there is to do at random, and one at a steady rate. */
#ifndef E2E_CROWD_H
#define E2E_CROWD_H

#include "tests/e2e/work.h"

#define CROWD_PROCESSES 10

/* What work->arg points to; shared with the test. */
struct crowd {
	uint64_t seed;
	int64_t lasts;		/* ns */
	unsigned pause_us;	/* between two operations of a process, on average */
};

/*
 * TCP and UDP, IPv4 and IPv6, explicit, ephemeral and shared ports, one port to two destinations, TIME_WAITs, sockets
 * inherited and passed on, processes that die, process ids used again. Then it steps once: some sockets are open still,
 * until it is told to go on.
 */
void crowd_work(struct work *work);

/* Every port that crowd_work() may take. */
#define CROWD_FIRST 20000
#define CROWD_LAST 31999

/* One process that takes a UDP or TCP port about each pause_us and holds it for a while, until truth->stop. */
void drip_work(struct work *work);

/*
 * As fast as it goes and without a log, UDP on ports of the kernel's choice: `shared->count` of them, or until
 * `shared->stop`; counts what it made.
 */
struct flood {
	_Atomic uint64_t made;
	_Atomic bool stop;
	uint64_t count;		/* 0: until told to stop */
};

struct flood *flood_new(uint64_t count);
void flood_free(struct flood **flood);
void flood_work(struct work *work);

/*
 * A child whose pid, in the namespace of this process, is that; as fork(). -EEXIST: somebody has it; -EPERM, -ENOSYS:
 * not to be had here.
 */
pid_t fork_as(pid_t pid);

#endif
