/* SPDX-License-Identifier: GPL-2.0 */
/* A recorder whose disk is full, whose file is damaged, locked, of another version, gone: tracing goes on. */
#define _GNU_SOURCE
#include "tests/e2e/told.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/ask.h"
#include "tests/e2e/crowd.h"

#define PAUSE 700
#define NOTICED_WITHIN (15 * SECOND)

static struct crowd drip = { .pause_us = PAUSE };

static struct stage *dripping(const char *name)
{
	struct stage *stage = stage_new(name);

	stage->work.arg = &drip;
	stage_start(stage, drip_work);
	return stage;
}

static void end_drip(struct stage *stage)
{
	stage->work.truth->stop = true;
	stage_join(stage);
}

/* Nothing is missing, and nothing is blind but what was before. */
static void assert_all_recorded(struct stage *stage, const char *db)
{
	struct past *past = recorded(stage, db);

	assert_no_blind(past);
	past_free(&past, 1);
}

/* The lines of stderr that name the database. */
static unsigned lines_about(const struct run *run, const char *db)
{
	return talk_count(run, db);
}

/* ---- a disk that is full ---- */

/* Takes what is left of the file system. */
static void fill_up(const char *path)
{
	static char block[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	size_t size = sizeof(block);
	ssize_t put;

	assert_true(fd >= 0);
	memset(block, 'x', sizeof(block));
	while (size) {
		put = write(fd, block, size);
		if (put < 0)
			size /= 2;
	}
	close(fd);
}

static void full_disk_for_a_while(void **state)
{
	const char *dir = scratch_dir(), *db = scratch_path(dir, "history.db"), *ballast = scratch_path(dir, "ballast");
	struct stage *stage;
	struct run *run;
	unsigned said;

	(void)state;
	scratch_tmpfs(dir, "12m");
	stage = stage_new("full disk");
	run = record_on(stage, db, NULL);
	stage->work.arg = &drip;
	stage_start(stage, drip_work);
	run_sleep(1200);
	said = lines_about(run, db);
	fill_up(ballast);
	run_sleep(4000);
	/* It is said once, and once when it is over. */
	assert_int_equal(lines_about(run, db), said + 1);
	unlink(ballast);
	run_sleep(500);
	end_drip(stage);
	assert_all_recorded(stage, db);
	run_sleep(1100);
	assert_int_equal(lines_about(run, db), said + 2);
	record_end(run);
	assert_all_recorded(stage, db);
	assert_integrity(db);
}

/* More than it can hold meanwhile: what is missing is counted, and only in gaps. */
static void full_disk_for_long(void **state)
{
	const char *dir = scratch_dir(), *db = scratch_path(dir, "history.db"), *ballast = scratch_path(dir, "ballast");
	struct flood *flood = flood_new(500000);
	struct stage *stage;
	struct run *run;
	struct past *past;
	uint64_t lost = 0;

	(void)state;
	scratch_tmpfs(dir, "96m");
	stage = stage_new("full disk for long");
	run = record_on(stage, db, NULL);
	fill_up(ballast);
	stage->work.arg = flood;
	stage_run(stage, flood_work);
	run_sleep(500);
	/* Told as it happens, and not for each of them. */
	assert_in_range(talk_count(run, "did not fit: a gap in the database"), 1, 120);
	unlink(ballast);
	run_sleep(3000 * (int)slow());
	record_end(run);
	assert_integrity(db);
	past = past_since(stage, db, stage->work.truth->since);
	for (size_t i = 0; i < past->blind_count; i++)
		lost += past->blind[i].lost;
	print_message("  %llu made, %zu recorded, %llu lost in %zu gaps; at most %ld KiB\n", (unsigned long long)flood->made,
		      past->count, (unsigned long long)lost, past->blind_count, run_status_kib(run, "VmHWM"));
	assert_true(past->count > 0);
	assert_true(past->count == flood->made || lost > 0);
	/* A lifetime is lost by each record of it, or by its row: at least as many are counted as are missing. */
	assert_true(past->count + lost >= flood->made);
	assert_true(past->count <= flood->made);
	past_free(&past, 1);
	flood_free(&flood);
}

/* ---- a file that is none ---- */

static void put_bytes(const char *path, off_t at, const char *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, size, at), (ssize_t)size);
	close(fd);
}

/* Its user is there once somebody has recorded. */
static void give_to_recorder(const char *db)
{
	const struct passwd *user = getpwnam("portwake");

	assert_non_null(user);
	assert_int_equal(chown(db, user->pw_uid, user->pw_gid), 0);
}

/* A sound one with something in it. */
static const char *sound_db(const char *name)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = dripping(name);
	struct run *run = record_on(stage, db, NULL);

	run_sleep(400);
	end_drip(stage);
	record_end(run);
	assert_integrity(db);
	return db;
}

/* Refused at once, with one line that names the file. */
static void assert_refused(const char *db, const char *words)
{
	struct stage *stage = stage_new("refused");
	struct run *run = record_start(stage, db, NULL);
	int status = run_wait(run, WITHIN);
	const char *last;

	if (status != 1)
		fail_msg("exit status %d, not 1: %s", status, run->talk);
	assert_says(run->talk, db);
	assert_says(run->talk, words);
	last = strstr(run->talk, db);
	assert_true(strchr(last, '\n') == run->talk + run->talk_len - 1);
	run_free(&run);
}

/* The same, to who asks. */
static void assert_unanswered(const char *db, const char *words)
{
	struct run *run = start_who(ARGS("7801", "--db", db, "--at", "-1m"), NULL, NULL);

	assert_int_equal(run_wait(run, WITHIN), 1);
	assert_says(run->talk, db);
	assert_says(run->talk, words);
	assert_null(strstr(run->partial, "nobody"));
}

static void damaged(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db"), *sound;
	char junk[8192];

	(void)state;
	sound = sound_db("damaged");
	memset(junk, 'j', sizeof(junk));
	put_bytes(db, 0, junk, sizeof(junk));
	/* What is not its own it does not touch at all. */
	assert_refused(db, "portwake");
	assert_unanswered(db, "damaged");
	give_to_recorder(db);
	assert_refused(db, "damaged");
	put_bytes(sound, 100, junk, 4000);
	assert_refused(sound, "damaged");
	assert_unanswered(sound, "damaged");
	assert_int_equal(truncate(sound, 5000), 0);
	assert_refused(sound, "damaged");
}

static void newer_version(void **state)
{
	const char *db = sound_db("newer");

	(void)state;
	assert_int_equal(db_exec(db, "PRAGMA user_version = 9999"), SQLITE_OK);
	assert_refused(db, "newer");
	assert_unanswered(db, "newer");
	assert_int_equal(db_int(db, "PRAGMA user_version"), 9999);
}

/* Somebody else's database is not made ours. */
static void foreign_database(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	sqlite3 *open = NULL;

	(void)state;
	assert_int_equal(sqlite3_open(db, &open), SQLITE_OK);
	assert_int_equal(sqlite3_exec(open, "CREATE TABLE mine(x); INSERT INTO mine VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(open);
	assert_refused(db, "portwake");
	give_to_recorder(db);
	assert_refused(db, "not");
	assert_int_equal(db_int(db, "SELECT count(*) FROM mine"), 1);
	assert_int_equal(db_int(db, "SELECT count(*) FROM sqlite_schema"), 1);
}

/* While it records: it says so once, and goes on. */
static void damaged_meanwhile(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = dripping("damaged meanwhile");
	struct run *run = record_on(stage, db, NULL);
	char junk[4096];
	int status;

	(void)state;
	memset(junk, 'j', sizeof(junk));
	run_sleep(600);
	for (off_t at = 0; at < 4096 * 12; at += 4096)
		put_bytes(db, at, junk, sizeof(junk));
	run_sleep(3000);
	end_drip(stage);
	assert_true(run->err >= 0);
	status = run_stop(run, SIGTERM);
	assert_true(status == 0 || status == 1);
	assert_true(lines_about(run, db) <= 3);
}

/* ---- others at the file ---- */

static void second_recorder(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = dripping("second recorder");
	struct run *run = record_on(stage, db, NULL);
	char pid[16];

	(void)state;
	snprintf(pid, sizeof(pid), "%d", run->pid);
	assert_refused(db, pid);
	/* Its files go to nobody else for that. */
	run_sleep(1200);
	end_drip(stage);
	assert_recorded(stage, db);
	record_end(run);
	assert_integrity(db);
}

static void locked_by_another(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = dripping("locked");
	struct run *run = record_on(stage, db, NULL);
	sqlite3 *open = NULL;

	(void)state;
	assert_int_equal(sqlite3_open_v2(db, &open, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(open, 5000);
	assert_int_equal(sqlite3_exec(open, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	run_sleep(4000);
	assert_int_equal(sqlite3_exec(open, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(open);
	run_sleep(300);
	end_drip(stage);
	assert_all_recorded(stage, db);
	record_end(run);
	assert_integrity(db);
}

static void read_only(void **state)
{
	const char *dir = scratch_dir(), *db = scratch_path(dir, "history.db");
	struct stage *stage;
	struct run *run;

	(void)state;
	scratch_tmpfs(dir, "24m");
	stage = dripping("read-only");
	run = record_on(stage, db, NULL);
	run_sleep(600);
	end_drip(stage);
	record_end(run);
	run_free(&run);
	if (mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) < 0)
		skip_because("a tmpfs cannot be made read-only: %s", strerror(errno));
	assert_refused(db, "ead-only");
	/* Questions are answered. */
	assert_recorded(stage, db);
}

/* ---- a file that goes ---- */

static bool is_there_again(void *arg)
{
	struct stat st;

	return stat(arg, &st) == 0;
}

/* What came after is in the file that is there now. */
static void assert_goes_on(struct stage *stage, struct run *run, const char *db)
{
	if (!run_until(is_there_again, (void *)db, NOTICED_WITHIN))
		fail_msg("no new file: %s", run->talk);
	run_sleep(2000);
	end_drip(stage);
	assert_recorded(stage, db);
	record_end(run);
	assert_integrity(db);
	/* Not a few: what came before is what may be missing. */
	assert_true(db_int(db, "SELECT count(*) FROM lifetimes") > 100);
}

static void removed(void **state)
{
	const char *dir = scratch_dir(), *db = scratch_path(dir, "history.db");
	struct stage *stage = dripping("removed");
	struct run *run = record_on(stage, db, NULL);

	(void)state;
	run_sleep(700);
	unlink(db);
	unlink(scratch_path(dir, "history.db-wal"));
	unlink(scratch_path(dir, "history.db-shm"));
	assert_goes_on(stage, run, db);
}

static void mount_goes(void **state)
{
	const char *dir = scratch_dir(), *db = scratch_path(dir, "history.db");
	struct stage *stage;
	struct run *run;

	(void)state;
	scratch_tmpfs(dir, "24m");
	stage = dripping("mount goes");
	run = record_on(stage, db, NULL);
	run_sleep(700);
	assert_int_equal(umount2(dir, MNT_DETACH), 0);
	assert_goes_on(stage, run, db);
}

/* Moved away and told so: what was before is in the one, what is after in the other. */
static void moved_and_told(void **state)
{
	const char *dir = scratch_dir(), *db = scratch_path(dir, "history.db"), *old = scratch_path(dir, "old.db");
	struct stage *stage = stage_new("moved");
	struct run *run = record_on(stage, db, NULL);
	int64_t before, both;

	(void)state;
	stage->work.arg = &drip;
	stage_start(stage, drip_work);
	run_sleep(1500);
	assert_int_equal(rename(db, old), 0);
	assert_int_equal(rename(scratch_path(dir, "history.db-wal"), scratch_path(dir, "old.db-wal")), 0);
	rename(scratch_path(dir, "history.db-shm"), scratch_path(dir, "old.db-shm"));
	kill(run->pid, SIGHUP);
	run_sleep(1500 * (int)slow());
	end_drip(stage);
	assert_recorded(stage, db);
	record_end(run);
	before = db_int(old, "SELECT count(*) FROM lifetimes");
	both = before + db_int(db, "SELECT count(*) FROM lifetimes");
	print_message("  %u lifetimes, %lld in the old file, %lld in both\n", stage->work.truth->lives, (long long)before,
		      (long long)both);
	assert_true(before > 100);
	/* Some that lasted may be in both; none is in neither. */
	assert_in_range(both, stage->work.truth->lives, stage->work.truth->lives + 16);
	assert_integrity(old);
	assert_integrity(db);
}

/* SIGHUP of a file that is where it was: nothing is lost. */
static void told_for_nothing(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = dripping("told for nothing");
	struct run *run = record_on(stage, db, NULL);

	(void)state;
	for (int i = 0; i < 5; i++) {
		run_sleep(200);
		kill(run->pid, SIGHUP);
	}
	run_sleep(300);
	end_drip(stage);
	assert_all_recorded(stage, db);
	record_end(run);
	assert_integrity(db);
}

static const struct plain list[] = {
	{ "storage/full_disk_for_a_while", full_disk_for_a_while },
	{ "storage/full_disk_for_long", full_disk_for_long },
	{ "storage/damaged", damaged },
	{ "storage/damaged_meanwhile", damaged_meanwhile },
	{ "storage/newer_version", newer_version },
	{ "storage/foreign_database", foreign_database },
	{ "storage/second_recorder", second_recorder },
	{ "storage/locked_by_another", locked_by_another },
	{ "storage/read_only", read_only },
	{ "storage/removed", removed },
	{ "storage/mount_goes", mount_goes },
	{ "storage/moved_and_told", moved_and_told },
	{ "storage/told_for_nothing", told_for_nothing },
};

const struct plain_list storage_tests = { list, COUNT_OF(list) };
