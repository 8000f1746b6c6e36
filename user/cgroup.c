/* SPDX-License-Identifier: GPL-2.0 */
/* cgroup v2 without the mount table. */
#include "user/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* include/linux/exportfs.h: FILEID_KERNFS, whose handle is the 64-bit id. */
#define HANDLE_KERNFS 0xfe

/* glibc 2.36 has these calls, but its <sys/mount.h> and <linux/mount.h> cannot stand in one file. */
static int sys_fsopen(const char *name)
{
	return (int)syscall(SYS_fsopen, name, FSOPEN_CLOEXEC);
}

static int own_mount(void)
{
	_cleanup_close_ int fs = sys_fsopen("cgroup2");
	_cleanup_close_ int mount = -1;
	int root;

	if (fs < 0)
		return -errno;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (mount < 0)
		return -errno;
	/* fsmount() gives an O_PATH descriptor, which open_by_handle_at() refuses. */
	root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -errno : root;
}

static int mounted(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return -ENODEV;
	return TAKE_FD(fd);
}

int cgroup_open_root(void)
{
	int error = own_mount();
	int fd = error;

	if (fd < 0)
		fd = mounted("/sys/fs/cgroup");
	if (fd < 0)
		fd = mounted("/sys/fs/cgroup/unified");
	return fd < 0 ? error : fd;
}

static int path_of(int fd, char *out, size_t size)
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, out, size - 1);
	if (length < 0)
		return -errno;
	if ((size_t)length >= size - 1)
		return -ENAMETOOLONG;
	out[length] = '\0';
	return 0;
}

int cgroup_path(int root, uint64_t id, char *out, size_t size)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + sizeof(id)];
	} h = { .handle = { .handle_bytes = sizeof(id), .handle_type = HANDLE_KERNFS } };
	_cleanup_close_ int fd = -1;
	char base[4096];
	size_t skip;
	int r;

	memcpy(h.handle.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(root, &h.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = path_of(fd, out, size);
	if (r)
		return r;
	r = path_of(root, base, sizeof(base));
	if (r)
		return r;
	/* In a mount of our own the root is "/"; in the host's it is where that is mounted. */
	skip = strlen(base);
	if (skip > 1 && !strncmp(out, base, skip))
		memmove(out, out + skip, strlen(out + skip) + 1);
	if (!*out)
		strcpy(out, "/");
	return 0;
}

int cgroup_id(int root, const char *path, uint64_t *out)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + sizeof(*out)];
	} h = { .handle = { .handle_bytes = sizeof(*out) } };
	_cleanup_close_ int fd = mounted(path);
	int mount;

	if (fd < 0) {
		while (*path == '/')
			path++;
		fd = openat(root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	if (name_to_handle_at(fd, "", &h.handle, &mount, AT_EMPTY_PATH) < 0)
		return -errno;
	memcpy(out, h.handle.f_handle, sizeof(*out));
	return 0;
}
