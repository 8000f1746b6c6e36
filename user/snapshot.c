/* SPDX-License-Identifier: GPL-2.0 */
/* Sockets open before us. */
#include "user/snapshot.h"

#include <netinet/in.h>
#include <string.h>

#include "user/clock.h"
#include "user/diag.h"
#include "user/map.h"
#include "user/mem.h"
#include "user/netns.h"

void snapshot_add(struct snapshot *s, const struct event *row)
{
	if (s->count == s->size) {
		size_t size = s->size ? s->size * 2 : 1024;
		struct event *rows = pw_reallocarray(s->rows, size, sizeof(*rows));

		if (!rows) {
			s->error = -ENOMEM;
			return;
		}
		s->rows = rows;
		s->size = size;
	}
	s->rows[s->count++] = *row;
}

static void on_row(void *arg, const struct event *row)
{
	snapshot_add(arg, row);
}

/* ---- bound-only TCP that no descriptor in view leads to: passed in flight, held by io_uring ---- */

struct diag_walk {
	struct snapshot *snapshot;
	const struct probe_options *filter;
	uint32_t netns;
};

/* The rows of iterators are filtered in the kernel; these are not, and have no owner to filter by. */
static bool may_dump(const struct pw_settings *s)
{
	return !probe_by_owner(s) && (!s->protos || s->protos & PW_PROTO_TCP);
}

static void on_bound(void *arg, const struct diag_row *bound)
{
	struct diag_walk *walk = arg;
	struct event row = {
		.kind = PW_SOCK,
		.time = now_boottime(),
		.cookie = bound->cookie,
		.port = bound->port,
		.flags = PW_F_ROW | PW_F_EPHEMERAL_UNKNOWN,
		.state = STATE_CLOSE,
		.proto = IPPROTO_TCP,
		.netns = walk->netns,
		.addr = bound->addr,
		.sock_uid = bound->uid,
	};

	if (!walk->filter->ports || port_set_has(walk->filter->ports, row.port))
		snapshot_add(walk->snapshot, &row);
}

/* Best effort: a kernel without inet_diag lacks only these rows. */
static void walk_bound(struct diag_walk walk)
{
	struct diag_query query = { .family = AF_INET, .proto = IPPROTO_TCP, .states = DIAG_BOUND };

	if (diag_dump(&query, on_bound, &walk))
		return;
	query.family = AF_INET6;
	diag_dump(&query, on_bound, &walk);
}

/* ---- settling ---- */

static bool is_time_wait(const struct event *row)
{
	return row->state == STATE_TIME_WAIT;
}

/* By socket, before its TIME_WAITs; of one socket, a row with a process first, and of those the oldest process. */
static int compare_rows(const void *left, const void *right)
{
	const struct event *a = left, *b = right;

	if (a->cookie != b->cookie)
		return a->cookie < b->cookie ? -1 : 1;
	if (is_time_wait(a) != is_time_wait(b))
		return is_time_wait(a) ? 1 : -1;
	if (is_time_wait(a))
		return a->sk < b->sk ? -1 : a->sk > b->sk;
	if (!a->process.pid != !b->process.pid)
		return a->process.pid ? -1 : 1;
	if (a->process.start != b->process.start)
		return a->process.start < b->process.start ? -1 : 1;
	return a->process.pid < b->process.pid ? -1 : a->process.pid > b->process.pid;
}

static bool is_listener(const struct event *row)
{
	return row->proto == IPPROTO_TCP && row->state == STATE_LISTEN && row->bucket;
}

/* FNV-1a over a bind bucket and a local address. */
static uint64_t listener_key(uint64_t bucket, const struct event_addr *addr)
{
	uint64_t hash = 0xcbf29ce484222325ULL ^ bucket;

	hash = (hash ^ addr->family) * 0x100000001b3ULL;
	for (size_t i = 0; i < sizeof(addr->bytes); i++)
		hash = (hash ^ addr->bytes[i]) * 0x100000001b3ULL;
	return hash;
}

static bool listens_there(const struct map *listening, uint64_t bucket, const struct event_addr *addr)
{
	const struct event *listener = map_get(listening, listener_key(bucket, addr));

	return listener && listener->bucket == bucket && listener->addr.family == addr->family &&
	       !memcmp(listener->addr.bytes, addr->bytes, sizeof(addr->bytes));
}

bool snapshot_doubtful(const struct event *row)
{
	return row->proto == IPPROTO_TCP && row->bucket && !(row->flags & PW_F_LOCKED) && !row->by_connect &&
	       row->state != STATE_LISTEN && row->state != STATE_CLOSE && row->state != STATE_SYN_SENT;
}

/*
 * An accepted socket has the bind bucket of its listener, whose address covers
 * its own, and never asked for the number. The bucket alone does not tell: it
 * is shared by all that are bound to one number, whatever their address.
 */
static bool is_accepted(const struct map *listening, const struct event *row)
{
	static const struct event_addr any4 = { .family = AF_INET }, any6 = { .family = AF_INET6 };

	if (!snapshot_doubtful(row))
		return false;
	return listens_there(listening, row->bucket, &row->addr) || listens_there(listening, row->bucket, &any6) ||
	       (row->addr.family == AF_INET && listens_there(listening, row->bucket, &any4));
}

bool snapshot_same(const struct event *before, const struct event *row)
{
	return before->cookie == row->cookie && is_time_wait(before) == is_time_wait(row) &&
	       (!is_time_wait(row) || before->sk == row->sk);
}

static int mark_accepted(struct snapshot *s)
{
	_cleanup_map_ struct map listening = { 0 };

	for (size_t i = 0; i < s->count; i++)
		if (is_listener(&s->rows[i]) &&
		    map_put(&listening, listener_key(s->rows[i].bucket, &s->rows[i].addr), &s->rows[i]))
			return -ENOMEM;
	for (size_t i = 0; i < s->count; i++)
		s->rows[i].accepted = is_accepted(&listening, &s->rows[i]);
	return 0;
}

static void keep_one_each(struct snapshot *s)
{
	const struct event *socket = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct event *row = &s->rows[i];

		if (row->accepted || (kept && snapshot_same(&s->rows[kept - 1], row)))
			continue;
		s->rows[kept] = *row;
		if (snapshot_doubtful(row))
			s->rows[kept].flags = (row->flags & ~PW_F_EPHEMERAL) | PW_F_EPHEMERAL_UNKNOWN;
		if (!is_time_wait(row))
			socket = &s->rows[kept];
		else if (socket && socket->cookie == row->cookie && socket->port == row->port)
			/* Its own socket, bound to the number and still open, holds the port as well. */
			s->rows[kept].flags |= PW_F_HELD;
		kept++;
	}
	s->count = s->sorted = kept;
}

int snapshot_sort(struct snapshot *s)
{
	int r;

	if (s->error)
		return s->error;
	if (s->sorted == s->count)
		return 0;
	qsort(s->rows, s->count, sizeof(*s->rows), compare_rows);
	r = mark_accepted(s);
	if (!r)
		s->sorted = s->count;
	return r;
}

int snapshot_settle(struct snapshot *s)
{
	int r = snapshot_sort(s);

	if (!r)
		keep_one_each(s);
	return r;
}

/* ---- taking ---- */

struct taking {
	struct snapshot *snapshot;
	struct probe *probe;
	const struct probe_options *filter;
	int (*pump)(void *arg);
	void *arg;
};

static int take_netns(void *arg, uint32_t inode)
{
	struct taking *taking = arg;
	int r = probe_walk(taking->probe, PROBE_ROWS_TCP, on_row, taking->snapshot);

	if (!r)
		r = probe_walk(taking->probe, PROBE_ROWS_UDP, on_row, taking->snapshot);
	if (!r && may_dump(&taking->filter->settings))
		walk_bound((struct diag_walk){ taking->snapshot, taking->filter, inode });
	return r ? r : taking->pump(taking->arg);
}

/* Sockets that a process may have, and none was seen to; by cookie. */
struct lacking {
	struct snapshot *snapshot;
	struct map sockets;
};

static bool lacks_owner(const struct event *row)
{
	return !row->process.pid && !is_time_wait(row) && !(row->flags & PW_F_KERNEL) &&
	       !(row->traits & (PW_T_DEAD | PW_T_UNFETCHED)) && !row->accepted;
}

/* s is sorted. */
static int find_lacking(struct snapshot *s, struct lacking *lacking)
{
	int r = 0;

	for (size_t i = 0; i < s->count && !r; i++)
		if ((!i || !snapshot_same(&s->rows[i - 1], &s->rows[i])) && lacks_owner(&s->rows[i]))
			r = map_put(&lacking->sockets, s->rows[i].cookie, s);
	return r;
}

static void on_lacking_row(void *arg, const struct event *row)
{
	struct lacking *lacking = arg;

	if (map_get(&lacking->sockets, row->cookie))
		snapshot_add(lacking->snapshot, row);
}

/*
 * Once more for what lacks its owner: a subflow of MPTCP has its cookie from the walks between, and a descriptor that
 * moves while processes are walked may be missed in both. Of the others nothing is taken: there may be many.
 */
static int walk_again(struct snapshot *s, struct probe *probe, const struct probe_options *filter)
{
	struct lacking lacking = { .snapshot = s };
	int r;

	/* What has no owner yet has no row either. */
	if (probe_by_owner(&filter->settings))
		return probe_walk(probe, PROBE_ROWS_FILES, on_row, s);
	r = find_lacking(s, &lacking);
	if (!r && map_count(&lacking.sockets))
		r = probe_walk(probe, PROBE_ROWS_FILES, on_lacking_row, &lacking);
	map_done(&lacking.sockets);
	return r;
}

int snapshot_gather(struct snapshot *s, struct probe *probe, const struct probe_options *filter,
		    int (*pump)(void *arg), void *arg)
{
	struct taking taking = { s, probe, filter, pump, arg };
	int r = probe_walk(probe, PROBE_ROWS_FILES, on_row, s);

	if (!r)
		r = netns_walk(filter->settings.netns, filter->settings.netns_count, take_netns, &taking);
	if (!r)
		r = snapshot_sort(s);
	if (!r)
		r = walk_again(s, probe, filter);
	return r ? r : snapshot_sort(s);
}

/* One may have been read while its release was under way. */
static int look_again(struct probe *probe, struct event *rows, size_t count)
{
	struct pw_look looks[PW_LOOKS];
	int r;

	for (size_t i = 0; i < count; i++)
		looks[i] = (struct pw_look){
			.sk = rows[i].sk, .cookie = rows[i].cookie, .port = rows[i].port,
			.proto = rows[i].proto, .tw = rows[i].state == STATE_TIME_WAIT,
		};
	r = probe_look(probe, looks, count);
	for (size_t i = 0; i < count; i++)
		rows[i].held = looks[i].held;
	return r;
}

int snapshot_take(struct snapshot *s, struct probe *probe, const struct probe_options *filter, int (*pump)(void *arg),
		  void *arg)
{
	int r = snapshot_gather(s, probe, filter, pump, arg);

	if (!r)
		r = snapshot_settle(s);
	for (size_t at = 0; !r && at < s->count; at += PW_LOOKS)
		r = look_again(probe, s->rows + at, s->count - at < PW_LOOKS ? s->count - at : PW_LOOKS);
	return r;
}

void snapshot_done(struct snapshot *s)
{
	pw_free(s->rows);
	*s = SNAPSHOT_INIT;
}
