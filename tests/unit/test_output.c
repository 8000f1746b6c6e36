/* SPDX-License-Identifier: GPL-2.0 */
/* The queue of lines: order, slow and dead readers, and that each line is written, or told as lost, once. */
#include "user/output.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/unit/events.h"
#include "tests/unit/unit.h"

#define LINES	256		/* in waiting; the least that there is */

static struct identity *identity;
static struct process *owner;
static int ends[2];		/* a pipe */
static size_t formatted;

/* "N" for the change of lifetime N, "gap LOST ALLOCATIONS", "ready", in lines of a real one's length. */
static void format(void *arg, const struct line *line, struct buf *out)
{
	size_t start = out->len;

	(void)arg;
	formatted++;
	if (line->what == WHAT_GAP)
		buf_printf(out, "gap %" PRIu64 " %" PRIu64, line->lost, line->lost_allocations);
	else if (line->what == WHAT_READY)
		buf_adds(out, "ready");
	else
		buf_printf(out, "%" PRIu64, line->cookie);
	buf_pad(out, start, 99);
	buf_addc(out, '\n');
}

static int setup(void **state)
{
	struct event e = ev_sock(1, 40000, 1000);

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	identity = identity_new(-1);
	owner = identity_owner(identity, &e);
	formatted = 0;
	return owner ? pipe2(ends, O_CLOEXEC) : -1;
}

/* All references but the test's own are back. */
static int teardown(void **state)
{
	uint32_t refs = owner->refs;

	(void)state;
	identity_put(identity, owner);
	identity_free(&identity);
	close_fd(&ends[0]);
	close_fd(&ends[1]);
	return refs == 1 ? 0 : -1;
}

static struct output *fresh(int fd, size_t max_lines)
{
	const struct output_options options = {
		.fd = fd, .max_lines = max_lines, .format = format, .identity = identity,
	};
	struct output *output = NULL;

	assert_int_equal(output_new(&options, &output), 0);
	return output;
}

static void put(struct output *output, enum what what, uint64_t number)
{
	struct lifetime l = { .cookie = number, .owner = owner };
	struct change change = { .what = what, .time = number, .lifetime = &l };

	output_change(output, &change, 0);
}

static void put_many(struct output *output, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		put(output, i % 2 ? WHAT_RELEASE : WHAT_ALLOCATE, i);
}

static void put_gap(struct output *output, uint64_t lost, uint64_t lost_allocations)
{
	struct gap gap = { .since = 1, .until = 2, .lost = lost, .lost_allocations = lost_allocations, .reason = "ring" };
	struct change change = { .what = WHAT_GAP, .time = 2, .gap = &gap };

	output_change(output, &change, 0);
}

/* ---- the reader ---- */

static struct reader {
	char rest[256];
	size_t rest_length;
	uint64_t next;			/* number of the line that has to come now */
	uint64_t lines, lost, lost_allocations, gaps, ready;
} reader;

static void read_line(const char *line)
{
	uint64_t lost, allocations;

	if (!strncmp(line, "ready", 5)) {
		reader.ready++;
		return;
	}
	if (sscanf(line, "gap %" SCNu64 " %" SCNu64, &lost, &allocations) == 2) {
		reader.gaps++;
		reader.lost += lost;
		reader.lost_allocations += allocations;
		reader.next += lost;
		return;
	}
	assert_int_equal(strtoull(line, NULL, 10), reader.next);
	reader.next++;
	reader.lines++;
}

static void read_bytes(const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		assert_true(reader.rest_length < sizeof(reader.rest));
		if (data[i] != '\n') {
			reader.rest[reader.rest_length++] = data[i];
			continue;
		}
		reader.rest[reader.rest_length] = '\0';
		reader.rest_length = 0;
		read_line(reader.rest);
	}
}

/* What is there, at most `most` bytes. */
static size_t read_some(size_t most)
{
	static char data[65536];
	ssize_t got;

	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	got = read(ends[0], data, most < sizeof(data) ? most : sizeof(data));
	if (got <= 0)
		return 0;
	read_bytes(data, (size_t)got);
	return (size_t)got;
}

static void read_all(struct output *output)
{
	int r;

	do {
		r = output_flush(output);
		while (read_some(65536))
			;
	} while (r == -EAGAIN);
	assert_int_equal(r, 0);
}

static void expect_numbers(uint64_t from)
{
	reader = (struct reader){ .next = from };
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static bool at_once(void *arg)
{
	(void)arg;
	return true;
}

/* ---- tests ---- */

static void file_takes_everything_in_order(void **state)
{
	_cleanup_close_ int fd = memfd_create("out", MFD_CLOEXEC);
	_cleanup_output_ struct output *output = fresh(fd, LINES);
	static char data[100 * 100];

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 100);
	assert_int_equal(output_flush(output), 0);
	assert_int_equal(pread(fd, data, sizeof(data), 0), sizeof(data));
	read_bytes(data, sizeof(data));
	assert_int_equal(reader.lines, 100);
	assert_int_equal(output_lost(output), 0);
}

static void reader_that_keeps_up_loses_nothing(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);

	(void)state;
	expect_numbers(0);
	for (uint64_t i = 0; i < 20000; i += 100) {
		put_many(output, i, i + 100);
		read_all(output);
	}
	assert_int_equal(reader.lines, 20000);
	assert_int_equal(reader.gaps, 0);
}

static void full_pipe_says_that_more_waits(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], 4 * LINES);

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 1500);
	assert_int_equal(output_flush(output), -EAGAIN);
	assert_int_equal(output_flush(output), -EAGAIN);
	read_all(output);
	assert_int_equal(reader.lines, 1500);
	assert_int_equal(output_lost(output), 0);
}

/* Text is made ahead of the reader up to a bound; what waits behind it waits as values. */
static void text_is_made_only_when_it_can_go(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], 64 * LINES);

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 10000);
	output_flush(output);
	assert_true(formatted < 3000);
	read_all(output);
	assert_int_equal(reader.lines, 10000);
	assert_int_equal(formatted, 10000);
}

/* Each line is read in its place, or is in a gap that stands there: the reader checks the numbers. */
static void read_slowly(size_t max_lines, size_t piece)
{
	_cleanup_output_ struct output *output = fresh(ends[1], max_lines);
	uint64_t random = 5, made = 0;

	expect_numbers(0);
	while (made < 60000) {
		uint64_t burst = unit_random(&random) % 700;

		put_many(output, made, made + burst);
		made += burst;
		output_flush(output);
		read_some(unit_random(&random) % piece);
	}
	read_all(output);
	assert_int_equal(reader.lines + reader.lost, made);
	assert_int_equal(reader.next, made);
	assert_int_equal(reader.lost, output_lost(output));
	assert_true(reader.gaps > 5 && reader.lost > 5000);
}

static void slow_reader_loses_exactly_what_the_gaps_say(void **state)
{
	(void)state;
	read_slowly(LINES, 30000);
}

/* Of a long queue only a part goes each time: what comes meanwhile has to wait behind the gap. */
static void slow_reader_of_a_long_queue(void **state)
{
	(void)state;
	read_slowly(16 * LINES, 50000);
}

static void allocations_among_the_lost_are_counted(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 1000);
	output_flush(output);
	/* Odd numbers are releases, even ones allocations; all that follows is lost. */
	put_many(output, 1000, 40000);
	read_all(output);
	assert_true(reader.lost > 30000);
	assert_in_range(reader.lost_allocations, reader.lost / 2, reader.lost / 2 + 1);
}

/* The kernel's own loss is told by a gap; if that finds no room, the gap that is told instead includes it. */
static void lost_gap_passes_on_what_it_told(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);
	uint64_t lost;

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 3000);
	lost = output_lost(output);
	assert_true(lost > 0);
	put_gap(output, 7000, 500);
	/* It is no line of ours. */
	assert_int_equal(output_lost(output), lost);
	read_all(output);
	assert_int_equal(reader.lines + reader.lost, 3000 + 7000);
	assert_int_equal(reader.gaps, 1);
	assert_true(reader.lost_allocations >= 500 + lost / 2);
}

static void kernel_gap_is_a_line(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 10);
	put_gap(output, 5, 2);
	put_many(output, 15, 20);
	read_all(output);
	assert_int_equal(reader.lines, 15);
	assert_int_equal(reader.lost, 5);
	assert_int_equal(reader.lost_allocations, 2);
}

/* How many lines an output takes before it loses one. */
static uint64_t room(void)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);
	uint64_t taken = 0;

	for (; !output_lost(output); taken++)
		put_many(output, taken, taken + 1);
	return taken - 1;
}

/* Programs wait for `ready`: however full the queue is, it comes, once. */
static void ready_is_never_lost(void **state)
{
	uint64_t most = room();

	(void)state;
	for (uint64_t before = most - 2; before <= most + 2; before++) {
		for (uint64_t after = 0; after <= 2; after++) {
			_cleanup_output_ struct output *output = fresh(ends[1], LINES);
			struct change ready = { .what = WHAT_READY, .time = 1 };

			expect_numbers(0);
			put_many(output, 0, before);
			output_change(output, &ready, 0);
			put_many(output, before, before + after);
			read_all(output);
			assert_int_equal(reader.lines + reader.lost, before + after);
			if (reader.ready != 1)
				fail_msg("%d times ready behind %" PRIu64 " lines and before %" PRIu64 ", with room for %" PRIu64,
					 (int)reader.ready, before, after, most);
		}
	}
}

/* ---- the end ---- */

static void finish_writes_the_rest(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 300);
	assert_int_equal(output_finish(output, 1000, never, NULL), 0);
	while (read_some(65536))
		;
	assert_int_equal(reader.lines, 300);
	assert_int_equal(output_lost(output), 0);
}

/* Asked between writes, and so the place for a reader that takes a little each time. */
static bool take_a_little(void *arg)
{
	(void)arg;
	read_some(8192);
	return false;
}

static void finish_waits_for_a_reader_that_takes_something(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], 8 * LINES);

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 2500);
	assert_int_equal(output_finish(output, 300, take_a_little, NULL), 0);
	while (read_some(65536))
		;
	assert_int_equal(reader.lines, 2500);
	assert_int_equal(output_lost(output), 0);
}

static void check_given_up(int patience_ms, bool (*stop)(void *arg))
{
	_cleanup_output_ struct output *output = fresh(ends[1], 8 * LINES);

	expect_numbers(0);
	put_many(output, 0, 2500);
	assert_int_equal(output_finish(output, patience_ms, stop, NULL), 0);
	while (read_some(65536))
		;
	assert_true(reader.lines > 0 && output_lost(output) > 0);
	/* A line of which a part was written is lost as well. */
	assert_int_equal(reader.lines + output_lost(output), 2500);
}

static void finish_counts_what_it_gives_up(void **state)
{
	(void)state;
	check_given_up(200, never);
}

static void finish_heeds_a_signal(void **state)
{
	(void)state;
	check_given_up(60000, at_once);
}

static void reader_that_is_gone_is_an_error(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);

	(void)state;
	put_many(output, 0, 400);
	close_fd(&ends[0]);
	assert_int_equal(output_flush(output), -EPIPE);
	assert_int_equal(output_finish(output, 1000, never, NULL), -EPIPE);
}

static void full_disk_is_an_error(void **state)
{
	_cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	_cleanup_output_ struct output *output = fresh(fd, LINES);

	(void)state;
	put(output, WHAT_ALLOCATE, 1);
	assert_int_equal(output_flush(output), -ENOSPC);
}

/* ---- memory ---- */

static void no_memory_for_an_output(void **state)
{
	const struct output_options options = { .fd = ends[1], .max_lines = LINES, .format = format };
	struct output *output = NULL;

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		unit_fail_after(k);
		assert_int_equal(output_new(&options, &output), -ENOMEM);
		unit_fail_never();
		assert_null(output);
	}
}

/* A queue that cannot grow is a full one: what it loses is counted. */
static void no_memory_to_grow_is_a_loss(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], 64 * LINES);

	(void)state;
	expect_numbers(0);
	put_many(output, 0, 1000);
	unit_fail_after(0);
	put_many(output, 1000, 5000);
	unit_fail_never();
	assert_true(output_lost(output) > 3000);
	read_all(output);
	put_many(output, 5000, 5100);
	read_all(output);
	assert_int_equal(reader.lines + reader.lost, 5100);
	assert_int_equal(reader.next, 5100);
}

/* No line goes out in half: without memory for its text the stream ends. */
static void no_memory_for_text_ends_the_stream(void **state)
{
	_cleanup_output_ struct output *output = fresh(ends[1], LINES);

	(void)state;
	unit_fail_after(0);
	put(output, WHAT_ALLOCATE, 1);
	assert_int_equal(output_flush(output), -ENOMEM);
	unit_fail_never();
}

/* Freed while lines wait: their references go back (teardown looks). */
static void freed_with_lines_in_waiting(void **state)
{
	struct output *output = fresh(ends[1], LINES);

	(void)state;
	put_many(output, 0, 1000);
	assert_true(owner->refs > 1);
	output_free(&output);
	assert_null(output);
	output_free(&output);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(file_takes_everything_in_order),
	TEST(reader_that_keeps_up_loses_nothing),
	TEST(full_pipe_says_that_more_waits),
	TEST(text_is_made_only_when_it_can_go),
	TEST(slow_reader_loses_exactly_what_the_gaps_say),
	TEST(slow_reader_of_a_long_queue),
	TEST(allocations_among_the_lost_are_counted),
	TEST(lost_gap_passes_on_what_it_told),
	TEST(kernel_gap_is_a_line),
	TEST(ready_is_never_lost),
	TEST(finish_writes_the_rest),
	TEST(finish_waits_for_a_reader_that_takes_something),
	TEST(finish_counts_what_it_gives_up),
	TEST(finish_heeds_a_signal),
	TEST(reader_that_is_gone_is_an_error),
	TEST(full_disk_is_an_error),
	TEST(no_memory_for_an_output),
	TEST(no_memory_to_grow_is_a_loss),
	TEST(no_memory_for_text_ends_the_stream),
	TEST(freed_with_lines_in_waiting),
};

UNIT_MAIN(tests)
