/* SPDX-License-Identifier: GPL-2.0 */
/* The ladder, the ring, the counters, the iterators. */
#include "user/probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <string.h>

#include "user/log.h"
#include "user/mem.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include "portwake.skel.h"
#pragma GCC diagnostic pop

#define BATCH 16384	/* records that one probe_consume() hands out at most */
#define PROGRAMS 4
#define RUNGS 3

struct rung {
	const char *name;
	const char *programs[PROGRAMS];
};

struct hook {
	const char *name;
	const char *watches;
	bool vital;		/* without it there is nothing to trace */
	struct rung rungs[RUNGS];	/* best first */
};

/*
 * The ladder. A row is a thing watched; its rungs are tried from the left, and
 * the first that loads and attaches is used. What ends a lifetime is attached
 * before what begins one: none begun while attaching stays open for ever.
 */
static const struct hook ladder[] = {
	{ "tcp-release", "TCP giving a port back or over to TIME_WAIT", true,
	  { { "tracepoint", { "set_state", "destroy_sock" } } } },
	{ "udp-destroy", "SOCK_DESTROY of a UDP socket", false,
	  { { "tracepoint", { "error_report" } } } },
	{ "time-wait-end", "a TIME_WAIT expiring", false,
	  { { "tracepoint", { "timer_expire" } } } },
	{ "close", "the last descriptor closed", true,
	  { { "cgroup", { "sock_release" } } } },
	{ "bind", "bind() of a port, asked for and taken", true,
	  { { "cgroup", { "bind4", "bind6", "post_bind4", "post_bind6" } } } },
	{ "tcp-open", "TCP connect() and listen() taking a port", true,
	  { { "sockops", { "sockops" } } } },
	{ "udp-connect", "UDP connect() taking a port", false,
	  { { "cgroup+tracepoint", { "connect4", "connect6", "route4", "route6" } },
	    { "cgroup+tracepoint, IPv4 only", { "connect4", "route4" } } } },
	{ "udp-send", "an unconnected UDP send taking a port", false,
	  { { "cgroup", { "sendmsg4", "sendmsg6" } } } },
	{ "snapshot", "sockets open before", true,
	  { { "iterator", { "iter_task_file", "iter_tcp", "iter_udp" } } } },
	{ "look", "does that object still hold its port", true,
	  { { "syscall program", { "look_again" } } } },
};

#define HOOKS ARRAY_SIZE(ladder)

struct probe {
	struct portwake_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link *links[HOOKS][PROGRAMS];
	struct probe_hook hooks[HOOKS];
	int rung[HOOKS];
	int cpus;
	probe_event_fn on_event;
	void *arg;
	uint64_t malformed;
	int batch;		/* records handed out by the probe_consume() at work */
};

static int _printf_(2, 0) print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level;
	if (log_get_level() >= LOG_LEVEL_DEBUG)
		log_linev(LOG_LEVEL_DEBUG, fmt, args);
	return 0;
}

/* ---- choosing ---- */

static const struct rung *rung_of(const struct probe *p, size_t hook)
{
	return p->rung[hook] < RUNGS && ladder[hook].rungs[p->rung[hook]].name ?
		       &ladder[hook].rungs[p->rung[hook]] : NULL;
}

static const char *program_of(const struct probe *p, size_t hook, size_t i)
{
	const struct rung *rung = rung_of(p, hook);

	return rung && i < PROGRAMS ? rung->programs[i] : NULL;
}

static void step_down(struct probe *p, size_t hook, const char *program, int error)
{
	struct probe_hook *out = &p->hooks[hook];
	size_t used = strlen(out->passed);

	snprintf(out->passed + used, sizeof(out->passed) - used, "%s%s refused: %s", used ? "; " : "", program,
		 strerror(-error));
	p->rung[hook]++;
}

/* Steps down the hook that has this program, for a reason of ours. */
static void step_down_named(struct probe *p, const char *program, const char *why)
{
	for (size_t hook = 0; hook < HOOKS; hook++) {
		struct probe_hook *out = &p->hooks[hook];

		if (!program_of(p, hook, 0) || strcmp(program_of(p, hook, 0), program) != 0)
			continue;
		snprintf(out->passed, sizeof(out->passed), "%s", why);
		p->rung[hook]++;
	}
}

static uint64_t tw_handler(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/kallsyms", "re");
	char line[256], name[128], type;
	unsigned long long address;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%llx %c %127s", &address, &type, name) == 3 && !strcmp(name, "tw_timer_handler"))
			return address;
	return 0;
}

static uint32_t ring_size_of(const struct probe_options *o)
{
	return o->ring_size ? o->ring_size : PROBE_RING_DEFAULT;
}

static void configure(struct portwake_bpf *skel, const struct probe_options *o, uint32_t ring_size)
{
	struct pw_settings *settings = (struct pw_settings *)&skel->rodata->settings;

	*settings = o->settings;
	settings->wake_bytes = ring_size / 8;
	settings->tw_handler = tw_handler();
	if (o->ports) {
		settings->by_port = 1;
		memcpy((void *)skel->rodata->wanted_ports, o->ports->bits, sizeof(o->ports->bits));
	}
	bpf_map__set_max_entries(skel->maps.ring, ring_size);
}

/* Would this program load, alone? */
static int trial(const struct probe_options *o, const char *name)
{
	struct portwake_bpf *skel = portwake_bpf__open();
	struct bpf_program *program;
	int r;

	if (!skel)
		return -errno;
	configure(skel, o, (uint32_t)sysconf(_SC_PAGESIZE));
	program = bpf_object__find_program_by_name(skel->obj, name);
	bpf_program__set_autoload(program, true);
	r = portwake_bpf__load(skel);
	portwake_bpf__destroy(skel);
	return r;
}

/* Steps down every hook with a program that does not load; how many did. */
static int find_culprits(struct probe *p, const struct probe_options *o)
{
	int found = 0;

	for (size_t hook = 0; hook < HOOKS; hook++) {
		const char *name;

		for (size_t i = 0; (name = program_of(p, hook, i)); i++) {
			int r = trial(o, name);

			if (!r)
				continue;
			step_down(p, hook, name, r);
			found++;
			break;
		}
	}
	return found;
}

static int load(struct probe *p, const struct probe_options *o)
{
	const char *name;

	p->skel = portwake_bpf__open();
	if (!p->skel)
		return -errno;
	configure(p->skel, o, ring_size_of(o));
	for (size_t hook = 0; hook < HOOKS; hook++)
		for (size_t i = 0; (name = program_of(p, hook, i)); i++)
			bpf_program__set_autoload(bpf_object__find_program_by_name(p->skel->obj, name), true);
	return portwake_bpf__load(p->skel);
}

static void unload(struct probe *p)
{
	for (size_t hook = 0; hook < HOOKS; hook++) {
		for (size_t i = 0; i < PROGRAMS; i++) {
			bpf_link__destroy(p->links[hook][i]);
			p->links[hook][i] = NULL;
		}
	}
	portwake_bpf__destroy(p->skel);
	p->skel = NULL;
}

static struct bpf_link *attach_one(struct bpf_program *program, int cgroup)
{
	switch (bpf_program__type(program)) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_SOCK_OPS:
		return bpf_program__attach_cgroup(program, cgroup);
	default:
		return bpf_program__attach(program);
	}
}

/* A hook that does not attach steps down, and -EAGAIN asks for another load. */
static int attach(struct probe *p, const struct probe_options *o)
{
	const char *name;

	for (size_t hook = 0; hook < HOOKS; hook++) {
		for (size_t i = 0; (name = program_of(p, hook, i)); i++) {
			struct bpf_program *program = bpf_object__find_program_by_name(p->skel->obj, name);

			if (bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL)
				continue;
			p->links[hook][i] = attach_one(program, o->cgroup_root);
			if (p->links[hook][i])
				continue;
			step_down(p, hook, name, -errno);
			return -EAGAIN;
		}
	}
	return 0;
}

static const struct hook *missing_vital(const struct probe *p)
{
	for (size_t hook = 0; hook < HOOKS; hook++)
		if (ladder[hook].vital && !rung_of(p, hook))
			return &ladder[hook];
	return NULL;
}

static int look_part(struct probe *p, struct pw_look *looks, size_t count)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (count)
		memcpy(p->skel->bss->looks, looks, count * sizeof(*looks));
	p->skel->bss->look_count = (uint32_t)count;
	if (bpf_prog_test_run_opts(bpf_program__fd(p->skel->progs.look_again), &opts))
		return -errno;
	if (count)
		memcpy(looks, p->skel->bss->looks, count * sizeof(*looks));
	return 0;
}

static int climb(struct probe *p, const struct probe_options *o)
{
	/* kptr_restrict hides it; then the look at each TIME_WAIT, once a second, is all there is. */
	if (!tw_handler())
		step_down_named(p, "timer_expire", "the address of tw_timer_handler is hidden (kernel.kptr_restrict)");
	for (;;) {
		int r;

		if (missing_vital(p))
			return -EOPNOTSUPP;
		r = load(p, o);
		if (r) {
			unload(p);
			if (!find_culprits(p, o))
				return r;
			continue;
		}
		/* Tells the kernel side who we are, before anything can be filtered by it. */
		r = look_part(p, NULL, 0);
		if (!r)
			r = attach(p, o);
		if (r != -EAGAIN)
			return r;
		unload(p);
	}
}

static void publish(struct probe *p)
{
	for (size_t hook = 0; hook < HOOKS; hook++) {
		const struct rung *rung = rung_of(p, hook);

		p->hooks[hook].name = ladder[hook].name;
		p->hooks[hook].watches = ladder[hook].watches;
		p->hooks[hook].rung = rung ? rung->name : NULL;
	}
}

/* ---- opening ---- */

static int on_sample(void *arg, void *data, size_t size)
{
	struct probe *p = arg;
	struct event event;

	if (event_decode(data, size, &event))
		p->malformed++;
	else
		p->on_event(p->arg, &event);
	return ++p->batch < BATCH ? 0 : -EAGAIN;
}

static void explain(const struct probe *p, int error, char *why, size_t size)
{
	const struct hook *missing = missing_vital(p);

	if (access("/sys/kernel/btf/vmlinux", R_OK))
		snprintf(why, size, "this kernel shows no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF=y, "
			 "and /sys mounted");
	else if (geteuid())
		snprintf(why, size, "not allowed to load BPF programs (%s): run it as root, as in: sudo portwake",
			 strerror(-error));
	else if (missing)
		snprintf(why, size, "the hook '%s' (%s) cannot be used: %s; root's capabilities or the kernel lack what it needs",
			 missing->name, missing->watches, p->hooks[missing - ladder].passed);
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
	libbpf_set_print(print_libbpf);
	p->on_event = on_event;
	p->arg = arg;
	p->cpus = libbpf_num_possible_cpus();
	if (p->cpus < 0)
		return p->cpus;
	if (cannot_even_try(p, why, why_size))
		return -EPERM;
	r = climb(p, o);
	if (r) {
		explain(p, r, why, why_size);
		return r;
	}
	publish(p);
	p->ring = ring_buffer__new(bpf_map__fd(p->skel->maps.ring), on_sample, p, NULL);
	if (!p->ring) {
		r = -errno;
		explain(p, r, why, why_size);
		return r;
	}
	*out = TAKE_PTR(p);
	return 0;
}

void probe_free(struct probe **probe)
{
	struct probe *p = *probe;

	if (!p)
		return;
	ring_buffer__free(p->ring);
	unload(p);
	pw_free(p);
	*probe = NULL;
}

int probe_fd(const struct probe *p)
{
	return ring_buffer__epoll_fd(p->ring);
}

int probe_consume(struct probe *p)
{
	p->batch = 0;
	return ring_buffer__consume(p->ring);
}

size_t probe_hooks(const struct probe *p, const struct probe_hook **out)
{
	*out = p->hooks;
	return HOOKS;
}

/* ---- loss ---- */

static int sum_lost(struct probe *p, uint32_t reason, uint64_t *out)
{
	_cleanup_free_ uint64_t *values = calloc((size_t)p->cpus, sizeof(*values));

	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(p->skel->maps.lost), &reason, values))
		return -errno;
	*out = 0;
	for (int cpu = 0; cpu < p->cpus; cpu++)
		*out += values[cpu];
	return 0;
}

static int sum_recursion(struct probe *p, uint64_t *out)
{
	struct bpf_program *program;

	*out = 0;
	bpf_object__for_each_program(program, p->skel->obj) {
		struct bpf_prog_info info = {};
		uint32_t size = sizeof(info);

		if (bpf_program__type(program) != BPF_PROG_TYPE_TRACING || bpf_program__fd(program) < 0)
			continue;
		/* A look-up for a packet that interrupts one for a connect() is skipped, and of no interest. */
		if (!strncmp(bpf_program__name(program), "route", strlen("route")))
			continue;
		if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size))
			return -errno;
		*out += info.recursion_misses;
	}
	return 0;
}

int probe_losses(struct probe *p, struct probe_loss *out)
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

/* ---- looking ---- */

static struct bpf_link *iterator(struct probe *p, enum probe_rows rows)
{
	const char *name = rows == PROBE_ROWS_TCP ? "iter_tcp" : rows == PROBE_ROWS_UDP ? "iter_udp" : "iter_task_file";

	for (size_t hook = 0; hook < HOOKS; hook++)
		for (size_t i = 0; program_of(p, hook, i); i++)
			if (!strcmp(program_of(p, hook, i), name))
				return p->links[hook][i];
	return NULL;
}

int probe_walk(struct probe *p, enum probe_rows rows, probe_event_fn on_row, void *arg)
{
	_cleanup_close_ int fd = bpf_iter_create(bpf_link__fd(iterator(p, rows)));
	char space[64 * sizeof(struct pw_sock)];
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
		for (; have - at >= sizeof(struct pw_sock); at += sizeof(struct pw_sock)) {
			/* A cookie of 0 is a socket that could not be given one: nothing can be said of it. */
			if (!event_decode(space + at, sizeof(struct pw_sock), &event))
				on_row(arg, &event);
		}
		memmove(space, space + at, have - at);
		have -= at;
	}
}

int probe_look(struct probe *p, struct pw_look *looks, size_t count)
{
	int r = 0;

	for (size_t at = 0; at < count && !r; at += PW_LOOKS)
		r = look_part(p, looks + at, count - at < PW_LOOKS ? count - at : PW_LOOKS);
	return r;
}
