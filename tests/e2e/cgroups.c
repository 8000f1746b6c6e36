/* SPDX-License-Identifier: GPL-2.0 */
/* The cgroup and container of an owner, and --cgroup. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONTAINER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OUTER "portwake-e2e"
#define INNER OUTER "/docker-" CONTAINER ".scope"

static int root = -1;

/* The hierarchy by a mount of our own that no table shows. */
static int open_hierarchy(void)
{
	int fs = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC), mount;

	if (fs < 0)
		return -errno;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		close(fs);
		return -errno;
	}
	mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	close(fs);
	return mount < 0 ? -errno : mount;
}

static void make_groups(void)
{
	root = open_hierarchy();
	if (root < 0)
		skip_because("no cgroup v2: %s", strerror(-root));
	if ((mkdirat(root, OUTER, 0755) && errno != EEXIST) || (mkdirat(root, INNER, 0755) && errno != EEXIST))
		skip_because("cannot make a cgroup: %s", strerror(errno));
}

static void remove_groups(void)
{
	unlinkat(root, INNER, AT_REMOVEDIR);
	unlinkat(root, OUTER, AT_REMOVEDIR);
	close(root);
	root = -1;
}

/* "" is the root. */
static void enter_group(const char *path)
{
	char procs[256];
	int fd;

	snprintf(procs, sizeof(procs), "%s%scgroup.procs", path, *path ? "/" : "");
	fd = openat(root, procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		work_die("enter cgroup '%s'", path);
	close(fd);
}

static void one_socket(struct work *w, uint16_t port)
{
	struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_UDP);

	ws_bind(&s, port);
	ws_close(&s);
}

static void inside(struct work *w, void *arg)
{
	(void)arg;
	enter_group(INNER);
	one_socket(w, 7901);
}

static void beside(struct work *w, void *arg)
{
	(void)arg;
	enter_group(OUTER);
	one_socket(w, 7902);
}

/* The cgroup is that of the allocation, though the process moves on before it closes. */
static void moves_on(struct work *w, void *arg)
{
	struct wsock s;

	(void)arg;
	enter_group(INNER);
	s = ws_open_as(w, FAM_V4, IPPROTO_TCP);
	ws_bind(&s, 7903);
	enter_group(OUTER);
	ws_listen(&s);
	ws_close(&s);
	enter_group("");
}

static void in_groups(struct work *w)
{
	work_reap(w, work_spawn(w, inside, NULL));
	work_reap(w, work_spawn(w, beside, NULL));
	work_reap(w, work_spawn(w, moves_on, NULL));
	one_socket(w, 7904);
}

static void expect_group(const struct run *run, uint16_t port, const char *cgroup, const char *container)
{
	size_t n = 0;

	for (size_t i = 0; i < run->count; i++) {
		const struct seen *s = &run->seen[i];

		if (s->port != port)
			continue;
		n++;
		if (strcmp(s->cgroup, cgroup) != 0 || strncmp(s->container, container, 12) != 0)
			fail_msg("port %u: cgroup '%s', container '%s', not '%s', '%s'", port, s->cgroup, s->container,
				 cgroup, container);
	}
	if (n < 3)
		fail_msg("port %u has %zu events", port, n);
}

static void group_and_container(void **state)
{
	struct stage *stage = stage_new("cgroups");
	struct run *run = live_on(stage, NULL);

	(void)state;
	make_groups();
	stage_run(stage, in_groups);
	assert_truth(stage, run);
	assert_ends_well(run, SIGINT);
	remove_groups();
	expect_group(run, 7901, "/" INNER, CONTAINER);
	expect_group(run, 7902, "/" OUTER, "");
	expect_group(run, 7903, "/" INNER, CONTAINER);
}

static size_t of_port(const struct run *run, uint16_t port)
{
	size_t n = 0;

	for (size_t i = 0; i < run->count; i++)
		n += run->seen[i].port == port;
	return n;
}

static void expect_filtered(const char *path, size_t inner, size_t outer)
{
	struct stage *stage = stage_new("--cgroup");
	struct run *run = live_on(stage, ARGS("--cgroup", path));

	stage_run(stage, in_groups);
	assert_ends_well(run, SIGINT);
	if (of_port(run, 7901) != inner || of_port(run, 7903) != inner + !!inner || of_port(run, 7902) != outer ||
	    of_port(run, 7904))
		fail_msg("--cgroup %s: %zu %zu %zu %zu events", path, of_port(run, 7901), of_port(run, 7903),
			 of_port(run, 7902), of_port(run, 7904));
	run_free(&run);
}

static void filter_cgroup(void **state)
{
	(void)state;
	make_groups();
	expect_filtered("/" INNER, 3, 0);
	expect_filtered(INNER, 3, 0);
	expect_filtered("/" OUTER, 3, 3);
	remove_groups();
}

static const struct plain list[] = {
	{ "cgroups/group_and_container", group_and_container },
	{ "cgroups/filter_cgroup", filter_cgroup },
};

const struct plain_list cgroup_tests = { list, COUNT_OF(list) };
