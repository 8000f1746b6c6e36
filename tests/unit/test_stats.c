/* SPDX-License-Identifier: GPL-2.0 */
/* Lifetimes added up, beside an arithmetic of the test's own. */
#include "user/stats.h"

#include "tests/unit/events.h"
#include "tests/unit/unit.h"

/* stats only hands it through. */
struct process {
	uint32_t pid;
	uint64_t start;
	const char *container;
	int refs;
};

static struct process *on_ref(void *arg, struct process *process)
{
	(void)arg;
	if (process)
		process->refs++;
	return process;
}

static void on_put(void *arg, struct process *process)
{
	(void)arg;
	if (process)
		process->refs--;
}

static void on_process(const struct process *process, uint32_t *pid, uint64_t *start, const char **container)
{
	*pid = process->pid;
	*start = process->start;
	*container = process->container;
}

static const struct stats_ops ops = { .ref = on_ref, .put = on_put, .process = on_process };

static struct stats *fresh(enum stats_by by)
{
	struct stats *s = stats_new(by, &ops, NULL);

	assert_non_null(s);
	return s;
}

static struct lifetime life(uint16_t port, uint64_t since, struct process *owner)
{
	return (struct lifetime){
		.cookie = 7, .generation = 1, .netns = TEST_NETNS, .proto = IPPROTO_TCP, .port = port, .since = since,
		.seen = since, .owner = owner, .addr = ev_addr("127.0.0.1"),
	};
}

static int change(struct stats *s, enum what what, struct lifetime *l, uint64_t time)
{
	struct change c = { .what = what, .time = time, .lifetime = l, .exact = true };

	return stats_change(s, &c);
}

static void whole(struct stats *s, struct lifetime *l, uint64_t until)
{
	assert_int_equal(change(s, WHAT_ALLOCATE, l, l->since), 0);
	assert_int_equal(change(s, WHAT_RELEASE, l, until), 0);
}

static size_t rows_of(struct stats *s, enum stats_sort sort, const struct stats_row *const **rows)
{
	size_t count;

	assert_int_equal(stats_rows(s, sort, rows, &count), 0);
	return count;
}

static const struct stats_row *only_row(struct stats *s)
{
	const struct stats_row *const *rows;

	assert_int_equal(rows_of(s, STATS_KEY, &rows), 1);
	return rows[0];
}

/* ---- names ---- */

static void names_go_there_and_back(void **state)
{
	(void)state;
	for (enum stats_by by = 0; by < STATS_BY_END; by++) {
		enum stats_by back = STATS_BY_END;

		assert_non_null(stats_by_name(by));
		assert_int_equal(stats_by_of(stats_by_name(by), &back), 0);
		assert_int_equal(back, by);
	}
	assert_null(stats_by_name(STATS_BY_END));
	assert_string_equal(stats_by_name(STATS_BY_DESTINATION), "destination");
}

static void sort_names(void **state)
{
	static const char *const names[STATS_SORT_END] = { "lifetimes", "now", "held", "longest", "key" };
	enum stats_sort sort;

	(void)state;
	for (size_t i = 0; i < STATS_SORT_END; i++) {
		assert_int_equal(stats_sort_of(names[i], &sort), 0);
		assert_int_equal(sort, i);
	}
}

static void what_is_no_name_is_refused(void **state)
{
	enum stats_by by = STATS_BY_PROCESS;
	enum stats_sort sort = STATS_HELD;

	(void)state;
	assert_int_equal(stats_by_of("", &by), -EINVAL);
	assert_int_equal(stats_by_of("por", &by), -EINVAL);
	assert_int_equal(stats_by_of("Port", &by), -EINVAL);
	assert_int_equal(stats_sort_of("ports", &sort), -EINVAL);
	assert_int_equal(by, STATS_BY_PROCESS);
	assert_int_equal(sort, STATS_HELD);
}

/* ---- what is counted ---- */

static void one_lifetime(void **state)
{
	struct process owner = { .pid = 9 };
	struct lifetime l = life(40000, 1000, &owner);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *row;

	(void)state;
	whole(s, &l, 6000);
	row = only_row(s);
	assert_int_equal(row->port, 40000);
	assert_int_equal(row->proto, IPPROTO_TCP);
	assert_int_equal(row->netns, TEST_NETNS);
	assert_int_equal(row->lifetimes, 1);
	assert_int_equal(row->now, 0);
	assert_int_equal(row->held_ns, 5000);
	assert_int_equal(row->held.count, 1);
	assert_int_equal(row->held.min, 5000);
	assert_int_equal(row->held.max, 5000);
	assert_int_equal(row->gaps.count, 0);
	assert_ptr_equal(row->last_owner, &owner);
}

static void unknown_beginning_counts_without_a_length(void **state)
{
	struct lifetime l = life(40000, 0, NULL);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *row;

	(void)state;
	whole(s, &l, 6000);
	row = only_row(s);
	assert_int_equal(row->lifetimes, 1);
	assert_int_equal(row->held_ns, 0);
	assert_int_equal(row->held.count, 0);
	assert_null(row->last_owner);
}

static void other_changes_count_nothing(void **state)
{
	struct lifetime l = life(40000, 1000, NULL);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *const *rows;

	(void)state;
	assert_int_equal(change(s, WHAT_ALLOCATE, &l, 1000), 0);
	assert_int_equal(change(s, WHAT_LISTEN, &l, 1001), 0);
	assert_int_equal(change(s, WHAT_CLOSE, &l, 1002), 0);
	assert_int_equal(change(s, WHAT_TIME_WAIT, &l, 1003), 0);
	assert_int_equal(change(s, WHAT_READY, NULL, 1004), 0);
	assert_int_equal(change(s, WHAT_GAP, NULL, 1005), 0);
	assert_int_equal(rows_of(s, STATS_KEY, &rows), 0);
}

static void denials_are_counted_by_every_key(void **state)
{
	struct event e = ev_sock(0, 7001, 1000);
	struct change c = { .what = WHAT_DENIED, .time = 1000, .denied = &e };

	(void)state;
	e.remote = ev_addr("192.0.2.7");
	e.remote_port = 443;
	for (enum stats_by by = STATS_BY_PORT; by < STATS_BY_END; by++) {
		_cleanup_stats_ struct stats *s = fresh(by);
		struct lifetime l = life(7002, 500, NULL);
		const struct stats_row *row;

		assert_int_equal(stats_change(s, &c), 0);
		assert_int_equal(stats_change(s, &c), 0);
		row = only_row(s);
		assert_int_equal(row->denials, 2);
		assert_int_equal(row->lifetimes, 0);
		assert_int_equal(row->port, by == STATS_BY_PORT ? 7001 : by == STATS_BY_DESTINATION ? 443 : 0);
		whole(s, &l, 900);
		unit_fail_after(0);
		if (by == STATS_BY_PORT) {
			e.port = 7003;
			assert_int_equal(stats_change(s, &c), -ENOMEM);
			e.port = 7001;
		}
		unit_fail_never();
	}
}

static void what_lasts_is_counted_at_the_end(void **state)
{
	struct process owner = { .pid = 9 };
	struct lifetime known = life(40000, 1000, &owner), before = life(40000, 0, NULL);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *row;

	(void)state;
	assert_int_equal(stats_held(s, &known, 5000), 0);
	assert_int_equal(stats_held(s, &before, 5000), 0);
	row = only_row(s);
	assert_int_equal(row->lifetimes, 2);
	assert_int_equal(row->now, 2);
	assert_int_equal(row->held_ns, 4000);
	/* How long it will have been is not known yet. */
	assert_int_equal(row->held.count, 0);
	assert_ptr_equal(row->last_owner, &owner);
}

static void reuse_is_from_release_to_the_next_allocation(void **state)
{
	struct lifetime first = life(40000, 1000, NULL), second = life(40000, 3500, NULL), third = life(40000, 9000, NULL);
	struct lifetime other = life(40001, 2100, NULL), udp = life(40000, 2200, NULL);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *const *rows;

	(void)state;
	udp.proto = IPPROTO_UDP;
	whole(s, &first, 2000);
	whole(s, &other, 2150);
	whole(s, &udp, 2250);
	whole(s, &second, 4000);
	whole(s, &third, 9100);
	assert_int_equal(rows_of(s, STATS_LIFETIMES, &rows), 3);
	assert_int_equal(rows[0]->lifetimes, 3);
	assert_int_equal(rows[0]->gaps.count, 2);
	assert_int_equal(rows[0]->gaps.min, 1500);
	assert_int_equal(rows[0]->gaps.max, 5000);
	assert_int_equal(rows[1]->gaps.count, 0);
	assert_int_equal(rows[2]->gaps.count, 0);
}

/* A port that several share rests from one release to one allocation. */
static void reuse_is_counted_once(void **state)
{
	struct lifetime first = life(40000, 1000, NULL), second = life(40000, 3000, NULL), third = life(40000, 3500, NULL);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);

	(void)state;
	whole(s, &first, 2000);
	assert_int_equal(change(s, WHAT_ALLOCATE, &second, 3000), 0);
	assert_int_equal(change(s, WHAT_ALLOCATE, &third, 3500), 0);
	assert_int_equal(only_row(s)->gaps.count, 1);
	assert_int_equal(only_row(s)->gaps.max, 1000);
}

static void only_ports_are_reused(void **state)
{
	struct process owner = { .pid = 9 };
	struct lifetime first = life(40000, 1000, &owner), second = life(40000, 3000, &owner);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PROCESS);

	(void)state;
	whole(s, &first, 2000);
	whole(s, &second, 4000);
	assert_int_equal(only_row(s)->lifetimes, 2);
	assert_int_equal(only_row(s)->gaps.count, 0);
}

static void last_owner_is_of_the_latest_allocation(void **state)
{
	struct process early = { .pid = 1 }, late = { .pid = 2 };
	struct lifetime first = life(40000, 1000, &early), second = life(40000, 2000, &late);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);

	(void)state;
	whole(s, &second, 2500);
	whole(s, &first, 3000);
	assert_ptr_equal(only_row(s)->last_owner, &late);
	assert_int_equal(late.refs, 1);
	assert_int_equal(early.refs, 0);
	stats_free(&s);
	assert_int_equal(late.refs, 0);
}

/* ---- keys ---- */

static void namespaces_and_protocols_are_apart(void **state)
{
	struct lifetime l[3] = { life(40000, 1000, NULL), life(40000, 1000, NULL), life(40000, 1000, NULL) };
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *const *rows;

	(void)state;
	l[1].netns++;
	l[2].proto = IPPROTO_UDP;
	for (size_t i = 0; i < 3; i++)
		whole(s, &l[i], 2000);
	assert_int_equal(rows_of(s, STATS_KEY, &rows), 3);
	assert_int_equal(rows[0]->netns, TEST_NETNS);
	assert_int_equal(rows[1]->netns, TEST_NETNS + 1);
	assert_int_equal(rows[2]->proto, IPPROTO_UDP);
}

static void one_number_is_two_processes(void **state)
{
	struct process before = { .pid = 9, .start = 100 }, after = { .pid = 9, .start = 200 };
	struct lifetime l[3] = { life(40000, 1000, &after), life(40001, 1000, &before), life(40002, 1000, NULL) };
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PROCESS);
	const struct stats_row *const *rows;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		whole(s, &l[i], 2000);
	assert_int_equal(rows_of(s, STATS_KEY, &rows), 3);
	assert_int_equal(rows[0]->pid, 0);
	assert_int_equal(rows[1]->pid, 9);
	assert_int_equal(rows[1]->start, 100);
	assert_int_equal(rows[2]->start, 200);
	/* Ports are no part of this key, nor are gaps told. */
	assert_int_equal(rows[1]->port, 0);
	assert_int_equal(rows[1]->gaps.count, 0);
}

static void destinations(void **state)
{
	struct lifetime l[4];
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_DESTINATION);
	const struct stats_row *const *rows;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		l[i] = life((uint16_t)(40000 + i), 1000, NULL);
	l[0].remote = l[1].remote = ev_addr("93.184.216.34");
	l[2].remote = ev_addr("2001:db8::1");
	l[0].remote_port = l[1].remote_port = l[2].remote_port = 443;
	for (size_t i = 0; i < 4; i++)
		whole(s, &l[i], 2000);
	assert_int_equal(rows_of(s, STATS_LIFETIMES, &rows), 3);
	assert_int_equal(rows[0]->lifetimes, 2);
	assert_int_equal(rows[0]->port, 443);
	assert_int_equal(rows[0]->remote.family, AF_INET);
	/* What has no destination shares a row whatever its port. */
	assert_int_equal(rows[1]->remote.family + rows[2]->remote.family, AF_INET6);
}

static void containers(void **state)
{
	struct process in = { .pid = 1, .container = "c0ffee" }, same = { .pid = 2, .container = "c0ffee" };
	struct process other = { .pid = 3, .container = "beef" }, none = { .pid = 4 };
	struct lifetime l[5] = { life(1, 1000, &in), life(2, 1000, &same), life(3, 1000, &other), life(4, 1000, &none),
				 life(5, 1000, NULL) };
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_CONTAINER);
	const struct stats_row *const *rows;

	(void)state;
	for (size_t i = 0; i < 5; i++)
		whole(s, &l[i], 2000);
	assert_int_equal(rows_of(s, STATS_KEY, &rows), 3);
	assert_null(rows[0]->container);
	assert_int_equal(rows[0]->lifetimes, 2);
	assert_string_equal(rows[1]->container, "beef");
	assert_string_equal(rows[2]->container, "c0ffee");
	assert_int_equal(rows[2]->lifetimes, 2);
}

/* ---- order ---- */

static void each_order(void **state)
{
	static const uint16_t expected[STATS_SORT_END][3] = {
		[STATS_LIFETIMES] = { 3, 1, 2 }, [STATS_NOW] = { 2, 1, 3 }, [STATS_HELD] = { 1, 2, 3 },
		[STATS_LONGEST] = { 1, 3, 2 }, [STATS_KEY] = { 1, 2, 3 },
	};
	struct lifetime one = life(1, 1000, NULL), two = life(2, 1000, NULL), three = life(3, 1000, NULL);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *const *rows;

	(void)state;
	whole(s, &one, 9000);
	whole(s, &one, 9000);
	assert_int_equal(stats_held(s, &two, 5000), 0);
	for (int i = 0; i < 3; i++)
		whole(s, &three, 1001);
	for (enum stats_sort sort = 0; sort < STATS_SORT_END; sort++) {
		assert_int_equal(rows_of(s, sort, &rows), 3);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(rows[i]->port, expected[sort][i]);
	}
}

/* ---- bound ---- */

/* Keys beyond the bound share a row; those that were first keep theirs. */
static void keys_past_the_bound_share_a_row(void **state)
{
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *const *rows;
	const uint32_t extra = 50;
	uint64_t sum = 0;
	size_t count;

	(void)state;
	for (uint32_t i = 0; i < STATS_ROWS + extra; i++) {
		struct lifetime l = life((uint16_t)(i % 60000 + 1), 1000 + 10 * i, NULL);

		l.netns += i / 60000;
		whole(s, &l, 1005 + 10 * i);
	}
	count = rows_of(s, STATS_KEY, &rows);
	assert_int_equal(count, STATS_ROWS + 1);
	for (size_t i = 0; i < count; i++)
		sum += rows[i]->lifetimes;
	assert_int_equal(sum, STATS_ROWS + extra);
	assert_true(rows[count - 1]->other);
	assert_int_equal(rows[count - 1]->lifetimes, extra);
	/* Ports of all kinds are in it: from one to the next is no reuse. */
	assert_int_equal(rows[count - 1]->gaps.count, 0);
}

/* ---- an arithmetic of its own ---- */

#define MANY	20000
#define PORTS	5

struct sums {
	uint64_t values[MANY], gaps[MANY];
	size_t count, gap_count;
	uint64_t held, released_at;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void check_percentile(const struct hist *h, const uint64_t *sorted, size_t count, double q)
{
	size_t rank = (size_t)(q * (double)count);
	uint64_t truth, told = hist_percentile(h, q), off;

	if ((double)rank < q * (double)count)
		rank++;
	truth = sorted[rank ? rank - 1 : 0];
	off = told > truth ? told - truth : truth - told;
	if (off * 100 > truth)
		fail_msg("percentile %g: %llu, truth %llu", q, (unsigned long long)told, (unsigned long long)truth);
}

static void check_sums(const struct stats_row *row, struct sums *sums)
{
	qsort(sums->values, sums->count, sizeof(sums->values[0]), compare);
	qsort(sums->gaps, sums->gap_count, sizeof(sums->gaps[0]), compare);
	assert_int_equal(row->lifetimes, sums->count);
	assert_int_equal(row->held_ns, sums->held);
	assert_int_equal(row->held.count, sums->count);
	assert_int_equal(row->held.min, sums->values[0]);
	assert_int_equal(row->held.max, sums->values[sums->count - 1]);
	check_percentile(&row->held, sums->values, sums->count, 0.5);
	check_percentile(&row->held, sums->values, sums->count, 0.99);
	assert_int_equal(row->gaps.count, sums->gap_count);
	assert_int_equal(row->gaps.min, sums->gaps[0]);
	check_percentile(&row->gaps, sums->gaps, sums->gap_count, 0.5);
}

static void sums_are_those_of_plain_arithmetic(void **state)
{
	static struct sums sums[PORTS];
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *const *rows;
	uint64_t random = 3, now = 1000;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		size_t which = unit_random(&random) % PORTS;
		struct sums *sum = &sums[which];
		/* From a microsecond to some minutes, as lifetimes are. */
		uint64_t held = 1000 + unit_random(&random) % (1ULL << (10 + unit_random(&random) % 28));
		struct lifetime l = life((uint16_t)(which + 1), now += unit_random(&random) % 1000000, NULL);

		if (sum->released_at)
			sum->gaps[sum->gap_count++] = now - sum->released_at;
		whole(s, &l, now += held);
		sum->released_at = now;
		sum->values[sum->count++] = held;
		sum->held += held;
	}
	assert_int_equal(rows_of(s, STATS_KEY, &rows), PORTS);
	for (size_t i = 0; i < PORTS; i++)
		check_sums(rows[i], &sums[i]);
}

/* ---- without memory ---- */

/* Every allocation fails in turn: what was counted is what returned 0, and no reference is lost. */
static uint64_t feed_some(struct stats *s, struct process *owners, size_t count)
{
	uint64_t counted = 0;

	for (size_t i = 0; i < 60; i++) {
		struct lifetime l = life((uint16_t)(i % 7 + 1), 1000 * i + 1, &owners[i % count]);

		if (i % 3)
			l.remote = ev_addr("127.0.0.2");
		change(s, WHAT_ALLOCATE, &l, l.since);
		if (i % 5 == 0)
			counted += !stats_held(s, &l, l.since + i);
		else
			counted += !change(s, WHAT_RELEASE, &l, l.since + i * i * 1000);
	}
	return counted;
}

static uint64_t sum_of(struct stats *s)
{
	const struct stats_row *const *rows;
	uint64_t sum = 0;
	size_t count;

	count = rows_of(s, STATS_LIFETIMES, &rows);
	for (size_t i = 0; i < count; i++) {
		sum += rows[i]->lifetimes;
		assert_int_equal(rows[i]->held.count + rows[i]->now, rows[i]->lifetimes);
	}
	return sum;
}

static void check_without_memory(enum stats_by by, size_t k, uint64_t *counted)
{
	struct process owners[3] = { { .pid = 1, .container = "a" }, { .pid = 2, .container = "b" }, { .pid = 3 } };
	_cleanup_stats_ struct stats *s = fresh(by);

	unit_fail_after(k);
	*counted = feed_some(s, owners, ARRAY_SIZE(owners));
	unit_fail_never();
	assert_int_equal(sum_of(s), *counted);
	stats_free(&s);
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		assert_int_equal(owners[i].refs, 0);
}

static void no_memory_counts_nothing_by_halves(void **state)
{
	(void)state;
	for (enum stats_by by = 0; by < STATS_BY_END; by++) {
		uint64_t counted = 0;
		size_t k;

		for (k = 0; counted < 60 && k < 1000; k++)
			check_without_memory(by, k, &counted);
		assert_int_equal(counted, 60);
	}
}

static void no_memory_for_rows(void **state)
{
	struct lifetime l = life(40000, 1000, NULL);
	_cleanup_stats_ struct stats *s = fresh(STATS_BY_PORT);
	const struct stats_row *const *rows;
	size_t count;

	(void)state;
	whole(s, &l, 2000);
	unit_fail_after(0);
	assert_int_equal(stats_rows(s, STATS_KEY, &rows, &count), -ENOMEM);
	assert_null(stats_new(STATS_BY_PORT, &ops, NULL));
	unit_fail_never();
	assert_int_equal(rows_of(s, STATS_KEY, &rows), 1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names_go_there_and_back),
	cmocka_unit_test(sort_names),
	cmocka_unit_test(what_is_no_name_is_refused),
	cmocka_unit_test(one_lifetime),
	cmocka_unit_test(unknown_beginning_counts_without_a_length),
	cmocka_unit_test(other_changes_count_nothing),
	cmocka_unit_test(denials_are_counted_by_every_key),
	cmocka_unit_test(what_lasts_is_counted_at_the_end),
	cmocka_unit_test(reuse_is_from_release_to_the_next_allocation),
	cmocka_unit_test(reuse_is_counted_once),
	cmocka_unit_test(only_ports_are_reused),
	cmocka_unit_test(last_owner_is_of_the_latest_allocation),
	cmocka_unit_test(namespaces_and_protocols_are_apart),
	cmocka_unit_test(one_number_is_two_processes),
	cmocka_unit_test(destinations),
	cmocka_unit_test(containers),
	cmocka_unit_test(each_order),
	cmocka_unit_test(keys_past_the_bound_share_a_row),
	cmocka_unit_test(sums_are_those_of_plain_arithmetic),
	cmocka_unit_test(no_memory_counts_nothing_by_halves),
	cmocka_unit_test(no_memory_for_rows),
};

UNIT_MAIN(tests)
