/* SPDX-License-Identifier: GPL-2.0 */
/* Who holds what a call was denied. */
#include "user/denial.h"

#include <netinet/in.h>
#include <string.h>

#include "user/budget.h"
#include "user/clock.h"
#include "user/map.h"
#include "user/mem.h"

#define SHARE_NS 100000000ULL		/* an explanation is shared for so long, */
#define RANGE_NS 200000000ULL		/* and the range of a namespace is believed */
#define TW_NS 60000000000ULL		/* TCP_TIMEWAIT_LEN */
#define BUDGET_NS 200000000		/* of dumps and walks at once; it fills up again, */
#define BUDGET_SHARE 20			/* by one part in so many of the time that passes */
#define CANDIDATES PW_LOOKS
#define STATE_SYN_RECV 3

struct denials {
	unsigned int refs;		/* ours, and one of each explanation that lives */
	struct denials_options options;
	struct range range;
	uint32_t range_netns;
	uint64_t range_at;
	struct event last;		/* the call that `shared` explains */
	uint64_t last_at, last_changes;
	struct explanation *shared;
	struct budget budget;
	bool doubtful;
};

/* Being gathered for one call. */
struct gather {
	struct denials *denials;
	const struct event *denied;
	struct rival rivals[CANDIDATES];
	struct rival block[CANDIDATES];	/* being looked at */
	struct pw_look looks[CANDIDATES];
	size_t count;
	size_t total;			/* those that found no room counted too */
	bool may;			/* it is within the budget: what is begun is finished */
};

static bool same_addr(const struct event_addr *a, const struct event_addr *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static void spend(struct denials *d, uint64_t since)
{
	budget_spend(&d->budget, since, now_boottime());
}

/* ---- lifetimes as rivals ---- */

static enum rival_state state_of(const struct lifetime *l)
{
	if (l->holds == HOLD_TW)
		return RIVAL_TIME_WAIT;
	if (l->closed_at)
		return RIVAL_CLOSED;
	if (l->listening)
		return RIVAL_LISTEN;
	return l->remote.family ? RIVAL_CONNECTED : RIVAL_BOUND;
}

static uint64_t left_of(const struct lifetime *l, uint64_t now)
{
	if (l->holds != HOLD_TW || !l->tw_at)
		return UNKNOWN_NS;
	return l->tw_at + TW_NS > now ? l->tw_at + TW_NS - now : 0;
}

static void rival_of(const struct lifetime *l, uint64_t now, struct rival *out)
{
	*out = (struct rival){
		.owner = l->owner, .cookie = l->cookie, .left_ns = left_of(l, now), .port = l->port,
		.remote_port = l->remote_port, .state = state_of(l), .kernel = l->flags & PW_F_KERNEL,
		.ephemeral = l->flags & PW_F_EPHEMERAL && !(l->flags & PW_F_EPHEMERAL_UNKNOWN),
		.addr = l->addr, .remote = l->remote,
	};
}

static void ask_traits(const struct lifetime *l, struct pw_look *look)
{
	bool tw = l->holds == HOLD_TW;

	*look = (struct pw_look){
		.sk = tw ? l->tw : l->sk, .cookie = l->cookie, .port = l->port, .proto = l->proto, .tw = tw,
	};
}

static void take_traits(const struct pw_look *look, struct rival *out)
{
	out->traits_known = look->held;
	out->uid_known = look->held && !look->tw;
	out->traits = look->traits;
	out->bound_dev = look->bound_dev;
	out->uid = look->uid;
}

/* Those that stand in the way: all are counted, and so many are kept. */
static void keep(struct gather *g, const struct rival *rival)
{
	if (!explain_blocks(g->denied, rival))
		return;
	g->total++;
	if (g->count < CANDIDATES)
		g->rivals[g->count++] = *rival;
}

static void keep_block(struct gather *g, size_t count)
{
	const struct view *view = &g->denials->options.view;
	bool looked = count && !view->ops->look(view->arg, g->looks, count);

	for (size_t i = 0; i < count; i++) {
		if (looked)
			take_traits(&g->looks[i], &g->block[i]);
		keep(g, &g->block[i]);
	}
}

/* The lifetimes of the port; not the socket itself, which has it when listen() is denied. */
static void gather_port(struct gather *g)
{
	const struct event *e = g->denied;
	struct lifetime *l = tracker_port(g->denials->options.tracker, e->netns, e->proto, e->port);
	uint64_t now = now_boottime();
	size_t count = 0;

	for (; l; l = tracker_port_next(g->denials->options.tracker, l)) {
		if (e->cookie && l->cookie == e->cookie)
			continue;
		rival_of(l, e->time, &g->block[count]);
		ask_traits(l, &g->looks[count]);
		if (++count < CANDIDATES)
			continue;
		keep_block(g, count);
		count = 0;
		if (!budget_allows(&g->denials->budget, now))
			return;
		spend(g->denials, now);
		now = now_boottime();
	}
	keep_block(g, count);
}

/* ---- sockets that the tracker does not know ---- */

static enum rival_state state_of_row(const struct diag_row *row)
{
	if (row->time_wait)
		return RIVAL_TIME_WAIT;
	if (row->state == STATE_LISTEN)
		return RIVAL_LISTEN;
	return row->remote.family ? RIVAL_CONNECTED : RIVAL_BOUND;
}

static struct rival *find_rival(struct gather *g, uint64_t cookie)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->rivals[i].cookie == cookie)
			return &g->rivals[i];
	return NULL;
}

/* What the tracker knows has been judged by its lifetimes and options: a row adds the time that a TIME_WAIT has left. */
static void on_known_row(struct gather *g, const struct diag_row *row)
{
	struct rival *known = row->time_wait ? find_rival(g, row->cookie) : NULL;

	if (known && known->left_ns == UNKNOWN_NS)
		known->left_ns = row->expires_ms * 1000000ULL;
}

static void on_row(void *arg, const struct diag_row *row)
{
	struct gather *g = arg;
	enum rival_state state = state_of_row(row);
	bool may_be_accepted = state == RIVAL_CONNECTED && g->denied->proto == IPPROTO_TCP;
	/* Of sockets that allocated, an unfiltered tracker knows each. */
	bool knows_all = !g->denials->options.filtered && !g->denials->doubtful;

	if (row->cookie == g->denied->cookie || row->state == STATE_SYN_RECV)
		return;
	if (tracker_knows(g->denials->options.tracker, row->cookie)) {
		on_known_row(g, row);
		return;
	}
	keep(g, &(struct rival){
		.cookie = row->cookie, .inode = row->inode,
		.left_ns = row->time_wait ? row->expires_ms * 1000000ULL : UNKNOWN_NS,
		.port = row->port, .remote_port = row->remote_port, .state = state,
		.accepted = may_be_accepted && knows_all, .accepted_unknown = may_be_accepted && !knows_all,
		.uid_known = row->inode, .uid = row->uid, .addr = row->addr, .remote = row->remote,
	});
}

static struct view_place place_of(const struct event *denied)
{
	return (struct view_place){ denied->netns, denied->process.pid };
}

static void dump_port(struct gather *g)
{
	const struct view *view = &g->denials->options.view;
	struct diag_query query = {
		.proto = g->denied->proto, .states = DIAG_ANY, .first = g->denied->port, .last = g->denied->port,
	};

	view->ops->dump(view->arg, place_of(g->denied), &query, on_row, g);
}

static bool lacks_time(const struct gather *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->rivals[i].state == RIVAL_TIME_WAIT && g->rivals[i].left_ns == UNKNOWN_NS)
			return true;
	return false;
}

static void gather_conflict(struct gather *g)
{
	struct denials *d = g->denials;
	uint64_t now = now_boottime();

	gather_port(g);
	if ((g->count && !lacks_time(g)) || !g->may)
		return;
	dump_port(g);
	spend(d, now);
}

/* ---- the range used up ---- */

struct count {
	struct map processes, remotes;	/* to the number of sockets */
	uint64_t held[NUM_PORTS / 64];
	const struct event *denied;
	const struct range *range;
	struct usage *usage;
};

/* 0 without memory. */
static unsigned int count_up(struct map *map, uint64_t key)
{
	unsigned int *count = map_get(map, key);

	if (count)
		return ++*count;
	count = pw_calloc(1, sizeof(*count));
	if (!count || map_put(map, key, count)) {
		pw_free(count);
		return 0;
	}
	return ++*count;
}

static void forget_counts(struct map *map)
{
	void *count;

	for (size_t pos = 0; map_next(map, &pos, NULL, &count);)
		pw_free(count);
	map_done(map);
}

static void count_port(struct count *c, uint16_t port)
{
	uint64_t *word = &c->held[port / 64], bit = 1ULL << (port % 64);

	c->usage->held += !(*word & bit);
	c->usage->sockets++;
	*word |= bit;
}

/* FNV-1a. */
static uint64_t remote_key(const struct lifetime *l)
{
	uint64_t hash = 0xcbf29ce484222325ULL ^ l->remote_port;

	for (size_t i = 0; i < sizeof(l->remote.bytes); i++)
		hash = (hash ^ l->remote.bytes[i]) * 0x100000001b3ULL;
	return hash;
}

/*
 * A connect() shares a port with connections to other ends, unless that port
 * was taken by bind() (__inet_hash_connect(): tb->fastreuse >= 0).
 */
static bool is_in_the_way(const struct event *denied, bool by_bind, const struct event_addr *remote,
			  uint16_t remote_port)
{
	if (denied->how != PW_HOW_CONNECT || denied->proto != IPPROTO_TCP || by_bind || !remote->family)
		return true;
	return remote_port == denied->remote_port && same_addr(remote, &denied->remote);
}

static bool uses_range(const struct gather *g, const struct range *range, const struct lifetime *l)
{
	return l->netns == g->denied->netns && l->proto == g->denied->proto && range_has(range, l->port) &&
	       is_in_the_way(g->denied, l->how == PW_HOW_BIND || l->how == PW_HOW_LISTEN, &l->remote, l->remote_port);
}

static void count_lifetime(struct count *c, const struct lifetime *l)
{
	struct usage *u = c->usage;
	unsigned int sockets;

	count_port(c, l->port);
	u->time_waits += l->holds == HOLD_TW;
	u->reusable += l->holds == HOLD_TW && l->how == PW_HOW_CONNECT;
	u->bound_first += l->remote.family && l->how == PW_HOW_BIND;
	sockets = l->owner ? count_up(&c->processes, (uint64_t)(uintptr_t)l->owner) : 0;
	if (sockets > u->top_sockets) {
		u->top_sockets = sockets;
		u->top = l->owner;
	}
	sockets = l->remote.family ? count_up(&c->remotes, remote_key(l)) : 0;
	if (sockets > u->top_remote_sockets) {
		u->top_remote_sockets = sockets;
		u->top_remote = l->remote;
		u->top_remote_port = l->remote_port;
	}
}

static void on_count_row(void *arg, const struct diag_row *row)
{
	struct count *c = arg;

	if (row->state == STATE_SYN_RECV || !range_has(c->range, row->port) ||
	    !is_in_the_way(c->denied, false, &row->remote, row->remote_port))
		return;
	count_port(c, row->port);
	c->usage->time_waits += row->time_wait;
}

/* Of a filtered tracker the sum is not the kernel's: then that is asked, and who they are is told of those it knows. */
static void count_by_dump(struct gather *g, struct count *c)
{
	const struct view *view = &g->denials->options.view;
	struct diag_query query = {
		.proto = c->denied->proto, .states = DIAG_ANY, .first = c->range->low, .last = c->range->high,
	};
	struct usage *u = c->usage;

	memset(c->held, 0, sizeof(c->held));
	u->held = u->sockets = u->time_waits = 0;
	view->ops->dump(view->arg, place_of(g->denied), &query, on_count_row, c);
}

static void gather_usage(struct gather *g, const struct range *range, struct usage *out)
{
	struct denials *d = g->denials;
	struct count c = { .denied = g->denied, .range = range, .usage = out };
	uint64_t now = now_boottime();

	*out = (struct usage){ .low = range->low, .high = range->high };
	if (!range->known || !g->may)
		return;
	out->known = true;
	out->size = range_size(range);
	out->reserved = range_reserved_count(range);
	for (struct lifetime *l = tracker_first(d->options.tracker); l; l = l->all_next) {
		if (!uses_range(g, range, l))
			continue;
		count_lifetime(&c, l);
		g->total++;
		if (g->count < RIVALS_MAX)
			rival_of(l, g->denied->time, &g->rivals[g->count++]);
	}
	if (d->options.filtered)
		count_by_dump(g, &c);
	forget_counts(&c.processes);
	forget_counts(&c.remotes);
	spend(d, now);
}

/* ---- the explanation ---- */

/*
 * Of a range used up, as it is now. What could not be read is believed for as long. Beyond the budget one is read each
 * RANGE_NS, and that of another namespace is not known until then.
 */
static const struct range *range_of(struct denials *d, const struct event *denied, bool may)
{
	static const struct range unknown;
	uint64_t now = now_boottime();
	bool fresh = now - d->range_at < RANGE_NS, same = d->range_netns == denied->netns;
	const struct view *view = &d->options.view;

	if (fresh && same && (!may || explain_cause(denied, &d->range) != DENIAL_EXHAUSTED))
		return &d->range;
	if (fresh && !may)
		return &unknown;
	d->range_netns = denied->netns;
	view->ops->range(view->arg, place_of(denied), &d->range);
	d->range_at = now;
	spend(d, now);
	return &d->range;
}

static int compare_rivals(const void *left, const void *right)
{
	const struct rival *a = left, *b = right;

	if (a->state != b->state)
		return a->state < b->state ? -1 : 1;
	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

static int take_rivals(struct explanation *e, struct gather *g)
{
	size_t count = g->count < RIVALS_MAX ? g->count : RIVALS_MAX;

	if (g->count)
		qsort(g->rivals, g->count, sizeof(g->rivals[0]), compare_rivals);
	e->rivals = pw_calloc(count + 1, sizeof(*e->rivals));
	if (!e->rivals)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		e->rivals[i] = g->rivals[i];
		identity_ref(e->rivals[i].owner);
	}
	e->rival_count = count;
	e->rival_total = g->total;
	return 0;
}

/* The processes of sockets from a dump. */
static void find_owners(struct denials *d, struct explanation *e, bool may)
{
	uint32_t inodes[RIVALS_MAX] = { 0 }, any = 0;
	struct event_process found[RIVALS_MAX];
	const struct view *view = &d->options.view;
	uint64_t now = now_boottime();

	for (size_t i = 0; i < e->rival_count; i++)
		any |= inodes[i] = e->rivals[i].owner ? 0 : e->rivals[i].inode;
	if (!any || !may)
		return;
	view->ops->find(view->arg, inodes, e->rival_count, found);
	for (size_t i = 0; i < e->rival_count; i++)
		if (inodes[i])
			e->rivals[i].owner = identity_owner(d->options.identity, &(struct event){ .process = found[i] });
	spend(d, now);
}

static int take_advice(struct explanation *e, const struct event *denied, const struct range *range)
{
	_cleanup_buf_ struct buf text = BUF_INIT(RANGE_LIST_MAX + 8192);

	explain_advise(denied, e, range, &text);
	e->advice = pw_strdup(buf_text(&text));
	return e->advice ? 0 : -ENOMEM;
}

static void on_put(void *arg, struct process *process)
{
	struct denials *d = arg;

	identity_put(d->options.identity, process);
}

static void on_end(void *arg)
{
	struct denials *d = arg;

	if (!--d->refs)
		pw_free(d);
}

/*
 * No source address is EADDRNOTAVAIL of an IPv6 connect() too: where nobody holds a port, the range is not the
 * cause. With a filter it is not known that nobody does: a dump does not tell the ports that bind() took.
 */
static void doubt_exhaustion(const struct denials *d, struct explanation *e, const struct event *denied)
{
	if (d->options.filtered)
		return;
	if (e->cause == DENIAL_EXHAUSTED && denied->how == PW_HOW_CONNECT && denied->proto == IPPROTO_TCP &&
	    denied->remote.family == AF_INET6 && e->usage.known && !e->usage.held &&
	    e->usage.size > e->usage.reserved)
		e->cause = DENIAL_OTHER;
}

static struct explanation *explain_anew(struct denials *d, const struct event *denied)
{
	_cleanup_free_ struct gather *g = calloc(1, sizeof(*g));
	struct explanation *e = pw_calloc(1, sizeof(*e));
	bool may = budget_allows(&d->budget, now_boottime());
	const struct range *range = range_of(d, denied, may);

	if (!g || !e) {
		pw_free(e);
		return NULL;
	}
	*g = (struct gather){ .denials = d, .denied = denied, .may = may };
	*e = (struct explanation){ .refs = 1, .cause = explain_cause(denied, range), .put = on_put,
				   .end = on_end, .arg = d };
	d->refs++;
	if (e->cause == DENIAL_CONFLICT)
		gather_conflict(g);
	else if (e->cause == DENIAL_EXHAUSTED)
		gather_usage(g, range, &e->usage);
	doubt_exhaustion(d, e, denied);
	identity_ref(e->usage.top);
	if (take_rivals(e, g) || take_advice(e, denied, range)) {
		explanation_put(e);
		return NULL;
	}
	find_owners(d, e, may);
	return e;
}

static bool same_call(const struct event *a, const struct event *b)
{
	return a->netns == b->netns && a->proto == b->proto && a->how == b->how && a->error == b->error &&
	       a->port == b->port && a->remote_port == b->remote_port && same_addr(&a->addr, &b->addr) &&
	       same_addr(&a->remote, &b->remote) && a->traits == b->traits && a->sock_uid == b->sock_uid &&
	       a->bound_dev == b->bound_dev && (a->how != PW_HOW_LISTEN || a->cookie == b->cookie);
}

/* Of a range used up the sum is dear, and moves slowly: it is shared also while ports come and go. */
static bool may_share(const struct denials *d, const struct event *denied, uint64_t changes, uint64_t now)
{
	return d->shared && now - d->last_at < SHARE_NS && same_call(&d->last, denied) &&
	       (changes == d->last_changes || d->shared->cause == DENIAL_EXHAUSTED);
}

struct explanation *denials_explain(struct denials *d, const struct event *denied, uint64_t changes)
{
	uint64_t now = now_boottime();

	if (!may_share(d, denied, changes, now)) {
		explanation_put(d->shared);
		d->shared = d->refs > EXPLANATIONS_MAX ? NULL : explain_anew(d, denied);
		d->last = *denied;
		d->last_at = now;
		d->last_changes = changes;
	}
	return explanation_ref(d->shared);
}

void denials_doubt(struct denials *d)
{
	d->doubtful = true;
}

struct denials *denials_new(const struct denials_options *options)
{
	struct denials *d = pw_calloc(1, sizeof(*d));

	if (d) {
		d->options = *options;
		d->refs = 1;
		d->budget = (struct budget){
			.left = BUDGET_NS, .most = BUDGET_NS, .at = now_boottime(), .share = BUDGET_SHARE,
		};
	}
	return d;
}

void denials_free(struct denials **denials)
{
	if (!*denials)
		return;
	explanation_put((*denials)->shared);
	on_end(*denials);
	*denials = NULL;
}
