/* SPDX-License-Identifier: GPL-2.0 */
/* The arithmetic of a range. */
#include "user/pool.h"

#include <math.h>
#include <netinet/in.h>
#include <string.h>

#include "user/mem.h"

const char *pool_how_name(enum pool_how how)
{
	static const char *const names[POOL_HOW_END] = { "explicit", "connect", "bind", "ephemeral", "accepted",
							 "unknown" };

	return how < POOL_HOW_END ? names[how] : NULL;
}

static enum pool_how how_of(const struct holder *row)
{
	if (row->accepted)
		return POOL_ACCEPTED;
	if (row->locked)
		return POOL_EXPLICIT;
	if (row->proto != IPPROTO_TCP)
		return POOL_EPHEMERAL;
	if (row->by_connect)
		return POOL_CONNECT;
	return row->doubtful || row->state == HOLDER_TIME_WAIT ? POOL_UNKNOWN : POOL_BIND;
}

/* ---- counting ---- */

struct counting {
	struct pool *pool;
	const struct range *range;
	const struct holder **rows;	/* that count: of this protocol, on usable ports */
	size_t count;
	struct port_set bound;		/* TCP: connect() passes these over */
};

static unsigned int count_ports(const struct port_set *set)
{
	unsigned int count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
		count += (unsigned int)__builtin_popcountll(set->bits[i]);
	return count;
}

static void count_sockets(struct counting *c)
{
	struct pool *pool = c->pool;
	unsigned int usable = range_usable_count(c->range);
	struct port_set held = { { 0 } };

	for (size_t i = 0; i < c->count; i++) {
		const struct holder *row = c->rows[i];

		pool->sockets++;
		pool->states[row->state]++;
		pool->how[how_of(row)]++;
		port_set_add(&held, row->port);
		if (!row->by_connect || row->locked)
			port_set_add(&c->bound, row->port);
	}
	pool->held = count_ports(&held);
	pool->free = usable - pool->held;
	if (pool->proto == IPPROTO_TCP)
		pool->connectable = usable - count_ports(&c->bound);
}

/* ---- destinations ---- */

static int compare_addr(const struct event_addr *a, const struct event_addr *b)
{
	return a->family != b->family ? a->family - b->family : memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static int compare_ends(const struct holder *a, const struct holder *b)
{
	int r = compare_addr(&a->remote, &b->remote);

	if (!r)
		r = a->remote_port - b->remote_port;
	return r ? r : compare_addr(&a->addr, &b->addr);
}

static int compare_rows(const void *left, const void *right)
{
	const struct holder *a = *(const struct holder *const *)left, *b = *(const struct holder *const *)right;
	int r = compare_ends(a, b);

	return r ? r : a->port - b->port;
}

static int compare_keys(const struct pool_destination *a, const struct pool_destination *b)
{
	int r = compare_addr(&a->remote, &b->remote);

	if (!r)
		r = a->remote_port - b->remote_port;
	return r ? r : compare_addr(&a->addr, &b->addr);
}

static int compare_destinations(const void *left, const void *right)
{
	const struct pool_destination *a = left, *b = right;

	if (a->held != b->held)
		return a->held < b->held ? 1 : -1;
	return compare_keys(a, b);
}

static bool is_loopback(const struct event_addr *addr)
{
	static const uint8_t one[16] = { [15] = 1 };

	return addr->family == AF_INET ? addr->bytes[0] == 127 : !memcmp(addr->bytes, one, sizeof(one));
}

static bool may_be_reused(const struct counting *c, const struct holder *row)
{
	if (row->state != HOLDER_TIME_WAIT || port_set_has(&c->bound, row->port))
		return false;
	return c->range->tw_reuse == 1 ||
	       (c->range->tw_reuse == 2 && (is_loopback(&row->remote) || is_loopback(&row->addr)));
}

/* Rows of the same ends, by port. */
static struct pool_destination destination(const struct counting *c, const struct holder **rows, size_t count)
{
	struct pool_destination d = {
		.addr = rows[0]->addr,
		.remote = rows[0]->remote,
		.remote_port = rows[0]->remote_port,
		.seconds_left = NAN,
	};
	unsigned int bound = 0;

	for (size_t i = 0; i < count; i++) {
		/* A connection may stand beside the TIME_WAIT that it takes over. */
		if (i && rows[i]->port == rows[i - 1]->port)
			continue;
		d.held++;
		d.time_wait += rows[i]->state == HOLDER_TIME_WAIT;
		d.reusable += may_be_reused(c, rows[i]);
		bound += port_set_has(&c->bound, rows[i]->port);
	}
	d.left = c->pool->connectable - (d.held - bound);
	return d;
}

/* What has ended is in no four-tuple any more, though it remembers its remote end. */
static bool goes_out(const struct holder *row)
{
	return row->remote.family && !row->accepted && !row->doubtful && row->state != HOLDER_CLOSED;
}

static int count_destinations(struct counting *c)
{
	_cleanup_(freep) const struct holder **rows = pw_calloc(c->count, sizeof(*rows));
	struct pool *pool = c->pool;
	size_t count = 0;

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++)
		if (goes_out(c->rows[i]))
			rows[count++] = c->rows[i];
	if (!count)
		return 0;
	qsort(rows, count, sizeof(*rows), compare_rows);
	pool->destinations = pw_calloc(count, sizeof(*pool->destinations));
	if (!pool->destinations)
		return -ENOMEM;
	for (size_t first = 0, last; first < count; first = last) {
		for (last = first + 1; last < count && !compare_ends(rows[first], rows[last]);)
			last++;
		pool->destinations[pool->destination_count++] = destination(c, rows + first, last - first);
	}
	qsort(pool->destinations, pool->destination_count, sizeof(*pool->destinations), compare_destinations);
	return 0;
}

/* ---- processes ---- */

static const struct process *process_of(const struct holder *row)
{
	return row->process_count ? row->processes[0] : NULL;
}

static int compare_process(const struct process *a, const struct process *b)
{
	if (!a || !b)
		return !a - !b;
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static int compare_owners(const void *left, const void *right)
{
	const struct holder *a = *(const struct holder *const *)left, *b = *(const struct holder *const *)right;
	int r = compare_process(process_of(a), process_of(b));

	return r ? r : a->port - b->port;
}

static int compare_processes(const void *left, const void *right)
{
	const struct pool_process *a = left, *b = right;

	if (a->ports != b->ports)
		return a->ports < b->ports ? 1 : -1;
	return compare_process(a->process, b->process);
}

static int count_processes(struct counting *c)
{
	struct pool *pool = c->pool;
	struct pool_process *last = NULL;

	pool->processes = pw_calloc(c->count, sizeof(*pool->processes));
	if (!pool->processes)
		return -ENOMEM;
	qsort(c->rows, c->count, sizeof(*c->rows), compare_owners);
	for (size_t i = 0; i < c->count; i++) {
		const struct process *process = process_of(c->rows[i]);
		bool same = last && !compare_process(last->process, process);

		if (same && c->rows[i]->port == c->rows[i - 1]->port)
			continue;
		if (!same) {
			last = &pool->processes[pool->process_count++];
			last->process = process;
		}
		last->ports++;
	}
	qsort(pool->processes, pool->process_count, sizeof(*pool->processes), compare_processes);
	return 0;
}

int pool_count(struct pool *pool, const struct holder *rows, size_t count, const struct range *range, uint8_t proto)
{
	_cleanup_(freep) const struct holder **kept = pw_calloc(count + 1, sizeof(*kept));
	struct counting c = { .pool = pool, .range = range, .rows = kept };
	int r = kept ? 0 : -ENOMEM;

	*pool = (struct pool){ .proto = proto, .seconds_left = NAN };
	if (r)
		return r;
	for (size_t i = 0; i < count; i++)
		if (rows[i].proto == proto && range_usable(range, rows[i].port))
			kept[c.count++] = &rows[i];
	count_sockets(&c);
	if (c.count && proto == IPPROTO_TCP)
		r = count_destinations(&c);
	if (c.count && !r)
		r = count_processes(&c);
	if (r)
		pool_done(pool);
	return r;
}

void pool_done(struct pool *pool)
{
	pw_free(pool->destinations);
	pw_free(pool->processes);
	*pool = (struct pool){ 0 };
}

/* ---- two looks ---- */

static double seconds_left(unsigned int before, unsigned int now, unsigned int left, uint64_t elapsed_ns)
{
	if (!left)
		return 0;
	if (now <= before || !elapsed_ns)
		return NAN;
	return (double)left * ((double)elapsed_ns / 1e9) / (now - before);
}

static int compare_key_pointers(const void *left, const void *right)
{
	return compare_keys(*(const struct pool_destination *const *)left,
			    *(const struct pool_destination *const *)right);
}

int pool_compare(struct pool *now, const struct pool *before, uint64_t elapsed_ns)
{
	size_t count = before->destination_count;
	_cleanup_(freep) const struct pool_destination **keys = pw_calloc(count + 1, sizeof(*keys));

	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		keys[i] = &before->destinations[i];
	qsort(keys, count, sizeof(*keys), compare_key_pointers);
	now->seconds_left = seconds_left(before->held, now->held, now->free, elapsed_ns);
	for (size_t i = 0; i < now->destination_count; i++) {
		struct pool_destination *d = &now->destinations[i];
		const struct pool_destination **old = bsearch(&d, keys, count, sizeof(*keys), compare_key_pointers);

		d->seconds_left = seconds_left(old ? (*old)->held : 0, d->held, d->left, elapsed_ns);
	}
	return 0;
}
