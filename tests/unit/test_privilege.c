/* SPDX-License-Identifier: GPL-2.0 */
/* What is left after privilege was given up, tried by a child each. Takes root. */
#include "user/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define NOBODY 65534

/* In a child that has become nobody, or a broker: its exit status is the line of the first check that failed, at most 255. */
#define CHECK(condition)							\
	do {									\
		if (!(condition))						\
			_exit(__LINE__ - first_line < 255 ? __LINE__ - first_line : 255);	\
	} while (0)

static const int first_line = __LINE__;

static void in_child(void (*body)(void))
{
	int status;
	pid_t pid;

	if (geteuid()) {
		print_message("takes root\n");
		skip();
	}
	pid = fork();
	if (!pid) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("status %#x: the check at line %d", (unsigned)status, first_line + WEXITSTATUS(status));
}

static void drop(void)
{
	char why[256];

	CHECK(!privilege_drop(&(struct privilege_user){ NOBODY, NOBODY }, why, sizeof(why)));
}

static void user_is_another(void)
{
	uid_t r, e, s;
	gid_t groups[8];

	CHECK(!setgroups(2, (gid_t[]){ 1, 2 }));
	drop();
	CHECK(geteuid() == NOBODY && getegid() == NOBODY);
	/* getresuid(), getgroups() and setuid() are none of its calls. */
	CHECK(getresuid(&r, &e, &s) < 0 && errno == EPERM);
	CHECK(getgroups(8, groups) < 0 && errno == EPERM);
	CHECK(setuid(0) < 0);
}

static void becomes_another(void **state)
{
	(void)state;
	in_child(user_is_another);
}

static void *write_there(void *arg)
{
	return write(*(int *)arg, "x", 1) == 1 ? arg : NULL;
}

static void work_goes_on(void)
{
	char path[] = "/tmp/portwake-privilege-XXXXXX", name[64];
	int fd = mkstemp(path), again;
	pthread_t thread;
	void *result;

	unlink(path);
	CHECK(!fchown(fd, NOBODY, NOBODY));
	drop();
	/* A file that no path leads to any more, by its descriptor. */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	again = open(name, O_RDWR | O_CLOEXEC);
	CHECK(again >= 0 && !fsync(again) && !ftruncate(again, 100));
	CHECK(!pthread_create(&thread, NULL, write_there, &again));
	CHECK(!pthread_join(thread, &result) && result == &again);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	CHECK(!access("/proc/self/stat", R_OK));
}

static void can_work(void **state)
{
	(void)state;
	in_child(work_goes_on);
}

static void refused(void)
{
	char name[] = "true", *const argv[] = { name, NULL };
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	drop();
	CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM);
	CHECK(execv("/bin/true", argv) < 0 && errno == EPERM);
	CHECK(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) < 0 && errno == EPERM);
	CHECK(unshare(CLONE_NEWNET) < 0 && errno == EPERM);
	CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 && errno == EPERM);
	CHECK(kill(getppid(), 0) < 0 && errno == EPERM);
	CHECK(syscall(SYS_bpf, 0, NULL, 0) < 0 && errno == EPERM);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM);
	CHECK(mprotect(page, 4096, PROT_EXEC) < 0 && errno == EPERM);
	CHECK(prctl(PR_SET_DUMPABLE, 1) < 0 && errno == EPERM);
	CHECK(!prctl(PR_SET_NAME, "renamed"));
	CHECK(setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 }) < 0 && errno == EPERM);
}

static void cannot_do_more(void **state)
{
	(void)state;
	in_child(refused);
}

static void brokers_part(void)
{
	char name[] = "true", *const argv[] = { name, NULL };
	int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	char why[256];

	CHECK(!privilege_keep_some(false, why, sizeof(why)));
	CHECK(geteuid() == 0);
	CHECK(!setns(net, CLONE_NEWNET));
	CHECK(socket(AF_NETLINK, SOCK_RAW, 4) >= 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
	CHECK(execv("/bin/true", argv) < 0 && errno == EPERM);
	CHECK(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) < 0 && errno == EPERM);
	CHECK(kill(getppid(), 0) < 0 && errno == EPERM);
	CHECK(syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL) < 0 && errno == EPERM);
}

static void broker_keeps_its_part(void **state)
{
	(void)state;
	in_child(brokers_part);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(becomes_another),
	cmocka_unit_test(can_work),
	cmocka_unit_test(cannot_do_more),
	cmocka_unit_test(broker_keeps_its_part),
};

UNIT_MAIN(tests)
