/* SPDX-License-Identifier: GPL-2.0 */
/* What could not be written is told as missing, and what could is there once. */
#include <stdatomic.h>
#include <sys/syscall.h>

#include "tests/unit/stored.h"

#define LOST_SECONDS 60

/* ---- no room ---- */

static struct store_totals totals_of(void)
{
	struct store_totals totals;

	store_totals(store, &totals);
	return totals;
}

/* Until one is lost; its time. */
static uint64_t fill_up(void)
{
	for (uint64_t cookie = 1000; !totals_of().lost; cookie++) {
		now += 1000;
		release(allocate(cookie, 50000), CAUSE_CLOSE);
	}
	return now;
}

/* Of all that happens in a minute, nothing finds room: port 40001 is taken and kept, 40000 has ten short lives. */
static uint64_t lose_a_minute(void)
{
	uint64_t since = fill_up();

	allocate(6, 40001);
	for (uint32_t i = 0; i < 10; i++) {
		struct lifetime *l;

		now += 3 * SEC;
		l = allocate(100 + i, 40000);
		now += 3 * SEC;
		release(l, CAUSE_CLOSE);
		pass(0);
	}
	return since;
}

static void drain(void)
{
	for (int i = 0; i < 20000 && waiting(); i++)
		usleep(1000);
	assert_int_equal(waiting(), 0);
}

static int count_blind(void *arg, const struct blind *blind)
{
	size_t *count = arg;

	*count += !blind->denied;
	return 0;
}

/* How many stretches of this time, given in boottime, nobody can speak for. */
static size_t blinds_of(uint64_t since, uint64_t until)
{
	struct history_query query = {
		.first = 40000, .last = 40000, .since = since + (uint64_t)offset, .until = until + (uint64_t)offset,
	};
	struct history *history = NULL;
	size_t count = 0;

	if (history_open(path, &history, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(history_blind(history, &query, count_blind, &count), 0);
	history_free(&history);
	return count;
}

/* The end comes while the disk is full or locked, and it can be written to again soon after. */
static void loss_is_told_before_the_end(void **state)
{
	sqlite3 *db = open_locked();
	uint64_t since = lose_a_minute();

	(void)state;
	store_flush(store, all, now, offset);
	assert_true(store_is_behind(store));
	unlock(db);
	drain();
	store_flush(store, all, now, offset);
	assert_false(store_is_behind(store));
	end_session();
	assert_int_equal(number_by("SELECT count(*) FROM gap WHERE reason = 'storage'"), 1);
	assert_int_equal(number_by("SELECT ended_in_order FROM sessions"), 1);
	assert_int_equal(find(40001), 1);
	assert_true(pasts[0].lasts);
	assert_int_equal(blinds_of(since + 10 * SEC, since + 50 * SEC), 1);
	assert_sound();
}

/* The same, and nobody waits for it: what was not told is not vouched for. */
static void end_that_is_behind_vouches_for_nothing(void **state)
{
	sqlite3 *db = open_locked();
	uint64_t since = lose_a_minute();

	(void)state;
	store_flush(store, all, now, offset);
	unlock(db);
	drain();
	end_session();
	assert_int_equal(number_by("SELECT count(*) FROM gap"), 0);
	assert_int_equal(number_by("SELECT ended_in_order FROM sessions"), 0);
	assert_int_equal(blinds_of(since + 10 * SEC, since + 50 * SEC), 1);
	assert_sound();
}

/* A loss of records in a time in which nothing can be written is part of the gap that is told later. */
static void gap_that_finds_no_room_is_kept(void **state)
{
	sqlite3 *db = open_locked();
	uint64_t at = fill_up();
	struct gap gap = { .since = at - 30 * SEC, .until = at + SEC, .lost = 5000, .lost_allocations = 7, .reason = "ring" };

	(void)state;
	now = gap.until;
	say((struct change){ .what = WHAT_GAP, .gap = &gap });
	unlock(db);
	drain();
	settle(SEC);
	settle(SEC);
	end_session();
	assert_int_equal(number_by("SELECT count(*) FROM gap"), 1);
	assert_int_equal(number_by("SELECT lost > 5000 AND lost_allocations >= 7 FROM gap"), 1);
	assert_int_equal(number_by("SELECT since FROM gap"), gap.since);
	assert_int_equal(number_by("SELECT until FROM gap"), gap.until);
}

/* ---- a sync that fails ---- */

static atomic_int syncs_to_fail;

/* The C library's, to SQLite: its commit stands in the log then, and is none. */
int fdatasync(int fd)
{
	if (syncs_to_fail > 0) {
		syncs_to_fail--;
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	return fdatasync(fd);
}

static void failed_sync_is_written_once(void **state)
{
	(void)state;
	open_plain();
	release(allocate(1, 40000), CAUSE_CLOSE);
	allocate(9, 41000);
	settle(SEC);
	for (int failing = 1; failing < 5; failing++) {
		syncs_to_fail = failing;
		release(allocate(10 + (uint64_t)failing, 40001), CAUSE_CLOSE);
		expect_word("read or written");
		expect_word("again");
		assert_int_equal(syncs_to_fail, 0);
		settle(SEC);
	}
	end_session();
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 6);
	assert_int_equal(find(40001), 4);
	assert_sound();
}

/* ---- what rows refer to ---- */

static struct process crowd[8300];
static char words[ARRAY_SIZE(crowd)][2][32];

/* One short life of a process that is told then, with words of its own. */
static void pass_by(size_t i)
{
	struct lifetime *l;

	crowd[i] = someone;
	crowd[i].pid = 5000 + (uint32_t)i;
	crowd[i].start = (i + 10) * MS;
	snprintf(words[i][0], sizeof(words[i][0]), "/bin/%zu", i);
	snprintf(words[i][1], sizeof(words[i][1]), "/%zu.slice", i);
	crowd[i].exe = words[i][0];
	crowd[i].cgroup = words[i][1];
	l = socket_of(100 + i, 30000);
	l->owner = &crowd[i];
	say((struct change){ .what = WHAT_ALLOCATE, .lifetime = l, .exact = true });
	release(l, CAUSE_CLOSE);
}

/* The first of a batch refers to what was told long ago; within the batch so many are told that the old is forgotten. */
static void words_outlive_a_batch_that_forgets_them(void **state)
{
	struct store_options options = plain_options();

	(void)state;
	options.keep_ns = 1000 * SEC;
	open_with(&options);
	ready();
	release(allocate(1, 40000), CAUSE_CLOSE);
	settle(SEC);
	for (size_t i = 0; i < 8180; i++) {
		pass_by(i);
		if (i % 2000 == 1999)
			settle(SEC);
	}
	settle(SEC);
	for (int i = 0; i < 100 && number_by("SELECT count(*) FROM tail"); i++) {
		settle(i ? SEC : 200 * SEC);
		usleep(20000);
	}
	assert_int_equal(number_by("SELECT count(*) FROM tail"), 0);
	release(allocate(2, 40000), CAUSE_CLOSE);
	for (size_t i = 8180; i < 8220; i++)
		pass_by(i);
	settle(SEC);
	for (int i = 0; i < 30 && number_by("SELECT count(*) FROM chunk") > 1; i++) {
		settle(i < 11 ? 80 * SEC : SEC);
		usleep(50000);
	}
	end_session();
	assert_int_equal(find(40000), 1);
	assert_int_equal(pasts[0].cookie, 2);
	assert_non_null(pasts[0].owner->exe);
	assert_string_equal(pasts[0].owner->exe, "/usr/bin/someone");
	assert_sound();
}

/* A socket let go of while nobody looked took the same port again before the look was over: two lifetimes. */
static void what_a_restart_finds_replaced(void **state)
{
	(void)state;
	open_plain();
	allocate(7, 40000);
	settle(SEC);
	settle(SEC);
	end_session();
	now += 5 * SEC;
	open_plain();
	now += 10 * MS;
	release(allocate(7, 40000), CAUSE_CLOSE);
	settle(SEC);
	settle(SEC);
	end_session();
	assert_int_equal(find(40000), 2);
	assert_sound();
}

static const struct CMUnitTest tests[] = {
	STORE_TEST(loss_is_told_before_the_end),
	STORE_TEST(end_that_is_behind_vouches_for_nothing),
	STORE_TEST(gap_that_finds_no_room_is_kept),
	STORE_TEST(failed_sync_is_written_once),
	STORE_TEST(words_outlive_a_batch_that_forgets_them),
	STORE_TEST(what_a_restart_finds_replaced),
};

UNIT_MAIN(tests)
