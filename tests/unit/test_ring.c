/* SPDX-License-Identifier: GPL-2.0 */
/* A ring as the kernel lays it out, in a memfd: a page of the reader, a page of the writer, the data. */
#include "user/ring.h"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define SIZE 65536

struct fake {
	int fd;
	size_t page;
	uint8_t *base;
	struct ring *ring;
	uint32_t seen[8192];
	size_t count;
	unsigned long given_back;	/* when the last record was handed out */
};

static unsigned long *consumer(const struct fake *f)
{
	return (unsigned long *)f->base;
}

static unsigned long *producer(const struct fake *f)
{
	return (unsigned long *)(f->base + f->page);
}

static int set_up(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->page = (size_t)sysconf(_SC_PAGESIZE);
	f->fd = memfd_create("ring", MFD_CLOEXEC);
	assert_return_code(f->fd, 0);
	assert_return_code(ftruncate(f->fd, (off_t)(2 * f->page + 2 * SIZE)), 0);
	f->base = mmap(NULL, 2 * f->page + 2 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	assert_ptr_not_equal(f->base, MAP_FAILED);
	assert_int_equal(ring_open(f->fd, SIZE, &f->ring), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fake *f = *state;

	ring_free(&f->ring);
	assert_null(f->ring);
	munmap(f->base, 2 * f->page + 2 * SIZE);
	close(f->fd);
	free(f);
	return 0;
}

/* Writes a record of `words` words that begins with a number. */
static void put(struct fake *f, uint32_t number, uint32_t words, uint32_t flags)
{
	uint32_t *at = (uint32_t *)(f->base + 2 * f->page + (*producer(f) & (SIZE - 1)));

	at[0] = words * 4 | flags;
	at[2] = number;
	*producer(f) += (words * 4 + 15) & ~7UL;
}

static void on_record(void *arg, const void *data, size_t size)
{
	struct fake *f = arg;

	assert_true(size >= 4);
	memcpy(&f->seen[f->count++], data, 4);
	f->given_back = *consumer(f);
}

static int consume(struct fake *f, size_t most)
{
	f->count = 0;
	return ring_consume(f->ring, most, on_record, f);
}

static void records_come_in_order(void **state)
{
	struct fake *f = *state;

	assert_int_equal(consume(f, 100), 0);
	put(f, 1, 1, 0);
	put(f, 2, 3, 0);
	assert_int_equal(consume(f, 100), 2);
	assert_int_equal(f->seen[0], 1);
	assert_int_equal(f->seen[1], 2);
	assert_int_equal(*consumer(f), *producer(f));
	assert_int_equal(consume(f, 100), 0);
}

static void one_that_is_written_is_waited_for(void **state)
{
	struct fake *f = *state;
	unsigned long before;

	put(f, 1, 2, 0);
	before = *producer(f);
	put(f, 2, 2, BPF_RINGBUF_BUSY_BIT);
	put(f, 3, 2, 0);
	assert_int_equal(consume(f, 100), 1);
	assert_int_equal(*consumer(f), before);
	*(uint32_t *)(f->base + 2 * f->page + before) = 8;
	assert_int_equal(consume(f, 100), 2);
	assert_int_equal(f->seen[1], 3);
}

static void one_that_was_given_up_is_passed_by(void **state)
{
	struct fake *f = *state;

	put(f, 1, 2, BPF_RINGBUF_DISCARD_BIT);
	put(f, 2, 2, 0);
	assert_int_equal(consume(f, 100), 2);
	assert_int_equal(f->count, 1);
	assert_int_equal(f->seen[0], 2);
}

static void many_are_handed_out_in_parts(void **state)
{
	struct fake *f = *state;

	for (uint32_t i = 0; i < 10; i++)
		put(f, i, 2, 0);
	assert_int_equal(consume(f, 4), -EAGAIN);
	assert_int_equal(f->count, 4);
	assert_int_equal(consume(f, 6), 6);
	assert_int_equal(f->seen[0], 4);
	assert_int_equal(f->seen[5], 9);
}

/* Seldom, but before the end: the kernel may need the room. */
static void room_is_given_back_meanwhile(void **state)
{
	struct fake *f = *state;

	for (uint32_t i = 0; i < 1000; i++)
		put(f, i, 2, 0);
	assert_int_equal(consume(f, 1000), 1000);
	assert_true(f->given_back > 0);
	assert_true(f->given_back < *consumer(f));
}

static void it_goes_round(void **state)
{
	struct fake *f = *state;
	uint32_t put_in = 0, expected = 0;

	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 500; i++)
			put(f, put_in + (uint32_t)i, 1 + (uint32_t)i % 20, 0);
		put_in += 500;
		assert_int_equal(consume(f, 1000), 500);
		for (size_t i = 0; i < 500; i++)
			assert_int_equal(f->seen[i], expected++);
	}
	assert_true(*producer(f) > 10 * SIZE);
}

static void what_cannot_be_had_is_an_error(void **state)
{
	struct ring *none = NULL;

	(void)state;
	assert_int_equal(ring_open(-1, SIZE, &none), -EBADF);
	unit_fail_after(0);
	assert_int_equal(ring_open(-1, SIZE, &none), -ENOMEM);
	unit_fail_never();
	assert_null(none);
	ring_free(&none);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(records_come_in_order, set_up, tear_down),
	cmocka_unit_test_setup_teardown(one_that_is_written_is_waited_for, set_up, tear_down),
	cmocka_unit_test_setup_teardown(one_that_was_given_up_is_passed_by, set_up, tear_down),
	cmocka_unit_test_setup_teardown(many_are_handed_out_in_parts, set_up, tear_down),
	cmocka_unit_test_setup_teardown(room_is_given_back_meanwhile, set_up, tear_down),
	cmocka_unit_test_setup_teardown(it_goes_round, set_up, tear_down),
	cmocka_unit_test(what_cannot_be_had_is_an_error),
};

UNIT_MAIN(tests)
