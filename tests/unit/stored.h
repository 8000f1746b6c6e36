/* SPDX-License-Identifier: GPL-2.0 */
/* A store in a directory of its own, fed by hand, and its history read back. Times are ns; the first session starts at START. */
#ifndef PORTWAKE_TESTS_STORED_H
#define PORTWAKE_TESTS_STORED_H

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "user/history.h"
#include "user/store.h"

#define MS		1000000ULL
#define SEC		1000000000ULL
#define START		(1000000000 * SEC)	/* of no machine: it is young to any reader */
#define WALL		1700000000000000000LL	/* wall time less boottime */
#define NETNS		4026531840U
#define BOOT		"11111111-2222-3333-4444-555555555555"
#define PATIENCE	(20 * SEC)

static char directory[64], path[96], why[256];
static struct store *store;
static struct lifetime *all;
static uint64_t now;
static int64_t offset;
static struct process someone = { .pid = 100, .uid = 1000, .exec_id = 1, .start = 5 * SEC, .comm = "someone",
				  .exe = (char *)"/usr/bin/someone", .cgroup = (char *)"/a.slice" };

static inline int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/portwake-store-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/h.db", directory);
	now = START;
	offset = WALL;
	all = NULL;
	return 0;
}

static inline void forget_all(void)
{
	for (struct lifetime *l = all, *next; l; l = next) {
		next = l->all_next;
		free(l);
	}
	all = NULL;
}

static inline int remove_directory(void **state)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	(void)state;
	unit_fail_never();
	store_close(&store, PATIENCE);
	forget_all();
	while (dir && (entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	return rmdir(directory);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

static inline struct store_options plain_options(void)
{
	return (struct store_options){
		.path = path, .files = { -1, -1, -1 }, .boot = BOOT, .now = now, .offset = offset,
	};
}

static inline void open_with(const struct store_options *options)
{
	int r = store_create(path, why, sizeof(why));

	if (r && r != -EEXIST)
		fail_msg("%s", why);
	r = store_open(options, &store, why, sizeof(why));
	if (r)
		fail_msg("%s", why);
	/* Or a later failure would be told with these words. */
	assert_string_equal(why, "");
}

static inline void say(struct change change)
{
	if (!change.time)
		change.time = now;
	store_change(store, &change, offset);
}

static inline void ready(void)
{
	say((struct change){ .what = WHAT_READY });
}

static inline void open_plain(void)
{
	struct store_options options = plain_options();

	open_with(&options);
	ready();
}

/* A socket that connected from 10.0.0.1:port to 10.0.0.2:80. */
static inline struct lifetime *socket_of(uint64_t cookie, uint16_t port)
{
	struct lifetime *l = calloc(1, sizeof(*l));

	*l = (struct lifetime){
		.cookie = cookie, .generation = 1, .netns = NETNS, .since = now, .seen = now, .port = port, .remote_port = 80,
		.proto = IPPROTO_TCP, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL, .holds = HOLD_SOCK, .owner = &someone,
		.addr = { AF_INET, { 10, 0, 0, 1 } }, .remote = { AF_INET, { 10, 0, 0, 2 } },
	};
	l->all_next = all;
	if (all)
		all->all_prev = l;
	all = l;
	return l;
}

static inline struct lifetime *allocate(uint64_t cookie, uint16_t port)
{
	struct lifetime *l = socket_of(cookie, port);

	say((struct change){ .what = WHAT_ALLOCATE, .lifetime = l, .exact = true });
	return l;
}

/* It was there when recording began. */
static inline struct lifetime *present(uint64_t cookie, uint16_t port)
{
	struct lifetime *l = socket_of(cookie, port);

	l->since = 0;
	say((struct change){ .what = WHAT_PRESENT, .lifetime = l, .exact = true });
	return l;
}

static inline void release(struct lifetime *l, enum cause cause)
{
	say((struct change){ .what = WHAT_RELEASE, .lifetime = l, .cause = cause, .exact = true });
	*(l->all_prev ? &l->all_prev->all_next : &all) = l->all_next;
	if (l->all_next)
		l->all_next->all_prev = l->all_prev;
	free(l);
}

static inline uint64_t waiting(void)
{
	struct store_totals totals;

	store_totals(store, &totals);
	return totals.waiting;
}

/* Time goes on, and what was told is handed over. */
static inline int pass(uint64_t ns)
{
	now += ns;
	return store_tick(store, all, now, now, offset, why, sizeof(why));
}

/* The same, until it is written. */
static inline void settle(uint64_t ns)
{
	assert_int_equal(pass(ns), 0);
	for (int i = 0; i < 5000 && waiting(); i++)
		usleep(1000);
	assert_int_equal(waiting(), 0);
}

/* Ticks until it says something of storage, and checks what. */
static inline void expect_word(const char *word)
{
	for (int i = 0; i < 5000; i++) {
		int r = pass(500 * MS);

		if (r) {
			assert_int_equal(r, -EAGAIN);
			if (!strstr(why, word))
				fail_msg("\"%s\" has no \"%s\"", why, word);
			return;
		}
		usleep(1000);
	}
	fail_msg("nothing was said of \"%s\"", word);
}

/* A store whose file somebody else is about to write. */
static inline sqlite3 *open_locked(void)
{
	sqlite3 *db;

	open_plain();
	settle(SEC);
	sqlite3_open(path, &db);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static inline void unlock(sqlite3 *db)
{
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
}

static inline void end_session(void)
{
	store_close(&store, PATIENCE);
	forget_all();
}

/* ---- reading back ---- */

#define PASTS_MAX 64

static struct past pasts[PASTS_MAX];
static struct past_process owners[PASTS_MAX], closers[PASTS_MAX];
static char strings[PASTS_MAX][4][64];
static size_t past_count;

static inline int keep_past(void *arg, const struct past *past)
{
	size_t i = past_count++;

	(void)arg;
	if (i >= PASTS_MAX)
		return 0;
	pasts[i] = *past;
	pasts[i].boot = strcpy(strings[i][3], past->boot);
	if (past->owner) {
		owners[i] = *past->owner;
		owners[i].comm = strcpy(strings[i][0], past->owner->comm);
		owners[i].exe = past->owner->exe ? strcpy(strings[i][1], past->owner->exe) : NULL;
		pasts[i].owner = &owners[i];
	}
	if (past->holder) {
		closers[i] = *past->holder;
		closers[i].comm = strcpy(strings[i][2], past->holder->comm);
		pasts[i].holder = &closers[i];
	}
	return 0;
}

/* How many lifetimes of these ports overlap this stretch of wall time; they stand in pasts[]. */
static inline size_t find_range(uint16_t first, uint16_t last, uint64_t since, uint64_t until)
{
	struct history_query query = { .first = first, .last = last, .since = since, .until = until };
	struct history *history = NULL;
	int r = history_open(path, &history, why, sizeof(why));

	if (r)
		fail_msg("%s", why);
	past_count = 0;
	r = history_find(history, &query, keep_past, NULL);
	if (r)
		fail_msg("%s", history_why(history));
	history_free(&history);
	return past_count;
}

static inline size_t find(uint16_t port)
{
	return find_range(port, port, 0, UINT64_MAX);
}

/* At a moment given in boottime, by today's offset. */
static inline size_t find_at(uint16_t port, uint64_t time)
{
	return find_range(port, port, (uint64_t)((int64_t)time + offset), (uint64_t)((int64_t)time + offset));
}

static inline int64_t number_by(const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int64_t value = -1;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL))
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	if (sqlite3_step(s) == SQLITE_ROW)
		value = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return value;
}

static inline void assert_sound(void)
{
	assert_int_equal(number_by("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
	assert_int_equal(number_by("SELECT count(*) - count(DISTINCT cookie || '/' || session || '/' || generation) FROM lifetimes"), 0);
}

#endif
