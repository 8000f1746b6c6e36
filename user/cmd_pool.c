/* SPDX-License-Identifier: GPL-2.0 */
/* portwake pool: what is held of the ephemeral range, and how long the rest will last. */
#include "user/cmd.h"

#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "user/clock.h"
#include "user/json.h"
#include "user/line.h"
#include "user/log.h"
#include "user/mem.h"
#include "user/pool.h"
#include "user/sink_text.h"

#define TEXT_MAX (64u << 20)
#define TOP 10
#define SECOND 1000000000ULL

/* UDP-Lite is told of where somebody uses it. */
static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE };

struct counted {
	struct pool pools[ARRAY_SIZE(protos)];
};

struct look {
	struct scene scene;
	struct counted *counted;	/* one for each scene.netns */
};

static void look_done(struct look *look)
{
	for (size_t i = 0; look->counted && i < look->scene.count; i++)
		for (size_t p = 0; p < ARRAY_SIZE(protos); p++)
			pool_done(&look->counted[i].pools[p]);
	pw_free(look->counted);
	scene_done(&look->scene);
	*look = (struct look){ .scene = SCENE_INIT };
}

static int count_netns(struct counted *counted, const struct scene_netns *netns)
{
	int r = 0;

	for (size_t p = 0; !r && p < ARRAY_SIZE(protos); p++)
		r = pool_count(&counted->pools[p], netns->rows, netns->count, &netns->range, protos[p]);
	return r;
}

static int no_memory(void)
{
	log_error("no memory to count the ports");
	return STATUS_FAILED;
}

static int look_take(struct look *look, const struct tracing *tracing)
{
	int r = scene_take(&look->scene, tracing);

	if (r)
		return r;
	look->counted = pw_calloc(look->scene.count + 1, sizeof(*look->counted));
	if (!look->counted)
		return no_memory();
	for (size_t i = 0; i < look->scene.count; i++)
		if (count_netns(&look->counted[i], &look->scene.netns[i]))
			return no_memory();
	return STATUS_DONE;
}

static int compare_looks(struct look *now, const struct look *before)
{
	uint64_t elapsed = now->scene.time - before->scene.time;

	for (size_t i = 0, j = 0; i < now->scene.count; i++) {
		while (j < before->scene.count && before->scene.netns[j].netns < now->scene.netns[i].netns)
			j++;
		if (j == before->scene.count || before->scene.netns[j].netns != now->scene.netns[i].netns)
			continue;
		for (size_t p = 0; p < ARRAY_SIZE(protos); p++)
			if (pool_compare(&now->counted[i].pools[p], &before->counted[j].pools[p], elapsed))
				return no_memory();
	}
	return STATUS_DONE;
}

static bool is_told(const struct pool *pool)
{
	return pool->proto != IPPROTO_UDPLITE || pool->sockets;
}

/* ---- JSON ---- */

static void json_counts(struct js *to, const struct pool *pool)
{
	_cleanup_js_ struct js states = js_object(), how = js_object();

	for (int s = 0; s < HOLDER_STATE_END; s++)
		js_uint(&states, holder_state_name((enum holder_state)s), pool->states[s]);
	for (int h = 0; h < POOL_HOW_END; h++)
		js_uint(&how, pool_how_name((enum pool_how)h), pool->how[h]);
	js_add(to, "states", &states);
	js_add(to, "how", &how);
}

static void json_destinations(struct js *to, const struct pool *pool)
{
	_cleanup_js_ struct js list = js_array();
	char text[ADDR_TEXT];

	for (size_t i = 0; i < pool->destination_count && i < TOP; i++) {
		const struct pool_destination *d = &pool->destinations[i];
		_cleanup_js_ struct js js = js_object();

		js_str(&js, "addr", addr_text(&d->addr, text));
		js_str(&js, "remote_addr", addr_text(&d->remote, text));
		js_uint(&js, "remote_port", d->remote_port);
		js_uint(&js, "held", d->held);
		js_uint(&js, "time_wait", d->time_wait);
		js_uint(&js, "reusable", d->reusable);
		js_uint(&js, "left", d->left);
		js_real(&js, "seconds_left", d->seconds_left);
		js_add(&list, NULL, &js);
	}
	js_uint(to, "destination_count", pool->destination_count);
	js_add(to, "destinations", &list);
}

static void json_processes(struct js *to, const struct pool *pool)
{
	_cleanup_js_ struct js list = js_array();

	for (size_t i = 0; i < pool->process_count && i < TOP; i++) {
		const struct process *process = pool->processes[i].process;
		_cleanup_js_ struct js js = js_object();

		if (process)
			js_uint(&js, "pid", process->pid);
		else
			js_null(&js, "pid");
		js_str(&js, "comm", process ? process->comm : NULL);
		js_str(&js, "exe", process ? process->exe : NULL);
		js_str(&js, "container", process ? process->container : NULL);
		js_uint(&js, "ports", pool->processes[i].ports);
		js_add(&list, NULL, &js);
	}
	js_uint(to, "process_count", pool->process_count);
	js_add(to, "processes", &list);
}

static void json_pool(struct js *to, const struct pool *pool)
{
	_cleanup_js_ struct js js = js_object();

	js_str(&js, "proto", proto_name(pool->proto));
	js_uint(&js, "sockets", pool->sockets);
	js_uint(&js, "held", pool->held);
	js_uint(&js, "free", pool->free);
	js_real(&js, "seconds_left", pool->seconds_left);
	json_counts(&js, pool);
	if (pool->proto == IPPROTO_TCP) {
		js_uint(&js, "connectable", pool->connectable);
		js_real(&js, "time_wait_rate", pool_time_wait_rate(pool));
		json_destinations(&js, pool);
	}
	json_processes(&js, pool);
	js_add(to, NULL, &js);
}

static int json_netns(const struct scene_netns *netns, const struct counted *counted, const char *time,
		      struct buf *out)
{
	_cleanup_js_ struct js js = js_object(), list = js_array();
	const struct range *range = &netns->range;

	js_str(&js, "event", "pool");
	js_str(&js, "time", time);
	js_uint(&js, "netns", netns->netns);
	js_uint(&js, "ephemeral_low", range->low);
	js_uint(&js, "ephemeral_high", range->high);
	js_uint(&js, "range_size", range_size(range));
	js_uint(&js, "range_reserved", range_reserved_count(range));
	js_uint(&js, "range_usable", range_usable_count(range));
	js_uint(&js, "tcp_tw_reuse", range->tw_reuse);
	for (size_t p = 0; p < ARRAY_SIZE(protos); p++)
		if (is_told(&counted->pools[p]))
			json_pool(&list, &counted->pools[p]);
	js_add(&js, "protocols", &list);
	return js_line(&js, out);
}

/* ---- text ---- */

static void text_left(double seconds, struct buf *out)
{
	char text[SPAN_TEXT];

	buf_printf(out, " %8s", seconds < 1e9 ? span_text((uint64_t)(seconds * 1e9), text) : "-");
}

static void text_pool(const struct pool *pool, struct buf *out)
{
	unsigned int others = pool->states[HOLDER_CLOSED] + pool->states[HOLDER_KERNEL] + pool->states[HOLDER_ORPHAN];

	buf_printf(out, "  %-8s %6u %6u %7u %6u %6u %9u %9u %6u", proto_name(pool->proto), pool->held, pool->free,
		   pool->sockets, pool->states[HOLDER_LISTEN], pool->states[HOLDER_BOUND],
		   pool->states[HOLDER_CONNECTED], pool->states[HOLDER_TIME_WAIT], others);
	text_left(pool->seconds_left, out);
	buf_addc(out, '\n');
}

static void text_how(const struct pool *pool, struct buf *out)
{
	const char *before = ": ";

	if (!pool->sockets)
		return;
	buf_printf(out, "  %s numbers", proto_name(pool->proto));
	for (int h = 0; h < POOL_HOW_END; h++) {
		if (!pool->how[h])
			continue;
		buf_printf(out, "%s%s %u", before, pool_how_name((enum pool_how)h), pool->how[h]);
		before = ", ";
	}
	buf_addc(out, '\n');
}

static void text_connect(const struct pool *pool, const struct range *range, struct buf *out)
{
	static const char *const reuse[] = { "never", "always", "on loopback" };

	buf_printf(out, "  tcp connect(): %u ports towards a new destination; %.1f connections a second to each "
		   "(TIME_WAIT reused: %s)\n", pool->connectable, pool_time_wait_rate(pool),
		   range->tw_reuse < ARRAY_SIZE(reuse) ? reuse[range->tw_reuse] : "not known");
}

static void text_destinations(const struct pool *pool, struct buf *out)
{
	char text[ENDPOINT_TEXT];

	if (!pool->destination_count)
		return;
	buf_printf(out, "\n  %-32s %-24s %6s %9s %8s %6s %8s\n", "TCP DESTINATION", "FROM", "HELD", "TIME_WAIT",
		   "REUSABLE", "LEFT", "LASTS");
	for (size_t i = 0; i < pool->destination_count && i < TOP; i++) {
		const struct pool_destination *d = &pool->destinations[i];

		buf_printf(out, "  %-32s", endpoint_text(&d->remote, d->remote_port, text));
		buf_printf(out, " %-24s %6u %9u %8u %6u", addr_text(&d->addr, text), d->held, d->time_wait, d->reusable,
			   d->left);
		text_left(d->seconds_left, out);
		buf_addc(out, '\n');
	}
	if (pool->destination_count > TOP)
		buf_printf(out, "  and %zu more\n", pool->destination_count - TOP);
}

static void text_processes(const struct pool *pool, struct buf *out)
{
	if (!pool->process_count)
		return;
	buf_printf(out, "\n  %-10s %6s  %s\n", "PID", "PORTS", proto_name(pool->proto));
	for (size_t i = 0; i < pool->process_count && i < TOP; i++) {
		const struct process *process = pool->processes[i].process;

		if (process)
			buf_printf(out, "  %-10u", process->pid);
		else
			buf_printf(out, "  %-10s", "-");
		buf_printf(out, " %6u  ", pool->processes[i].ports);
		if (process)
			buf_add_escaped(out, process->comm, strlen(process->comm));
		else
			buf_adds(out, "(no process)");
		buf_addc(out, '\n');
	}
	if (pool->process_count > TOP)
		buf_printf(out, "  and %zu more\n", pool->process_count - TOP);
}

static void text_pools(const struct range *range, const struct counted *counted, struct buf *out)
{
	buf_printf(out, "  %-8s %6s %6s %7s %6s %6s %9s %9s %6s %8s\n", "PROTO", "HELD", "FREE", "SOCKETS", "LISTEN",
		   "BOUND", "CONNECTED", "TIME_WAIT", "OTHERS", "LASTS");
	for (size_t p = 0; p < ARRAY_SIZE(protos); p++)
		if (is_told(&counted->pools[p]))
			text_pool(&counted->pools[p], out);
	for (size_t p = 0; p < ARRAY_SIZE(protos); p++)
		text_how(&counted->pools[p], out);
	text_connect(&counted->pools[0], range, out);
	text_destinations(&counted->pools[0], out);
	for (size_t p = 0; p < ARRAY_SIZE(protos); p++)
		text_processes(&counted->pools[p], out);
}

static int text_netns(const struct scene_netns *netns, const struct counted *counted, const char *time,
		      struct buf *out)
{
	const struct range *range = &netns->range;
	unsigned int sockets = 0;

	for (size_t p = 0; p < ARRAY_SIZE(protos); p++)
		sockets += counted->pools[p].sockets;
	buf_printf(out, "%s netns %u: range %u-%u, %u ports, %u reserved, %u usable\n", time, netns->netns, range->low,
		   range->high, range_size(range), range_reserved_count(range), range_usable_count(range));
	if (sockets)
		text_pools(range, counted, out);
	else
		buf_adds(out, "  none is held\n");
	buf_addc(out, '\n');
	return buf_error(out);
}

/* ---- the command ---- */

static int print_look(const struct options *options, const struct look *look)
{
	_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
	char time[CLOCK_TEXT_SIZE];
	int r = 0;

	clock_format(look->scene.time + (uint64_t)clock_offset(), time);
	for (size_t i = 0; i < look->scene.count && !r; i++)
		if (look->scene.netns[i].range.known)
			r = (options->json ? json_netns : text_netns)(&look->scene.netns[i], &look->counted[i], time,
								      &out);
	if (!r)
		return print_all(&out);
	log_error("the ports cannot be told: %s", strerror(-r));
	return STATUS_FAILED;
}

static volatile sig_atomic_t stopped;

static void on_stop(int number _unused)
{
	stopped = 1;
}

/* SIGINT and SIGTERM are noticed while waiting and while writing, and otherwise wait. */
static void hear_signals(sigset_t *mask)
{
	struct sigaction action = { .sa_handler = on_stop };

	sigemptyset(mask);
	sigaddset(mask, SIGINT);
	sigaddset(mask, SIGTERM);
	sigprocmask(SIG_BLOCK, mask, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void wait_for(uint64_t ns)
{
	struct timespec time = { .tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND) };
	sigset_t none;

	sigemptyset(&none);
	ppoll(NULL, 0, &time, &none);
}

static int print_interruptibly(const struct options *options, const struct look *look, const sigset_t *mask)
{
	int r;

	sigprocmask(SIG_UNBLOCK, mask, NULL);
	r = print_look(options, look);
	sigprocmask(SIG_BLOCK, mask, NULL);
	return r;
}

#define _cleanup_look_ _cleanup_(look_done)

int cmd_pool(const struct options *options)
{
	_cleanup_tracing_ struct tracing tracing = TRACING_INIT;
	_cleanup_look_ struct look before = { .scene = SCENE_INIT }, now = { .scene = SCENE_INIT };
	bool known = true;
	sigset_t mask;
	int r = tracing_set(&tracing, options);

	hear_signals(&mask);
	if (!r)
		r = look_take(&before, &tracing);
	if (!r)
		scene_warn(&before.scene);
	while (!r) {
		wait_for(options->duration_ns ? options->duration_ns : SECOND);
		if (stopped && options->watch)
			break;
		r = look_take(&now, &tracing);
		if (!r)
			r = compare_looks(&now, &before);
		if (!r)
			r = print_interruptibly(options, &now, &mask);
		known &= scene_known(&now.scene);
		if (!options->watch || stopped)
			break;
		look_done(&before);
		before = now;
		now = (struct look){ .scene = SCENE_INIT };
	}
	return r ? r : known ? STATUS_DONE : STATUS_FAILED;
}
