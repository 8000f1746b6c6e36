/* SPDX-License-Identifier: GPL-2.0 */
/* Network namespaces in view. */
#include "user/netns.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "user/map.h"
#include "user/num.h"

/* -EINVAL: it is no network namespace. */
static int inode_of(const char *path, uint32_t *inode)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct statfs fs;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -EINVAL;
	*inode = (uint32_t)st.st_ino;
	return 0;
}

int netns_resolve(const char *text, uint32_t *inode)
{
	char path[512];
	uint64_t number;

	if (strchr(text, '/'))
		return inode_of(text, inode);
	if (!num_u64(text, 1, UINT32_MAX, &number)) {
		*inode = (uint32_t)number;
		return 0;
	}
	snprintf(path, sizeof(path), "/run/netns/%s", text);
	return inode_of(path, inode);
}

/* ---- where they can be seen ---- */

/* What a walk carries: every namespace is visited once. */
struct walk {
	struct map seen;
	const uint32_t *wanted;
	size_t count;
	int (*visit)(void *arg, uint32_t inode);
	void *arg;
	char *path;		/* not NULL: nothing is visited; the first path found is put here, and the walk ends with 1 */
	size_t path_size;
};

static bool is_wanted(const struct walk *walk, uint32_t inode)
{
	for (size_t i = 0; i < walk->count; i++)
		if (walk->wanted[i] == inode)
			return true;
	return !walk->count;
}

/* Can it be pasted into a shell as it is, and does it lead there? */
static bool is_way(const char *path, uint32_t inode)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._:@-";
	uint32_t found = 0;

	return !path[strspn(path, plain)] && !inode_of(path, &found) && found == inode;
}

static int put_way(struct walk *walk, const char *path, uint32_t inode)
{
	if (!is_way(path, inode))
		return 0;
	return snprintf(walk->path, walk->path_size, "%s", path) < (int)walk->path_size ? 1 : -ENAMETOOLONG;
}

static int enter(struct walk *walk, const char *path, uint32_t inode)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!is_wanted(walk, inode) || map_get(&walk->seen, inode))
		return 0;
	if (walk->path)
		return put_way(walk, path, inode);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	/* The process may have gone meanwhile, or left it, and the mount be out of reach: others may yet lead there. */
	if (fd < 0 || fstat(fd, &st) < 0 || (uint32_t)st.st_ino != inode || setns(fd, CLONE_NEWNET) < 0)
		return 0;
	if (map_put(&walk->seen, inode, walk))
		return -ENOMEM;
	return walk->visit(walk->arg, inode);
}

/* "net:[4026531833]" */
static bool parse_link(const char *text, uint32_t *inode)
{
	unsigned int number;
	char close;

	if (sscanf(text, "net:[%u%c", &number, &close) != 2 || close != ']')
		return false;
	*inode = number;
	return true;
}

static int each_process(struct walk *walk)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	struct dirent *entry;
	int r = 0;

	while (dir && !r && (entry = readdir(dir))) {
		char path[300], text[64];
		uint32_t inode;
		ssize_t length;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/net", entry->d_name);
		length = readlink(path, text, sizeof(text) - 1);
		if (length <= 0)
			continue;
		text[length] = '\0';
		if (parse_link(text, &inode))
			r = enter(walk, path, inode);
	}
	return r;
}

static bool is_octal(const char *text)
{
	return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' && text[2] >= '0' && text[2] <= '7';
}

/* "\040" is a blank: mangle_path() of the kernel's fs/seq_file.c. In place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; to++) {
		bool octal = at[0] == '\\' && is_octal(at + 1);

		*to = octal ? (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0')) : *at;
		at += octal ? 4 : 1;
	}
	*to = '\0';
}

/* Mounted ones (`ip netns`, container engines): field 4 of mountinfo is "net:[inode]", field 5 the place. */
static int each_mount(struct walk *walk)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[4096], root[256], place[2048];
	int r = 0;

	while (file && !r && fgets(line, sizeof(line), file)) {
		uint32_t inode;

		if (sscanf(line, "%*s %*s %*s %255s %2047s", root, place) != 2 || !parse_link(root, &inode))
			continue;
		unescape(place);
		r = enter(walk, place, inode);
	}
	return r;
}

static int walk_all(struct walk *walk)
{
	uint32_t own = 0;
	int r = inode_of("/proc/self/ns/net", &own);

	if (!r)
		r = enter(walk, "/proc/self/ns/net", own);
	if (!r)
		r = each_process(walk);
	if (!r)
		r = each_mount(walk);
	return r;
}

static int walk_from(struct walk *walk, const char *path, uint32_t inode)
{
	_cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (home < 0)
		return -errno;
	if (path)
		r = enter(walk, path, inode);
	if (!r)
		r = walk_all(walk);
	map_done(&walk->seen);
	if (setns(home, CLONE_NEWNET) < 0 && !r)
		r = -errno;
	return r;
}

int netns_path(uint32_t inode, char *path, size_t size)
{
	struct walk walk = { .wanted = &inode, .count = 1, .path = path, .path_size = size };
	/* First: a mounted one keeps its name when processes come and go. */
	int r = each_mount(&walk);

	if (!r)
		r = each_process(&walk);
	return r ? (r < 0 ? r : 0) : -ENOENT;
}

int netns_walk(const uint32_t *wanted, size_t count, int (*visit)(void *arg, uint32_t inode), void *arg)
{
	struct walk walk = { .wanted = wanted, .count = count, .visit = visit, .arg = arg };

	return walk_from(&walk, NULL, 0);
}

int netns_visit(uint32_t inode, uint32_t pid, int (*visit)(void *arg, uint32_t inode), void *arg)
{
	struct walk walk = { .wanted = &inode, .count = 1, .visit = visit, .arg = arg };
	char path[64];
	uint32_t found = 0;

	snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
	return walk_from(&walk, pid && !inode_of(path, &found) && found == inode ? path : NULL, inode);
}
