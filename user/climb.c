/* SPDX-License-Identifier: GPL-2.0 */
/* From the ladder to what is attached. */
#include "user/climb.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "user/canary.h"
#include "user/clock.h"
#include "user/kernel.h"
#include "user/log.h"
#include "user/ring.h"
#include "user/tracefs.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include "portwake.skel.h"
#pragma GCC diagnostic pop

#define ENOTSUPP 524	/* the kernel's own, of arm64 without trampolines; not of errno.h */
#define PROOFS 3		/* times that a canary sings until every hook has told its part */
#define PROOF_NS 300000000ULL	/* and how long each is listened to */
#define POLL_US 500

#define LOG_TAIL 4096	/* of a message of many lines, as a verifier's log is: the reason stands at its end */

static int _printf_(2, 0) print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	int length;

	(void)level;
	if (log_get_level() < LOG_LEVEL_DEBUG)
		return 0;
	length = vasprintf(&text, fmt, args);
	if (length < 0) {
		text = NULL;
		return 0;
	}
	rest = length > LOG_TAIL ? text + length - LOG_TAIL : text;
	while ((line = strsep(&rest, "\n")))
		if (*line)
			log_debug("%s", line);
	return 0;
}

/* ---- choosing ---- */

const struct rung *climb_rung(const struct climb *c, size_t hook)
{
	return c->rung[hook] < LADDER_RUNGS && ladder[hook].rungs[c->rung[hook]].name ?
		       &ladder[hook].rungs[c->rung[hook]] : NULL;
}

const char *climb_program(const struct climb *c, size_t hook, size_t i)
{
	const struct rung *rung = climb_rung(c, hook);

	return rung && i < LADDER_PROGRAMS ? rung->programs[i] : NULL;
}

static void _printf_(3, 4) step_down(struct climb *c, size_t hook, const char *fmt, ...)
{
	char *passed = c->passed[hook];
	size_t used = strlen(passed);
	va_list args;

	if (used && used + 2 < sizeof(c->passed[hook])) {
		strcpy(passed + used, "; ");
		used += 2;
	}
	va_start(args, fmt);
	vsnprintf(passed + used, sizeof(c->passed[hook]) - used, fmt, args);
	va_end(args);
	c->rung[hook]++;
}

static bool on_rung(const struct climb *c, size_t hook, const char *name)
{
	const struct rung *rung = climb_rung(c, hook);

	return rung && !strcmp(rung->name, name);
}

/* Steps every hook off the rungs of this name, for one reason that holds for all of them. */
static void leave_rung(struct climb *c, const char *name, const char *why)
{
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		bool told = false;

		for (; on_rung(c, hook, name); told = true) {
			if (told)
				c->rung[hook]++;
			else
				step_down(c, hook, "%s", why);
		}
	}
}

/* A rung whose notes are taken by another hook steps down with it. */
static void follow_needs(struct climb *c)
{
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		const struct rung *rung = climb_rung(c, hook);

		if (rung && rung->needs && !on_rung(c, ladder_hook(rung->needs), rung->name))
			step_down(c, hook, "%s needs %s on its rung", rung->name, rung->needs);
		if (!rung || strcmp(rung->programs[0], "timer_expire") != 0)
			continue;
		if (!c->tw_handler)
			c->tw_handler = kernel_symbol("tw_timer_handler");
		/* Without it the look at each TIME_WAIT, once a second, stands for it. */
		if (!c->tw_handler)
			step_down(c, hook, "the address of tw_timer_handler is hidden (kernel.kptr_restrict)");
	}
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
static void heed_rungs(struct climb *c, const struct probe_options *o)
{
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		const char *asked = asked_rung(o, hook), *told = "";

		while (asked && climb_rung(c, hook) && ladder_rank(climb_rung(c, hook)->name) < ladder_rank(asked)) {
			const char *name = climb_rung(c, hook)->name;

			if (!strcmp(name, told))
				c->rung[hook]++;
			else
				step_down(c, hook, "%s passed over by --rung", name);
			told = name;
		}
	}
}

/* What only tells of denials; --no-denied leaves it out. */
static void heed_no_denied(struct climb *c, const struct probe_options *o)
{
	for (size_t hook = 0; hook < LADDER_HOOKS && o->no_denied; hook++) {
		if (!strstr(ladder[hook].name, "denied"))
			continue;
		c->rung[hook] = LADDER_RUNGS;
		snprintf(c->passed[hook], sizeof(c->passed[hook]), "left out by --no-denied");
	}
}

/* ---- asking ---- */

#define FUNCTIONS 64

static const char *const on_functions[] = { "fentry", "fexit", "kprobe", "kretprobe" };

struct asking {
	struct portwake_bpf *skel;	/* opened, for the names of what its programs stand on */
	struct kernel_function functions[FUNCTIONS];
	size_t count;
};

/* The function that a program of the better rungs stands on, as its section names it; NULL: it stands on none. */
static const char *function_of(const struct asking *asking, const char *program)
{
	const char *section = bpf_program__section_name(bpf_object__find_program_by_name(asking->skel->obj, program));
	const char *slash = strchr(section, '/');
	size_t length = slash ? (size_t)(slash - section) : 0;

	for (size_t i = 0; i < ARRAY_SIZE(on_functions); i++)
		if (length == strlen(on_functions[i]) && !strncmp(section, on_functions[i], length))
			return slash + 1;
	return NULL;
}

static struct kernel_function *find_function(struct asking *asking, const char *name)
{
	for (size_t i = 0; i < asking->count; i++)
		if (!strcmp(asking->functions[i].name, name))
			return &asking->functions[i];
	return NULL;
}

static int compare_functions(const void *left, const void *right)
{
	const struct kernel_function *a = left, *b = right;

	return strcmp(a->name, b->name);
}

#define CAST "bpf_rdonly_cast"	/* not a function that a program stands on, but one that it calls */

static int gather_functions(struct asking *asking)
{
	const struct bpf_program *program = NULL;

	asking->functions[asking->count++].name = CAST;
	while ((program = bpf_object__next_program(asking->skel->obj, (struct bpf_program *)program))) {
		const char *name = function_of(asking, bpf_program__name(program));

		if (!name || find_function(asking, name))
			continue;
		if (asking->count == FUNCTIONS)
			return -E2BIG;
		asking->functions[asking->count++].name = name;
	}
	qsort(asking->functions, asking->count, sizeof(asking->functions[0]), compare_functions);
	return kernel_functions(asking->functions, asking->count);
}

/* fentry and kprobes are there or not: asked once, not per hook. */
static void ask_kinds(struct climb *c, struct asking *asking)
{
	const struct kernel_function *function = find_function(asking, "inet_put_port");
	int r = function && function->id ? kernel_try_fentry(function->id) : -ENOENT;
	char why[96];

	if (r == -ENOENT || r == -EOPNOTSUPP || r == -ENOTSUPP) {
		leave_rung(c, "fentry", "no fentry in this kernel");
	} else if (r) {
		snprintf(why, sizeof(why), "fentry refused: %s", strerror(-r));
		leave_rung(c, "fentry", why);
	}
	if (!kernel_has_kprobes())
		leave_rung(c, "kprobe", "no kprobes in this kernel");
}

/* A function may have another name in this kernel, or none. */
static void ask_functions(struct climb *c, struct asking *asking)
{
	const char *program;

	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		for (size_t i = 0; (program = climb_program(c, hook, i)); i++) {
			const char *name = function_of(asking, program);
			const struct kernel_function *function = name ? find_function(asking, name) : NULL;

			if (!function || function->id)
				continue;
			step_down(c, hook, "%s: no %s in this kernel", climb_rung(c, hook)->name, name);
			i = (size_t)-1;
		}
	}
}

static int ask_kernel(struct climb *c)
{
	struct asking asking = { .skel = portwake_bpf__open() };
	int r;

	if (!asking.skel)
		return -errno;
	r = gather_functions(&asking);
	if (!r) {
		c->casts = find_function(&asking, CAST)->id;
		ask_kinds(c, &asking);
		ask_functions(c, &asking);
	}
	portwake_bpf__destroy(asking.skel);
	return r;
}

/* ---- loading and attaching ---- */

static uint32_t ring_size_of(const struct probe_options *o)
{
	return o->ring_size ? o->ring_size : PROBE_RING_DEFAULT;
}

static void configure(struct portwake_bpf *skel, const struct climb *c, const struct probe_options *o,
		      uint32_t ring_size)
{
	struct pw_settings *settings = (struct pw_settings *)&skel->rodata->settings;

	*settings = o->settings;
	settings->wake_bytes = ring_size / 8;
	settings->tw_handler = c->tw_handler;
	settings->casts = c->casts;
	if (on_rung(c, ladder_hook("bind-denied"), "fentry"))
		settings->denied |= PW_DENIALS_BIND;
	if (on_rung(c, ladder_hook("connect-denied"), "fentry"))
		settings->denied |= PW_DENIALS_CONNECT;
	settings->calls = on_rung(c, ladder_hook("udp-send"), "fentry") || settings->denied & PW_DENIALS_CONNECT;
	if (o->ports) {
		settings->by_port = 1;
		memcpy((void *)skel->rodata->wanted_ports, o->ports->bits, sizeof(o->ports->bits));
	}
	bpf_map__set_max_entries(skel->maps.ring, ring_size);
}

/* Would this program load, alone? */
static int trial(const struct climb *c, const struct probe_options *o, const char *name)
{
	struct portwake_bpf *skel = portwake_bpf__open();
	int r;

	if (!skel)
		return -errno;
	configure(skel, c, o, (uint32_t)sysconf(_SC_PAGESIZE));
	bpf_program__set_autoload(bpf_object__find_program_by_name(skel->obj, name), true);
	r = portwake_bpf__load(skel);
	portwake_bpf__destroy(skel);
	return r;
}

/* Steps down every hook with a program that does not load; how many did. */
static int find_culprits(struct climb *c, const struct probe_options *o)
{
	int found = 0;

	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		const char *name;

		for (size_t i = 0; (name = climb_program(c, hook, i)); i++) {
			int r = trial(c, o, name);

			if (!r)
				continue;
			step_down(c, hook, "%s refused: %s", name, strerror(-r));
			found++;
			break;
		}
	}
	return found;
}

static struct bpf_program *find_program(const struct climb *c, const char *name)
{
	return bpf_object__find_program_by_name(c->skel->obj, name);
}

static int load(struct climb *c, const struct probe_options *o)
{
	const char *name;

	c->skel = portwake_bpf__open();
	if (!c->skel)
		return -errno;
	configure(c->skel, c, o, ring_size_of(o));
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++)
		for (size_t i = 0; (name = climb_program(c, hook, i)); i++)
			bpf_program__set_autoload(find_program(c, name), true);
	return portwake_bpf__load(c->skel);
}

void climb_down(struct climb *c)
{
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		for (size_t i = 0; i < LADDER_PROGRAMS; i++) {
			bpf_link__destroy(c->links[hook][i]);
			c->links[hook][i] = NULL;
		}
	}
	portwake_bpf__destroy(c->skel);
	c->skel = NULL;
}

/* libbpf's own way asks for a tracefs that is mounted. NULL with errno. */
static struct bpf_link *attach_tracepoint(struct bpf_program *program)
{
	int event = tracefs_open_event(strchr(bpf_program__section_name(program), '/') + 1);
	struct bpf_link *link;

	if (event < 0) {
		errno = -event;
		return NULL;
	}
	/* Takes the descriptor, if it succeeds. */
	link = bpf_program__attach_perf_event(program, event);
	if (!link)
		close_fd(&event);
	return link;
}

static struct bpf_link *attach_one(struct bpf_program *program, int cgroup)
{
	switch (bpf_program__type(program)) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_SOCK_OPS:
		return bpf_program__attach_cgroup(program, cgroup);
	case BPF_PROG_TYPE_TRACEPOINT:
		return attach_tracepoint(program);
	default:
		return bpf_program__attach(program);
	}
}

/* A program may tell of two hooks. */
static bool is_attached(const struct climb *c, const char *wanted)
{
	const char *name;

	for (size_t hook = 0; hook < LADDER_HOOKS; hook++)
		for (size_t i = 0; (name = climb_program(c, hook, i)); i++)
			if (c->links[hook][i] && !strcmp(name, wanted))
				return true;
	return false;
}

/* A hook that does not attach steps down, and -EAGAIN asks for another load. */
static int attach(struct climb *c, const struct probe_options *o)
{
	const char *name;

	for (size_t hook = 0; hook < LADDER_HOOKS; hook++) {
		for (size_t i = 0; (name = climb_program(c, hook, i)); i++) {
			struct bpf_program *program = find_program(c, name);

			if (bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL || is_attached(c, name))
				continue;
			c->links[hook][i] = attach_one(program, o->cgroup_root);
			if (c->links[hook][i])
				continue;
			step_down(c, hook, "%s refused: %s", name,
				  errno == ENOTSUPP ? "Operation not supported" : strerror(errno));
			return -EAGAIN;
		}
	}
	return 0;
}

const struct hook *climb_missing(const struct climb *c)
{
	for (size_t hook = 0; hook < LADDER_HOOKS && !c->grounded; hook++)
		if (ladder[hook].vital && !climb_rung(c, hook))
			return &ladder[hook];
	return NULL;
}

/* ---- proving ---- */

static bool is_provable(const struct climb *c, size_t hook)
{
	const struct rung *rung = climb_rung(c, hook);

	return rung && ladder_rank(rung->name) < ladder_rank("base");
}

static bool any_provable(const struct climb *c)
{
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++)
		if (is_provable(c, hook))
			return true;
	return false;
}

static bool is_content(const struct climb *c, const struct canary *canary)
{
	for (size_t hook = 0; hook < LADDER_HOOKS; hook++)
		if (is_provable(c, hook) && canary_missed(canary, ladder[hook].name))
			return false;
	return true;
}

static void on_statement(void *arg, const void *data, size_t size)
{
	struct event event;

	if (!event_decode(data, size, &event))
		canary_hear(arg, &event);
}

static int listen_once(const struct climb *c, struct canary *canary, struct ring *ring)
{
	uint64_t until = now_boottime() + PROOF_NS;
	int r = canary_sing(canary);

	while (!r) {
		while (ring_consume(ring, INT_MAX, on_statement, canary) > 0)
			;
		if (is_content(c, canary) || now_boottime() >= until)
			break;
		usleep(POLL_US);
	}
	return r;
}

static int listen_to(struct climb *c, struct canary *canary)
{
	struct bpf_map *map = c->skel->maps.ring;
	_cleanup_ring_ struct ring *ring = NULL;
	int r = ring_open(bpf_map__fd(map), bpf_map__max_entries(map), &ring);

	if (!r)
		r = canary_enter(canary);
	c->skel->bss->canary = canary->netns;
	for (int i = 0; i < PROOFS && !r && (!i || !is_content(c, canary)); i++)
		r = listen_once(c, canary, ring);
	c->skel->bss->canary = 0;
	return r;
}

/* Steps down what the canary was not told of; -EAGAIN when there was such a thing. What else the ring held is dropped. */
static int prove(struct climb *c)
{
	struct canary canary = CANARY_INIT;
	bool down = false;
	int r = listen_to(c, &canary), left = canary_leave(&canary);

	for (size_t hook = 0; hook < LADDER_HOOKS && !left; hook++) {
		const char *missed = canary_missed(&canary, ladder[hook].name);

		if (!is_provable(c, hook) || (!r && !missed))
			continue;
		if (r)
			step_down(c, hook, "%s not proven: %s", climb_rung(c, hook)->name, strerror(-r));
		else
			step_down(c, hook, "%s missed %s", climb_rung(c, hook)->name, missed);
		down = true;
	}
	return left ? left : down ? -EAGAIN : 0;
}

/* Tells the kernel side who we are, before anything can be filtered by it. */
static int introduce(struct climb *c)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	c->skel->bss->look_count = 0;
	return bpf_prog_test_run_opts(bpf_program__fd(c->skel->progs.look_again), &opts) ? -errno : 0;
}

/* One try on the rungs as they stand; -EAGAIN: a hook has stepped down. */
static int try_rungs(struct climb *c, const struct probe_options *o)
{
	int r = load(c, o);

	if (r && find_culprits(c, o))
		return -EAGAIN;
	if (!r)
		r = introduce(c);
	if (r)
		return r == -EAGAIN ? -EINTR : r;
	/* What is told until the proof is over is dropped: no process is to be taken for told of by it. */
	c->skel->bss->canary = any_provable(c) ? UINT32_MAX : 0;
	r = attach(c, o);
	return !r && any_provable(c) ? prove(c) : r;
}

/* Without the ladder: the iterators load and attach, or nothing does. */
static int stay_on_the_ground(struct climb *c, const struct probe_options *o)
{
	int r;

	for (size_t hook = 0; hook < LADDER_HOOKS; hook++)
		c->rung[hook] = hook == ladder_hook("snapshot") ? 0 : LADDER_RUNGS;
	c->grounded = true;
	r = load(c, o);
	if (!r)
		r = attach(c, o);
	return r == -EAGAIN ? -EOPNOTSUPP : r;
}

int climb(struct climb *c, const struct probe_options *o)
{
	int r;

	libbpf_set_print(print_libbpf);
	if (o->iterators_only)
		return stay_on_the_ground(c, o);
	heed_rungs(c, o);
	heed_no_denied(c, o);
	r = ask_kernel(c);
	if (r)
		return r;
	do {
		climb_down(c);
		follow_needs(c);
		r = climb_missing(c) ? -EOPNOTSUPP : try_rungs(c, o);
	} while (r == -EAGAIN);
	return r;
}
