/* SPDX-License-Identifier: GPL-2.0 */
/* What portwake who says of the past, and its comparison with the truth. What cannot be read fails the test. */
#ifndef E2E_TOLD_H
#define E2E_TOLD_H

#include "tests/e2e/recorder.h"

#define FOR_EVER INT64_MAX

/* One lifetime as it is told. */
struct past_row {
	uint64_t cookie;
	unsigned generation;	/* 0: null */
	uint16_t port;
	int proto;
	long pid;		/* SEEN_NULL: null */
	int64_t since, until;	/* since INT64_MIN: null; until FOR_EVER: null */
	char comm[64], addr[ADDR_TEXT], state[16], source[16];
	bool end_unknown;	/* until is when it was last known to be held */
	bool taken;
};

/* A stretch that it cannot speak for; INT64_MIN and FOR_EVER where it has no end. */
struct blind_row {
	int64_t since, until;
	uint64_t lost;
	char reason[120];
};

/* The answer to one question. */
struct past {
	struct past_row *rows;
	size_t count;
	struct blind_row *blind;
	size_t blind_count;
	int64_t stopped;	/* set by who knows that the recorder ended then, or later; 0: it may run */
};

/* `who ARGS... --json --db DB --netns STAGE`: the whole answer as one. */
struct past *past_ask(const struct stage *stage, const char *db, const char *const *args);
/* The same of everything that was held at some time from since on. */
struct past *past_since(const struct stage *stage, const char *db, int64_t since);
/* The same as the database's own views have it. */
struct past *past_in_views(const struct stage *stage, const char *db, int64_t since);
/* `who -` of lines that each name one protocol: an array of as many answers. */
struct past *past_ask_lines(const struct stage *stage, const char *db, const char *lines, size_t count);
void past_free(struct past **past, size_t count);

/* RFC 3339 with nanoseconds. */
const char *time_text(int64_t time, char out[40]);

/*
 * A lifetime of the truth: it began between a0 and a1 and ended between r0 and r1, its TIME_WAIT began between w0 and
 * w1, and surely it was a listener from l0 to l1 (FOR_EVER: not yet, or never).
 */
struct span {
	const struct life *life;
	int64_t a0, a1, r0, r1, w0, w1, l0, l1;
};

/* Every one of the truth, by port; the brackets are as wide as what is forgiven. The caller frees them. */
struct span *spans_of(const struct truth *truth, size_t *count);

/*
 * The answer against the lifetimes that it should have, told once each, and no others: the number of differences, each
 * said (say). What lies within one of its blind stretches may be missing; what reaches into one may have begun or
 * ended there.
 */
unsigned past_differs(struct past *past, const struct span *const *due, size_t due_count, bool say);
/* All of the truth, as told and in the views; again until it is right, for some seconds, while a recorder runs. */
void assert_recorded(const struct stage *stage, const char *db);
/* The same, and the answer that was told. */
struct past *recorded(const struct stage *stage, const char *db);
/* No stretch inside the recording is blind. */
void assert_no_blind(const struct past *past);

#endif
