/* SPDX-License-Identifier: GPL-2.0 */
/* What this program does when a test executes it again (`e2e --role NAME ARGUMENTS`), away from the shared log. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A UDP socket bound to a port of the loopback interface, closed again. */
static int touch(const char *port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_make(&ss, FAM_V4, AT_LOOP, (uint16_t)atoi(port));
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0)
		return 98;
	close(fd);
	return 0;
}

static int role_close(char **argv)
{
	return close(atoi(argv[0])) < 0 ? 98 : 0;
}

static int role_exit(char **argv)
{
	return atoi(argv[0]);
}

static int role_die(char **argv)
{
	kill(getpid(), atoi(argv[0]));
	return 98;
}

static int role_touch(char **argv)
{
	return touch(argv[0]);
}

/* A grandchild in a session of its own, which outlives the child between; the pipe closes when it is done. */
static void daemonize_and_touch(const char *port)
{
	int p[2];
	char c;

	if (pipe(p) < 0)
		exit(98);
	if (fork() == 0) {
		close(p[0]);
		setsid();
		if (fork())
			_exit(0);
		usleep(50000);
		_exit(touch(port));
	}
	close(p[1]);
	wait(NULL);
	while (read(p[0], &c, 1) > 0)
		;
}

/* Ports: its own, its child's, its daemon's, and that of a program it executes. */
static int role_family(char **argv)
{
	int status;

	if (touch(argv[0]))
		return 98;
	if (fork() == 0)
		_exit(touch(argv[1]));
	wait(&status);
	daemonize_and_touch(argv[2]);
	if (fork() == 0) {
		execl(self_path(), "e2e", "--role", "touch", argv[3], (char *)NULL);
		_exit(98);
	}
	wait(&status);
	return status ? 98 : 5;
}

static const struct role {
	const char *name;
	int args;
	int (*run)(char **argv);
} roles[] = {
	{ "close", 1, role_close }, { "exit", 1, role_exit }, { "die", 1, role_die }, { "touch", 1, role_touch },
	{ "family", 4, role_family },
};

int role_main(int argc, char **argv)
{
	for (size_t i = 0; argc > 0 && i < COUNT_OF(roles); i++) {
		if (strcmp(argv[0], roles[i].name) == 0 && argc == roles[i].args + 1)
			return roles[i].run(argv + 1);
	}
	fprintf(stderr, "e2e: no such role\n");
	return 2;
}
