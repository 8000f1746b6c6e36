/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ladder: for each thing watched, the ways to watch it, best first. Pure
 * data; climb.c climbs it.
 */
#ifndef PORTWAKE_USER_LADDER_H
#define PORTWAKE_USER_LADDER_H

#include <stdbool.h>
#include <stddef.h>

#define LADDER_PROGRAMS 6
#define LADDER_RUNGS 6
#define LADDER_EXACT "exact"

struct rung {
	const char *name;	/* "fentry" "kprobe"; any other name is of the base */
	const char *exact;	/* what is approximate; LADDER_EXACT: nothing */
	const char *cost;	/* what pays for it */
	const char *programs[LADDER_PROGRAMS];	/* of bpf/, all of them */
	const char *needs;	/* hook that must stand on a rung of the same name, for it notes what this one asks; NULL: none */
};

struct hook {
	const char *name;
	const char *watches;
	bool vital;		/* without it there is nothing to trace */
	struct rung rungs[LADDER_RUNGS];	/* best first, then one without a name */
};

/*
 * What ends a lifetime stands before what begins one: attached in this order,
 * none begun while attaching stays open for ever.
 */
extern const struct hook ladder[];

enum { LADDER_HOOKS = 12 };

/* Its place in the ladder; LADDER_HOOKS when there is none. */
size_t ladder_hook(const char *name);

/* Of a rung's name: better ones have lower ranks; what is neither fentry nor kprobe is the base, 2. */
int ladder_rank(const char *rung);

/* Is this "NAME", for every hook that has such a rung, or "HOOK=NAME"? NAME: fentry kprobe base. */
bool ladder_knows(const char *text);

#endif
