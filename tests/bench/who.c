/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bench-who [SOCKETS]: how long `portwake who N` ($PORTWAKE, build/portwake by default) takes on a machine with that
 * many TCP sockets, side by side with what else answers that question. In a network namespace of its own; the
 * sockets are connections over loopback, both ends open, in a few processes. Prints medians and ratios; fails when the
 * answer takes more than 2 s at 100,000 sockets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS 100000
#define PROCESSES 10
#define ROUNDS 7
#define FIRST_PORT 7100
#define ASKED_PORT 7777
#define LIMIT_MS 2000.0

static void die(const char *what)
{
	fprintf(stderr, "bench-who: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in at(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static void go_apart(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		die("a network namespace of its own (as root?)");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		die("loopback");
	close(fd);
}

static int listener(uint16_t port)
{
	struct sockaddr_in address = at(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 128) < 0)
		die("listener");
	return fd;
}

static void connections(int server, uint16_t port, unsigned int count)
{
	struct sockaddr_in address = at(port);

	for (unsigned int i = 0; i < count; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		    accept4(server, NULL, NULL, SOCK_CLOEXEC) < 0)
			die("connection");
	}
}

/* A process with its share of the sockets; it says when it has them. */
static pid_t spawn(unsigned int index, unsigned int sockets, int ready)
{
	uint16_t port = (uint16_t)(FIRST_PORT + index);
	struct rlimit limit = { sockets + 64, sockets + 64 };
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("RLIMIT_NOFILE");
	connections(listener(port), port, sockets / 2);
	if (write(ready, "", 1) != 1)
		die("pipe");
	pause();
	_exit(0);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* Milliseconds; < 0: it cannot be run. */
static double time_one(const char *command)
{
	double start = now_ms();
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) < 2 ? now_ms() - start : -1;
}

static int by_size(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

struct contender {
	char command[300];
	double ms[ROUNDS];
};

/* In turn, so that a disturbance does not hit one of them alone. */
static void race(struct contender *contenders, size_t count)
{
	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < count; i++)
			contenders[i].ms[round] = time_one(contenders[i].command);
	for (size_t i = 0; i < count; i++)
		qsort(contenders[i].ms, ROUNDS, sizeof(double), by_size);
}

static void report(const struct contender *contenders, size_t count, unsigned int sockets)
{
	double own = contenders[0].ms[ROUNDS / 2];

	printf("%u sockets in %d processes, median of %d:\n", sockets, PROCESSES, ROUNDS);
	for (size_t i = 0; i < count; i++) {
		const struct contender *c = &contenders[i];

		if (c->ms[0] < 0)
			printf("  %9s     %s\n", "-", c->command);
		else
			printf("  %9.1f ms  %s (%.2f times as long)\n", c->ms[ROUNDS / 2], c->command,
			       c->ms[ROUNDS / 2] / own);
	}
}

/* Exit status 0 and this process in the answer: what is timed is an answer. */
static void check_answer(const char *command)
{
	char line[4096], own[32];
	FILE *out = popen(command, "re");
	bool found = false;

	snprintf(own, sizeof(own), " pid %d ", getpid());
	while (out && fgets(line, sizeof(line), out))
		found |= strstr(line, own) != NULL;
	if (out && !pclose(out) && found)
		return;
	fprintf(stderr, "bench-who: %s: does not tell that pid %d listens there\n", command, getpid());
	exit(1);
}

static void wait_ready(int fd)
{
	char c;

	for (int i = 0; i < PROCESSES; i++)
		if (read(fd, &c, 1) != 1)
			die("a process with sockets has ended");
}

int main(int argc, char **argv)
{
	unsigned int sockets = argc > 1 ? (unsigned int)atoi(argv[1]) : SOCKETS;
	const char *program = getenv("PORTWAKE") ? getenv("PORTWAKE") : "build/portwake";
	struct contender contenders[3];
	pid_t pids[PROCESSES];
	int ready[2];
	double own;

	go_apart();
	if (pipe(ready) < 0)
		die("pipe");
	listener(ASKED_PORT);
	for (unsigned int i = 0; i < PROCESSES; i++)
		pids[i] = spawn(i, sockets / PROCESSES, ready[1]);
	close(ready[1]);
	wait_ready(ready[0]);
	snprintf(contenders[0].command, sizeof(contenders[0].command), "%s who %d", program, ASKED_PORT);
	snprintf(contenders[1].command, sizeof(contenders[1].command), "ss -tanp 'sport = :%d'", ASKED_PORT);
	snprintf(contenders[2].command, sizeof(contenders[2].command), "lsof -n -P -i :%d", ASKED_PORT);
	check_answer(contenders[0].command);
	race(contenders, 3);
	report(contenders, 3, sockets);
	for (int i = 0; i < PROCESSES; i++)
		kill(pids[i], SIGKILL);
	own = contenders[0].ms[ROUNDS / 2];
	if (own >= 0 && own <= LIMIT_MS)
		return 0;
	fprintf(stderr, "bench-who: portwake %s\n", own < 0 ? "failed" : "took more than 2 s");
	return 1;
}
