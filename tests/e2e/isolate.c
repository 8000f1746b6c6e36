/* SPDX-License-Identifier: GPL-2.0 */
/* What the tracer leaves alone on the machine, and what the machine may deny it. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WITHIN (15 * SECOND)
#define KINDS 3

static void some_work(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w), udp = ws_open_as(w, FAM_V4, IPPROTO_UDP);

	ws_send(&udp, 7999);
	ws_finish(&s, ws_join(&s, &server));
	ws_close(&udp);
	ws_close(&server);
}

/* Links, programs and maps that the kernel has, by their highest number. */
static uint32_t next_id(int command, uint32_t after)
{
	union bpf_attr attr = { .start_id = after };

	return syscall(SYS_bpf, command, &attr, sizeof(attr)) < 0 ? 0 : attr.next_id;
}

static uint32_t highest_id(int command)
{
	uint32_t id = 0, next;

	while ((next = next_id(command, id)))
		id = next;
	return id;
}

static const int commands[KINDS] = { BPF_LINK_GET_NEXT_ID, BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID };

struct ids {
	uint32_t before[KINDS], during[KINDS];
};

static void highest_ids(uint32_t out[KINDS])
{
	for (int i = 0; i < KINDS; i++)
		out[i] = highest_id(commands[i]);
}

static bool all_gone(void *arg)
{
	const struct ids *ids = arg;

	for (int i = 0; i < KINDS; i++) {
		uint32_t next = next_id(commands[i], ids->before[i]);

		if (next && next <= ids->during[i])
			return false;
	}
	return true;
}

/* Nothing is pinned: even when it is killed, everything goes with the process. */
static void nothing_stays(void **state)
{
	struct ids ids;
	struct run *run;

	(void)state;
	highest_ids(ids.before);
	run = run_live(NULL, NULL);
	assert_non_null(run);
	highest_ids(ids.during);
	assert_true(ids.during[0] > ids.before[0]);
	assert_false(all_gone(&ids));
	assert_int_equal(run_stop(run, SIGKILL), 128 + SIGKILL);
	assert_true(run_until(all_gone, &ids, 10 * SECOND));
}

static size_t read_mounts(char *out, size_t size)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got;

	assert_true(fd >= 0);
	while (used < size && (got = read(fd, out + used, size - used)) > 0)
		used += (size_t)got;
	close(fd);
	return used;
}

static void mount_table_untouched(void **state)
{
	static char before[65536], during[65536], after[65536];
	size_t size = read_mounts(before, sizeof(before));
	struct run *run = run_live(NULL, NULL);

	(void)state;
	assert_non_null(run);
	assert_int_equal(read_mounts(during, sizeof(during)), size);
	assert_memory_equal(before, during, size);
	assert_ends_well(run, SIGINT);
	assert_int_equal(read_mounts(after, sizeof(after)), size);
	assert_memory_equal(before, after, size);
}

static void hide(const char *path)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("e2e", path, "tmpfs", 0, NULL))
		_exit(WORK_SKIPPED);
}

/* As in an `ip netns exec` shell, whose /sys is a new one. */
static void hide_cgroups(void *arg)
{
	(void)arg;
	hide("/sys/fs/cgroup");
}

static void cgroup_is_not_mounted(void **state)
{
	struct stage *stage = stage_new("no cgroup mount");
	struct run_options options = { .before_exec = hide_cgroups };
	struct run *run = run_live(ARGS("--netns", stage->inode), &options);

	(void)state;
	assert_non_null(run);
	stage_run(stage, some_work);
	assert_truth(stage, run);
	assert_ends_well(run, SIGINT);
}

/* A cgroup hierarchy that is neither mounted nor may be. */
static void deny_cgroups(void *arg)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsopen, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mount, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = COUNT_OF(filter), .filter = filter };

	(void)arg;
	hide("/sys/fs/cgroup");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(WORK_SKIPPED);
}

static void hide_btf(void *arg)
{
	(void)arg;
	hide("/sys/kernel");
}

static size_t lines_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void expect_cannot_trace(void (*before_exec)(void *arg), const char *word)
{
	struct run_options options = { .args = ARGS("live", "--json"), .before_exec = before_exec, .text = true };
	struct run *run = run_start(&options);
	int status = run_wait(run, WITHIN);

	if (status == WORK_SKIPPED)
		skip_because("cannot hide it from the tracer");
	if (status != 3)
		fail_msg("exit status %d, not 3; stderr: %s", status, run->talk);
	if (lines_of(run->talk) != 1 || !strstr(run->talk, word))
		fail_msg("not one line that names '%s': %s", word, run->talk);
	assert_int_equal(run->partial_len, 0);
}

static void no_cgroups_at_all(void **state)
{
	(void)state;
	expect_cannot_trace(deny_cgroups, "cgroup");
}

static void no_btf(void **state)
{
	(void)state;
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		skip_because("this kernel has no BTF of its own");
	expect_cannot_trace(hide_btf, "BTF");
}

static void two_tracers(void **state)
{
	struct stage *stage = stage_new("two tracers");
	struct run *first = live_on(stage, NULL), *second = live_on(stage, NULL);

	(void)state;
	stage_run(stage, some_work);
	assert_truth(stage, first);
	assert_truth(stage, second);
	assert_ends_well(first, SIGINT);
	assert_truth(stage, second);
	assert_ends_well(second, SIGINT);
}

static const struct plain list[] = {
	{ "isolate/nothing_stays", nothing_stays },
	{ "isolate/mount_table_untouched", mount_table_untouched },
	{ "isolate/cgroup_is_not_mounted", cgroup_is_not_mounted },
	{ "isolate/no_cgroups_at_all", no_cgroups_at_all },
	{ "isolate/no_btf", no_btf },
	{ "isolate/two_tracers", two_tracers },
};

const struct plain_list isolate_tests = { list, COUNT_OF(list) };
