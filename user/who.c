/* SPDX-License-Identifier: GPL-2.0 */
/* Answers. */
#include "user/who.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include "user/clock.h"
#include "user/json.h"
#include "user/line.h"
#include "user/mem.h"

#define HOLDERS_TOLD 64		/* holders of one port in text, accepted ones apart; JSON has them all */
#define PROCESSES_TOLD 64	/* processes of one socket in text */

/* ---- the index ---- */

static int compare_key(const struct holder *a, uint16_t port, uint8_t proto)
{
	if (a->port != port)
		return a->port < port ? -1 : 1;
	return a->proto < proto ? -1 : a->proto > proto;
}

/* Those of one port stay in holders_take()'s order, which is that of their addresses in its array. */
static int compare_holders(const void *left, const void *right)
{
	const struct holder *a = *(const struct holder *const *)left, *b = *(const struct holder *const *)right;
	int order = compare_key(a, b->port, b->proto);

	return order ? order : a < b ? -1 : a > b;
}

int answers_index(struct answers *a, const struct holders *holders)
{
	a->by_port = pw_calloc(holders->count ? holders->count : 1, sizeof(*a->by_port));
	if (!a->by_port)
		return -ENOMEM;
	a->count = holders->count;
	for (size_t i = 0; i < a->count; i++)
		a->by_port[i] = &holders->rows[i];
	qsort(a->by_port, a->count, sizeof(*a->by_port), compare_holders);
	return 0;
}

struct held {
	const struct holder **rows;
	size_t count;
};

static struct held find_holders(const struct answers *a, uint16_t port, uint8_t proto)
{
	size_t low = 0, high = a->count, end;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare_key(a->by_port[middle], port, proto) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < a->count && !compare_key(a->by_port[end], port, proto);)
		end++;
	return (struct held){ a->by_port + low, end - low };
}

/* ---- why a holder has no process ---- */

enum without { HAS_PROCESS, WITHOUT_KERNEL, WITHOUT_ORPHAN, WITHOUT_TIME_WAIT, WITHOUT_UNFETCHED, WITHOUT_IN_FLIGHT };

static const char *const without_names[] = {
	[WITHOUT_KERNEL] = "kernel", [WITHOUT_ORPHAN] = "orphan", [WITHOUT_TIME_WAIT] = "time_wait",
	[WITHOUT_UNFETCHED] = "accept_queue", [WITHOUT_IN_FLIGHT] = "in_flight",
};

static const char *const without_texts[] = {
	[WITHOUT_KERNEL] = "a socket of the kernel's own",
	[WITHOUT_ORPHAN] = "closed by its process, its connection has not ended yet",
	[WITHOUT_TIME_WAIT] = "its process has closed it, or has gone",
	[WITHOUT_UNFETCHED] = "waits for accept()",
	[WITHOUT_IN_FLIGHT] = "in flight over a unix socket, or held by io_uring alone",
};

static enum without without(const struct holder *h)
{
	if (h->process_count)
		return HAS_PROCESS;
	if (h->state == HOLDER_KERNEL)
		return WITHOUT_KERNEL;
	if (h->state == HOLDER_ORPHAN)
		return WITHOUT_ORPHAN;
	if (h->state == HOLDER_TIME_WAIT)
		return WITHOUT_TIME_WAIT;
	return h->unfetched ? WITHOUT_UNFETCHED : WITHOUT_IN_FLIGHT;
}

/* Rounded up: 0 would say that it has ended. */
static uint64_t seconds_left(const struct holder *h)
{
	return (h->expires_ns + 999999999) / 1000000000;
}

/* ---- JSON ---- */

static struct past_process told(const struct answers *a, const struct process *p)
{
	return (struct past_process){
		.pid = p->pid, .uid = p->uid, .start = p->start, .comm = p->comm, .exe = p->exe, .cgroup = p->cgroup,
		.container = p->container, .cmdline = a->cmdline(a->about.arg, p),
	};
}

static void put_process(struct js *js, const struct answers *a, const struct process *p)
{
	struct past_process process;

	if (p)
		process = told(a, p);
	about_put_process(js, p ? &process : NULL);
}

static void put_processes(struct js *js, const struct answers *a, const struct holder *h)
{
	_cleanup_js_ struct js list = js_array();

	for (size_t i = 0; i < h->process_count; i++) {
		_cleanup_js_ struct js one = js_object();

		put_process(&one, a, h->processes[i]);
		js_add(&list, NULL, &one);
	}
	js_add(js, "processes", &list);
}

/*
 * Did the kernel choose the number? Not where the socket asked for one, and surely where connect() took it or where it
 * never connected; else a listener may have accepted it, whose number was its own choice.
 */
static void put_ephemeral(struct js *js, const struct holder *h)
{
	bool doubtful = h->proto == IPPROTO_TCP && h->state != HOLDER_LISTEN && h->state != HOLDER_BOUND;

	if (h->locked || h->by_connect)
		js_bool(js, "ephemeral", !h->locked);
	else if (doubtful || !h->options_known || h->state == HOLDER_KERNEL)
		js_null(js, "ephemeral");
	else
		js_bool(js, "ephemeral", true);
}

static void put_ends(struct js *js, const struct holder *h, const struct recalled *recalled)
{
	char text[ADDR_TEXT];

	js_str(js, "proto", proto_name(h->proto));
	js_str(js, "family", h->addr.family == AF_INET6 ? "ipv6" : "ipv4");
	js_str(js, "addr", addr_text(&h->addr, text));
	js_uint(js, "port", h->port);
	js_str(js, "remote_addr", h->remote.family ? addr_text(&h->remote, text) : NULL);
	if (h->remote.family)
		js_uint(js, "remote_port", h->remote_port);
	else
		js_null(js, "remote_port");
	js_uint(js, "netns", h->netns);
	js_id(js, "cookie", h->cookie);
	/* How many ports the socket had before, no kernel keeps. */
	if (recalled)
		js_uint(js, "generation", recalled->generation);
	else
		js_null(js, "generation");
}

static void put_options(struct js *js, const struct holder *h)
{
	static const char *const names[] = { "reuseaddr", "reuseport", "v6only" };
	const bool values[] = { h->reuse, h->reuseport, h->v6only };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (h->options_known)
			js_bool(js, names[i], values[i]);
		else
			js_null(js, names[i]);
	}
	if (h->uid == UINT32_MAX)
		js_null(js, "socket_uid");
	else
		js_uint(js, "socket_uid", h->uid);
	if (h->bound_dev)
		js_uint(js, "bound_dev", h->bound_dev);
	else
		js_null(js, "bound_dev");
}

static void put_since(struct js *js, const struct recalled *r)
{
	if (r && !r->began_before)
		js_time(js, "since", r->since);
	else
		js_null(js, "since");
}

static void put_creator(struct js *js, const struct recalled *r)
{
	_cleanup_js_ struct js creator = js_object();

	if (!r || !r->owner) {
		js_null(js, "creator");
		return;
	}
	about_put_process(&creator, r->owner);
	js_add(js, "creator", &creator);
}

static const char *how_taken(const struct holder *h, const struct recalled *r)
{
	if (r && how_name(r->how))
		return how_name(r->how);
	return h->by_connect && !h->locked ? "connect" : NULL;
}

static int json_holder(const struct answers *a, const struct holder *h, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	const struct recalled *recalled = recall_find(a->recall, h);
	enum without why = without(h);

	js_str(&js, "event", "holder");
	js_time(&js, "time", a->time);
	js_str(&js, "state", holder_state_name(h->state));
	put_since(&js, recalled);
	js_null(&js, "until");
	js_str(&js, "source", "live");
	put_process(&js, a, h->process_count ? h->processes[0] : NULL);
	put_processes(&js, a, h);
	put_creator(&js, recalled);
	js_str(&js, "without_process", why ? without_names[why] : NULL);
	put_ends(&js, h, recalled);
	put_ephemeral(&js, h);
	js_str(&js, "how", how_taken(h, recalled));
	js_bool(&js, "accepted", h->accepted);
	if (h->state == HOLDER_TIME_WAIT && h->expires_ns != UNKNOWN_NS)
		js_uint(&js, "seconds_left", seconds_left(h));
	else
		js_null(&js, "seconds_left");
	put_options(&js, h);
	return about_line(&a->about, &js, out);
}

/* ---- text ---- */

static void text_process(const struct answers *a, const struct process *p, struct buf *out)
{
	struct past_process process = told(a, p);

	about_text_process("", &process, out);
}

/* Who took it, unless that is the one process that has it. */
static void text_creator(const struct holder *h, const struct recalled *r, struct buf *out)
{
	const struct past_process *owner = r ? r->owner : NULL;
	bool same = owner && h->process_count == 1 && h->processes[0]->pid == owner->pid &&
		    h->processes[0]->start == owner->start;

	if (owner && !same)
		about_text_process("taken by ", owner, out);
	else if (!owner && h->process_count > 1)
		buf_adds(out, "             which of them took the port is unknown: no tracer saw it\n");
}

static void text_processes(const struct answers *a, const struct holder *h, const struct recalled *r, struct buf *out)
{
	size_t told = h->process_count < PROCESSES_TOLD ? h->process_count : PROCESSES_TOLD;

	for (size_t i = 0; i < told; i++)
		text_process(a, h->processes[i], out);
	if (told < h->process_count)
		buf_printf(out, "             and %zu processes more\n", h->process_count - told);
	if (!h->process_count)
		buf_printf(out, "             no process: %s\n", without_texts[without(h)]);
	text_creator(h, r, out);
}

static void text_since(const struct recalled *r, struct buf *out)
{
	buf_printf(out, ", since %s", !r ? "unknown" : r->began_before ? "before " : "");
	if (r)
		about_text_time(r->since, out);
	buf_addc(out, '\n');
}

static void text_holder(const struct answers *a, const struct holder *h, struct buf *out)
{
	const struct recalled *recalled = recall_find(a->recall, h);
	char text[ENDPOINT_TEXT];

	about_label(out, holder_state_name(h->state));
	buf_adds(out, endpoint_text(&h->addr, h->port, text));
	if (h->remote.family)
		buf_printf(out, " to %s", endpoint_text(&h->remote, h->remote_port, text));
	if (h->state == HOLDER_TIME_WAIT && h->expires_ns != UNKNOWN_NS)
		buf_printf(out, ", %" PRIu64 " s left", seconds_left(h));
	if (h->netns != a->about.netns)
		buf_printf(out, ", netns %u", h->netns);
	text_since(recalled, out);
	text_processes(a, h, recalled, out);
}

static void text_accepted(size_t accepted, struct buf *out)
{
	if (accepted)
		buf_printf(out, "  %-10s %zu connection%s that listeners accepted there (--json lists them)\n", "and", accepted,
			   accepted == 1 ? "" : "s");
}

/* ---- answers ---- */

static int text_holders(const struct answers *a, const struct held *held, struct buf *out)
{
	size_t told = 0, accepted = 0;
	int r = 0;

	for (size_t i = 0; i < held->count && !r; i++) {
		if (held->rows[i]->accepted) {
			accepted++;
		} else if (told++ < HOLDERS_TOLD) {
			text_holder(a, held->rows[i], out);
			r = about_pass_on(&a->about, out);
		}
	}
	if (told > HOLDERS_TOLD)
		buf_printf(out, "  %-10s %zu holders more (--json lists them)\n", "and", told - HOLDERS_TOLD);
	text_accepted(accepted, out);
	if (!held->count)
		buf_printf(out, "  %-10s nobody in view\n", "held by");
	return r;
}

static int json_holders(const struct answers *a, const struct held *held, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; i < held->count && !r; i++) {
		r = json_holder(a, held->rows[i], out);
		if (!r)
			r = about_pass_on(&a->about, out);
	}
	return r;
}

static int answer_port(const struct answers *a, uint16_t port, uint8_t proto, const struct held *held, struct buf *out)
{
	int r = about_port(&a->about, port, proto, &held->count, &(struct moment){ 0, 0 }, out);

	if (!r)
		r = (a->about.format == FORMAT_TEXT ? text_holders : json_holders)(a, held, out);
	return r ? r : about_pass_on(&a->about, out);
}

/* Of a range only what is held is told one by one. */
static int answer_range(const struct answers *a, const struct question *q, uint8_t proto, struct buf *out)
{
	size_t count = 0;
	int r = 0;

	for (unsigned int port = q->first; port <= q->last && !r; port++) {
		struct held held = find_holders(a, (uint16_t)port, proto);

		if (!held.count)
			continue;
		count++;
		r = answer_port(a, (uint16_t)port, proto, &held, out);
	}
	if (r || (!count && question_may_be_silent(q, proto)))
		return r;
	r = about_range(&a->about, q, proto, count, out);
	return r ? r : about_pass_on(&a->about, out);
}

static int answer_proto(const struct answers *a, const struct question *q, uint8_t proto, struct buf *out)
{
	struct held held = find_holders(a, q->first, proto);

	if (q->first != q->last)
		return answer_range(a, q, proto, out);
	if (!held.count && question_may_be_silent(q, proto))
		return 0;
	return answer_port(a, q->first, proto, &held, out);
}

int answer(const struct answers *a, const struct question *q, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; i < QUESTION_PROTOS && !r; i++)
		if (q->protos & question_proto_bit(question_protos[i]))
			r = answer_proto(a, q, question_protos[i], out);
	return r;
}
