/* SPDX-License-Identifier: GPL-2.0 */
/* Retention, by whole chunks, the oldest first. */
#include "user/store_keep.h"

#include "user/schema.h"
#include "user/sql.h"

#define PAGE		4096
#define ROW_BYTES	80		/* of a row in the file and in the log, with what it drags along */
#define WAL_MIN		(512U << 10)
#define WAL_MAX		(16U << 20)
#define WAL_SPARE	2		/* so many times where it is checkpointed: no transaction is begun with more, */
#define WAL_TIMES	3		/* and one makes it this long */
#define DROP_ROWS	8192		/* at a time */
#define DROP_STEPS	8		/* such times at most before a batch is written */
#define VACUUM_PAGES	512
#define SLACK_PAGES	256		/* free pages that are worth keeping, beside an eighth of all */
#define DROPS_A_SWEEP	64
#define SWEEP_ROWS	20000
#define CLOCK_FAR_NS	60000000000LL
#define CLOCK_STANDS_NS	3600000000000ULL

enum {
	OLDEST, PAGES, FREE_PAGES, FORGET, DROP_LIFETIMES, DROP_DENIALS, DROP_CHUNK, DROP_GAPS, FLOORS, SWEEP_PROCESS,
	SWEEP_ENDPOINT, SWEEP_TEXT, OLD_SESSION, DROP_CLOCK, DROP_SESSION, INHERIT, DROP_SESSION_GAPS, TAIL_OF, STATEMENTS
};

_Static_assert(STATEMENTS <= KEEP_STATEMENTS, "room for every statement");

/* Of a session that has no chunk left only the span is told on, to the one after. */
static const char *const texts[STATEMENTS] = {
	[OLDEST] = "SELECT c.id, c.session, c.until, boot, "
		   "coalesce((SELECT offset FROM clock WHERE clock.session = c.session AND at <= c.until ORDER BY at DESC LIMIT 1), "
		   "(SELECT offset FROM clock WHERE clock.session = c.session ORDER BY at LIMIT 1)) "
		   "FROM chunk c JOIN session s ON s.id = c.session WHERE c.id <> ?1 ORDER BY c.id LIMIT 1",
	[PAGES] = "PRAGMA page_count",
	[FREE_PAGES] = "PRAGMA freelist_count",
	[FORGET] = "UPDATE session SET forgotten = max(forgotten, ?2) WHERE id = ?1",
	[DROP_LIFETIMES] = "DELETE FROM lifetime WHERE id BETWEEN ?1 AND coalesce((SELECT id FROM lifetime "
			   "WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1 OFFSET ?3), ?2)",
	[DROP_DENIALS] = "DELETE FROM denial WHERE id BETWEEN ?1 AND coalesce((SELECT id FROM denial "
			 "WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1 OFFSET ?3), ?2)",
	[DROP_CHUNK] = "DELETE FROM chunk WHERE id = ?1",
	[DROP_GAPS] = "DELETE FROM gap WHERE session = ?1 AND until < ?2",
	[FLOORS] = "SELECT min(process), min(endpoint), min(text) FROM chunk",
	[SWEEP_PROCESS] = "DELETE FROM process WHERE id IN (SELECT id FROM process WHERE id < ?1 AND id NOT IN "
			  "(SELECT process FROM held WHERE process IS NOT NULL UNION ALL "
			  "SELECT holder FROM held WHERE holder IS NOT NULL) LIMIT ?2)",
	[SWEEP_ENDPOINT] = "DELETE FROM endpoint WHERE id IN (SELECT id FROM endpoint WHERE id < ?1 AND id NOT IN "
			   "(SELECT endpoint FROM held WHERE endpoint IS NOT NULL) LIMIT ?2)",
	[SWEEP_TEXT] = "DELETE FROM text WHERE id IN (SELECT id FROM text WHERE id < ?1 AND id NOT IN "
		       "(SELECT exe FROM process WHERE id < ?3 AND exe IS NOT NULL UNION ALL "
		       "SELECT cgroup FROM process WHERE id < ?3 AND cgroup IS NOT NULL UNION ALL "
		       "SELECT container FROM process WHERE id < ?3 AND container IS NOT NULL UNION ALL "
		       "SELECT cmdline FROM process WHERE id < ?3 AND cmdline IS NOT NULL) LIMIT ?2)",
	[OLD_SESSION] = "SELECT id FROM session WHERE id < ?1 AND id NOT IN (SELECT session FROM chunk) "
			"AND id NOT IN (SELECT session FROM held) AND id < (SELECT coalesce(min(session), ?1) FROM chunk) "
			"ORDER BY id LIMIT 1",
	[DROP_CLOCK] = "DELETE FROM clock WHERE session = ?1",
	[DROP_SESSION] = "DELETE FROM session WHERE id = ?1",
	[INHERIT] = "UPDATE session SET forgotten = max(forgotten, started) "
		    "WHERE id = (SELECT min(id) FROM session WHERE id > ?1)",
	[DROP_SESSION_GAPS] = "DELETE FROM gap WHERE session = ?1",
	[TAIL_OF] = "SELECT 1 FROM tail WHERE id BETWEEN ?1 AND ?2 LIMIT 1",
};

struct oldest {
	int64_t id, session, until;
	int64_t wall;		/* when its last lifetime ended */
};

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

int keep_prepare(struct keep *keep)
{
	keep->wal_soft = keep->max_size ? clamp(keep->max_size / 16, WAL_MIN, WAL_MAX) : WAL_MAX;
	return sql_prepare(store_file_db(keep->file), texts, STATEMENTS, keep->statements);
}

void keep_finish(struct keep *keep)
{
	sql_finish(keep->statements, STATEMENTS);
}

uint32_t keep_rows_max(const struct keep *keep)
{
	return (uint32_t)(keep->wal_soft / ROW_BYTES);
}

/* The database alone: the log may be longer than where it is checkpointed. */
static int64_t pages_max(const struct keep *keep)
{
	if (!keep->max_size)
		return INT64_MAX;
	return (int64_t)((keep->max_size - clamp(WAL_TIMES * keep->wal_soft, 0, keep->max_size / 2)) / PAGE);
}

/* But for the one that still fills, which may be older than many that came whole. 1: there is one; 0; -EIO. */
static int find_oldest(struct keep *keep, int64_t filling, struct oldest *out)
{
	sqlite3_stmt *s = keep->statements[OLDEST];
	int r;

	sqlite3_bind_int64(s, 1, filling);
	r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		*out = (struct oldest){
			.id = sqlite3_column_int64(s, 0), .session = sqlite3_column_int64(s, 1),
			.until = sqlite3_column_int64(s, 2),
			.wall = sqlite3_column_int64(s, 2) + sqlite3_column_int64(s, 4),
		};
	return sqlite3_reset(s) || (r != SQLITE_ROW && r != SQLITE_DONE) ? -EIO : r == SQLITE_ROW;
}

static int64_t trusted_offset(const struct keep *keep, uint64_t now)
{
	return now >= keep->set_at && now - keep->set_at >= CLOCK_STANDS_NS ? keep->set_to : keep->offset;
}

/* Steps alone count: a clock that is slewed is told anew again and again. */
void keep_clock(struct keep *keep, uint64_t at, int64_t offset)
{
	if (offset - keep->set_to > CLOCK_FAR_NS || keep->set_to - offset > CLOCK_FAR_NS) {
		keep->offset = trusted_offset(keep, at);
		keep->set_at = at;
	}
	keep->set_to = offset;
}

/* Of this session by its own clock, that no setting of the wall clock ages; of others by the wall clock. */
static bool expired(const struct keep *keep, const struct oldest *oldest, uint64_t now)
{
	int64_t age = oldest->session == keep->session ? (int64_t)now - oldest->until :
							 (int64_t)now + trusted_offset(keep, now) - oldest->wall;

	return keep->keep_ns && age > 0 && (uint64_t)age > keep->keep_ns;
}

static int drop_range(sqlite3 *db, sqlite3_stmt *statement, int64_t chunk, int64_t *dropped)
{
	int r = SQL_RUN(statement, chunk << SCHEMA_CHUNK_SHIFT, ((chunk + 1) << SCHEMA_CHUNK_SHIFT) - 1, DROP_ROWS - 1);

	*dropped = r ? 0 : sqlite3_changes(db);
	return r;
}

/* What is not there any more is said before it is gone: by FORGET. */
static int drop_some(struct keep *keep, const struct oldest *oldest)
{
	sqlite3 *db = store_file_db(keep->file);
	int64_t dropped = 0;
	int r = SQL_RUN(keep->statements[FORGET], oldest->session, oldest->until);

	if (!r)
		r = drop_range(db, keep->statements[DROP_LIFETIMES], oldest->id, &dropped);
	if (!r && dropped < DROP_ROWS)
		r = drop_range(db, keep->statements[DROP_DENIALS], oldest->id, &dropped);
	if (r || dropped >= DROP_ROWS)
		return r;
	keep->dropped++;
	r = SQL_RUN(keep->statements[DROP_CHUNK], oldest->id);
	return r ? r : SQL_RUN(keep->statements[DROP_GAPS], oldest->session, oldest->until);
}

static int counts(struct keep *keep, int64_t *pages, int64_t *free_pages)
{
	*pages = *free_pages = 0;
	return sql_number(keep->statements[PAGES], pages) || sql_number(keep->statements[FREE_PAGES], free_pages) ? -EIO : 0;
}

/* One step, if one is due. 1: done; 0: nothing to do, or nothing that may go; -EIO. */
static int step(struct keep *keep, int64_t need, uint64_t now, int64_t filling)
{
	struct oldest oldest;
	int64_t pages, free_pages;
	int r = find_oldest(keep, filling, &oldest);

	if (r <= 0 || counts(keep, &pages, &free_pages))
		return r < 0 ? r : r == 0 ? 0 : -EIO;
	if (pages - free_pages + need <= pages_max(keep) && !expired(keep, &oldest, now))
		return 0;
	r = drop_some(keep, &oldest);
	return r ? r : 1;
}

int keep_room(struct keep *keep, uint32_t rows, uint64_t now, int64_t filling)
{
	int64_t need = (int64_t)rows * ROW_BYTES / PAGE + 16;
	int r = 1;

	if (!keep->max_size && !keep->keep_ns)
		return 0;
	for (int i = 0; i < DROP_STEPS + (int)(2 * rows / DROP_ROWS) && r == 1; i++)
		r = step(keep, need, now, filling);
	return r < 0 ? r : 0;
}

/* ---- what chunks referred to, and sessions without any ---- */

static int sweep(struct keep *keep)
{
	sqlite3_stmt *s = keep->statements[FLOORS];
	int64_t process = 0, endpoint = 0, text = 0;
	int r = sqlite3_step(s);

	if (r == SQLITE_ROW) {
		process = sqlite3_column_int64(s, 0);
		endpoint = sqlite3_column_int64(s, 1);
		text = sqlite3_column_int64(s, 2);
	}
	if (sqlite3_reset(s))
		return -EIO;
	r = SQL_RUN(keep->statements[SWEEP_PROCESS], process, SWEEP_ROWS);
	if (!r)
		r = SQL_RUN(keep->statements[SWEEP_ENDPOINT], endpoint, SWEEP_ROWS);
	return r ? r : SQL_RUN(keep->statements[SWEEP_TEXT], text, SWEEP_ROWS, process);
}

static int drop_sessions(struct keep *keep)
{
	static const int drops[] = { INHERIT, DROP_CLOCK, DROP_SESSION_GAPS, DROP_SESSION };
	int r = 0;

	while (!r) {
		int64_t id = 0;

		sqlite3_bind_int64(keep->statements[OLD_SESSION], 1, keep->session);
		r = sql_number(keep->statements[OLD_SESSION], &id);
		if (r || !id)
			return r;
		for (size_t i = 0; i < ARRAY_SIZE(drops) && !r; i++)
			r = SQL_RUN(keep->statements[drops[i]], id);
	}
	return r;
}

/* ---- when there is time ---- */

static int give_back(struct keep *keep, bool *more)
{
	int64_t pages, free_pages, before;
	char text[48];

	if (counts(keep, &pages, &free_pages))
		return -EIO;
	if (free_pages <= SLACK_PAGES + (keep->max_size ? 0 : pages / 8) && (pages <= pages_max(keep) || !free_pages))
		return 0;
	before = pages;
	snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
	if (sql_do(store_file_db(keep->file), text) || counts(keep, &pages, &free_pages))
		return -EIO;
	*more |= pages < before;
	return 0;
}

static int in_transaction(struct keep *keep, uint64_t now, int64_t filling, bool *more)
{
	int r = step(keep, 0, now, filling);

	*more = r == 1;
	if (r >= 0 && keep->dropped && (keep->dropped >= DROPS_A_SWEEP || !*more)) {
		r = sweep(keep);
		if (!r)
			r = drop_sessions(keep);
		keep->dropped = 0;
	}
	return r < 0 ? r : 0;
}

int keep_tidy(struct keep *keep, uint64_t now, int64_t filling, bool *more)
{
	sqlite3 *db = store_file_db(keep->file);
	int r;

	*more = false;
	if (!keep->max_size && !keep->keep_ns)
		return 0;
	r = sql_do(db, "BEGIN IMMEDIATE");
	if (!r)
		r = in_transaction(keep, now, filling, more);
	if (!r)
		r = sql_do(db, "COMMIT");
	return r ? r : give_back(keep, more);
}

/* ---- the log ---- */

/* Where it is not emptied beside the writing, because writing is all there is time for, or because of a reader. */
int keep_log(struct keep *keep)
{
	uint64_t length = store_file_wal(keep->file);
	int mode = keep->max_size ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, r;

	if (length <= WAL_SPARE * keep->wal_soft) {
		keep->wal_tried = 0;
		return 0;
	}
	/* Each try reads all of it: without a bound it may be long. */
	if (!keep->max_size && length < 2 * keep->wal_tried)
		return 0;
	keep->wal_tried = length;
	r = sqlite3_wal_checkpoint_v2(store_file_db(keep->file), NULL, mode, NULL, NULL);
	if (r == SQLITE_BUSY)
		return keep->max_size ? -EBUSY : 0;
	return r ? -EIO : 0;
}

int keep_checkpoint(struct keep *keep)
{
	sqlite3 *db = store_file_db(keep->file);
	uint64_t length = store_file_wal(keep->file);
	int r;

	if (length < keep->wal_soft)
		return 0;
	r = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	/* Readers that came later than the last commit need nothing of the log; it takes a moment without older ones. */
	if ((!r || r == SQLITE_BUSY) && length > WAL_SPARE * keep->wal_soft)
		r = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
	if (r == SQLITE_BUSY)
		return length > WAL_SPARE * keep->wal_soft ? -EBUSY : 0;
	return r ? -EIO : 0;
}
