/* SPDX-License-Identifier: GPL-2.0 */
/* Snapshot into stream; looks at what no hook tells. */
#include "user/merge.h"

#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "user/clock.h"
#include "user/mem.h"
#include "user/snapshot.h"

#define SETTLE_NS 2000000
#define TW_LENGTH_NS 58000000000ULL	/* TCP_TIMEWAIT_LEN, less what a timer may be early */

/* ---- looks ---- */

typedef bool (*choose_fn)(const struct lifetime *lifetime);

static bool choose_all(const struct lifetime *lifetime)
{
	return (lifetime->holds & HOLD_TW && lifetime->tw) || (lifetime->holds & HOLD_SOCK && lifetime->sk);
}

/* A TIME_WAIT that does not expire (reset, purged), a kernel socket's end, a datagram socket that only disconnects. */
static bool choose_hookless(const struct lifetime *lifetime)
{
	if (!choose_all(lifetime))
		return false;
	if (lifetime->holds & HOLD_TW || lifetime->flags & PW_F_KERNEL || lifetime->parting)
		return true;
	return lifetime->proto != IPPROTO_TCP && lifetime->remote.family && !(lifetime->flags & PW_F_LOCKED);
}

/* One hold that is asked after. */
struct asked {
	uint64_t cookie;
	uint32_t generation;
	enum hold hold;
	bool netns_gone;
};

struct looking {
	struct merge *merge;
	struct pw_look looks[PW_LOOKS];	/* of the next question */
	struct asked asked[PW_LOOKS];
	size_t count;
	struct asked *gone;		/* not held any more, says the kernel */
	size_t gone_count, gone_size;
};

static int keep_gone(struct looking *k, const struct asked *asked)
{
	if (k->gone_count == k->gone_size) {
		size_t size = k->gone_size ? k->gone_size * 2 : 256;
		struct asked *gone = pw_reallocarray(k->gone, size, sizeof(*gone));

		if (!gone)
			return -ENOMEM;
		k->gone = gone;
		k->gone_size = size;
	}
	k->gone[k->gone_count++] = *asked;
	return 0;
}

/* Asks the kernel of what has gathered. */
static int look_now(struct looking *k)
{
	const struct view *view = &k->merge->view;
	int r = k->count ? view->ops->look(view->arg, k->looks, k->count) : 0;

	for (size_t i = 0; !r && i < k->count; i++) {
		k->asked[i].netns_gone = k->looks[i].netns_gone;
		if (!k->looks[i].held)
			r = keep_gone(k, &k->asked[i]);
	}
	k->count = 0;
	return r;
}

static int ask_one(struct looking *k, const struct lifetime *l, enum hold hold)
{
	k->asked[k->count] = (struct asked){ .cookie = l->cookie, .generation = l->generation, .hold = hold };
	k->looks[k->count] = (struct pw_look){
		.sk = hold == HOLD_TW ? l->tw : l->sk, .cookie = l->cookie, .port = l->port, .proto = l->proto,
		.tw = hold == HOLD_TW,
	};
	if (hold == HOLD_TW)
		tracker_net(k->merge->tracker, l->netns, &k->looks[k->count]);
	return ++k->count < PW_LOOKS ? 0 : look_now(k);
}

/* Both holds of a lifetime that has two. Nothing ends meanwhile: what the ring has is taken in later. */
static int ask_all(struct looking *k, choose_fn choose)
{
	int r = 0;

	for (struct lifetime *l = tracker_first(k->merge->tracker); !r && l; l = l->all_next) {
		if (!choose(l))
			continue;
		if (l->holds & HOLD_TW && l->tw)
			r = ask_one(k, l, HOLD_TW);
		if (!r && l->holds & HOLD_SOCK && l->sk)
			r = ask_one(k, l, HOLD_SOCK);
	}
	return r ? r : look_now(k);
}

static enum cause cause_of_look(const struct lifetime *l, enum hold hold, bool after_loss, uint64_t now)
{
	if (after_loss)
		return CAUSE_UNKNOWN;
	if (hold == HOLD_TW)
		return l->tw_at && now - l->tw_at >= TW_LENGTH_NS ? CAUSE_TIME_WAIT : CAUSE_UNKNOWN;
	if (l->flags & PW_F_KERNEL)
		return CAUSE_CLOSE;
	return l->proto != IPPROTO_TCP && choose_hookless(l) ? CAUSE_DISCONNECT : CAUSE_UNKNOWN;
}

static void settle(const struct looking *k, bool after_loss)
{
	uint64_t now = now_boottime();

	for (size_t i = 0; i < k->gone_count; i++) {
		const struct asked *gone = &k->gone[i];
		struct lifetime *l = tracker_find(k->merge->tracker, gone->cookie, gone->generation);
		enum cause cause;

		if (!l)
			continue;
		cause = cause_of_look(l, gone->hold, after_loss, now);
		if (cause == CAUSE_UNKNOWN && gone->netns_gone)
			cause = CAUSE_NETNS;
		tracker_lost(k->merge->tracker, l, gone->hold, cause, now);
	}
}

static bool any_seems_held(const struct looking *k)
{
	for (size_t i = 0; i < k->gone_count; i++)
		if (tracker_find(k->merge->tracker, k->gone[i].cookie, k->gone[i].generation))
			return true;
	return false;
}

int merge_look(struct merge *merge, enum merge_which which, bool after_loss)
{
	struct looking k = { .merge = merge };
	int r = ask_all(&k, which == MERGE_ALL ? choose_all : choose_hookless);

	if (!r && k.gone_count)
		r = merge->consume(merge->arg);
	/* What ended just then may wait behind a record that another CPU is still writing. */
	if (!r && any_seems_held(&k)) {
		nanosleep(&(struct timespec){ .tv_nsec = SETTLE_NS }, NULL);
		r = merge->consume(merge->arg);
	}
	if (!r)
		settle(&k, after_loss);
	pw_free(k.gone);
	return r;
}

/* ---- snapshot ---- */

/* Events put aside. */
struct early {
	struct event *events;
	size_t count, size;
	int error;
};

static void keep_early(struct early *early, const struct event *event)
{
	if (early->count == early->size) {
		size_t size = early->size ? early->size * 2 : 4096;
		struct event *events = pw_reallocarray(early->events, size, sizeof(*events));

		if (!events) {
			early->error = -ENOMEM;
			return;
		}
		early->events = events;
		early->size = size;
	}
	early->events[early->count++] = *event;
}

bool merge_keep(struct merge *merge, const struct event *event)
{
	if (merge->early)
		keep_early(merge->early, event);
	return merge->early;
}

static int compare_early(const void *left, const void *right)
{
	const struct event *a = *(const struct event *const *)left, *b = *(const struct event *const *)right;

	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

/*
 * Did the live stream tell of this row's port before the row? A send tells of
 * any unconnected socket, old ones too: then the row is the better witness.
 */
static const struct event *const *first_early(const struct event *const *sorted, size_t count,
					      const struct event *row)
{
	const struct event *const *found = bsearch(&row, sorted, count, sizeof(*sorted), compare_early);

	while (found && found > sorted && found[-1]->cookie == row->cookie)
		found--;
	return found;
}

static bool told_before(const struct event *const *sorted, size_t count, const struct event *row)
{
	const struct event *const *found = first_early(sorted, count, row);

	for (; found && found < sorted + count && (*found)->cookie == row->cookie; found++)
		if ((*found)->kind == PW_SOCK && (*found)->port == row->port && (*found)->how != PW_HOW_SEND &&
		    !((*found)->flags & (PW_F_UPDATE | PW_F_LATE)) && (*found)->time < row->time)
			return true;
	return false;
}

/* Did it end while the snapshot was read? Then the live stream tells the rest. */
static bool ends_early(const struct event *const *sorted, size_t count, const struct event *row)
{
	const struct event *const *found = first_early(sorted, count, row);

	for (; found && found < sorted + count && (*found)->cookie == row->cookie; found++)
		if ((*found)->kind != PW_SOCK && (*found)->kind != PW_DENIED && (*found)->time > row->time)
			return true;
	return false;
}

/* A snapshot being merged. */
struct merging {
	struct merge *merge;
	struct early first;		/* told while it was read, */
	struct early later;		/* and while its rows were handed over */
	const struct event **sorted;	/* the first ones by cookie; NULL: no row has come */
	int error;
};

static bool is_news(const struct merging *m, const struct event *row)
{
	const struct event *const *sorted = m->sorted;
	bool known = tracker_knows(m->merge->tracker, row->cookie);

	/* Accepted, perhaps: it may be shown as there at the start, and is never an allocation. */
	if (!known && snapshot_doubtful(row) && (m->merge->ready || m->merge->by_owner))
		return false;
	if (!known && !row->held && row->sk && !ends_early(sorted, m->first.count, row))
		return false;
	return !told_before(sorted, m->first.count, row);
}

/* All has been read: what is told from now on comes after the rows. */
static int begin_merge(struct merging *m)
{
	int r = m->merge->consume(m->merge->arg);

	if (r || m->first.error)
		return r ? r : m->first.error;
	m->sorted = pw_calloc(m->first.count + 1, sizeof(*m->sorted));
	if (!m->sorted)
		return -ENOMEM;
	for (size_t i = 0; i < m->first.count; i++)
		m->sorted[i] = &m->first.events[i];
	if (m->first.count)
		qsort(m->sorted, m->first.count, sizeof(*m->sorted), compare_early);
	m->merge->early = &m->later;
	return 0;
}

static void on_row(void *arg, const struct event *row)
{
	struct merging *m = arg;

	if (!m->sorted && !m->error)
		m->error = begin_merge(m);
	if (!m->error && is_news(m, row))
		m->merge->feed(m->merge->arg, row);
}

static int pump(void *arg)
{
	struct merging *m = arg;

	return m->error ? m->error : m->merge->consume(m->merge->arg);
}

static void feed_all(struct merge *merge, const struct early *early)
{
	for (size_t i = 0; i < early->count; i++)
		merge->feed(merge->arg, &early->events[i]);
}

int merge_snapshot(struct merge *merge)
{
	struct merging m = { .merge = merge };
	struct view_taker taker = { .row = on_row, .pump = pump, .arg = &m };
	int r;

	merge->early = &m.first;
	r = merge->view.ops->snapshot(merge->view.arg, &taker);
	if (!r && !m.sorted && !m.error)
		m.error = begin_merge(&m);
	merge->early = NULL;
	if (!r)
		r = m.error ? m.error : m.later.error;
	if (!r) {
		feed_all(merge, &m.first);
		feed_all(merge, &m.later);
	}
	pw_free(m.first.events);
	pw_free(m.later.events);
	pw_free(m.sorted);
	return r;
}
