/* SPDX-License-Identifier: GPL-2.0 */
/* The database's files: made, given away, opened. */
#include "user/dbfile.h"

#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

#include "user/history.h"
#include "user/mem.h"

#define IMAGE_MAX (16u << 20)
#define SUFFIX_MAX 8
#define LEFT_MAX 100		/* logs that were left behind, beside one database: -left, -left1, ... */

/* The database, and what SQLite may keep beside it. */
static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };

static int complain(int error, char *why, size_t size, const char *path, const char *remedy)
{
	snprintf(why, size, "%s: %s%s", path, strerror(error), remedy);
	return -error;
}

static const char *remedy_of(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return ": free some space there, or give another --db";
	case EROFS:
		return ": give a --db on a file system that can be written to";
	case ENOENT:
	case ENOTDIR:
		return ": make the directory, or give another --db";
	case ELOOP:
	case EISDIR:
		return ": give the path of a file";
	default:
		return "";
	}
}

/* ---- an empty database ---- */

static int read_image(const char *path, struct dbfile *file)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || st.st_size > IMAGE_MAX)
		return -EFBIG;
	file->image = pw_calloc(1, (size_t)st.st_size);
	if (!file->image)
		return -ENOMEM;
	file->image_size = (size_t)st.st_size;
	return read(fd, file->image, file->image_size) == st.st_size ? 0 : -EIO;
}

static void remove_all(const char *dir, const char *path)
{
	char name[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		unlink(name);
	}
	rmdir(dir);
}

/* SQLite makes it where nobody else can reach, and follows no link of the recorder's. */
static int make_image_in(const char *place, struct dbfile *file, char *why, size_t size)
{
	char dir[32], path[64];
	int r;

	snprintf(dir, sizeof(dir), "%s/portwake-XXXXXX", place);
	if (!mkdtemp(dir))
		return complain(errno, why, size, place, ", where an empty database is made first: have /run or /tmp take files");
	snprintf(path, sizeof(path), "%s/history.db", dir);
	r = store_create(path, why, size);
	if (!r) {
		r = read_image(path, file);
		if (r)
			complain(-r, why, size, path, "");
	}
	remove_all(dir, path);
	if (r)
		dbfile_done(file);
	return r;
}

static int make_image(struct dbfile *file, char *why, size_t size)
{
	static const char *const places[] = { "/run", "/tmp" };
	int r = -ENOENT;

	for (size_t i = 0; r && i < ARRAY_SIZE(places); i++)
		r = make_image_in(places[i], file, why, size);
	return r;
}

/* ---- where it is to be ---- */

static int make_default_dir(const struct dbfile *file, char *why, size_t size)
{
	char copy[] = HISTORY_DB;
	const char *dir = dirname(copy);

	if (mkdir(dir, 0750) < 0)
		return errno == EEXIST ? 0 : complain(errno, why, size, dir, remedy_of(errno));
	/* Whatever the umask; the group may look in, and only root makes files there. */
	if (chmod(dir, 0750) < 0 || chown(dir, 0, file->user.gid) < 0)
		return complain(errno, why, size, dir, "");
	return 0;
}

/* Its directory by its true name: the recorder cannot ask for the one it is in. */
static int resolve(const char *path, char out[PATH_MAX], char *why, size_t size)
{
	char one[PATH_MAX], two[PATH_MAX], dir[PATH_MAX];
	const char *name;

	if (strlen(path) + SUFFIX_MAX >= PATH_MAX)
		return complain(ENAMETOOLONG, why, size, "--db", "");
	strcpy(one, path);
	strcpy(two, path);
	name = basename(two);
	if (!realpath(dirname(one), dir))
		return complain(errno, why, size, path, remedy_of(errno));
	if (!*path || path[strlen(path) - 1] == '/' || !strcmp(name, ".") || !strcmp(name, ".."))
		return complain(EISDIR, why, size, path, remedy_of(EISDIR));
	if (snprintf(out, PATH_MAX, "%s/%s", strcmp(dir, "/") ? dir : "", name) + SUFFIX_MAX >= PATH_MAX)
		return complain(ENAMETOOLONG, why, size, path, "");
	return 0;
}

int dbfile_init(struct dbfile *file, const char *path, const struct privilege_user *user, char *why, size_t why_size)
{
	int r = 0;

	*file = (struct dbfile){ .user = *user };
	if (!path)
		r = make_default_dir(file, why, why_size);
	if (!r)
		r = resolve(path ? path : HISTORY_DB, file->path, why, why_size);
	return r ? r : make_image(file, why, why_size);
}

void dbfile_done(struct dbfile *file)
{
	pw_free(file->image);
	file->image = NULL;
}

/* ---- its directory ---- */

/*
 * One name at a time, none of them a link: where the recorder may write to a directory above, it could put one there to
 * have its files made anywhere. A descriptor, or -errno.
 */
static int open_dir(const struct dbfile *file)
{
	_cleanup_close_ int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *from = file->path + 1, *end;
	char name[NAME_MAX + 1];

	for (; at >= 0 && (end = strchr(from, '/')); from = end + 1) {
		int next;

		if ((size_t)(end - from) >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, from, (size_t)(end - from));
		name[end - from] = '\0';
		next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		close(at);
		at = next;
	}
	return at < 0 ? -errno : TAKE_FD(at);
}

/* Of one of the three, in that directory. */
static void name_of(const struct dbfile *file, const char *suffix, char out[PATH_MAX + SUFFIX_MAX])
{
	snprintf(out, PATH_MAX + SUFFIX_MAX, "%s%s", strrchr(file->path, '/') + 1, suffix);
}

/* ---- one file ---- */

/* On the disk before anything is: SQLite drops the log of a database that the power left empty. */
static int fill(int fd, const struct dbfile *file, bool with_image)
{
	const char *at = file->image;
	size_t left = with_image ? file->image_size : 0;

	while (left) {
		ssize_t put = write(fd, at, left);

		if (put < 0)
			return -errno;
		at += put;
		left -= (size_t)put;
	}
	if (fchmod(fd, 0640) < 0 || fchown(fd, file->user.uid, file->user.gid) < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

/* SQLite syncs where it believes the files to be, which is not there. What has no sync of directories needs none. */
static void sync_directory(int dir)
{
	_cleanup_close_ int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)!fsync(fd);
}

static int make(const struct dbfile *file, int dir, const char *name, bool with_image)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fill(fd, file, with_image);

	if (r && fd >= 0)
		unlinkat(dir, name, 0);
	if (!r)
		sync_directory(dir);
	return r == -EEXIST ? 0 : r;
}

/* A file of somebody else's is not taken: whoever may write to the directory could have it be any. */
static int check(const struct dbfile *file, int fd, const char *path, char *why, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return complain(errno, why, size, path, "");
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, size, "%s is not a regular file: give the path of one", path);
		return -EINVAL;
	}
	if (st.st_uid != file->user.uid) {
		snprintf(why, size, "%s belongs to user %u, not to " PRIVILEGE_USER ", who writes it: if it is a history, "
			 "chown " PRIVILEGE_USER ":" PRIVILEGE_USER " it", path, st.st_uid);
		return -EPERM;
	}
	return 0;
}

static int open_one(const struct dbfile *file, int dir, const char *suffix, int *out, char *why, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX + SUFFIX_MAX], name[PATH_MAX + SUFFIX_MAX];
	int r = 0;

	snprintf(path, sizeof(path), "%s%s", file->path, suffix);
	name_of(file, suffix, name);
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		r = make(file, dir, name, !*suffix);
		fd = r ? -1 : openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0)
		return complain(r ? -r : errno, why, size, path, remedy_of(r ? -r : errno));
	r = check(file, fd, path, why, size);
	if (!r)
		*out = TAKE_FD(fd);
	return r;
}

/* As mktemp(1) leaves it: nothing is lost with it. */
static bool is_empty(const struct dbfile *file, const struct stat *st)
{
	bool ours = st->st_uid == file->user.uid || (st->st_uid == geteuid() && st->st_nlink == 1);

	return S_ISREG(st->st_mode) && !st->st_size && ours;
}

/* One of a log that was left behind, in that directory. False: there is none. */
static bool stat_left(const struct dbfile *file, int dir, unsigned int n, char name[PATH_MAX + SUFFIX_MAX], struct stat *st)
{
	char suffix[20] = "-left";

	if (n)
		snprintf(suffix, sizeof(suffix), "-left%u", n);
	name_of(file, suffix, name);
	return !fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW);
}

/*
 * A database that was moved without its log lacks what is in there: only its owner may say that it can go. 0, or -errno:
 * then nothing may be made in its place.
 */
static int keep_log(const struct dbfile *file, int dir)
{
	char name[PATH_MAX + SUFFIX_MAX], left[PATH_MAX + SUFFIX_MAX];
	struct stat st;

	name_of(file, "-wal", name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) || !st.st_size)
		return 0;
	for (unsigned int n = 0; n < LEFT_MAX; n++) {
		if (!stat_left(file, dir, n, left, &st))
			return renameat(dir, name, dir, left) < 0 ? -errno : 0;
	}
	return -EEXIST;
}

/* An empty file is no database yet. */
static bool has_database(const struct dbfile *file, int dir)
{
	char name[PATH_MAX + SUFFIX_MAX];
	struct stat st;

	name_of(file, "", name);
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) ? errno != ENOENT : !is_empty(file, &st);
}

/* Somebody else's is neither removed nor kept as ours: it may be there because root would do either. */
static int check_leftovers(const struct dbfile *file, int dir, char *why, size_t size)
{
	char name[PATH_MAX + SUFFIX_MAX];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		name_of(file, suffixes[i], name);
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || st.st_uid == file->user.uid || st.st_uid == geteuid())
			continue;
		snprintf(why, size, "%s%s belongs to user %u, and would be taken for a part of the database: move it away, "
			 "or give another --db", file->path, suffixes[i], st.st_uid);
		return -EPERM;
	}
	return 0;
}

/* What a database that is gone has left behind would be taken for the new one's. */
static int remove_leftovers(const struct dbfile *file, int dir, char *why, size_t size)
{
	char name[PATH_MAX + SUFFIX_MAX];
	int r = check_leftovers(file, dir, why, size);

	if (r)
		return r;
	r = keep_log(file, dir);
	if (r)
		snprintf(why, size, "%s-wal, left by a database that was moved, cannot be kept as %s-left: %s: move it "
			 "beside that database, or remove it", file->path, file->path, strerror(-r));
	for (size_t i = 0; !r && i < ARRAY_SIZE(suffixes); i++) {
		name_of(file, suffixes[i], name);
		unlinkat(dir, name, 0);
	}
	return r;
}

bool dbfile_left(const struct dbfile *file, char *out, size_t size)
{
	_cleanup_close_ int dir = open_dir(file);
	char name[PATH_MAX + SUFFIX_MAX];
	bool found = false;
	struct stat st;

	for (unsigned int n = 0; dir >= 0 && n < LEFT_MAX; n++) {
		if (!stat_left(file, dir, n, name, &st) || !S_ISREG(st.st_mode))
			continue;
		if (!st.st_size)
			unlinkat(dir, name, 0);
		else if (!found)
			snprintf(out, size, "%.*s%s", (int)(strrchr(file->path, '/') + 1 - file->path), file->path, name);
		found = found || st.st_size;
	}
	return found;
}

int dbfile_open(const struct dbfile *file, struct store_files *out, char *why, size_t why_size)
{
	_cleanup_close_ int dir = open_dir(file);
	struct store_files files = STORE_FILES_INIT;
	int r;

	if (dir < 0)
		return complain(-dir, why, why_size, file->path, remedy_of(-dir));
	r = has_database(file, dir) ? 0 : remove_leftovers(file, dir, why, why_size);
	if (r)
		return r;
	r = open_one(file, dir, "", &files.db, why, why_size);
	if (!r)
		r = open_one(file, dir, "-wal", &files.wal, why, why_size);
	if (!r)
		r = open_one(file, dir, "-shm", &files.shm, why, why_size);
	if (r)
		store_files_close(&files);
	else
		*out = files;
	return r;
}

bool dbfile_is(const struct dbfile *file, uint64_t dev, uint64_t ino)
{
	_cleanup_close_ int dir = open_dir(file);
	char name[PATH_MAX + SUFFIX_MAX];
	struct stat st;

	name_of(file, "", name);
	return dir >= 0 && !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && st.st_dev == dev && st.st_ino == ino;
}

void store_files_close(struct store_files *files)
{
	close_fd(&files->db);
	close_fd(&files->wal);
	close_fd(&files->shm);
}
