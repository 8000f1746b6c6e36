/* SPDX-License-Identifier: GPL-2.0 */
/* Ownership helpers. */
#include "user/base.h"

#include <fcntl.h>

#include "tests/unit/unit.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void take_leaves_nothing_behind(void **state)
{
	char text[] = "x", *owner = text;
	int fd = 7;

	(void)state;
	assert_ptr_equal(TAKE_PTR(owner), text);
	assert_null(owner);
	assert_int_equal(TAKE_FD(fd), 7);
	assert_int_equal(fd, -1);
}

static void close_fd_closes_once_and_keeps_errno(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), was = fd;

	(void)state;
	assert_true(fd >= 0);
	errno = EXDEV;
	close_fd(&fd);
	assert_false(is_open(was));
	assert_int_equal(fd, -1);
	errno = EXDEV;
	close_fd(&fd);
	assert_int_equal(errno, EXDEV);
}

static void owner_closes_at_the_end_of_its_block(void **state)
{
	int was;

	(void)state;
	{
		_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		was = fd;
		assert_true(is_open(was));
	}
	assert_false(is_open(was));
}

static int give(void)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return TAKE_FD(fd);
}

static void taken_fd_outlives_its_first_owner(void **state)
{
	_cleanup_close_ int fd = give();

	(void)state;
	assert_true(is_open(fd));
}

static void cleanups_accept_nothing(void **state)
{
	_cleanup_free_ char *none = NULL;
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_closedir_ DIR *dir = NULL;

	(void)state;
	freep(&none);
	fclosep(&file);
	closedirp(&dir);
	assert_null(none);
	assert_null(file);
	assert_null(dir);
}

static void freed_pointers_become_null(void **state)
{
	char *text = strdup("x");
	FILE *file = fopen("/dev/null", "re");
	DIR *dir = opendir("/");

	(void)state;
	freep(&text);
	fclosep(&file);
	closedirp(&dir);
	assert_null(text);
	assert_null(file);
	assert_null(dir);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(take_leaves_nothing_behind),
	cmocka_unit_test(close_fd_closes_once_and_keeps_errno),
	cmocka_unit_test(owner_closes_at_the_end_of_its_block),
	cmocka_unit_test(taken_fd_outlives_its_first_owner),
	cmocka_unit_test(cleanups_accept_nothing),
	cmocka_unit_test(freed_pointers_become_null),
};

UNIT_MAIN(tests)
