/* SPDX-License-Identifier: GPL-2.0 */
/* Network namespaces by what a user types, and the walk through them: in namespaces of the test's own (network, mount). */
#include "user/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/unit.h"

static uint32_t own(void)
{
	struct stat st = { 0 };

	return stat("/proc/self/ns/net", &st) < 0 ? 0 : (uint32_t)st.st_ino;
}

static void need(bool possible)
{
	if (!possible)
		skip();
}

#define CANNOT 77

static int status_of(pid_t child)
{
	int status = 0;

	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void private_body(void (*body)(void))
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("none", "/run", "tmpfs", 0, NULL) < 0 ||
	    mount("none", "/proc", "proc", 0, NULL) < 0)
		_exit(CANNOT);
	body();
	_exit(0);
}

/* Runs a test's body in network, mount and PID namespaces of its own, with an empty /run: nobody else is in view. */
static void in_private(void (*body)(void))
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) < 0)
			_exit(CANNOT);
		child = fork();
		if (!child)
			private_body(body);
		_exit(status_of(child));
	}
	status = status_of(child);
	need(status != CANNOT);
	assert_int_equal(status, 0);
}

/* In the child of in_private(): cmocka's asserts belong to the parent. */
#define CHECK(condition)								\
	do {										\
		if (!(condition)) {							\
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);	\
			_exit(1);							\
		}									\
	} while (0)

/* Mounts the namespace that this process is in at path. */
static bool keep_own(const char *path)
{
	_cleanup_close_ int fd = open(path, O_CREAT | O_CLOEXEC, 0644);

	return fd >= 0 && mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) == 0;
}

/* ---- resolve ---- */

static void number_is_taken_as_it_is(void **state)
{
	uint32_t inode = 0;

	(void)state;
	assert_int_equal(netns_resolve("4026531840", &inode), 0);
	assert_int_equal(inode, 4026531840u);
	assert_int_equal(netns_resolve("1", &inode), 0);
	assert_int_equal(inode, 1);
}

static void path_is_its_inode(void **state)
{
	uint32_t inode = 0;

	(void)state;
	assert_int_equal(netns_resolve("/proc/self/ns/net", &inode), 0);
	assert_int_equal(inode, own());
}

/* A user who mistypes must hear of it, and not trace nothing in silence. */
static void what_is_no_namespace_is_refused(void **state)
{
	static const char *const bad[] = {
		"nowhere", "", ".", "..", "0", "4294967296", "-1", "1x", " 1", "/", "/etc/passwd", "/proc/self/ns/mnt",
		"/proc/self/ns", "/no/such/file", "/proc/1/ns/", "../../proc/self/ns/mnt", "/dev/null",
	};
	uint32_t inode = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (netns_resolve(bad[i], &inode) >= 0 || inode != 7)
			fail_msg("'%s' is taken for network namespace %u", bad[i], inode);
	assert_int_equal(netns_resolve("nowhere", &inode), -ENOENT);
	assert_int_equal(netns_resolve("/no/such/file", &inode), -ENOENT);
}

static void long_name_is_refused(void **state)
{
	char name[5000];
	uint32_t inode;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_true(netns_resolve(name, &inode) < 0);
	name[0] = '/';
	assert_true(netns_resolve(name, &inode) < 0);
}

static void resolve_names(void)
{
	uint32_t inode = 7, named = own();

	CHECK(mkdir("/run/netns", 0755) == 0 && keep_own("/run/netns/blue"));
	CHECK(netns_resolve("blue", &inode) == 0 && inode == named);
	inode = 7;
	CHECK(netns_resolve("green", &inode) == -ENOENT);
	/* The directory itself is there now. */
	CHECK(netns_resolve("", &inode) < 0 && netns_resolve(".", &inode) < 0 && netns_resolve("..", &inode) < 0);
	/* Made, but not mounted: `ip netns` shows it, and it is an empty file. */
	close(open("/run/netns/empty", O_CREAT | O_CLOEXEC, 0644));
	CHECK(netns_resolve("empty", &inode) < 0 && inode == 7);
}

static void name_is_one_of_run_netns(void **state)
{
	(void)state;
	in_private(resolve_names);
}

/* ---- walk ---- */

struct visits {
	uint32_t inodes[256];
	size_t count;
	bool inside;		/* each was entered */
	int answer;		/* to the second visit */
};

static int visit(void *arg, uint32_t inode)
{
	struct visits *visits = arg;
	struct stat st = { 0 };

	if (visits->count < 256)
		visits->inodes[visits->count++] = inode;
	visits->inside &= !stat("/proc/self/ns/net", &st) && (uint32_t)st.st_ino == inode;
	return visits->count == 2 ? visits->answer : 0;
}

static size_t times(const struct visits *visits, uint32_t inode)
{
	size_t count = 0;

	for (size_t i = 0; i < visits->count; i++)
		count += visits->inodes[i] == inode;
	return count;
}

static int walk(struct visits *visits, const uint32_t *wanted, size_t count, int answer)
{
	*visits = (struct visits){ .inside = true, .answer = answer };
	return netns_walk(wanted, count, visit, visits);
}

/* A process in a namespace of its own, which it tells; it ends with us. */
static uint32_t neighbour(void)
{
	uint32_t inode = 0;
	int told[2];

	CHECK(pipe(told) == 0);
	if (!fork()) {
		CHECK(unshare(CLONE_NEWNET) == 0);
		inode = own();
		CHECK(write(told[1], &inode, sizeof(inode)) == sizeof(inode));
		pause();
	}
	CHECK(read(told[0], &inode, sizeof(inode)) == sizeof(inode));
	return inode;
}

static void walk_all(void)
{
	uint32_t mounted = own(), other = neighbour(), here;
	struct visits visits;

	CHECK(keep_own("/run/kept"));
	CHECK(unshare(CLONE_NEWNET) == 0);
	here = own();
	CHECK(walk(&visits, NULL, 0, 0) == 0);
	CHECK(visits.inside);
	/* Ours; a process's; one that only a mount holds. */
	CHECK(here != mounted && here != other && other != mounted);
	CHECK(times(&visits, here) == 1 && times(&visits, other) == 1 && times(&visits, mounted) == 1);
	for (size_t i = 0; i < visits.count; i++)
		CHECK(times(&visits, visits.inodes[i]) == 1);
	CHECK(own() == here);
}

/* Mounted where mountinfo needs escapes. */
static void walk_odd_places(void)
{
	uint32_t mounted = own(), wanted[1] = { mounted };
	struct visits visits;
	char path[512];

	CHECK(keep_own("/run/a \\b;c"));
	CHECK(unshare(CLONE_NEWNET) == 0);
	CHECK(walk(&visits, wanted, 1, 0) == 0);
	CHECK(visits.count == 1 && visits.inside && visits.inodes[0] == mounted);
	/* Not one to be pasted. */
	CHECK(netns_path(mounted, path, sizeof(path)) == -ENOENT);
}

static void walk_reads_places_as_they_are(void **state)
{
	(void)state;
	in_private(walk_odd_places);
}

static void walk_hidden(void)
{
	uint32_t mounted = own(), wanted[1] = { mounted };
	struct visits visits;
	char path[512];

	CHECK(keep_own("/run/first"));
	CHECK(mkdir("/run/under", 0755) == 0 && keep_own("/run/under/second"));
	CHECK(unshare(CLONE_NEWNET) == 0);
	/* Of another namespace now: what is listed there first is not reached. */
	CHECK(keep_own("/run/first"));
	CHECK(walk(&visits, wanted, 1, 0) == 0);
	CHECK(visits.inside && visits.count == 1 && visits.inodes[0] == mounted);
	CHECK(netns_path(mounted, path, sizeof(path)) == 0 && !strcmp(path, "/run/under/second"));
}

static void walk_goes_on_where_a_place_leads_elsewhere(void **state)
{
	(void)state;
	in_private(walk_hidden);
}

static void walk_sees_processes_and_mounts(void **state)
{
	(void)state;
	in_private(walk_all);
}

static void path_of_each(void)
{
	uint32_t mounted = own(), other = neighbour(), inode = 0;
	char path[512];

	CHECK(keep_own("/run/kept"));
	CHECK(unshare(CLONE_NEWNET) == 0);
	CHECK(netns_path(mounted, path, sizeof(path)) == 0 && !strcmp(path, "/run/kept"));
	CHECK(netns_path(other, path, sizeof(path)) == 0);
	CHECK(netns_resolve(path, &inode) == 0 && inode == other);
	CHECK(netns_path(own(), path, sizeof(path)) == 0);
	CHECK(netns_path(3, path, sizeof(path)) == -ENOENT);
	CHECK(netns_path(mounted, path, 5) == -ENAMETOOLONG);
}

static void path_leads_there(void **state)
{
	(void)state;
	in_private(path_of_each);
}

static void walk_wanted(void)
{
	uint32_t mounted = own(), wanted[2];
	struct visits visits;

	CHECK(keep_own("/run/kept"));
	CHECK(unshare(CLONE_NEWNET) == 0);
	wanted[0] = mounted;
	wanted[1] = 3;
	CHECK(walk(&visits, wanted, 2, 0) == 0);
	CHECK(visits.count == 1 && visits.inodes[0] == mounted && visits.inside);
	CHECK(own() != mounted);
}

static void walk_keeps_to_what_is_wanted(void **state)
{
	(void)state;
	in_private(walk_wanted);
}

static void walk_ended(void)
{
	uint32_t here = own();
	struct visits visits;

	neighbour();
	CHECK(walk(&visits, NULL, 0, -ENOMEM) == -ENOMEM);
	CHECK(visits.count == 2);
	CHECK(own() == here);
}

static void walk_ends_and_comes_home_when_told(void **state)
{
	(void)state;
	in_private(walk_ended);
}

static int visit_once(void *arg, uint32_t inode)
{
	struct visits *visits = arg;

	visits->inside &= own() == inode;
	visits->inodes[visits->count++] = inode;
	return 1;
}

/* By its process, by that of another, and where it is mounted; never one that is not in view. */
static void visit_one(void)
{
	uint32_t mounted = own(), other = neighbour(), here;
	struct visits visits = { .inside = true };

	CHECK(keep_own("/run/kept"));
	CHECK(unshare(CLONE_NEWNET) == 0);
	here = own();
	CHECK(netns_visit(here, (uint32_t)getpid(), visit_once, &visits) == 1);
	CHECK(netns_visit(other, 0, visit_once, &visits) == 1);
	CHECK(netns_visit(mounted, (uint32_t)getpid(), visit_once, &visits) == 1);
	CHECK(netns_visit(3, (uint32_t)getpid(), visit_once, &visits) == 0);
	CHECK(visits.count == 3 && visits.inside);
	CHECK(visits.inodes[0] == here && visits.inodes[1] == other && visits.inodes[2] == mounted);
	CHECK(own() == here);
}

static void one_is_visited_once(void **state)
{
	(void)state;
	in_private(visit_one);
}

static void no_memory(void)
{
	struct visits visits;

	unit_fail_after(0);
	CHECK(walk(&visits, NULL, 0, 0) == -ENOMEM);
	CHECK(visits.count == 0);
}

static void no_memory_ends_the_walk(void **state)
{
	(void)state;
	in_private(no_memory);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(number_is_taken_as_it_is),
	cmocka_unit_test(path_is_its_inode),
	cmocka_unit_test(what_is_no_namespace_is_refused),
	cmocka_unit_test(long_name_is_refused),
	cmocka_unit_test(name_is_one_of_run_netns),
	cmocka_unit_test(walk_reads_places_as_they_are),
	cmocka_unit_test(walk_goes_on_where_a_place_leads_elsewhere),
	cmocka_unit_test(walk_sees_processes_and_mounts),
	cmocka_unit_test(path_leads_there),
	cmocka_unit_test(walk_keeps_to_what_is_wanted),
	cmocka_unit_test(walk_ends_and_comes_home_when_told),
	cmocka_unit_test(one_is_visited_once),
	cmocka_unit_test(no_memory_ends_the_walk),
};

UNIT_MAIN(tests)
