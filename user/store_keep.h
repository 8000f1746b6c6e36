/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Retention: drops the oldest chunks when they are too old or the files too large,
 * in steps that keep pace with what is written; gives space back; keeps the
 * write-ahead log short.
 */
#ifndef PORTWAKE_USER_STORE_KEEP_H
#define PORTWAKE_USER_STORE_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "user/store_file.h"

struct sqlite3_stmt;

#define KEEP_STATEMENTS 20

struct keep {
	struct store_file *file;	/* borrowed */
	uint64_t keep_ns, max_size;	/* 0: without bound */
	uint64_t wal_soft;		/* bytes of log from which on it is checkpointed */
	uint64_t wal_tried;		/* and those with which that was last tried before a transaction */
	int64_t session;		/* the one that runs, */
	int64_t offset;			/* wall time less boottime, that retention goes by, */
	int64_t set_to;			/* and as it stands since set_at, */
	uint64_t set_at;		/* when it was last set far */
	uint32_t dropped;		/* chunks since what they referred to was last looked through */
	struct sqlite3_stmt *statements[KEEP_STATEMENTS];
};

/* Prepares for file's connection; keep_finish() before that is closed or opened again. 0 or -EIO. */
int keep_prepare(struct keep *keep);
void keep_finish(struct keep *keep);

/*
 * The wall clock was set: what earlier sessions left is as old as it says, once it has stood for an hour. One that is wrong
 * for a moment drops no history.
 */
void keep_clock(struct keep *keep, uint64_t at, int64_t offset);

/* Rows that one transaction may write without passing the bound of size. */
uint32_t keep_rows_max(const struct keep *keep);

/*
 * Inside a transaction that is about to write so many rows: makes room, at a bounded cost a row. filling: the chunk that
 * is being filled, which stays. 0 or -EIO.
 */
int keep_room(struct keep *keep, uint32_t rows, uint64_t now, int64_t filling);

/* Outside of one, when there is time: the same, then gives free pages back. *more: there is more to do. 0 or -EIO. */
int keep_tidy(struct keep *keep, uint64_t now, int64_t filling, bool *more);

/*
 * Before a transaction. 0; -EIO; -EBUSY: a reader keeps the log from being emptied, and with more of it the bound of size
 * would not hold.
 */
int keep_log(struct keep *keep);

/* After a commit. 0; -EIO; -EBUSY: readers keep the log from being emptied, and it is long. */
int keep_checkpoint(struct keep *keep);

#endif
