/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PID 1 of a throw-away guest: sets the machine up, runs what /plan says, one child at a time, and powers off.
 *
 * The console named by results= on the kernel's command line gets, for every `run` of the plan,
 *
 *   ==> begin LABEL
 *   whatever the command printed
 *   ==> end LABEL STATUS SECONDS
 *
 * and at last `==> done`. STATUS is the exit status, or 128 + the signal. /plan is read line by line:
 *
 *   env NAME=VALUE          for the commands that follow
 *   limit SECONDS           the longest that one of them may take
 *   hide DIRECTORY          shows an empty one in its place
 *   disk DEVICE DIRECTORY   mounts its ext4
 *   hog MIB                 from now on all memory but so much is in use
 *   run LABEL COMMAND [ARG]...
 *
 * Words are separated by single blanks; there is no quoting. Modules are loaded from /modules in the order of their
 * names.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS 64
#define OPEN_FILES 65536

static unsigned limit = 600;

static const struct {
	const char *type, *at;
} mounts[] = {
	{ "devtmpfs", "/dev" },
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "cgroup2", "/sys/fs/cgroup" },
	{ "bpf", "/sys/fs/bpf" },
	{ "tracefs", "/sys/kernel/tracing" },
	{ "debugfs", "/sys/kernel/debug" },
	{ "securityfs", "/sys/kernel/security" },
	{ "tmpfs", "/tmp" },
	{ "tmpfs", "/run" },
};

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;
	int err = errno;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(": %s\n", strerror(err));
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	power_off();
}

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].at, 0755);
		if (mount(mounts[i].type, mounts[i].at, mounts[i].type, 0, NULL) < 0 && errno != EBUSY)
			die("init: mount %s", mounts[i].at);
	}
	chmod("/tmp", 01777);
}

/* Bytes go out as they are: without this the terminal would add a carriage return to every line. */
static void open_results(void)
{
	const char *name = getenv("results");
	char path[64];
	struct termios raw;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name ? name : "console");
	fd = open(path, O_RDWR | O_NOCTTY);
	if (fd < 0)
		die("init: open %s", path);
	if (tcgetattr(fd, &raw) == 0) {
		cfmakeraw(&raw);
		tcsetattr(fd, TCSANOW, &raw);
	}
	if (dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
		die("init: dup2");
	if (fd > STDERR_FILENO)
		close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void load_module(const char *name)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		die("init: module %s", name);
	close(fd);
}

static void load_modules(void)
{
	struct dirent **entries;
	int n = scandir("/modules", &entries, not_hidden, alphasort);

	for (int i = 0; i < n; i++)
		load_module(entries[i]->d_name);
}

static void lo_up(void)
{
	struct ifreq req = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		die("init: lo");
	close(fd);
}

static void raise_limits(void)
{
	struct rlimit files = { OPEN_FILES, OPEN_FILES };

	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		die("init: RLIMIT_NOFILE");
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void __attribute__((noreturn)) become(char **argv)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	execv(argv[0], argv);
	fprintf(stderr, "init: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Waits for pid and reaps whoever else ends meanwhile; a session that takes too long is killed. */
static int await(pid_t pid)
{
	double end = now() + limit;
	bool killed = false;
	int status;
	pid_t got;

	for (;;) {
		got = waitpid(-1, &status, WNOHANG);
		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (got > 0)
			continue;
		if (now() > end && !killed) {
			printf("init: not done after %u s\n", limit);
			kill(-1, SIGKILL);
			killed = true;
		}
		usleep(20000);
	}
}

static void run(char **words)
{
	double start = now();
	int status;
	pid_t pid;

	printf("==> begin %s\n", words[0]);
	pid = fork();
	if (pid < 0)
		die("init: fork");
	if (pid == 0)
		become(words + 1);
	status = await(pid);
	printf("==> end %s %d %.0f\n", words[0], status, now() - start);
}

static void hide(const char *directory)
{
	if (mount("tmpfs", directory, "tmpfs", MS_RDONLY, NULL) < 0)
		die("init: hide %s", directory);
}

static void disk(const char *device, const char *directory)
{
	mkdir(directory, 0755);
	if (mount(device, directory, "ext4", 0, NULL) < 0)
		die("init: mount %s", device);
}

static long free_mib(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	long kib = -1;

	if (!file)
		die("init: /proc/meminfo");
	while (kib < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "MemAvailable: %ld kB", &kib);
	fclose(file);
	return kib / 1024;
}

/* Takes memory by the megabyte, and takes again what the others leave. There is no swap: what is taken stays. */
static void __attribute__((noreturn)) take_memory(long mib)
{
	const size_t size = 1 << 20;

	for (;;) {
		while (free_mib() > mib) {
			char *block = malloc(size);

			if (block)
				memset(block, 1, size);
		}
		usleep(100000);
	}
}

static void hog(long mib)
{
	pid_t pid = fork();

	if (pid < 0)
		die("init: fork");
	if (pid == 0)
		take_memory(mib);
	while (free_mib() > mib + 8) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			die("init: the hog is dead");
		usleep(100000);
	}
}

static size_t split(char *line, char *words[MAX_WORDS])
{
	size_t n = 0;
	char *at;

	for (char *word = strtok_r(line, " \n", &at); word && n < MAX_WORDS - 1; word = strtok_r(NULL, " \n", &at))
		words[n++] = word;
	words[n] = NULL;
	return n;
}

static void obey(char **words, size_t n)
{
	if (n >= 2 && strcmp(words[0], "env") == 0)
		putenv(strdup(words[1]));
	else if (n >= 2 && strcmp(words[0], "limit") == 0)
		limit = (unsigned)strtoul(words[1], NULL, 10);
	else if (n >= 2 && strcmp(words[0], "hide") == 0)
		hide(words[1]);
	else if (n >= 3 && strcmp(words[0], "disk") == 0)
		disk(words[1], words[2]);
	else if (n >= 2 && strcmp(words[0], "hog") == 0)
		hog(strtol(words[1], NULL, 10));
	else if (n >= 3 && strcmp(words[0], "run") == 0)
		run(words + 1);
	else if (n)
		printf("init: plan: what is '%s'?\n", words[0]);
}

static void follow_plan(void)
{
	char *line = NULL, *words[MAX_WORDS];
	size_t room = 0;
	FILE *plan = fopen("/plan", "re");

	if (!plan)
		die("init: /plan");
	while (getline(&line, &room, plan) >= 0)
		obey(words, split(line, words));
	free(line);
	fclose(plan);
}

int main(void)
{
	if (getpid() != 1) {
		fprintf(stderr, "init: this is for the first process of a guest\n");
		return 2;
	}
	mount_all();
	open_results();
	load_modules();
	lo_up();
	raise_limits();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	follow_plan();
	printf("==> done\n");
	tcdrain(STDOUT_FILENO);
	power_off();
}
