/* SPDX-License-Identifier: GPL-2.0 */
/* Lifetimes of a made-up history added up, beside sums of the test's own. */
#include "user/stats_past.h"

#include "tests/unit/events.h"
#include "tests/unit/fake_history.h"
#include "user/identity.h"

#define SEC 1000000000ULL
#define T0 (1795176000 * SEC)
#define AT(seconds) (T0 + (seconds) * SEC)

static const struct past_process nginx = { .pid = 712, .start = 5, .comm = "nginx", .exe = "/usr/sbin/nginx",
					   .container = "c0ffee", .cgroup = "/system.slice/nginx.service" };
static const struct past_process curl = { .pid = 713, .start = 6, .comm = "curl", .cgroup = "/user.slice" };
/* The same pid and start: it has executed something else. */
static const struct past_process changed = { .pid = 713, .start = 6, .comm = "wget" };

static struct past held(uint16_t port, uint64_t since, uint64_t until, const struct past_process *owner)
{
	return (struct past){
		.cookie = 1, .generation = 1, .netns = TEST_NETNS, .port = port, .proto = IPPROTO_TCP, .exact = true,
		.addr = ev_addr("127.0.0.1"), .since = AT(since), .until = AT(until), .held_ns = (until - since) * SEC,
		.owner = owner,
	};
}

static struct history history;
static struct options options;
static struct crowd crowd;
static struct stats *stats;
static struct stats_past past;

static void count(const struct past *pasts, size_t n, uint64_t since, uint64_t until, uint64_t now)
{
	history = (struct history){ .pasts = pasts, .past_count = n };
	options.since = AT(since);
	options.until = until ? AT(until) : 0;
	stats = stats_new(options.by, &past_stats_ops, &crowd);
	assert_non_null(stats);
	past = (struct stats_past){ .stats = stats, .crowd = &crowd, .history = &history, .options = &options, .now = AT(now) };
	assert_int_equal(stats_past_count(&past), 0);
}

static const struct stats_row *row(size_t i, size_t of)
{
	const struct stats_row *const *rows;
	size_t n;

	assert_int_equal(stats_rows(stats, STATS_KEY, &rows, &n), 0);
	assert_int_equal(n, of);
	return rows[i];
}

static int fresh(void **state)
{
	(void)state;
	options = (struct options){ 0 };
	return 0;
}

static int done(void **state)
{
	(void)state;
	stats_free(&stats);
	crowd_done(&crowd);
	return 0;
}

/* Those that no row refers to are kept up to a bound. */
static void crowds_are_bounded(void **state)
{
	struct past_process someone = { .comm = "someone", .exe = "/bin/someone" };
	struct past p = held(80, 0, 5, &someone);

	(void)state;
	options.since = T0;
	stats = stats_new(STATS_BY_PORT, &past_stats_ops, &crowd);
	past = (struct stats_past){ .stats = stats, .crowd = &crowd, .history = &history, .options = &options, .now = AT(300) };
	history = (struct history){ .pasts = &p, .past_count = 1 };
	for (uint32_t i = 0; i < 20000; i++) {
		someone.pid = i + 1;
		assert_int_equal(stats_past_count(&past), 0);
	}
	assert_int_equal(row(0, 1)->last_owner->pid, 20000);
	assert_in_range(map_count(&crowd.members), 1, 8194);
}

static void lifetimes_in_and_across_the_time(void **state)
{
	struct past pasts[] = {
		held(80, 0, 15, &nginx),	/* began before */
		held(80, 20, 22, &curl), held(80, 30, 36, &curl),
		held(80, 90, 200, &nginx),	/* ends after */
		held(90, 5, 300, &nginx),	/* lasts */
	};
	const struct stats_row *r;

	(void)state;
	pasts[4].lasts = pasts[4].runs = true;
	pasts[4].held_ns = UNKNOWN_NS;
	count(pasts, 5, 10, 100, 300);
	r = row(0, 2);
	assert_int_equal(r->port, 80);
	assert_int_equal(r->lifetimes, 4);
	assert_int_equal(r->now, 1);
	assert_int_equal(r->held_ns, (5 + 2 + 6 + 10) * SEC);
	assert_int_equal(r->held.count, 2);
	assert_int_equal(r->held.min, 2 * SEC);
	assert_int_equal(r->held.max, 6 * SEC);
	/* From 15 to 20, from 22 to 30, from 36 to 90. */
	assert_int_equal(r->gaps.count, 3);
	assert_int_equal(r->gaps.min, 5 * SEC);
	assert_int_equal(r->gaps.max, 54 * SEC);
	assert_string_equal(r->last_owner->comm, "nginx");
	assert_string_equal(r->last_owner->exe, "/usr/sbin/nginx");
	r = row(1, 2);
	assert_int_equal(r->lifetimes, 1);
	assert_int_equal(r->now, 1);
	assert_int_equal(r->held_ns, 90 * SEC);
	assert_int_equal(r->held.count, 0);
}

/* What the wall clock says of a whole one does not count. */
static void whole_ones_by_the_clock_that_nobody_sets(void **state)
{
	struct past p = held(80, 20, 10, &nginx);

	(void)state;
	p.until = AT(21);
	p.held_ns = 77;
	count(&p, 1, 0, 100, 300);
	assert_int_equal(row(0, 1)->held_ns, 77);
	assert_int_equal(row(0, 1)->held.max, 77);
}

/* Since when, or until when, is not known: no length of time is made up. */
static void what_is_not_known_is_no_length(void **state)
{
	struct past pasts[] = { held(80, 10, 20, &nginx), held(80, 30, 40, NULL), held(80, 50, 60, &nginx) };

	(void)state;
	pasts[0].began_before = true;
	pasts[1].end_unknown = true;
	/* Its recorder is gone. */
	pasts[2].lasts = true;
	count(pasts, 3, 0, 100, 300);
	assert_int_equal(row(0, 1)->lifetimes, 3);
	assert_int_equal(row(0, 1)->now, 0);
	assert_int_equal(row(0, 1)->held.count, 0);
	assert_int_equal(row(0, 1)->held_ns, 30 * SEC);
	assert_int_equal(row(0, 1)->gaps.count, 1);
	assert_int_equal(row(0, 1)->gaps.min, 10 * SEC);
}

/* Others that hold it on leave no rest. */
static void shared_ports_do_not_rest(void **state)
{
	const struct past pasts[] = { held(80, 0, 50, &nginx), held(80, 10, 20, &curl), held(80, 30, 40, &curl),
				      held(80, 60, 70, &curl) };

	(void)state;
	count(pasts, 4, 0, 100, 300);
	assert_int_equal(row(0, 1)->gaps.count, 1);
	assert_int_equal(row(0, 1)->gaps.min, 10 * SEC);
}

/* Of more ports a history tells in no order of time, and rests were made up: asked for so many at a time. */
static void order_of_time(void **state)
{
	const struct past pasts[] = { held(1, 1, 2, NULL), held(256, 1, 2, NULL), held(257, 1, 2, NULL), held(65535, 1, 2, NULL) };

	(void)state;
	for (int by = STATS_BY_PORT; by <= STATS_BY_PROCESS; by++) {
		options.by = (enum stats_by)by;
		count(pasts, ARRAY_SIZE(pasts), 0, 100, 300);
		assert_int_equal(row(0, by == STATS_BY_PORT ? 4 : 1)->lifetimes, by == STATS_BY_PORT ? 1 : 4);
		assert_int_equal(history.most_ports, by == STATS_BY_PORT ? HISTORY_SORTED : 65535);
		stats_free(&stats);
	}
}

static int no_blind(void *arg, const struct blind *blind)
{
	(void)arg;
	(void)blind;
	return 0;
}

/* A recording of what was asked for is not blind to it. */
static void blind_to_what_was_asked(void **state)
{
	(void)state;
	count(NULL, 0, 0, 100, 300);
	assert_int_equal(stats_past_blind(&past, no_blind, NULL), 0);
	assert_int_equal(history.blind_first, 1);
	assert_int_equal(history.blind_last, 65535);
	options.by_port = true;
	port_set_add(&options.ports, 8080);
	for (uint16_t last = 8080; last <= 8090; last += 10) {
		port_set_add(&options.ports, last);
		assert_int_equal(stats_past_blind(&past, no_blind, NULL), 0);
		assert_int_equal(history.blind_first, 8080);
		assert_int_equal(history.blind_last, last);
	}
}

static void by_process(void **state)
{
	const struct past pasts[] = { held(80, 0, 5, &nginx), held(81, 1, 2, &curl), held(82, 1, 3, &changed),
				      held(83, 1, 4, NULL) };

	(void)state;
	options.by = STATS_BY_PROCESS;
	count(pasts, 4, 0, 100, 300);
	assert_int_equal(row(0, 3)->pid, 0);
	assert_null(row(0, 3)->last_owner);
	assert_int_equal(row(1, 3)->pid, 712);
	assert_int_equal(row(2, 3)->lifetimes, 2);
	assert_int_equal(row(2, 3)->held_ns, 3 * SEC);
	assert_string_equal(row(2, 3)->last_owner->comm, "wget");
}

static void by_destination_and_container(void **state)
{
	struct past pasts[] = { held(80, 0, 5, &nginx), held(81, 1, 2, &curl), held(82, 1, 3, &nginx) };

	(void)state;
	pasts[0].remote = pasts[2].remote = ev_addr("2001:db8::1");
	pasts[0].remote_port = pasts[2].remote_port = 443;
	options.by = STATS_BY_DESTINATION;
	count(pasts, 3, 0, 100, 300);
	assert_int_equal(row(0, 2)->lifetimes, 1);
	assert_int_equal(row(1, 2)->lifetimes, 2);
	assert_int_equal(row(1, 2)->port, 443);
	stats_free(&stats);
	options.by = STATS_BY_CONTAINER;
	count(pasts, 3, 0, 100, 300);
	assert_null(row(0, 2)->container);
	assert_string_equal(row(1, 2)->container, "c0ffee");
}

static uint64_t counted(void)
{
	static const struct past_process nobody = { .pid = 9, .comm = "x" };
	struct past pasts[] = { held(80, 0, 5, &nginx), held(81, 1, 2, &curl), held(82, 1, 3, NULL), held(90, 1, 3, &nobody),
				held(91, 1, 3, &curl) };
	const struct stats_row *const *rows;
	uint64_t sum = 0;
	size_t n;

	pasts[4].proto = IPPROTO_UDP;
	pasts[4].netns++;
	count(pasts, 5, 0, 100, 300);
	assert_int_equal(stats_rows(stats, STATS_KEY, &rows, &n), 0);
	for (size_t i = 0; i < n; i++)
		sum += 1ULL << (rows[i]->port - 80) / 2 * 2;
	stats_free(&stats);
	options = (struct options){ 0 };
	return sum;
}

static void filters(void **state)
{
	/* A bit by port: 80 and 81, 82, 90 and 91. */
	enum { P80 = 1, P82 = 4, P90 = 1 << 10 };

	(void)state;
	assert_int_equal(counted(), 2 * P80 + P82 + 2 * P90);
	options.by_port = true;
	port_set_add(&options.ports, 80);
	port_set_add(&options.ports, 81);
	port_set_add(&options.ports, 90);
	assert_int_equal(counted(), 2 * P80 + P90);
	options.settings.pid[options.settings.pid_count++] = 713;
	options.settings.pid[options.settings.pid_count++] = 9;
	assert_int_equal(counted(), P80 + 2 * P90);
	strcpy(options.settings.comm, "nginx");
	assert_int_equal(counted(), P80);
	options.settings.protos = PW_PROTO_UDP;
	assert_int_equal(counted(), P90);
	options.settings.netns[options.settings.netns_count++] = TEST_NETNS + 1;
	assert_int_equal(counted(), P90);
}

static void denied_calls(void **state)
{
	static const struct options port_80 = { .by_port = true };
	struct past_denial denials[] = {
		{ .time = AT(20), .until = AT(21), .count = 40, .netns = TEST_NETNS, .port = 80, .proto = IPPROTO_TCP, .owner = &nginx },
		{ .time = AT(30), .until = AT(30), .count = 2, .netns = TEST_NETNS, .port = 80, .proto = IPPROTO_TCP, .owner = &curl },
		{ .time = AT(30), .until = AT(30), .count = 7, .netns = TEST_NETNS, .proto = IPPROTO_TCP, .owner = &curl },
		{ .time = AT(200), .until = AT(200), .count = 900, .netns = TEST_NETNS, .port = 80, .proto = IPPROTO_TCP },
	};
	struct past p = held(80, 0, 300, &nginx);

	(void)state;
	for (size_t round = 0; round < 2; round++) {
		if (round) {
			options = port_80;
			port_set_add(&options.ports, 80);
		}
		history = (struct history){ .pasts = &p, .past_count = 1, .denials = denials, .denial_count = ARRAY_SIZE(denials) };
		options.since = AT(10);
		options.until = AT(100);
		stats = stats_new(STATS_BY_PORT, &past_stats_ops, &crowd);
		past = (struct stats_past){ .stats = stats, .crowd = &crowd, .history = &history, .options = &options };
		assert_int_equal(stats_past_count(&past), 0);
		/* Whichever there was comes first, and not where one port was asked for. */
		assert_int_equal(row(1 - round, 2 - round)->denials, 42);
		assert_int_equal(row(1 - round, 2 - round)->lifetimes, 1);
		if (!round)
			assert_int_equal(row(0, 2)->denials, 7);
		stats_free(&stats);
	}
}

/* Who was denied a port of somebody unknown never had it. */
static void denied_caller_is_no_owner(void **state)
{
	const struct past_denial denial = { .time = AT(20), .until = AT(20), .count = 1, .netns = TEST_NETNS, .port = 80,
					    .proto = IPPROTO_TCP, .owner = &curl };
	const struct past p = held(80, 0, 300, NULL);

	(void)state;
	for (size_t lifetimes = 0; lifetimes < 2; lifetimes++) {
		history = (struct history){ .pasts = &p, .past_count = lifetimes, .denials = &denial, .denial_count = 1 };
		options.since = T0;
		stats = stats_new(STATS_BY_PORT, &past_stats_ops, &crowd);
		past = (struct stats_past){ .stats = stats, .crowd = &crowd, .history = &history, .options = &options, .now = AT(300) };
		assert_int_equal(stats_past_count(&past), 0);
		assert_int_equal(row(0, 1)->denials, 1);
		assert_int_equal(!row(0, 1)->last_owner, lifetimes);
		stats_free(&stats);
	}
}

static void cgroups(void **state)
{
	static const struct {
		const char *path;
		uint64_t found;
	} rows[] = {
		{ "/", 2 + 1024 }, { "/system.slice", 1 }, { "system.slice/", 1 }, { "/system.slice/nginx.service", 1 },
		{ "/sys/fs/cgroup/system.slice", 1 }, { "/sys/fs/cgroup", 2 + 1024 }, { "/system.sli", 0 },
		{ "/system.slice/nginx.service/x", 0 }, { "user.slice", 1 + 1024 }, { "/sys/fs/cgroups", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t found;

		options.cgroup = rows[i].path;
		found = counted();
		if (found != rows[i].found)
			fail_msg("%s: %llu", rows[i].path, (unsigned long long)found);
	}
}

static void without_memory_it_is_said(void **state)
{
	const struct past p = held(80, 0, 5, &nginx);
	bool whole = false;

	(void)state;
	for (size_t n = 0; !whole; n++) {
		stats = stats_new(STATS_BY_PORT, &past_stats_ops, &crowd);
		history = (struct history){ .pasts = &p, .past_count = 1 };
		options.since = T0;
		past = (struct stats_past){ .stats = stats, .crowd = &crowd, .history = &history, .options = &options };
		past.now = AT(300);
		unit_fail_after(n);
		assert_int_equal(stats_past_count(&past), 0);
		unit_fail_never();
		whole = !past.not_counted;
		stats_free(&stats);
		crowd_done(&crowd);
	}
}

static void errors_of_the_history(void **state)
{
	const struct past p = held(80, 0, 5, &nginx);

	(void)state;
	count(&p, 1, 0, 100, 300);
	history.error = -EBADMSG;
	assert_int_equal(stats_past_count(&past), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, done)

static const struct CMUnitTest tests[] = {
	TEST(lifetimes_in_and_across_the_time), TEST(whole_ones_by_the_clock_that_nobody_sets),
	TEST(what_is_not_known_is_no_length), TEST(shared_ports_do_not_rest), TEST(order_of_time),
	TEST(blind_to_what_was_asked), TEST(by_process),
	TEST(by_destination_and_container), TEST(filters), TEST(denied_calls),
	TEST(denied_caller_is_no_owner), TEST(cgroups), TEST(without_memory_it_is_said),
	TEST(errors_of_the_history), TEST(crowds_are_bounded),
};

UNIT_MAIN(tests)
