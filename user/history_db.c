/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A history's database. All is read from one state of it: what retention drops meanwhile is still there.
 */
#include "user/history_db.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

#include "user/buf.h"
#include "user/clock.h"
#include "user/mem.h"
#include "user/schema.h"

#define BUSY_MS		2000
#define KNOWN_MAX	65536		/* processes and endpoints kept, but for those of one row */
#define FRESH_NS	12000000000ULL	/* a recorder that is silent for longer is stuck */

#define VALUES "closed, waited, cookie, process, endpoint, remote, bits, holder"

static const char *const texts[STATEMENTS] = {
	[BY_ID] = "SELECT id, ended, held, " VALUES " FROM lifetime "
		  "WHERE id BETWEEN ?1 AND ?2 AND ended >= ?3 AND ended - held <= ?4",
	[BY_TAIL] = "SELECT id, ended, held, " VALUES ", port FROM tail WHERE port BETWEEN ?1 AND ?2 ORDER BY port, id",
	[BY_HELD] = "SELECT session, since, generation, closed_at, waited_at, cookie, process, endpoint, remote, bits, holder, "
		    "port FROM held WHERE port BETWEEN ?1 AND ?2",
	[DENIED] = "SELECT at, until, count, process, endpoint, port, remote, call, errno, cause, t.text FROM denial d "
		   "LEFT JOIN text t ON t.id = detail WHERE d.id BETWEEN ?1 AND ?2 AND until >= ?3 AND at <= ?4 AND "
		   "port BETWEEN ?5 AND ?6",
	[BY_PROCESS] = "SELECT pid, uid, start, comm, e.text, g.text, c.text, l.text FROM process p "
		       "LEFT JOIN text e ON e.id = exe LEFT JOIN text g ON g.id = cgroup "
		       "LEFT JOIN text c ON c.id = container LEFT JOIN text l ON l.id = cmdline WHERE p.id = ?",
	[BY_ENDPOINT] = "SELECT netns, proto, addr FROM endpoint WHERE id = ?",
};

/* ---- opening ---- */

static int refuse(const char *path, int error, const char *reason, char *why, size_t why_size)
{
	snprintf(why, why_size, "%s: %s", path, reason);
	return error;
}

/* SQLite's last error. */
static int explain(const char *path, sqlite3 *db, char *why, size_t why_size)
{
	int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;

	switch (code) {
	case SQLITE_CORRUPT:
		return refuse(path, -EBADMSG, "it is damaged: move it away (`sqlite3 FILE .recover` reads what can be read)", why,
			      why_size);
	case SQLITE_NOTADB:
		return refuse(path, -EBADMSG, "it is no history, or is damaged: name another file", why, why_size);
	case SQLITE_BUSY:
		return refuse(path, -EBUSY, "another program has locked it: try again", why, why_size);
	case SQLITE_NOMEM:
		return refuse(path, -ENOMEM, "there is no memory to read it: give it more", why, why_size);
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return refuse(path, -EACCES, "it, or its -wal or -shm beside it, may not be read: ask as root, or as a member of "
			      "its group", why, why_size);
	default:
		snprintf(why, why_size, "%s: it cannot be read: %s", path, sqlite3_errmsg(db));
		return -EIO;
	}
}

int history_db_error(struct history *h)
{
	return explain(h->path, h->db, h->why, sizeof(h->why));
}

int history_db_no_memory(struct history *h)
{
	return refuse(h->path, -ENOMEM, "there is no memory to read it: give it more", h->why, sizeof(h->why));
}

/* Whose members may read it, as far as that can be seen. */
static int refuse_reading(const char *path, char *why, size_t why_size)
{
	const struct group *group;
	struct stat st;

	if (stat(path, &st))
		return refuse(path, -EACCES, "a directory on the way to it may not be entered: ask as root", why, why_size);
	group = getgrgid(st.st_gid);
	snprintf(why, why_size, "%s: it may not be read: ask as root, or as a member of the group %s", path,
		 group ? group->gr_name : "portwake");
	return -EACCES;
}

static int check_file(struct history *h, char *why, size_t why_size)
{
	struct stat st;
	int r;

	h->lock = open(h->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (h->lock < 0) {
		r = -errno;
		if (r == -ENOENT)
			return refuse(h->path, r, "there is no history: begin one with `portwake record`", why, why_size);
		if (r == -EACCES)
			return refuse_reading(h->path, why, why_size);
		return refuse(h->path, r, strerror(-r), why, why_size);
	}
	if (fstat(h->lock, &st) || !S_ISREG(st.st_mode))
		return refuse(h->path, -EBADMSG, "it is no file: name another", why, why_size);
	return 0;
}

static int check_version(struct history *h, char *why, size_t why_size)
{
	int64_t id = 0, version = 0;

	if (sql_ask(h->db, "PRAGMA application_id", &id) || sql_ask(h->db, "PRAGMA user_version", &version))
		return explain(h->path, h->db, why, why_size);
	if (id != SCHEMA_ID)
		return refuse(h->path, -EBADMSG, "it is an SQLite database, but no history: name another file", why, why_size);
	if (version > SCHEMA_VERSION)
		return refuse(h->path, -EPROTONOSUPPORT, "it is of a newer portwake: ask with that one", why, why_size);
	if (version < SCHEMA_VERSION)
		return refuse(h->path, -EPROTONOSUPPORT, "it is of an older portwake: `portwake record` brings it forward", why,
			      why_size);
	return 0;
}

/* A copy somewhere, without a log and in a directory closed to writing: nobody will change it. */
static int open_unchanging(struct history *h)
{
	_cleanup_buf_ struct buf name = BUF_INIT(3 * 4096);

	buf_adds(&name, "file:");
	for (const char *at = h->path; *at; at++) {
		if (strchr("?#%", *at))
			buf_printf(&name, "%%%02x", (unsigned char)*at);
		else
			buf_addc(&name, *at);
	}
	if (buf_adds(&name, "?immutable=1"))
		return -ENOMEM;
	sqlite3_close(h->db);
	h->db = NULL;
	return sqlite3_open_v2(name.data, &h->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
}

static bool has_log(const struct history *h)
{
	char name[4096];
	struct stat st;

	return snprintf(name, sizeof(name), "%s-wal", h->path) < (int)sizeof(name) && !stat(name, &st) && st.st_size;
}

static int begin_reading(struct history *h)
{
	sqlite3_busy_timeout(h->db, BUSY_MS);
	sqlite3_db_config(h->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return sql_do(h->db, "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; BEGIN; SELECT 1 FROM sqlite_master");
}

static int open_database(struct history *h, char *why, size_t why_size)
{
	int r = sqlite3_open_v2(h->path, &h->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) ? -EIO : begin_reading(h);
	int code = r ? sqlite3_errcode(h->db) : SQLITE_OK;

	if ((code == SQLITE_CANTOPEN || code == SQLITE_READONLY) && !has_log(h))
		r = open_unchanging(h) ? -EIO : begin_reading(h);
	if (r)
		return explain(h->path, h->db, why, why_size);
	return check_version(h, why, why_size);
}

/* ---- sessions, their clocks, chunks ---- */

void *history_db_grow(void *array, size_t count, size_t *size, size_t each)
{
	size_t more = *size ? *size * 2 : 64;

	if (count < *size)
		return array;
	array = pw_reallocarray(array, more, each);
	if (array)
		*size = more;
	return array;
}

static char *text_of(sqlite3_stmt *s, int at)
{
	const char *text = (const char *)sqlite3_column_text(s, at);

	return text ? pw_strdup(text) : NULL;
}

/* The last word of a filter that denied calls alone did not pass. */
static void take_no_denied(struct session *session)
{
	static const char word[] = "denied=no";
	size_t length = session->filter ? strlen(session->filter) : 0, at = length - (sizeof(word) - 1);

	session->no_denied = length >= sizeof(word) - 1 && !strcmp(session->filter + at, word);
	if (!session->no_denied)
		return;
	if (at) {
		session->filter[at - 1] = '\0';
	} else {
		pw_free(session->filter);
		session->filter = NULL;
	}
}

/* NULL without memory. */
static char *words_of(const char *filter)
{
	_cleanup_buf_ struct buf words = BUF_INIT(SCHEMA_FILTER_MAX + 64);
	int r = buf_printf(&words, "only %s was recorded", filter);

	if (r == -ENOBUFS)
		return pw_strdup("only what a filter passes was recorded");
	return r ? NULL : pw_strdup(buf_text(&words));
}

static int take_session(struct history *h, sqlite3_stmt *s)
{
	struct session *sessions = history_db_grow(h->sessions, h->session_count, &h->session_size, sizeof(*sessions));
	struct session *session, *before;

	if (!sessions)
		return -ENOMEM;
	h->sessions = sessions;
	session = &sessions[h->session_count];
	before = h->session_count ? session - 1 : NULL;
	*session = (struct session){
		.id = (uint32_t)sqlite3_column_int64(s, 0), .started = sqlite3_column_int64(s, 2),
		.ready = sqlite3_column_type(s, 3) == SQLITE_NULL ? INT64_MAX : sqlite3_column_int64(s, 3),
		.last = sqlite3_column_int64(s, 4), .stopped = sqlite3_column_type(s, 5) != SQLITE_NULL,
		.forgotten = sqlite3_column_int64(s, 6), .boot = text_of(s, 1), .filter = text_of(s, 7),
	};
	h->session_count++;
	take_no_denied(session);
	session->only = session->filter ? words_of(session->filter) : NULL;
	if (!session->boot || (session->filter && !session->only))
		return -ENOMEM;
	if (before)
		session->boot_number = before->boot_number + (strcmp(before->boot, session->boot) != 0);
	return 0;
}

uint32_t history_db_session(const struct history *h, int64_t id)
{
	size_t low = 0, high = h->session_count;

	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;

		if (h->sessions[middle].id <= id)
			low = middle;
		else
			high = middle;
	}
	return (uint32_t)low;
}

static int take_clock(struct history *h, sqlite3_stmt *s)
{
	uint32_t session = history_db_session(h, sqlite3_column_int64(s, 0));

	return walls_add(&h->walls, h->sessions[session].boot_number, session, sqlite3_column_int64(s, 1),
			 sqlite3_column_int64(s, 2));
}

static int take_chunk(struct history *h, sqlite3_stmt *s)
{
	struct chunk *chunks = history_db_grow(h->chunks, h->chunk_count, &h->chunk_size, sizeof(*chunks));

	if (!chunks)
		return -ENOMEM;
	h->chunks = chunks;
	chunks[h->chunk_count++] = (struct chunk){
		.id = sqlite3_column_int64(s, 0), .session = history_db_session(h, sqlite3_column_int64(s, 1)),
		.origin = sqlite3_column_int64(s, 2), .since = sqlite3_column_int64(s, 3), .until = sqlite3_column_int64(s, 4),
		.denials = sqlite3_column_int64(s, 5),
	};
	return 0;
}

static int each(struct history *h, const char *text, int (*take)(struct history *h, sqlite3_stmt *s))
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(h->db, text, -1, &s, NULL) ? -EIO : 0, step = SQLITE_DONE;

	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW)
		r = take(h, s);
	if (!r && step != SQLITE_DONE)
		r = -EIO;
	sqlite3_finalize(s);
	return r;
}

static bool locked_by_recorder(const struct history *h)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = SCHEMA_LOCK_AT, .l_len = 1 };

	return !fcntl(h->lock, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

/* A recorder that has the lock but gives no sign of life cannot write: its words are as old as its last sign. */
static void judge_last(struct history *h)
{
	struct session *last = h->session_count ? &h->sessions[h->session_count - 1] : NULL;

	if (last && !last->stopped && locked_by_recorder(h))
		last->runs = (int64_t)now_boottime() - last->last < (int64_t)FRESH_NS;
}

static int load(struct history *h)
{
	int r = each(h, "SELECT id, boot, started, ready, last, stopped, forgotten, filter FROM session ORDER BY id", take_session);

	if (!r && h->session_count)
		r = each(h, "SELECT session, at, offset FROM clock ORDER BY session, at", take_clock);
	if (!r && h->session_count)
		r = each(h, "SELECT id, session, origin, since, until, denials FROM chunk ORDER BY id", take_chunk);
	if (!r)
		r = sql_prepare(h->db, texts, STATEMENTS, h->statements);
	return r;
}

int history_db_open(const char *path, struct history **out, char *why, size_t why_size)
{
	_cleanup_(history_db_free) struct history *h = pw_calloc(1, sizeof(*h));
	int r;

	if (!h)
		return refuse(path, -ENOMEM, "there is no memory to read it: give it more", why, why_size);
	h->lock = -1;
	h->path = pw_strdup(path);
	r = h->path ? check_file(h, why, why_size) : -ENOMEM;
	if (!r)
		r = open_database(h, why, why_size);
	if (r)
		return r;
	r = load(h);
	if (r == -ENOMEM)
		return refuse(path, -ENOMEM, "there is no memory to read it: give it more", why, why_size);
	if (r)
		return explain(path, h->db, why, why_size);
	judge_last(h);
	*out = TAKE_PTR(h);
	return 0;
}

static void forget(struct map *map)
{
	void *value;

	for (size_t pos = 0; map_next(map, &pos, NULL, &value);)
		pw_free(value);
	map_done(map);
}

void history_db_free(struct history **history)
{
	struct history *h = *history;

	if (!h)
		return;
	sql_finish(h->statements, STATEMENTS);
	sqlite3_close(h->db);
	/* After SQLite's own descriptors: closing one drops the locks of all. */
	close_fd(&h->lock);
	for (size_t i = 0; i < h->session_count; i++) {
		pw_free(h->sessions[i].boot);
		pw_free(h->sessions[i].filter);
		pw_free(h->sessions[i].only);
	}
	pw_free(h->sessions);
	pw_free(h->chunks);
	walls_done(&h->walls);
	forget(&h->processes);
	forget(&h->endpoints);
	pw_free(h->path);
	pw_free(h);
	*history = NULL;
}

const struct chunk *history_db_chunk(const struct history *h, int64_t id)
{
	size_t low = 0, high = h->chunk_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (h->chunks[middle].id == id)
			return &h->chunks[middle];
		if (h->chunks[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int64_t history_db_known_until(const struct session *session)
{
	int64_t now = (int64_t)now_boottime();

	return session->runs && now > session->last ? now : session->last;
}

/* ---- values that rows share ---- */

static size_t text_size(sqlite3_stmt *s, int at)
{
	return sqlite3_column_type(s, at) == SQLITE_NULL ? 0 : (size_t)sqlite3_column_bytes(s, at) + 1;
}

static struct known_process *read_process(sqlite3_stmt *s)
{
	enum { FIRST = 3, LAST = 7 };
	const char *texts_of[LAST - FIRST + 1] = { NULL };
	struct known_process *known;
	size_t size = 0;
	char *at;

	for (int i = FIRST; i <= LAST; i++)
		size += text_size(s, i);
	known = pw_calloc(1, sizeof(*known) + size);
	if (!known)
		return NULL;
	at = known->strings;
	for (int i = FIRST; i <= LAST; i++) {
		if (!text_size(s, i))
			continue;
		texts_of[i - FIRST] = at;
		memcpy(at, sqlite3_column_text(s, i), text_size(s, i));
		at += text_size(s, i);
	}
	known->pid = (uint32_t)sqlite3_column_int64(s, 0);
	known->uid = (uint32_t)sqlite3_column_int64(s, 1);
	known->start = (uint64_t)sqlite3_column_int64(s, 2);
	known->comm = texts_of[0] ? texts_of[0] : "";
	known->exe = texts_of[1];
	known->cgroup = texts_of[2];
	known->container = texts_of[3];
	known->cmdline = texts_of[4];
	return known;
}

static struct endpoint *read_endpoint(sqlite3_stmt *s)
{
	struct endpoint *endpoint = pw_calloc(1, sizeof(*endpoint));
	const char *addr = (const char *)sqlite3_column_text(s, 2);

	if (!endpoint)
		return NULL;
	endpoint->netns = (uint32_t)sqlite3_column_int64(s, 0);
	endpoint->proto = (uint8_t)sqlite3_column_int64(s, 1);
	if (addr) {
		endpoint->addr.family = strchr(addr, ':') ? AF_INET6 : AF_INET;
		if (inet_pton(endpoint->addr.family, addr, endpoint->addr.bytes) != 1)
			endpoint->addr.family = 0;
	}
	return endpoint;
}

void history_db_trim(struct history *h)
{
	if (map_count(&h->processes) >= KNOWN_MAX)
		forget(&h->processes);
	if (map_count(&h->endpoints) >= KNOWN_MAX)
		forget(&h->endpoints);
}

/* The value of a number: *out NULL when there is none. 0 or -errno. */
static int look_up(struct history *h, struct map *map, int statement, uint32_t number, void **out)
{
	sqlite3_stmt *s = h->statements[statement];
	void *value = number ? map_get(map, number) : NULL;
	int r = 0;

	*out = value;
	if (value || !number)
		return 0;
	sqlite3_bind_int64(s, 1, number);
	if (sqlite3_step(s) == SQLITE_ROW) {
		value = statement == BY_PROCESS ? (void *)read_process(s) : (void *)read_endpoint(s);
		r = value ? map_put(map, number, value) : -ENOMEM;
		if (r)
			pw_free(value);
		else
			*out = value;
	}
	if (sqlite3_reset(s))
		return history_db_error(h);
	return r ? history_db_no_memory(h) : 0;
}

int history_db_process(struct history *h, uint32_t number, const struct known_process **out)
{
	void *value = NULL;
	int r = look_up(h, &h->processes, BY_PROCESS, number, &value);

	*out = value;
	return r;
}

int history_db_endpoint(struct history *h, uint32_t number, const struct endpoint **out)
{
	void *value = NULL;
	int r = look_up(h, &h->endpoints, BY_ENDPOINT, number, &value);

	*out = value;
	return r;
}
