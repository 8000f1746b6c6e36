/* SPDX-License-Identifier: GPL-2.0 */
/* The cgroup v2 hierarchy: its root without a mount, ids to paths and back. As root; each test cleans up its own cgroup. */
#include "user/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "tests/unit/unit.h"

static int root = -1;
static char name[64];

static int setup(void **state)
{
	(void)state;
	root = cgroup_open_root();
	snprintf(name, sizeof(name), "portwake-test-%d", (int)getpid());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (root >= 0)
		unlinkat(root, name, AT_REMOVEDIR);
	close_fd(&root);
	return 0;
}

static void need(bool possible)
{
	if (!possible)
		skip();
}

static void root_is_a_cgroup2_directory(void **state)
{
	struct statfs fs;
	struct stat st;

	(void)state;
	need(root >= 0);
	assert_int_equal(fstatfs(root, &fs), 0);
	assert_int_equal(fs.f_type, CGROUP2_SUPER_MAGIC);
	assert_int_equal(fstat(root, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_true(fcntl(root, F_GETFD) & FD_CLOEXEC);
}

static void root_has_the_path_of_a_slash(void **state)
{
	char path[100] = "";
	uint64_t id = 0;

	(void)state;
	need(root >= 0);
	assert_int_equal(cgroup_id(root, "/", &id), 0);
	assert_true(id != 0);
	assert_int_equal(cgroup_path(root, id, path, sizeof(path)), 0);
	assert_string_equal(path, "/");
	assert_int_equal(cgroup_id(root, "", &id), 0);
}

static void path_goes_to_id_and_back(void **state)
{
	char path[200] = "", expected[100];
	uint64_t id = 0, again = 0;

	(void)state;
	need(root >= 0 && mkdirat(root, name, 0755) == 0);
	snprintf(expected, sizeof(expected), "/%s", name);
	assert_int_equal(cgroup_id(root, name, &id), 0);
	assert_int_equal(cgroup_path(root, id, path, sizeof(path)), 0);
	assert_string_equal(path, expected);
	assert_int_equal(cgroup_id(root, expected, &again), 0);
	assert_int_equal(again, id);
}

static void what_is_gone_has_no_path(void **state)
{
	char path[200];
	uint64_t id = 0;

	(void)state;
	need(root >= 0 && mkdirat(root, name, 0755) == 0);
	assert_int_equal(cgroup_id(root, name, &id), 0);
	assert_int_equal(unlinkat(root, name, AT_REMOVEDIR), 0);
	assert_int_equal(cgroup_path(root, id, path, sizeof(path)), -ESTALE);
	assert_int_equal(cgroup_id(root, name, &id), -ENOENT);
}

static void path_that_does_not_fit_is_refused(void **state)
{
	char path[8];
	uint64_t id = 0;

	(void)state;
	need(root >= 0 && mkdirat(root, name, 0755) == 0);
	assert_int_equal(cgroup_id(root, name, &id), 0);
	assert_int_equal(cgroup_path(root, id, path, sizeof(path)), -ENAMETOOLONG);
}

/* A directory of another file system is no cgroup. */
static void other_directories_have_no_id(void **state)
{
	uint64_t id = 7;

	(void)state;
	need(root >= 0);
	assert_int_equal(cgroup_id(root, "/no/such/cgroup", &id), -ENOENT);
	assert_int_equal(cgroup_id(root, "/proc/self", &id), -ENOENT);
	assert_int_equal(id, 7);
}

/* With /sys hidden, as in a shell of `ip netns exec` or where it was never mounted. */
static int open_without_sys(void)
{
	struct statfs fs;
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/sys", "tmpfs", 0, NULL) < 0)
		return 77;
	fd = cgroup_open_root();
	return fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC ? 0 : 1;
}

static void no_mount_is_needed(void **state)
{
	int status = 0;
	pid_t child;

	(void)state;
	need(root >= 0);
	child = fork();
	if (!child)
		_exit(open_without_sys());
	assert_int_equal(waitpid(child, &status, 0), child);
	need(WEXITSTATUS(status) != 77);
	assert_int_equal(status, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(root_is_a_cgroup2_directory),
	TEST(root_has_the_path_of_a_slash),
	TEST(path_goes_to_id_and_back),
	TEST(what_is_gone_has_no_path),
	TEST(path_that_does_not_fit_is_refused),
	TEST(other_directories_have_no_id),
	TEST(no_mount_is_needed),
};

UNIT_MAIN(tests)
