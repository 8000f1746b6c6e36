/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rows to answers. All of one struct history is read from one state of the database: what retention drops meanwhile
 * is still there.
 */
#include "user/history.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include "user/buf.h"
#include "user/clock.h"
#include "user/history_clock.h"
#include "user/map.h"
#include "user/mem.h"
#include "user/num.h"
#include "user/schema.h"
#include "user/sql.h"

#define BUSY_MS		2000
#define SORTED_PORTS	256		/* up to so many are answered in order, */
#define SORTED_ROWS	65536		/* so many at a time */
#define KNOWN_MAX	65536		/* processes and endpoints kept */
#define FRESH_NS	(2 * SCHEMA_LIFE_NS + 2000000000ULL)	/* a recorder that is silent for longer is stuck */
#define UNWRITTEN_NS	1000000000ULL	/* what may not be in the file yet */

struct session {
	uint32_t id, boot_number;
	int64_t started, ready, last, forgotten;	/* ready INT64_MAX: never */
	bool stopped, runs;
	char *boot, *filter;
};

struct chunk {
	int64_t id, origin, since, until;
	uint32_t session;		/* index */
};

struct endpoint {
	uint32_t netns;
	uint8_t proto;
	struct event_addr addr;
};

struct known_process {
	struct past_process process;
	char strings[];
};

/* A row, before its numbers are looked up. */
struct found {
	uint64_t cookie;
	int64_t since, until, closed_at, tw_at;	/* boottime; closed_at, tw_at INT64_MIN: never */
	uint32_t session;		/* index */
	uint32_t generation;
	uint32_t process, holder, endpoint;
	uint32_t bits;
	uint16_t port, remote_port;
	bool lasts;
	struct event_addr remote;
};

enum { BY_ID, BY_TAIL, BY_HELD, BY_PROCESS, BY_ENDPOINT, STATEMENTS };

#define VALUES "closed, waited, cookie, process, endpoint, remote, bits, holder"

static const char *const texts[STATEMENTS] = {
	[BY_ID] = "SELECT id, ended, held, " VALUES " FROM lifetime "
		  "WHERE id BETWEEN ?1 AND ?2 AND ended >= ?3 AND ended - held <= ?4",
	[BY_TAIL] = "SELECT id, ended, held, " VALUES ", port FROM tail WHERE port BETWEEN ?1 AND ?2 ORDER BY port, id",
	[BY_HELD] = "SELECT session, since, generation, closed_at, waited_at, cookie, process, endpoint, remote, bits, holder, "
		    "port FROM held WHERE port BETWEEN ?1 AND ?2",
	[BY_PROCESS] = "SELECT pid, uid, start, comm, e.text, g.text, c.text, l.text FROM process p "
		       "LEFT JOIN text e ON e.id = exe LEFT JOIN text g ON g.id = cgroup "
		       "LEFT JOIN text c ON c.id = container LEFT JOIN text l ON l.id = cmdline WHERE p.id = ?",
	[BY_ENDPOINT] = "SELECT netns, proto, addr FROM endpoint WHERE id = ?",
};

struct history {
	sqlite3 *db;
	int lock;			/* a descriptor to ask for the recorder's lock */
	char *path;
	char why[256];
	sqlite3_stmt *statements[STATEMENTS];
	struct session *sessions;
	size_t session_count, session_size;
	struct chunk *chunks;
	size_t chunk_count, chunk_size;
	struct walls walls;
	struct map processes, endpoints;	/* by number */
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

static int explain_here(struct history *h)
{
	return explain(h->path, h->db, h->why, sizeof(h->why));
}

static int no_memory(struct history *h)
{
	return refuse(h->path, -ENOMEM, "there is no memory to read it: give it more", h->why, sizeof(h->why));
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
			return refuse(h->path, r, "it may not be read: ask as root, or as a member of its group", why, why_size);
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

	if (r && sqlite3_errcode(h->db) == SQLITE_CANTOPEN && !has_log(h))
		r = open_unchanging(h) ? -EIO : begin_reading(h);
	if (r)
		return explain(h->path, h->db, why, why_size);
	return check_version(h, why, why_size);
}

/* ---- sessions, their clocks, chunks ---- */

static void *grow(void *array, size_t count, size_t *size, size_t each)
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

static int take_session(struct history *h, sqlite3_stmt *s)
{
	struct session *sessions = grow(h->sessions, h->session_count, &h->session_size, sizeof(*sessions));
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
	if (!session->boot)
		return -ENOMEM;
	if (before)
		session->boot_number = before->boot_number + (strcmp(before->boot, session->boot) != 0);
	return 0;
}

static uint32_t session_index(const struct history *h, int64_t id)
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
	uint32_t session = session_index(h, sqlite3_column_int64(s, 0));

	return walls_add(&h->walls, h->sessions[session].boot_number, session, sqlite3_column_int64(s, 1),
			 sqlite3_column_int64(s, 2));
}

static int take_chunk(struct history *h, sqlite3_stmt *s)
{
	struct chunk *chunks = grow(h->chunks, h->chunk_count, &h->chunk_size, sizeof(*chunks));

	if (!chunks)
		return -ENOMEM;
	h->chunks = chunks;
	chunks[h->chunk_count++] = (struct chunk){
		.id = sqlite3_column_int64(s, 0), .session = session_index(h, sqlite3_column_int64(s, 1)),
		.origin = sqlite3_column_int64(s, 2), .since = sqlite3_column_int64(s, 3), .until = sqlite3_column_int64(s, 4),
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
		r = each(h, "SELECT id, session, origin, since, until FROM chunk ORDER BY id", take_chunk);
	if (!r)
		r = sql_prepare(h->db, texts, STATEMENTS, h->statements);
	return r;
}

int history_open(const char *path, struct history **out, char *why, size_t why_size)
{
	_cleanup_history_ struct history *h = pw_calloc(1, sizeof(*h));
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

void history_free(struct history **history)
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

const char *history_why(const struct history *history)
{
	return history->why;
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
	known->process = (struct past_process){
		.pid = (uint32_t)sqlite3_column_int64(s, 0), .uid = (uint32_t)sqlite3_column_int64(s, 1),
		.start = (uint64_t)sqlite3_column_int64(s, 2), .comm = texts_of[0] ? texts_of[0] : "", .exe = texts_of[1],
		.cgroup = texts_of[2], .container = texts_of[3], .cmdline = texts_of[4],
	};
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

/* The value of a number: *out NULL when there is none. 0 or -errno. */
static int look_up(struct history *h, struct map *map, int statement, uint32_t number, void **out)
{
	sqlite3_stmt *s = h->statements[statement];
	void *value = number ? map_get(map, number) : NULL;
	int r = 0;

	*out = value;
	if (value || !number)
		return 0;
	if (map_count(map) >= KNOWN_MAX)
		forget(map);
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
		return explain_here(h);
	return r ? no_memory(h) : 0;
}

/* ---- lifetimes ---- */

struct search {
	struct history *history;
	const struct history_query *query;
	int (*on_past)(void *arg, const struct past *past);
	void *arg;
	struct wall_window *windows;
	size_t window_count;
	bool in_order;
	struct found *found;		/* to be sorted */
	size_t found_count, found_size;
};

static bool asks_for(const struct history_query *query, const struct endpoint *endpoint)
{
	uint8_t proto = endpoint->proto;
	unsigned int mask = proto == IPPROTO_TCP ? PW_PROTO_TCP : proto == IPPROTO_UDP ? PW_PROTO_UDP : PW_PROTO_UDPLITE;

	if (query->protos && !(query->protos & mask))
		return false;
	for (uint32_t i = 0; i < query->netns_count; i++)
		if (query->netns[i] == endpoint->netns)
			return true;
	return !query->netns_count;
}

static bool within(const struct search *search, uint32_t boot, int64_t since, int64_t until)
{
	for (size_t i = 0; i < search->window_count; i++) {
		const struct wall_window *w = &search->windows[i];

		if (w->boot == boot && until >= w->since && since <= w->until)
			return true;
	}
	return false;
}

static uint64_t wall(const struct history *h, const struct found *found, int64_t time)
{
	return time == INT64_MIN ? 0 : walls_time(&h->walls, h->sessions[found->session].boot_number, time);
}

static void fill_spans(const struct found *f, struct past *past)
{
	bool known = !past->began_before && !past->end_unknown;

	past->held_ns = known ? (uint64_t)(f->until - f->since) : UNKNOWN_NS;
	past->open_ns = f->closed_at == INT64_MIN ? past->held_ns :
			past->began_before ? UNKNOWN_NS : (uint64_t)(f->closed_at - f->since);
	past->tw_ns = f->tw_at == INT64_MIN ? 0 : past->end_unknown ? UNKNOWN_NS : (uint64_t)(f->until - f->tw_at);
}

static int tell(struct search *search, const struct found *f, const struct endpoint *endpoint)
{
	struct history *h = search->history;
	struct past past = {
		.cookie = f->cookie, .generation = f->generation, .netns = endpoint->netns, .port = f->port,
		.remote_port = f->remote_port, .proto = endpoint->proto, .how = f->bits & SCHEMA_HOW,
		.flags = f->bits >> SCHEMA_FLAGS_SHIFT & SCHEMA_FLAGS, .listened = f->bits & SCHEMA_LISTENED,
		.exact = f->bits & SCHEMA_EXACT && !(f->bits & SCHEMA_BEFORE), .began_before = f->bits & SCHEMA_BEFORE,
		.lasts = f->lasts, .end_unknown = f->bits & SCHEMA_END_UNKNOWN,
		.cause = f->bits >> SCHEMA_CAUSE_SHIFT & SCHEMA_CAUSE, .error = f->bits >> SCHEMA_ERROR_SHIFT & SCHEMA_ERROR,
		.addr = endpoint->addr, .remote = f->remote, .since = wall(h, f, f->since), .until = wall(h, f, f->until),
		.closed_at = wall(h, f, f->closed_at), .tw_at = wall(h, f, f->tw_at), .boot = h->sessions[f->session].boot,
	};
	void *owner, *holder;
	int r = look_up(h, &h->processes, BY_PROCESS, f->holder, &holder);

	/* Should the first be forgotten for the second, there are thousands between them. */
	if (!r)
		r = look_up(h, &h->processes, BY_PROCESS, f->process, &owner);
	if (r)
		return r;
	past.owner = owner ? &((struct known_process *)owner)->process : NULL;
	past.holder = holder ? &((struct known_process *)holder)->process : NULL;
	fill_spans(f, &past);
	return search->on_past(search->arg, &past);
}

static int by_port_and_since(const void *left, const void *right)
{
	const struct found *a = left, *b = right;

	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (a->session != b->session)
		return a->session < b->session ? -1 : 1;
	return a->since < b->since ? -1 : a->since > b->since;
}

static int tell_found(struct search *search)
{
	struct history *h = search->history;
	int r = 0;

	if (search->found_count)
		qsort(search->found, search->found_count, sizeof(*search->found), by_port_and_since);
	for (size_t i = 0; i < search->found_count && !r; i++) {
		void *endpoint;

		r = look_up(h, &h->endpoints, BY_ENDPOINT, search->found[i].endpoint, &endpoint);
		if (!r && endpoint)
			r = tell(search, &search->found[i], endpoint);
	}
	search->found_count = 0;
	return r;
}

static int take(struct search *search, const struct found *f)
{
	struct history *h = search->history;
	struct found *found;
	void *endpoint;
	int r;

	if (!within(search, h->sessions[f->session].boot_number, f->since, f->until))
		return 0;
	r = look_up(h, &h->endpoints, BY_ENDPOINT, f->endpoint, &endpoint);
	if (r || !endpoint || !asks_for(search->query, endpoint))
		return r;
	if (!search->in_order)
		return tell(search, f, endpoint);
	found = grow(search->found, search->found_count, &search->found_size, sizeof(*found));
	if (!found)
		return no_memory(h);
	search->found = found;
	found[search->found_count++] = *f;
	return search->found_count >= SORTED_ROWS ? tell_found(search) : 0;
}

/* Columns cookie to holder, which every statement has from 5 on. */
static void read_common(sqlite3_stmt *s, struct found *f)
{
	const uint8_t *bytes;
	uint32_t addr;

	f->cookie = (uint64_t)sqlite3_column_int64(s, 5);
	f->process = (uint32_t)sqlite3_column_int64(s, 6);
	f->endpoint = (uint32_t)sqlite3_column_int64(s, 7);
	f->bits = (uint32_t)sqlite3_column_int64(s, 9);
	f->holder = (uint32_t)sqlite3_column_int64(s, 10);
	if (sqlite3_column_type(s, 8) == SQLITE_INTEGER) {
		int64_t remote = sqlite3_column_int64(s, 8);

		f->remote.family = AF_INET;
		addr = htonl((uint32_t)((uint64_t)remote >> 16));
		memcpy(f->remote.bytes, &addr, sizeof(addr));
		f->remote_port = (uint16_t)remote;
	} else if (sqlite3_column_bytes(s, 8) == 18) {
		bytes = sqlite3_column_blob(s, 8);
		f->remote.family = AF_INET6;
		memcpy(f->remote.bytes, bytes, 16);
		f->remote_port = (uint16_t)(bytes[16] << 8 | bytes[17]);
	}
}

/* Of `lifetime` and `tail`. */
static struct found read_ended(sqlite3_stmt *s, const struct chunk *chunk)
{
	struct found f = {
		.session = chunk->session, .until = chunk->origin + sqlite3_column_int64(s, 1), .port = schema_port(sqlite3_column_int64(s, 0)),
	};

	f.since = f.until - sqlite3_column_int64(s, 2);
	f.closed_at = sqlite3_column_type(s, 3) == SQLITE_NULL ? INT64_MIN : f.until - sqlite3_column_int64(s, 3);
	f.tw_at = sqlite3_column_type(s, 4) == SQLITE_NULL ? INT64_MIN : f.until - sqlite3_column_int64(s, 4);
	read_common(s, &f);
	f.generation = (f.bits >> SCHEMA_GENERATION_SHIFT) + 1;
	return f;
}

static int end_of(struct search *search, sqlite3_stmt *s, int step, int r)
{
	if (sqlite3_reset(s) || (!r && step != SQLITE_DONE))
		return r ? r : explain_here(search->history);
	return r;
}

/* The stretch of boottime that all windows of a boot lie in; false: there are none. */
static bool hull(const struct search *search, uint32_t boot, int64_t *since, int64_t *until)
{
	*since = INT64_MAX;
	*until = INT64_MIN;
	for (size_t i = 0; i < search->window_count; i++) {
		if (search->windows[i].boot != boot)
			continue;
		if (search->windows[i].since < *since)
			*since = search->windows[i].since;
		if (search->windows[i].until > *until)
			*until = search->windows[i].until;
	}
	return *since <= *until;
}

static int64_t less(int64_t a, int64_t b)
{
	int64_t difference;

	return __builtin_sub_overflow(a, b, &difference) ? (a < 0 ? INT64_MIN : INT64_MAX) : difference;
}

static int find_in_chunk(struct search *search, const struct chunk *chunk)
{
	sqlite3_stmt *s = search->history->statements[BY_ID];
	int64_t since, until;
	int step = SQLITE_DONE, r = 0;

	if (!hull(search, search->history->sessions[chunk->session].boot_number, &since, &until) || chunk->until < since ||
	    chunk->since > until)
		return 0;
	sqlite3_bind_int64(s, 1, schema_id(chunk->id, search->query->first, 0));
	sqlite3_bind_int64(s, 2, schema_id(chunk->id, search->query->last, SCHEMA_NUMBER_MAX));
	sqlite3_bind_int64(s, 3, less(since, chunk->origin));
	sqlite3_bind_int64(s, 4, less(until, chunk->origin));
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW) {
		struct found f = read_ended(s, chunk);

		r = take(search, &f);
	}
	return end_of(search, s, step, r);
}

static const struct chunk *chunk_of(const struct history *h, int64_t id)
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

static int find_in_tail(struct search *search)
{
	sqlite3_stmt *s = search->history->statements[BY_TAIL];
	int step = SQLITE_DONE, r = 0;

	sqlite3_bind_int64(s, 1, search->query->first);
	sqlite3_bind_int64(s, 2, search->query->last);
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW) {
		const struct chunk *chunk = chunk_of(search->history, sqlite3_column_int64(s, 0) >> SCHEMA_CHUNK_SHIFT);
		struct found f;

		if (!chunk)
			continue;
		f = read_ended(s, chunk);
		f.port = (uint16_t)sqlite3_column_int(s, 11);
		r = take(search, &f);
	}
	return end_of(search, s, step, r);
}

/* Until when a session's word counts: of one that runs, what it does not say is not so. */
static int64_t known_until(const struct session *session)
{
	int64_t now = (int64_t)now_boottime();

	return session->runs && now > session->last ? now : session->last;
}

static struct found read_held(struct search *search, sqlite3_stmt *s)
{
	struct history *h = search->history;
	struct found f = {
		.session = session_index(h, sqlite3_column_int64(s, 0)), .since = sqlite3_column_int64(s, 1),
		.generation = (uint32_t)sqlite3_column_int64(s, 2), .port = (uint16_t)sqlite3_column_int(s, 11), .lasts = true,
	};

	f.until = known_until(&h->sessions[f.session]);
	if (f.until < f.since)
		f.until = f.since;
	f.closed_at = sqlite3_column_type(s, 3) == SQLITE_NULL ? INT64_MIN : sqlite3_column_int64(s, 3);
	f.tw_at = sqlite3_column_type(s, 4) == SQLITE_NULL ? INT64_MIN : sqlite3_column_int64(s, 4);
	read_common(s, &f);
	return f;
}

static int find_held(struct search *search)
{
	sqlite3_stmt *s = search->history->statements[BY_HELD];
	int step = SQLITE_DONE, r = 0;

	sqlite3_bind_int64(s, 1, search->query->first);
	sqlite3_bind_int64(s, 2, search->query->last);
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW) {
		struct found f = read_held(search, s);

		r = take(search, &f);
	}
	return end_of(search, s, step, r);
}

int history_find(struct history *h, const struct history_query *query,
		 int (*on_past)(void *arg, const struct past *past), void *arg)
{
	_cleanup_free_ struct wall_window *windows = pw_calloc(h->walls.count + 1, sizeof(*windows));
	struct search search = {
		.history = h, .query = query, .on_past = on_past, .arg = arg, .windows = windows,
		.in_order = query->last - query->first < SORTED_PORTS,
	};
	int r = 0;

	if (!windows)
		return no_memory(h);
	search.window_count = walls_windows(&h->walls, query->since, query->until, windows);
	for (size_t i = 0; i < h->chunk_count && !r; i++)
		r = find_in_chunk(&search, &h->chunks[i]);
	if (!r && search.window_count)
		r = find_in_tail(&search);
	if (!r && search.window_count)
		r = find_held(&search);
	if (!r)
		r = tell_found(&search);
	pw_free(search.found);
	return r;
}

/* ---- what is not known ---- */

struct blinds {
	struct blind *list;
	size_t count, size;
	uint64_t since, until;		/* what was asked */
};

/* From since on, up to but without until; a moment where both are one. */
static int add_blind(struct blinds *blinds, uint64_t since, uint64_t until, uint64_t lost, const char *reason)
{
	struct blind *list;

	if (since > until || since > blinds->until || until < blinds->since || (until == blinds->since && since < until))
		return 0;
	list = grow(blinds->list, blinds->count, &blinds->size, sizeof(*list));
	if (!list)
		return -ENOMEM;
	blinds->list = list;
	list[blinds->count++] = (struct blind){ since, until, lost, reason };
	return 0;
}

static uint64_t session_wall(const struct history *h, const struct session *session, int64_t time)
{
	return walls_time(&h->walls, session->boot_number, time);
}

/* Does every word of the list lie among these? Both as users type them. */
static bool all_ports_in(const struct history_query *query, const char *list)
{
	struct port_set set = { 0 };

	if (num_port_list(list, &set))
		return false;
	for (unsigned int port = query->first; port <= query->last; port++)
		if (!port_set_has(&set, (uint16_t)port))
			return false;
	return true;
}

static bool all_netns_in(const struct history_query *query, const char *list)
{
	for (uint32_t i = 0; i < query->netns_count; i++) {
		bool found = false;

		for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
			found |= strtoul(at, NULL, 10) == query->netns[i];
		if (!found)
			return false;
	}
	return query->netns_count;
}

/* Is all that this question asks for recorded in spite of this word? */
static bool word_lets_pass(const struct history_query *query, const char *word)
{
	unsigned int protos;

	if (!strncmp(word, "port=", 5))
		return all_ports_in(query, word + 5);
	if (!strncmp(word, "proto=", 6))
		return !num_proto_list(word + 6, &protos) && query->protos && !(query->protos & ~protos);
	return !strncmp(word, "netns=", 6) && all_netns_in(query, word + 6);
}

static bool filter_lets_pass(const struct history_query *query, const char *filter)
{
	_cleanup_free_ char *words = pw_strdup(filter);
	char *rest = NULL;

	if (!words)
		return false;
	for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		if (!word_lets_pass(query, word))
			return false;
	return true;
}

static int blind_to_filter(struct history *h, struct blinds *blinds, const struct history_query *query)
{
	int r = 0;

	for (size_t i = 0; i < h->session_count && !r; i++) {
		const struct session *s = &h->sessions[i];

		if (s->filter && !filter_lets_pass(query, s->filter))
			r = add_blind(blinds, session_wall(h, s, s->started), session_wall(h, s, known_until(s)), 0, s->filter);
	}
	return r;
}

/* Before a session, between two, and what retention took: all up to `forgotten`. */
static int blind_around(struct history *h, struct blinds *blinds, size_t i)
{
	const struct session *s = &h->sessions[i], *before = i ? s - 1 : NULL;
	int64_t ready = s->ready == INT64_MAX ? known_until(s) : s->ready;
	int64_t kept = s->forgotten >= ready ? s->forgotten + 1 : ready;
	int r;

	if (!before)
		return add_blind(blinds, 0, session_wall(h, s, s->forgotten ? kept : ready), 0,
				 s->forgotten ? "no longer kept" : "not recorded yet");
	r = add_blind(blinds, session_wall(h, before, known_until(before)), session_wall(h, s, ready), 0, "the recorder did not run");
	if (!r && kept > ready)
		r = add_blind(blinds, session_wall(h, s, ready), session_wall(h, s, kept), 0, "no longer kept");
	return r;
}

static int blind_after(struct history *h, struct blinds *blinds)
{
	const struct session *last = h->session_count ? &h->sessions[h->session_count - 1] : NULL;

	if (!last)
		return add_blind(blinds, 0, UINT64_MAX, 0, "not recorded yet");
	if (last->runs)
		return add_blind(blinds, now_realtime() + UNWRITTEN_NS, UINT64_MAX, 0, "not recorded yet");
	return add_blind(blinds, session_wall(h, last, last->last), UINT64_MAX, 0, "the recorder does not run");
}

/* Wall times that never were. */
static int blind_to_steps(struct history *h, struct blinds *blinds)
{
	int r = 0;

	for (size_t i = 1; i < h->walls.count && !r; i++) {
		const struct wall_span *a = &h->walls.spans[i - 1], *b = a + 1;

		if (a->session == b->session && b->offset > a->offset)
			r = add_blind(blinds, (uint64_t)(b->since + a->offset), (uint64_t)(b->since + b->offset), 0,
				      "the clock was set forward");
	}
	return r;
}

/* Reasons are few: kept for as long as the history. */
static const char *reason_name(const char *reason)
{
	static const char *const names[] = { "ring", "recursion", "map", "malformed", "memory", "output", "storage" };

	for (size_t i = 0; reason && i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], reason))
			return names[i];
	return "records were lost";
}

static int blind_to_gaps(struct history *h, struct blinds *blinds)
{
	sqlite3_stmt *s = NULL;
	int step = SQLITE_DONE, r = 0;

	if (sqlite3_prepare_v2(h->db, "SELECT session, since, until, lost, reason FROM gap", -1, &s, NULL))
		return explain_here(h);
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW) {
		const struct session *session = &h->sessions[session_index(h, sqlite3_column_int64(s, 0))];

		r = add_blind(blinds, session_wall(h, session, sqlite3_column_int64(s, 1)),
			      session_wall(h, session, sqlite3_column_int64(s, 2)), (uint64_t)sqlite3_column_int64(s, 3),
			      reason_name((const char *)sqlite3_column_text(s, 4)));
	}
	if (!r && step != SQLITE_DONE)
		r = explain_here(h);
	sqlite3_finalize(s);
	return r;
}

static int by_time(const void *left, const void *right)
{
	const struct blind *a = left, *b = right;

	if (a->since != b->since)
		return a->since < b->since ? -1 : 1;
	return a->until < b->until ? -1 : a->until > b->until;
}

static int gather_blinds(struct history *h, struct blinds *blinds, const struct history_query *query)
{
	int r = blind_to_filter(h, blinds, query);

	for (size_t i = 0; i < h->session_count && !r; i++)
		r = blind_around(h, blinds, i);
	if (!r)
		r = blind_to_steps(h, blinds);
	if (!r && h->session_count)
		r = blind_to_gaps(h, blinds);
	return r ? r : blind_after(h, blinds);
}

int history_blind(struct history *h, const struct history_query *query,
		  int (*on_blind)(void *arg, const struct blind *blind), void *arg)
{
	struct blinds blinds = { .since = query->since, .until = query->until };
	int r = gather_blinds(h, &blinds, query);

	if (r == -ENOMEM)
		r = no_memory(h);
	if (!r && blinds.count)
		qsort(blinds.list, blinds.count, sizeof(*blinds.list), by_time);
	for (size_t i = 0; i < blinds.count && !r; i++)
		r = on_blind(arg, &blinds.list[i]);
	pw_free(blinds.list);
	return r;
}
