/* SPDX-License-Identifier: GPL-2.0 */
/* What portwake who says of the past, and its comparison with the truth. */
#define _GNU_SOURCE
#include "tests/e2e/told.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/ask.h"

/* Between a call and the kernel's own moment; of what the other end completes, or softirq. */
#define TIGHT (2 * MS)
#define WIDE (60 * MS)
#define WRITTEN_WITHIN (6 * SECOND)
#define MOST_SAID 12

const char *time_text(int64_t time, char out[40])
{
	time_t seconds = (time_t)(time / SECOND);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 40 - n, ".%09lldZ", (long long)(time % SECOND));
	return out;
}

/* ---- the answer ---- */

static int64_t time_of(const json_t *row, const char *name, int64_t null)
{
	const json_t *value = json_object_get(row, name);
	int64_t time = 0;

	if (json_is_null(value))
		return null;
	if (!json_is_string(value) || seen_time(json_string_value(value), &time))
		fail_msg("'%s' is no time in: %s", name, json_dumps(row, 0));
	return time;
}

static void copy_text(char *to, size_t size, const json_t *row, const char *name)
{
	snprintf(to, size, "%s", str(row, name));
}

static struct past_row *new_row(struct past *past)
{
	if ((past->count & (past->count - 1)) == 0)
		past->rows = reallocarray(past->rows, 2 * past->count + 1, sizeof(*past->rows));
	if (!past->rows)
		abort();
	return &past->rows[past->count++];
}

static struct blind_row *new_blind(struct past *past)
{
	past->blind = reallocarray(past->blind, past->blind_count + 1, sizeof(*past->blind));
	if (!past->blind)
		abort();
	return &past->blind[past->blind_count++];
}

static void add_holder(struct past *past, const json_t *row)
{
	struct past_row *to = new_row(past);

	*to = (struct past_row){
		.cookie = strtoull(str(row, "cookie"), NULL, 10), .port = (uint16_t)num(row, "port"),
		.proto = strcmp(str(row, "proto"), "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP,
		.since = time_of(row, "since", INT64_MIN), .until = time_of(row, "until", FOR_EVER), .pid = SEEN_NULL,
		.end_unknown = json_is_true(json_object_get(row, "end_unknown")),
	};
	if (json_is_integer(json_object_get(row, "generation")))
		to->generation = (unsigned)num(row, "generation");
	if (json_is_integer(json_object_get(row, "pid")))
		to->pid = (long)num(row, "pid");
	copy_text(to->comm, sizeof(to->comm), row, "comm");
	copy_text(to->addr, sizeof(to->addr), row, "addr");
	copy_text(to->state, sizeof(to->state), row, "state");
	copy_text(to->source, sizeof(to->source), row, "source");
}

static void add_blind(struct past *past, const json_t *row)
{
	struct blind_row *to = new_blind(past);

	*to = (struct blind_row){ .since = time_of(row, "since", INT64_MIN), .until = time_of(row, "until", FOR_EVER) };
	if (json_is_integer(json_object_get(row, "lost")))
		to->lost = (uint64_t)num(row, "lost");
	copy_text(to->reason, sizeof(to->reason), row, "reason");
	if (!*to->reason)
		fail_msg("blind without a reason: %s", json_dumps(row, 0));
}

static int by_since(const void *a, const void *b)
{
	const struct blind_row *x = a, *y = b;

	return (x->since > y->since) - (x->since < y->since);
}

/* Stretches that overlap or follow on one another are one; of a range each protocol has its own. */
static void join_blind(struct past *past)
{
	size_t n = 0;

	if (past->blind_count)
		qsort(past->blind, past->blind_count, sizeof(*past->blind), by_since);
	for (size_t i = 0; i < past->blind_count; i++) {
		struct blind_row *b = &past->blind[i], *last = n ? &past->blind[n - 1] : NULL;

		if (!last || b->since > last->until)
			past->blind[n++] = *b;
		else if (b->until > last->until)
			last->until = b->until;
	}
	past->blind_count = n;
}

static void add_row(struct past *past, const json_t *row)
{
	const char *event = str(row, "event");

	if (strcmp(event, "holder") == 0)
		add_holder(past, row);
	else if (strcmp(event, "blind") == 0)
		add_blind(past, row);
}

void past_free(struct past **at, size_t count)
{
	for (size_t i = 0; *at && i < count; i++) {
		free((*at)[i].rows);
		free((*at)[i].blind);
	}
	free(*at);
	*at = NULL;
}

static struct past *new_answers(size_t count)
{
	struct past *past = calloc(count, sizeof(*past));

	if (!past)
		abort();
	return past;
}

static void fill_args(const char *args[16], const struct stage *stage, const char *db, const char *const *more)
{
	const char *first[] = { "--json", "--db", db, "--netns", stage_number(stage) };
	size_t n = 0;

	for (size_t i = 0; i < COUNT_OF(first); i++)
		args[n++] = first[i];
	while (*more && n < 15)
		args[n++] = *more++;
	args[n] = NULL;
}

struct past *past_ask(const struct stage *stage, const char *db, const char *const *more)
{
	struct past *past = new_answers(1);
	const char *args[16];
	struct run *run;
	json_t *rows, *row;
	size_t i;

	fill_args(args, stage, db, more);
	run = ask(args);
	rows = rows_of(run);
	json_array_foreach(rows, i, row)
		add_row(past, row);
	join_blind(past);
	json_decref(rows);
	run_free(&run);
	return past;
}

struct past *past_since(const struct stage *stage, const char *db, int64_t since)
{
	char text[40];

	return past_ask(stage, db, ARGS("1-65535", "--proto", "tcp,udp", "--since", time_text(since, text)));
}

static void from_file(void *fd)
{
	if (dup2(*(int *)fd, STDIN_FILENO) < 0)
		_exit(98);
}

struct past *past_ask_lines(const struct stage *stage, const char *db, const char *lines, size_t count)
{
	int fd = memfd_create("lines", MFD_CLOEXEC);
	struct past *past = new_answers(count);
	const char *args[16];
	size_t i, at = 0;
	json_t *rows, *row;
	struct run *run;

	assert_true(fd >= 0 && write(fd, lines, strlen(lines)) == (ssize_t)strlen(lines) && !lseek(fd, 0, SEEK_SET));
	fill_args(args, stage, db, ARGS("-"));
	run = start_who(args, from_file, &fd);
	close(fd);
	if (run_wait(run, WITHIN))
		fail_msg("who - failed: %s", run->talk);
	rows = rows_of(run);
	json_array_foreach(rows, i, row) {
		at += strcmp(str(row, "event"), "port") == 0;
		if (at == 0 || at > count)
			fail_msg("%zu answers to %zu questions: %s", at, count, json_dumps(row, 0));
		add_row(&past[at - 1], row);
	}
	assert_int_equal(at, count);
	json_decref(rows);
	run_free(&run);
	return past;
}

/* ---- the views ---- */

static const char *column_text(sqlite3_stmt *st, int n)
{
	const char *text = (const char *)sqlite3_column_text(st, n);

	return text ? text : "";
}

static void add_view_row(void *past, sqlite3_stmt *st)
{
	struct past_row *to = new_row(past);

	*to = (struct past_row){
		.cookie = (uint64_t)sqlite3_column_int64(st, 0), .generation = (unsigned)sqlite3_column_int(st, 1),
		.port = (uint16_t)sqlite3_column_int(st, 2), .since = sqlite3_column_int64(st, 4),
		.until = sqlite3_column_int(st, 6) ? FOR_EVER : sqlite3_column_int64(st, 5),
		.proto = strcmp(column_text(st, 3), "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP,
		.pid = sqlite3_column_type(st, 7) == SQLITE_NULL ? SEEN_NULL : sqlite3_column_int64(st, 7),
	};
	snprintf(to->comm, sizeof(to->comm), "%s", column_text(st, 8));
	snprintf(to->addr, sizeof(to->addr), "%s", column_text(st, 9));
}

static void add_view_gap(void *past, sqlite3_stmt *st)
{
	struct blind_row *to = new_blind(past);

	*to = (struct blind_row){ .since = sqlite3_column_int64(st, 0), .until = sqlite3_column_int64(st, 1),
				  .lost = (uint64_t)sqlite3_column_int64(st, 2) };
	snprintf(to->reason, sizeof(to->reason), "%s", column_text(st, 3));
}

struct past *past_in_views(const struct stage *stage, const char *db, int64_t since)
{
	struct past *past = new_answers(1);
	char sql[400];

	snprintf(sql, sizeof(sql), "SELECT cookie, generation, port, proto, since_ns, until_ns, lasts, pid, comm, addr "
		 "FROM lifetimes WHERE netns = %s AND (lasts OR until_ns >= %lld)", stage_number(stage), (long long)since);
	db_each(db, sql, add_view_row, past);
	db_each(db, "SELECT since_ns, until_ns, lost, reason FROM gaps UNION ALL "
		"SELECT 0, min(ready_ns), 0, 'not recorded yet' FROM sessions UNION ALL "
		"SELECT max(last_ns), 9223372036854775807, 0, 'no sign of life since' FROM sessions", add_view_gap, past);
	join_blind(past);
	return past;
}

/* ---- the truth ---- */

static void widen(struct span *span, const struct happening *h)
{
	bool wide = is_tcp(span->life->proto) && *span->life->remote_addr[0];
	int64_t after = (h->kind == KIND_RELEASE && wide ? WIDE : TIGHT) * slow();
	int64_t t1 = (h->t1 ? h->t1 : now_ns()) + after + (h->late ? TRUTH_LATE * slow() : 0);

	if (h->kind == KIND_ALLOCATE) {
		span->a0 = h->t0 - TIGHT * slow();
		span->a1 = t1;
	} else if (h->kind == KIND_RELEASE) {
		span->r0 = h->t0 - TIGHT * slow();
		span->r1 = t1;
	} else if (h->kind == KIND_TIME_WAIT) {
		span->w0 = h->t0 - TIGHT * slow();
		span->w1 = h->t1 + WIDE * slow();
	} else if (h->kind == KIND_LISTEN) {
		span->l0 = t1;
	} else if (h->kind == KIND_CLOSE) {
		span->l1 = h->t0 - TIGHT * slow();
	}
}

static int by_port(const void *a, const void *b)
{
	const struct life *x = ((const struct span *)a)->life, *y = ((const struct span *)b)->life;

	return x->port != y->port ? x->port - y->port : x->proto != y->proto ? x->proto - y->proto : 0;
}

struct span *spans_of(const struct truth *truth, size_t *count)
{
	struct span *spans = calloc(truth->lives + 1, sizeof(*spans));

	if (!spans)
		abort();
	for (uint32_t i = 0; i < truth->lives; i++)
		spans[i] = (struct span){
			.life = &truth->life[i], .r0 = FOR_EVER, .r1 = FOR_EVER, .w0 = FOR_EVER, .w1 = FOR_EVER,
			.l0 = FOR_EVER, .l1 = FOR_EVER,
		};
	for (uint32_t i = 0; i < truth->happenings; i++)
		widen(&spans[truth->happening[i].life], &truth->happening[i]);
	qsort(spans, truth->lives, sizeof(*spans), by_port);
	*count = truth->lives;
	return spans;
}

/* ---- the comparison ---- */

struct differences {
	struct past *past;
	bool say;
	unsigned count;
};

/* A stretch that has part of this time; NULL: none. */
static const struct blind_row *blind_over(const struct past *past, int64_t t0, int64_t t1)
{
	for (size_t i = 0; i < past->blind_count; i++) {
		if (past->blind[i].since <= t1 && past->blind[i].until >= t0)
			return &past->blind[i];
	}
	return NULL;
}

static bool is_between(int64_t t, int64_t t0, int64_t t1)
{
	return t >= t0 && t <= t1;
}

static bool one_of(const char *text, const char list[2][ADDR_TEXT])
{
	return strcmp(text, list[0]) == 0 || (*list[1] && strcmp(text, list[1]) == 0);
}

/* Of one that began unseen the process is one that had it when it was found. */
static const char *begin_differs(const struct past *past, const struct span *span, const struct past_row *row)
{
	const struct blind_row *blind = blind_over(past, span->a0, span->a1);

	if (blind && (row->since == INT64_MIN || is_between(row->since, span->a0, blind->until)))
		return NULL;
	if (!is_between(row->since, span->a0, span->a1))
		return "since";
	if (row->pid != span->life->pid)
		return "pid";
	if (strcmp(row->comm, span->life->comm) != 0)
		return "comm";
	return NULL;
}

static const char *end_differs(const struct past *past, const struct span *span, const struct past_row *row)
{
	const struct blind_row *blind = blind_over(past, span->r0, span->r1);

	if (is_between(row->until, span->r0, span->r1) || (row->until == FOR_EVER && span->r1 > now_ns()))
		return NULL;
	if (past->stopped && row->end_unknown && row->until >= past->stopped && span->r1 > row->until)
		return NULL;
	if (blind && is_between(row->until, blind->since - TIGHT * slow(), blind->until))
		return NULL;
	return "until";
}

static const char *row_differs(const struct past *past, const struct span *span, const struct past_row *row)
{
	const struct life *life = span->life;
	const char *what;

	if (row->port != life->port || row->proto != life->proto)
		return "port";
	if (!one_of(row->addr, life->addr))
		return "addr";
	what = begin_differs(past, span, row);
	return what ? what : end_differs(past, span, row);
}

static void say_span(const char *what, const struct span *s)
{
	char since[40], until[40];

	fprintf(stderr, "  %s: %s %s:%u pid %d (%s) cookie %llu.%u, %s (%.3f ms) to %s (%.3f ms)\n", what,
		proto_name(s->life->proto), s->life->addr[0], s->life->port, (int)s->life->pid, s->life->comm,
		(unsigned long long)s->life->cookie, s->life->generation, time_text(s->a0, since),
		(double)(s->a1 - s->a0) / 1e6, s->r0 == FOR_EVER ? "now" : time_text(s->r0, until),
		(double)(s->r1 - s->r0) / 1e6);
}

static void say_row(const char *what, const struct past_row *r)
{
	char since[40], until[40];

	fprintf(stderr, "  %s: %s %s:%u pid %ld (%s) cookie %llu.%u, %s to %s\n", what, proto_name(r->proto), r->addr,
		r->port, r->pid, r->comm, (unsigned long long)r->cookie, r->generation,
		r->since == INT64_MIN ? "?" : time_text(r->since, since),
		r->until == FOR_EVER ? "now" : time_text(r->until, until));
}

static void differ(struct differences *d, const char *what, const struct span *span, const struct past_row *row)
{
	if (d->count++ >= MOST_SAID || !d->say)
		return;
	if (span)
		say_span(what, span);
	if (row)
		say_row(span ? "         told" : what, row);
}

static int by_cookie_of_row(const void *a, const void *b)
{
	const struct past_row *x = a, *y = b;

	return x->cookie != y->cookie ? (x->cookie < y->cookie ? -1 : 1) : (x->since > y->since) - (x->since < y->since);
}

/* The first row of the cookie; rows are in order of it. */
static struct past_row *rows_of_cookie(struct past *past, uint64_t cookie)
{
	size_t low = 0, high = past->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (past->rows[middle].cookie < cookie)
			low = middle + 1;
		else
			high = middle;
	}
	return &past->rows[low];
}

/* A row not taken yet that tells of this lifetime; or else one that does so wrongly. */
static struct past_row *row_for(struct past *past, const struct span *span, const char **what)
{
	struct past_row *end = past->rows + past->count, *wrong = NULL;

	*what = "missing";
	for (struct past_row *r = rows_of_cookie(past, span->life->cookie); r < end && r->cookie == span->life->cookie; r++) {
		if (r->taken || (!past->blind_count && r->generation != span->life->generation))
			continue;
		*what = row_differs(past, span, r);
		if (!*what)
			return r;
		wrong = r;
	}
	return wrong;
}

static bool may_be_missing(const struct past *past, const struct span *span)
{
	const struct blind_row *blind = blind_over(past, span->a0, span->a1);

	return blind && span->r0 <= blind->until;
}

unsigned past_differs(struct past *past, const struct span *const *due, size_t due_count, bool say)
{
	struct differences d = { .past = past, .say = say };

	if (past->count)
		qsort(past->rows, past->count, sizeof(*past->rows), by_cookie_of_row);
	for (size_t i = 0; i < due_count; i++) {
		const char *what;
		struct past_row *row = row_for(past, due[i], &what);

		if (row)
			row->taken = true;
		if (what && (row || !may_be_missing(past, due[i])))
			differ(&d, what, due[i], row);
	}
	for (size_t i = 0; i < past->count; i++) {
		if (!past->rows[i].taken)
			differ(&d, "not so", NULL, &past->rows[i]);
	}
	return d.count;
}

/* ---- all of it ---- */

struct comparison {
	const struct stage *stage;
	const char *db;
	struct past *(*ask)(const struct stage *stage, const char *db, int64_t since);
	struct past *past;
	unsigned differences;
};

/* The last that the truth is sure of lies in the part that the recording vouches for. */
static bool is_vouched_for(const struct past *past, const struct truth *truth)
{
	int64_t last = 0;

	for (uint32_t i = 0; i < truth->happenings; i++) {
		const struct happening *h = &truth->happening[i];

		if (!h->optional && h->t1 > last)
			last = h->t1;
	}
	for (size_t i = 0; i < past->blind_count; i++) {
		if (past->blind[i].until == FOR_EVER && past->blind[i].since < last)
			return false;
	}
	return true;
}

static bool is_recorded(void *arg)
{
	struct comparison *c = arg;
	const struct truth *truth = c->stage->work.truth;
	const struct span **due;
	struct span *spans;
	size_t count;

	past_free(&c->past, 1);
	c->past = c->ask(c->stage, c->db, truth->since);
	spans = spans_of(truth, &count);
	due = calloc(count + 1, sizeof(*due));
	for (size_t i = 0; due && i < count; i++)
		due[i] = &spans[i];
	c->differences = past_differs(c->past, due, count, false);
	if (c->differences)
		for (size_t i = 0; i < c->past->count; i++)
			c->past->rows[i].taken = false;
	free(due);
	free(spans);
	return !c->differences && is_vouched_for(c->past, truth);
}

/* Says what differs. */
static void say_differences(struct comparison *c)
{
	size_t count;
	struct span *spans = spans_of(c->stage->work.truth, &count);
	const struct span **due = calloc(count + 1, sizeof(*due));
	char since[40], until[40];

	for (size_t i = 0; due && i < count; i++)
		due[i] = &spans[i];
	past_differs(c->past, due, count, true);
	for (size_t i = 0; i < c->past->blind_count && i < MOST_SAID; i++) {
		const struct blind_row *b = &c->past->blind[i];

		fprintf(stderr, "  blind: %s to %s, %llu lost: %s\n", b->since == INT64_MIN ? "-" : time_text(b->since, since),
			b->until == FOR_EVER ? "-" : time_text(b->until, until), (unsigned long long)b->lost, b->reason);
	}
	free(due);
	free(spans);
}

static void compare(struct comparison *c)
{
	if (run_until(is_recorded, c, WRITTEN_WITHIN) || !c->differences)
		return;
	say_differences(c);
	fail_msg("%s: %u differences of %u lifetimes", c->stage->name, c->differences, c->stage->work.truth->lives);
}

struct past *recorded(const struct stage *stage, const char *db)
{
	struct comparison views = { .stage = stage, .db = db, .ask = past_in_views };
	struct comparison told = { .stage = stage, .db = db, .ask = past_since };

	compare(&views);
	past_free(&views.past, 1);
	compare(&told);
	return told.past;
}

void assert_recorded(const struct stage *stage, const char *db)
{
	struct past *past = recorded(stage, db);

	past_free(&past, 1);
}

void assert_no_blind(const struct past *past)
{
	char since[40], until[40];

	for (size_t i = 0; i < past->blind_count; i++) {
		const struct blind_row *b = &past->blind[i];

		if (b->since != INT64_MIN && b->until != FOR_EVER)
			fail_msg("blind from %s to %s: %s", time_text(b->since, since), time_text(b->until, until), b->reason);
	}
}
