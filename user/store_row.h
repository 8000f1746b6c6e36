/* SPDX-License-Identifier: GPL-2.0 */
/* What passes from the tracer's thread to the writer's: plain values, so that nothing is shared. */
#ifndef PORTWAKE_USER_STORE_ROW_H
#define PORTWAKE_USER_STORE_ROW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "user/event.h"
#include "user/mem.h"

enum row_kind {
	ROW_LIFETIME,	/* one that ended */
	ROW_HELD,	/* one that lasts; sync: the look that found it */
	ROW_SETTLE,	/* every one that lasts was told with this sync: others that are held in the file ended */
	ROW_DENIAL,
	ROW_PROCESS,	/* what `process` of later rows means */
	ROW_READY,
	ROW_CLOCK,
	ROW_GAP,
};

/* Of one allocation; the strings stand behind it. */
struct row_process {
	uint64_t start;			/* 0: not known */
	uint32_t pid, uid, exec_id;
	char comm[PW_COMM];
	const char *exe, *cgroup, *container, *cmdline;	/* NULL: not known */
};

struct row {
	union {
		struct row_process *person;	/* ROW_PROCESS: owned */
		char *detail;			/* ROW_DENIAL: owned; NULL: none */
		const char *reason;		/* ROW_GAP: static */
		int64_t offset;			/* ROW_CLOCK: from since on */
	};
	uint64_t cookie;
	uint64_t since, until;		/* ns, CLOCK_BOOTTIME, like all times */
	union {
		struct {
			uint64_t closed_at, tw_at;	/* 0: never */
		};
		struct {
			uint64_t lost, lost_allocations;	/* ROW_GAP */
		};
	};
	uint32_t process, holder;	/* numbers that ROW_PROCESS gave; 0: none */
	uint32_t netns;
	uint32_t sync;			/* ROW_HELD, ROW_SETTLE */
	uint32_t count;			/* ROW_DENIAL: that many times */
	uint32_t bits;			/* user/schema.h, without the generation; ROW_DENIAL: errno */
	uint32_t generation;
	uint16_t port, remote_port;
	uint8_t kind;			/* enum row_kind */
	uint8_t proto;
	bool stored;			/* ROW_LIFETIME: it was told as one that lasts */
	uint8_t how, cause, traits;	/* ROW_DENIAL */
	struct event_addr addr, remote;
};

#define SEGMENT_ROWS 4096

/* Rows in the order in which they were told. */
struct segment {
	struct segment *next;
	uint64_t life;			/* all that happened before is in this or an earlier one; 0: not said */
	uint64_t serial;		/* one of its own */
	uint32_t process_floor;		/* its rows refer to processes from this number on */
	uint32_t count;
	uint32_t extra;			/* bytes that its rows own beside it */
	struct row rows[SEGMENT_ROWS];
};

static inline void row_done(struct row *row)
{
	if (row->kind == ROW_PROCESS)
		pw_free(row->person);
	else if (row->kind == ROW_DENIAL)
		pw_free(row->detail);
}

/* The next row of a segment that has room for it. */
static inline struct row *segment_row(struct segment *segment, enum row_kind kind)
{
	struct row *row = &segment->rows[segment->count++];

	memset(row, 0, sizeof(*row));
	row->kind = kind;
	return row;
}

static inline void segment_free(struct segment *segment)
{
	for (uint32_t i = 0; i < segment->count; i++)
		row_done(&segment->rows[i]);
	pw_free(segment);
}

#endif
