/* SPDX-License-Identifier: GPL-2.0 */
/* Changes to rows. */
#include "user/store.h"

#include <sqlite3.h>

#include "user/mem.h"

struct store {
	struct store_totals totals;
};

static int not_yet(char *why, size_t why_size)
{
	snprintf(why, why_size, "this build of SQLite (%s) is not used yet", sqlite3_libversion());
	return -ENOSYS;
}

int store_create(const char *path, char *why, size_t why_size)
{
	(void)path;
	return not_yet(why, why_size);
}

int store_open(const struct store_options *options, struct store **out, char *why, size_t why_size)
{
	(void)options;
	(void)out;
	return not_yet(why, why_size);
}

void store_change(struct store *store, const struct change *change, int64_t offset)
{
	(void)store;
	(void)change;
	(void)offset;
}

int store_tick(struct store *store, struct lifetime *newest, uint64_t now, int64_t offset, char *why, size_t why_size)
{
	(void)store;
	(void)newest;
	(void)now;
	(void)offset;
	(void)why;
	(void)why_size;
	return 0;
}

void store_close(struct store **store, uint64_t patience_ns)
{
	(void)patience_ns;
	pw_free(*store);
	*store = NULL;
}

void store_totals(const struct store *store, struct store_totals *out)
{
	*out = store->totals;
}
