/* SPDX-License-Identifier: GPL-2.0 */
/* Questions: the wall clock as it stood, and what the history cannot speak for. */
#include "user/history.h"

#include <sys/wait.h>

#include "tests/unit/stored.h"
#include "user/explain.h"
#include "user/clock.h"
#include "user/history_clock.h"
#include "user/schema.h"

/* ---- clocks, pure ---- */

static size_t windows_of(const struct walls *walls, uint64_t since, uint64_t until, struct wall_window out[8])
{
	assert_in_range(walls->count, 0, 8);
	return walls_windows(walls, since, until, out);
}

static void clock_set_back_shows_a_time_twice(void **state)
{
	struct walls walls = { 0 };
	struct wall_window w[8];

	(void)state;
	walls_add(&walls, 0, 0, 1000, 50000);
	walls_add(&walls, 0, 0, 2000, 49500);
	assert_int_equal(walls_time(&walls, 0, 1999), 51999);
	assert_int_equal(walls_time(&walls, 0, 2000), 51500);
	assert_int_equal(walls_time(&walls, 0, 10), 50010);
	assert_int_equal(walls_time(&walls, 1, 10), 0);
	assert_int_equal(windows_of(&walls, 51700, 51700, w), 2);
	assert_int_equal(w[0].since, 1700);
	assert_int_equal(w[1].since, 2200);
	assert_int_equal(windows_of(&walls, 51499, 51499, w), 1);
	assert_int_equal(windows_of(&walls, 52000, 52000, w), 1);
	assert_int_equal(w[0].since, 2500);
	walls_done(&walls);
}

static void clock_set_forward_leaves_times_out(void **state)
{
	struct walls walls = { 0 };
	struct wall_window w[8];

	(void)state;
	walls_add(&walls, 0, 0, 1000, 50000);
	walls_add(&walls, 0, 0, 2000, 60000);
	assert_int_equal(windows_of(&walls, 55000, 55000, w), 0);
	assert_int_equal(windows_of(&walls, 51999, 62000, w), 2);
	assert_int_equal(w[0].until, 1999);
	assert_int_equal(w[1].since, 2000);
	walls_done(&walls);
}

static void every_boot_has_its_own(void **state)
{
	struct walls walls = { 0 };
	struct wall_window w[8];

	(void)state;
	walls_add(&walls, 0, 0, 1000, 50000);
	walls_add(&walls, 1, 1, 100, 70000);
	walls_add(&walls, 1, 2, 300, 70001);
	assert_int_equal(walls_time(&walls, 1, 5), 70005);
	assert_int_equal(walls_time(&walls, 1, 300), 70301);
	assert_int_equal(windows_of(&walls, 0, UINT64_MAX, w), 3);
	assert_int_equal(w[1].boot, 1);
	assert_int_equal(w[1].until, 299);
	walls_done(&walls);
}

/* The n-th stretch of wall time that boottime 1000 to 3000 had, through one setting of the clock at 2000; how many there were. */
static size_t shown(int64_t offset_then, int64_t since, int64_t until, struct wall_stretch out[4])
{
	struct walls walls = { 0 };
	size_t count = 0;

	walls_add(&walls, 0, 0, 500, 90000);
	walls_add(&walls, 1, 1, 1000, (int64_t)(100 * SEC));
	walls_add(&walls, 1, 1, (int64_t)(2000 * SEC), offset_then);
	walls_add(&walls, 2, 2, 500, 90000);
	for (size_t at = 0; walls_next(&walls, 1, since, until, &at, &out[count]); count++)
		assert_in_range(count, 0, 2);
	walls_done(&walls);
	return count;
}

static void stretch_is_shown_through_every_setting(void **state)
{
	const int64_t from = (int64_t)(1900 * SEC), to = (int64_t)(2200 * SEC), set = (int64_t)(2000 * SEC);
	struct wall_stretch w[4];

	(void)state;
	/* Back by less than it was: one stretch, that ends where it had come to. */
	assert_int_equal(shown((int64_t)(50 * SEC), from, to, w), 1);
	assert_int_equal(w[0].since, 2000 * SEC);
	assert_int_equal(w[0].until, 2250 * SEC);
	assert_int_equal(shown(-(int64_t)(100 * SEC), from, to, w), 1);
	assert_int_equal(w[0].since, 1900 * SEC);
	assert_int_equal(w[0].until, 2100 * SEC);
	/* By more; forward. */
	assert_int_equal(shown(-(int64_t)(500 * SEC), from, to, w), 2);
	assert_int_equal(w[0].since, 2000 * SEC);
	assert_int_equal(w[0].until, 2100 * SEC);
	assert_int_equal(w[1].since, 1500 * SEC);
	assert_int_equal(w[1].until, 1700 * SEC);
	assert_int_equal(shown((int64_t)(700 * SEC), from, to, w), 2);
	assert_int_equal(w[1].since, 2700 * SEC);
	/* Drift. */
	assert_int_equal(shown((int64_t)(100 * SEC + MS), from, to, w), 1);
	assert_int_equal(w[0].until, 2300 * SEC + MS);
	/* On one side of it; a moment; none. */
	assert_int_equal(shown((int64_t)(700 * SEC), from, set, w), 1);
	assert_int_equal(w[0].until, 2100 * SEC);
	assert_int_equal(shown((int64_t)(700 * SEC), set, to, w), 1);
	assert_int_equal(shown((int64_t)(700 * SEC), set, set, w), 1);
	assert_true(w[0].since == 2700 * SEC && w[0].until == 2700 * SEC);
	assert_int_equal(shown((int64_t)(700 * SEC), to, from, w), 0);
}

/* ---- questions through a set clock ---- */

static void both_answers_where_the_clock_was_set_back(void **state)
{
	struct lifetime *l;

	(void)state;
	open_plain();
	release(allocate(1, 40000), CAUSE_CLOSE);
	settle(10 * SEC);
	offset -= 10 * (int64_t)SEC;
	pass(10 * MS);
	release(allocate(2, 40000), CAUSE_CLOSE);
	/* One that lives through the step lasts as long as it lasted. */
	pass(10 * MS);
	offset += 10 * (int64_t)SEC;
	l = allocate(3, 40001);
	pass(SEC);
	offset -= 10 * (int64_t)SEC;
	settle(SEC);
	release(l, CAUSE_CLOSE);
	settle(SEC);
	assert_int_equal(find_range(40000, 40000, START + WALL, START + 20 * MS + WALL), 2);
	assert_int_equal(find(40001), 1);
	assert_int_equal(pasts[0].held_ns, 2 * SEC);
	assert_true(pasts[0].until < pasts[0].since);
}

static struct blind blinds[16];
static char reasons[16][64];
static size_t blind_count;

static int keep_blind(void *arg, const struct blind *blind)
{
	(void)arg;
	blinds[blind_count] = *blind;
	snprintf(reasons[blind_count++], sizeof(reasons[0]), "%s", blind->reason);
	return 0;
}

static size_t blind_in(const struct history_query *query)
{
	struct history *history = NULL;

	assert_int_equal(history_open(path, &history, why, sizeof(why)), 0);
	blind_count = 0;
	assert_int_equal(history_blind(history, query, keep_blind, NULL), 0);
	history_free(&history);
	return blind_count;
}

static size_t blind_at(uint64_t time)
{
	struct history_query query = {
		.first = 40000, .last = 40000, .since = (uint64_t)((int64_t)time + offset), .until = (uint64_t)((int64_t)time + offset),
	};

	return blind_in(&query);
}

static void expect_blind(uint64_t time, const char *reason)
{
	size_t count = blind_at(time);

	assert_int_equal(count, reason ? 1 : 0);
	if (reason)
		assert_string_equal(reasons[0], reason);
}

static void outside_of_recording_is_said(void **state)
{
	struct gap gap = { .since = START + 2 * SEC, .until = START + 3 * SEC, .lost = 5, .reason = "ring" };

	(void)state;
	open_plain();
	say((struct change){ .what = WHAT_GAP, .gap = &gap });
	settle(10 * SEC);
	end_session();
	now += 100 * SEC;
	open_plain();
	settle(10 * SEC);
	end_session();
	expect_blind(START - SEC, "not recorded yet");
	expect_blind(START + SEC, NULL);
	expect_blind(START + 2 * SEC + SEC / 2, "ring");
	assert_int_equal(blinds[0].lost, 5);
	expect_blind(START + 4 * SEC, NULL);
	expect_blind(START + 50 * SEC, "the recorder did not run");
	assert_int_equal(blinds[0].since, START + 10 * SEC + WALL);
	assert_int_equal(blinds[0].until, START + 110 * SEC + WALL);
	expect_blind(START + 115 * SEC, NULL);
	expect_blind(START + 121 * SEC, "the recorder does not run");
	assert_int_equal(blinds[0].until, UINT64_MAX);
}

static size_t blind_then(uint64_t time)
{
	return blind_in(&(struct history_query){ .first = 40000, .last = 40000, .since = time + WALL, .until = time + WALL });
}

/* The clock was set back by 100 s while nobody recorded: 4 s had the times of both, or others. */
static void clock_set_back_unseen(void **state)
{
	static const struct {
		uint64_t after;
		size_t blinds;
	} rows[] = { { 99, 0 }, { 100, 1 }, { 102, 1 }, { 202, 1 }, { 203, 1 }, { 205, 0 } };

	(void)state;
	open_plain();
	settle(200 * SEC);
	end_session();
	now += 4 * SEC;
	offset -= 100 * (int64_t)SEC;
	open_plain();
	settle(200 * SEC);
	end_session();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (blind_then(START + rows[i].after * SEC) != rows[i].blinds)
			fail_msg("%d s: %zu", (int)rows[i].after, blind_count);
		if (blind_count) {
			assert_string_equal(reasons[0], "the recorder did not run");
			assert_true(blinds[0].partly);
		}
	}
}

/* By less than what is told as such: nothing is left out. */
static void clock_set_back_a_little_unseen(void **state)
{
	(void)state;
	open_plain();
	settle(10 * SEC);
	end_session();
	now += 100 * MS;
	offset -= 500 * (int64_t)MS;
	open_plain();
	settle(10 * SEC);
	end_session();
	assert_int_equal(blind_then(START + 10 * SEC + 50 * MS), 1);
	assert_int_equal(blind_then(START + 10 * SEC - 450 * MS), 1);
	assert_int_equal(blind_then(START + 9 * SEC), 0);
	assert_int_equal(blind_then(START + 11 * SEC), 0);
}

/* The next boot, 5 s old, has an earlier time. */
static void clock_set_back_between_boots(void **state)
{
	struct store_options options;

	(void)state;
	open_plain();
	settle(200 * SEC);
	end_session();
	now = 5 * SEC;
	offset = WALL + (int64_t)(START + 100 * SEC);
	options = plain_options();
	options.boot = "99999999-2222-3333-4444-555555555555";
	open_with(&options);
	ready();
	settle(200 * SEC);
	end_session();
	assert_int_equal(blind_then(START + 99 * SEC), 0);
	assert_int_equal(blind_then(START + 102 * SEC), 1);
	assert_true(blinds[0].partly);
	assert_int_equal(blind_then(START + 201 * SEC), 0);
}

/* And seen at once. */
static void set_back(uint64_t ns)
{
	offset -= (int64_t)ns;
	assert_int_equal(pass(0), 0);
}

/* One blind of that reason then, partly or not. */
static void expect_then(uint64_t time, const char *reason, bool partly)
{
	size_t count = blind_then(time);

	if (count != (reason ? 1 : 0))
		fail_msg("%d s: %zu", (int)((time - START) / SEC), count);
	if (reason) {
		assert_string_equal(reasons[0], reason);
		assert_int_equal(blinds[0].partly, partly);
	}
}

/* Of two hours, in the middle of which the clock was set back by three. */
static void gap_in_which_the_clock_was_set_back(void **state)
{
	struct gap gap = { .since = START + 20100 * SEC, .until = START + 27300 * SEC, .lost = 5000, .reason = "ring" };

	(void)state;
	open_plain();
	settle(20100 * SEC);
	now += 3600 * SEC;
	set_back(10800 * SEC);
	now = gap.until;
	say((struct change){ .what = WHAT_GAP, .gap = &gap });
	settle(20000 * SEC);
	end_session();
	expect_then(START + 20200 * SEC, "ring", true);
	assert_int_equal(blinds[0].lost, 5000);
	assert_int_equal(blinds[0].since, START + 20100 * SEC + WALL);
	assert_int_equal(blinds[0].until, START + 23700 * SEC + WALL);
	expect_then(START + 14200 * SEC, "ring", true);
	assert_int_equal(blinds[0].lost, 5000);
	assert_int_equal(blinds[0].since, START + 12900 * SEC + WALL);
	assert_int_equal(blinds[0].until, START + 16500 * SEC + WALL);
	expect_then(START + 12800 * SEC, NULL, false);
	expect_then(START + 18000 * SEC, NULL, false);
	expect_then(START + 24000 * SEC, NULL, false);
}

/* The blind of that reason then; NULL: there is none. */
static const struct blind *blind_by(uint64_t time, const char *reason)
{
	size_t count = blind_then(time);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(reasons[i], reason))
			return &blinds[i];
	return NULL;
}

/* It restarts with a filter; 100 s later the clock is set back by an hour, into what was recorded without. */
static void filter_before_the_clock_was_set_back(void **state)
{
	static const char only[] = "only port=100-200 was recorded", denied[] = "denied calls were not recorded";
	struct store_options options;

	(void)state;
	open_plain();
	settle(10000 * SEC);
	end_session();
	options = plain_options();
	options.filter = "port=100-200 denied=no";
	open_with(&options);
	ready();
	settle(100 * SEC);
	set_back(3600 * SEC);
	settle(600 * SEC);
	end_session();
	assert_non_null(blind_by(START + 10050 * SEC, only));
	assert_false(blinds[0].partly && blinds[1].partly && blinds[2].partly);
	assert_non_null(blind_by(START + 10050 * SEC, denied));
	assert_non_null(blind_by(START + 6800 * SEC, denied));
	assert_non_null(blind_by(START + 6800 * SEC, only));
	assert_true(blind_by(START + 6800 * SEC, only)->partly);
	expect_then(START + 8000 * SEC, "the recorder does not run", true);
	expect_then(START + 6000 * SEC, NULL, false);
}

/* It was an hour ahead for the first minute: of the times before there is what was recorded once it was right. */
static void clock_ahead_at_the_start(void **state)
{
	(void)state;
	open_plain();
	settle(60 * SEC);
	set_back(3600 * SEC);
	settle(1800 * SEC);
	end_session();
	expect_then(START - 3600 * SEC, "not recorded yet", false);
	assert_int_equal(blinds[0].since, 0);
	expect_then(START - 3000 * SEC, "not recorded yet", true);
	assert_int_equal(blinds[0].since, START - 3540 * SEC + WALL);
	assert_int_equal(blinds[0].until, START - 1740 * SEC + WALL);
	assert_false(blind_by(START - 1000 * SEC, "not recorded yet")->partly);
	assert_false(blind_by(START - 1000 * SEC, "the recorder does not run")->partly);
	expect_then(START + 30 * SEC, "the recorder does not run", true);
	expect_then(START + 90 * SEC, "the recorder does not run", false);
}

/* What it showed in that minute is dropped by now. */
static void clock_ahead_while_it_is_kept_no_longer(void **state)
{
	sqlite3 *db = NULL;

	(void)state;
	open_plain();
	settle(60 * SEC);
	set_back(600 * SEC);
	settle(1800 * SEC);
	end_session();
	expect_then(START + 30 * SEC, NULL, false);
	expect_then(START - 300 * SEC, "not recorded yet", true);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE session SET forgotten = started + 100000000000", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	/* Up to 500 s before the start by the clock set right, and that minute, which was shown again and kept. */
	expect_then(START - 501 * SEC, "no longer kept", false);
	expect_then(START - 300 * SEC, NULL, false);
	expect_then(START + 30 * SEC, "no longer kept", true);
	expect_then(START + 90 * SEC, NULL, false);
}

/* By less than nobody recorded for: in the middle there was nothing at all. */
static void clock_set_back_by_some_of_a_pause(void **state)
{
	(void)state;
	open_plain();
	settle(200 * SEC);
	end_session();
	now += 100 * SEC;
	offset -= 10 * (int64_t)SEC;
	open_plain();
	settle(200 * SEC);
	end_session();
	expect_then(START + 189 * SEC, NULL, false);
	expect_then(START + 195 * SEC, "the recorder did not run", true);
	expect_then(START + 250 * SEC, "the recorder did not run", false);
	expect_then(START + 295 * SEC, "the recorder did not run", true);
	expect_then(START + 301 * SEC, NULL, false);
}

/* No pause, but a moment, that the clock had shown before. */
static void restart_at_a_time_shown_twice(void **state)
{
	(void)state;
	open_plain();
	settle(200 * SEC);
	set_back(100 * SEC);
	settle(50 * SEC);
	end_session();
	open_plain();
	settle(200 * SEC);
	end_session();
	expect_then(START + 149 * SEC, NULL, false);
	expect_then(START + 150 * SEC, "the recorder did not run", true);
	expect_then(START + 151 * SEC, NULL, false);
}

static void what_is_not_ready_yet_is_blind(void **state)
{
	struct store_options options = plain_options();

	(void)state;
	open_with(&options);
	now += 5 * SEC;
	ready();
	settle(SEC);
	end_session();
	expect_blind(START + 4 * SEC, "not recorded yet");
	expect_blind(START + 5 * SEC + SEC / 2, NULL);
}

static void skipped_time_never_was(void **state)
{
	(void)state;
	open_plain();
	settle(10 * SEC);
	offset += 1000 * (int64_t)SEC;
	settle(10 * SEC);
	settle(10 * SEC);
	end_session();
	offset -= 1000 * (int64_t)SEC;
	expect_blind(START + 500 * SEC, "the clock was set forward");
	expect_blind(START + 5 * SEC, NULL);
	expect_blind(START + 1025 * SEC, NULL);
}

static void clock_of_this_machine(void)
{
	now = now_boottime();
	offset = clock_offset();
}

static void running_recorder_knows_up_to_its_last_word(void **state)
{
	uint64_t began;

	(void)state;
	clock_of_this_machine();
	now -= 5 * SEC;
	began = now;
	open_plain();
	release(allocate(1, 40000), CAUSE_CLOSE);
	allocate(2, 40001);
	settle(SEC);
	settle(3 * SEC);
	/* What came after may be on its way. */
	expect_blind(began + SEC / 2, NULL);
	expect_blind(now + 5 * MS, "not written yet");
	/* What it holds is held on until it says otherwise. */
	assert_int_equal(find_at(40001, now_boottime() + 60 * SEC), 0);
	assert_int_equal(find_at(40001, now + 50 * MS), 1);
	assert_true(pasts[0].lasts && pasts[0].runs);
	end_session();
	expect_blind(now_boottime(), "the recorder does not run");
}

static void silent_recorder_is_not_believed(void **state)
{
	(void)state;
	clock_of_this_machine();
	now -= 60 * SEC;
	open_plain();
	settle(SEC);
	expect_blind(now + 30 * SEC, "the recorder does not run");
}

static struct past_denial denials[8];
static size_t denial_count;
static char details[8][640];

static int keep_denial(void *arg, const struct past_denial *d)
{
	(void)arg;
	assert_true(denial_count < ARRAY_SIZE(denials));
	assert_int_equal(d->owner->pid, 100);
	snprintf(details[denial_count], sizeof(details[0]), "%s", d->detail ? d->detail : "");
	denials[denial_count++] = *d;
	return 0;
}

static size_t denied_in(uint16_t first, uint16_t last, uint64_t since, uint64_t until, unsigned int protos)
{
	const struct history_query query = {
		.first = first, .last = last, .since = since + (uint64_t)offset, .until = until + (uint64_t)offset, .protos = protos,
	};
	struct history *history = NULL;

	assert_int_equal(history_open(path, &history, why, sizeof(why)), 0);
	denial_count = 0;
	assert_int_equal(history_denied(history, &query, keep_denial, NULL), 0);
	history_free(&history);
	return denial_count;
}

static void deny(struct event denied, struct explanation *explanation)
{
	denied.kind = PW_DENIED;
	denied.time = now;
	denied.netns = NETNS;
	say((struct change){ .what = WHAT_DENIED, .denied = &denied, .denied_owner = &someone, .explanation = explanation,
			     .exact = true });
}

/* One of port 40000 twice, then one that names none, and one of 40001. When the first was. */
static uint64_t record_denials(void)
{
	struct explanation explanation = { .refs = 1, .cause = DENIAL_EXHAUSTED, .advice = (char *)"wait\n" };
	struct event bind = {
		.port = 40000, .proto = IPPROTO_TCP, .how = PW_HOW_BIND, .error = EADDRINUSE, .addr = { AF_INET, { 127, 0, 0, 1 } },
	};
	uint64_t first;

	open_plain();
	settle(10 * SEC);
	first = now;
	deny(bind, NULL);
	now += 10 * MS;
	deny(bind, NULL);
	settle(10 * SEC);
	deny((struct event){ .proto = IPPROTO_UDP, .how = PW_HOW_CONNECT, .error = EAGAIN, .addr = { .family = AF_INET6 },
			     .remote = { AF_INET6, { [15] = 1 } }, .remote_port = 53 }, &explanation);
	bind.port = 40001;
	bind.remote = (struct event_addr){ AF_INET, { 203, 0, 113, 9 } };
	bind.remote_port = 65535;
	deny(bind, NULL);
	settle(10 * SEC);
	end_session();
	return first;
}

static void denied_calls(void **state)
{
	uint64_t first = record_denials();

	(void)state;
	assert_int_equal(denied_in(40000, 40000, START, now, 0), 1);
	assert_int_equal(denials[0].count, 2);
	assert_int_equal(denials[0].time, first + (uint64_t)offset);
	assert_int_equal(denials[0].until, first + 10 * MS + (uint64_t)offset);
	assert_int_equal(denials[0].port, 40000);
	assert_int_equal(denials[0].netns, NETNS);
	assert_int_equal(denials[0].error, EADDRINUSE);
	assert_int_equal(denials[0].how, PW_HOW_BIND);
	assert_int_equal(denials[0].addr.bytes[0], 127);
	assert_int_equal(denials[0].remote.family, 0);
	assert_string_equal(details[0], "");
	assert_int_equal(denied_in(0, 0, START, now, 0), 1);
	assert_int_equal(denials[0].cause, DENIAL_EXHAUSTED);
	assert_int_equal(denials[0].remote.family, AF_INET6);
	assert_int_equal(denials[0].remote.bytes[15], 1);
	assert_int_equal(denials[0].remote_port, 53);
	assert_non_null(strstr(details[0], "wait"));
	assert_int_equal(denied_in(1, 65535, START, now, 0), 2);
	assert_int_equal(denials[1].remote.bytes[0], 203);
	assert_int_equal(denials[1].remote_port, 65535);
}

/* Its chunk began with what was later. */
static void denied_call_out_of_turn(void **state)
{
	const struct event denied = { .port = 40000, .proto = IPPROTO_TCP, .how = PW_HOW_BIND, .error = EADDRINUSE };

	(void)state;
	open_plain();
	now += 10 * SEC;
	release(allocate(1, 40001), CAUSE_CLOSE);
	settle(SEC);
	now -= 5 * SEC;
	deny(denied, NULL);
	now += 5 * SEC;
	settle(SEC);
	assert_int_equal(denied_in(40000, 40000, START + 5 * SEC, START + 7 * SEC, 0), 1);
}

/* What comes before the first tick is told as fully. */
static void details_from_the_start(void **state)
{
	struct explanation explanation = { .refs = 1, .cause = DENIAL_CONFLICT, .advice = (char *)"wait\n" };

	(void)state;
	open_plain();
	deny((struct event){ .port = 40000, .proto = IPPROTO_TCP, .how = PW_HOW_BIND, .error = EADDRINUSE }, &explanation);
	settle(10 * SEC);
	end_session();
	assert_int_equal(denied_in(40000, 40000, START, now, 0), 1);
	assert_non_null(strstr(details[0], "wait"));
}

static void denied_calls_by_time(void **state)
{
	uint64_t first = record_denials();

	(void)state;
	assert_int_equal(denied_in(40000, 40000, first + MS, first + MS, 0), 1);
	assert_int_equal(denied_in(40000, 40000, START, first - 1, 0), 0);
	assert_int_equal(denied_in(40000, 40000, first + 11 * MS, now, 0), 0);
	assert_int_equal(denied_in(40000, 40000, START, now, PW_PROTO_UDP), 0);
}

static void denials_left_out_are_told(void **state)
{
	struct store_options options = plain_options();
	struct history_query query = { .first = 100, .last = 200, .since = START + SEC + WALL, .until = START + SEC + WALL };

	(void)state;
	options.filter = "denied=no";
	open_with(&options);
	ready();
	settle(10 * SEC);
	end_session();
	assert_int_equal(blind_in(&query), 1);
	assert_string_equal(reasons[0], "denied calls were not recorded");
	assert_true(blinds[0].denied && blinds[0].partly);
	options.filter = "port=100-200 denied=no";
	open_with(&options);
	ready();
	settle(10 * SEC);
	end_session();
	query.since = query.until = now + WALL - SEC;
	query.last = 201;
	assert_int_equal(blind_in(&query), 2);
	assert_string_equal(reasons[blinds[0].denied], "only port=100-200 was recorded");
	assert_string_equal(reasons[!blinds[0].denied], "denied calls were not recorded");
}

static void filter_blinds_all_but_what_it_lets_pass(void **state)
{
	struct store_options options = plain_options();
	static const uint32_t here[] = { 7 }, elsewhere[] = { 7, 8 };
	struct history_query query = { .first = 100, .last = 200, .since = START + SEC + WALL, .until = START + SEC + WALL };

	(void)state;
	options.filter = "port=100-200,300 proto=tcp,udp netns=7";
	open_with(&options);
	ready();
	settle(10 * SEC);
	end_session();
	assert_int_equal(blind_in(&query), 1);
	assert_string_equal(reasons[0], "only port=100-200,300 proto=tcp,udp netns=7 was recorded");
	assert_true(blinds[0].partly && !blinds[0].elsewhere);
	query.netns = here;
	query.netns_count = 1;
	query.protos = PW_PROTO_TCP;
	assert_int_equal(blind_in(&query), 0);
	query.protos = PW_PROTO_TCP | PW_PROTO_UDPLITE;
	assert_int_equal(blind_in(&query), 1);
	query.protos = PW_PROTO_UDP;
	query.last = 201;
	assert_int_equal(blind_in(&query), 1);
	query.last = 200;
	query.netns = elsewhere;
	query.netns_count = 2;
	assert_int_equal(blind_in(&query), 1);
	assert_true(blinds[0].partly && !blinds[0].elsewhere);
	query.netns++;
	query.netns_count = 1;
	assert_int_equal(blind_in(&query), 1);
	assert_false(blinds[0].partly || blinds[0].elsewhere);
	query.netns_count = 0;
	assert_int_equal(blind_in(&query), 1);
	assert_true(blinds[0].partly && blinds[0].elsewhere);
	query.first = query.last = 301;
	assert_int_equal(blind_in(&query), 1);
	assert_false(blinds[0].partly || blinds[0].elsewhere);
}

/* What `record` can write down, and what it cannot. */
static void long_filter_is_read_and_told(void **state)
{
	static char filter[SCHEMA_FILTER_MAX + 100];
	static const struct history_query queries[] = {
		{ .first = 2, .last = 2, .since = START + SEC + WALL, .until = START + SEC + WALL },
		{ .first = 3, .last = 3, .since = START + SEC + WALL, .until = START + SEC + WALL },
	};
	struct store_options options = plain_options();
	size_t used = (size_t)snprintf(filter, sizeof(filter), "port=1");

	(void)state;
	for (unsigned int port = 3; port <= 65535; port += 2)
		used += (size_t)snprintf(filter + used, sizeof(filter) - used, ",%u", port);
	assert_in_range(used, 65536, SCHEMA_FILTER_MAX);
	options.filter = filter;
	open_with(&options);
	ready();
	settle(10 * SEC);
	end_session();
	assert_int_equal(blind_in(&queries[0]), 1);
	assert_non_null(strstr(reasons[0], "only port=1,3,5,"));
	assert_int_equal(blind_in(&queries[1]), 0);
	memset(filter, 'x', sizeof(filter) - 1);
	options.filter = filter;
	options.now = now;
	open_with(&options);
	ready();
	settle(10 * SEC);
	end_session();
	assert_int_equal(blind_in(&queries[1]), 0);
	expect_blind(now - 5 * SEC, "only what a filter passes was recorded");
}

static void what_was_dropped_is_blind(void **state)
{
	struct store_options options = plain_options();

	(void)state;
	options.keep_ns = 100 * SEC;
	open_with(&options);
	ready();
	release(allocate(1, 40000), CAUSE_CLOSE);
	for (int i = 0; i < 40; i++) {
		settle(6 * SEC);
		usleep(2000);
	}
	release(allocate(2, 40000), CAUSE_CLOSE);
	settle(6 * SEC);
	end_session();
	assert_int_equal(find(40000), 1);
	expect_blind(START - SEC, "no longer kept");
	expect_blind(START, "no longer kept");
	expect_blind(now - 5 * SEC, NULL);
}

/* ---- questions ---- */

static void question_is_narrowed(void **state)
{
	static const uint32_t other[] = { 1, 2 }, right[] = { 1, NETNS };
	struct history_query query = { .first = 40000, .last = 40001, .until = UINT64_MAX };
	struct history *history = NULL;
	struct lifetime *l;

	(void)state;
	open_plain();
	l = allocate(1, 40000);
	l->proto = IPPROTO_UDP;
	release(l, CAUSE_CLOSE);
	release(allocate(2, 40001), CAUSE_CLOSE);
	allocate(3, 40001);
	settle(SEC);
	assert_int_equal(history_open(path, &history, why, sizeof(why)), 0);
	for (int i = 0; i < 4; i++) {
		static const size_t counts[] = { 3, 1, 0, 3 };

		query.protos = i == 1 ? PW_PROTO_UDP : 0;
		query.netns = i == 2 ? other : right;
		query.netns_count = i < 2 ? 0 : 2;
		past_count = 0;
		assert_int_equal(history_find(history, &query, keep_past, NULL), 0);
		assert_int_equal(past_count, counts[i]);
	}
	history_free(&history);
}

/* Rows of one more process each than are kept, all closed by the first. */
static void write_crowd(void)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
		"CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 65540) SELECT i FROM n;"
		"INSERT INTO process(id, pid, start, uid, comm) SELECT 1000 + i, 1000 + i, i, 7, 'somebody' FROM n;"
		"INSERT INTO tail SELECT tail.id + i, ended, held, closed, waited, cookie, 1000 + i, endpoint, remote, bits, 1001, port "
		"FROM tail, n;", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static int count_closer(void *arg, const struct past *past)
{
	size_t *right = arg;

	*right += past->holder && past->holder->pid == 1001 && past->holder->uid == 7 && past->holder->start == 1 &&
		  !strcmp(past->holder->comm, "somebody") && past->owner && past->owner->pid >= 1001;
	return 0;
}

static void closer_is_known_beside_the_last_owner_that_is_kept(void **state)
{
	/* By port, and in the order that they are read in. */
	struct history_query queries[] = {
		{ .first = 40000, .last = 40000, .until = UINT64_MAX }, { .first = 1, .last = 65535, .until = UINT64_MAX },
	};

	(void)state;
	open_plain();
	release(allocate(1, 40000), CAUSE_CLOSE);
	settle(SEC);
	end_session();
	write_crowd();
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		struct history *history = NULL;
		size_t right = 0;

		assert_int_equal(history_open(path, &history, why, sizeof(why)), 0);
		assert_int_equal(history_find(history, &queries[i], count_closer, &right), 0);
		history_free(&history);
		assert_int_equal(right, 65540);
	}
}

/* What lived through a restart began before what did not. */
static void order_of_time_through_a_restart(void **state)
{
	(void)state;
	open_plain();
	allocate(1, 40000);
	settle(SEC);
	release(allocate(2, 40000), CAUSE_CLOSE);
	settle(SEC);
	end_session();
	open_plain();
	present(1, 40000);
	settle(SEC);
	release(allocate(3, 40000), CAUSE_CLOSE);
	settle(SEC);
	assert_int_equal(find(40000), 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pasts[i].cookie, i + 1);
}

/* A copy for those who may read it, in a directory that is closed to them, and to which root alone may write. */
static void copy_is_read_by_who_may_not_write(void **state)
{
	struct history *history = NULL;
	char name[128];
	int status;
	pid_t child;

	(void)state;
	open_plain();
	release(allocate(1, 40000), CAUSE_CLOSE);
	settle(SEC);
	end_session();
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s-%s", path, i ? "shm" : "wal");
		unlink(name);
	}
	assert_false(chmod(path, 0644) || chmod(directory, 0555));
	child = fork();
	if (!child) {
		if (!geteuid() && setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		_exit(history_open(path, &history, why, sizeof(why)) ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(chmod(directory, 0700), 0);
	assert_int_equal(status, 0);
}

static int stop_at_once(void *arg, const struct past *past)
{
	(void)arg;
	(void)past;
	return -ECANCELED;
}

static void caller_may_stop(void **state)
{
	struct history_query query = { .last = 65535, .until = UINT64_MAX };
	struct history *history = NULL;

	(void)state;
	open_plain();
	release(allocate(1, 40000), CAUSE_CLOSE);
	release(allocate(2, 40001), CAUSE_CLOSE);
	settle(SEC);
	assert_int_equal(history_open(path, &history, why, sizeof(why)), 0);
	assert_int_equal(history_find(history, &query, stop_at_once, NULL), -ECANCELED);
	past_count = 0;
	assert_int_equal(history_find(history, &query, keep_past, NULL), 0);
	assert_int_equal(past_count, 2);
	history_free(&history);
}

static int refused(const char *name)
{
	struct history *history = NULL;
	int r = history_open(name, &history, why, sizeof(why));

	assert_null(history);
	assert_non_null(strstr(why, name));
	return r;
}

static void what_is_no_history_is_refused(void **state)
{
	sqlite3 *db;
	FILE *file;

	(void)state;
	assert_int_equal(refused(path), -ENOENT);
	assert_int_equal(refused(directory), -EBADMSG);
	file = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fprintf(file, "no database\n");
	fclose(file);
	assert_int_equal(refused(path), -EBADMSG);
	unlink(path);
	sqlite3_open(path, &db);
	sqlite3_exec(db, "CREATE TABLE other(a)", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(refused(path), -EBADMSG);
	unlink(path);
	open_plain();
	end_session();
	sqlite3_open(path, &db);
	sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(refused(path), -EPROTONOSUPPORT);
}

static void empty_history_knows_nothing(void **state)
{
	struct history_query query = { .first = 80, .last = 80, .since = 5, .until = 5 };

	(void)state;
	assert_int_equal(store_create(path, why, sizeof(why)), 0);
	assert_int_equal(find(80), 0);
	assert_int_equal(blind_in(&query), 1);
	assert_string_equal(reasons[0], "not recorded yet");
}

static void failing_allocator_is_told(void **state)
{
	struct history_query query = { .first = 40000, .last = 40000, .until = UINT64_MAX };

	(void)state;
	open_plain();
	release(allocate(1, 40000), CAUSE_CLOSE);
	settle(SEC);
	for (size_t n = 0; n < 60; n++) {
		struct history *history = NULL;
		int r;

		unit_fail_after(n);
		past_count = 0;
		r = history_open(path, &history, why, sizeof(why));
		if (!r)
			r = history_find(history, &query, keep_past, NULL);
		if (!r)
			r = history_blind(history, &query, keep_blind, NULL);
		blind_count = 0;
		unit_fail_never();
		history_free(&history);
		assert_true(r == -ENOMEM || (!r && past_count == 1));
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(clock_set_back_shows_a_time_twice),
	cmocka_unit_test(clock_set_forward_leaves_times_out),
	cmocka_unit_test(every_boot_has_its_own),
	cmocka_unit_test(stretch_is_shown_through_every_setting),
	STORE_TEST(both_answers_where_the_clock_was_set_back),
	STORE_TEST(outside_of_recording_is_said),
	STORE_TEST(clock_set_back_unseen),
	STORE_TEST(clock_set_back_a_little_unseen),
	STORE_TEST(clock_set_back_between_boots),
	STORE_TEST(gap_in_which_the_clock_was_set_back),
	STORE_TEST(filter_before_the_clock_was_set_back),
	STORE_TEST(clock_ahead_at_the_start),
	STORE_TEST(clock_ahead_while_it_is_kept_no_longer),
	STORE_TEST(clock_set_back_by_some_of_a_pause),
	STORE_TEST(restart_at_a_time_shown_twice),
	STORE_TEST(what_is_not_ready_yet_is_blind),
	STORE_TEST(skipped_time_never_was),
	STORE_TEST(running_recorder_knows_up_to_its_last_word),
	STORE_TEST(silent_recorder_is_not_believed),
	STORE_TEST(denied_calls),
	STORE_TEST(denied_calls_by_time),
	STORE_TEST(denied_call_out_of_turn),
	STORE_TEST(details_from_the_start),
	STORE_TEST(denials_left_out_are_told),
	STORE_TEST(filter_blinds_all_but_what_it_lets_pass),
	STORE_TEST(long_filter_is_read_and_told),
	STORE_TEST(what_was_dropped_is_blind),
	STORE_TEST(question_is_narrowed),
	STORE_TEST(closer_is_known_beside_the_last_owner_that_is_kept),
	STORE_TEST(order_of_time_through_a_restart),
	STORE_TEST(copy_is_read_by_who_may_not_write),
	STORE_TEST(caller_may_stop),
	STORE_TEST(what_is_no_history_is_refused),
	STORE_TEST(empty_history_knows_nothing),
	STORE_TEST(failing_allocator_is_told),
};

UNIT_MAIN(tests)
