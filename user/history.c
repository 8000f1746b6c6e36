/* SPDX-License-Identifier: GPL-2.0 */
/* Rows to answers. */
#include "user/history.h"

#include <sqlite3.h>

#include "user/mem.h"

struct history {
	char why[256];
};

int history_open(const char *path, struct history **out, char *why, size_t why_size)
{
	(void)out;
	snprintf(why, why_size, "%s: this build of SQLite (%s) is not used yet", path, sqlite3_libversion());
	return -ENOSYS;
}

void history_free(struct history **history)
{
	pw_free(*history);
	*history = NULL;
}

int history_find(struct history *history, const struct history_query *query,
		 int (*on_past)(void *arg, const struct past *past), void *arg)
{
	(void)history;
	(void)query;
	(void)on_past;
	(void)arg;
	return -ENOSYS;
}

int history_blind(struct history *history, const struct history_query *query,
		  int (*on_blind)(void *arg, const struct blind *blind), void *arg)
{
	(void)history;
	(void)query;
	(void)on_blind;
	(void)arg;
	return -ENOSYS;
}

const char *history_why(const struct history *history)
{
	return history->why;
}
