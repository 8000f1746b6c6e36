/* SPDX-License-Identifier: GPL-2.0 */
/* Answers about a past that the test itself has recorded: 2023-11-14, from 22:30:00 to 22:33:20 UTC. */
#include "tests/golden/golden.h"

#include "tests/unit/stored.h"
#include "user/past.h"

#define BEGAN 1700001000000000000ULL	/* by the wall clock */

static void record_gap(void)
{
	const struct gap gap = { .since = now, .until = now + SEC, .lost = 12, .lost_allocations = 7, .reason = "ring" };

	now += SEC;
	say((struct change){ .what = WHAT_GAP, .gap = &gap });
}

static void record_time_wait(void)
{
	struct lifetime *l = allocate(2, 40000);

	settle(5 * SEC);
	l->closed_at = l->tw_at = now;
	say((struct change){ .what = WHAT_TIME_WAIT, .lifetime = l, .exact = true });
	settle(60 * SEC);
	release(l, CAUSE_TIME_WAIT);
}

static void record_listener(void)
{
	struct lifetime *l = socket_of(4, 8080);

	l->remote.family = 0;
	l->how = PW_HOW_BIND;
	l->flags = PW_F_LOCKED;
	l->listening = l->listened = true;
	say((struct change){ .what = WHAT_ALLOCATE, .lifetime = l, .exact = true });
}

static void record(void)
{
	struct lifetime *l;

	offset = (int64_t)(BEGAN - START);
	open_plain();
	present(1, 40001)->proto = IPPROTO_UDP;
	settle(10 * SEC);
	record_time_wait();
	settle(15 * SEC);
	l = allocate(3, 40000);
	l->error = ECONNRESET;
	now += 500 * MS;
	release(l, CAUSE_RESET);
	record_listener();
	settle(30 * SEC);
	record_gap();
	settle(78 * SEC + 500 * MS);
	end_session();
}

static const char *on_service(void *arg, uint16_t port, uint8_t proto)
{
	(void)arg;
	(void)port;
	(void)proto;
	return NULL;
}

static int on_flush(void *arg, struct buf *out)
{
	(void)arg;
	return buf_error(out);
}

static void ask_past(struct past_answers *answers, struct buf *out)
{
	static const char *const questions[] = {
		"40000/tcp 2023-11-14T22:30:12Z", "40000/tcp 2023-11-14T22:30:45.5Z", "40000/tcp 2023-11-14 22:31",
		"40000/tcp 2023-11-14T22:31:20Z", "40001 2023-11-14T22:30:30Z", "8080/tcp 2023-11-14T22:32:30Z",
		"40002/tcp 2023-11-14T22:32", "40002/tcp 2023-11-14T22:00Z",
		"8000-8099/tcp 2023-11-14T22:40:00Z",
	};

	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		uint64_t then = BEGAN + 3600 * SEC;
		struct question question;

		assert_int_equal(question_parse_line(questions[i], 0, then, &question, why, sizeof(why)), 0);
		assert_int_equal(past_answer(answers, &question, out), 0);
	}
}

static void check(enum format format, const char *name)
{
	_cleanup_annotate_ struct annotate_table *annotations = NULL;
	_cleanup_history_ struct history *history = NULL;
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX);
	static const struct range range = { .known = true, .low = 32768, .high = 60999 };
	struct past_answers answers = {
		.about = { .format = format, .range = &range, .netns = NETNS, .service = on_service, .flush = on_flush },
	};

	record();
	assert_int_equal(annotate_new(&annotations), 0);
	if (history_open(path, &history, why, sizeof(why)))
		fail_msg("%s", why);
	answers.about.annotations = annotations;
	answers.history = history;
	assert_int_equal(about_head(format, &out), 0);
	ask_past(&answers, &out);
	golden_check(name, &out);
}

void past_text(void **state)
{
	(void)state;
	check(FORMAT_TEXT, "past.txt");
}

void past_json(void **state)
{
	(void)state;
	check(FORMAT_JSON, "past.json");
}

void past_csv(void **state)
{
	(void)state;
	check(FORMAT_CSV, "past.csv");
}

int past_begin(void **state)
{
	return make_directory(state);
}

int past_end(void **state)
{
	return remove_directory(state);
}
