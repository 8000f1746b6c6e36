/* SPDX-License-Identifier: GPL-2.0 */
/* The database's files: made, kept, refused. */
#include "user/dbfile.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

struct place {
	char dir[64], path[96];
	struct dbfile file;
	char why[512];
};

/* The files are the caller's own: to give them away takes root. */
static struct place *fresh(void)
{
	struct privilege_user user = { getuid(), getgid() };
	struct place *place = calloc(1, sizeof(*place));

	assert_non_null(place);
	strcpy(place->dir, "/tmp/portwake-dbfile-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	snprintf(place->path, sizeof(place->path), "%s/history.db", place->dir);
	if (dbfile_init(&place->file, place->path, &user, place->why, sizeof(place->why)))
		fail_msg("%s", place->why);
	return place;
}

static void done(struct place *place)
{
	char command[128];

	dbfile_done(&place->file);
	snprintf(command, sizeof(command), "rm -r %s", place->dir);
	assert_int_equal(system(command), 0);
	free(place);
}

static void suffixed(const struct place *place, const char *suffix, char out[128])
{
	snprintf(out, 128, "%s%s", place->path, suffix);
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void makes_all_three(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	struct store_files files = STORE_FILES_INIT, again = STORE_FILES_INIT;
	struct place *place = fresh();
	char path[128], magic[16] = "";
	struct stat st, other;
	FILE *file;

	(void)state;
	assert_int_equal(dbfile_open(&place->file, &files, place->why, sizeof(place->why)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		suffixed(place, suffixes[i], path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0640);
		assert_int_equal(!st.st_size, i != 0);
	}
	file = fopen(place->path, "re");
	assert_int_equal(fread(magic, 1, sizeof(magic), file), sizeof(magic));
	fclose(file);
	assert_string_equal(magic, "SQLite format 3");
	/* Empty is as good as not there, */
	assert_int_equal(truncate(place->path, 0), 0);
	store_files_close(&files);
	assert_int_equal(dbfile_open(&place->file, &files, place->why, sizeof(place->why)), 0);
	assert_int_equal(stat(place->path, &st), 0);
	assert_true(st.st_size > 0);
	/* They are there now: the same again. */
	assert_int_equal(dbfile_open(&place->file, &again, place->why, sizeof(place->why)), 0);
	assert_int_equal(fstat(files.wal, &st) | fstat(again.wal, &other), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	store_files_close(&files);
	assert_int_equal(files.db, -1);
	store_files_close(&again);
	done(place);
}

static void knows_its_own(void **state)
{
	struct store_files files = STORE_FILES_INIT;
	struct place *place = fresh();
	struct stat st;

	(void)state;
	assert_int_equal(dbfile_open(&place->file, &files, place->why, sizeof(place->why)), 0);
	assert_int_equal(fstat(files.db, &st), 0);
	assert_true(dbfile_is(&place->file, st.st_dev, st.st_ino));
	assert_false(dbfile_is(&place->file, st.st_dev, st.st_ino + 1));
	assert_int_equal(unlink(place->path), 0);
	assert_false(dbfile_is(&place->file, st.st_dev, st.st_ino));
	store_files_close(&files);
	done(place);
}

static void assert_text(const char *path, const char *text)
{
	char got[32] = "";
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	assert_int_equal(fread(got, 1, sizeof(got) - 1, file), strlen(text));
	fclose(file);
	assert_string_equal(got, text);
}

static void reopen(struct place *place)
{
	struct store_files files = STORE_FILES_INIT;

	if (dbfile_open(&place->file, &files, place->why, sizeof(place->why)))
		fail_msg("%s", place->why);
	store_files_close(&files);
}

/* The journal of a database that is gone would be taken for the new one's. */
static void leftovers_go(void **state)
{
	struct place *place = fresh();
	char wal[128], shm[128], left[128];
	struct stat st;

	(void)state;
	suffixed(place, "-wal", wal);
	suffixed(place, "-shm", shm);
	write_text(wal, "");
	write_text(shm, "of another");
	reopen(place);
	assert_int_equal(stat(shm, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_false(dbfile_left(&place->file, left, sizeof(left)));
	/* Beside its own database it stays. */
	write_text(wal, "its own");
	reopen(place);
	assert_text(wal, "its own");
	assert_false(dbfile_left(&place->file, left, sizeof(left)));
	done(place);
}

/* What is in the log of a database that was moved without it is nowhere else. */
static void log_that_was_left_is_kept(void **state)
{
	static const char *const logs[] = { "of the first", "of the second", "of the third" };
	static const char *const names[] = { "-left", "-left1", "-left2" };
	struct place *place = fresh();
	char path[128], left[128];
	struct stat st;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
		suffixed(place, "-wal", path);
		write_text(path, logs[i]);
		reopen(place);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, 0);
		assert_int_equal(unlink(place->path), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
		suffixed(place, names[i], path);
		assert_text(path, logs[i]);
		assert_true(dbfile_left(&place->file, left, sizeof(left)));
		assert_string_equal(left, path);
		/* One that was emptied after the move is of no use. */
		assert_int_equal(truncate(path, 0), 0);
	}
	assert_false(dbfile_left(&place->file, left, sizeof(left)));
	for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
		suffixed(place, names[i], path);
		assert_int_equal(access(path, F_OK), -1);
	}
	done(place);
}

static void refuse(struct place *place, int error, const char *words)
{
	struct store_files files = STORE_FILES_INIT;

	assert_int_equal(dbfile_open(&place->file, &files, place->why, sizeof(place->why)), error);
	assert_int_equal(files.db, -1);
	if (!strstr(place->why, words) || !strstr(place->why, place->path))
		fail_msg("no '%s' in: %s", words, place->why);
}

/* Nor is it dropped where there is no name for it. */
static void log_that_cannot_be_kept_is_no_leftover(void **state)
{
	struct place *place = fresh();
	char path[128], suffix[16] = "-left";

	(void)state;
	for (int i = 0; i < 100; i++) {
		if (i)
			snprintf(suffix, sizeof(suffix), "-left%d", i);
		suffixed(place, suffix, path);
		write_text(path, "of another");
	}
	suffixed(place, "-wal", path);
	write_text(path, "the last");
	refuse(place, -EEXIST, "cannot be kept");
	assert_text(path, "the last");
	assert_int_equal(access(place->path, F_OK), -1);
	done(place);
}

static void links_are_not_followed(void **state)
{
	struct place *place = fresh();
	char other[128], got[16] = "";
	FILE *file;

	(void)state;
	snprintf(other, sizeof(other), "%s/other", place->dir);
	write_text(other, "precious");
	assert_int_equal(symlink(other, place->path), 0);
	refuse(place, -EINVAL, "not a regular file");
	/* To nowhere, it is not made there. */
	assert_int_equal(unlink(place->path), 0);
	assert_int_equal(symlink("/tmp/portwake-dbfile-nowhere", place->path), 0);
	refuse(place, -EINVAL, "not a regular file");
	assert_int_equal(access("/tmp/portwake-dbfile-nowhere", F_OK), -1);
	file = fopen(other, "re");
	assert_int_equal(fread(got, 1, sizeof(got) - 1, file), strlen("precious"));
	fclose(file);
	assert_string_equal(got, "precious");
	done(place);
}

/* Nor above: whoever may write there could lead root anywhere. */
static void links_above_are_not_followed(void **state)
{
	struct store_files files = STORE_FILES_INIT;
	struct place *place = fresh(), *elsewhere = fresh();
	char moved[80];
	struct stat st;

	(void)state;
	assert_int_equal(dbfile_open(&place->file, &files, place->why, sizeof(place->why)), 0);
	assert_int_equal(fstat(files.db, &st), 0);
	store_files_close(&files);
	snprintf(moved, sizeof(moved), "%s-moved", place->dir);
	assert_int_equal(rename(place->dir, moved), 0);
	assert_int_equal(symlink(elsewhere->dir, place->dir), 0);
	refuse(place, -ENOTDIR, "Not a directory");
	assert_int_equal(access(elsewhere->path, F_OK), -1);
	/* The very file is not found by a link either. */
	assert_int_equal(unlink(place->dir) | symlink(moved, place->dir), 0);
	assert_false(dbfile_is(&place->file, st.st_dev, st.st_ino));
	assert_int_equal(unlink(place->dir) | rename(moved, place->dir), 0);
	assert_true(dbfile_is(&place->file, st.st_dev, st.st_ino));
	done(elsewhere);
	done(place);
}

static void others_files_are_refused(void **state)
{
	struct store_files files = STORE_FILES_INIT;
	struct place *place = fresh();
	struct stat st;

	(void)state;
	write_text(place->path, "of another");
	place->file.user.uid++;
	refuse(place, -EPERM, "belongs to user");
	/* An empty one of root's own, as mktemp leaves it, is nobody's history. */
	write_text(place->path, "");
	place->file.user.uid = 65534;
	if (!geteuid()) {
		assert_int_equal(dbfile_open(&place->file, &files, place->why, sizeof(place->why)), 0);
		assert_int_equal(stat(place->path, &st), 0);
		assert_int_equal(st.st_uid, 65534);
		store_files_close(&files);
	}
	done(place);
}

/* Where the database is missing they are not removed as what it has left behind. */
static void others_leftovers_are_refused(void **state)
{
	static const char *const suffixes[] = { "-wal", "-shm", "-journal" };
	struct place *place;
	char path[128];

	(void)state;
	if (geteuid())
		skip();
	place = fresh();
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		suffixed(place, suffixes[i], path);
		write_text(path, "of another");
		assert_int_equal(chown(path, 65534, 65534), 0);
		refuse(place, -EPERM, "belongs to user 65534");
		assert_text(path, "of another");
		assert_int_equal(access(place->path, F_OK), -1);
		/* Root's own goes. */
		assert_int_equal(chown(path, 0, 0), 0);
		reopen(place);
		assert_int_equal(unlink(place->path), 0);
	}
	done(place);
}

/* In a child with mounts of its own, /run and /tmp as the options say: what dbfile_init() returns. */
static int init_with(const char *run, unsigned long run_flags, unsigned long tmp_flags, char *why)
{
	struct privilege_user user = { 0 };
	struct dbfile file;
	int status, r;
	pid_t pid = fork();

	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("tmpfs", "/run", "tmpfs", run_flags, run) || mount("tmpfs", "/tmp", "tmpfs", tmp_flags, NULL))
			_exit(255);
		r = dbfile_init(&file, "/dev/history.db", &user, why, 512);
		_exit(!r && !file.image_size ? 254 : -r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void image_is_made_where_there_is_room(void **state)
{
	char *why;
	int r;

	(void)state;
	if (geteuid())
		skip();
	why = mmap(NULL, 512, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(why != MAP_FAILED);
	r = init_with("size=4k", 0, 0, why);
	if (r == 255)
		skip();
	assert_int_equal(r, 0);
	assert_int_equal(init_with(NULL, MS_RDONLY, 0, why), 0);
	assert_int_equal(init_with(NULL, MS_RDONLY, MS_RDONLY, why), EROFS);
	assert_non_null(strstr(why, "/tmp: Read-only file system"));
	munmap(why, 512);
}

static void strange_paths(void **state)
{
	static const char *const paths[] = { "/", "/tmp/", "/tmp/..", ".", "", "/nowhere/at/all/history.db" };
	struct privilege_user user = { getuid(), getgid() };
	struct dbfile file;
	char why[512], longer[PATH_MAX + 10];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!dbfile_init(&file, paths[i], &user, why, sizeof(why)))
			fail_msg("'%s' is taken", paths[i]);
		dbfile_done(&file);
	}
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(dbfile_init(&file, longer, &user, why, sizeof(why)), -ENAMETOOLONG);
	dbfile_done(&file);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(makes_all_three),
	cmocka_unit_test(knows_its_own),
	cmocka_unit_test(leftovers_go),
	cmocka_unit_test(log_that_was_left_is_kept),
	cmocka_unit_test(log_that_cannot_be_kept_is_no_leftover),
	cmocka_unit_test(links_are_not_followed),
	cmocka_unit_test(links_above_are_not_followed),
	cmocka_unit_test(others_files_are_refused),
	cmocka_unit_test(others_leftovers_are_refused),
	cmocka_unit_test(image_is_made_where_there_is_room),
	cmocka_unit_test(strange_paths),
};

UNIT_MAIN(tests)
