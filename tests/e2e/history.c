/* SPDX-License-Identifier: GPL-2.0 */
/* Who had that port then: ten processes that know what they did, and a thousand questions about it. */
#define _GNU_SOURCE
#include "tests/e2e/told.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/ask.h"
#include "tests/e2e/crowd.h"

#define QUESTIONS 1000
#define ONE_BY_ONE 40
#define STRETCHES 20
#define LASTS 8			/* seconds; $E2E_LONG: a minute */
#define PAUSE_LONG 9000
#define PAUSE 1800
#define AGAIN_PORT 23460

struct quest {
	uint16_t port;
	int proto;
	int64_t since, until;	/* the same: a moment */
};

struct inquiry {
	struct span *spans;
	size_t count;
	int64_t since, until;	/* recorded */
	int64_t stopped;	/* see struct past */
	uint64_t random;
};

static uint64_t draw(struct inquiry *in, uint64_t below)
{
	in->random = in->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return below ? (in->random >> 20) % below : 0;
}

static bool is_about(const struct span *span, const struct quest *q)
{
	return span->life->port == q->port && span->life->proto == q->proto;
}

/* The workload itself does not know to which side of this moment it falls. */
static bool is_edge(const struct span *span, int64_t t)
{
	return (t >= span->a0 && t <= span->a1) || (t >= span->r0 && t <= span->r1);
}

static bool can_be_asked(const struct inquiry *in, const struct quest *q)
{
	if (q->since < in->since || q->until > in->until || q->since > q->until)
		return false;
	for (size_t i = 0; i < in->count; i++) {
		if (is_about(&in->spans[i], q) && (is_edge(&in->spans[i], q->since) || is_edge(&in->spans[i], q->until)))
			return false;
	}
	return true;
}

static int64_t within(struct inquiry *in, int64_t t0, int64_t t1)
{
	return t0 + (int64_t)draw(in, t1 > t0 ? (uint64_t)(t1 - t0) : 0);
}

/* While somebody had it, just before or after, or at any time. */
static int64_t some_moment(struct inquiry *in, const struct span *span)
{
	int64_t end = span->r0 < in->until ? span->r0 : in->until;

	switch (draw(in, 8)) {
	case 0:
		return span->a0 - 1 - (int64_t)draw(in, 3 * MS);
	case 1:
		return span->r1 < in->until ? span->r1 + 1 + (int64_t)draw(in, 3 * MS) : in->until;
	case 2:
	case 3:
		return within(in, in->since, in->until);
	default:
		return within(in, span->a1 + 1, end);
	}
}

static struct quest some_quest(struct inquiry *in, bool stretch)
{
	struct quest q;

	do {
		const struct span *span = &in->spans[draw(in, in->count)];

		q.port = span->life->port;
		q.proto = span->life->proto;
		q.since = q.until = some_moment(in, span);
		if (stretch)
			q.until += (int64_t)draw(in, 200 * MS);
	} while (!can_be_asked(in, &q));
	return q;
}

/* Who had the port at that time: how many. */
static size_t right_answer(const struct inquiry *in, const struct quest *q, const struct span **due)
{
	size_t n = 0;

	for (size_t i = 0; i < in->count; i++) {
		const struct span *span = &in->spans[i];

		if (is_about(span, q) && span->a1 < q->until && span->r0 > q->since)
			due[n++] = span;
	}
	return n;
}

/* What it was at that moment, as far as that is sure. */
static const char *right_state(const struct span *span, int64_t t)
{
	if (t > span->w1)
		return "time_wait";
	return t > span->l0 && t < span->l1 ? "listen" : NULL;
}

static unsigned states_differ(const struct span *const *due, const struct past *answer, int64_t t)
{
	unsigned wrong = 0;

	for (; *due; due++) {
		const char *state = right_state(*due, t);

		for (size_t i = 0; i < answer->count; i++) {
			const struct past_row *row = &answer->rows[i];

			if (row->cookie != (*due)->life->cookie || row->generation != (*due)->life->generation)
				continue;
			if (strcmp(row->source, "history") == 0 && (state ? strcmp(row->state, state) == 0 :
								    t > (*due)->w0 || strcmp(row->state, "time_wait")))
				continue;
			fprintf(stderr, "  state '%s' of '%s', not '%s'\n", row->state, row->source, state ? state : "another");
			wrong++;
		}
	}
	return wrong;
}

static unsigned quest_differs(const struct inquiry *in, const struct quest *q, struct past *answer)
{
	const struct span **due = calloc(in->count + 1, sizeof(*due));
	char since[40], until[40];
	unsigned wrong;

	if (!due)
		abort();
	answer->stopped = in->stopped;
	wrong = past_differs(answer, due, right_answer(in, q, due), true);
	if (!wrong && q->since == q->until)
		wrong = states_differ(due, answer, q->since);
	if (wrong || answer->blind_count)
		fprintf(stderr, "    who %u/%s from %s to %s: %zu holders, %zu blind%s%s\n", q->port, proto_name(q->proto),
			time_text(q->since, since), time_text(q->until, until), answer->count, answer->blind_count,
			answer->blind_count ? ": " : "", answer->blind_count ? answer->blind[0].reason : "");
	free(due);
	return wrong || answer->blind_count;
}

/* All in one go. */
static void ask_thousand(const struct stage *stage, const char *db, struct inquiry *in)
{
	static struct quest quests[QUESTIONS];
	static char lines[QUESTIONS * 64];
	unsigned wrong = 0, nobody = 0, shared = 0;
	struct past *answers;
	char text[40];
	size_t at = 0;

	for (int i = 0; i < QUESTIONS; i++) {
		quests[i] = some_quest(in, false);
		at += (size_t)snprintf(lines + at, sizeof(lines) - at, "%u/%s %s\n", quests[i].port,
				       proto_name(quests[i].proto), time_text(quests[i].since, text));
	}
	answers = past_ask_lines(stage, db, lines, QUESTIONS);
	for (int i = 0; i < QUESTIONS; i++) {
		wrong += quest_differs(in, &quests[i], &answers[i]);
		nobody += answers[i].count == 0;
		shared += answers[i].count > 1;
	}
	past_free(&answers, QUESTIONS);
	print_message("  %u of %u answers right; nobody in %u, several in %u\n", QUESTIONS - wrong, QUESTIONS, nobody, shared);
	assert_int_equal(wrong, 0);
	assert_true(nobody > 50 && shared > 20);
}

/* The forms that a time has; what ends with milliseconds means all of the last one. */
static const char *at_text(unsigned form, struct quest *q, char out[40])
{
	time_t seconds = (time_t)(q->since / SECOND);
	struct tm tm;
	size_t n;

	switch (form % 3) {
	case 0:
		return time_text(q->since, out);
	case 1:
		snprintf(out, 40, "@%lld.%09lld", (long long)seconds, (long long)(q->since % SECOND));
		return out;
	default:
		q->since = q->since / MS * MS;
		q->until = q->since + MS - 1;
		localtime_r(&seconds, &tm);
		n = strftime(out, 40, "%Y-%m-%d %H:%M:%S", &tm);
		snprintf(out + n, 40 - n, ".%03lld", (long long)(q->since % SECOND / MS));
		return out;
	}
}

static unsigned ask_moment(const struct stage *stage, const char *db, struct inquiry *in, unsigned form)
{
	struct quest q = some_quest(in, false);
	char port[24], time[40];
	struct past *answer;
	unsigned wrong;

	at_text(form, &q, time);
	if (!can_be_asked(in, &q))
		return 0;
	snprintf(port, sizeof(port), "%u/%s", q.port, proto_name(q.proto));
	answer = past_ask(stage, db, ARGS(port, "--at", time));
	wrong = quest_differs(in, &q, answer);
	past_free(&answer, 1);
	return wrong;
}

static unsigned ask_stretch(const struct stage *stage, const char *db, struct inquiry *in)
{
	struct quest q = some_quest(in, true);
	char port[24], since[40], until[40];
	struct past *answer;
	unsigned wrong;

	snprintf(port, sizeof(port), "%u/%s", q.port, proto_name(q.proto));
	answer = past_ask(stage, db, ARGS(port, "--since", time_text(q.since, since), "--until", time_text(q.until, until)));
	wrong = quest_differs(in, &q, answer);
	past_free(&answer, 1);
	return wrong;
}

static void ask_some(const struct stage *stage, const char *db, struct inquiry *in)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < ONE_BY_ONE; i++)
		wrong += ask_moment(stage, db, in, i);
	for (unsigned i = 0; i < STRETCHES; i++)
		wrong += ask_stretch(stage, db, in);
	assert_int_equal(wrong, 0);
}

static void ten_processes(void **state)
{
	bool at_length = getenv("E2E_LONG");
	struct crowd crowd = { .seed = choose_seed(), .lasts = (at_length ? 60 : LASTS) * SECOND,
			       .pause_us = at_length ? PAUSE_LONG : PAUSE };
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = stage_new("ten processes");
	struct inquiry in = { .random = crowd.seed };
	struct run *run = record_on(stage, db, NULL);
	struct past *past;

	(void)state;
	stage->work.arg = &crowd;
	in.since = now_ns();
	stage_start(stage, crowd_work);
	stage_await_step(stage);
	in.until = now_ns();
	past = recorded(stage, db);
	assert_no_blind(past);
	past_free(&past, 1);
	in.spans = spans_of(stage->work.truth, &in.count);
	print_message("  %zu lifetimes\n", in.count);
	ask_thousand(stage, db, &in);
	ask_some(stage, db, &in);
	/* What lasts is in the file as well, when nobody records. */
	in.stopped = now_ns();
	record_end(run);
	ask_thousand(stage, db, &in);
	assert_integrity(db);
	free(in.spans);
	stage_go(stage);
	stage_join(stage);
}

/* ---- the same process id twice ---- */

static void once(struct work *w, const char *name)
{
	struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_TCP), udp = ws_open_as(w, FAM_V6, IPPROTO_UDP);

	work_name(name);
	ws_bind(&s, AGAIN_PORT);
	ws_bind(&udp, AGAIN_PORT);
	usleep(50000);
	ws_close(&s);
	ws_close(&udp);
	_exit(0);
}

static void await_end(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		work_die("a child has failed");
}

static void twice(struct work *w)
{
	pid_t first = fork(), second;

	if (first == 0)
		once(w, "the-first");
	await_end(first);
	usleep(50000);
	second = fork_as(first);
	if (second == 0)
		once(w, "the-second");
	if (second < 0)
		work_skip(w, "a process id cannot be used again here: clone3() says %s", strerror((int)-second));
	await_end(second);
}

static void same_pid_twice(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = stage_new("same pid twice");
	struct run *run = record_on(stage, db, NULL);
	const struct life *life = stage->work.truth->life;
	struct past *past;

	(void)state;
	stage_run(stage, twice);
	past = recorded(stage, db);
	assert_no_blind(past);
	assert_int_equal(past->count, 4);
	assert_int_equal(life[0].pid, life[2].pid);
	/* Two processes, not one: that is what the start time is kept for. */
	assert_int_equal(db_int(db, "SELECT count(DISTINCT start) FROM process WHERE comm LIKE 'the-%'"), 2);
	assert_int_equal(db_int(db, "SELECT count(DISTINCT pid) FROM process WHERE comm LIKE 'the-%'"), 1);
	past_free(&past, 1);
	record_end(run);
	assert_recorded(stage, db);
}

/* ---- what is not known is not "nobody" ---- */

static void before_and_after(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = stage_new("before and after");
	int64_t before = now_ns(), during, after;
	struct run *run = record_on(stage, db, NULL);
	char text[40];
	struct past *past;

	(void)state;
	during = now_ns();
	run_sleep(1500);
	past = past_ask(stage, db, ARGS("23456/tcp", "--at", time_text(before, text)));
	assert_int_equal(past->blind_count, 1);
	past_free(&past, 1);
	past = past_ask(stage, db, ARGS("23456/tcp", "--at", time_text(during, text)));
	assert_int_equal(past->blind_count, 0);
	assert_int_equal(past->count, 0);
	past_free(&past, 1);
	record_end(run);
	after = now_ns();
	past = past_ask(stage, db, ARGS("23456/udp", "--at", time_text(after, text)));
	assert_int_equal(past->blind_count, 1);
	past_free(&past, 1);
	/* And of the time between two recordings. */
	run_sleep(200);
	run = record_on(stage, db, NULL);
	past = past_ask(stage, db, ARGS("23456/udp", "--at", time_text(after + 50 * MS, text)));
	assert_int_equal(past->blind_count, 1);
	past_free(&past, 1);
	record_end(run);
}

static const struct plain list[] = {
	{ "history/ten_processes", ten_processes },
	{ "history/same_pid_twice", same_pid_twice },
	{ "history/before_and_after", before_and_after },
};

const struct plain_list history_tests = { list, COUNT_OF(list) };
