/* SPDX-License-Identifier: GPL-2.0 */
/* What a workload itself knows it did, in memory it shares with the test, and the comparison with what was reported. */
#ifndef E2E_TRUTH_H
#define E2E_TRUTH_H

#include <stdatomic.h>
#include <sys/types.h>

#include "tests/e2e/run.h"
#include "tests/e2e/seen.h"

#define LIFE_REMOTES 4
#define TRUTH_LIVES 65536U
#define TRUTH_HAPPENINGS 262144U

/* One socket's hold on one local port, as its own process saw it. */
struct life {
	uint64_t cookie;	/* SO_COOKIE; 0: not asked for */
	uint64_t netns;
	unsigned generation;	/* counts from 1; checked only with a cookie */
	int proto;
	unsigned how;		/* acceptable ones */
	bool ephemeral;
	bool kernel;		/* a socket of the kernel's own: no owner */
	bool before;		/* taken before the tracer started: `present`, not `allocate` */
	bool either;		/* taken while it started: one of the two */
	bool unseen_ok;		/* gone before it was ready: may be missing altogether */
	bool owner_unknown;	/* null is right (and so is a null how), a wrong one is not */
	bool remote_due;	/* connected at allocation: a null remote end is wrong */
	uint16_t port;
	uint16_t remote_port[LIFE_REMOTES];
	pid_t pid;
	uid_t uid;
	char comm[16];		/* "": any */
	char exe[256];		/* "": any */
	char addr[2][ADDR_TEXT];	/* acceptable ones; "": unused */
	char remote_addr[LIFE_REMOTES][ADDR_TEXT];	/* that it was connected to, in any order */
};

/* One event of a life, and the interval of CLOCK_REALTIME in which it must lie. */
struct happening {
	uint32_t life;
	enum kind kind;
	int64_t t0, t1;		/* t1 0: not over yet, see truth_settle() */
	pid_t actor;		/* who did it; 0: nobody in particular */
	unsigned cause;		/* acceptable ones, of a release */
	char err[24];		/* of a release; "": null, "*": any */
	bool optional;		/* may be missing */
	bool late;		/* may be seen up to TRUTH_LATE after t1, and must then say exact: false */
	bool about;		/* may say exact: false, and is then right to a second */
	bool soft;		/* completed by the other end or in softirq: the wide tolerance */
};

#define TRUTH_LATE (2500 * MS)

struct truth {
	uint64_t netns;
	uint64_t second_netns;	/* 0: none; may be gone, and its number another's, after `until` (0: open) */
	int64_t since, until;	/* older events of the same inode belong to a namespace that has gone */
	_Atomic uint32_t lives, happenings;
	_Atomic bool stop;	/* set by the test to end a workload that runs until then */
	char skip[160];		/* a workload's reason to skip itself */
	struct life life[TRUTH_LIVES];
	struct happening happening[TRUTH_HAPPENINGS];
};

struct truth *truth_new(uint64_t netns);
void truth_free(struct truth **truth);
uint32_t truth_life(struct truth *truth, const struct life *life);
struct happening *truth_add(struct truth *truth, const struct happening *happening);
/* Whatever has no end yet has happened by now. */
void truth_settle(struct truth *truth);

/*
 * Compares the truth with every event of its namespace in the run: the number of differences. With say, each is
 * printed. With partly, lifetimes that the truth does not know are not counted (the namespace is shared).
 */
unsigned truth_differs(const struct truth *truth, const struct run *run, bool say, bool partly);
/* Lifetime rules that hold for any stream: one start, at most one release, nothing after it, times consistent. */
unsigned stream_breaks_rules(const struct run *run, bool say);

/* Is what is seen seen by the base's hooks? In a guest $E2E_RUNG says so. */
bool truth_of_base(void);

#endif
