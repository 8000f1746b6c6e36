/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rows of the writer's, as the database's tables have them: values that rows share by number, chunks and their tail. All
 * inside a transaction that the caller begins; one that fails puts put.state back and forgets texts and endpoints.
 * Each that returns int: 0, -ENOMEM, or -EIO.
 */
#ifndef PORTWAKE_USER_STORE_PUT_H
#define PORTWAKE_USER_STORE_PUT_H

#include <stdbool.h>
#include <stdint.h>

#include "user/store_dict.h"
#include "user/store_row.h"

struct sqlite3;
struct sqlite3_stmt;

#define PUT_STATEMENTS 8

/* The chunk that is being filled. id 0: none. */
struct filling {
	int64_t id, origin, since, until;
	uint64_t began;			/* when its first row came */
	uint32_t lifetimes, denials, in_tail;
	int64_t text, endpoint, process;	/* floors */
	bool fresh;			/* not in the table yet */
};

/* What a transaction changes, and one that fails puts back. */
struct put_state {
	struct filling tail;
	int64_t next_chunk;
	uint32_t process_floor;
	uint32_t text_floor;		/* of what those processes refer to */
};

struct put {
	struct put_state state;
	struct dict texts, endpoints;
	int64_t session;
	uint64_t denials;		/* calls, since the caller set it to 0 */
	struct sqlite3_stmt *statements[PUT_STATEMENTS];
};

/* A lifetime's values as a row has them. */
struct span {
	uint64_t since, until, closed_at, tw_at;
	uint32_t process, holder;
	uint32_t bits;
};

static inline struct span span_of(const struct row *row)
{
	return (struct span){ row->since, row->until, row->closed_at, row->tw_at, row->process, row->holder, row->bits };
}

static inline void put_lower(int64_t *floor, int64_t value)
{
	if (value < *floor)
		*floor = value;
}

/* Prepares for a connection; put_finish() before that is closed. */
int put_prepare(struct put *put, struct sqlite3 *db);
void put_finish(struct put *put);

int put_process(struct put *put, const struct row *row);
int put_endpoint(struct put *put, const struct row *row, uint32_t *number);
void put_bind_remote(struct sqlite3_stmt *statement, int at, const struct row *row);
uint32_t put_bits(const struct row *row, uint32_t bits);

/* A chunk of its own: begun, filled with at most SCHEMA_NUMBER_MAX rows in the order of their ports, and told. */
void put_begin(struct put *put, struct filling *chunk, uint64_t time);
int put_lifetime(struct put *put, struct filling *chunk, const struct row *row, uint32_t number);
/* What a chunk spans by now; id 0: of none. */
int put_chunk(struct put *put, struct filling *chunk);

/* Into the chunk that is being filled, which is begun where there is none. */
int put_tail(struct put *put, const struct row *row, const struct span *span);
int put_denial(struct put *put, const struct row *row);

#endif
