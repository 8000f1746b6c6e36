/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The power goes: two tests, one for the guest that is cut and one for the next with the same disks. /data is on the
 * first of them; on the second, raw, the workload notes what it knows, each lifetime written through at its end.
 */
#define _GNU_SOURCE
#include "tests/e2e/told.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/crowd.h"

#define DB "/data/history.db"
#define NOTES "/dev/vdb"
#define NOTE_SIZE 4096
#define MAX_NOTES 60000
#define PAUSE 3000
#define HELD 8

struct note {
	union {
		struct {
			struct life life;
			struct happening begin, end;
			uint64_t netns;
		};
		char room[NOTE_SIZE];
	};
};

static int open_notes(int flags)
{
	int fd = open(NOTES, flags | O_CLOEXEC);

	if (!getenv("E2E_GUEST") || fd < 0)
		skip_because("no power to cut here: run it in a guest with disks");
	return fd;
}

/* The one happening of that kind; the workload is a single process. */
static const struct happening *happening_of(const struct truth *truth, uint32_t life, enum kind kind)
{
	for (uint32_t i = truth->happenings; i-- > 0;) {
		if (truth->happening[i].life == life && truth->happening[i].kind == kind)
			return &truth->happening[i];
	}
	work_die("a lifetime without %s", kind_name(kind));
}

static void write_note(const struct work *w, int fd, uint32_t life)
{
	static struct note note __attribute__((aligned(NOTE_SIZE)));

	note.life = w->truth->life[life];
	note.begin = *happening_of(w->truth, life, KIND_ALLOCATE);
	note.end = *happening_of(w->truth, life, KIND_RELEASE);
	note.netns = w->netns;
	if (pwrite(fd, &note, sizeof(note), (off_t)life * NOTE_SIZE) != NOTE_SIZE)
		work_die("the notes cannot be written");
}

/* Lifetimes end in the order in which they began. */
static void noted_drip(struct work *w)
{
	int fd = open(NOTES, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
	struct wsock held[HELD];

	if (fd < 0)
		work_die("open");
	for (unsigned n = 0; n < MAX_NOTES; n++) {
		struct wsock *s = &held[n % HELD];

		if (n >= HELD) {
			uint32_t life = (uint32_t)s->life;

			ws_close(s);
			write_note(w, fd, life);
		}
		*s = ws_open_as(w, (enum fam)(n & 1), n & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		ws_bind(s, 0);
		usleep(PAUSE);
	}
}

static void cut(void **state)
{
	int fd = open_notes(O_RDWR), trigger;
	struct stage *stage = stage_new("power");
	unsigned char random = 0;

	(void)state;
	close(fd);
	record_on(stage, DB, NULL);
	stage_start(stage, noted_drip);
	assert_int_equal(getrandom(&random, 1, 0), 1);
	run_sleep(10000 + random * 20);
	trigger = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(trigger, "b", 1), 1);
	pause();
}

/* Takes the notes over as this stage's truth; the end of the last one is the last that is known before the cut. */
static int64_t read_notes(struct stage *stage)
{
	struct truth *truth = stage->work.truth;
	int fd = open_notes(O_RDONLY);
	static struct note note;
	int64_t last = 0, first = 0;

	while (read(fd, &note, sizeof(note)) == NOTE_SIZE && note.end.t1) {
		truth_life(truth, &note.life);
		truth_add(truth, &note.begin);
		truth_add(truth, &note.end);
		snprintf(stage->inode, sizeof(stage->inode), "%llu", (unsigned long long)note.netns);
		first = first ? first : note.begin.t0;
		last = note.end.t1;
	}
	close(fd);
	truth->since = first - SECOND;
	return last;
}

/* What was held at the end is not noted: the rows of those are passed by. */
static void drop_unnoted(struct past *past, const struct truth *truth)
{
	int64_t newest = truth->lives ? happening_of(truth, truth->lives - 1, KIND_ALLOCATE)->t1 : 0;
	size_t n = 0;

	for (size_t i = 0; i < past->count; i++) {
		if (past->rows[i].since <= newest)
			past->rows[n++] = past->rows[i];
	}
	past->count = n;
}

static void compare_notes(const struct stage *stage, int64_t last)
{
	const struct truth *truth = stage->work.truth;
	struct past *past = past_since(stage, DB, truth->since);
	const struct span **due = calloc(truth->lives + 1, sizeof(*due));
	int64_t lost = INT64_MAX;
	struct span *spans;
	size_t count;

	spans = spans_of(truth, &count);
	for (size_t i = 0; i < count; i++)
		due[i] = &spans[i];
	drop_unnoted(past, truth);
	assert_int_equal(past_differs(past, due, count, true), 0);
	for (size_t i = 0; i < past->blind_count; i++) {
		if (past->blind[i].since != INT64_MIN && past->blind[i].since > truth->since + SECOND)
			lost = last - past->blind[i].since;
	}
	print_message("  %u lifetimes noted, %zu recorded, blind from %.3f s before the last note\n", truth->lives,
		      past->count, (double)lost / 1e9);
	assert_true(truth->lives > 100 && lost < SECOND + 300 * MS * slow());
	past_free(&past, 1);
	free(due);
	free(spans);
}

static void after_cut(void **state)
{
	struct stage *stage = stage_new("after power"), *now = stage_new("power is back");
	int64_t last = read_notes(stage);
	struct run *run;

	(void)state;
	assert_string_equal(db_text(DB, "PRAGMA integrity_check"), "ok");
	compare_notes(stage, last);
	run = record_on(now, DB, NULL);
	run_sleep(1000);
	compare_notes(stage, last);
	record_end(run);
	compare_notes(stage, last);
	assert_integrity(DB);
}

static const struct plain list[] = {
	{ "power/cut", cut },
	{ "power/after_cut", after_cut },
};

const struct plain_list power_tests = { list, COUNT_OF(list) };
