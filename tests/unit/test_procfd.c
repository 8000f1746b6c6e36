/* SPDX-License-Identifier: GPL-2.0 */
/* Sockets of this process and of a child, found by their inodes. */
#include "user/procfd.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/unit.h"

static uint32_t inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint32_t)st.st_ino;
}

static void processes_by_their_sockets(void **state)
{
	int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), theirs = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t inodes[] = { inode_of(own), 0, inode_of(theirs), UINT32_MAX };
	struct event_process found[ARRAY_SIZE(inodes)];
	int ready[2];
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_NAME, "a) (b");
		close(own);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(theirs);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	procfd_find(inodes, ARRAY_SIZE(inodes), found);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(own);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(found[0].pid, getpid());
	assert_int_equal(found[0].uid, geteuid());
	assert_true(found[0].start > 0);
	assert_int_equal(found[1].pid, 0);
	assert_int_equal(found[2].pid, child);
	assert_string_equal(found[2].comm, "a) (b");
	assert_true(found[2].start >= found[0].start);
	assert_int_equal(found[3].pid, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(processes_by_their_sockets),
};

UNIT_MAIN(tests)
