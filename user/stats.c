/* SPDX-License-Identifier: GPL-2.0 */
/* Lifetimes added up. */
#include "user/stats.h"

#include <string.h>

#include "user/map.h"
#include "user/mem.h"

struct stats {
	enum stats_by by;
	const struct stats_ops *ops;
	void *arg;
	struct map index;		/* hash of the key -> first struct entry */
	struct stats_row *other;
	struct stats_row *latest;	/* found last: what a history tells is by port; NULL: none, or `other` */
	const struct stats_row **sorted;
	size_t count;
};

struct entry {
	struct stats_row row;
	struct entry *next;		/* another key of the same hash */
};

static const char *const by_names[STATS_BY_END] = { "port", "process", "destination", "container" };
static const char *const sort_names[STATS_SORT_END] = { "lifetimes", "now", "held", "longest", "key" };

static int find_name(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return i;
	return -EINVAL;
}

const char *stats_by_name(enum stats_by by)
{
	return by < STATS_BY_END ? by_names[by] : NULL;
}

int stats_by_of(const char *name, enum stats_by *out)
{
	int found = find_name(by_names, STATS_BY_END, name);

	if (found < 0)
		return found;
	*out = (enum stats_by)found;
	return 0;
}

int stats_sort_of(const char *name, enum stats_sort *out)
{
	int found = find_name(sort_names, STATS_SORT_END, name);

	if (found < 0)
		return found;
	*out = (enum stats_sort)found;
	return 0;
}

/* ---- keys ---- */

/* What a lifetime or a denial is filed under. */
struct subject {
	struct process *owner;
	const struct event_addr *remote;
	uint32_t netns;
	uint16_t port, remote_port;
	uint8_t proto;
};

static struct subject subject_of(const struct lifetime *l)
{
	return (struct subject){ l->owner, &l->remote, l->netns, l->port, l->remote_port, l->proto };
}

static void key_of(const struct stats *s, const struct subject *l, struct stats_row *key, const char **container)
{
	uint32_t pid = 0;
	uint64_t start = 0;

	memset(key, 0, sizeof(*key));
	*container = NULL;
	if (l->owner)
		s->ops->process(l->owner, &pid, &start, container);
	if (s->by != STATS_BY_CONTAINER)
		*container = NULL;
	if (s->by == STATS_BY_PORT) {
		key->netns = l->netns;
		key->proto = l->proto;
		key->port = l->port;
	} else if (s->by == STATS_BY_DESTINATION && l->remote->family) {
		key->netns = l->netns;
		key->proto = l->proto;
		key->port = l->remote_port;
		key->remote = *l->remote;
	} else if (s->by == STATS_BY_PROCESS) {
		key->pid = pid;
		key->start = start;
	}
}

static uint64_t mix(uint64_t hash, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return hash;
}

static uint64_t hash_of(const struct stats_row *key, const char *container)
{
	uint64_t hash = mix(0xcbf29ce484222325ULL, &key->netns, sizeof(key->netns));

	hash = mix(hash, &key->port, sizeof(key->port));
	hash = mix(hash, &key->proto, sizeof(key->proto));
	hash = mix(hash, &key->remote, sizeof(key->remote));
	hash = mix(hash, &key->pid, sizeof(key->pid));
	hash = mix(hash, &key->start, sizeof(key->start));
	return container ? mix(hash, container, strlen(container)) : hash;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_key(const struct stats_row *a, const struct stats_row *b, const char *container)
{
	return a->netns == b->netns && a->port == b->port && a->proto == b->proto && a->pid == b->pid &&
	       a->start == b->start && !memcmp(&a->remote, &b->remote, sizeof(a->remote)) &&
	       same_text(a->container, container);
}

static struct stats_row *other_row(struct stats *s)
{
	if (!s->other)
		s->other = pw_calloc(1, sizeof(*s->other));
	if (s->other)
		s->other->other = true;
	return s->other;
}

static struct stats_row *new_row(struct stats *s, const struct stats_row *key, const char *container, uint64_t hash)
{
	struct entry *entry = pw_calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->row = *key;
	entry->row.container = container ? pw_strdup(container) : NULL;
	entry->next = map_get(&s->index, hash);
	if ((container && !entry->row.container) || map_put(&s->index, hash, entry)) {
		pw_free(entry->row.container);
		pw_free(entry);
		return NULL;
	}
	s->count++;
	return &entry->row;
}

static struct stats_row *row_of_subject(struct stats *s, const struct subject *l)
{
	struct stats_row key;
	const char *container;
	uint64_t hash;

	key_of(s, l, &key, &container);
	if (s->latest && same_key(s->latest, &key, container))
		return s->latest;
	hash = hash_of(&key, container);
	for (struct entry *entry = map_get(&s->index, hash); entry; entry = entry->next)
		if (same_key(&entry->row, &key, container))
			return s->latest = &entry->row;
	if (s->count == STATS_ROWS)
		return other_row(s);
	return s->latest = new_row(s, &key, container, hash);
}

static struct stats_row *row_of(struct stats *s, const struct lifetime *l)
{
	struct subject subject = subject_of(l);

	return row_of_subject(s, &subject);
}

/* ---- counting ---- */

static void note_owner(struct stats *s, struct stats_row *row, struct process *owner, uint64_t seen)
{
	if (seen < row->last_at)
		return;
	row->last_at = seen;
	if (row->last_owner == owner)
		return;
	s->ops->put(s->arg, row->last_owner);
	row->last_owner = s->ops->ref(s->arg, owner);
}

static int count_release(struct stats *s, const struct lifetime *l, uint64_t time)
{
	struct stats_row *row = row_of(s, l);
	uint64_t held = l->since && time > l->since ? time - l->since : 0;

	if (!row || (l->since && hist_add(&row->held, held)))
		return -ENOMEM;
	row->lifetimes++;
	row->held_ns += held;
	row->released_at = time;
	note_owner(s, row, l->owner, l->seen);
	return 0;
}

/* A port comes back into use: how long had it rested? */
static int count_gap(struct stats *s, const struct lifetime *l, uint64_t time)
{
	struct stats_row *row;
	int r = 0;

	if (s->by != STATS_BY_PORT)
		return 0;
	row = row_of(s, l);
	if (!row)
		return -ENOMEM;
	if (!row->other && row->released_at && time >= row->released_at)
		r = hist_add(&row->gaps, time - row->released_at);
	row->released_at = 0;
	return r;
}

/* Its port as asked for: 0 is whichever the kernel would have chosen. */
int stats_denial(struct stats *s, const struct stats_denial *d)
{
	const struct subject subject = { d->owner, &d->remote, d->netns, d->port, d->remote_port, d->proto };
	struct stats_row *row = row_of_subject(s, &subject);

	if (!row)
		return -ENOMEM;
	row->denials += d->count;
	/* He never had it: one who had goes first, even where it is not known who that was. */
	if (!row->last_owner && !row->lifetimes)
		row->last_owner = s->ops->ref(s->arg, d->owner);
	return 0;
}

static int count_denial(struct stats *s, const struct change *change)
{
	const struct event *e = change->denied;

	return stats_denial(s, &(struct stats_denial){
		.owner = change->denied_owner, .remote = e->remote, .netns = e->netns, .port = e->port,
		.remote_port = e->remote_port, .proto = e->proto, .count = 1,
	});
}

int stats_change(struct stats *s, const struct change *change)
{
	if (change->what == WHAT_DENIED)
		return count_denial(s, change);
	if (change->what == WHAT_RELEASE)
		return count_release(s, change->lifetime, change->time);
	if (change->what == WHAT_ALLOCATE)
		return count_gap(s, change->lifetime, change->time);
	return 0;
}

int stats_held(struct stats *s, const struct lifetime *l, uint64_t now)
{
	struct stats_row *row = row_of(s, l);

	if (!row)
		return -ENOMEM;
	row->lifetimes++;
	row->now++;
	note_owner(s, row, l->owner, l->seen);
	if (l->since && now > l->since)
		row->held_ns += now - l->since;
	return 0;
}

/* While another one holds the port there is no rest; after one whose end is not known none is known. */
static uint64_t rests_from(const struct stats_row *row, const struct stats_life *l)
{
	if (l->lasts)
		return UINT64_MAX;
	if (!l->ended)
		return 0;
	return l->until > row->released_at ? l->until : row->released_at;
}

static int count_rest(struct stats_row *row, const struct stats_life *l)
{
	int r = 0;

	if (l->began && row->released_at && l->since >= row->released_at && !row->other)
		r = hist_add(&row->gaps, l->since - row->released_at);
	row->released_at = rests_from(row, l);
	return r;
}

int stats_life(struct stats *s, const struct stats_life *l)
{
	const struct subject subject = { l->owner, &l->remote, l->netns, l->port, l->remote_port, l->proto };
	struct stats_row *row = row_of_subject(s, &subject);

	if (!row || (l->began && l->ended && hist_add(&row->held, l->held_ns)))
		return -ENOMEM;
	row->lifetimes++;
	row->now += l->lasts;
	row->held_ns += l->held_ns;
	note_owner(s, row, l->owner, l->since);
	return s->by == STATS_BY_PORT ? count_rest(row, l) : 0;
}

/* ---- rows ---- */

static int by_key(const struct stats_row *a, const struct stats_row *b)
{
	int order;

	if (a->other != b->other)
		return a->other ? 1 : -1;
	if (a->container || b->container)
		return strcmp(a->container ? a->container : "", b->container ? b->container : "");
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	order = memcmp(&a->remote, &b->remote, sizeof(a->remote));
	if (order)
		return order;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	return a->netns < b->netns ? -1 : a->netns > b->netns;
}

static uint64_t column(const struct stats_row *row, enum stats_sort sort)
{
	switch (sort) {
	case STATS_LIFETIMES:
		return row->lifetimes;
	case STATS_NOW:
		return row->now;
	case STATS_HELD:
		return row->held_ns;
	case STATS_LONGEST:
		return row->held.count ? row->held.max : 0;
	case STATS_KEY:
	case STATS_SORT_END:
		break;
	}
	return 0;
}

static int compare(const void *left, const void *right, void *arg)
{
	const struct stats_row *a = *(const struct stats_row *const *)left;
	const struct stats_row *b = *(const struct stats_row *const *)right;
	enum stats_sort sort = *(const enum stats_sort *)arg;
	uint64_t x = column(a, sort), y = column(b, sort);

	if (x != y)
		return x > y ? -1 : 1;
	return by_key(a, b);
}

int stats_rows(struct stats *s, enum stats_sort sort, const struct stats_row *const **rows, size_t *count)
{
	const struct stats_row **sorted = pw_calloc(s->count + 1, sizeof(*sorted));
	size_t used = 0;
	void *first;

	if (!sorted)
		return -ENOMEM;
	for (size_t pos = 0; map_next(&s->index, &pos, NULL, &first);)
		for (struct entry *entry = first; entry; entry = entry->next)
			if (entry->row.lifetimes || entry->row.denials)
				sorted[used++] = &entry->row;
	if (s->other)
		sorted[used++] = s->other;
	qsort_r(sorted, used, sizeof(*sorted), compare, &sort);
	pw_free(s->sorted);
	s->sorted = sorted;
	*rows = sorted;
	*count = used;
	return 0;
}

/* ---- the whole ---- */

struct stats *stats_new(enum stats_by by, const struct stats_ops *ops, void *arg)
{
	struct stats *s = pw_calloc(1, sizeof(*s));

	if (s) {
		s->by = by;
		s->ops = ops;
		s->arg = arg;
	}
	return s;
}

static void clear_row(struct stats *s, struct stats_row *row)
{
	s->ops->put(s->arg, row->last_owner);
	hist_done(&row->held);
	hist_done(&row->gaps);
	pw_free(row->container);
}

void stats_free(struct stats **stats)
{
	struct stats *s = *stats;
	void *first;

	if (!s)
		return;
	for (size_t pos = 0; map_next(&s->index, &pos, NULL, &first);) {
		struct entry *entry = first, *next;

		for (; entry; entry = next) {
			next = entry->next;
			clear_row(s, &entry->row);
			pw_free(entry);
		}
	}
	if (s->other)
		clear_row(s, s->other);
	pw_free(s->other);
	map_done(&s->index);
	pw_free(s->sorted);
	pw_free(s);
	*stats = NULL;
}
