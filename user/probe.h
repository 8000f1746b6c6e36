/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel side as the rest of the program sees it: the ladder, loading and
 * attaching, the ring, the counters of loss, the iterators. The one user of
 * libbpf and of the skeleton. Nothing is pinned: all is gone with the probe, or
 * with the process.
 */
#ifndef PORTWAKE_USER_PROBE_H
#define PORTWAKE_USER_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "user/climb.h"
#include "user/event.h"

/* Do these filters go by the owner? Then a row without one cannot pass. */
static inline bool probe_by_owner(const struct pw_settings *s)
{
	return s->pid_count || s->comm[0] || s->cgroup || s->descendants;
}

/* Totals since the start; they only grow. */
struct probe_loss {
	uint64_t ring;			/* records that found the ring full */
	uint64_t ring_allocations;	/* of those, the ones that may have been an allocation */
	uint64_t map;			/* notes that found their map full: an executable may be unknown */
	uint64_t recursion;		/* runs of a program that the kernel skipped: it was at work on the CPU */
	uint64_t malformed;		/* records that did not decode */
};

enum probe_rows {
	PROBE_ROWS_TCP,		/* of the caller's netns: in every state but bound-only, TIME_WAIT too */
	PROBE_ROWS_UDP,		/* of the caller's netns */
	PROBE_ROWS_FILES,	/* behind a file descriptor, in every netns, with its process */
};

struct probe;

typedef void (*probe_event_fn)(void *arg, const struct event *event);

/*
 * Chooses, loads and attaches. 0, or -errno with one line of explanation and
 * remedy in why[]. on_event is called by probe_consume().
 */
int probe_open(const struct probe_options *options, probe_event_fn on_event, void *arg, struct probe **out,
	       char *why, size_t why_size);
void probe_free(struct probe **probe);

/* Readable when much has gathered; what is less is for a timer to fetch. */
int probe_fd(const struct probe *probe);

/* Hands out what is on the ring now: the number of records; -EAGAIN after many, when more is there; -errno. */
int probe_consume(struct probe *probe);

int probe_losses(struct probe *probe, struct probe_loss *out);

/* Of these, what is known without asking the kernel. */
uint64_t probe_malformed(const struct probe *probe);

/*
 * Lets go of everything but the ring, which goes on being read: for a process that has forked another to keep the
 * rest. No function but probe_fd(), probe_consume(), probe_malformed(), probe_hooks() and probe_free() is of use then.
 */
int probe_let_go(struct probe *probe);

/* Walks one iterator in the network namespace of the calling thread; rows carry PW_F_ROW. 0 or -errno. */
int probe_walk(struct probe *probe, enum probe_rows rows, probe_event_fn on_row, void *arg);

/* Asks the kernel which of these objects still hold their port: sets the answers of each. 0 or -errno. */
int probe_look(struct probe *probe, struct pw_look *looks, size_t count);

/* The ladder: one row a hook. */
struct probe_hook {
	const char *name;
	const char *watches;
	const char *rung;	/* NULL: none could be used */
	const char *exact;	/* what is approximate on this rung; "exact" when nothing is */
	const char *cost;	/* what pays for it */
	const char *passed;	/* why each better rung was passed over; empty: there is none */
};

size_t probe_hooks(const struct probe *probe, const struct probe_hook **out);

#define _cleanup_probe_ _cleanup_(probe_free)

#endif
