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

#define ENOTSUPP 524	/* the kernel's own, of arm64 without trampolines; not of errno.h */
#define BATCH 16384	/* records that one probe_consume() hands out at most */
#define PROGRAMS 5
#define RUNGS 6

struct rung {
	const char *name;
	const char *exact;
	const char *cost;
	const char *programs[PROGRAMS];
	const char *needs;	/* hook that must stand on a rung of the same name, for it notes what this one asks; NULL: none */
};

struct hook {
	const char *name;
	const char *watches;
	bool vital;		/* without it there is nothing to trace */
	struct rung rungs[RUNGS];	/* best first */
};

#define EXACT "exact"
#define DISCONNECT "a disconnect is seen at the next call or within a second"

/*
 * The ladder. A row is a thing watched; its rungs are tried from the left, and
 * the first that loads and attaches is used. What ends a lifetime is attached
 * before what begins one: none begun while attaching stays open for ever.
 */
static const struct hook ladder[] = {
	{ "tcp-release", "TCP giving a port back or over to TIME_WAIT", true,
	  { { "fentry", EXACT, "each release", { "fentry_put_port", "fentry_time_wait", "fentry_listen_stop" }, NULL },
	    { "fentry", EXACT, "each release", { "fentry_put_port", "fentry_time_wait_old", "fentry_listen_stop" }, NULL },
	    { "kprobe", EXACT, "each release", { "kprobe_put_port", "kprobe_time_wait", "kprobe_listen_stop" }, NULL },
	    { "kprobe", EXACT, "each release", { "kprobe_put_port", "kprobe_time_wait_old", "kprobe_listen_stop" }, NULL },
	    { "tracepoint", EXACT, "each change of a TCP state", { "set_state", "destroy_sock" }, NULL } } },
	{ "udp-destroy", "SOCK_DESTROY of a UDP socket", false,
	  { { "fentry", EXACT, "each SOCK_DESTROY", { "fexit_udp_abort" }, NULL },
	    { "tracepoint", EXACT, "each socket error", { "error_report" }, NULL } } },
	{ "time-wait-end", "the end of a TIME_WAIT", false,
	  { { "fentry", EXACT, "each end of a TIME_WAIT", { "fentry_time_wait_end" }, NULL },
	    { "kprobe", EXACT, "each end of a TIME_WAIT", { "kprobe_time_wait_end" }, NULL },
	    { "tracepoint", "an end before its time is seen within a second", "each timer that expires",
	      { "timer_expire" }, NULL } } },
	{ "close", "the last descriptor closed", true,
	  { { "fentry", EXACT, "each close of a socket", { "fentry_release" }, NULL },
	    { "cgroup", "a kernel socket's end is seen within a second", "each close of a socket",
	      { "sock_release" }, NULL } } },
	{ "bind", "bind() of a port, asked for and taken", true,
	  { { "fentry", EXACT, "each bind()", { "fentry_bind4", "fentry_bind6", "fexit_bind4", "fexit_bind6" }, NULL },
	    { "cgroup", EXACT, "each bind()", { "bind4", "bind6", "post_bind4", "post_bind6" }, NULL } } },
	{ "tcp-open", "TCP connect() and listen() taking a port", true,
	  { { "fentry", EXACT, "each connect() and listen()", { "fexit_connect4", "fexit_connect6", "fexit_listen" },
	      NULL },
	    { "sockops", "a deferred TCP Fast Open is seen at its first write", "each connection, several times",
	      { "sockops" }, NULL } } },
	{ "udp-connect", "UDP connect() taking a port or giving it back", false,
	  { { "fentry", EXACT, "each UDP connect()", { "fentry_dgram_connect", "fexit_dgram_connect" }, "bind" },
	    { "kprobe", "of UDP-Lite, a port is seen at the close", "each UDP connect()",
	      { "connect4", "connect6", "kprobe_dgram_connect", "kretprobe_dgram_connect" }, NULL },
	    { "cgroup", DISCONNECT, "each connect() and each route look-up",
	      { "connect4", "connect6", "route4", "route6" }, NULL },
	    { "cgroup", DISCONNECT "; IPv4 only", "each connect() and each route look-up", { "connect4", "route4" },
	      NULL } } },
	{ "udp-send", "an unconnected UDP send taking a port", false,
	  { { "fentry", EXACT, "each UDP port taken", { "fexit_udp_port4", "fexit_udp_port6" }, "udp-connect" },
	    { "cgroup", "of a send that fails, a port is seen at the close", "each unconnected UDP send",
	      { "sendmsg4", "sendmsg6" }, NULL } } },
	{ "snapshot", "sockets open before", true,
	  { { "iterator", EXACT, "the start, and the end of a gap", { "iter_task_file", "iter_tcp", "iter_udp" },
	      NULL } } },
	{ "look", "does that object still hold its port", true,
	  { { "syscall", "within a second", "each TIME_WAIT and connected UDP socket, once a second",
	      { "look_again" }, NULL } } },
};

#define HOOKS ARRAY_SIZE(ladder)

struct probe {
	struct portwake_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link *links[HOOKS][PROGRAMS];
	uint64_t tw_handler;	/* address of tw_timer_handler(); 0: hidden */
	struct probe_hook hooks[HOOKS];
	int rung[HOOKS];
	int cpus;
	probe_event_fn on_event;
	void *arg;
	uint64_t malformed;
	bool partial;		/* probe_options.iterators_only */
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

static void _printf_(3, 4) step_down(struct probe *p, size_t hook, const char *fmt, ...)
{
	struct probe_hook *out = &p->hooks[hook];
	size_t used = strlen(out->passed);
	va_list args;

	if (used && used + 2 < sizeof(out->passed)) {
		strcpy(out->passed + used, "; ");
		used += 2;
	}
	va_start(args, fmt);
	vsnprintf(out->passed + used, sizeof(out->passed) - used, fmt, args);
	va_end(args);
	p->rung[hook]++;
}

static bool on_rung(const struct probe *p, size_t hook, const char *name)
{
	const struct rung *rung = rung_of(p, hook);

	return rung && !strcmp(rung->name, name);
}

/* Steps every hook off the rungs of this name, for one reason that holds for all of them. */
static void leave_rung(struct probe *p, const char *name, const char *why)
{
	for (size_t hook = 0; hook < HOOKS; hook++) {
		bool told = false;

		for (; on_rung(p, hook, name); told = true) {
			if (told)
				p->rung[hook]++;
			else
				step_down(p, hook, "%s", why);
		}
	}
}

static size_t hook_of(const char *name)
{
	size_t hook = 0;

	while (strcmp(ladder[hook].name, name) != 0)
		hook++;
	return hook;
}

/* A rung whose notes are taken by another hook steps down with it. */
static void follow_needs(struct probe *p)
{
	for (size_t hook = 0; hook < HOOKS; hook++) {
		const struct rung *rung = rung_of(p, hook);

		if (rung && rung->needs && !on_rung(p, hook_of(rung->needs), rung->name))
			step_down(p, hook, "%s needs %s on its rung", rung->name, rung->needs);
		/* Then the look at each TIME_WAIT, once a second, stands for it. */
		else if (rung && !p->tw_handler && !strcmp(rung->programs[0], "timer_expire"))
			step_down(p, hook, "the address of tw_timer_handler is hidden (kernel.kptr_restrict)");
	}
}

/* Better rungs have lower ranks; what is neither fentry nor kprobe is the base. */
static int rank_of(const char *rung)
{
	if (!strcmp(rung, "fentry"))
		return 0;
	return strcmp(rung, "kprobe") ? 2 : 1;
}

bool probe_knows_rung(const char *text)
{
	const char *equals = strchr(text, '=');
	const char *name = equals ? equals + 1 : text;
	bool known = !equals;

	for (size_t hook = 0; hook < HOOKS && !known; hook++)
		known = strlen(ladder[hook].name) == (size_t)(equals - text) &&
			!strncmp(text, ladder[hook].name, (size_t)(equals - text));
	return known && (!strcmp(name, "fentry") || !strcmp(name, "kprobe") || !strcmp(name, "base"));
}

/* The rung asked for, of a hook: by its own name before by everybody's. NULL: any. */
static const char *asked_rung(const struct probe_options *o, size_t hook)
{
	const char *all = NULL;
	size_t length = strlen(ladder[hook].name);

	for (size_t i = 0; i < o->rung_count; i++) {
		if (!strncmp(o->rungs[i], ladder[hook].name, length) && o->rungs[i][length] == '=')
			return o->rungs[i] + length + 1;
		if (!strchr(o->rungs[i], '='))
			all = o->rungs[i];
	}
	return all;
}

/* A rung asked for is where a hook begins to try. */
static void heed_rungs(struct probe *p, const struct probe_options *o)
{
	for (size_t hook = 0; hook < HOOKS; hook++) {
		const char *asked = asked_rung(o, hook);

		while (asked && rung_of(p, hook) && rank_of(rung_of(p, hook)->name) < rank_of(asked))
			step_down(p, hook, "%s passed over by --rung", rung_of(p, hook)->name);
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

static void configure(struct portwake_bpf *skel, const struct probe *p, const struct probe_options *o,
		      uint32_t ring_size)
{
	struct pw_settings *settings = (struct pw_settings *)&skel->rodata->settings;

	*settings = o->settings;
	settings->wake_bytes = ring_size / 8;
	settings->tw_handler = p->tw_handler;
	if (o->ports) {
		settings->by_port = 1;
		memcpy((void *)skel->rodata->wanted_ports, o->ports->bits, sizeof(o->ports->bits));
	}
	bpf_map__set_max_entries(skel->maps.ring, ring_size);
}

/* Would this program load, alone? And attach, which takes no cgroup? */
static int trial(const struct probe *p, const struct probe_options *o, const char *name, bool attach)
{
	struct bpf_link *link = NULL;
	struct portwake_bpf *skel = portwake_bpf__open();
	struct bpf_program *program;
	int r;

	if (!skel)
		return -errno;
	configure(skel, p, o, (uint32_t)sysconf(_SC_PAGESIZE));
	program = bpf_object__find_program_by_name(skel->obj, name);
	bpf_program__set_autoload(program, true);
	r = portwake_bpf__load(skel);
	if (!r && attach) {
		link = bpf_program__attach(program);
		r = link ? 0 : -errno;
		bpf_link__destroy(link);
	}
	portwake_bpf__destroy(skel);
	return r;
}

/* Would a program of this kind load and attach at all? fentry and kprobes are there or not: asked once, not per hook. */
static void ask_kind(struct probe *p, const struct probe_options *o, const char *rung, const char *program,
		     const char *without)
{
	char why[96];
	int r = trial(p, o, program, true);

	if (!r)
		return;
	if (r == -ENOENT || r == -EOPNOTSUPP || r == -ENOTSUPP)
		snprintf(why, sizeof(why), "%s", without);
	else
		snprintf(why, sizeof(why), "%s refused: %s", rung, strerror(-r));
	leave_rung(p, rung, why);
}

/* Steps down every hook with a program that does not load; how many did. */
static int find_culprits(struct probe *p, const struct probe_options *o)
{
	int found = 0;

	for (size_t hook = 0; hook < HOOKS; hook++) {
		const char *name;

		for (size_t i = 0; (name = program_of(p, hook, i)); i++) {
			int r = trial(p, o, name, false);

			if (!r)
				continue;
			step_down(p, hook, "%s refused: %s", name, strerror(-r));
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
	configure(p->skel, p, o, ring_size_of(o));
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
			step_down(p, hook, "%s refused: %s", name, strerror(errno));
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
	heed_rungs(p, o);
	p->tw_handler = tw_handler();
	ask_kind(p, o, "fentry", "fentry_put_port", "no fentry in this kernel");
	ask_kind(p, o, "kprobe", "kprobe_put_port", "no kprobes in this kernel");
	for (;;) {
		int r;

		follow_needs(p);
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

/* Without the ladder: the iterators load and attach, or nothing does. */
static int stay_on_the_ground(struct probe *p, const struct probe_options *o)
{
	int r;

	for (size_t hook = 0; hook < HOOKS; hook++)
		p->rung[hook] = strcmp(ladder[hook].name, "snapshot") ? RUNGS : 0;
	p->partial = true;
	r = load(p, o);
	if (!r)
		r = attach(p, o);
	return r == -EAGAIN ? -EOPNOTSUPP : r;
}

static void publish(struct probe *p)
{
	for (size_t hook = 0; hook < HOOKS; hook++) {
		const struct rung *rung = rung_of(p, hook);

		p->hooks[hook].name = ladder[hook].name;
		p->hooks[hook].watches = ladder[hook].watches;
		p->hooks[hook].rung = rung ? rung->name : NULL;
		p->hooks[hook].exact = rung ? rung->exact : "not seen";
		p->hooks[hook].cost = rung ? rung->cost : "nothing";
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
	const struct hook *missing = p->partial ? NULL : missing_vital(p);

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
	r = o->iterators_only ? stay_on_the_ground(p, o) : climb(p, o);
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
