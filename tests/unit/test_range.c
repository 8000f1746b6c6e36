/* SPDX-License-Identifier: GPL-2.0 */
/* The range: both files as the kernel writes them, what is no such file, sums, lists that keep what was there. */
#include "user/range.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static struct range parsed(const char *range, const char *reserved)
{
	struct range out = { .low = 7 };

	if (range_parse(range, reserved, &out))
		fail_msg("'%s', '%s' refused", range, reserved);
	return out;
}

static void a_range(void **state)
{
	struct range range = parsed("32768\t60999\n", "\n");

	(void)state;
	assert_true(range.known);
	assert_int_equal(range.low, 32768);
	assert_int_equal(range.high, 60999);
	assert_int_equal(range_size(&range), 28232);
	assert_int_equal(range_reserved_count(&range), 0);
	assert_int_equal(range_usable_count(&range), 28232);
	assert_false(range_has(&range, 32767));
	assert_true(range_has(&range, 32768));
	assert_true(range_has(&range, 60999));
	assert_false(range_has(&range, 61000));
}

static void reserved_ports(void **state)
{
	struct range range = parsed("5000\t5009\n", "0,80,4999-5001,5005,5009-5020,65535\n");

	(void)state;
	assert_int_equal(range_size(&range), 10);
	assert_int_equal(range_reserved_count(&range), 4);
	assert_int_equal(range_usable_count(&range), 6);
	assert_true(range_has(&range, 5005));
	assert_false(range_usable(&range, 5005));
	assert_true(range_usable(&range, 5002));
	assert_false(range_usable(&range, 4998));
	assert_true(port_set_has(&range.reserved, 0));
	assert_true(port_set_has(&range.reserved, 65535));
}

static void the_whole_of_it(void **state)
{
	struct range range = parsed("1\t65535\n", "1-65535\n");

	(void)state;
	assert_int_equal(range_size(&range), 65535);
	assert_int_equal(range_usable_count(&range), 0);
	range = parsed("65535\t65535\n", "");
	assert_int_equal(range_usable_count(&range), 1);
}

static void not_known(void **state)
{
	struct range range = { 0 };

	(void)state;
	assert_int_equal(range_size(&range), 0);
	assert_int_equal(range_usable_count(&range), 0);
	assert_int_equal(range_reserved_count(&range), 0);
	assert_false(range_has(&range, 0));
}

static void no_such_file(void **state)
{
	static const char *const ranges[] = { "", "\n", "1", "1\t", "1\t\n", "x\t2\n", "1\tx\n", "2\t1\n", "1,2\n",
		"1\t65536\n", "1\t2\t3\n", "1\t2 \n", "-1\t2\n", "1\t99999999999999999999\n" };
	static const char *const lists[] = { ",", "1,", ",1", "1-", "-1", "2-1", "1--2", "65536", "1\n2", "1 ", "1-2-3",
		"one", "1,,2" };
	struct range out = { .low = 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (range_parse(ranges[i], "\n", &out) != -EINVAL || out.low != 7)
			fail_msg("'%s' taken", ranges[i]);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (range_parse("1\t2\n", lists[i], &out) != -EINVAL || out.low != 7)
			fail_msg("list '%s' taken", lists[i]);
}

static void assert_reserve(const char *reserved, const char *more, const char *expected)
{
	_cleanup_buf_ struct buf out = BUF_INIT(RANGE_LIST_MAX);
	struct range range = parsed("32768\t60999\n", reserved);
	struct port_set set;

	assert_int_equal(num_port_list(more, &set), 0);
	assert_int_equal(range_reserve(&range, &set, &out), 0);
	assert_string_equal(buf_text(&out), expected);
}

static void lists_keep_what_was_there(void **state)
{
	(void)state;
	assert_reserve("\n", "60420", "60420");
	assert_reserve("80,8000-8010\n", "60420", "80,8000-8010,60420");
	assert_reserve("80,8000-8010\n", "8011,79", "79-80,8000-8011");
	assert_reserve("0,65535\n", "1,65534", "0-1,65534-65535");
	assert_reserve("8000-8010\n", "8005", "8000-8010");
}

/* What it writes it reads back, whatever the set. */
static void there_and_back(void **state)
{
	uint64_t random = 3;

	(void)state;
	for (int round = 0; round < 50; round++) {
		_cleanup_buf_ struct buf out = BUF_INIT(RANGE_LIST_MAX);
		struct port_set set;
		struct range range;

		for (size_t i = 0; i < ARRAY_SIZE(set.bits); i++)
			set.bits[i] = round % 2 ? unit_random(&random) & unit_random(&random) : unit_random(&random);
		if (round == 0)
			memset(&set, 0x55, sizeof(set));
		assert_int_equal(range_list(&set, &out), 0);
		range = parsed("1\t2\n", buf_text(&out));
		assert_memory_equal(&range.reserved, &set, sizeof(set));
	}
}

static void bounded(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4);
	struct port_set set;

	(void)state;
	assert_int_equal(num_port_list("1-2,7", &set), 0);
	assert_int_equal(range_list(&set, &out), -ENOBUFS);
}

static void set_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		_exit(2);
	close(fd);
}

/* In a namespace of its own: what was written is what is read, and a long list is read whole. */
static void read_in_another_netns(void)
{
	_cleanup_buf_ struct buf list = BUF_INIT(4000);
	struct range range;

	if (unshare(CLONE_NEWNET))
		_exit(77);
	for (unsigned int port = 10001; port < 11200; port += 2)
		buf_printf(&list, "%s%u", list.len ? "," : "", port);
	set_file("/proc/sys/net/ipv4/ip_local_reserved_ports", list.data, list.len);
	set_file("/proc/sys/net/ipv4/ip_local_port_range", "10000 11999", 11);
	set_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "81", 2);
	set_file("/proc/sys/net/ipv4/tcp_tw_reuse", "1", 1);
	if (range_read(&range) || range.low != 10000 || range.high != 11999 || range_reserved_count(&range) != 600)
		_exit(3);
	_exit(range.unprivileged_start == 81 && range.tw_reuse == 1 ? 0 : 4);
}

static void reading(void **state)
{
	struct range range;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(range_read(&range), 0);
	assert_true(range.known);
	pid = fork();
	if (!pid)
		read_in_another_netns();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void no_memory(void **state)
{
	struct range range = { .known = true };

	(void)state;
	unit_fail_after(0);
	assert_int_equal(range_read(&range), -ENOMEM);
	unit_fail_never();
	assert_false(range.known);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_range),
	cmocka_unit_test(reserved_ports),
	cmocka_unit_test(the_whole_of_it),
	cmocka_unit_test(not_known),
	cmocka_unit_test(no_such_file),
	cmocka_unit_test(lists_keep_what_was_there),
	cmocka_unit_test(there_and_back),
	cmocka_unit_test(bounded),
	cmocka_unit_test(reading),
	cmocka_unit_test(no_memory),
};

UNIT_MAIN(tests)
