/* SPDX-License-Identifier: GPL-2.0 */
/* Which lifetimes and denials a port had, from rows: a look into every chunk that may hold some. */
#include "user/history.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "user/history_db.h"
#include "user/mem.h"
#include "user/schema.h"

#define SORTED_ROWS	65536		/* put in order at a time */

/* A row, before its numbers are looked up. */
struct found {
	uint64_t cookie;
	int64_t since, until, closed_at, tw_at;	/* boottime; closed_at, tw_at INT64_MIN: never */
	uint32_t session;		/* index */
	uint32_t boot;			/* number; set of those that are sorted */
	uint32_t generation;
	uint32_t process, holder, endpoint;
	uint32_t bits;
	uint16_t port, remote_port;
	bool lasts;
	struct event_addr remote;
};

int history_open(const char *path, struct history **out, char *why, size_t why_size)
{
	return history_db_open(path, out, why, why_size);
}

void history_free(struct history **history)
{
	history_db_free(history);
}

const char *history_why(const struct history *history)
{
	return history->why;
}

struct search {
	struct history *history;
	const struct history_query *query;
	int (*on_past)(void *arg, const struct past *past);
	int (*on_denied)(void *arg, const struct past_denial *denial);
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
	/* What was in it when it was first seen was in it for longer. */
	known = !past->end_unknown && !(past->began_before && f->tw_at == f->since);
	past->tw_ns = !known ? UNKNOWN_NS : f->tw_at == INT64_MIN ? 0 : (uint64_t)(f->until - f->tw_at);
}

/* NULL of NULL. */
static const struct past_process *fill_process(const struct known_process *known, struct past_process *out)
{
	if (!known)
		return NULL;
	*out = (struct past_process){
		.pid = known->pid, .uid = known->uid, .start = known->start, .comm = known->comm, .exe = known->exe,
		.cgroup = known->cgroup, .container = known->container, .cmdline = known->cmdline,
	};
	return out;
}

static int tell(struct search *search, const struct found *f, const struct endpoint *endpoint)
{
	struct history *h = search->history;
	struct past past = {
		.cookie = f->cookie, .generation = f->generation, .netns = endpoint->netns, .port = f->port,
		.remote_port = f->remote_port, .proto = endpoint->proto, .how = f->bits & SCHEMA_HOW,
		.flags = f->bits >> SCHEMA_FLAGS_SHIFT & SCHEMA_FLAGS, .listened = f->bits & SCHEMA_LISTENED,
		.exact = f->bits & SCHEMA_EXACT && !(f->bits & SCHEMA_BEFORE), .began_before = f->bits & SCHEMA_BEFORE,
		.lasts = f->lasts, .runs = f->lasts && h->sessions[f->session].runs,
		.end_unknown = f->bits & SCHEMA_END_UNKNOWN,
		.cause = f->bits >> SCHEMA_CAUSE_SHIFT & SCHEMA_CAUSE, .error = f->bits >> SCHEMA_ERROR_SHIFT & SCHEMA_ERROR,
		.addr = endpoint->addr, .remote = f->remote, .since = wall(h, f, f->since), .until = wall(h, f, f->until),
		.closed_at = wall(h, f, f->closed_at), .tw_at = wall(h, f, f->tw_at), .boot = h->sessions[f->session].boot,
	};
	const struct known_process *owner, *holder;
	struct past_process owned, held;
	int r = history_db_process(h, f->holder, &holder);

	if (!r)
		r = history_db_process(h, f->process, &owner);
	if (r)
		return r;
	past.owner = fill_process(owner, &owned);
	past.holder = fill_process(holder, &held);
	fill_spans(f, &past);
	return search->on_past(search->arg, &past);
}

static int by_port_and_since(const void *left, const void *right)
{
	const struct found *a = left, *b = right;

	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	/* Not by session: what lived through a restart is of the later one. */
	if (a->boot != b->boot)
		return a->boot < b->boot ? -1 : 1;
	return a->since < b->since ? -1 : a->since > b->since;
}

static int tell_found(struct search *search)
{
	struct history *h = search->history;
	int r = 0;

	if (search->found_count)
		qsort(search->found, search->found_count, sizeof(*search->found), by_port_and_since);
	for (size_t i = 0; i < search->found_count && !r; i++) {
		const struct endpoint *endpoint;

		history_db_trim(h);
		r = history_db_endpoint(h, search->found[i].endpoint, &endpoint);
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
	const struct endpoint *endpoint;
	int r;

	if (!within(search, h->sessions[f->session].boot_number, f->since, f->until))
		return 0;
	history_db_trim(h);
	r = history_db_endpoint(h, f->endpoint, &endpoint);
	if (r || !endpoint || !asks_for(search->query, endpoint))
		return r;
	if (!search->in_order)
		return tell(search, f, endpoint);
	found = history_db_grow(search->found, search->found_count, &search->found_size, sizeof(*found));
	if (!found)
		return history_db_no_memory(h);
	search->found = found;
	found[search->found_count] = *f;
	found[search->found_count++].boot = h->sessions[f->session].boot_number;
	return search->found_count >= SORTED_ROWS ? tell_found(search) : 0;
}

static void read_remote(sqlite3_stmt *s, int at, struct event_addr *out, uint16_t *port)
{
	const uint8_t *bytes;
	uint32_t addr;

	if (sqlite3_column_type(s, at) == SQLITE_INTEGER) {
		int64_t remote = sqlite3_column_int64(s, at);

		out->family = AF_INET;
		addr = htonl((uint32_t)((uint64_t)remote >> 16));
		memcpy(out->bytes, &addr, sizeof(addr));
		*port = (uint16_t)remote;
	} else if (sqlite3_column_bytes(s, at) == 18) {
		bytes = sqlite3_column_blob(s, at);
		out->family = AF_INET6;
		memcpy(out->bytes, bytes, 16);
		*port = (uint16_t)(bytes[16] << 8 | bytes[17]);
	}
}

/* Columns cookie to holder, which every statement has from 5 on. */
static void read_common(sqlite3_stmt *s, struct found *f)
{
	f->cookie = (uint64_t)sqlite3_column_int64(s, 5);
	f->process = (uint32_t)sqlite3_column_int64(s, 6);
	f->endpoint = (uint32_t)sqlite3_column_int64(s, 7);
	f->bits = (uint32_t)sqlite3_column_int64(s, 9);
	f->holder = (uint32_t)sqlite3_column_int64(s, 10);
	read_remote(s, 8, &f->remote, &f->remote_port);
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
		return r ? r : history_db_error(search->history);
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

static int find_in_tail(struct search *search)
{
	sqlite3_stmt *s = search->history->statements[BY_TAIL];
	int step = SQLITE_DONE, r = 0;

	sqlite3_bind_int64(s, 1, search->query->first);
	sqlite3_bind_int64(s, 2, search->query->last);
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW) {
		const struct chunk *chunk = history_db_chunk(search->history, sqlite3_column_int64(s, 0) >> SCHEMA_CHUNK_SHIFT);
		struct found f;

		if (!chunk)
			continue;
		f = read_ended(s, chunk);
		f.port = (uint16_t)sqlite3_column_int(s, 11);
		r = take(search, &f);
	}
	return end_of(search, s, step, r);
}

static struct found read_held(struct search *search, sqlite3_stmt *s)
{
	struct history *h = search->history;
	struct found f = {
		.session = history_db_session(h, sqlite3_column_int64(s, 0)), .since = sqlite3_column_int64(s, 1),
		.generation = (uint32_t)sqlite3_column_int64(s, 2), .port = (uint16_t)sqlite3_column_int(s, 11), .lasts = true,
	};

	f.until = history_db_known_until(&h->sessions[f.session]);
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
		.in_order = query->last - query->first < HISTORY_SORTED,
	};
	int r = 0;

	if (!windows)
		return history_db_no_memory(h);
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

/* ---- denials ---- */

static int tell_denied(struct search *search, sqlite3_stmt *s, uint32_t session)
{
	struct history *h = search->history;
	uint32_t boot = h->sessions[session].boot_number;
	int64_t since = sqlite3_column_int64(s, 0), until = sqlite3_column_int64(s, 1);
	struct past_denial d = {
		.time = walls_time(&h->walls, boot, since), .until = walls_time(&h->walls, boot, until),
		.count = (uint64_t)sqlite3_column_int64(s, 2), .port = (uint16_t)sqlite3_column_int(s, 5),
		.how = (uint8_t)sqlite3_column_int(s, 7), .error = (uint32_t)sqlite3_column_int(s, 8),
		.cause = (uint8_t)sqlite3_column_int(s, 9), .detail = (const char *)sqlite3_column_text(s, 10),
	};
	const struct endpoint *endpoint;
	const struct known_process *known;
	struct past_process owner;
	int r;

	history_db_trim(h);
	r = history_db_endpoint(h, (uint32_t)sqlite3_column_int64(s, 4), &endpoint);
	if (r || !endpoint || !within(search, boot, since, until) || !asks_for(search->query, endpoint))
		return r;
	r = history_db_process(h, (uint32_t)sqlite3_column_int64(s, 3), &known);
	if (r)
		return r;
	d.netns = endpoint->netns;
	d.proto = endpoint->proto;
	d.addr = endpoint->addr;
	read_remote(s, 6, &d.remote, &d.remote_port);
	d.owner = fill_process(known, &owner);
	return search->on_denied(search->arg, &d);
}

static int find_denied(struct search *search, const struct chunk *chunk)
{
	sqlite3_stmt *s = search->history->statements[DENIED];
	int64_t since, until;
	int step = SQLITE_DONE, r = 0;

	if (!chunk->denials || !hull(search, search->history->sessions[chunk->session].boot_number, &since, &until) ||
	    chunk->until < since || chunk->since > until)
		return 0;
	sqlite3_bind_int64(s, 1, schema_id(chunk->id, 0, 0));
	sqlite3_bind_int64(s, 2, schema_id(chunk->id + 1, 0, 0) - 1);
	sqlite3_bind_int64(s, 3, since);
	sqlite3_bind_int64(s, 4, until);
	sqlite3_bind_int64(s, 5, search->query->first);
	sqlite3_bind_int64(s, 6, search->query->last);
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW)
		r = tell_denied(search, s, chunk->session);
	return end_of(search, s, step, r);
}

int history_denied(struct history *h, const struct history_query *query,
		   int (*on_denied)(void *arg, const struct past_denial *denial), void *arg)
{
	_cleanup_free_ struct wall_window *windows = pw_calloc(h->walls.count + 1, sizeof(*windows));
	struct search search = { .history = h, .query = query, .on_denied = on_denied, .arg = arg, .windows = windows };
	int r = 0;

	if (!windows)
		return history_db_no_memory(h);
	search.window_count = walls_windows(&h->walls, query->since, query->until, windows);
	for (size_t i = 0; i < h->chunk_count && !r; i++)
		r = find_denied(&search, &h->chunks[i]);
	return r;
}
