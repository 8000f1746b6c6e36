/* SPDX-License-Identifier: GPL-2.0 */
/* A tracker for each test, fed by hand; what it tells is read as words. */
#ifndef PORTWAKE_TESTS_FED_H
#define PORTWAKE_TESTS_FED_H

#include "tests/unit/events.h"
#include "tests/unit/told.h"
#include "tests/unit/unit.h"

static struct telling t;

static inline int setup(void **state)
{
	(void)state;
	return telling_begin(&t) ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	telling_end(&t);
	if (t.owners != t.puts)
		return -1;
	telling_done(&t);
	return 0;
}

static inline void feed(struct event e)
{
	assert_int_equal(tracker_feed(t.tracker, &e), 0);
}

/* The changes told since the last call of this, by name: "allocate listen". */
static inline const char *words(void)
{
	static char text[200];
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < t.count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s%s%s", i ? " " : "",
					 what_name(t.told[i].what), t.told[i].exact ? "" : "~",
					 t.told[i].what == WHAT_RELEASE ? cause_name(t.told[i].cause) : "");
	t.count = 0;
	return text;
}

/* A `~` behind a word: its time is approximate. Behind release stands its cause. */
static inline void expect(const char *expected)
{
	assert_string_equal(words(), expected);
}

/* The last change told. */
static inline const struct told *last(void)
{
	return &t.told[t.count - 1];
}

static inline struct lifetime *one(uint64_t cookie, uint32_t generation)
{
	struct lifetime *l = tracker_find(t.tracker, cookie, generation);

	assert_non_null(l);
	return l;
}

#define FED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
