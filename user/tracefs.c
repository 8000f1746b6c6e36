/* SPDX-License-Identifier: GPL-2.0 */
/* Events of tracefs. */
#include "user/tracefs.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "user/base.h"

static int mount_own(void)
{
	_cleanup_close_ int fs = fsopen("tracefs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static int open_root(void)
{
	_cleanup_close_ int fd = open("/sys/kernel/tracing", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && !faccessat(fd, "events", F_OK, 0))
		return TAKE_FD(fd);
	return mount_own();
}

static int read_id(const char *name, unsigned long long *out)
{
	_cleanup_close_ int root = open_root();
	_cleanup_fclose_ FILE *file = NULL;
	char path[128];
	int fd;

	if (root < 0)
		return root;
	snprintf(path, sizeof(path), "events/%s/id", name);
	fd = openat(root, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	file = fdopen(fd, "re");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	return fscanf(file, "%llu", out) == 1 ? 0 : -EIO;
}

int tracefs_open_event(const char *name)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr) };
	unsigned long long id = 0;
	int r = read_id(name, &id);

	if (r)
		return r;
	attr.config = id;
	/* Any task, by way of one CPU, the first that is online: the BPF program is called for all of them. */
	for (int cpu = 0; cpu == 0 || (r == -ENODEV && cpu < sysconf(_SC_NPROCESSORS_CONF)); cpu++) {
		r = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
		if (r < 0)
			r = -errno;
	}
	return r;
}
