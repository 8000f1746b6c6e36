/* SPDX-License-Identifier: GPL-2.0 */
/* Lifetimes of a history added up. */
#include "user/stats_past.h"

#include <string.h>

#include "user/identity.h"
#include "user/mem.h"

#define CROWD_KEPT 8192

/* ---- processes ---- */

struct member {
	struct process process;	/* first: what rows point to */
	struct member *next;	/* another of the same hash */
};

static uint64_t key_of(const struct past_process *p)
{
	return p->start * 0x9e3779b97f4a7c15ULL ^ p->pid;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* A process that has executed another program is told as another. */
static bool is_member(const struct member *m, const struct past_process *p)
{
	return m->process.pid == p->pid && m->process.start == p->start && !strcmp(m->process.comm, p->comm) &&
	       same_text(m->process.exe, p->exe) && same_text(m->process.container, p->container);
}

static void free_member(struct member *m)
{
	pw_free(m->process.exe);
	pw_free(m->process.container);
	pw_free(m);
}

static bool copy_text(char **to, const char *text)
{
	*to = text ? pw_strdup(text) : NULL;
	return *to || !text;
}

static struct member *new_member(struct crowd *crowd, const struct past_process *p, uint64_t key)
{
	struct member *m = pw_calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->process.key = key;
	m->process.pid = p->pid;
	m->process.start = p->start;
	m->process.uid = p->uid;
	snprintf(m->process.comm, sizeof(m->process.comm), "%s", p->comm);
	m->next = map_get(&crowd->members, key);
	if (copy_text(&m->process.exe, p->exe) && copy_text(&m->process.container, p->container) &&
	    !map_put(&crowd->members, key, m))
		return m;
	free_member(m);
	return NULL;
}

/* A reference; NULL without memory. */
static struct process *join(struct crowd *crowd, const struct past_process *p)
{
	uint64_t key = key_of(p);
	struct member *m = map_get(&crowd->members, key);

	while (m && !is_member(m, p))
		m = m->next;
	if (!m)
		m = new_member(crowd, p, key);
	if (!m)
		return NULL;
	m->process.refs++;
	return &m->process;
}

static void leave(struct crowd *crowd, struct member *m)
{
	struct member *first = map_get(&crowd->members, m->process.key), **at = &first;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	if (first)
		(void)!map_put(&crowd->members, m->process.key, first);
	else
		map_del(&crowd->members, m->process.key);
	free_member(m);
}

static struct process *on_ref(void *arg, struct process *process)
{
	(void)arg;
	if (process)
		process->refs++;
	return process;
}

/* Those that no row refers to may come again soon: a number of them are kept. */
static void on_put(void *arg, struct process *process)
{
	struct crowd *crowd = arg;

	if (process && !--process->refs && map_count(&crowd->members) > CROWD_KEPT)
		leave(crowd, (struct member *)process);
}

static void on_process(const struct process *process, uint32_t *pid, uint64_t *start, const char **container)
{
	*pid = process->pid;
	*start = process->start;
	*container = process->container;
}

const struct stats_ops past_stats_ops = { .ref = on_ref, .put = on_put, .process = on_process };

void crowd_done(struct crowd *crowd)
{
	void *first;

	for (size_t pos = 0; map_next(&crowd->members, &pos, NULL, &first);) {
		for (struct member *m = first, *next; m; m = next) {
			next = m->next;
			free_member(m);
		}
	}
	map_done(&crowd->members);
}

/* ---- filters ---- */

/* Below the root, however it is written: "/system.slice/", "/sys/fs/cgroup/system.slice". */
static bool in_cgroup(const char *path, const char *wanted)
{
	static const char mount[] = "/sys/fs/cgroup";
	size_t length;

	if (!strncmp(wanted, mount, strlen(mount)) && strchr("/", wanted[strlen(mount)]))
		wanted += strlen(mount);
	wanted += strspn(wanted, "/");
	for (length = strlen(wanted); length && wanted[length - 1] == '/';)
		length--;
	path += strspn(path, "/");
	return !length || (!strncmp(path, wanted, length) && strchr("/", path[length]));
}

static bool is_one_of(const struct pw_settings *s, uint32_t pid)
{
	for (uint32_t i = 0; i < s->pid_count; i++)
		if (s->pid[i] == pid)
			return true;
	return !s->pid_count;
}

static bool is_wanted(const struct options *o, const struct past_process *owner)
{
	const struct pw_settings *s = &o->settings;

	if (!s->pid_count && !s->comm[0] && !o->cgroup)
		return true;
	return owner && is_one_of(s, owner->pid) && (!s->comm[0] || !strcmp(s->comm, owner->comm)) &&
	       (!o->cgroup || (owner->cgroup && in_cgroup(owner->cgroup, o->cgroup)));
}

/* ---- counting ---- */

static uint64_t end_of(const struct stats_past *past)
{
	return past->options->until ? past->options->until : past->now;
}

static uint64_t held_in(const struct past *p, uint64_t since, uint64_t until, bool lasts)
{
	uint64_t from = p->since > since ? p->since : since;
	uint64_t to = !lasts && p->until < until ? p->until : until;

	return to > from ? to - from : 0;
}

static struct stats_life life_of(const struct stats_past *past, const struct past *p, struct process *owner)
{
	uint64_t since = past->options->since, until = end_of(past);
	bool held_after = p->runs || p->until > until;
	struct stats_life life = {
		.owner = owner, .remote = p->remote, .netns = p->netns, .port = p->port, .remote_port = p->remote_port,
		.proto = p->proto, .lasts = held_after, .since = p->since, .until = p->until,
		.began = !p->began_before && p->since >= since,
		.ended = !p->lasts && !p->end_unknown && !held_after,
	};

	/* Of a whole one the span by a clock that nobody sets. */
	if (life.began && life.ended && p->held_ns != UNKNOWN_NS)
		life.held_ns = p->held_ns;
	else
		life.held_ns = held_in(p, since, until, held_after);
	return life;
}

static int on_past(void *arg, const struct past *p)
{
	struct stats_past *past = arg;
	struct process *owner;
	struct stats_life life;

	if (!is_wanted(past->options, p->owner))
		return 0;
	owner = p->owner ? join(past->crowd, p->owner) : NULL;
	life = life_of(past, p, owner);
	if ((p->owner && !owner) || stats_life(past->stats, &life))
		past->not_counted++;
	on_put(past->crowd, owner);
	return 0;
}

static bool asks_for(const struct options *o, unsigned int port)
{
	return !o->by_port || port_set_has(&o->ports, (uint16_t)port);
}

static int on_denied(void *arg, const struct past_denial *d)
{
	struct stats_past *past = arg;
	struct stats_denial denial = {
		.remote = d->remote, .netns = d->netns, .port = d->port, .remote_port = d->remote_port, .proto = d->proto,
		.count = d->count,
	};

	if (!asks_for(past->options, d->port) || !is_wanted(past->options, d->owner))
		return 0;
	denial.owner = d->owner ? join(past->crowd, d->owner) : NULL;
	if ((d->owner && !denial.owner) || stats_denial(past->stats, &denial))
		past->not_counted++;
	on_put(past->crowd, denial.owner);
	return 0;
}

static struct history_query query_of(const struct stats_past *past)
{
	const struct pw_settings *s = &past->options->settings;

	return (struct history_query){
		.since = past->options->since, .until = end_of(past), .first = 1, .last = NUM_PORTS - 1, .protos = s->protos,
		.netns = s->netns, .netns_count = s->netns_count,
	};
}

/* The next run of ports that are wanted, from query->last + 1 on. */
static bool next_run(const struct options *o, unsigned int from, struct history_query *query)
{
	unsigned int port = from;

	while (port < NUM_PORTS && !asks_for(o, port))
		port++;
	query->first = (uint16_t)port;
	if (port == NUM_PORTS)
		return false;
	/* How long a port rested is told by lifetimes in order of time: of more ports they come as they ended. */
	while (port < NUM_PORTS && asks_for(o, port) && (o->by != STATS_BY_PORT || port - query->first < HISTORY_SORTED))
		port++;
	query->last = (uint16_t)(port - 1);
	return true;
}

int stats_past_count(struct stats_past *past)
{
	struct history_query query = query_of(past), every = query;
	int r = 0;

	for (unsigned int from = 1; !r && next_run(past->options, from, &query); from = query.last + 1U)
		r = history_find(past->history, &query, on_past, past);
	/* A lifetime has a port; a denied call may have named none. They have no index by port: one look finds all. */
	every.first = 0;
	return r ? r : history_denied(past->history, &every, on_denied, past);
}

int stats_past_blind(struct stats_past *past, int (*on_blind)(void *arg, const struct blind *blind), void *arg)
{
	struct history_query query = query_of(past);

	/* What lies outside of them was not asked for. */
	while (query.first < query.last && !asks_for(past->options, query.first))
		query.first++;
	while (query.last > query.first && !asks_for(past->options, query.last))
		query.last--;
	return history_blind(past->history, &query, on_blind, arg);
}
