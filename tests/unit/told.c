/* SPDX-License-Identifier: GPL-2.0 */
/* What a tracker told. */
#include "tests/unit/told.h"

#include <inttypes.h>
#include <string.h>


void told_lifetime(const struct lifetime *l, struct told *out)
{
	memset(out, 0, sizeof(*out));
	out->cookie = l->cookie;
	out->generation = l->generation;
	out->seen = l->seen;
	out->since = l->since;
	out->closed_at = l->closed_at;
	out->tw_at = l->tw_at;
	out->netns = l->netns;
	out->owner = l->owner ? l->owner->pid : 0;
	out->port = l->port;
	out->remote_port = l->remote_port;
	out->proto = l->proto;
	out->how = l->how;
	out->flags = l->flags;
	out->holds = l->holds;
	out->listening = l->listening;
	out->listened = l->listened;
	out->addr = l->addr;
	out->remote = l->remote;
}

/* The record of what is told may not itself fail when the tracker's memory does: it takes plain realloc(). */
static struct told *append(struct telling *t)
{
	if (t->count == t->size) {
		t->size = t->size ? t->size * 2 : 64;
		t->told = realloc(t->told, t->size * sizeof(*t->told));
		if (!t->told)
			abort();
	}
	return &t->told[t->count++];
}

static void on_change(void *arg, const struct change *change)
{
	struct told *told = append(arg);

	told_lifetime(change->lifetime, told);
	told->what = change->what;
	told->cause = change->cause;
	told->exact = change->exact;
	told->time = change->time;
	told->error = change->what == WHAT_RELEASE ? change->lifetime->error : 0;
	told->holder_pid = change->holder_pid;
	memcpy(told->holder_comm, change->holder_comm, sizeof(told->holder_comm));
}

static struct process *on_owner(void *arg, const struct event *event)
{
	struct telling *t = arg;
	struct process *process = event->process.pid ? calloc(1, sizeof(*process)) : NULL;

	if (!process)
		return NULL;
	process->pid = event->process.pid;
	t->owners++;
	return process;
}

static void on_put(void *arg, struct process *process)
{
	struct telling *t = arg;

	t->puts++;
	free(process);
}

static const struct tracker_ops ops = { .emit = on_change, .owner = on_owner, .put = on_put };

struct tracker *telling_begin(struct telling *t)
{
	t->tracker = tracker_new(&ops, t);
	return t->tracker;
}

void telling_end(struct telling *t)
{
	tracker_free(&t->tracker);
}

void telling_done(struct telling *t)
{
	telling_end(t);
	free(t->told);
	*t = (struct telling){ 0 };
}

static bool same_addr(const struct event_addr *a, const struct event_addr *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool told_same(const struct told *a, const struct told *b)
{
	return a->what == b->what && a->cause == b->cause && a->time == b->time && a->cookie == b->cookie &&
	       a->generation == b->generation && a->seen == b->seen && a->since == b->since && a->closed_at == b->closed_at &&
	       a->tw_at == b->tw_at && a->netns == b->netns && a->owner == b->owner && a->error == b->error &&
	       a->holder_pid == b->holder_pid && a->port == b->port && a->remote_port == b->remote_port &&
	       a->proto == b->proto && a->how == b->how && a->flags == b->flags && a->holds == b->holds && a->exact == b->exact &&
	       a->listening == b->listening && a->listened == b->listened && same_addr(&a->addr, &b->addr) &&
	       same_addr(&a->remote, &b->remote) && !strcmp(a->holder_comm, b->holder_comm);
}

void told_print(const char *label, const struct told *t)
{
	const char *what = what_name(t->what), *cause = cause_name(t->cause);

	fprintf(stderr, "%8s %s %s%s time %" PRIu64 " (%" PRIu64 ", %u) netns %u proto %u port %u how %u owner %u holds "
		"%u since %" PRIu64 " closed %" PRIu64 " tw %" PRIu64 "%s%s error %u remote %u:%02x%02x:%u by %u %s\n",
		label, what ? what : "?", cause ? cause : "", t->exact ? "" : " (approximate)", t->time, t->cookie,
		t->generation, t->netns, t->proto, t->port, t->how, t->owner, t->holds, t->since, t->closed_at,
		t->tw_at, t->listening ? " listening" : "", t->listened ? " listened" : "", t->error,
		t->remote.family, t->remote.bytes[0], t->remote.bytes[3], t->remote_port, t->holder_pid,
		t->holder_comm);
}
