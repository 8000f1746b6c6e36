/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A history's database, opened for reading: its sessions, their clocks, its chunks, and what its rows refer to by number.
 * For the questions (history.c, history_blind.c) alone.
 */
#ifndef PORTWAKE_USER_HISTORY_DB_H
#define PORTWAKE_USER_HISTORY_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"
#include "user/history_clock.h"
#include "user/map.h"
#include "user/sql.h"

struct session {
	uint32_t id, boot_number;
	int64_t started, ready, last, forgotten;	/* ready INT64_MAX: never */
	bool stopped, runs;
	bool no_denied;			/* it did without them; not in the filter's words */
	char *boot, *filter;
	char *only;			/* the filter in words */
};

struct chunk {
	int64_t id, origin, since, until;
	uint32_t session;		/* index */
	bool denials;			/* there are some */
};

struct endpoint {
	uint32_t netns;
	uint8_t proto;
	struct event_addr addr;
};

/* A process as its row has it; NULL: not known. */
struct known_process {
	uint32_t pid, uid;
	uint64_t start;
	const char *comm, *exe, *cgroup, *container, *cmdline;
	char strings[];
};

enum { BY_ID, BY_TAIL, BY_HELD, DENIED, BY_PROCESS, BY_ENDPOINT, STATEMENTS };

struct history {
	sqlite3 *db;
	int lock;			/* a descriptor to ask for the recorder's lock */
	char *path;
	char why[256];
	sqlite3_stmt *statements[STATEMENTS];
	struct session *sessions;
	size_t session_count, session_size;
	struct chunk *chunks;
	size_t chunk_count, chunk_size;
	struct walls walls;
	struct map processes, endpoints;	/* by number */
};

/* 0, or -errno with why: history_open()'s. */
int history_db_open(const char *path, struct history **out, char *why, size_t why_size);
void history_db_free(struct history **history);

/* -errno of SQLite's last error, or for want of memory, with words in history->why. */
int history_db_error(struct history *history);
int history_db_no_memory(struct history *history);

/* Forgets what numbers stood for where that has become much: before a row, whose numbers then stay known together. */
void history_db_trim(struct history *history);

/* What a number stands for; *out NULL: nothing. Valid until history_db_trim(). 0 or -errno. */
int history_db_process(struct history *history, uint32_t number, const struct known_process **out);
int history_db_endpoint(struct history *history, uint32_t number, const struct endpoint **out);

/* Sessions by number, as their index; a chunk by its own, NULL: there is none. */
uint32_t history_db_session(const struct history *history, int64_t id);
const struct chunk *history_db_chunk(const struct history *history, int64_t id);

/* Until when a session's word counts: of one that runs, what it does not say is not so. */
int64_t history_db_known_until(const struct session *session);

/* An array with room for one more than count; NULL without memory, and the old one stays. */
void *history_db_grow(void *array, size_t count, size_t *size, size_t each);

#endif
