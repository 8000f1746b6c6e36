/* SPDX-License-Identifier: GPL-2.0 */
/* A command that waits behind a pipe. */
#include "user/child.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "user/log.h"

static void become(char *const *command, const int gate[2], const sigset_t *mask) __attribute__((noreturn));

static void become(char *const *command, const int gate[2], const sigset_t *mask)
{
	char go;

	sigprocmask(SIG_SETMASK, mask, NULL);
	signal(SIGPIPE, SIG_DFL);
	close(gate[1]);
	if (read(gate[0], &go, 1) != 1)
		_exit(1);
	/* Our stdout is for data alone. */
	dup2(STDERR_FILENO, STDOUT_FILENO);
	execvp(command[0], command);
	log_error("%s: %s", command[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

int child_start(struct child *child, char *const *command, const sigset_t *mask)
{
	int gate[2];
	pid_t pid;

	if (pipe2(gate, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (!pid)
		become(command, gate, mask);
	close_fd(&gate[0]);
	if (pid < 0) {
		close_fd(&gate[1]);
		return -errno;
	}
	*child = (struct child){ pid, gate[1] };
	return 0;
}

int child_go(struct child *child)
{
	int r = child->gate >= 0 && write(child->gate, "", 1) != 1 ? -errno : 0;

	close_fd(&child->gate);
	return r;
}

int child_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
