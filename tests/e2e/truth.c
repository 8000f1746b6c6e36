/* SPDX-License-Identifier: GPL-2.0 */
/* The workload's log, and the comparison of one lifetime with what was reported of it. */
#define _GNU_SOURCE
#include "tests/e2e/truth.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/e2e/match.h"

#define TIGHT (5 * MS)
#define WIDE (60 * MS)

struct truth *truth_new(uint64_t netns)
{
	struct truth *truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (truth == MAP_FAILED)
		abort();
	truth->netns = netns;
	truth->since = now_ns();
	return truth;
}

void truth_free(struct truth **at)
{
	if (*at)
		munmap(*at, sizeof(**at));
	*at = NULL;
}

uint32_t truth_life(struct truth *truth, const struct life *life)
{
	uint32_t i = atomic_fetch_add(&truth->lives, 1);

	if (i >= TRUTH_LIVES)
		abort();
	truth->life[i] = *life;
	return i;
}

struct happening *truth_add(struct truth *truth, const struct happening *happening)
{
	uint32_t i = atomic_fetch_add(&truth->happenings, 1);

	if (i >= TRUTH_HAPPENINGS)
		abort();
	truth->happening[i] = *happening;
	return &truth->happening[i];
}

void truth_settle(struct truth *truth)
{
	int64_t now = now_ns();

	for (uint32_t i = 0; i < truth->happenings; i++) {
		if (!truth->happening[i].t1)
			truth->happening[i].t1 = now;
	}
}

/* Collects what is wrong with one lifetime; prints its head once, before the first difference. */
struct report {
	const struct life *life;
	const struct group *group;
	const struct happening *const *due;
	size_t due_count;
	bool say;
	unsigned differences;
};

static void print_head(const struct report *r)
{
	const struct life *l = r->life;
	char how[64];

	fprintf(stderr, "  lifetime: %s %s:%u, %s by pid %d (%s), cookie %llu.%u\n    expected:", proto_name(l->proto),
		l->addr[0], l->port, how_names(l->how, how), (int)l->pid, l->comm, (unsigned long long)l->cookie,
		l->generation);
	for (size_t i = 0; i < r->due_count; i++)
		fprintf(stderr, " %s%s", kind_name(r->due[i]->kind), r->due[i]->optional ? "?" : "");
	fprintf(stderr, "\n    reported:");
	for (size_t i = 0; r->group && i < r->group->count; i++)
		fprintf(stderr, " %s", kind_name(r->group->seen[i]->kind));
	fprintf(stderr, "\n");
	for (size_t i = 0; r->group && i < r->group->count; i++)
		fprintf(stderr, "      %s\n", r->group->seen[i]->line);
}

static void __attribute__((format(printf, 2, 3))) differ(struct report *r, const char *format, ...)
{
	va_list args;

	if (r->say && !r->differences)
		print_head(r);
	r->differences++;
	if (!r->say)
		return;
	va_start(args, format);
	fprintf(stderr, "    - ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
}

static bool one_of(const char *text, const char list[2][ADDR_TEXT])
{
	return strcmp(text, list[0]) == 0 || (*list[1] && strcmp(text, list[1]) == 0);
}

static void check_place(struct report *r, const struct seen *s)
{
	const struct life *l = r->life;
	const char *kind = kind_name(s->kind);

	if (s->netns != l->netns)
		differ(r, "%s: netns %llu, not %llu", kind, (unsigned long long)s->netns, (unsigned long long)l->netns);
	if (s->proto != l->proto)
		differ(r, "%s: proto %s, not %s", kind, proto_name(s->proto), proto_name(l->proto));
	if (s->port != l->port)
		differ(r, "%s: port %u, not %u", kind, s->port, l->port);
	if (*l->addr[0] && !one_of(s->addr, l->addr))
		differ(r, "%s: addr %s, not %s%s%s", kind, s->addr, l->addr[0], *l->addr[1] ? " or " : "", l->addr[1]);
	if (s->has_ephemeral && s->ephemeral != l->ephemeral)
		differ(r, "%s: ephemeral %d, not %d", kind, s->ephemeral, l->ephemeral);
	if (!s->has_ephemeral && s->kind == KIND_ALLOCATE && s->exact)
		differ(r, "%s: exact, and ephemeral is null", kind);
}

static void check_remote(struct report *r, const struct seen *s)
{
	const struct life *l = r->life;
	bool start = s->kind == KIND_ALLOCATE || s->kind == KIND_PRESENT;

	if (!*s->remote_addr && !s->remote_port) {
		if (l->remote_due && start)
			differ(r, "%s: no remote end, it is %s:%u", kind_name(s->kind), l->remote_addr[0],
			       l->remote_port[0]);
		return;
	}
	for (int i = 0; i < LIFE_REMOTES && s->kind != KIND_LISTEN; i++) {
		if (*l->remote_addr[i] && strcmp(s->remote_addr, l->remote_addr[i]) == 0 &&
		    s->remote_port == l->remote_port[i])
			return;
	}
	if (s->kind == KIND_LISTEN || !*l->remote_addr[0])
		differ(r, "%s: remote end %s:%u, not null", kind_name(s->kind), s->remote_addr, s->remote_port);
	else
		differ(r, "%s: remote end %s:%u, not %s:%u", kind_name(s->kind), s->remote_addr, s->remote_port,
		       l->remote_addr[0], l->remote_port[0]);
}

static void check_owner(struct report *r, const struct seen *s)
{
	const struct life *l = r->life;
	const char *kind = kind_name(s->kind);

	if (l->kernel) {
		if (!s->kernel || s->pid != SEEN_NULL)
			differ(r, "%s: not called a kernel socket, or one with an owner", kind);
		return;
	}
	if (l->owner_unknown && s->pid == SEEN_NULL && (!s->exact || r->group->seen[0]->kind == KIND_PRESENT ||
							!r->group->seen[0]->exact))
		return;
	if (s->pid != l->pid)
		differ(r, "%s: owner pid %ld, not %d", kind, s->pid, (int)l->pid);
	if (*l->comm && strcmp(s->comm, l->comm) != 0)
		differ(r, "%s: owner comm '%s', not '%s'", kind, s->comm, l->comm);
	if (*l->exe && strcmp(s->exe, l->exe) != 0)
		differ(r, "%s: owner exe '%s', not '%s'", kind, s->exe, l->exe);
	if (s->uid != (long)l->uid)
		differ(r, "%s: owner uid %ld, not %u", kind, s->uid, l->uid);
	if (s->kernel)
		differ(r, "%s: called a kernel socket", kind);
}

static void check_holder(struct report *r, const struct seen *s, const struct happening *h)
{
	bool other = h->actor && !r->life->kernel && (h->actor != r->life->pid || s->pid == SEEN_NULL);

	if (other && s->holder_pid == h->actor)
		return;
	if (other && s->holder_pid == SEEN_NULL && (s->kind == KIND_RELEASE || (s->pid == SEEN_NULL &&
										s->kind != KIND_CLOSE)))
		return;
	if (other || s->holder_pid != SEEN_NULL)
		differ(r, "%s: holder_pid %ld, not %ld", kind_name(s->kind), s->holder_pid,
		       other ? (long)h->actor : SEEN_NULL);
}

bool truth_of_base(void)
{
	const char *rung = getenv("E2E_RUNG");

	return !getenv("E2E_GUEST") || (rung && !strcmp(rung, "base"));
}

/*
 * The base takes a route look-up within a millisecond for that of the connect() before it. Where a millisecond is
 * short it says so, and is right all the same.
 */
static bool may_be_slow(const struct life *life, const struct seen *s)
{
	return truth_of_base() && slow() > 1 && s->kind == KIND_ALLOCATE && life->how == HOW_CONNECT && life->proto != IPPROTO_TCP;
}

static void check_time(struct report *r, const struct seen *s, const struct happening *h)
{
	int64_t slack = (h->soft ? WIDE : TIGHT) * slow();
	int64_t t1 = h->t1 + (h->late && !s->exact ? TRUTH_LATE * slow() : 0);

	if (h->about && !s->exact)
		slack += SECOND;
	t1 += slack;

	if (s->time < h->t0 - slack || s->time > t1)
		differ(r, "%s: %.3f ms outside of its [%.3f ms] interval", kind_name(s->kind),
		       (double)(s->time < h->t0 ? s->time - h->t0 : s->time - h->t1) / 1e6,
		       (double)(h->t1 - h->t0) / 1e6);
	if (!s->exact && !h->late && !h->about && !may_be_slow(r->life, s))
		differ(r, "%s: exact is false", kind_name(s->kind));
}

static void check_release(struct report *r, const struct seen *s, const struct happening *h)
{
	char got[96], want[96];

	if (!(s->cause & h->cause))
		differ(r, "release: cause %s, not %s", cause_names(s->cause, got), cause_names(h->cause, want));
	if (strcmp(h->err, "*") != 0 && strcmp(s->err, h->err) != 0)
		differ(r, "release: errno %s, not %s", *s->err ? s->err : "null", *h->err ? h->err : "null");
}

static void check_one(struct report *r, const struct seen *s, const struct happening *h)
{
	check_place(r, s);
	check_remote(r, s);
	check_owner(r, s);
	check_holder(r, s, h);
	check_time(r, s, h);
	if (s->kind == KIND_RELEASE)
		check_release(r, s, h);
	if (s->kind == KIND_ALLOCATE && !(s->how & r->life->how) && !(r->life->owner_unknown && !s->how)) {
		char got[64], want[64];

		differ(r, "allocate: how %s, not %s", how_names(s->how, got), how_names(r->life->how, want));
	}
}

static bool same_kind(const struct report *r, const struct seen *s, const struct happening *h)
{
	if (h->kind != KIND_ALLOCATE)
		return s->kind == h->kind;
	if (r->life->either)
		return s->kind == KIND_ALLOCATE || s->kind == KIND_PRESENT;
	return s->kind == (r->life->before ? KIND_PRESENT : KIND_ALLOCATE);
}

/* The start of a lifetime that was there before the tracer may be of any time. */
static void check_step(struct report *r, const struct seen *s, const struct happening *h)
{
	struct happening loose = *h;

	if (s->kind == KIND_PRESENT) {
		loose.t1 = INT64_MAX / 2;
		loose.late = true;
	}
	check_one(r, s, &loose);
}

/* Walks the two in step: both are in the order of time. */
unsigned life_differs(const struct life *life, const struct happening *const *due, size_t due_count,
		      const struct group *group, bool say)
{
	struct report r = { .life = life, .group = group, .due = due, .due_count = due_count, .say = say };
	size_t at = 0, count = group ? group->count : 0;

	if (!group && life->unseen_ok)
		return 0;
	for (size_t i = 0; i < due_count; i++) {
		if (at < count && same_kind(&r, group->seen[at], due[i]))
			check_step(&r, group->seen[at++], due[i]);
		else if (!due[i]->optional)
			differ(&r, "%s is missing", kind_name(due[i]->kind));
	}
	for (; at < count; at++)
		differ(&r, "%s was not expected (here)", kind_name(group->seen[at]->kind));
	return r.differences;
}
