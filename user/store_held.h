/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lifetimes that last: held in a table of their own until they end, or a look does not find them any more. What an
 * earlier session of this boot held and this one finds is one lifetime: since when and whose it is are the earlier's word.
 * Each that returns int: 0, -ENOMEM, or -EIO, inside a transaction of the caller's.
 */
#ifndef PORTWAKE_USER_STORE_HELD_H
#define PORTWAKE_USER_STORE_HELD_H

#include "user/store_put.h"

#define HELD_STATEMENTS 8

struct held {
	struct put *put;		/* borrowed */
	const char *boot;		/* id of this one; borrowed */
	struct sqlite3_stmt *statements[HELD_STATEMENTS];
};

/* Prepares for a connection; held_finish() before that is closed. */
int held_prepare(struct held *held, struct sqlite3 *db);
void held_finish(struct held *held);

/* It lasts. */
int held_put(struct held *held, const struct row *row);

/* It ended. 1: it is written; 0: its turn comes with the others. */
int held_end(struct held *held, const struct row *row);

/* Ends what `sync` did not find, of this boot or of others; until at most `known`. */
int held_settle(struct held *held, int64_t sync, bool this_boot, int64_t known);

#endif
