/* SPDX-License-Identifier: GPL-2.0 */
/* Rows of the iterators and of sock_diag, joined to holders. */
#include "user/holders.h"

#include <netinet/in.h>
#include <string.h>

#include "user/diag.h"
#include "user/mem.h"

static const char *const state_names[HOLDER_STATE_END] = {
	[HOLDER_LISTEN] = "listen", [HOLDER_BOUND] = "bound", [HOLDER_CONNECTED] = "connected",
	[HOLDER_TIME_WAIT] = "time_wait", [HOLDER_CLOSED] = "closed", [HOLDER_KERNEL] = "kernel",
	[HOLDER_ORPHAN] = "orphan",
};

const char *holder_state_name(enum holder_state state)
{
	return state < HOLDER_STATE_END ? state_names[state] : NULL;
}

/* ---- one holder ---- */

static enum holder_state state_of(const struct event *row)
{
	bool tcp = row->proto == IPPROTO_TCP;

	if (row->flags & PW_F_KERNEL)
		return HOLDER_KERNEL;
	if (tcp && row->state == STATE_TIME_WAIT)
		return HOLDER_TIME_WAIT;
	if (row->traits & PW_T_DEAD)
		return HOLDER_ORPHAN;
	if (tcp && row->state == STATE_LISTEN)
		return HOLDER_LISTEN;
	if (tcp && row->state == STATE_CLOSE)
		return row->remote.family ? HOLDER_CLOSED : HOLDER_BOUND;
	return row->remote.family ? HOLDER_CONNECTED : HOLDER_BOUND;
}

static int compare_waits(const void *left, const void *right)
{
	const struct holder_wait *a = left, *b = right;

	if (a->cookie != b->cookie)
		return a->cookie < b->cookie ? -1 : 1;
	return a->remote_port < b->remote_port ? -1 : a->remote_port > b->remote_port;
}

static uint64_t expires_ns(const struct event *row, const struct holder_wait *waits, size_t count)
{
	struct holder_wait key = { .cookie = row->cookie, .remote_port = row->remote_port };
	const struct holder_wait *wait = count ? bsearch(&key, waits, count, sizeof(*waits), compare_waits) : NULL;

	return wait ? wait->expires_ms * 1000000ULL : UNKNOWN_NS;
}

static void describe(struct holder *out, const struct event *row)
{
	*out = (struct holder){
		.cookie = row->cookie, .netns = row->netns, .port = row->port, .remote_port = row->remote_port,
		.proto = row->proto, .tcp_state = row->state, .state = state_of(row), .accepted = row->accepted,
		.unfetched = row->traits & PW_T_UNFETCHED, .by_connect = row->by_connect,
		.doubtful = snapshot_doubtful(row) && !row->accepted,
		.locked = row->flags & PW_F_LOCKED, .options_known = row->sk, .reuse = row->traits & PW_T_REUSE,
		.reuseport = row->traits & PW_T_REUSEPORT, .v6only = row->traits & PW_T_V6ONLY,
		.bound_dev = row->bound_dev, .uid = row->sock_uid, .expires_ns = UNKNOWN_NS, .addr = row->addr,
		.remote = row->remote,
	};
	if (out->state == HOLDER_TIME_WAIT)
		out->uid = UINT32_MAX;
}

static bool same_process(const struct event *a, const struct event *b)
{
	return a->process.pid == b->process.pid && a->process.start == b->process.start;
}

/* Of rows[at .. end), which are of one socket: a reference of each process, once. */
static void take_processes(struct holders *h, struct holder *holder, const struct event *rows, size_t at, size_t end)
{
	holder->processes = h->processes + h->process_count;
	for (size_t i = at; i < end && rows[i].process.pid; i++) {
		struct process *process = NULL;

		if (i == at || !same_process(&rows[i - 1], &rows[i]))
			process = identity_owner(h->identity, &rows[i]);
		if (process)
			holder->processes[holder->process_count++] = process;
	}
	h->process_count += holder->process_count;
}

static int compare_holders(const void *left, const void *right)
{
	const struct holder *a = left, *b = right;

	if (a->netns != b->netns)
		return a->netns < b->netns ? -1 : 1;
	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (a->accepted != b->accepted)
		return a->accepted ? 1 : -1;
	if (a->state != b->state)
		return a->state < b->state ? -1 : 1;
	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

/* The walk of its namespace came after that of the descriptors, so it tells best; what sock_diag tells has no sk. */
static const struct event *last_row(const struct event *rows, size_t at, size_t end)
{
	return rows[end - 1].sk ? &rows[end - 1] : &rows[at];
}

/*
 * Does a TIME_WAIT stand for the connection of rows[at .. end)? A socket that is seen with its descriptor and closes
 * before its namespace is walked is there twice; sorted, its TIME_WAITs follow it.
 */
static bool has_ended(const struct snapshot *s, size_t at, size_t end)
{
	const struct event *row = last_row(s->rows, at, end);
	enum holder_state state = state_of(row);

	if (row->proto != IPPROTO_TCP || (state != HOLDER_CONNECTED && state != HOLDER_ORPHAN))
		return false;
	for (; end < s->count && s->rows[end].cookie == row->cookie; end++)
		if (s->rows[end].port == row->port && s->rows[end].remote_port == row->remote_port &&
		    !memcmp(&s->rows[end].remote, &row->remote, sizeof(row->remote)))
			return true;
	return false;
}

int holders_of(struct holders *h, const struct snapshot *s, struct holder_wait *waits, size_t wait_count,
	       struct identity *identity)
{
	size_t end;

	*h = HOLDERS_INIT;
	h->identity = identity;
	if (!s->count)
		return 0;
	h->rows = pw_calloc(s->count, sizeof(*h->rows));
	h->processes = pw_calloc(s->count, sizeof(*h->processes));
	if (!h->rows || !h->processes)
		return -ENOMEM;
	if (wait_count)
		qsort(waits, wait_count, sizeof(*waits), compare_waits);
	for (size_t at = 0; at < s->count; at = end) {
		struct holder *holder = &h->rows[h->count];

		for (end = at + 1; end < s->count && snapshot_same(&s->rows[at], &s->rows[end]);)
			end++;
		if (has_ended(s, at, end))
			continue;
		h->count++;
		describe(holder, last_row(s->rows, at, end));
		take_processes(h, holder, s->rows, at, end);
		if (holder->state == HOLDER_TIME_WAIT)
			holder->expires_ns = expires_ns(&s->rows[at], waits, wait_count);
	}
	qsort(h->rows, h->count, sizeof(*h->rows), compare_holders);
	return 0;
}

void holders_done(struct holders *h)
{
	for (size_t i = 0; i < h->process_count; i++)
		identity_put(h->identity, h->processes[i]);
	pw_free(h->rows);
	pw_free(h->processes);
	*h = HOLDERS_INIT;
}

/* ---- taking ---- */

struct taking {
	const struct snapshot *snapshot;
	size_t looked;		/* rows of the namespaces before */
	struct holder_wait *waits;
	size_t count, size;
	int error;
	struct diag_query query;
};

static void on_wait(void *arg, const struct diag_row *row)
{
	struct taking *taking = arg;

	if (!row->time_wait)
		return;
	if (taking->count == taking->size) {
		size_t size = taking->size ? taking->size * 2 : 256;
		struct holder_wait *waits = pw_reallocarray(taking->waits, size, sizeof(*waits));

		if (!waits) {
			taking->error = -ENOMEM;
			return;
		}
		taking->waits = waits;
		taking->size = size;
	}
	taking->waits[taking->count++] = (struct holder_wait){
		.cookie = row->cookie, .remote_port = row->remote_port, .expires_ms = row->expires_ms,
	};
}

/* Among the rows of the namespace at hand? A dump walks every connection of the machine. */
static bool has_time_wait(struct taking *taking)
{
	const struct snapshot *s = taking->snapshot;
	bool found = false;

	for (; taking->looked < s->count; taking->looked++)
		found |= s->rows[taking->looked].proto == IPPROTO_TCP &&
			 s->rows[taking->looked].state == STATE_TIME_WAIT;
	return found;
}

/* Best effort: without sock_diag the time that is left is not known. */
static int dump_waits(void *arg)
{
	struct taking *taking = arg;

	if (!has_time_wait(taking))
		return 0;
	taking->query.family = AF_INET;
	if (!diag_dump(&taking->query, on_wait, taking)) {
		taking->query.family = AF_INET6;
		diag_dump(&taking->query, on_wait, taking);
	}
	return taking->error;
}

/* The smallest range that has all of them. */
static void span(const struct port_set *ports, uint16_t *first, uint16_t *last)
{
	for (unsigned int port = 1; ports && port < NUM_PORTS; port++) {
		if (!port_set_has(ports, (uint16_t)port))
			continue;
		*first = *last ? *first : (uint16_t)port;
		*last = (uint16_t)port;
	}
}

static void on_nothing(void *arg, const struct event *event)
{
	(void)arg;
	(void)event;
}

/* Of the filter that which is not by owner: holders without a process count as well. */
static struct probe_options iterators(const struct probe_options *filter)
{
	struct probe_options options = {
		.ports = filter->ports, .iterators_only = true, .cgroup_root = -1,
		.ring_size = (uint32_t)sysconf(_SC_PAGESIZE),
		.settings = { .protos = filter->settings.protos, .netns_count = filter->settings.netns_count },
	};

	memcpy(options.settings.netns, filter->settings.netns, sizeof(options.settings.netns));
	return options;
}

int holders_take(struct holders *holders, const struct probe_options *filter, struct identity *identity, char *why,
		 size_t why_size)
{
	struct probe_options options = iterators(filter);
	_cleanup_snapshot_ struct snapshot snapshot = SNAPSHOT_INIT;
	_cleanup_probe_ struct probe *probe = NULL;
	struct taking taking = {
		.snapshot = &snapshot, .query = { .proto = IPPROTO_TCP, .states = DIAG_TIME_WAIT },
	};
	int r = probe_open(&options, on_nothing, NULL, &probe, why, why_size);

	if (r)
		return r;
	span(options.ports, &taking.query.first, &taking.query.last);
	r = snapshot_gather(&snapshot, probe, &options, dump_waits, &taking);
	if (!r)
		r = holders_of(holders, &snapshot, taking.waits, taking.count, identity);
	pw_free(taking.waits);
	if (r)
		snprintf(why, why_size, "the sockets of this machine cannot be listed: %s", strerror(-r));
	return r;
}
