/* SPDX-License-Identifier: GPL-2.0 */
/* Processes by their open sockets. */
#include "user/procfd.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct search {
	const uint32_t *inodes;
	size_t count;
	struct event_process *out;
};

/* Field 22 of proc(5)'s stat, counted behind the last ')', and the name between the brackets. */
static int read_stat(int dir, struct event_process *out)
{
	uint64_t tick = 1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK);
	_cleanup_close_ int fd = openat(dir, "stat", O_RDONLY | O_CLOEXEC);
	unsigned long long ticks;
	char line[1024], *open, *close;
	ssize_t got = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (got <= 0)
		return -ESRCH;
	line[got] = '\0';
	open = strchr(line, '(');
	close = strrchr(line, ')');
	if (!open || !close || sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
				      "%*d %*d %llu", &ticks) != 1)
		return -ESRCH;
	*close = '\0';
	snprintf(out->comm, sizeof(out->comm), "%s", open + 1);
	out->start = ticks * tick;
	return 0;
}

static void take_process(const char *pid, int dir, struct event_process *out)
{
	struct event_process process = { .pid = (uint32_t)strtoul(pid, NULL, 10) };
	struct stat st;

	if (read_stat(dir, &process) || fstat(dir, &st) < 0)
		return;
	process.uid = st.st_uid;
	*out = process;
}

static void on_link(struct search *search, const char *pid, int dir, const char *link)
{
	unsigned int inode;

	if (sscanf(link, "socket:[%u]", &inode) != 1)
		return;
	for (size_t i = 0; i < search->count; i++)
		if (search->inodes[i] == inode && !search->out[i].pid)
			take_process(pid, dir, &search->out[i]);
}

static void each_fd(struct search *search, const char *pid)
{
	_cleanup_closedir_ DIR *fds = NULL;
	_cleanup_close_ int dir = -1;
	struct dirent *entry;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%.10s", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%.10s/fd", pid);
	fds = dir < 0 ? NULL : opendir(path);
	while (fds && (entry = readdir(fds))) {
		char link[64];
		ssize_t length = readlinkat(dirfd(fds), entry->d_name, link, sizeof(link) - 1);

		if (length <= 0)
			continue;
		link[length] = '\0';
		on_link(search, pid, dir, link);
	}
}

void procfd_find(const uint32_t *inodes, size_t count, struct event_process *out)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct search search = { inodes, count < PROCFD_MAX ? count : PROCFD_MAX, out };
	struct dirent *entry;

	memset(out, 0, count * sizeof(*out));
	while (proc && (entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]))
			each_fd(&search, entry->d_name);
}
