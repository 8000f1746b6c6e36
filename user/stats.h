/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lifetimes added up by port, process, destination or container. Pure: changes
 * in, rows out. Memory is bounded: past STATS_ROWS keys the rest share one row.
 */
#ifndef PORTWAKE_USER_STATS_H
#define PORTWAKE_USER_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "user/hist.h"
#include "user/lifetime.h"

#define STATS_ROWS 65536

enum stats_by { STATS_BY_PORT, STATS_BY_PROCESS, STATS_BY_DESTINATION, STATS_BY_CONTAINER, STATS_BY_END };
enum stats_sort { STATS_LIFETIMES, STATS_NOW, STATS_HELD, STATS_LONGEST, STATS_KEY, STATS_SORT_END };

/* Names as on the command line. NULL past the end; -EINVAL for what is none. */
const char *stats_by_name(enum stats_by by);
int stats_by_of(const char *name, enum stats_by *out);
int stats_sort_of(const char *name, enum stats_sort *out);

struct stats_row {
	bool other;			/* the row of all keys past STATS_ROWS */
	/* The key, as far as `by` has it */
	uint32_t netns;
	uint16_t port;			/* local, or remote of a destination */
	uint8_t proto;
	struct event_addr remote;	/* family 0: lifetimes without a destination */
	char *container;		/* NULL: lifetimes without a container */
	uint32_t pid;			/* 0: lifetimes without a known process */
	uint64_t start;

	uint64_t lifetimes;		/* that ended or last */
	uint64_t now;			/* that last */
	uint64_t denials;		/* calls that were denied it, or that it made, by the key */
	uint64_t held_ns;		/* all their time, as far as it is known */
	struct hist held;		/* of those that ended with a known beginning, ns */
	struct hist gaps;		/* by port: from a release to the next allocation, ns; of a history while nobody held it */
	uint64_t released_at;		/* by port: the last release; 0: none yet */
	uint64_t last_at;		/* when last_owner allocated */
	struct process *last_owner;	/* a reference; NULL: unknown */
};

struct stats_ops {
	struct process *(*ref)(void *arg, struct process *process);
	void (*put)(void *arg, struct process *process);
	/* Key of a process: pid and start; container: NULL if none. */
	void (*process)(const struct process *process, uint32_t *pid, uint64_t *start, const char **container);
};

struct stats;

/* NULL without memory. ops and arg stay the caller's. */
struct stats *stats_new(enum stats_by by, const struct stats_ops *ops, void *arg);
void stats_free(struct stats **stats);

/* 0 or -ENOMEM: this change is not counted. */
int stats_change(struct stats *stats, const struct change *change);

/* A lifetime that lasts at `now`: for each of them once, at the end. 0 or -ENOMEM. */
int stats_held(struct stats *stats, const struct lifetime *lifetime, uint64_t now);

/* A lifetime as a history has it, whole; of it what lies in the time that is counted. */
struct stats_life {
	struct process *owner;		/* borrowed; NULL: unknown */
	struct event_addr remote;	/* family 0: none */
	uint32_t netns;
	uint16_t port, remote_port;
	uint8_t proto;
	bool began, ended;		/* in that time, and known to have */
	bool lasts;			/* is held at its end */
	uint64_t since, until;		/* ns, of one clock for all of them */
	uint64_t held_ns;		/* in that time; of one that began and ended in it, all */
};

/* Those of one port by since. 0 or -ENOMEM: it is not counted. */
int stats_life(struct stats *stats, const struct stats_life *life);

/* Calls of a history that were denied: as many of them. The same. */
struct stats_denial {
	struct process *owner;		/* borrowed; NULL: unknown */
	struct event_addr remote;	/* family 0: none */
	uint32_t netns;
	uint16_t port, remote_port;	/* port 0: whichever there was */
	uint8_t proto;
	uint64_t count;
};

int stats_denial(struct stats *stats, const struct stats_denial *denial);

/* The rows in this order, most first (by key: upward), and their number. Valid until the next call. -ENOMEM */
int stats_rows(struct stats *stats, enum stats_sort sort, const struct stats_row *const **rows, size_t *count);

#define _cleanup_stats_ _cleanup_(stats_free)

#endif
