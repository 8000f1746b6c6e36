/* SPDX-License-Identifier: GPL-2.0 */
/* Prepared statements, shortly. Of an error only that there was one is returned: SQLite's connection knows which. */
#ifndef PORTWAKE_USER_SQL_H
#define PORTWAKE_USER_SQL_H

#include <sqlite3.h>
#include <stdint.h>
#include <string.h>

#include "user/base.h"

/* statements[i] of texts[i]; 0 or -EIO: sql_finish() them all the same. */
static inline int sql_prepare(sqlite3 *db, const char *const *texts, size_t count, sqlite3_stmt **statements)
{
	for (size_t i = 0; i < count; i++)
		if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i], NULL))
			return -EIO;
	return 0;
}

static inline void sql_finish(sqlite3_stmt **statements, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		sqlite3_finalize(statements[i]);
		statements[i] = NULL;
	}
}

/* Runs a statement that gives no rows, or whose rows do not matter. */
static inline int sql_run(sqlite3_stmt *statement)
{
	int r;

	do
		r = sqlite3_step(statement);
	while (r == SQLITE_ROW);
	return sqlite3_reset(statement) || r != SQLITE_DONE ? -EIO : 0;
}

/* The same with integers for its parameters, in their order. */
static inline int sql_run_with(sqlite3_stmt *statement, const int64_t *values, int count)
{
	for (int i = 0; i < count; i++)
		sqlite3_bind_int64(statement, i + 1, values[i]);
	return sql_run(statement);
}

#define SQL_RUN(statement, ...)											\
	sql_run_with(statement, (const int64_t[]){ __VA_ARGS__ },						\
		     (int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)))

/* The first column of the first row; *out stays as it was when there is no row, or it is NULL. */
static inline int sql_number(sqlite3_stmt *statement, int64_t *out)
{
	int r = sqlite3_step(statement);

	if (r == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
		*out = sqlite3_column_int64(statement, 0);
	return sqlite3_reset(statement) || (r != SQLITE_ROW && r != SQLITE_DONE) ? -EIO : 0;
}

/* For what is asked once. */
static inline int sql_ask(sqlite3 *db, const char *text, int64_t *out)
{
	sqlite3_stmt *statement = NULL;
	int r = sqlite3_prepare_v2(db, text, -1, &statement, NULL) ? -EIO : sql_number(statement, out);

	sqlite3_finalize(statement);
	return r;
}

static inline int sql_do(sqlite3 *db, const char *text)
{
	return sqlite3_exec(db, text, NULL, NULL, NULL) ? -EIO : 0;
}

/* 0 is NULL. */
static inline void sql_bind_nonzero(sqlite3_stmt *statement, int at, uint64_t value)
{
	if (value)
		sqlite3_bind_int64(statement, at, (int64_t)value);
	else
		sqlite3_bind_null(statement, at);
}

#endif
