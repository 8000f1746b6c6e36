/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracker beside its slow honest twin, on random streams of statements: as the kernel makes them, as they arrive
 * after losses, and wild ones; then again with an allocator that fails. SEED=N runs one seed of each test alone and
 * prints what is fed and told.
 */
#include "user/lifetime.h"

#include <inttypes.h>

#include "tests/unit/events.h"
#include "tests/unit/stream.h"
#include "tests/unit/told.h"
#include "tests/unit/twin.h"
#include "tests/unit/unit.h"

#define SEEDS		3000
#define STEPS		150
#define LIVES		1024

/* One lifetime as far as it was told. */
struct life_told {
	uint64_t cookie, time;
	uint32_t generation;
	bool released;
};

struct pair {
	struct stream stream;
	struct telling telling;
	struct twin twin;
	struct life_told lives[LIVES];
	size_t life_count;
	uint64_t closed[LIVES];	/* cookies */
	size_t closed_count;
	size_t begun, released, live_tcp;
	uint64_t no_memory;
	bool ordered;		/* the statements come in the order of their times */
	bool verbose;
	char why[200];		/* empty: all is well */
};

static const struct stream_noise calm = { .rows = 2 };
static const struct stream_noise doubled = { .repeated = 30, .swapped = 10, .rows = 4 };
static const struct stream_noise lossy = { .lost = 15, .repeated = 10, .swapped = 5, .rows = 10 };
static const struct stream_noise wild = { .wild = true };

#define GO_WRONG(pair, ...) snprintf((pair)->why, sizeof((pair)->why), __VA_ARGS__)

/* ---- what must hold of what is told, whoever is right ---- */

static struct life_told *find_told(struct pair *p, const struct told *told)
{
	for (size_t i = p->life_count; i-- > 0;)
		if (p->lives[i].cookie == told->cookie && p->lives[i].generation == told->generation)
			return &p->lives[i];
	return NULL;
}

static void check_begin(struct pair *p, const struct told *told, struct life_told *life)
{
	if (life)
		GO_WRONG(p, "begun twice");
	else if (p->life_count == LIVES)
		GO_WRONG(p, "more lifetimes than the test has room for");
	else
		p->lives[p->life_count++] = (struct life_told){ told->cookie, told->time, told->generation, false };
	p->begun++;
	p->live_tcp += told->what == WHAT_ALLOCATE && told->proto == IPPROTO_TCP;
}

static void check_told(struct pair *p, const struct told *told)
{
	struct life_told *life = find_told(p, told);

	if (told->what == WHAT_PRESENT || told->what == WHAT_ALLOCATE) {
		check_begin(p, told, life);
		return;
	}
	if (!life)
		GO_WRONG(p, "told of before its beginning");
	else if (life->released)
		GO_WRONG(p, "told of after its release");
	else if (p->ordered && told->time < life->time)
		GO_WRONG(p, "time runs backwards in a lifetime");
	if (p->why[0])
		return;
	life->time = told->time;
	life->released = told->what == WHAT_RELEASE;
	p->released += life->released;
	if ((told->what == WHAT_RELEASE) != (told->cause != CAUSE_NONE))
		GO_WRONG(p, "a release without a cause, or the other way round");
}

/* ---- the two beside each other ---- */

static int by_lifetime(const struct told *a, const struct told *b)
{
	if (a->cookie != b->cookie)
		return a->cookie < b->cookie ? -1 : 1;
	return a->generation < b->generation ? -1 : a->generation > b->generation;
}

/* What one statement tells of several lifetimes has no order among them; of one it has. */
static void sort_told(struct told *told, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t j = i; j > 0 && by_lifetime(&told[j - 1], &told[j]) > 0; j--) {
			struct told other = told[j];

			told[j] = told[j - 1];
			told[j - 1] = other;
		}
}

static void print_told(const struct pair *p)
{
	for (size_t i = 0; i < p->telling.count; i++)
		told_print("tracker", &p->telling.told[i]);
	for (size_t i = 0; i < p->twin.told_count; i++)
		told_print("twin", &p->twin.told[i]);
}

static void compare_told(struct pair *p)
{
	size_t count = p->telling.count;

	for (size_t i = 0; i < count; i++)
		check_told(p, &p->telling.told[i]);
	sort_told(p->telling.told, count);
	sort_told(p->twin.told, p->twin.told_count);
	if (count != p->twin.told_count)
		GO_WRONG(p, "told %zu changes, twin %zu", count, p->twin.told_count);
	for (size_t i = 0; i < count && !p->why[0]; i++)
		if (!told_same(&p->telling.told[i], &p->twin.told[i]))
			GO_WRONG(p, "change %zu differs", i);
	if (p->verbose || p->why[0])
		print_told(p);
	p->telling.count = 0;
	p->twin.told_count = 0;
}

static bool same_life(const struct lifetime *l, const struct twin_life *life)
{
	struct told now;

	told_lifetime(l, &now);
	return told_same(&now, &life->is) && (!(l->holds & HOLD_TW) || l->tw == life->tw);
}

static void compare_lives(struct pair *p)
{
	struct tracker *tracker = p->telling.tracker;
	size_t live = 0, walked = 0;

	for (size_t i = 0; i < p->twin.count && !p->why[0]; i++) {
		const struct twin_life *life = &p->twin.lives[i];
		const struct lifetime *l;

		if (life->over)
			continue;
		live++;
		l = tracker_find(tracker, life->is.cookie, life->is.generation);
		if (!l || !tracker_knows(tracker, life->is.cookie))
			GO_WRONG(p, "(%" PRIu64 ", %u) is gone", life->is.cookie, life->is.generation);
		else if (!same_life(l, life))
			GO_WRONG(p, "(%" PRIu64 ", %u) differs, holds %u and %u", life->is.cookie,
				 life->is.generation, l->holds, life->is.holds);
	}
	for (const struct lifetime *l = tracker_first(tracker); l; l = l->all_next)
		walked++;
	if (!p->why[0] && (live != tracker_count(tracker) || live != walked || live != p->begun - p->released))
		GO_WRONG(p, "%zu live, counted %zu, walked %zu, begun %zu, released %zu", live,
			 tracker_count(tracker), walked, p->begun, p->released);
}

static size_t twins_of_port(const struct twin *twin, uint32_t netns, uint8_t proto, uint16_t port)
{
	size_t count = 0;

	for (size_t i = 0; i < twin->count; i++) {
		const struct told *is = &twin->lives[i].is;

		count += !twin->lives[i].over && is->netns == netns && is->proto == proto && is->port == port;
	}
	return count;
}

static void compare_port(struct pair *p, const struct told *key)
{
	size_t count = 0;

	for (const struct lifetime *l = tracker_port(p->telling.tracker, key->netns, key->proto, key->port); l;
	     l = tracker_port_next(p->telling.tracker, l)) {
		if (l->netns != key->netns || l->proto != key->proto || l->port != key->port)
			GO_WRONG(p, "port %u lists a lifetime of port %u", key->port, l->port);
		count++;
	}
	if (count != twins_of_port(&p->twin, key->netns, key->proto, key->port))
		GO_WRONG(p, "port %u lists %zu", key->port, count);
}

static void compare(struct pair *p)
{
	compare_told(p);
	compare_lives(p);
	/* A few ports, also of those that are over. */
	for (size_t i = p->twin.count; i > 0 && p->twin.count - i < 8 && !p->why[0]; i--)
		compare_port(p, &p->twin.lives[i - 1].is);
}

/* ---- steps ---- */

static void print_event(const struct event *e)
{
	static const char *const kinds[] = { "none", "sock", "free", "close", "tw_start", "tw_end", "process" };

	fprintf(stderr, "%s cookie %" PRIu64 " port %u netns %u proto %u how %u flags %u state %u error %u sk %" PRIx64
		" tw %" PRIx64 " remote %u pid %u time %" PRIu64 "\n", kinds[e->kind], e->cookie, e->port, e->netns,
		e->proto, e->how, e->flags, e->state, e->error, e->sk, e->tw, e->remote_port, e->process.pid, e->time);
}

/* What is not taken in for want of memory begins nothing: all else that it says stays said. */
static void feed_twin_without_memory(struct twin *twin, struct event e)
{
	twin->told_count = 0;
	if (e.state == STATE_TIME_WAIT)
		return;
	e.flags |= PW_F_UPDATE;
	twin_feed(twin, &e);
}

/*
 * A socket that closed and holds nothing is forgotten, and its generations with it. Only a row of a TIME_WAIT whose
 * beginning was lost can still speak of it then.
 */
static bool is_forgotten(const struct pair *p, const struct event *e)
{
	bool closed = false;

	for (size_t i = 0; i < p->closed_count; i++)
		closed |= p->closed[i] == e->cookie;
	return closed && e->kind == PW_SOCK && !tracker_knows(p->telling.tracker, e->cookie);
}

static void note_closed(struct pair *p, const struct event *e)
{
	if (e->kind == PW_CLOSE && p->closed_count < LIVES)
		p->closed[p->closed_count++] = e->cookie;
}

static void step_event(struct pair *p, const struct event *e)
{
	int r;

	note_closed(p, e);
	if (is_forgotten(p, e))
		return;
	r = tracker_feed(p->telling.tracker, e);
	if (p->verbose)
		print_event(e);
	if (r && r != -ENOMEM)
		GO_WRONG(p, "tracker_feed() returned %d", r);
	p->no_memory += r != 0;
	if (r)
		feed_twin_without_memory(&p->twin, *e);
	else
		twin_feed(&p->twin, e);
	compare(p);
}

static void look_at(struct pair *p, const struct twin_life *life, enum hold hold)
{
	struct lifetime *l = tracker_find(p->telling.tracker, life->is.cookie, life->is.generation);
	uint64_t object;

	if (!l || !(l->holds & hold))
		return;
	object = hold == HOLD_TW ? l->tw : l->sk;
	if (stream_holds(&p->stream, object, l->cookie, l->port))
		return;
	if (p->verbose)
		fprintf(stderr, "look: (%" PRIu64 ", %u) lost its hold %u\n", l->cookie, l->generation, hold);
	tracker_lost(p->telling.tracker, l, hold, CAUSE_UNKNOWN, p->stream.time);
	twin_lost(&p->twin, life->is.cookie, life->is.generation, hold, CAUSE_UNKNOWN, p->stream.time);
	compare(p);
}

/* The stream may be ahead of what was fed: a look is right only when its queue is empty. */
static void step_look(struct pair *p)
{
	for (size_t i = 0; i < p->twin.count && !p->stream.queue_count && !p->why[0]; i++) {
		if (!p->twin.lives[i].over)
			look_at(p, &p->twin.lives[i], HOLD_TW);
		if (!p->twin.lives[i].over && !p->why[0])
			look_at(p, &p->twin.lives[i], HOLD_SOCK);
	}
}

static void take_step(struct pair *p, const struct step *step)
{
	switch (step->kind) {
	case STEP_EVENT:
		step_event(p, &step->event);
		break;
	case STEP_LOOK:
		step_look(p);
		break;
	case STEP_STARTING:
	case STEP_STARTED:
		if (p->verbose)
			fprintf(stderr, "%s\n", step->kind == STEP_STARTING ? "starting" : "started");
		p->twin.starting = step->kind == STEP_STARTING;
		tracker_starting(p->telling.tracker, p->twin.starting);
		break;
	}
}

/* ---- runs ---- */

static void pair_begin(struct pair *p, uint64_t seed, const struct stream_noise *noise)
{
	memset(p, 0, sizeof(*p));
	p->verbose = getenv("SEED");
	p->ordered = !noise->swapped;
	stream_begin(&p->stream, seed, noise);
	if (!telling_begin(&p->telling))
		GO_WRONG(p, "no tracker");
}

static void pair_run(struct pair *p, size_t steps)
{
	struct step step;

	for (size_t i = 0; i < steps && !p->why[0]; i++) {
		stream_next(&p->stream, &step);
		take_step(p, &step);
	}
}

/* All sockets close, all TIME_WAITs end, and a last look finds what nothing told of. */
static void pair_wind_down(struct pair *p)
{
	static const struct step last = { .kind = STEP_LOOK };
	struct step step;

	while (!p->why[0] && stream_end(&p->stream, &step))
		take_step(p, &step);
	if (!p->why[0])
		take_step(p, &last);
	if (!p->why[0] && tracker_count(p->telling.tracker))
		GO_WRONG(p, "%zu lifetimes outlive their sockets", tracker_count(p->telling.tracker));
}

static void pair_end(struct pair *p, uint64_t seed, const char *test)
{
	telling_end(&p->telling);
	if (!p->why[0] && p->telling.owners != p->telling.puts)
		GO_WRONG(p, "%" PRIu64 " owners taken, %" PRIu64 " given back", p->telling.owners, p->telling.puts);
	telling_done(&p->telling);
	twin_done(&p->twin);
	unit_fail_never();
	if (p->why[0])
		fail_msg("seed %" PRIu64 ": %s  (repeat: SEED=%" PRIu64 " test_lifetime_random %s)", seed, p->why, seed,
			 test);
}

/* SEED=N narrows the range to one. */
static void seeds(uint64_t *from, uint64_t *to, uint64_t count)
{
	const char *text = getenv("SEED");

	*from = text ? strtoull(text, NULL, 10) : 1;
	*to = text ? *from : count;
}

static void run_seeds(const struct stream_noise *noise, const char *test, bool exact)
{
	static struct pair pair;
	uint64_t from, to;

	seeds(&from, &to, SEEDS);
	for (uint64_t seed = from; seed <= to; seed++) {
		pair_begin(&pair, seed, noise);
		pair_run(&pair, STEPS);
		if (!noise->wild)
			pair_wind_down(&pair);
		/* Nothing lost: as many were told as the machine made. Only TCP has a hook for each. */
		if (exact && !pair.why[0] && !pair.stream.unclear && pair.live_tcp != pair.stream.allocations)
			GO_WRONG(&pair, "%zu TCP allocations told, %" PRIu64 " made", pair.live_tcp,
				 pair.stream.allocations);
		pair_end(&pair, seed, test);
	}
}

static void as_the_kernel_tells(void **state)
{
	(void)state;
	run_seeds(&calm, __func__, true);
}

static void repeated_and_swapped(void **state)
{
	(void)state;
	run_seeds(&doubled, __func__, true);
}

static void after_losses(void **state)
{
	(void)state;
	run_seeds(&lossy, __func__, false);
}

static void wild_statements(void **state)
{
	(void)state;
	run_seeds(&wild, __func__, false);
}

/* ---- without memory ---- */

static size_t countdown;
static uint64_t coin;

static bool fails_once(size_t size)
{
	(void)size;
	return countdown-- == 0;
}

static bool fails_at_random(size_t size)
{
	(void)size;
	return unit_random(&coin) % 8 == 0;
}

static void run_failing(uint64_t seed, const struct stream_noise *noise, bool (*fails)(size_t), const char *test,
			uint64_t *no_memory)
{
	static struct pair pair;

	pair_begin(&pair, seed, noise);
	mem_fail_hook(fails);
	pair_run(&pair, 60);
	*no_memory = pair.no_memory;
	pair_end(&pair, seed, test);
}

/* Every allocation in turn, until one run needs no more than succeed: alone, or with all that come after it. */
static void every_allocation_fails_in_turn(void **state)
{
	const struct stream_noise *noises[] = { &doubled, &lossy, &wild };
	uint64_t from, to;

	(void)state;
	seeds(&from, &to, 15);
	for (uint64_t seed = from; seed <= to; seed++) {
		uint64_t failed = 1;

		for (size_t k = 0; failed; k++) {
			countdown = k;
			run_failing(seed, noises[seed % 3], fails_once, __func__, &failed);
		}
		failed = 1;
		for (size_t k = 0; failed; k++) {
			*unit_allocations_left() = k;
			run_failing(seed, noises[seed % 3], unit_refuses, __func__, &failed);
		}
	}
}

static void allocations_fail_at_random(void **state)
{
	const struct stream_noise *noises[] = { &calm, &doubled, &lossy, &wild };
	uint64_t from, to, failed, sum = 0;

	(void)state;
	seeds(&from, &to, 400);
	for (uint64_t seed = from; seed <= to; seed++) {
		coin = seed;
		run_failing(seed, noises[seed % 4], fails_at_random, __func__, &failed);
		sum += failed;
	}
	assert_true(sum > 0);
}

static void no_memory_for_a_tracker(void **state)
{
	struct telling t = { 0 };

	(void)state;
	unit_fail_after(0);
	assert_null(telling_begin(&t));
	unit_fail_never();
	telling_end(&t);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(as_the_kernel_tells),
	cmocka_unit_test(repeated_and_swapped),
	cmocka_unit_test(after_losses),
	cmocka_unit_test(wild_statements),
	cmocka_unit_test(every_allocation_fails_in_turn),
	cmocka_unit_test(allocations_fail_at_random),
	cmocka_unit_test(no_memory_for_a_tracker),
};

UNIT_MAIN(tests)
