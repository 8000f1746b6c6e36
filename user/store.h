/* SPDX-License-Identifier: GPL-2.0 */
/*
 * History, written: changes in, rows of an SQLite database out (docs/history.md).
 * The caller's thread only copies into a batch; a thread of the store's own writes
 * and syncs, so that a slow disk stalls no tracer. What is handed over is in the
 * file, and synced, a second later. When the file cannot be written the batches
 * wait, bounded, and are written later; what does not fit is counted and becomes a gap.
 */
#ifndef PORTWAKE_USER_STORE_H
#define PORTWAKE_USER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "user/identity.h"
#include "user/lifetime.h"
#include "user/store_file.h"

/* The least that max_size may be. */
#define STORE_SIZE_MIN	(8ULL << 20)

struct store_options {
	const char *path;
	struct store_files files;
	uint64_t keep_ns;		/* 0: for ever */
	uint64_t max_size;		/* bytes, of all its files; 0: unbounded */
	/*
	 * What the recording is restricted to, as words: "netns=INODE[,...]" "port=LIST" "proto=LIST", by which a question
	 * can be judged, and others ("comm=nginx"), which leave every question in doubt. NULL: to nothing.
	 */
	const char *filter;
	struct identity *identity;	/* borrowed: takes the references to processes back; NULL: nobody counts them */
	/* For tests, where they are not those of this machine: */
	const char *boot;		/* id of the boot; NULL: this one's */
	uint64_t now;			/* CLOCK_BOOTTIME; 0: now, */
	int64_t offset;			/* and of the wall clock */
};

struct store;

/*
 * Makes the empty database, in WAL mode with its tables, where there is none: for a caller that may create files there
 * and gives them away after. 0, -EEXIST, or -errno with why.
 */
int store_create(const char *path, char *why, size_t why_size);

/*
 * Begins a session, and a thread. 0 with why[] empty, or -errno with one line in it: -EBUSY another recorder writes to it,
 * -EBADMSG damaged or none of ours, -EPROTONOSUPPORT of a newer portwake, ...
 */
int store_open(const struct store_options *options, struct store **out, char *why, size_t why_size);

/* A change as a sink gets it. Never waits. */
void store_change(struct store *store, const struct change *change, int64_t offset);

/*
 * At least once a second, more often costs nothing: what was begun since and lasts is written too, with a sign of life.
 * newest: tracker_first(). sure: what was lost before then has been told. 0; -EAGAIN once when storage has failed and once
 * when it works again, with a line in why[].
 */
int store_tick(struct store *store, struct lifetime *newest, uint64_t now, uint64_t sure, int64_t offset, char *why,
	       size_t why_size);

/* Before the end, in place of a tick: what lasts is written however young it is, and all that happened up to now was told. */
void store_flush(struct store *store, struct lifetime *newest, uint64_t now, int64_t offset);

/* Is there something to tell that has found no room, as while storage fails? store_flush() tells it, when there is. */
bool store_is_behind(const struct store *store);

/* Lifetimes still held at the end stay open. Waits until all is written, at most patience_ns and a step, and ends the session;
 * one that is behind is left as one that was killed is. Returns how many rows were not written. */
uint64_t store_close(struct store **store, uint64_t patience_ns);

struct store_totals {
	uint64_t lifetimes, denials;	/* written */
	uint64_t lost;			/* changes that did not fit while storage failed */
	uint64_t waiting;		/* rows not written yet */
};

void store_totals(struct store *store, struct store_totals *out);

#endif
