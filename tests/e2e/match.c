/* SPDX-License-Identifier: GPL-2.0 */
/* Reported events grouped into lifetimes, and each lifetime of the truth with its own. */
#define _GNU_SOURCE
#include "tests/e2e/match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SAID 10
#define START_SLACK (20 * MS)
#define CLOCK_SLACK (MS / 5)

struct groups {
	struct seen **order;
	struct group *group;		/* by cookie and generation */
	struct group **by_port;		/* by protocol, port and time of the start */
	size_t count;
};

static bool is_life_event(const struct seen *s)
{
	return s->kind >= KIND_PRESENT && s->kind <= KIND_RELEASE;
}

static int by_lifetime(const void *a, const void *b)
{
	const struct seen *x = *(struct seen *const *)a, *y = *(struct seen *const *)b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	if (x->generation != y->generation)
		return x->generation < y->generation ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int by_place(const void *a, const void *b)
{
	const struct seen *x = (*(struct group *const *)a)->seen[0], *y = (*(struct group *const *)b)->seen[0];

	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return x->time < y->time ? -1 : x->time > y->time;
}

static bool same_lifetime(const struct seen *a, const struct seen *b)
{
	return a->cookie == b->cookie && a->generation == b->generation;
}

/* Numbers of namespaces are used again, and a lifetime that began in an earlier one may end late. */
static bool concerns(const struct truth *t, const struct group *g)
{
	const struct seen *first = g->seen[0];

	if (!t)
		return true;
	if (first->time < t->since - CLOCK_SLACK)
		return false;
	return first->netns == t->netns || !t->until || first->time < t->until;
}

static bool is_of(const struct truth *t, const struct seen *s)
{
	return is_life_event(s) && (!t || s->netns == t->netns || s->netns == t->second_netns);
}

static void drop_others(struct groups *g, const struct truth *truth)
{
	size_t kept = 0;

	for (size_t i = 0; i < g->count; i++) {
		if (concerns(truth, &g->group[i]))
			g->group[kept++] = g->group[i];
	}
	g->count = kept;
}

/* truth NULL: the events of every namespace. */
static void groups_make(struct groups *g, const struct run *run, const struct truth *truth)
{
	size_t n = 0;

	g->order = calloc(run->count + 1, sizeof(*g->order));
	g->group = calloc(run->count + 1, sizeof(*g->group));
	g->by_port = calloc(run->count + 1, sizeof(*g->by_port));
	if (!g->order || !g->group || !g->by_port)
		abort();
	for (size_t i = 0; i < run->count; i++) {
		struct seen *s = &run->seen[i];

		if (is_of(truth, s))
			g->order[n++] = s;
	}
	qsort(g->order, n, sizeof(*g->order), by_lifetime);
	for (size_t i = 0; i < n; i++) {
		if (!i || !same_lifetime(g->order[i - 1], g->order[i]))
			g->group[g->count++].seen = &g->order[i];
		g->group[g->count - 1].count++;
	}
	drop_others(g, truth);
	for (size_t i = 0; i < g->count; i++)
		g->by_port[i] = &g->group[i];
	qsort(g->by_port, g->count, sizeof(*g->by_port), by_place);
}

static void groups_free(struct groups *g)
{
	free(g->order);
	free(g->group);
	free(g->by_port);
}

static struct group *by_cookie(const struct groups *g, const struct life *life)
{
	size_t low = 0, high = g->count;
	struct seen key = { .cookie = life->cookie, .generation = life->generation };

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct seen *s = g->group[middle].seen[0];

		if (same_lifetime(s, &key))
			return &g->group[middle];
		if (s->cookie < key.cookie || (s->cookie == key.cookie && s->generation < key.generation))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The first of by_port that is not below this protocol, port and time. */
static size_t place_from(const struct groups *g, int proto, uint16_t port, int64_t time)
{
	struct seen key = { .proto = proto, .port = port, .time = time }, *keys = &key;
	struct group wanted = { .seen = &keys }, *pointer = &wanted;
	size_t low = 0, high = g->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (by_place(&g->by_port[middle], &pointer) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct group *by_start(const struct groups *g, const struct life *life, const struct happening *start)
{
	if (!start)
		return NULL;
	for (size_t i = place_from(g, life->proto, life->port, start->t0 - START_SLACK); i < g->count; i++) {
		const struct seen *s = g->by_port[i]->seen[0];

		if (s->proto != life->proto || s->port != life->port || s->time > start->t1 + START_SLACK)
			break;
		if (!g->by_port[i]->taken)
			return g->by_port[i];
	}
	return NULL;
}

/* Happenings ordered by life; first[i]..first[i + 1] are those of life i. */
struct due {
	const struct happening **list;
	size_t *first;
};

static void due_make(struct due *d, const struct truth *t)
{
	uint32_t lives = t->lives, n = t->happenings;

	d->list = calloc(n + 1, sizeof(*d->list));
	d->first = calloc(lives + 2, sizeof(*d->first));
	if (!d->list || !d->first)
		abort();
	for (uint32_t i = 0; i < n; i++)
		d->first[t->happening[i].life + 2]++;
	for (uint32_t i = 2; i < lives + 2; i++)
		d->first[i] += d->first[i - 1];
	for (uint32_t i = 0; i < n; i++)
		d->list[d->first[t->happening[i].life + 1]++] = &t->happening[i];
}

static void due_free(struct due *d)
{
	free(d->list);
	free(d->first);
}

static unsigned untold(const struct groups *g, bool say)
{
	unsigned n = 0;

	for (size_t i = 0; i < g->count; i++) {
		if (g->group[i].taken)
			continue;
		if (say && n < MAX_SAID) {
			fprintf(stderr, "  lifetime that nobody made (or with another cookie or generation):\n");
			for (size_t k = 0; k < g->group[i].count; k++)
				fprintf(stderr, "      %s\n", g->group[i].seen[k]->line);
		}
		n++;
	}
	return n;
}

unsigned truth_differs(const struct truth *truth, const struct run *run, bool say, bool partly)
{
	struct groups groups = { 0 };
	struct due due;
	unsigned n = 0;

	groups_make(&groups, run, truth);
	due_make(&due, truth);
	for (uint32_t i = 0; i < truth->lives; i++) {
		const struct life *life = &truth->life[i];
		const struct happening *const *mine = &due.list[due.first[i]];
		size_t count = due.first[i + 1] - due.first[i];
		struct group *group = life->cookie ? by_cookie(&groups, life) :
						     by_start(&groups, life, count ? mine[0] : NULL);

		if (group)
			group->taken = true;
		n += life_differs(life, mine, count, group, say && n < MAX_SAID);
	}
	if (!partly)
		n += untold(&groups, say);
	groups_free(&groups);
	due_free(&due);
	return n;
}

static bool is_span(int64_t told, int64_t from, int64_t to)
{
	return from ? llabs(told - (to - from)) <= MS : told == SEEN_NULL;
}

/* The spans of a release are those between the events of its lifetime. */
static const char *broken_span(const struct group *g)
{
	const struct seen *first = g->seen[0], *last = g->seen[g->count - 1];
	int64_t closed = 0, waiting = 0;

	if (last->kind != KIND_RELEASE || first->kind != KIND_ALLOCATE || !first->exact)
		return NULL;
	for (size_t i = 0; i < g->count; i++) {
		if (g->seen[i]->kind == KIND_CLOSE)
			closed = g->seen[i]->time;
		if (g->seen[i]->kind == KIND_TIME_WAIT)
			waiting = g->seen[i]->time;
	}
	if (!is_span(last->held_ns, first->time, last->time))
		return "has a held_ns that is not the time from allocate to release";
	if (closed && !is_span(last->open_ns, first->time, closed))
		return "has an open_ns that is not the time from allocate to close";
	if (!is_span(last->time_wait_ns, waiting, last->time))
		return "has a time_wait_ns that is not the time from time_wait to release";
	return NULL;
}

/* When the stream first lost something; the end of time when it did not. */
static int64_t blind_since(const struct run *run)
{
	int64_t since = INT64_MAX;

	for (size_t i = 0; i < run->count; i++) {
		if (run->seen[i].kind == KIND_GAP && run->seen[i].since < since)
			since = run->seen[i].since;
	}
	return since;
}

static const char *broken_rule(const struct group *g, int64_t blind)
{
	const struct seen *first = g->seen[0];

	if (first->kind != KIND_ALLOCATE && first->kind != KIND_PRESENT && first->time < blind)
		return "does not begin with allocate or present";
	for (size_t i = 1; i < g->count; i++) {
		const struct seen *s = g->seen[i];

		if (s->kind == KIND_ALLOCATE || s->kind == KIND_PRESENT)
			return "begins twice";
		if (g->seen[i - 1]->kind == KIND_RELEASE)
			return "goes on after its release";
		if (s->port != first->port || s->proto != first->proto || s->pid != first->pid)
			return "changes its port, protocol or owner";
	}
	return broken_span(g);
}

unsigned stream_breaks_rules(const struct run *run, bool say)
{
	struct groups groups = { 0 };
	int64_t blind = blind_since(run);
	unsigned n = 0;

	groups_make(&groups, run, NULL);
	for (size_t i = 0; i < groups.count; i++) {
		const struct group *g = &groups.group[i];
		const char *rule = broken_rule(g, blind);

		if (!rule)
			continue;
		if (say && n < MAX_SAID) {
			fprintf(stderr, "  lifetime %s:\n", rule);
			for (size_t k = 0; k < g->count; k++)
				fprintf(stderr, "      %s\n", g->seen[k]->line);
		}
		n++;
	}
	groups_free(&groups);
	return n;
}
