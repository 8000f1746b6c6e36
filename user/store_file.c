/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The database as a file. SQLite opens by name alone; where a name leads nowhere (the directory is closed to
 * this user) it gets an invented one, which the calls it makes are taught to read as the descriptor.
 */
#include "user/store_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "user/mem.h"
#include "user/schema.h"
#include "user/sql.h"

#define PAGE_SIZE_WANTED	4096
#define BUSY_MS			500
#define VEILED_MAX		4		/* stores opened by descriptor at a time: the old and the new, and room */

extern const char schema[];

__asm__(".pushsection .rodata\n"
	".globl schema\n"
	".hidden schema\n"
	"schema: .incbin \"data/schema.sql\"\n"
	".byte 0\n"
	".popsection\n");

struct store_file {
	sqlite3 *db;
	char *path;		/* as the user gave it, for words */
	char *name;		/* as SQLite gets it */
	int lock;
	int veil;		/* its place in veils[], or -1 */
	uint64_t wal_bytes;
};

/* ---- by descriptor ---- */

#define VEIL "/portwake-by-descriptor-"

static struct store_files veils[VEILED_MAX];
static bool veil_used[VEILED_MAX];
static pthread_mutex_t veil_lock = PTHREAD_MUTEX_INITIALIZER;

typedef int (*open_fn)(const char *path, int flags, int mode);
typedef int (*access_fn)(const char *path, int mode);
typedef int (*stat_fn)(const char *path, struct stat *out);
typedef int (*unlink_fn)(const char *path);

static open_fn plain_open;
static access_fn plain_access;
static stat_fn plain_stat, plain_lstat;
static unlink_fn plain_unlink;

/* Is this a name of ours? Then *fd is what it stands for, or -1 for a file that there is not. */
static bool unveil(const char *path, int *fd)
{
	static const char *const names[] = { "", "-wal", "-shm" };
	size_t length = strlen(VEIL);
	const struct store_files *files;

	if (strncmp(path, VEIL, length) != 0 || path[length] < '0' || path[length] >= '0' + VEILED_MAX)
		return false;
	files = &veils[path[length] - '0'];
	*fd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(path + length + 1, names[i]))
			*fd = i == 0 ? files->db : i == 1 ? files->wal : files->shm;
	return true;
}

static int no_such_file(void)
{
	errno = ENOENT;
	return -1;
}

static int veiled_open(const char *path, int flags, int mode)
{
	char link[32];
	int fd;

	if (!unveil(path, &fd))
		return plain_open(path, flags, mode);
	if (fd < 0)
		return no_such_file();
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return open(link, (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_CLOEXEC, 0);
}

static int veiled_access(const char *path, int mode)
{
	char link[32];
	int fd;

	if (!unveil(path, &fd))
		return plain_access(path, mode);
	if (fd < 0)
		return no_such_file();
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return access(link, mode);
}

static int veiled_stat(const char *path, struct stat *out)
{
	int fd;

	if (!unveil(path, &fd))
		return plain_stat(path, out);
	return fd < 0 ? no_such_file() : fstat(fd, out);
}

/* SQLite resolves links in a name by it: the invented one has none, and is no file. */
static int veiled_lstat(const char *path, struct stat *out)
{
	int fd;

	return unveil(path, &fd) ? no_such_file() : plain_lstat(path, out);
}

static int veiled_unlink(const char *path)
{
	int fd;

	return unveil(path, &fd) ? no_such_file() : plain_unlink(path);
}

static sqlite3_syscall_ptr swap_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call)
{
	sqlite3_syscall_ptr before = vfs->xGetSystemCall(vfs, name);

	vfs->xSetSystemCall(vfs, name, call);
	return before;
}

/* Once for the whole process: these calls pass everything on but the invented names. */
static void teach(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

	if (plain_open)
		return;
	plain_access = (access_fn)swap_call(vfs, "access", (sqlite3_syscall_ptr)veiled_access);
	plain_stat = (stat_fn)swap_call(vfs, "stat", (sqlite3_syscall_ptr)veiled_stat);
	plain_lstat = (stat_fn)swap_call(vfs, "lstat", (sqlite3_syscall_ptr)veiled_lstat);
	plain_unlink = (unlink_fn)swap_call(vfs, "unlink", (sqlite3_syscall_ptr)veiled_unlink);
	plain_open = (open_fn)swap_call(vfs, "open", (sqlite3_syscall_ptr)veiled_open);
}

/* Of its own: a thread that is stuck in the kernel may come back after the caller has closed his. -errno. */
static int double_files(const struct store_files *files, struct store_files *out)
{
	const int from[] = { files->db, files->wal, files->shm };
	int *const to[] = { &out->db, &out->wal, &out->shm };

	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		*to[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, 0);
		if (from[i] < 0 || *to[i] >= 0)
			continue;
		for (; i; i--)
			close_fd(to[i - 1]);
		return -1;
	}
	return 0;
}

/* A place for these descriptors, or -1: too many at a time. */
static int take_veil(const struct store_files *files)
{
	int found = -1;

	pthread_mutex_lock(&veil_lock);
	teach();
	for (int i = 0; i < VEILED_MAX && found < 0; i++)
		if (!veil_used[i])
			found = i;
	if (found >= 0 && double_files(files, &veils[found]))
		found = -1;
	if (found >= 0)
		veil_used[found] = true;
	pthread_mutex_unlock(&veil_lock);
	return found;
}

static void give_veil(int veil)
{
	if (veil < 0)
		return;
	pthread_mutex_lock(&veil_lock);
	close_fd(&veils[veil].db);
	close_fd(&veils[veil].wal);
	close_fd(&veils[veil].shm);
	veil_used[veil] = false;
	pthread_mutex_unlock(&veil_lock);
}

/* ---- errors ---- */

static const struct {
	int code, error;
	const char *reason, *remedy;
} errors[] = {
	{ SQLITE_FULL, ENOSPC, "the disk is full", "make room there" },
	{ SQLITE_READONLY, EROFS, "it cannot be written to", "look at the mount and at the file's owner" },
	{ SQLITE_PERM, EACCES, "it may not be opened", "look at its owner and mode" },
	{ SQLITE_AUTH, EACCES, "it may not be opened", "look at its owner and mode" },
	{ SQLITE_BUSY, EBUSY, "another program has locked it", "end that program's transaction" },
	{ SQLITE_LOCKED, EBUSY, "another program has locked it", "end that program's transaction" },
	{ SQLITE_PROTOCOL, EBUSY, "another program has locked it", "end that program's transaction" },
	{ SQLITE_CORRUPT, EBADMSG, "it is damaged", "move it away (`sqlite3 FILE .recover` reads what can be read)" },
	{ SQLITE_NOTADB, EBADMSG, "it is no SQLite database, or is damaged", "move it away, or name another file" },
	{ SQLITE_NOMEM, ENOMEM, "there is no memory", "give it more" },
	{ SQLITE_CANTOPEN, EIO, "it cannot be opened", "look at its directory, and at the file's owner and mode" },
	{ SQLITE_IOERR, EIO, "it cannot be read or written", "look at the disk (dmesg)" },
};

static int explain(const char *path, sqlite3 *db, char *why, size_t why_size)
{
	int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
	int system = db ? sqlite3_system_errno(db) : 0;

	if (code == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT))
		code = SQLITE_FULL;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		if (errors[i].code != code)
			continue;
		snprintf(why, why_size, "%s: %s%s%s%s: %s", path, errors[i].reason,
			 errors[i].error == EIO && system ? " (" : "", errors[i].error == EIO && system ? strerror(system) : "",
			 errors[i].error == EIO && system ? ")" : "", errors[i].remedy);
		return code == SQLITE_CANTOPEN && system ? -system : -errors[i].error;
	}
	snprintf(why, why_size, "%s: %s (SQLite error %d): report this", path, db ? sqlite3_errmsg(db) : "", code);
	return -EIO;
}

int store_file_error(struct store_file *file, char *why, size_t why_size)
{
	return explain(file->path, file->db, why, why_size);
}

/* ---- opening ---- */

/* Step i brings tables of version i to version i + 1. */
static const char *const steps[SCHEMA_VERSION] = { schema };

static int bring_forward(sqlite3 *db, int64_t from)
{
	char mark[80];
	int r = sql_do(db, "BEGIN EXCLUSIVE");

	snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", SCHEMA_ID, SCHEMA_VERSION);
	for (int64_t i = from; !r && i < SCHEMA_VERSION; i++)
		r = sql_do(db, steps[i]);
	if (!r)
		r = sql_do(db, mark);
	return r;
}

/* Of what is no database of ours nothing is changed, not even its journal. */
static bool is_foreign(sqlite3 *db)
{
	int64_t id = 0, tables = 0;

	return !sql_ask(db, "PRAGMA application_id", &id) && !sql_ask(db, "SELECT count(*) FROM sqlite_master", &tables) &&
	       id != SCHEMA_ID && tables;
}

/* Is it ours, and of a version that is known? Older ones are brought forward. */
static int check_version(const char *path, sqlite3 *db, char *why, size_t why_size)
{
	int64_t version = 0;

	if (sql_ask(db, "PRAGMA user_version", &version))
		return explain(path, db, why, why_size);
	if (is_foreign(db)) {
		snprintf(why, why_size, "%s: it is an SQLite database, but not of portwake: name another file", path);
		return -EBADMSG;
	}
	if (version > SCHEMA_VERSION) {
		snprintf(why, why_size, "%s: it is of a newer portwake (version %lld, this one knows %d): use that one, or "
			 "another file", path, (long long)version, SCHEMA_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (version == SCHEMA_VERSION)
		return 0;
	return bring_forward(db, version) ? explain(path, db, why, why_size) : 0;
}

static int note_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct store_file *file = arg;

	(void)db;
	(void)name;
	file->wal_bytes = (uint64_t)pages * PAGE_SIZE_WANTED;
	return SQLITE_OK;
}

/* A copy that was made by SQLite has no log. To begin one a journal is written, for which there is no name: without. */
static int leave_journal(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &s, NULL) ? -EIO : 0;
	bool logged = !r && sqlite3_step(s) == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(s, 0), "wal");

	sqlite3_finalize(s);
	return r || logged ? r : sql_do(db, "PRAGMA journal_mode = MEMORY");
}

static int connect(const char *name, int flags, sqlite3 **out)
{
	/* FULL: a commit is on the disk before it is told. The log is checkpointed by hand, and kept at the end: those
	 * who may only read could not make it; what a long reader made of it is given back. */
	static const char settings[] =
		"PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
		"PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY;"
		"PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -4096; PRAGMA trusted_schema = OFF";
	sqlite3 *db = NULL;
	int keep = 1, r = sqlite3_open_v2(name, &db, flags | SQLITE_OPEN_NOMUTEX, NULL);

	*out = db;
	if (r)
		return -EIO;
	sqlite3_busy_timeout(db, BUSY_MS);
	sqlite3_extended_result_codes(db, 0);
	sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
	if (is_foreign(db))
		return 0;
	r = leave_journal(db);
	return r ? r : sql_do(db, settings);
}

int store_file_create(const char *path, char *why, size_t why_size)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	sqlite3 *db = NULL;
	int r;

	if (fd < 0) {
		r = -errno;
		snprintf(why, why_size, "%s: it cannot be made: %s", path, strerror(-r));
		return r;
	}
	close_fd(&fd);
	r = connect(path, SQLITE_OPEN_READWRITE, &db);
	r = r ? explain(path, db, why, why_size) : check_version(path, db, why, why_size);
	sqlite3_close(db);
	return r;
}

/* Who holds it, by the last session's word; 0: not told. */
static int64_t recorder_of(const char *name)
{
	sqlite3 *db = NULL;
	int64_t pid = 0;

	if (!sqlite3_open_v2(name, &db, SQLITE_OPEN_READONLY, NULL))
		sql_ask(db, "SELECT pid FROM session ORDER BY id DESC LIMIT 1", &pid);
	sqlite3_close(db);
	return pid;
}

static int lock_file(struct store_file *file, char *why, size_t why_size)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = SCHEMA_LOCK_AT, .l_len = 1 };
	int64_t pid;
	int r;

	file->lock = file->veil >= 0 ? veiled_open(file->name, O_RDWR, 0) : open(file->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (file->lock < 0) {
		r = -errno;
		snprintf(why, why_size, "%s: %s: look at its owner and mode, and at the mount", file->path, strerror(-r));
		return r;
	}
	if (!fcntl(file->lock, F_OFD_SETLK, &lock))
		return 0;
	r = -errno;
	if (r != -EAGAIN && r != -EACCES) {
		snprintf(why, why_size, "%s: it cannot be locked: %s", file->path, strerror(-r));
		return r;
	}
	pid = recorder_of(file->name);
	if (pid)
		snprintf(why, why_size, "%s: process %lld records to it: end that one, or name another file", file->path,
			 (long long)pid);
	else
		snprintf(why, why_size, "%s: another portwake records to it: end that one, or name another file", file->path);
	return -EBUSY;
}

int store_file_again(struct store_file *file, char *why, size_t why_size)
{
	int r;

	sqlite3_close(file->db);
	file->db = NULL;
	file->wal_bytes = 0;
	r = connect(file->name, SQLITE_OPEN_READWRITE, &file->db);
	r = r ? explain(file->path, file->db, why, why_size) : check_version(file->path, file->db, why, why_size);
	if (r) {
		sqlite3_close(file->db);
		file->db = NULL;
		return r;
	}
	sqlite3_wal_hook(file->db, note_wal, file);
	return 0;
}

static int name_file(struct store_file *file, const char *path, const struct store_files *files)
{
	char name[sizeof(VEIL) + 2];

	file->path = pw_strdup(path);
	if (!file->path)
		return -ENOMEM;
	if (files->db < 0) {
		file->name = pw_strdup(path);
		return file->name ? 0 : -ENOMEM;
	}
	file->veil = take_veil(files);
	if (file->veil < 0)
		return -EMFILE;
	snprintf(name, sizeof(name), "%s%d", VEIL, file->veil);
	file->name = pw_strdup(name);
	return file->name ? 0 : -ENOMEM;
}

int store_file_open(const char *path, const struct store_files *files, struct store_file **out, char *why,
		    size_t why_size)
{
	_cleanup_store_file_ struct store_file *file = pw_calloc(1, sizeof(*file));
	int r;

	if (!file)
		return -ENOMEM;
	file->lock = file->veil = -1;
	r = name_file(file, path, files);
	if (r) {
		snprintf(why, why_size, "%s: %s", path, strerror(-r));
		return r;
	}
	r = lock_file(file, why, why_size);
	if (!r)
		r = store_file_again(file, why, why_size);
	if (!r)
		*out = TAKE_PTR(file);
	return r;
}

/* Closing any descriptor of the file drops SQLite's own locks on it: the lock goes last. */
void store_file_free(struct store_file **file)
{
	struct store_file *f = *file;

	if (!f)
		return;
	sqlite3_close(f->db);
	close_fd(&f->lock);
	give_veil(f->veil);
	pw_free(f->path);
	pw_free(f->name);
	pw_free(f);
	*file = NULL;
}

struct sqlite3 *store_file_db(struct store_file *file)
{
	return file->db;
}

uint64_t store_file_wal(const struct store_file *file)
{
	return file->wal_bytes;
}
