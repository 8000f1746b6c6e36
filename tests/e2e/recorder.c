/* SPDX-License-Identifier: GPL-2.0 */
/* portwake record as a child, the database that it writes, and a place for it. */
#define _GNU_SOURCE
#include "tests/e2e/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_DIRS 8
#define READY_WITHIN (20 * SECOND)
#define GONE_WITHIN (10 * SECOND)
#define BUSY_MS 10000

static char dirs[MAX_DIRS][PATH_ROOM];
static size_t dir_count;
static char paths[4 * MAX_DIRS][PATH_ROOM + 64];
static size_t path_count;

bool scratch_make(char dir[PATH_ROOM])
{
	strcpy(dir, "/tmp/portwake-e2e.XXXXXX");
	return mkdtemp(dir) && chmod(dir, 0755) == 0;
}

const char *scratch_dir(void)
{
	assert_true(dir_count < MAX_DIRS);
	if (!scratch_make(dirs[dir_count]))
		fail_msg("no scratch directory: %s", strerror(errno));
	return dirs[dir_count++];
}

const char *scratch_path(const char *dir, const char *name)
{
	assert_true(path_count < COUNT_OF(paths));
	snprintf(paths[path_count], sizeof(paths[0]), "%s/%s", dir, name);
	return paths[path_count++];
}

void scratch_tmpfs(const char *dir, const char *size)
{
	char options[64];

	snprintf(options, sizeof(options), "size=%s,mode=0755", size);
	if (mount("tmpfs", dir, "tmpfs", 0, options) < 0)
		skip_because("no tmpfs can be mounted: %s", strerror(errno));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void scratch_remove(const char *dir)
{
	while (umount2(dir, MNT_DETACH) == 0)
		;
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void scratch_clean(void)
{
	for (size_t i = 0; i < dir_count; i++)
		scratch_remove(dirs[i]);
	dir_count = path_count = 0;
}

/* ---- the recorder ---- */

/* Where the recorder that was begun last says that it is ready, as to a service manager. */
static int ready_fd = -1;

static void new_ready_socket(char name[120])
{
	static unsigned n;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int len = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "portwake-e2e-%d-%u", getpid(), ++n);

	if (ready_fd >= 0)
		close(ready_fd);
	ready_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(ready_fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) < 0)
		fail_msg("no socket to be told of readiness: %s", strerror(errno));
	snprintf(name, 120, "@%s", un.sun_path + 1);
}

static void tell_where(void *name)
{
	setenv("NOTIFY_SOCKET", name, 1);
}

struct run *record_start(const struct stage *stage, const char *db, const char *const *more)
{
	const char *args[16] = { "record", "--db", db, "--netns", stage_number(stage) };
	char name[120];

	for (size_t i = 0; more && more[i] && i < 8; i++)
		args[i + 5] = more[i];
	new_ready_socket(name);
	return run_start(&(struct run_options){ .args = args, .text = true, .before_exec = tell_where, .arg = name });
}

static bool is_ready(void)
{
	char text[512];
	ssize_t got;

	while ((got = recv(ready_fd, text, sizeof(text) - 1, 0)) > 0) {
		text[got] = '\0';
		if (strstr(text, "READY=1"))
			return true;
	}
	return false;
}

struct waiting {
	struct run *run;
	bool ready;
};

static bool ready_or_gone(void *arg)
{
	struct waiting *waiting = arg;

	waiting->ready = is_ready();
	return waiting->ready || waiting->run->err < 0;
}

bool record_await_ready(struct run *run)
{
	struct waiting waiting = { .run = run };

	return run_until(ready_or_gone, &waiting, READY_WITHIN) && waiting.ready;
}

struct run *record_on(const struct stage *stage, const char *db, const char *const *more)
{
	struct run *run = record_start(stage, db, more);

	if (record_await_ready(run))
		return run;
	run_print_talk(run);
	fail_msg("portwake record did not become ready");
	abort();
}

void record_end(struct run *run)
{
	int status = run_stop(run, SIGTERM);

	if (status) {
		run_print_talk(run);
		fail_msg("portwake record ended with status %d", status);
	}
}

pid_t record_broker(const struct run *run)
{
	char path[64];
	pid_t pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", run->pid, run->pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

static bool is_gone(void *arg)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/0", *(pid_t *)arg);
	return lstat(path, &st) < 0;
}

void record_kill(struct run *run)
{
	pid_t broker = record_broker(run);

	run_stop(run, SIGKILL);
	if (broker && !run_until(is_gone, &broker, GONE_WITHIN))
		fail_msg("the broker (pid %d) outlives the recorder", broker);
}

unsigned talk_count(const struct run *run, const char *words)
{
	unsigned n = 0;

	for (const char *at = run->talk; (at = strstr(at, words)); at++)
		n++;
	return n;
}

/* ---- the database ---- */

static sqlite3 *db_open(const char *db, int flags)
{
	sqlite3 *open = NULL;

	if (sqlite3_open_v2(db, &open, flags, NULL) != SQLITE_OK)
		fail_msg("%s: %s", db, sqlite3_errmsg(open));
	sqlite3_busy_timeout(open, BUSY_MS);
	return open;
}

static sqlite3_stmt *first_of(sqlite3 *open, const char *sql)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(open, sql, -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW)
		fail_msg("%s: %s", sql, sqlite3_errmsg(open));
	return st;
}

/* Leaves the log and its index as they are. */
static sqlite3 *db_peek(const char *db)
{
	sqlite3 *open = db_open(db, SQLITE_OPEN_READWRITE);

	sqlite3_db_config(open, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return open;
}

int64_t db_int(const char *db, const char *sql)
{
	sqlite3 *open = db_peek(db);
	sqlite3_stmt *st = first_of(open, sql);
	int64_t n = sqlite3_column_int64(st, 0);

	sqlite3_finalize(st);
	sqlite3_close(open);
	return n;
}

const char *db_text(const char *db, const char *sql)
{
	static char text[400];
	sqlite3 *open = db_peek(db);
	sqlite3_stmt *st = first_of(open, sql);
	const char *got = (const char *)sqlite3_column_text(st, 0);

	snprintf(text, sizeof(text), "%s", got ? got : "");
	sqlite3_finalize(st);
	sqlite3_close(open);
	return text;
}

void db_each(const char *db, const char *sql, void (*row)(void *arg, struct sqlite3_stmt *st), void *arg)
{
	sqlite3 *open = db_peek(db);
	sqlite3_stmt *st = NULL;
	int err = sqlite3_prepare_v2(open, sql, -1, &st, NULL);

	while (!err && (err = sqlite3_step(st)) == SQLITE_ROW) {
		row(arg, st);
		err = 0;
	}
	if (err != SQLITE_DONE)
		fail_msg("%s: %s", sql, sqlite3_errmsg(open));
	sqlite3_finalize(st);
	sqlite3_close(open);
}

int db_exec(const char *db, const char *sql)
{
	sqlite3 *open = db_open(db, SQLITE_OPEN_READWRITE);
	int err = sqlite3_exec(open, sql, NULL, NULL, NULL);

	sqlite3_close(open);
	return err;
}

void assert_integrity(const char *db)
{
	sqlite3 *open = db_open(db, SQLITE_OPEN_READWRITE);
	sqlite3_stmt *st = first_of(open, "PRAGMA integrity_check");
	const char *text = (const char *)sqlite3_column_text(st, 0);

	if (strcmp(text, "ok") != 0)
		fail_msg("integrity_check of %s: %s", db, text);
	sqlite3_finalize(st);
	sqlite3_close(open);
	assert_int_equal(db_int(db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

uint64_t db_size(const char *db)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	uint64_t size = 0;
	char path[PATH_ROOM + 80];
	struct stat st;

	for (size_t i = 0; i < COUNT_OF(tails); i++) {
		snprintf(path, sizeof(path), "%s%s", db, tails[i]);
		if (stat(path, &st) == 0)
			size += (uint64_t)st.st_size;
	}
	return size;
}
