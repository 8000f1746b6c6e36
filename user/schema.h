/* SPDX-License-Identifier: GPL-2.0 */
/* What the writer and the readers of a history agree on beside the tables themselves (data/schema.sql). */
#ifndef PORTWAKE_USER_SCHEMA_H
#define PORTWAKE_USER_SCHEMA_H

#include <stdint.h>

#define SCHEMA_VERSION	1		/* PRAGMA user_version */
#define SCHEMA_ID	0x70776831	/* PRAGMA application_id, "pwh1" */

/*
 * A recorder holds an open-file-description lock on this byte of the database, which SQLite never locks nor reaches:
 * whoever may read the file can ask whether it runs.
 */
#define SCHEMA_LOCK_AT	(1LL << 60)

/* An idle recorder, called once a second, gives a sign of life when the last is older. */
#define SCHEMA_LIFE_NS	800000000ULL

/* Bytes of session.filter: a list of every other port, 6 bytes each, and two arguments of 128 KiB beside it. */
#define SCHEMA_FILTER_MAX	(1U << 19)

/* lifetime.id, denial.id, tail.id */
#define SCHEMA_CHUNK_SHIFT	34
#define SCHEMA_PORT_SHIFT	18
#define SCHEMA_NUMBER_MAX	((1U << SCHEMA_PORT_SHIFT) - 1)

static inline int64_t schema_id(int64_t chunk, uint16_t port, uint32_t number)
{
	return chunk << SCHEMA_CHUNK_SHIFT | (int64_t)port << SCHEMA_PORT_SHIFT | number;
}

static inline uint16_t schema_port(int64_t id)
{
	return (uint16_t)(id >> SCHEMA_PORT_SHIFT);
}

/* lifetime.bits: bits 0 to 2 enum pw_how, 3 to 5 enum pw_flag, 6 to 9 these, 10 to 12 enum cause, 13 to 21 errno, from 22 on
 * the generation less one. */
enum {
	SCHEMA_HOW		= 7,
	SCHEMA_FLAGS_SHIFT	= 3,
	SCHEMA_FLAGS		= 7,
	SCHEMA_LISTENED		= 1 << 6,
	SCHEMA_EXACT		= 1 << 7,
	SCHEMA_BEFORE		= 1 << 8,	/* held when first seen: when it began is not known */
	SCHEMA_END_UNKNOWN	= 1 << 9,
	SCHEMA_CAUSE_SHIFT	= 10,
	SCHEMA_CAUSE		= 7,
	SCHEMA_ERROR_SHIFT	= 13,
	SCHEMA_ERROR		= 511,
	SCHEMA_GENERATION_SHIFT	= 22,
};

#endif
