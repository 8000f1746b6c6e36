/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rows to tables. A large batch becomes a chunk of its own, sorted by port, so
 * that it is appended page by page. Small ones gather in `tail` as they come, and
 * are sorted when they are worth it: inserted by port one by one, each would
 * rewrite a page.
 */
#include "user/store_write.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/utsname.h>

#include "user/schema.h"
#include "user/sql.h"
#include "user/store_dict.h"
#include "user/store_keep.h"

#define DIRECT_MIN	8192		/* lifetimes of a batch that are worth a chunk */
#define TAIL_MAX	16384		/* rows that the tail gathers */
#define CHUNK_NS	3600000000000ULL	/* and how long it does so; of a short retention the 16th */
#define SEGMENTS_MAX	32		/* 131,072 rows: a chunk numbers twice as many */
#define VERSION		"0.1"

enum {
	BEGIN, COMMIT, ROLLBACK, ADD_SESSION, LIFE, READY, STOP, ADD_CLOCK, ADD_GAP, ADD_TEXT, ADD_ENDPOINT, ADD_PROCESS,
	ADD_CHUNK, SET_CHUNK, ADD_LIFETIME, ADD_TAIL, SORT_TAIL, EMPTY_TAIL, ADD_HELD, DROP_HELD, FIND_HELD, FIND_FLOOR,
	ADD_DENIAL, ENDED, END_CHUNK, END_HELD, DROP_ENDED, STATEMENTS
};

#define ENDED_WHERE "FROM held h JOIN session s ON s.id = h.session WHERE h.session = ?1 AND sync < ?2"

/* Of SQLite's operators on bits none binds closer than another. */
static const char *const texts[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[ADD_SESSION] = "INSERT INTO session VALUES(?1, ?2, ?3, NULL, ?3, NULL, 0, ?4, ?5, ?6, ?7, ?8)",
	[LIFE] = "UPDATE session SET last = max(last, ?2) WHERE id = ?1",
	[READY] = "UPDATE session SET ready = coalesce(ready, ?2) WHERE id = ?1",
	[STOP] = "UPDATE session SET stopped = ?2, last = max(last, ?2) WHERE id = ?1",
	[ADD_CLOCK] = "INSERT OR REPLACE INTO clock VALUES(?1, ?2, ?3)",
	[ADD_GAP] = "INSERT INTO gap(session, since, until, lost, lost_allocations, reason) VALUES(?, ?, ?, ?, ?, ?)",
	[ADD_TEXT] = "INSERT INTO text VALUES(?, ?)",
	[ADD_ENDPOINT] = "INSERT INTO endpoint VALUES(?, ?, ?, ?)",
	[ADD_PROCESS] = "INSERT INTO process VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_CHUNK] = "INSERT INTO chunk VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[SET_CHUNK] = "UPDATE chunk SET since = ?2, until = ?3, lifetimes = ?4, denials = ?5, text = ?6, endpoint = ?7, "
		      "process = ?8 WHERE id = ?1",
	[ADD_LIFETIME] = "INSERT INTO lifetime VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_TAIL] = "INSERT INTO tail VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[SORT_TAIL] = "INSERT INTO lifetime SELECT (id & ~17179869183) | (port << 18) | (id & 262143), ended, held, closed, waited, "
		      "cookie, process, endpoint, remote, bits, holder FROM tail ORDER BY id >> 34, port, id",
	[EMPTY_TAIL] = "DELETE FROM tail",
	[ADD_HELD] = "INSERT OR REPLACE INTO held VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[DROP_HELD] = "DELETE FROM held WHERE port = ? AND cookie = ? AND generation = ?",
	/* Of this session by its name; of an earlier one, where generations count anew, by the cookie. */
	[FIND_HELD] = "SELECT session, generation, since, process, bits FROM held WHERE port = ?1 AND cookie = ?2 AND "
		      "((session = ?3 AND generation = ?4) OR session < ?3) ORDER BY session DESC LIMIT 1",
	[FIND_FLOOR] = "SELECT min(coalesce(exe, 1 << 40), coalesce(cgroup, 1 << 40), coalesce(container, 1 << 40), "
		       "coalesce(cmdline, 1 << 40)) FROM process WHERE id = ?",
	[ADD_DENIAL] = "INSERT INTO denial VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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

/* The chunk that is being filled. id 0: none. */
struct filling {
	int64_t id, origin, since, until;
	uint64_t began;			/* when its first row came */
	uint32_t lifetimes, denials, in_tail;
	int64_t text, endpoint, process;	/* floors */
	bool fresh;			/* not in the table yet */
};

/* What a transaction changes, and one that fails puts back. */
struct state {
	struct filling tail;
	int64_t next_chunk;
	uint32_t process_floor;
};

struct writer {
	struct store_file *file;
	struct writer_options options;
	struct keep keep;
	struct state state;
	struct dict texts, endpoints;
	int64_t session;
	uint64_t *keys, *spare;		/* to sort a batch by */
	size_t key_count;
	size_t segments_max;
	uint64_t now;			/* as last told */
	struct writer_count count;
	sqlite3_stmt *statements[STATEMENTS];
};

/* A lifetime's values as a row has them. */
struct span {
	uint64_t since, until, closed_at, tw_at;
	uint32_t process;
	uint32_t bits;
};

static int run(struct writer *w, int statement)
{
	return sql_run(w->statements[statement]);
}

/* ---- values that rows share ---- */

/* 0: NULL. *number is 0 for text NULL. */
static int text_number(struct writer *w, const char *text, uint32_t *number)
{
	sqlite3_stmt *s = w->statements[ADD_TEXT];
	bool fresh;

	*number = 0;
	if (!text)
		return 0;
	*number = dict_number(&w->texts, text, strlen(text), &fresh);
	if (!*number)
		return -ENOMEM;
	if (!fresh)
		return 0;
	sqlite3_bind_int64(s, 1, *number);
	sqlite3_bind_text(s, 2, text, -1, SQLITE_STATIC);
	return sql_run(s);
}

struct endpoint {
	uint32_t netns;
	uint8_t proto, family;
	uint8_t bytes[16];
	uint8_t pad[2];
};

static int add_endpoint(struct writer *w, uint32_t number, const struct endpoint *endpoint)
{
	sqlite3_stmt *s = w->statements[ADD_ENDPOINT];
	char text[INET6_ADDRSTRLEN];

	sqlite3_bind_int64(s, 1, number);
	sqlite3_bind_int64(s, 2, endpoint->netns);
	sqlite3_bind_int64(s, 3, endpoint->proto);
	if (endpoint->family && inet_ntop(endpoint->family, endpoint->bytes, text, sizeof(text)))
		sqlite3_bind_text(s, 4, text, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(s, 4);
	return sql_run(s);
}

static size_t addr_size(const struct event_addr *addr)
{
	return addr->family == AF_INET ? 4 : addr->family == AF_INET6 ? 16 : 0;
}

static int endpoint_number(struct writer *w, const struct row *row, uint32_t *number)
{
	struct endpoint endpoint = { .netns = row->netns, .proto = row->proto, .family = row->addr.family };
	bool fresh;

	memcpy(endpoint.bytes, row->addr.bytes, addr_size(&row->addr));
	*number = dict_number(&w->endpoints, &endpoint, sizeof(endpoint), &fresh);
	if (!*number)
		return -ENOMEM;
	return fresh ? add_endpoint(w, *number, &endpoint) : 0;
}

static int add_process(struct writer *w, const struct row *row)
{
	const struct row_process *p = row->person;
	const char *const strings[] = { p->exe, p->cgroup, p->container, p->cmdline };
	sqlite3_stmt *s = w->statements[ADD_PROCESS];
	uint32_t number;

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (text_number(w, strings[i], &number))
			return -EIO;
		sql_bind_nonzero(s, 7 + (int)i, number);
	}
	sqlite3_bind_int64(s, 1, row->process);
	sqlite3_bind_int64(s, 2, p->pid);
	sql_bind_nonzero(s, 3, p->start);
	sqlite3_bind_int64(s, 4, p->exec_id);
	sqlite3_bind_int64(s, 5, p->uid);
	sqlite3_bind_text(s, 6, p->comm, -1, SQLITE_STATIC);
	return sql_run(s);
}

/* IPv4 in six bytes, with the sign that makes it so. */
static void bind_remote(sqlite3_stmt *s, int at, const struct row *row)
{
	uint8_t bytes[18];
	uint32_t addr;

	if (!row->remote.family) {
		sqlite3_bind_null(s, at);
	} else if (row->remote.family == AF_INET) {
		memcpy(&addr, row->remote.bytes, sizeof(addr));
		sqlite3_bind_int64(s, at, (int64_t)(int32_t)ntohl(addr) * 65536 + row->remote_port);
	} else {
		memcpy(bytes, row->remote.bytes, 16);
		bytes[16] = (uint8_t)(row->remote_port >> 8);
		bytes[17] = (uint8_t)row->remote_port;
		sqlite3_bind_blob(s, at, bytes, sizeof(bytes), SQLITE_TRANSIENT);
	}
}

/* ---- chunks ---- */

static void lower(int64_t *floor, int64_t value)
{
	if (value < *floor)
		*floor = value;
}

static void begin_filling(struct writer *w, struct filling *c, uint64_t time)
{
	*c = (struct filling){
		.id = w->state.next_chunk++, .origin = (int64_t)time, .since = (int64_t)time, .until = (int64_t)time,
		.began = time, .text = w->texts.floor, .endpoint = w->endpoints.floor, .process = w->state.process_floor,
		.fresh = true,
	};
}

static int store_filling(struct writer *w, struct filling *c)
{
	if (!c->id)
		return 0;
	if (!c->fresh)
		return SQL_RUN(w->statements[SET_CHUNK], c->id, c->since, c->until, c->lifetimes, c->denials, c->text,
			       c->endpoint, c->process);
	c->fresh = false;
	return SQL_RUN(w->statements[ADD_CHUNK], c->id, w->session, c->origin, c->since, c->until, c->lifetimes, c->denials,
		       c->text, c->endpoint, c->process);
}

static void span_chunk(struct filling *c, const struct span *span)
{
	if ((int64_t)span->since < c->since)
		c->since = (int64_t)span->since;
	if ((int64_t)span->until > c->until)
		c->until = (int64_t)span->until;
	c->lifetimes++;
}

static uint32_t bits_of(const struct row *row, uint32_t bits)
{
	uint32_t generation = row->generation ? row->generation - 1 : 0;

	return bits | (generation < 512 ? generation << SCHEMA_GENERATION_SHIFT : 511U << SCHEMA_GENERATION_SHIFT);
}

/* ended to holder, which `lifetime` and `tail` have alike, from column 2 on. */
static int bind_lifetime(struct writer *w, sqlite3_stmt *s, const struct filling *c, const struct row *row,
			 const struct span *span)
{
	uint32_t endpoint;

	if (endpoint_number(w, row, &endpoint))
		return -EIO;
	sqlite3_bind_int64(s, 2, (int64_t)span->until - c->origin);
	sqlite3_bind_int64(s, 3, (int64_t)(span->until - span->since));
	if (span->closed_at)
		sqlite3_bind_int64(s, 4, (int64_t)(span->until - span->closed_at));
	else
		sqlite3_bind_null(s, 4);
	if (span->tw_at)
		sqlite3_bind_int64(s, 5, (int64_t)(span->until - span->tw_at));
	else
		sqlite3_bind_null(s, 5);
	sqlite3_bind_int64(s, 6, (int64_t)row->cookie);
	sql_bind_nonzero(s, 7, span->process);
	sqlite3_bind_int64(s, 8, endpoint);
	bind_remote(s, 9, row);
	sqlite3_bind_int64(s, 10, bits_of(row, span->bits));
	sql_bind_nonzero(s, 11, row->holder);
	return 0;
}

static int add_to_tail(struct writer *w, const struct row *row, const struct span *span)
{
	struct filling *c = &w->state.tail;
	sqlite3_stmt *s = w->statements[ADD_TAIL];
	int r;

	if (!c->id)
		begin_filling(w, c, span->until);
	r = bind_lifetime(w, s, c, row, span);
	if (r)
		return r;
	sqlite3_bind_int64(s, 1, schema_id(c->id, 0, c->in_tail++));
	sqlite3_bind_int64(s, 12, row->port);
	lower(&c->process, span->process ? span->process : c->process);
	span_chunk(c, span);
	return sql_run(s);
}

static struct span span_of(const struct row *row)
{
	return (struct span){ row->since, row->until, row->closed_at, row->tw_at, row->process, row->bits };
}

/* ---- lifetimes that last ---- */

/* What was written of this one, by this session or one before: since when and whose it is, where this one cannot know. 1: found. */
static int adopt(struct writer *w, const struct row *row, struct span *span)
{
	sqlite3_stmt *s = w->statements[FIND_HELD];
	int64_t session = 0, generation = 0;
	int r, found;

	sqlite3_bind_int64(s, 1, row->port);
	sqlite3_bind_int64(s, 2, (int64_t)row->cookie);
	sqlite3_bind_int64(s, 3, w->session);
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
		span->bits = (span->bits & ~kept) | (bits & kept) | (bits & SCHEMA_LISTENED);
	}
	if (sqlite3_reset(s) || (r != SQLITE_ROW && r != SQLITE_DONE))
		return -EIO;
	if (found && session < w->session)
		r = SQL_RUN(w->statements[DROP_HELD], row->port, (int64_t)row->cookie, generation);
	else
		r = 0;
	return r ? r : found;
}

static int write_held(struct writer *w, const struct row *row)
{
	sqlite3_stmt *s = w->statements[ADD_HELD];
	struct span span = span_of(row);
	uint32_t endpoint;

	if (row->bits & SCHEMA_BEFORE && adopt(w, row, &span) < 0)
		return -EIO;
	if (endpoint_number(w, row, &endpoint))
		return -EIO;
	sqlite3_bind_int64(s, 1, row->port);
	sqlite3_bind_int64(s, 2, (int64_t)row->cookie);
	sqlite3_bind_int64(s, 3, row->generation);
	sqlite3_bind_int64(s, 4, w->session);
	sqlite3_bind_int64(s, 5, row->sync);
	sqlite3_bind_int64(s, 6, (int64_t)span.since);
	sql_bind_nonzero(s, 7, span.closed_at);
	sql_bind_nonzero(s, 8, span.tw_at);
	sql_bind_nonzero(s, 9, span.process);
	sqlite3_bind_int64(s, 10, endpoint);
	bind_remote(s, 11, row);
	sqlite3_bind_int64(s, 12, bits_of(row, span.bits));
	sql_bind_nonzero(s, 13, row->holder);
	return sql_run(s);
}

/* The texts of a process of long ago are still needed. */
static int lower_floor(struct writer *w, uint32_t process)
{
	int64_t text = INT64_MAX;

	sqlite3_bind_int64(w->statements[FIND_FLOOR], 1, process);
	if (sql_number(w->statements[FIND_FLOOR], &text))
		return -EIO;
	lower(&w->state.tail.text, text);
	return 0;
}

/* 1: it is written; 0: its turn comes with the others; -EIO. */
static int end_held(struct writer *w, const struct row *row)
{
	struct span span = span_of(row);
	int found = 0, r;

	if (row->bits & SCHEMA_BEFORE)
		found = adopt(w, row, &span);
	if (found < 0)
		return found;
	r = row->stored ? SQL_RUN(w->statements[DROP_HELD], row->port, (int64_t)row->cookie, row->generation) : 0;
	if (r || !found)
		return r;
	r = add_to_tail(w, row, &span);
	if (!r && span.process && span.process < w->state.process_floor)
		r = lower_floor(w, span.process);
	return r ? r : 1;
}

/* Ends what `sync` did not find, of this boot or of others; until at most `known`. */
static int settle(struct writer *w, int64_t sync, bool this_boot, int64_t known)
{
	static const int steps[] = { END_CHUNK, END_HELD, DROP_ENDED };
	sqlite3_stmt *s = w->statements[ENDED];

	for (;;) {
		int64_t session = 0;

		sqlite3_bind_int64(s, 1, sync);
		sqlite3_bind_text(s, 2, w->options.boot, -1, SQLITE_STATIC);
		sqlite3_bind_int64(s, 3, this_boot);
		if (sql_number(s, &session))
			return -EIO;
		if (!session)
			return 0;
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			const int64_t values[] = { session, sync, w->state.next_chunk, known };
			sqlite3_stmt *step = w->statements[steps[i]];

			if (sql_run_with(step, values, sqlite3_bind_parameter_count(step)))
				return -EIO;
		}
		w->state.next_chunk++;
	}
}

/* ---- the rest ---- */

static int write_denial(struct writer *w, const struct row *row)
{
	struct filling *c = &w->state.tail;
	sqlite3_stmt *s = w->statements[ADD_DENIAL];
	uint32_t endpoint, detail;

	if (!c->id)
		begin_filling(w, c, row->since);
	if (endpoint_number(w, row, &endpoint) || text_number(w, row->detail, &detail))
		return -EIO;
	sqlite3_bind_int64(s, 1, c->id << SCHEMA_CHUNK_SHIFT | c->denials++);
	sqlite3_bind_int64(s, 2, (int64_t)row->since);
	sqlite3_bind_int64(s, 3, (int64_t)row->until);
	sqlite3_bind_int64(s, 4, row->count);
	sql_bind_nonzero(s, 5, row->process);
	sqlite3_bind_int64(s, 6, endpoint);
	sqlite3_bind_int64(s, 7, row->port);
	bind_remote(s, 8, row);
	sqlite3_bind_int64(s, 9, row->how);
	sqlite3_bind_int64(s, 10, row->bits);
	sqlite3_bind_int64(s, 11, row->cause);
	sqlite3_bind_int64(s, 12, row->traits);
	sql_bind_nonzero(s, 13, detail);
	lower(&c->since, (int64_t)row->since);
	if ((int64_t)row->until > c->until)
		c->until = (int64_t)row->until;
	w->count.denials += row->count;
	return sql_run(s);
}

static int write_gap(struct writer *w, const struct row *row)
{
	sqlite3_stmt *s = w->statements[ADD_GAP];

	sqlite3_bind_int64(s, 1, w->session);
	sqlite3_bind_int64(s, 2, (int64_t)row->since);
	sqlite3_bind_int64(s, 3, (int64_t)row->until);
	sqlite3_bind_int64(s, 4, (int64_t)row->lost);
	sqlite3_bind_int64(s, 5, (int64_t)row->lost_allocations);
	sqlite3_bind_text(s, 6, row->reason, -1, SQLITE_STATIC);
	return sql_run(s);
}

static int write_one(struct writer *w, const struct row *row)
{
	switch (row->kind) {
	case ROW_HELD:
		return write_held(w, row);
	case ROW_SETTLE:
		return settle(w, row->sync, true, (int64_t)row->until);
	case ROW_DENIAL:
		return write_denial(w, row);
	case ROW_PROCESS:
		return add_process(w, row);
	case ROW_READY:
		return SQL_RUN(w->statements[READY], w->session, (int64_t)row->since);
	case ROW_CLOCK:
		w->keep.wall_less_boot = row->offset;
		return SQL_RUN(w->statements[ADD_CLOCK], w->session, (int64_t)row->since, row->offset);
	default:
		return write_gap(w, row);
	}
}

/* ---- a batch ---- */

static const struct row *row_at(const struct segment *const *segments, uint64_t key)
{
	return &segments[key / SEGMENT_ROWS % SEGMENTS_MAX]->rows[key % SEGMENT_ROWS];
}

/* By port, those of one port in their order. Ports stand in bits 32 and on. */
static void sort_keys(struct writer *w)
{
	for (int shift = 32; shift < 48; shift += 8) {
		uint32_t starts[257] = { 0 };
		uint64_t *from = w->keys;

		for (size_t i = 0; i < w->key_count; i++)
			starts[(from[i] >> shift & 255) + 1]++;
		for (int i = 0; i < 256; i++)
			starts[i + 1] += starts[i];
		for (size_t i = 0; i < w->key_count; i++)
			w->spare[starts[from[i] >> shift & 255]++] = from[i];
		w->keys = w->spare;
		w->spare = from;
	}
}

/* All but plain lifetimes, in their order; those are noted. */
static int write_in_order(struct writer *w, const struct segment *const *segments, size_t count)
{
	w->key_count = 0;
	for (size_t i = 0; i < count; i++) {
		w->state.process_floor = segments[i]->process_floor;
		for (uint32_t k = 0; k < segments[i]->count; k++) {
			const struct row *row = &segments[i]->rows[k];
			bool lifetime = row->kind == ROW_LIFETIME;
			int r = 0;

			if (!lifetime)
				r = write_one(w, row);
			else if (row->stored || row->bits & SCHEMA_BEFORE)
				r = end_held(w, row);
			if (r < 0)
				return r;
			w->count.lifetimes += lifetime;
			if (lifetime && !r)
				w->keys[w->key_count++] = (uint64_t)row->port << 32 | i * SEGMENT_ROWS | k;
		}
	}
	return 0;
}

static int write_chunk(struct writer *w, const struct segment *const *segments)
{
	sqlite3_stmt *s = w->statements[ADD_LIFETIME];
	struct filling chunk;
	uint32_t number = 0;

	sort_keys(w);
	begin_filling(w, &chunk, row_at(segments, w->keys[0])->until);
	/* Its rows may refer to what earlier segments of the batch did. */
	chunk.process = segments[0]->process_floor;
	for (size_t i = 0; i < w->key_count; i++) {
		const struct row *row = row_at(segments, w->keys[i]);
		struct span span = span_of(row);

		if (bind_lifetime(w, s, &chunk, row, &span))
			return -EIO;
		sqlite3_bind_int64(s, 1, schema_id(chunk.id, row->port, number++));
		if (sql_run(s))
			return -EIO;
		span_chunk(&chunk, &span);
	}
	return store_filling(w, &chunk);
}

static int write_tail(struct writer *w, const struct segment *const *segments)
{
	int r = 0;

	for (size_t i = 0; i < w->key_count && !r; i++) {
		const struct row *row = row_at(segments, w->keys[i]);
		struct span span = span_of(row);

		r = add_to_tail(w, row, &span);
	}
	return r;
}

static int sort_tail(struct writer *w)
{
	int r = w->state.tail.in_tail ? run(w, SORT_TAIL) : 0;

	if (!r && w->state.tail.in_tail)
		r = run(w, EMPTY_TAIL);
	w->state.tail = (struct filling){ 0 };
	return r;
}

static int end_tail(struct writer *w, uint64_t life)
{
	struct filling *c = &w->state.tail;
	uint64_t age = w->options.keep_ns && w->options.keep_ns / 16 < CHUNK_NS ? w->options.keep_ns / 16 : CHUNK_NS;
	int r = store_filling(w, c);

	if (r || !c->id)
		return r;
	return c->in_tail + c->denials >= TAIL_MAX || (life > c->began && life - c->began > age) ? sort_tail(w) : 0;
}

static int write_batch(struct writer *w, const struct segment *const *segments, size_t count, uint64_t life)
{
	int r;

	dict_trim(&w->texts);
	dict_trim(&w->endpoints);
	r = write_in_order(w, segments, count);
	if (!r)
		r = w->key_count >= DIRECT_MIN ? write_chunk(w, segments) : write_tail(w, segments);
	if (!r)
		r = end_tail(w, life);
	return r || !life ? r : SQL_RUN(w->statements[LIFE], w->session, (int64_t)life);
}

static int fail(struct writer *w, int r, char *why, size_t why_size)
{
	if (r == -ENOMEM)
		snprintf(why, why_size, "%s: there is no memory to write to it: give it more", w->options.path);
	else
		r = store_file_error(w->file, why, why_size);
	if (store_file_db(w->file) && !sqlite3_get_autocommit(store_file_db(w->file)))
		(void)!run(w, ROLLBACK);
	dict_forget(&w->texts);
	dict_forget(&w->endpoints);
	return r;
}

static void let_go(struct writer *w)
{
	sql_finish(w->statements, STATEMENTS);
	keep_finish(&w->keep);
}

static int prepare(struct writer *w)
{
	w->keep.file = w->file;
	return sql_prepare(store_file_db(w->file), texts, STATEMENTS, w->statements) || keep_prepare(&w->keep) ? -EIO : 0;
}

/* After an error that may stick to the connection. */
static int again(struct writer *w, char *why, size_t why_size)
{
	int r;

	if (w->statements[0])
		return 0;
	r = store_file_again(w->file, why, why_size);
	if (!r && prepare(w)) {
		r = store_file_error(w->file, why, why_size);
		let_go(w);
	}
	return r;
}

static int transact(struct writer *w, const struct segment *const *segments, size_t count, uint64_t life)
{
	uint32_t rows = 0;
	int r = run(w, BEGIN);

	for (size_t i = 0; i < count; i++)
		rows += segments[i]->count;
	if (!r && rows)
		r = keep_room(&w->keep, rows, w->now, w->state.tail.id);
	if (!r)
		r = write_batch(w, segments, count, life);
	return r ? r : run(w, COMMIT);
}

int writer_write(struct writer *w, const struct segment *first, size_t count, uint64_t life, struct writer_count *out,
		 char *why, size_t why_size)
{
	const struct segment *segments[SEGMENTS_MAX];
	struct state before = w->state;
	int r = again(w, why, why_size);

	if (r)
		return r;
	/* The last one's link belongs to the other thread. */
	for (size_t i = 0; i < count && i < SEGMENTS_MAX; i++)
		segments[i] = i ? segments[i - 1]->next : first;
	w->count = (struct writer_count){ 0 };
	w->now = life ? life : w->now;
	r = transact(w, segments, count, life);
	if (r) {
		w->state = before;
		r = fail(w, r, why, why_size);
		if (r != -ENOSPC && r != -EBUSY && r != -ENOMEM)
			let_go(w);
		return r;
	}
	*out = w->count;
	return 0;
}

int writer_tidy(struct writer *w, uint64_t now, char *why, size_t why_size)
{
	bool more = false;
	int r = again(w, why, why_size);

	if (r)
		return r;
	r = keep_checkpoint(&w->keep);
	if (r == -EBUSY) {
		snprintf(why, why_size, "%s: a reader keeps its write-ahead log from being emptied (%llu MiB): end that one",
			 w->options.path, (unsigned long long)(store_file_wal(w->file) >> 20));
		return r;
	}
	if (!r)
		r = keep_tidy(&w->keep, now, w->state.tail.id, &more);
	return r ? fail(w, r, why, why_size) : more;
}

int writer_end(struct writer *w, uint64_t now, char *why, size_t why_size)
{
	int r = again(w, why, why_size);

	if (r)
		return r;
	r = SQL_RUN(w->statements[STOP], w->session, (int64_t)now);
	if (r)
		return fail(w, r, why, why_size);
	sqlite3_wal_checkpoint_v2(store_file_db(w->file), NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return 0;
}

/* ---- beginning ---- */

static int number(struct writer *w, const char *sql, int64_t *out)
{
	return sql_ask(store_file_db(w->file), sql, out);
}

static int find_numbers(struct writer *w, struct writer_start *start)
{
	int64_t chunk = 0, text = 0, endpoint = 0, process = 0, sync = 0, session = 0;

	if (number(w, "SELECT max(id) FROM chunk", &chunk) || number(w, "SELECT max(id) FROM text", &text) ||
	    number(w, "SELECT max(id) FROM endpoint", &endpoint) || number(w, "SELECT max(id) FROM process", &process) ||
	    number(w, "SELECT max(sync) FROM held", &sync) || number(w, "SELECT max(id) FROM session", &session))
		return -EIO;
	w->state.next_chunk = chunk + 1;
	w->texts.next = w->texts.floor = (uint32_t)text + 1;
	w->endpoints.next = w->endpoints.floor = (uint32_t)endpoint + 1;
	w->state.process_floor = (uint32_t)process + 1;
	w->session = w->keep.session = session + 1;
	*start = (struct writer_start){ .process = (uint32_t)process + 1, .sync = (uint32_t)sync + 1 };
	return 0;
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

static int add_session(struct writer *w)
{
	sqlite3_stmt *s = w->statements[ADD_SESSION];
	struct utsname host = { 0 };
	int r;

	uname(&host);
	sqlite3_bind_int64(s, 1, w->session);
	bind_text(s, 2, w->options.boot);
	sqlite3_bind_int64(s, 3, (int64_t)w->options.now);
	sqlite3_bind_int64(s, 4, getpid());
	bind_text(s, 5, host.nodename);
	bind_text(s, 6, host.release);
	bind_text(s, 7, VERSION);
	bind_text(s, 8, w->options.filter);
	r = sql_run(s);
	return r ? r : SQL_RUN(w->statements[ADD_CLOCK], w->session, (int64_t)w->options.now, w->options.offset);
}

/* What the one before left unsorted, and what it held in another boot. */
static int begin(struct writer *w, struct writer_start *start)
{
	int r = run(w, BEGIN);

	if (!r)
		r = find_numbers(w, start);
	if (!r)
		r = run(w, SORT_TAIL);
	if (!r)
		r = run(w, EMPTY_TAIL);
	if (!r)
		r = settle(w, INT64_MAX, false, INT64_MAX);
	if (!r)
		r = add_session(w);
	return r ? r : run(w, COMMIT);
}

int writer_open(const struct writer_options *options, struct writer **out, struct writer_start *start, char *why,
		size_t why_size)
{
	_cleanup_writer_ struct writer *w = pw_calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->options = *options;
	w->now = options->now;
	w->keep.keep_ns = options->keep_ns;
	w->keep.max_size = options->max_size;
	w->keep.wall_less_boot = options->offset;
	w->keys = pw_calloc(SEGMENTS_MAX * SEGMENT_ROWS, sizeof(*w->keys));
	w->spare = pw_calloc(SEGMENTS_MAX * SEGMENT_ROWS, sizeof(*w->spare));
	if (!w->keys || !w->spare)
		return -ENOMEM;
	r = store_file_open(options->path, &options->files, &w->file, why, why_size);
	if (r)
		return r;
	if (prepare(w) || begin(w, start))
		return fail(w, -EIO, why, why_size);
	w->segments_max = keep_rows_max(&w->keep) / SEGMENT_ROWS;
	*out = TAKE_PTR(w);
	return 0;
}

void writer_free(struct writer **writer)
{
	struct writer *w = *writer;

	if (!w)
		return;
	let_go(w);
	dict_forget(&w->texts);
	dict_forget(&w->endpoints);
	store_file_free(&w->file);
	pw_free(w->keys);
	pw_free(w->spare);
	pw_free(w);
	*writer = NULL;
}

size_t writer_segments(const struct writer *w)
{
	return w->segments_max < 1 ? 1 : w->segments_max > SEGMENTS_MAX ? SEGMENTS_MAX : w->segments_max;
}
