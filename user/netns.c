/* SPDX-License-Identifier: GPL-2.0 */
/* Network namespaces in view. */
#include "user/netns.h"

#include <ctype.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "user/map.h"
#include "user/num.h"

static int inode_of(const char *path, uint32_t *inode)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
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
};

static bool is_wanted(const struct walk *walk, uint32_t inode)
{
	for (size_t i = 0; i < walk->count; i++)
		if (walk->wanted[i] == inode)
			return true;
	return !walk->count;
}

static int enter(struct walk *walk, const char *path, uint32_t inode)
{
	_cleanup_close_ int fd = -1;

	if (!is_wanted(walk, inode) || map_get(&walk->seen, inode))
		return 0;
	if (map_put(&walk->seen, inode, walk))
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* It may have gone meanwhile, or be out of our reach: then it is not in view. */
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return 0;
	return walk->visit(walk->arg, inode);
}

typedef int (*found_fn)(struct walk *walk, const char *path, uint32_t inode);

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

static int each_process(struct walk *walk, found_fn found)
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
			r = found(walk, path, inode);
	}
	return r;
}

/* Mounted ones (`ip netns`, container engines): field 4 of mountinfo is "net:[inode]", field 5 the place. */
static int each_mount(struct walk *walk, found_fn found)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[4096], root[256], place[2048];
	int r = 0;

	while (file && !r && fgets(line, sizeof(line), file)) {
		uint32_t inode;

		if (sscanf(line, "%*s %*s %*s %255s %2047s", root, place) == 2 && parse_link(root, &inode))
			r = found(walk, place, inode);
	}
	return r;
}

static int walk_all(struct walk *walk, found_fn found)
{
	uint32_t own = 0;
	int r = inode_of("/proc/self/ns/net", &own);

	if (!r)
		r = found(walk, "/proc/self/ns/net", own);
	if (!r)
		r = each_process(walk, found);
	if (!r)
		r = each_mount(walk, found);
	return r;
}

int netns_walk(const uint32_t *wanted, size_t count, int (*visit)(void *arg, uint32_t inode), void *arg)
{
	struct walk walk = { .wanted = wanted, .count = count, .visit = visit, .arg = arg };
	_cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (home < 0)
		return -errno;
	r = walk_all(&walk, enter);
	map_done(&walk.seen);
	if (setns(home, CLONE_NEWNET) < 0 && !r)
		r = -errno;
	return r;
}

static int is_it(struct walk *walk, const char *path, uint32_t inode)
{
	(void)path;
	return inode == walk->wanted[0];
}

bool netns_alive(uint32_t inode)
{
	struct walk walk = { .wanted = &inode, .count = 1 };

	return walk_all(&walk, is_it) > 0;
}
