/* SPDX-License-Identifier: GPL-2.0 */
/* Tracers as child processes, and bare hooks. */
#include "tests/bench/cost/tracer.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/cost/load.h"

#define OUTPUT "/tmp/bench-output"
#define POLL_US 1000
#define POLLS 20000
#define SETTLE_US 200000	/* what the kernel does after an attach or a detach */

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

bool tracer_there(const struct tracer *tracer)
{
	return !tracer->asks || !system(tracer->asks);
}

/* ---- a program ---- */

static bool output_has(const char *text)
{
	FILE *file = fopen(OUTPUT, "re");
	bool found = false;
	char line[4096];

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	if (file)
		fclose(file);
	return found;
}

static double cpu_ms_of(pid_t pid)
{
	unsigned long user = 0, kernel = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
		die(path);
	fclose(file);
	return (double)(user + kernel) * 1000 / (double)sysconf(_SC_CLK_TCK);
}

static void start_program(struct tracer *t)
{
	char command[300];
	double began = now_ms();
	int polls = 0;

	snprintf(command, sizeof(command), "exec %s >" OUTPUT " 2>&1", t->command);
	t->pid = fork();
	if (!t->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	if (!t->ready)
		sleep(2);
	while (t->ready && !output_has(t->ready)) {
		if (++polls > POLLS || waitpid(t->pid, NULL, WNOHANG)) {
			errno = ETIMEDOUT;
			die(t->command);
		}
		usleep(POLL_US);
	}
	t->started_ms = now_ms() - began;
	t->cpu_ms = -cpu_ms_of(t->pid);
}

/* "portwake: N events in S s, L lost" */
static void read_summary(struct tracer *t)
{
	FILE *file = fopen(OUTPUT, "re");
	char line[4096];

	t->events = t->lost = -1;
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "portwake: %ld events in %*f s, %ld lost", &t->events, &t->lost);
	if (file)
		fclose(file);
}

void tracer_measure(struct tracer *t)
{
	char path[64], line[200];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", t->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "VmRSS: %ld", &t->rss_kib);
	if (file)
		fclose(file);
}

static void stop_program(struct tracer *t)
{
	t->cpu_ms += cpu_ms_of(t->pid);
	kill(t->pid, SIGINT);
	waitpid(t->pid, NULL, 0);
	read_summary(t);
	unlink(OUTPUT);
}

/* ---- what it has attached ---- */

static uint32_t program_of_link(const char *path)
{
	uint32_t id = 0;
	bool is_link = false;
	FILE *file = fopen(path, "re");
	char line[200];

	while (file && fgets(line, sizeof(line), file)) {
		is_link |= !strncmp(line, "link_type:", 10);
		sscanf(line, "prog_id: %u", &id);
	}
	if (file)
		fclose(file);
	return is_link ? id : 0;
}

static bool describe(uint32_t id, struct program *out)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	int r = fd < 0 ? -1 : bpf_obj_get_info_by_fd(fd, &info, &size);

	if (fd >= 0)
		close(fd);
	*out = (struct program){ .id = id, .function = info.attach_btf_id, .runs = info.run_cnt, .ns = info.run_time_ns,
				 .instructions = info.xlated_prog_len / 8 };
	snprintf(out->name, sizeof(out->name), "%s", info.name);
	return !r;
}

int tracer_programs(const struct tracer *t, struct program *programs)
{
	struct dirent *entry;
	char path[300];
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", t->pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) && count < TRACER_PROGRAMS) {
		uint32_t id;

		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", t->pid, entry->d_name);
		id = program_of_link(path);
		if (id && describe(id, &programs[count]) && strncmp(programs[count].name, "iter_", 5) != 0)
			count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

/* ---- the same places, with nothing on them ---- */

static const char *object_path(void)
{
	const char *path = getenv("PORTWAKE_OBJECT");

	return path ? path : "build/portwake.bpf.o";
}

/* BTF id of what a tracing program is attached to; 0 of others. */
static uint32_t function_of(const struct bpf_program *like)
{
	int id = bpf_program__type(like) != BPF_PROG_TYPE_TRACING ? 0 :
		 libbpf_find_vmlinux_btf_id(strchr(bpf_program__section_name(like), '/') + 1, bpf_program__expected_attach_type(like));

	return id < 0 ? 0 : (uint32_t)id;
}

static int load_empty(const struct bpf_program *like)
{
	/* 1: a cgroup program that lets everything pass, a tracepoint that stays everybody else's too. */
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	/* A tracing program answers 0. */
	static const struct bpf_insn nothing_traced[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	bool tracing = bpf_program__type(like) == BPF_PROG_TYPE_TRACING;
	struct bpf_prog_load_opts opts = {
		.sz = sizeof(opts), .expected_attach_type = bpf_program__expected_attach_type(like),
	};

	if (tracing)
		opts.attach_btf_id = function_of(like);
	return bpf_prog_load(bpf_program__type(like), "bench_bare", "GPL", tracing ? nothing_traced : nothing, 2, &opts);
}

/* tracefs need not be mounted: a mount that this process alone has will do. */
static void see_tracefs(void)
{
	if (!access("/sys/kernel/tracing/events", R_OK))
		return;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL) < 0)
		die("tracefs");
}

static int open_tracepoint(const char *name)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .sample_period = 1 };
	char path[200];
	FILE *file;

	see_tracefs();
	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", name);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%llu", &attr.config) != 1)
		die(path);
	fclose(file);
	return (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static int attach_empty(const struct bpf_program *like, int program, int cgroup)
{
	int event;

	switch (bpf_program__type(like)) {
	case BPF_PROG_TYPE_TRACEPOINT:
		event = open_tracepoint(strchr(bpf_program__section_name(like), '/') + 1);
		if (event < 0 || ioctl(event, PERF_EVENT_IOC_SET_BPF, program) < 0 ||
		    ioctl(event, PERF_EVENT_IOC_ENABLE, 0) < 0)
			return -1;
		return event;
	case BPF_PROG_TYPE_TRACING:
		return bpf_raw_tracepoint_open(NULL, program);
	default:
		return bpf_link_create(program, cgroup, bpf_program__expected_attach_type(like), NULL);
	}
}

static int open_cgroup(void)
{
	int fd = open("/sys/fs/cgroup/unified", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void stand_bare(struct tracer *t, const struct program *programs, int count, struct bpf_object *object)
{
	int cgroup = open_cgroup();
	struct bpf_program *like;

	/* The kernel keeps the first 15 letters of a name. */
	bpf_object__for_each_program(like, object) {
		for (int i = 0; i < count; i++) {
			int program, link;

			if (strncmp(bpf_program__name(like), programs[i].name, 15) != 0 || function_of(like) != programs[i].function)
				continue;
			program = load_empty(like);
			link = program < 0 ? -1 : attach_empty(like, program, cgroup);
			if (link < 0)
				die(bpf_program__section_name(like));
			t->fds[t->fd_count++] = program;
			t->fds[t->fd_count++] = link;
		}
	}
	close(cgroup);
}

static void start_bare(struct tracer *t)
{
	struct program programs[TRACER_PROGRAMS];
	struct bpf_object *object = bpf_object__open(object_path());
	int count;

	if (!object)
		die(object_path());
	start_program(t);
	count = tracer_programs(t, programs);
	stop_program(t);
	stand_bare(t, programs, count, object);
	bpf_object__close(object);
}

void tracer_start(struct tracer *t)
{
	if (t->bare)
		start_bare(t);
	else if (t->command)
		start_program(t);
	usleep(SETTLE_US);
}

void tracer_stop(struct tracer *t)
{
	if (t->bare)
		while (t->fd_count)
			close(t->fds[--t->fd_count]);
	else if (t->command)
		stop_program(t);
	usleep(SETTLE_US);
}
