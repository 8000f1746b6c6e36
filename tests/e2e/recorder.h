/* SPDX-License-Identifier: GPL-2.0 */
/* portwake record as a child, the database that it writes, and what portwake who says of the past. Fails the test. */
#ifndef E2E_RECORDER_H
#define E2E_RECORDER_H

#include <jansson.h>

#include "tests/e2e/case.h"

#define PATH_ROOM 256

/* ---- a place for a database ---- */

/* A new directory below /tmp, which everybody may enter; removed, and what is mounted on it unmounted, with the test. */
const char *scratch_dir(void);
/* A path in it; valid until the test ends. */
const char *scratch_path(const char *dir, const char *name);
/* Mounts a tmpfs of that size on it. */
void scratch_tmpfs(const char *dir, const char *size);
/* Of every test; called by case_teardown(). */
void scratch_clean(void);
/* One that outlives its test, and its end; false with errno when there is none. */
bool scratch_make(char dir[PATH_ROOM]);
void scratch_remove(const char *dir);

/* ---- the recorder ---- */

/* `record --db DB --netns STAGE MORE...`, ready: from here on nothing is missed. MORE: up to 8 words, or NULL. */
struct run *record_on(const struct stage *stage, const char *db, const char *const *more);
/* The same, not waited for; and the wait for the one begun last: false when it ends before, or takes too long. */
struct run *record_start(const struct stage *stage, const char *db, const char *const *more);
bool record_await_ready(struct run *run);
/* Ends it by SIGTERM; it must exit 0. */
void record_end(struct run *run);
/* Ends it by SIGKILL, and waits until it and its broker are gone. */
void record_kill(struct run *run);
/* Its child. */
pid_t record_broker(const struct run *run);
/* How often stderr so far has these words. */
unsigned talk_count(const struct run *run, const char *words);

/* ---- the database, by SQLite itself ---- */

/* The one integer, or text, that the query says; beside a writer. The text is valid until the next call. */
int64_t db_int(const char *db, const char *sql);
const char *db_text(const char *db, const char *sql);
/* Calls back for each row of a query; column as in sqlite3_column_int64() and sqlite3_column_text(). */
struct sqlite3_stmt;
void db_each(const char *db, const char *sql, void (*row)(void *arg, struct sqlite3_stmt *st), void *arg);
/* A statement that may fail: its SQLite error. */
int db_exec(const char *db, const char *sql);
/* `pragma integrity_check` and `foreign_key_check` find nothing; asked as sqlite3 does it, which tidies up at its end. */
void assert_integrity(const char *db);
/* Bytes of the database and what SQLite keeps beside it. */
uint64_t db_size(const char *db);

#endif
