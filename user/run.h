/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The loop: attach, snapshot, ready; then ring to tracker to sinks until it is
 * told to stop. One thread, one epoll.
 */
#ifndef PORTWAKE_USER_RUN_H
#define PORTWAKE_USER_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/identity.h"
#include "user/probe.h"
#include "user/sink.h"
#include "user/view.h"

/* Tracing has begun. */
struct run_attached {
	struct probe *probe;
	const struct probe_options *filter;	/* what it was opened with */
	pid_t command;			/* the traced command, which waits; 0: none */
	struct view view;		/* to look through from now on: may be replaced */
};

struct run_options {
	struct probe_options probe;
	struct identity *identity;	/* borrowed */
	struct sink sink;
	uint64_t duration_ns;		/* from ready on; 0: until a signal */
	/* Called before the first snapshot, where privilege can be given up; NULL: nobody. 0, or -errno with why. */
	int (*attached)(void *arg, struct run_attached *attached, char *why, size_t why_size);
	void *arg;
	char *const *command;		/* argv of a command to trace with its descendants, and to end with; NULL: none */
};

struct run_result {
	uint64_t events;		/* changes handed to the sink */
	uint64_t lost;			/* records lost, all reasons */
	uint64_t elapsed_ns;		/* since ready */
	int command_status;		/* exit status of the command, 128 + signal if one ended it */
	bool signalled;			/* a second signal asked for haste */
	char rungs[512];		/* "bind cgroup, ...": for the summary */
	char why[512];			/* on failure: one line, with the remedy */
};

/* 0; -EPERM, -EOPNOTSUPP and the like: cannot trace here; -EOWNERDEAD: who looked for it (run_attached.view) is gone; what the sink's flush returned: output broke. */
int run(const struct run_options *options, struct run_result *result);

/* Has the user signalled again, since run() returned? For what follows it. */
bool run_interrupted(void);

#endif
