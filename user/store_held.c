/* SPDX-License-Identifier: GPL-2.0 */
/* Lifetimes that last: held, adopted, settled. */
#include "user/store_held.h"

#include "user/schema.h"
#include "user/sql.h"

enum {
	ADD_HELD, DROP_HELD, FIND_HELD, FIND_FLOOR, ENDED, END_CHUNK, END_HELD, DROP_ENDED, STATEMENTS
};

_Static_assert(STATEMENTS == HELD_STATEMENTS, "room for every statement");

#define ENDED_WHERE "FROM held h JOIN session s ON s.id = h.session WHERE h.session = ?1 AND sync < ?2"

/* Of SQLite's operators on bits none binds closer than another. */
static const char *const texts[STATEMENTS] = {
	[ADD_HELD] = "INSERT OR REPLACE INTO held VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[DROP_HELD] = "DELETE FROM held WHERE port = ? AND cookie = ? AND generation = ? AND session = ?",
	/* Of this session by its name; of an earlier one, where generations count anew, by the cookie. */
	[FIND_HELD] = "SELECT session, generation, since, process, bits, closed_at, waited_at, holder FROM held "
		      "WHERE port = ?1 AND cookie = ?2 AND ((session = ?3 AND generation = ?4) OR session < ?3) "
		      "ORDER BY session DESC LIMIT 1",
	[FIND_FLOOR] = "SELECT min(coalesce(exe, 1 << 40), coalesce(cgroup, 1 << 40), coalesce(container, 1 << 40), "
		       "coalesce(cmdline, 1 << 40)) FROM process WHERE id = ?",
	/* Lifetimes of a session that a later look did not find: they ended, nobody knows when or how. */
	[ENDED] = "SELECT DISTINCT session FROM held h JOIN session s ON s.id = h.session "
		  "WHERE sync < ?1 AND (boot = ?2) = ?3 LIMIT 1",
	[END_CHUNK] = "INSERT INTO chunk SELECT ?3, ?1, min(last, ?4), min(since), max(since, max(min(last, ?4))), count(*), 0, "
		      "coalesce(min((SELECT min(coalesce(exe, 1 << 40), coalesce(cgroup, 1 << 40), coalesce(container, 1 << 40), "
		      "coalesce(cmdline, 1 << 40)) FROM process WHERE id = h.process)), 1 << 40), coalesce(min(endpoint), 1 << 40), "
		      "coalesce(min(min(coalesce(process, 1 << 40), coalesce(holder, 1 << 40))), 1 << 40) " ENDED_WHERE,
	[END_HELD] = "INSERT INTO lifetime SELECT (?3 << 34) | (port << 18) | min(row_number() OVER (PARTITION BY port) - 1, 262143), "
		     "max(since, min(last, ?4)) - min(last, ?4), max(since, min(last, ?4)) - since, "
		     "max(0, max(since, min(last, ?4)) - closed_at), max(0, max(since, min(last, ?4)) - waited_at), "
		     "cookie, process, endpoint, remote, (bits & ~128) | 512 | (7 << 10), holder "
		     ENDED_WHERE " ORDER BY port",
	[DROP_ENDED] = "DELETE FROM held WHERE session = ?1 AND sync < ?2",
};

int held_prepare(struct held *h, struct sqlite3 *db)
{
	return sql_prepare(db, texts, STATEMENTS, h->statements);
}

void held_finish(struct held *h)
{
	sql_finish(h->statements, STATEMENTS);
}

/* How far it had come to its end: of what was before this session nobody tells but the one that saw it. */
static void adopt_ends(sqlite3_stmt *s, struct span *span)
{
	if (sqlite3_column_type(s, 5) != SQLITE_NULL)
		span->closed_at = (uint64_t)sqlite3_column_int64(s, 5);
	if (sqlite3_column_type(s, 6) != SQLITE_NULL)
		span->tw_at = (uint64_t)sqlite3_column_int64(s, 6);
	if (sqlite3_column_type(s, 7) != SQLITE_NULL)
		span->holder = (uint32_t)sqlite3_column_int64(s, 7);
}

/* What was written of this one, by this session or one before: since when and whose it is, where this one cannot know. 1: found. */
static int adopt(struct held *h, const struct row *row, struct span *span)
{
	sqlite3_stmt *s = h->statements[FIND_HELD];
	int64_t session = 0, generation = 0;
	int r, found;

	sqlite3_bind_int64(s, 1, row->port);
	sqlite3_bind_int64(s, 2, (int64_t)row->cookie);
	sqlite3_bind_int64(s, 3, h->put->session);
	sqlite3_bind_int64(s, 4, row->generation);
	r = sqlite3_step(s);
	found = r == SQLITE_ROW;
	if (found) {
		uint32_t kept = SCHEMA_HOW | SCHEMA_FLAGS << SCHEMA_FLAGS_SHIFT | SCHEMA_BEFORE;
		uint32_t bits = (uint32_t)sqlite3_column_int64(s, 4);

		session = sqlite3_column_int64(s, 0);
		generation = sqlite3_column_int64(s, 1);
		span->since = (uint64_t)sqlite3_column_int64(s, 2);
		if (sqlite3_column_type(s, 3) != SQLITE_NULL)
			span->process = (uint32_t)sqlite3_column_int64(s, 3);
		adopt_ends(s, span);
		span->bits = (span->bits & ~kept) | (bits & kept) | (bits & SCHEMA_LISTENED);
	}
	if (sqlite3_reset(s) || (r != SQLITE_ROW && r != SQLITE_DONE))
		return -EIO;
	if (found && session < h->put->session)
		r = SQL_RUN(h->statements[DROP_HELD], row->port, (int64_t)row->cookie, generation, session);
	else
		r = 0;
	return r ? r : found;
}

int held_put(struct held *h, const struct row *row)
{
	sqlite3_stmt *s = h->statements[ADD_HELD];
	struct span span = span_of(row);
	uint32_t endpoint;

	if (row->bits & SCHEMA_BEFORE && adopt(h, row, &span) < 0)
		return -EIO;
	if (put_endpoint(h->put, row, &endpoint))
		return -EIO;
	sqlite3_bind_int64(s, 1, row->port);
	sqlite3_bind_int64(s, 2, (int64_t)row->cookie);
	sqlite3_bind_int64(s, 3, row->generation);
	sqlite3_bind_int64(s, 4, h->put->session);
	sqlite3_bind_int64(s, 5, row->sync);
	sqlite3_bind_int64(s, 6, (int64_t)span.since);
	sql_bind_nonzero(s, 7, span.closed_at);
	sql_bind_nonzero(s, 8, span.tw_at);
	sql_bind_nonzero(s, 9, span.process);
	sqlite3_bind_int64(s, 10, endpoint);
	put_bind_remote(s, 11, row);
	sqlite3_bind_int64(s, 12, put_bits(row, span.bits));
	sql_bind_nonzero(s, 13, span.holder);
	return sql_run(s);
}

/* The texts of a process of long ago are still needed. */
static int lower_floor(struct held *h, uint32_t process)
{
	int64_t text = INT64_MAX;

	sqlite3_bind_int64(h->statements[FIND_FLOOR], 1, process);
	if (sql_number(h->statements[FIND_FLOOR], &text))
		return -EIO;
	put_lower(&h->put->state.tail.text, text);
	return 0;
}

int held_end(struct held *h, const struct row *row)
{
	struct span span = span_of(row);
	int found = 0, r;

	if (row->bits & SCHEMA_BEFORE)
		found = adopt(h, row, &span);
	if (found < 0)
		return found;
	r = row->stored ? SQL_RUN(h->statements[DROP_HELD], row->port, (int64_t)row->cookie, row->generation, h->put->session) : 0;
	if (r || !found)
		return r;
	r = put_tail(h->put, row, &span);
	if (!r && span.process && span.process < h->put->state.process_floor)
		r = lower_floor(h, span.process);
	if (!r && span.holder && span.holder < h->put->state.process_floor)
		r = lower_floor(h, span.holder);
	return r ? r : 1;
}

int held_settle(struct held *h, int64_t sync, bool this_boot, int64_t known)
{
	static const int steps[] = { END_CHUNK, END_HELD, DROP_ENDED };
	sqlite3_stmt *s = h->statements[ENDED];

	for (;;) {
		int64_t session = 0;

		sqlite3_bind_int64(s, 1, sync);
		sqlite3_bind_text(s, 2, h->boot, -1, SQLITE_STATIC);
		sqlite3_bind_int64(s, 3, this_boot);
		if (sql_number(s, &session))
			return -EIO;
		if (!session)
			return 0;
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			const int64_t values[] = { session, sync, h->put->state.next_chunk, known };
			sqlite3_stmt *step = h->statements[steps[i]];

			if (sql_run_with(step, values, sqlite3_bind_parameter_count(step)))
				return -EIO;
		}
		h->put->state.next_chunk++;
	}
}
