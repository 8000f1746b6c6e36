/* SPDX-License-Identifier: GPL-2.0 */
/* What is recorded, and what becomes of it through restarts, kills and trouble with the disk. */
#include "user/store.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/stored.h"
#include "user/explain.h"

#define NOBODY 65534

/* ---- rows ---- */

static void lifetime_comes_back_as_it_was(void **state)
{
	struct lifetime *l;
	const struct past *p = pasts;

	(void)state;
	open_plain();
	now += 10 * MS;
	l = allocate(7, 40000);
	now += 20 * MS;
	l->closed_at = now;
	say((struct change){ .what = WHAT_CLOSE, .lifetime = l, .exact = true, .holder_pid = 200, .holder_comm = "other" });
	l->tw_at = now + MS;
	l->error = ECONNRESET;
	now += 60 * SEC;
	release(l, CAUSE_TIME_WAIT);
	settle(SEC);
	assert_int_equal(find(40000), 1);
	assert_int_equal(p->cookie, 7);
	assert_int_equal(p->generation, 1);
	assert_int_equal(p->netns, NETNS);
	assert_int_equal(p->port, 40000);
	assert_int_equal(p->remote_port, 80);
	assert_int_equal(p->proto, IPPROTO_TCP);
	assert_int_equal(p->how, PW_HOW_CONNECT);
	assert_int_equal(p->flags, PW_F_EPHEMERAL);
	assert_true(p->exact && !p->began_before && !p->lasts && !p->end_unknown && !p->listened);
	assert_int_equal(p->cause, CAUSE_TIME_WAIT);
	assert_int_equal(p->error, ECONNRESET);
	assert_int_equal(p->addr.bytes[3], 1);
	assert_int_equal(p->remote.family, AF_INET);
	assert_int_equal(p->remote.bytes[3], 2);
	assert_int_equal(p->since, START + 10 * MS + WALL);
	assert_int_equal(p->until, START + 30 * MS + 60 * SEC + WALL);
	assert_int_equal(p->closed_at, START + 30 * MS + WALL);
	assert_int_equal(p->tw_at, START + 31 * MS + WALL);
	assert_int_equal(p->held_ns, 20 * MS + 60 * SEC);
	assert_int_equal(p->open_ns, 20 * MS);
	assert_int_equal(p->tw_ns, 60 * SEC - MS);
	assert_int_equal(p->owner->pid, 100);
	assert_int_equal(p->owner->start, 5 * SEC);
	assert_string_equal(p->owner->comm, "someone");
	assert_string_equal(p->owner->exe, "/usr/bin/someone");
	assert_null(p->owner->container);
	assert_int_equal(p->holder->pid, 200);
	assert_string_equal(p->holder->comm, "other");
	assert_sound();
}

static void addresses_of_both_families(void **state)
{
	struct lifetime *l;

	(void)state;
	open_plain();
	l = allocate(1, 40000);
	l->addr = l->remote = (struct event_addr){ AF_INET6, { 0xfd, [15] = 9 } };
	l->remote_port = 65535;
	release(l, CAUSE_CLOSE);
	l = allocate(2, 40001);
	l->proto = IPPROTO_UDP;
	l->remote = (struct event_addr){ AF_INET, { 203, 0, 113, 255 } };
	release(l, CAUSE_CLOSE);
	l = allocate(3, 40002);
	l->remote = (struct event_addr){ 0 };
	l->owner = NULL;
	release(l, CAUSE_CLOSE);
	settle(SEC);
	assert_int_equal(find_range(40000, 40002, 0, UINT64_MAX), 3);
	assert_int_equal(pasts[0].addr.family, AF_INET6);
	assert_int_equal(pasts[0].remote.bytes[0], 0xfd);
	assert_int_equal(pasts[0].remote.bytes[15], 9);
	assert_int_equal(pasts[0].remote_port, 65535);
	assert_int_equal(pasts[1].proto, IPPROTO_UDP);
	assert_int_equal(pasts[1].remote.bytes[0], 203);
	assert_int_equal(pasts[1].remote.bytes[3], 255);
	assert_int_equal(pasts[1].remote_port, 80);
	assert_int_equal(pasts[2].remote.family, 0);
	assert_null(pasts[2].owner);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes WHERE remote_addr = '203.0.113.255' AND remote_port = 80"), 1);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes WHERE remote_addr LIKE 'fd00:%:0009' AND remote_port = 65535 "
				   "AND addr = 'fd00::9'"), 1);
}

static void one_port_many_lifetimes(void **state)
{
	struct lifetime *a, *b;

	(void)state;
	open_plain();
	a = allocate(1, 40000);
	now += SEC;
	b = allocate(2, 40000);
	now += SEC;
	release(a, CAUSE_CLOSE);
	now += SEC;
	release(b, CAUSE_CLOSE);
	settle(SEC);
	assert_int_equal(find_at(40000, START + SEC / 2), 1);
	assert_int_equal(pasts[0].cookie, 1);
	assert_int_equal(find_at(40000, START + SEC + SEC / 2), 2);
	assert_int_equal(pasts[0].cookie, 1);
	assert_int_equal(pasts[1].cookie, 2);
	assert_int_equal(find_at(40000, START + 2 * SEC + SEC / 2), 1);
	assert_int_equal(find_at(40000, START + 5 * SEC), 0);
	assert_int_equal(find_at(40001, START + SEC / 2), 0);
}

/* Each port's socket lasts a known time: its cookie. */
static void churn(uint32_t count, uint64_t first_cookie)
{
	for (uint32_t i = 0; i < count; i++) {
		struct lifetime *l = allocate(first_cookie + i, (uint16_t)(1024 + i % 60000));

		now += 1000;
		release(l, CAUSE_CLOSE);
	}
}

static void large_and_small_batches_alike(void **state)
{
	(void)state;
	open_plain();
	churn(20000, 1);
	settle(SEC);
	assert_true(number_by("SELECT count(*) FROM lifetime") == 20000);
	for (int i = 0; i < 20; i++) {
		churn(1000, 20001 + 1000 * (uint64_t)i);
		settle(SEC);
	}
	assert_true(number_by("SELECT count(*) FROM tail") < 16384);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 40000);
	assert_int_equal(number_by("SELECT sum(lifetimes) FROM chunk"), 40000);
	assert_int_equal(find(1024), 21);
	assert_int_equal(find_range(0, 65535, 0, UINT64_MAX), 40000);
	assert_sound();
}

static void process_is_told_once_a_process(void **state)
{
	static struct process reused;

	(void)state;
	reused = someone;
	reused.start = 700 * SEC;
	reused.exe = (char *)"/usr/bin/another";
	open_plain();
	for (int i = 0; i < 100; i++) {
		struct lifetime *l = allocate((uint64_t)i + 1, 40000);

		l->owner = i < 50 ? &someone : &reused;
		release(l, CAUSE_CLOSE);
		now += MS;
	}
	settle(SEC);
	assert_int_equal(number_by("SELECT count(*) FROM process"), 2);
	assert_int_equal(find_at(40000, START + 49 * MS), 1);
	assert_string_equal(pasts[0].owner->exe, "/usr/bin/someone");
	assert_int_equal(find_at(40000, START + 50 * MS), 1);
	assert_string_equal(pasts[0].owner->exe, "/usr/bin/another");
	assert_int_equal(pasts[0].owner->start, 700 * SEC);
}

/* ---- what lasts ---- */

static void lasting_is_shown_and_then_ends(void **state)
{
	struct lifetime *l;

	(void)state;
	open_plain();
	l = allocate(1, 40000);
	settle(SEC);
	assert_int_equal(find(40000), 1);
	assert_true(pasts[0].lasts);
	assert_int_equal(pasts[0].closed_at, 0);
	l->closed_at = l->tw_at = now;
	say((struct change){ .what = WHAT_TIME_WAIT, .lifetime = l, .exact = true });
	settle(SEC);
	assert_int_equal(find(40000), 1);
	assert_true(pasts[0].lasts);
	assert_int_equal(pasts[0].tw_at, START + SEC + WALL);
	release(l, CAUSE_TIME_WAIT);
	settle(SEC);
	assert_int_equal(find(40000), 1);
	assert_false(pasts[0].lasts);
	assert_int_equal(number_by("SELECT count(*) FROM held"), 0);
	assert_sound();
}

static void short_ones_are_written_once(void **state)
{
	struct lifetime *l;

	(void)state;
	open_plain();
	settle(SEC);
	now += 300 * MS;
	l = allocate(1, 40000);
	settle(200 * MS);
	assert_int_equal(number_by("SELECT count(*) FROM held"), 0);
	release(l, CAUSE_CLOSE);
	settle(SEC);
	assert_int_equal(find(40000), 1);
}

/* ---- restarts ---- */

static void restart_keeps_what_lived_on(void **state)
{
	uint64_t known;

	(void)state;
	open_plain();
	allocate(1, 40000);
	allocate(2, 40001);
	settle(SEC);
	known = now;
	end_session();
	now += 100 * SEC;
	open_plain();
	present(1, 40000)->owner = NULL;
	present(3, 40001);
	settle(SEC);
	/* The one lived on: since and owner are those of before. The other ended, nobody knows when. */
	assert_int_equal(find(40000), 1);
	assert_true(pasts[0].lasts && !pasts[0].began_before);
	assert_int_equal(pasts[0].since, START + WALL);
	assert_int_equal(pasts[0].owner->pid, 100);
	assert_int_equal(find(40001), 2);
	assert_int_equal(pasts[0].cookie, 2);
	assert_true(pasts[0].end_unknown && !pasts[0].lasts);
	assert_int_equal(pasts[0].until, known + WALL);
	assert_int_equal(pasts[0].held_ns, UNKNOWN_NS);
	assert_int_equal(pasts[0].tw_ns, UNKNOWN_NS);
	assert_true(pasts[1].began_before && pasts[1].lasts);
	release(all->all_next, CAUSE_CLOSE);
	settle(SEC);
	assert_int_equal(find(40000), 1);
	assert_int_equal(pasts[0].since, START + WALL);
	assert_int_equal(pasts[0].owner->pid, 100);
	assert_int_equal(pasts[0].cause, CAUSE_CLOSE);
	assert_false(pasts[0].lasts || pasts[0].began_before);
	assert_sound();
}

/* A TIME_WAIT that was there when recording began. */
static struct lifetime *present_in_time_wait(uint64_t cookie, uint16_t port)
{
	struct lifetime *l = present(cookie, port);

	l->holds = HOLD_TW;
	l->waits = l->inexact = true;
	return l;
}

static void end_time_wait(struct lifetime *l)
{
	l->holds = 0;
	release(l, CAUSE_TIME_WAIT);
}

/* What was seen of its end stands, though the one that sees the rest did not see it. */
static void restart_keeps_how_far_it_had_come(void **state)
{
	struct lifetime *l;
	uint64_t closed;

	(void)state;
	open_plain();
	l = allocate(1, 40000);
	settle(SEC);
	closed = now;
	l->closed_at = closed;
	say((struct change){ .what = WHAT_CLOSE, .lifetime = l, .holder_pid = 77, .holder_comm = "closer", .exact = true });
	now += SEC;
	l->tw_at = now;
	say((struct change){ .what = WHAT_TIME_WAIT, .lifetime = l, .exact = true });
	settle(SEC);
	end_session();
	now += 10 * SEC;
	open_plain();
	l = present_in_time_wait(1, 40000);
	for (int ended = 0; ended < 2; ended++) {
		settle(SEC);
		assert_int_equal(find(40000), 1);
		assert_int_equal(pasts[0].lasts, !ended);
		assert_int_equal(pasts[0].closed_at, closed + WALL);
		assert_int_equal(pasts[0].tw_at, closed + SEC + WALL);
		assert_int_equal(pasts[0].holder->pid, 77);
		assert_string_equal(pasts[0].holder->comm, "closer");
		if (!ended)
			end_time_wait(l);
	}
	assert_int_equal(pasts[0].open_ns, SEC);
	assert_int_equal(pasts[0].tw_ns, 12 * SEC);
	assert_sound();
}

/* It did not begin to wait when it was seen first, and surely was not connected then. */
static void found_in_time_wait(void **state)
{
	struct lifetime *l, *later;

	(void)state;
	open_plain();
	/* One that ends before it is written as lasting, and one that is. */
	end_time_wait(present_in_time_wait(3, 40002));
	l = present_in_time_wait(1, 40000);
	later = present(2, 40001);
	settle(SEC);
	assert_int_equal(find(40002), 1);
	assert_int_equal(pasts[0].tw_at, pasts[0].since);
	assert_int_equal(find(40000), 1);
	assert_int_equal(pasts[0].tw_at, pasts[0].since);
	later->tw_at = now;
	later->waits = true;
	now += 60 * SEC;
	end_time_wait(l);
	end_time_wait(later);
	settle(SEC);
	assert_int_equal(find(40000), 1);
	assert_int_equal(pasts[0].tw_at, START + WALL);
	assert_true(pasts[0].began_before);
	assert_int_equal(pasts[0].tw_ns, UNKNOWN_NS);
	/* Of one whose wait was seen to begin it is known. */
	assert_int_equal(find(40001), 1);
	assert_true(pasts[0].began_before);
	assert_int_equal(pasts[0].tw_ns, 60 * SEC);
}

static void another_boot_ends_all(void **state)
{
	struct store_options options;

	(void)state;
	open_plain();
	allocate(1, 40000);
	settle(SEC);
	end_session();
	now = 50 * SEC;
	offset += START + 1000 * SEC;
	options = plain_options();
	options.boot = "99999999-2222-3333-4444-555555555555";
	open_with(&options);
	ready();
	/* The same number by chance: another boot's. */
	present(1, 40000);
	settle(SEC);
	assert_int_equal(find(40000), 2);
	assert_true(pasts[0].end_unknown);
	assert_string_equal(pasts[0].boot, BOOT);
	assert_int_equal(pasts[0].until, START + SEC + WALL);
	assert_true(pasts[1].began_before);
	assert_sound();
}

/* In a process of its own, which dies as by a power cut of its own: nothing is ended in order. */
static void killed_recorder_loses_the_last_second(void **state)
{
	pid_t child = fork();

	(void)state;
	if (!child) {
		open_plain();
		allocate(1, 40000);
		release(allocate(2, 40001), CAUSE_CLOSE);
		settle(SEC);
		release(allocate(3, 40002), CAUSE_CLOSE);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(find(40001), 1);
	assert_int_equal(find(40002), 0);
	assert_int_equal(find(40000), 1);
	assert_true(pasts[0].lasts && !pasts[0].runs);
	now += 100 * SEC;
	open_plain();
	present(1, 40000);
	settle(SEC);
	assert_int_equal(find_range(0, 65535, 0, UINT64_MAX), 2);
	assert_int_equal(number_by("SELECT count(*) FROM gaps WHERE reason = 'the recorder did not run'"), 1);
	assert_sound();
}

#define KILLS 20

/* Until it is killed: how many it released, one a microsecond of its time, stands in *released. */
static void churn_for_ever(uint64_t first_cookie, volatile uint64_t *released)
{
	open_plain();
	for (uint64_t i = 0;; i++) {
		release(allocate(first_cookie + i, (uint16_t)(1024 + i % 60000)), CAUSE_CLOSE);
		*released = i + 1;
		now += 1000;
		/* The queue stays short: what is lost then is the kill's doing. */
		while (i % 1000 == 0 && (pass(500 * MS), waiting() > 20000))
			usleep(100);
	}
}

/* By its own count, not by the clock: on a slow machine it gets as far. */
static void let_it_release(const volatile uint64_t *released, uint64_t many)
{
	for (int i = 0; *released < many; i++) {
		assert_true(i < 600000);
		usleep(100);
	}
}

static void killed_at_any_moment(void **state)
{
	volatile uint64_t *released = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t random = 1;
	int64_t known = 0;

	(void)state;
	assert_int_equal(store_create(path, why, sizeof(why)), 0);
	for (int i = 0; i < KILLS; i++) {
		int64_t before = known;
		pid_t child;

		*released = 0;
		child = fork();
		if (!child)
			churn_for_ever(1 + (uint64_t)i * 10000000, released);
		let_it_release(released, unit_random(&random) % 16000);
		usleep((useconds_t)(unit_random(&random) % 5000));
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		now += 3600 * SEC;
		/* What it told of up to some moment, the queue's length before its end: all of that, and none twice. */
		known = number_by("SELECT count(*) FROM lifetimes");
		assert_in_range(known - before, *released > 25000 ? *released - 25000 : 0, *released);
		assert_int_equal(number_by("SELECT coalesce(max(cookie) - min(cookie) + 1 = count(*), 1) FROM lifetimes "
					   "WHERE session = (SELECT max(session) FROM lifetimes)"), 1);
		assert_sound();
	}
	assert_true(known > 0);
	munmap((void *)released, 4096);
}

/* ---- denials, gaps ---- */

static void deny(uint16_t port, struct explanation *explanation)
{
	struct event denied = {
		.kind = PW_DENIED, .time = now, .port = port, .proto = IPPROTO_TCP, .how = PW_HOW_BIND, .netns = NETNS,
		.error = EADDRINUSE, .addr = { AF_INET, { 127, 0, 0, 1 } },
	};

	say((struct change){ .what = WHAT_DENIED, .denied = &denied, .denied_owner = &someone, .explanation = explanation,
			     .exact = true });
}

static void storm_of_denials_is_a_row_with_a_count(void **state)
{
	struct explanation explanation = { .refs = 1, .cause = DENIAL_CONFLICT, .advice = (char *)"wait\n" };

	(void)state;
	open_plain();
	settle(SEC);
	for (int i = 0; i < 100000; i++) {
		deny(80, &explanation);
		now += 1000;
	}
	deny(81, &explanation);
	settle(SEC);
	assert_int_equal(number_by("SELECT count(*) FROM denials"), 2);
	assert_int_equal(number_by("SELECT sum(count) FROM denials WHERE port = 80 AND pid = 100 AND errno = 98"), 100000);
	assert_int_equal(number_by("SELECT span_ns FROM denials WHERE port = 80"), 99999000);
	assert_int_equal(number_by("SELECT count(*) FROM text WHERE text LIKE '%\"advice\": [\"wait\"]%' OR "
				   "text LIKE '%\"advice\":[\"wait\"]%'"), 1);
}

/* What was lost later is not known yet: nothing is vouched for, and nothing said to last, that might be of that time. */
static void no_word_for_what_may_be_lost(void **state)
{
	(void)state;
	open_plain();
	settle(2 * SEC);
	now += SEC;
	allocate(1, 8080);
	now += 2 * SEC;
	assert_int_equal(store_tick(store, all, now, START + 2500 * MS, offset, why, sizeof(why)), 0);
	for (int i = 0; i < 5000 && number_by("SELECT last FROM session") <= (int64_t)(START + 2 * SEC); i++)
		usleep(1000);
	assert_int_equal(number_by("SELECT last FROM session"), START + 2500 * MS);
	assert_int_equal(find(8080), 0);
	settle(SEC);
	assert_int_equal(find(8080), 1);
	assert_int_equal(number_by("SELECT last FROM session"), now - 250 * MS);
}

static void gap_is_kept(void **state)
{
	struct gap gap = { .since = START + SEC, .until = START + 2 * SEC, .lost = 5, .lost_allocations = 3, .reason = "ring" };

	(void)state;
	open_plain();
	say((struct change){ .what = WHAT_GAP, .gap = &gap });
	settle(SEC);
	assert_int_equal(number_by("SELECT lost FROM gaps WHERE reason = 'ring' AND lost_allocations = 3"), 5);
}

/* ---- retention ---- */

static uint64_t size_of(const char *suffix)
{
	char name[128];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &st) ? 0 : (uint64_t)st.st_size;
}

static uint64_t total_size(void)
{
	return size_of("") + size_of("-wal") + size_of("-shm");
}

static void size_is_kept_under_churn(void **state)
{
	struct store_options options = plain_options();
	uint64_t largest = 0;

	(void)state;
	options.max_size = 16ULL << 20;
	open_with(&options);
	ready();
	for (int i = 0; i < 60; i++) {
		churn(20000, 1 + 20000 * (uint64_t)i);
		settle(SEC);
		largest = total_size() > largest ? total_size() : largest;
	}
	assert_in_range(largest, 0, options.max_size + options.max_size / 10);
	/* It is used, too. */
	assert_in_range(size_of(""), options.max_size / 2, options.max_size);
	assert_int_equal(find_range(1024, 1024, (uint64_t)((int64_t)(now - 3 * SEC) + offset), UINT64_MAX) > 0, 1);
	assert_true(number_by("SELECT forgotten FROM session") > (int64_t)START);
	assert_sound();
}

static void old_ones_go_and_space_is_given_back(void **state)
{
	struct store_options options = plain_options();
	uint64_t full;

	(void)state;
	options.keep_ns = 3600 * SEC;
	open_with(&options);
	ready();
	for (int i = 0; i < 10; i++) {
		churn(20000, 1 + 20000 * (uint64_t)i);
		settle(SEC);
	}
	allocate(999999, 999);
	settle(SEC);
	full = (uint64_t)number_by("PRAGMA page_count") * 4096;
	for (int i = 0; i < 300 && number_by("SELECT count(*) FROM lifetime"); i++) {
		settle(60 * SEC);
		usleep(2000);
	}
	assert_int_equal(number_by("SELECT count(*) FROM lifetime"), 0);
	assert_int_equal(find(999), 1);
	assert_int_equal(pasts[0].owner->pid, 100);
	for (int i = 0; i < 1000 && size_of("") > full / 2; i++) {
		settle(6 * SEC);
		usleep(2000);
	}
	end_session();
	assert_in_range(size_of(""), 0, full / 2);
	assert_sound();
}

static void tidy_up(void)
{
	for (int i = 0; i < 20; i++) {
		settle(SEC);
		usleep(2000);
	}
}

/* What an earlier session left has no clock but the wall's. */
static void clock_that_is_wrong_for_a_moment_drops_nothing(void **state)
{
	struct store_options options = plain_options();

	(void)state;
	options.keep_ns = 24 * 3600 * SEC;
	open_with(&options);
	ready();
	churn(100, 1);
	settle(SEC);
	end_session();
	options.now = now += SEC;
	open_with(&options);
	ready();
	tidy_up();
	offset += 365 * 24 * 3600LL * (int64_t)SEC;
	tidy_up();
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 100);
	offset -= 365 * 24 * 3600LL * (int64_t)SEC;
	tidy_up();
	settle(2 * 3600 * SEC);
	tidy_up();
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 100);
	offset += 365 * 24 * 3600LL * (int64_t)SEC;
	tidy_up();
	settle(2 * 3600 * SEC);
	tidy_up();
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 0);
	assert_sound();
}

/* Nor has what ended before the first word of the clock: told late, when a file was begun anew. */
static void what_ended_before_the_first_clock_is_not_old(void **state)
{
	struct store_options options = plain_options();

	(void)state;
	options.keep_ns = 24 * 3600 * SEC;
	open_with(&options);
	now -= SEC;
	ready();
	churn(100, 1);
	settle(MS);
	store_close(&store, PATIENCE);
	assert_true(number_by("SELECT max(until) FROM chunk") < number_by("SELECT min(at) FROM clock"));
	options.now = now += 2 * SEC;
	open_with(&options);
	ready();
	tidy_up();
	assert_int_equal(number_by("SELECT count(*) FROM lifetime"), 100);
	assert_sound();
}

/* One that is told once is referred to by chunks that come long after, whatever others have been told meanwhile. */
static void words_outlive_the_chunk_they_came_with(void **state)
{
	static struct process others[2000];
	static char names[ARRAY_SIZE(others)][600];
	struct store_options options = plain_options();

	(void)state;
	options.keep_ns = 3600 * SEC;
	open_with(&options);
	ready();
	release(allocate(1, 999), CAUSE_CLOSE);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct lifetime *l = allocate(10 + i, 1000);

		memset(names[i], 'x', sizeof(names[i]) - 1);
		snprintf(names[i], sizeof(names[i]), "/%zu", i);
		names[i][strlen(names[i])] = 'y';
		others[i] = someone;
		others[i].pid = 1000 + (uint32_t)i;
		others[i].exe = names[i];
		l->owner = &others[i];
		release(l, CAUSE_CLOSE);
	}
	settle(SEC);
	for (int i = 0; i < 300 && number_by("SELECT count(*) FROM tail"); i++) {
		settle(i ? SEC : 400 * SEC);
		usleep(2000);
	}
	release(allocate(2, 998), CAUSE_CLOSE);
	settle(3400 * SEC);
	for (int i = 0; i < 20 || (i < 150 && number_by("SELECT count(*) FROM lifetime") > 1); i++) {
		settle(SEC);
		usleep(2000);
	}
	assert_int_equal(find(999), 0);
	assert_int_equal(find(998), 1);
	assert_non_null(pasts[0].owner->exe);
	assert_string_equal(pasts[0].owner->exe, "/usr/bin/someone");
	assert_sound();
}

/* ---- trouble ---- */

static void second_recorder_is_told_the_first(void **state)
{
	struct store_options options = plain_options();
	struct store *second = NULL;
	char pid[32];

	(void)state;
	open_plain();
	assert_int_equal(store_open(&options, &second, why, sizeof(why)), -EBUSY);
	assert_null(second);
	snprintf(pid, sizeof(pid), "process %d ", getpid());
	assert_non_null(strstr(why, pid));
}

static int descriptor_of(const char *suffix)
{
	char name[128];

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return open(name, O_PATH | O_CLOEXEC);
}

static void what_is_no_history_is_refused(void **state)
{
	struct store_options options = plain_options();
	sqlite3 *db;
	FILE *file;

	(void)state;
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), -ENOENT);
	file = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fprintf(file, "this is no database\n");
	fclose(file);
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, path));
	unlink(path);
	sqlite3_open(path, &db);
	sqlite3_exec(db, "CREATE TABLE other(a)", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), -EBADMSG);
	options.files.db = descriptor_of("");
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "not of portwake"));
	close_fd(&options.files.db);
	sqlite3_open(path, &db);
	assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode = DELETE; INSERT INTO other VALUES(1)", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	unlink(path);
	open_plain();
	end_session();
	sqlite3_open(path, &db);
	sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(store_open(&options, &store, why, sizeof(why)), -EPROTONOSUPPORT);
	assert_non_null(strstr(why, "newer"));
}

static void fill_up(const char *name, bool fill)
{
	static char block[65536];
	int fd;

	if (!fill) {
		unlink(name);
		return;
	}
	fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, block, sizeof(block)) > 0)
		;
	while (write(fd, block, 512) > 0)
		;
	close(fd);
}

static void full_disk_is_waited_for(void **state)
{
	struct store_totals totals;
	char ballast[128];

	(void)state;
	if (mount("none", directory, "tmpfs", 0, "size=32m")) {
		print_message("skipped: no tmpfs can be mounted here\n");
		skip();
	}
	snprintf(ballast, sizeof(ballast), "%s/ballast", directory);
	open_plain();
	allocate(1, 999);
	churn(1000, 10);
	settle(SEC);
	fill_up(ballast, true);
	churn(60000, 100000);
	expect_word("full");
	/* What fits waits, the rest is counted. */
	churn(140000, 200000);
	store_totals(store, &totals);
	assert_true(totals.lost > 0);
	fill_up(ballast, false);
	expect_word("again");
	/* The tmpfs holds them all only while nothing else is in it. */
	for (int i = 0; i < 5000 && waiting(); i++) {
		pass(SEC);
		usleep(1000);
	}
	assert_int_equal(waiting(), 0);
	settle(SEC);
	store_totals(store, &totals);
	assert_int_equal(number_by("SELECT sum(lost) FROM gap WHERE reason = 'storage'"), totals.lost);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes WHERE NOT lasts"), 201000 - totals.lost);
	assert_int_equal(find(999), 1);
	assert_true(pasts[0].lasts);
	assert_sound();
	end_session();
	umount(directory);
}

typedef ssize_t (*pwrite_fn)(int fd, const void *data, size_t size, off_t at);

static pwrite_fn real_pwrite;
static atomic_bool writes_fail;

static ssize_t pwrite_or_not(int fd, const void *data, size_t size, off_t at)
{
	if (writes_fail) {
		errno = EIO;
		return -1;
	}
	return real_pwrite(fd, data, size, at);
}

static void disk_errors_are_waited_for(void **state)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
	const char *name = vfs->xGetSystemCall(vfs, "pwrite64") ? "pwrite64" : "pwrite";

	(void)state;
	open_plain();
	churn(100, 1);
	settle(SEC);
	real_pwrite = (pwrite_fn)vfs->xGetSystemCall(vfs, name);
	vfs->xSetSystemCall(vfs, name, (sqlite3_syscall_ptr)pwrite_or_not);
	writes_fail = true;
	churn(100, 1000);
	expect_word("read or written");
	assert_int_equal(waiting(), 100);
	writes_fail = false;
	expect_word("again");
	settle(SEC);
	end_session();
	vfs->xSetSystemCall(vfs, name, NULL);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 200);
	assert_sound();
}

static void locked_file_is_waited_for(void **state)
{
	sqlite3 *db;

	(void)state;
	db = open_locked();
	churn(100, 1);
	expect_word("locked");
	unlock(db);
	expect_word("again");
	settle(SEC);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 100);
}

/* What waits is bounded by what it takes, not by rows alone: an explanation is a hundred times as long as its row. */
static void long_words_are_bounded(void **state)
{
	static char advice[6000];
	struct explanation explanation = { .refs = 1, .cause = DENIAL_CONFLICT, .advice = advice };
	struct store_totals totals;
	sqlite3 *db;

	(void)state;
	memset(advice, 'a', sizeof(advice) - 1);
	advice[sizeof(advice) - 2] = '\n';
	db = open_locked();
	for (uint16_t i = 0; i < 40 * 500; i++) {
		deny((uint16_t)(1024 + i), &explanation);
		if (i % 500 == 499)
			pass(SEC);
	}
	store_totals(store, &totals);
	assert_in_range(totals.waiting, 1000, (40 << 20) / sizeof(advice));
	assert_true(totals.lost > 0);
	unlock(db);
	for (int i = 0; i < 5000 && waiting(); i++) {
		pass(SEC);
		usleep(1000);
	}
	settle(SEC);
	assert_int_equal(number_by("SELECT sum(lost) FROM gap WHERE reason = 'storage'"), totals.lost);
	assert_int_equal(number_by("SELECT sum(count) FROM denials"), 40 * 500 - totals.lost);
}

/* What was released while nothing could be written must not seem to last for ever. */
static void loss_settles_what_lasted(void **state)
{
	char ballast[128];

	(void)state;
	if (mount("none", directory, "tmpfs", 0, "size=32m")) {
		print_message("skipped: no tmpfs can be mounted here\n");
		skip();
	}
	snprintf(ballast, sizeof(ballast), "%s/ballast", directory);
	open_plain();
	allocate(1, 999);
	allocate(2, 998);
	settle(SEC);
	fill_up(ballast, true);
	churn(140000, 100000);
	expect_word("full");
	release(all, CAUSE_CLOSE);
	fill_up(ballast, false);
	expect_word("again");
	for (int i = 0; i < 5000 && waiting(); i++) {
		pass(SEC);
		usleep(1000);
	}
	settle(SEC);
	settle(SEC);
	assert_int_equal(find(998), 1);
	assert_true(pasts[0].end_unknown && !pasts[0].lasts);
	assert_int_equal(find(999), 1);
	assert_true(pasts[0].lasts);
	assert_sound();
	end_session();
	umount(directory);
}

static void failing_allocator_is_survived(void **state)
{
	(void)state;
	for (size_t n = 0; n < 400; n += n < 60 ? 1 : 17) {
		struct store_options options = plain_options();

		store_create(path, why, sizeof(why));
		unit_fail_after(n);
		if (!store_open(&options, &store, why, sizeof(why))) {
			ready();
			for (uint64_t i = 0; i < 50; i++) {
				struct lifetime *l = allocate(n * 1000 + i + 1, (uint16_t)(1024 + i));

				release(l, CAUSE_CLOSE);
			}
			deny(80, NULL);
			pass(SEC);
			unit_fail_never();
			pass(SEC);
			usleep(2000);
			pass(SEC);
		}
		unit_fail_never();
		end_session();
		now += SEC;
	}
	assert_sound();
}

/* ---- who may ---- */

/* Runs fn as a user without privilege, in this group; its assertions count. */
static void as_somebody(gid_t group, void (*fn)(void))
{
	pid_t child = fork();
	int status = 0;

	if (!child) {
		if (setgroups(0, NULL) || setgid(group) || setuid(NOBODY))
			_exit(77);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int expected;

static void ask_quietly(void)
{
	struct history_query query = { .first = 40001, .last = 40001, .until = UINT64_MAX };
	struct history *history = NULL;
	int r = history_open(path, &history, why, sizeof(why));

	if (expected < 0) {
		if (r != expected)
			fprintf(stderr, "# %d %s\n", r, why);
		_exit(r != expected);
	}
	if (r)
		fprintf(stderr, "# %s\n", why);
	past_count = 0;
	if (r || history_find(history, &query, keep_past, NULL))
		_exit(1);
	if (past_count != (size_t)expected)
		fprintf(stderr, "# %zu lifetimes, not %d\n", past_count, expected);
	_exit(past_count != (size_t)expected);
}

static void give_to(uid_t user, gid_t group)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char name[128];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		assert_int_equal(chown(name, user, group), 0);
		assert_int_equal(chmod(name, 0640), 0);
	}
	assert_int_equal(chmod(directory, 0755), 0);
}

static void record_and_die(void)
{
	open_plain();
	release(allocate(1, 40001), CAUSE_CLOSE);
	settle(SEC);
	raise(SIGKILL);
}

/* Beside a writer, after a clean end, after a kill. */
static void group_may_ask_and_others_not(void **state)
{
	pid_t child;

	(void)state;
	if (getuid()) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	assert_int_equal(store_create(path, why, sizeof(why)), 0);
	give_to(1, 2000);
	open_plain();
	release(allocate(1, 40001), CAUSE_CLOSE);
	settle(SEC);
	expected = 1;
	as_somebody(2000, ask_quietly);
	expected = -EACCES;
	as_somebody(3000, ask_quietly);
	end_session();
	expected = 1;
	as_somebody(2000, ask_quietly);
	now += SEC;
	child = fork();
	if (!child)
		record_and_die();
	assert_int_equal(waitpid(child, NULL, 0), child);
	expected = 2;
	as_somebody(2000, ask_quietly);
}

static struct store_files by_descriptor;

static void record_by_descriptor(void)
{
	struct store_options options = plain_options();

	options.files = by_descriptor;
	if (access(path, F_OK) == 0 || store_open(&options, &store, why, sizeof(why))) {
		fprintf(stderr, "# %s\n", why);
		_exit(1);
	}
	ready();
	for (uint64_t i = 0; i < 20000; i++)
		release(allocate(i + 1, 40001), CAUSE_CLOSE);
	settle(SEC);
	store_close(&store, PATIENCE);
	_exit(0);
}

static void directory_may_be_closed_to_it(void **state)
{
	(void)state;
	if (getuid()) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	assert_int_equal(store_create(path, why, sizeof(why)), 0);
	give_to(NOBODY, 2000);
	assert_int_equal(chmod(directory, 0700), 0);
	by_descriptor = (struct store_files){ descriptor_of(""), descriptor_of("-wal"), descriptor_of("-shm") };
	as_somebody(2000, record_by_descriptor);
	close(by_descriptor.db);
	close(by_descriptor.wal);
	close(by_descriptor.shm);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 20000);
	assert_sound();
}

/* Made by .backup or VACUUM INTO: it has no write-ahead log, and there is no name for a journal. */
static void copy_may_be_written_on(void **state)
{
	struct store_options options = plain_options();
	char name[128];
	sqlite3 *db;

	(void)state;
	open_plain();
	churn(100, 1);
	settle(SEC);
	end_session();
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	snprintf(name, sizeof(name), "%s-wal", path);
	close(open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0640));
	snprintf(name, sizeof(name), "%s-shm", path);
	close(open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0640));
	options.files = (struct store_files){ descriptor_of(""), descriptor_of("-wal"), descriptor_of("-shm") };
	open_with(&options);
	/* They were doubled. */
	close(options.files.db);
	close(options.files.wal);
	close(options.files.shm);
	ready();
	churn(100, 1000);
	settle(SEC);
	assert_int_equal(number_by("SELECT count(*) FROM lifetimes"), 200);
	assert_sound();
}

/* A disk that fails to the end is not waited for longer than was said, and what it was given is not kept. */
static void end_does_not_wait_for_a_bad_disk(void **state)
{
	sqlite3 *db;

	(void)state;
	db = open_locked();
	churn(100, 1);
	expect_word("locked");
	assert_in_range(store_close(&store, 100 * MS), 100, 200);
	unlock(db);
	/* Nobody holds it any more. */
	open_plain();
}

/* A reader that holds on to an old state lets the log grow; that is told, and ends with it. */
static void long_reader_is_told(void **state)
{
	struct history *history = NULL;

	(void)state;
	open_plain();
	churn(1000, 1);
	settle(SEC);
	assert_int_equal(history_open(path, &history, why, sizeof(why)), 0);
	for (int i = 0; i < 60 && size_of("-wal") < (64ULL << 20); i++) {
		churn(20000, 10000 + 20000 * (uint64_t)i);
		if (pass(SEC)) {
			assert_non_null(strstr(why, "reader"));
			break;
		}
		for (int k = 0; k < 5000 && waiting(); k++)
			usleep(1000);
	}
	assert_non_null(strstr(why, "reader"));
	history_free(&history);
	churn(20000, 5000000);
	settle(SEC);
	churn(20000, 6000000);
	settle(SEC);
	churn(20000, 7000000);
	settle(SEC);
	assert_in_range(size_of("-wal"), 0, 64ULL << 20);
}

/* Where a size was given, it holds: what comes waits, then is counted. */
static void long_reader_does_not_break_the_bound(void **state)
{
	struct store_options options = plain_options();
	struct history *history = NULL;
	struct store_totals totals = { 0 };

	(void)state;
	options.max_size = 64ULL << 20;
	open_with(&options);
	ready();
	/* The file is full before. */
	for (int i = 0; i < 60; i++) {
		churn(20000, 1 + 20000 * (uint64_t)i);
		settle(SEC);
	}
	assert_int_equal(history_open(path, &history, why, sizeof(why)), 0);
	for (int i = 0; i < 300 && !strstr(why, "--max-size"); i++) {
		churn(20000, 10000000 + 20000 * (uint64_t)i);
		for (int k = 0; k < 100 && waiting() && !pass(10 * MS); k++)
			usleep(10000);
	}
	assert_non_null(strstr(why, "--max-size"));
	churn(160000, 100000000);
	store_totals(store, &totals);
	assert_true(totals.lost > 0);
	assert_in_range(total_size(), 0, options.max_size + options.max_size / 10);
	history_free(&history);
	expect_word("again");
	for (int i = 0; i < 5000 && waiting(); i++) {
		pass(SEC);
		usleep(1000);
	}
	settle(SEC);
	assert_int_equal(number_by("SELECT sum(lost) FROM gap WHERE reason = 'storage'"), totals.lost);
	assert_in_range(total_size(), 0, options.max_size + options.max_size / 10);
	assert_sound();
}

static const struct CMUnitTest tests[] = {
	STORE_TEST(lifetime_comes_back_as_it_was),
	STORE_TEST(addresses_of_both_families),
	STORE_TEST(one_port_many_lifetimes),
	STORE_TEST(large_and_small_batches_alike),
	STORE_TEST(process_is_told_once_a_process),
	STORE_TEST(lasting_is_shown_and_then_ends),
	STORE_TEST(short_ones_are_written_once),
	STORE_TEST(restart_keeps_what_lived_on),
	STORE_TEST(restart_keeps_how_far_it_had_come),
	STORE_TEST(found_in_time_wait),
	STORE_TEST(another_boot_ends_all),
	STORE_TEST(killed_recorder_loses_the_last_second),
	STORE_TEST(killed_at_any_moment),
	STORE_TEST(storm_of_denials_is_a_row_with_a_count),
	STORE_TEST(no_word_for_what_may_be_lost),
	STORE_TEST(gap_is_kept),
	STORE_TEST(size_is_kept_under_churn),
	STORE_TEST(old_ones_go_and_space_is_given_back),
	STORE_TEST(clock_that_is_wrong_for_a_moment_drops_nothing),
	STORE_TEST(what_ended_before_the_first_clock_is_not_old),
	STORE_TEST(words_outlive_the_chunk_they_came_with),
	STORE_TEST(second_recorder_is_told_the_first),
	STORE_TEST(what_is_no_history_is_refused),
	STORE_TEST(full_disk_is_waited_for),
	STORE_TEST(disk_errors_are_waited_for),
	STORE_TEST(locked_file_is_waited_for),
	STORE_TEST(long_words_are_bounded),
	STORE_TEST(loss_settles_what_lasted),
	STORE_TEST(failing_allocator_is_survived),
	STORE_TEST(group_may_ask_and_others_not),
	STORE_TEST(directory_may_be_closed_to_it),
	STORE_TEST(copy_may_be_written_on),
	STORE_TEST(end_does_not_wait_for_a_bad_disk),
	STORE_TEST(long_reader_is_told),
	STORE_TEST(long_reader_does_not_break_the_bound),
};

UNIT_MAIN(tests)
