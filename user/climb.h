/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Climbing the ladder: asks the kernel what it offers, loads and attaches the
 * best rung of each hook, has the canary prove the better ones, and steps down
 * where something is refused or missed, hook by hook.
 */
#ifndef PORTWAKE_USER_CLIMB_H
#define PORTWAKE_USER_CLIMB_H

#include "user/event.h"
#include "user/ladder.h"
#include "user/num.h"

struct bpf_link;
struct bpf_program;
struct portwake_bpf;

#define PROBE_RING_DEFAULT (8u << 20)
#define PROBE_RING_MAX (1u << 30)

struct probe_options {
	struct pw_settings settings;	/* the filters; tw_handler and wake_bytes are filled in by climb() */
	const struct port_set *ports;	/* NULL: any */
	uint32_t ring_size;		/* bytes, a power of two and at least a page; 0: PROBE_RING_DEFAULT */
	int cgroup_root;		/* cgroup_open_root()'s descriptor, borrowed */
	const char *const *rungs;	/* words that ladder_knows(): where a hook begins to try */
	size_t rung_count;
	bool no_denied;			/* leave out the hooks that only tell of denials */
	bool iterators_only;		/* for probe_walk() alone: nothing stands on a live hook */
};

#define CLIMB_PASSED 320

struct climb {
	struct portwake_bpf *skel;
	struct bpf_link *links[LADDER_HOOKS][LADDER_PROGRAMS];
	int rung[LADDER_HOOKS];
	char passed[LADDER_HOOKS][CLIMB_PASSED];	/* why each better rung was passed over */
	bool grounded;		/* probe_options.iterators_only */
	uint64_t tw_handler;	/* address of tw_timer_handler(); 0: not needed, or hidden */
	bool casts;		/* the kernel has bpf_rdonly_cast(): fields are loads */
};

/* climb: zeroed. 0, or -errno: then climb_missing() tells whether too little is left. climb_down() in any case. */
int climb(struct climb *climb, const struct probe_options *options);

/* Detaches and unloads. */
void climb_down(struct climb *climb);

/* The rung in use; NULL: none could be. */
const struct rung *climb_rung(const struct climb *climb, size_t hook);

/* Its programs: the i-th; NULL past the last. */
const char *climb_program(const struct climb *climb, size_t hook, size_t i);

/* A vital hook without a rung; NULL: none, or none was asked for. */
const struct hook *climb_missing(const struct climb *climb);

#endif
