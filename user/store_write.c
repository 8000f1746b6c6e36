/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rows to tables. A large batch becomes a chunk of its own, sorted by port, so
 * that it is appended page by page. Small ones gather in `tail` as they come, and
 * are sorted when they are worth it: inserted by port one by one, each would
 * rewrite a page.
 */
#include "user/store_write.h"

#include <sys/utsname.h>

#include "user/schema.h"
#include "user/sql.h"
#include "user/store_held.h"
#include "user/store_keep.h"
#include "user/store_put.h"

#define DIRECT_MIN	8192		/* lifetimes of a batch that are worth a chunk */
#define TAIL_MAX	16384		/* rows that the tail gathers */
#define CHUNK_NS	3600000000000ULL	/* and how long it does so; of a short retention the 16th */
#define SEGMENTS_MAX	32		/* 131,072 rows: a chunk numbers twice as many */

enum {
	BEGIN, COMMIT, ROLLBACK, ADD_SESSION, LIFE, READY, STOP, ADD_CLOCK, ADD_GAP, SORT_TAIL, EMPTY_TAIL, STATEMENTS
};

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
	[SORT_TAIL] = ("INSERT INTO lifetime SELECT (id & ~17179869183) | (port << 18) | (id & 262143), ended, held, closed, waited, "
		       "cookie, process, endpoint, remote, bits, holder FROM tail ORDER BY id >> 34, port, id"),
	[EMPTY_TAIL] = "DELETE FROM tail",
};

struct writer {
	struct store_file *file;
	struct writer_options options;
	struct keep keep;
	struct put put;
	struct held held;
	uint64_t *keys, *spare;		/* to sort a batch by */
	size_t key_count;
	size_t segments_max;
	uint64_t now;			/* as last told */
	struct writer_count count;
	sqlite3_stmt *statements[STATEMENTS];
};

static int run(struct writer *w, int statement)
{
	return sql_run(w->statements[statement]);
}

/* ---- the rest ---- */

static int write_gap(struct writer *w, const struct row *row)
{
	sqlite3_stmt *s = w->statements[ADD_GAP];

	sqlite3_bind_int64(s, 1, w->put.session);
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
		return held_put(&w->held, row);
	case ROW_SETTLE:
		return held_settle(&w->held, row->sync, true, (int64_t)row->until);
	case ROW_DENIAL:
		return put_denial(&w->put, row);
	case ROW_PROCESS:
		return put_process(&w->put, row);
	case ROW_READY:
		return SQL_RUN(w->statements[READY], w->put.session, (int64_t)row->since);
	case ROW_CLOCK:
		keep_clock(&w->keep, row->since, row->offset);
		return SQL_RUN(w->statements[ADD_CLOCK], w->put.session, (int64_t)row->since, row->offset);
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

/*
 * Processes told before this segment are referred to no more from the first on that says so, and their texts with them:
 * till then a text that the dictionary has forgotten may still be a process's.
 */
static void raise_floor(struct writer *w, const struct segment *segment)
{
	if (segment->process_floor == w->put.state.process_floor)
		return;
	w->put.state.process_floor = segment->process_floor;
	w->put.state.text_floor = w->put.texts.floor;
}

/* All but plain lifetimes, in their order; those are noted. */
static int write_in_order(struct writer *w, const struct segment *const *segments, size_t count)
{
	w->key_count = 0;
	for (size_t i = 0; i < count; i++) {
		raise_floor(w, segments[i]);
		for (uint32_t k = 0; k < segments[i]->count; k++) {
			const struct row *row = &segments[i]->rows[k];
			bool lifetime = row->kind == ROW_LIFETIME;
			int r = 0;

			if (!lifetime)
				r = write_one(w, row);
			else if (row->stored || row->bits & SCHEMA_BEFORE)
				r = held_end(&w->held, row);
			if (r < 0)
				return r;
			w->count.lifetimes += lifetime;
			if (lifetime && !r)
				w->keys[w->key_count++] = (uint64_t)row->port << 32 | i * SEGMENT_ROWS | k;
		}
	}
	return 0;
}

/* floors: as they were when the batch began, whose earlier segments told what its rows refer to. */
static int write_chunk(struct writer *w, const struct segment *const *segments, const struct put_state *floors)
{
	struct filling chunk;
	uint32_t number = 0;

	sort_keys(w);
	put_begin(&w->put, &chunk, row_at(segments, w->keys[0])->until);
	chunk.process = floors->process_floor;
	chunk.text = floors->text_floor;
	for (size_t i = 0; i < w->key_count; i++)
		if (put_lifetime(&w->put, &chunk, row_at(segments, w->keys[i]), number++))
			return -EIO;
	return put_chunk(&w->put, &chunk);
}

/* The same. Processes lower the tail's floor one by one; what was told of them, the floor of their time. */
static int write_tail(struct writer *w, const struct segment *const *segments, const struct put_state *floors)
{
	int r = 0;

	for (size_t i = 0; i < w->key_count && !r; i++) {
		const struct row *row = row_at(segments, w->keys[i]);
		struct span span = span_of(row);

		r = put_tail(&w->put, row, &span);
	}
	if (w->key_count)
		put_lower(&w->put.state.tail.text, floors->text_floor);
	return r;
}

static int sort_tail(struct writer *w)
{
	int r = w->put.state.tail.in_tail ? run(w, SORT_TAIL) : 0;

	if (!r && w->put.state.tail.in_tail)
		r = run(w, EMPTY_TAIL);
	w->put.state.tail = (struct filling){ 0 };
	return r;
}

static int end_tail(struct writer *w, uint64_t life)
{
	struct filling *c = &w->put.state.tail;
	uint64_t age = w->options.keep_ns && w->options.keep_ns / 16 < CHUNK_NS ? w->options.keep_ns / 16 : CHUNK_NS;
	int r = put_chunk(&w->put, c);

	if (r || !c->id)
		return r;
	return c->in_tail + c->denials >= TAIL_MAX || (life > c->began && life - c->began > age) ? sort_tail(w) : 0;
}

static int write_batch(struct writer *w, const struct segment *const *segments, size_t count, uint64_t life)
{
	struct put_state floors;
	int r;

	dict_trim(&w->put.texts);
	dict_trim(&w->put.endpoints);
	if (count)
		raise_floor(w, segments[0]);
	floors = w->put.state;
	r = write_in_order(w, segments, count);
	if (!r)
		r = w->key_count >= DIRECT_MIN ? write_chunk(w, segments, &floors) :
						    write_tail(w, segments, &floors);
	if (!r)
		r = end_tail(w, life);
	return r || !life ? r : SQL_RUN(w->statements[LIFE], w->put.session, (int64_t)life);
}

static int fail(struct writer *w, int r, char *why, size_t why_size)
{
	if (r == -ENOMEM)
		snprintf(why, why_size, "%s: there is no memory to write to it: give it more", w->options.path);
	else
		r = store_file_error(w->file, why, why_size);
	if (store_file_db(w->file) && !sqlite3_get_autocommit(store_file_db(w->file)))
		(void)!run(w, ROLLBACK);
	dict_forget(&w->put.texts);
	dict_forget(&w->put.endpoints);
	return r;
}

static void let_go(struct writer *w)
{
	sql_finish(w->statements, STATEMENTS);
	put_finish(&w->put);
	held_finish(&w->held);
	keep_finish(&w->keep);
}

static int prepare(struct writer *w)
{
	sqlite3 *db = store_file_db(w->file);

	w->keep.file = w->file;
	return sql_prepare(db, texts, STATEMENTS, w->statements) || put_prepare(&w->put, db) ||
	       held_prepare(&w->held, db) || keep_prepare(&w->keep) ? -EIO : 0;
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
		r = keep_room(&w->keep, rows, w->now, w->put.state.tail.id);
	if (!r)
		r = write_batch(w, segments, count, life);
	return r ? r : run(w, COMMIT);
}

static int blame_reader(struct writer *w, const char *remedy, char *why, size_t why_size)
{
	snprintf(why, why_size, "%s: a reader keeps its write-ahead log from being emptied (%llu MiB): %s", w->options.path,
		 (unsigned long long)(store_file_wal(w->file) >> 20), remedy);
	return -EBUSY;
}

int writer_write(struct writer *w, const struct segment *first, size_t count, uint64_t life, struct writer_count *out,
		 char *why, size_t why_size)
{
	const struct segment *segments[SEGMENTS_MAX];
	struct put_state before = w->put.state;
	int r = again(w, why, why_size);

	if (r)
		return r;
	/* The last one's link belongs to the other thread. */
	for (size_t i = 0; i < count && i < SEGMENTS_MAX; i++)
		segments[i] = i ? segments[i - 1]->next : first;
	w->count = (struct writer_count){ 0 };
	w->put.denials = 0;
	w->now = life ? life : w->now;
	r = keep_log(&w->keep);
	if (r == -EBUSY)
		return blame_reader(w, "end that one: nothing is written before, to stay within --max-size", why, why_size);
	if (!r)
		r = transact(w, segments, count, life);
	if (r) {
		w->put.state = before;
		r = fail(w, r, why, why_size);
		/*
		 * After an error of I/O this connection alone knows where the log ended: a commit whose sync failed stands
		 * in it whole, and whoever opened it anew would find the batch there, and write it again.
		 */
		if (r != -ENOSPC && r != -EBUSY && r != -ENOMEM && r != -EIO)
			let_go(w);
		return r;
	}
	w->count.denials = w->put.denials;
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
	if (r == -EBUSY)
		return blame_reader(w, "end that one", why, why_size);
	if (!r)
		r = keep_tidy(&w->keep, now, w->put.state.tail.id, &more);
	return r ? fail(w, r, why, why_size) : more;
}

int writer_end(struct writer *w, uint64_t now, char *why, size_t why_size)
{
	int r = again(w, why, why_size);

	if (r)
		return r;
	r = SQL_RUN(w->statements[STOP], w->put.session, (int64_t)now);
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
	w->put.state.next_chunk = chunk + 1;
	w->put.texts.next = w->put.texts.floor = (uint32_t)text + 1;
	w->put.endpoints.next = w->put.endpoints.floor = (uint32_t)endpoint + 1;
	w->put.state.process_floor = (uint32_t)process + 1;
	w->put.state.text_floor = w->put.texts.floor;
	w->put.session = w->keep.session = session + 1;
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
	sqlite3_bind_int64(s, 1, w->put.session);
	bind_text(s, 2, w->options.boot);
	sqlite3_bind_int64(s, 3, (int64_t)w->options.now);
	sqlite3_bind_int64(s, 4, getpid());
	bind_text(s, 5, host.nodename);
	bind_text(s, 6, host.release);
	bind_text(s, 7, PORTWAKE_VERSION);
	bind_text(s, 8, w->options.filter);
	r = sql_run(s);
	return r ? r : SQL_RUN(w->statements[ADD_CLOCK], w->put.session, (int64_t)w->options.now, w->options.offset);
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
		r = held_settle(&w->held, INT64_MAX, false, INT64_MAX);
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
	w->held.put = &w->put;
	w->held.boot = options->boot;
	w->now = options->now;
	w->keep.keep_ns = options->keep_ns;
	w->keep.max_size = options->max_size;
	w->keep.offset = w->keep.set_to = options->offset;
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
	dict_forget(&w->put.texts);
	dict_forget(&w->put.endpoints);
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
