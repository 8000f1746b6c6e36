/* SPDX-License-Identifier: GPL-2.0 */
/* The ring, the counters, the iterators. */
#include "user/probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "user/mem.h"
#include "user/ring.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include "portwake.skel.h"
#pragma GCC diagnostic pop

#define WALK_BYTES 32768	/* what the kernel gathers for one read of an iterator (bpf_seq_read()) */
#define BATCH 16384	/* records that one probe_consume() hands out at most */

struct probe {
	struct climb climb;
	struct ring *ring;
	struct probe_hook hooks[LADDER_HOOKS];
	struct probe_loss before;	/* lost while nobody listened: at the start */
	int cpus;
	probe_event_fn on_event;
	void *arg;
	uint64_t malformed;
};

/* ---- the ring ---- */

static void publish(struct probe *p)
{
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		const struct rung *rung = climb_rung(&p->climb, hook);

		p->hooks[hook].name = ladder[hook].name;
		p->hooks[hook].watches = ladder[hook].watches;
		p->hooks[hook].rung = rung ? rung->name : NULL;
		p->hooks[hook].exact = rung ? rung->exact : "not seen";
		p->hooks[hook].cost = rung ? rung->cost : "nothing";
		p->hooks[hook].passed = p->climb.passed[hook];
	}
}

static void on_record(void *arg, const void *data, size_t size)
{
	struct probe *p = arg;
	struct event event;

	if (event_decode(data, size, &event))
		p->malformed++;
	else
		p->on_event(p->arg, &event);
}

void probe_free(struct probe **probe)
{
	struct probe *p = *probe;

	if (!p)
		return;
	ring_free(&p->ring);
	climb_down(&p->climb);
	pw_free(p);
	*probe = NULL;
}

int probe_fd(const struct probe *p)
{
	return bpf_map__fd(p->climb.skel->maps.ring);
}

int probe_consume(struct probe *p)
{
	return ring_consume(p->ring, BATCH, on_record, p);
}

size_t probe_hooks(const struct probe *p, const struct probe_hook **out)
{
	*out = p->hooks;
	return LADDER_HOOKS;
}

/* ---- loss ---- */

static int sum_lost(struct probe *p, uint32_t reason, uint64_t *out)
{
	_cleanup_free_ uint64_t *values = calloc((size_t)p->cpus, sizeof(*values));

	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(p->climb.skel->maps.lost), &reason, values))
		return -errno;
	*out = 0;
	for (int cpu = 0; cpu < p->cpus; cpu++)
		*out += values[cpu];
	return 0;
}

/* Kprobes and the ends of system calls are counted since Linux 6.7 ("bpf: Count missed stats in trace_call_bpf"). */
static bool is_skippable(const struct bpf_program *program)
{
	enum bpf_prog_type type = bpf_program__type(program);

	return type == BPF_PROG_TYPE_TRACING || type == BPF_PROG_TYPE_KPROBE || type == BPF_PROG_TYPE_TRACEPOINT;
}

/* 0 or -errno: adds the runs of a program that the kernel skipped. */
static int add_misses(struct probe *p, const char *name, uint64_t *sum)
{
	const struct bpf_program *program = bpf_object__find_program_by_name(p->climb.skel->obj, name);
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	/* A look-up for a packet that interrupts one for a connect() is skipped, and of no interest. */
	if (!is_skippable(program) || !strncmp(name, "route", strlen("route")))
		return 0;
	if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size))
		return -errno;
	*sum += info.recursion_misses;
	return 0;
}

static int sum_recursion(struct probe *p, uint64_t *out)
{
	const char *name;
	int r = 0;

	*out = 0;
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++)
		for (size_t i = 0; !r && (name = climb_program(&p->climb, hook, i)); i++)
			if (p->climb.links[hook][i])
				r = add_misses(p, name, out);
	return r;
}

static int read_losses(struct probe *p, struct probe_loss *out)
{
	int r = sum_lost(p, PW_LOST_RING, &out->ring);

	if (!r)
		r = sum_lost(p, PW_LOST_RING_ALLOC, &out->ring_allocations);
	if (!r)
		r = sum_lost(p, PW_LOST_MAP, &out->map);
	if (!r)
		r = sum_recursion(p, &out->recursion);
	out->malformed = p->malformed;
	return r;
}

int probe_losses(struct probe *p, struct probe_loss *out)
{
	int r = read_losses(p, out);

	out->ring -= p->before.ring;
	out->ring_allocations -= p->before.ring_allocations;
	out->map -= p->before.map;
	out->recursion -= p->before.recursion;
	return r;
}

uint64_t probe_malformed(const struct probe *p)
{
	return p->malformed;
}

/* ---- letting go ---- */

/* "anon_inode:bpf-map", "anon_inode:bpf_link", "anon_inode:btf", "anon_inode:[perf_event]" */
static bool is_of_bpf(int dir, const char *name)
{
	char link[64];
	ssize_t length = readlinkat(dir, name, link, sizeof(link) - 1);

	if (length <= 0)
		return false;
	link[length] = '\0';
	return !strncmp(link, "anon_inode:bpf", 14) || !strcmp(link, "anon_inode:btf") ||
	       !strcmp(link, "anon_inode:[perf_event]");
}

/* What libbpf mapped of the programs' variables: memory of our own in its place, which it unmaps later. */
static int let_go_of_variables(struct bpf_object *object)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		void *at = bpf_map__is_internal(map) ? (void *)bpf_map__initial_value(map, &size) : NULL;

		if (at && mmap(at, (size + page - 1) / page * page, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

/* Each number stays taken: what libbpf closes later is nobody else's, and detaches nothing. */
int probe_let_go(struct probe *p)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_closedir_ DIR *fds = opendir("/proc/self/fd");
	int ring = bpf_map__fd(p->climb.skel->maps.ring);
	struct dirent *entry;

	if (null < 0 || !fds)
		return -errno;
	while ((entry = readdir(fds))) {
		int fd = atoi(entry->d_name);

		if (fd != ring && is_of_bpf(dirfd(fds), entry->d_name) && dup3(null, fd, O_CLOEXEC) < 0)
			return -errno;
	}
	return let_go_of_variables(p->climb.skel->obj);
}

/* ---- opening ---- */

/* lockdown(7): "none integrity [confidentiality]", where the last lets no program read kernel memory. */
static bool is_locked_down(void)
{
	_cleanup_fclose_ FILE *file = fopen("/sys/kernel/security/lockdown", "re");
	char line[128];

	return file && fgets(line, sizeof(line), file) && strstr(line, "[confidentiality]");
}

static void explain(const struct probe *p, int error, char *why, size_t size)
{
	const struct hook *missing = climb_missing(&p->climb);

	if (access("/sys/kernel/btf/vmlinux", R_OK))
		snprintf(why, size, "this kernel shows no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF=y, "
			 "and /sys mounted");
	else if (geteuid())
		snprintf(why, size, "not allowed to load BPF programs (%s): run it as root, as in: sudo portwake",
			 strerror(-error));
	else if (is_locked_down())
		snprintf(why, size, "this kernel is locked down (/sys/kernel/security/lockdown says confidentiality): no program "
			 "may read its memory; boot it with lockdown=integrity, or without lockdown");
	else if (missing)
		snprintf(why, size, "the hook '%s' (%s) cannot be used: %s; root's capabilities or the kernel lack what it needs",
			 missing->name, missing->watches, p->climb.passed[missing - ladder]);
	else
		snprintf(why, size, "the kernel refused the BPF object: %s; -v shows its words", strerror(-error));
}

static bool cannot_even_try(const struct probe *p, char *why, size_t size)
{
	if (!access("/sys/kernel/btf/vmlinux", R_OK) && !geteuid())
		return false;
	explain(p, -EPERM, why, size);
	return true;
}

int probe_open(const struct probe_options *o, probe_event_fn on_event, void *arg, struct probe **out, char *why,
	       size_t why_size)
{
	_cleanup_probe_ struct probe *p = pw_calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->on_event = on_event;
	p->arg = arg;
	p->cpus = libbpf_num_possible_cpus();
	if (p->cpus < 0)
		return p->cpus;
	if (cannot_even_try(p, why, why_size))
		return -EPERM;
	r = climb(&p->climb, o);
	if (r) {
		explain(p, r, why, why_size);
		return r;
	}
	r = ring_open(probe_fd(p), bpf_map__max_entries(p->climb.skel->maps.ring), &p->ring);
	/* What was lost until now was for nobody: the snapshot tells what there is. */
	if (!r)
		r = read_losses(p, &p->before);
	if (r) {
		explain(p, r, why, why_size);
		return r;
	}
	publish(p);
	*out = TAKE_PTR(p);
	return 0;
}

/* ---- looking ---- */

static struct bpf_link *iterator(struct probe *p, enum probe_rows rows)
{
	const char *name = rows == PROBE_ROWS_TCP ? "iter_tcp" : rows == PROBE_ROWS_UDP ? "iter_udp" : "iter_task_file";

	for (size_t hook = 0; hook < LADDER_HOOKS; hook++)
		for (size_t i = 0; climb_program(&p->climb, hook, i); i++)
			if (!strcmp(climb_program(&p->climb, hook, i), name))
				return p->climb.links[hook][i];
	return NULL;
}

int probe_walk(struct probe *p, enum probe_rows rows, probe_event_fn on_row, void *arg)
{
	_cleanup_close_ int fd = bpf_iter_create(bpf_link__fd(iterator(p, rows)));
	_Alignas(struct pw_row) char space[WALK_BYTES];
	size_t have = 0;
	struct event event;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t got = read(fd, space + have, sizeof(space) - have);
		size_t at = 0;

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		have += (size_t)got;
		for (; have - at >= sizeof(struct pw_row); at += sizeof(struct pw_row)) {
			/* A cookie of 0 is a socket that could not be given one: nothing can be said of it. */
			if (!event_decode(space + at, sizeof(struct pw_row), &event))
				on_row(arg, &event);
		}
		memmove(space, space + at, have - at);
		have -= at;
	}
}

static int look_part(struct probe *p, struct pw_look *looks, size_t count)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (count)
		memcpy(p->climb.skel->bss->looks, looks, count * sizeof(*looks));
	p->climb.skel->bss->look_count = (uint32_t)count;
	if (bpf_prog_test_run_opts(bpf_program__fd(p->climb.skel->progs.look_again), &opts))
		return -errno;
	if (count)
		memcpy(looks, p->climb.skel->bss->looks, count * sizeof(*looks));
	return 0;
}

int probe_look(struct probe *p, struct pw_look *looks, size_t count)
{
	int r = 0;

	for (size_t at = 0; at < count && !r; at += PW_LOOKS)
		r = look_part(p, looks + at, count - at < PW_LOOKS ? count - at : PW_LOOKS);
	return r;
}
