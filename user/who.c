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

#define ROWS_MAX 16		/* annotations of one port */
#define HOLDERS_TOLD 64		/* holders of one port in text, accepted ones apart; JSON has them all */
#define PROCESSES_TOLD 64	/* processes of one socket in text */
#define CMDLINE_TOLD 200	/* bytes of a command line in text */
#define TABLE_BEGINS 32768	/* data/ports.tsv: below it the table is silent, not empty */

static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE };

static unsigned int proto_bit(uint8_t proto)
{
	return proto == IPPROTO_TCP ? PW_PROTO_TCP : proto == IPPROTO_UDP ? PW_PROTO_UDP : PW_PROTO_UDPLITE;
}

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

/* ---- what holds for the number ---- */

struct tier {
	const char *name;
	uint16_t first, last;
};

static const struct tier *tier_of(uint16_t port)
{
	/* RFC 6335, section 6. */
	static const struct tier tiers[] = {
		{ "system", 0, 1023 }, { "user", 1024, 49151 }, { "dynamic", 49152, 65535 },
	};
	size_t i = 0;

	while (port > tiers[i].last)
		i++;
	return &tiers[i];
}

struct known {
	const struct annotate_row *rows[ROWS_MAX];
	size_t count;
	const struct annotate_row *registered;	/* NULL: none in the table */
};

static struct known known_of(const struct answers *a, uint16_t port, uint8_t proto)
{
	struct known known = { 0 };

	known.count = annotate_explain(a->annotations, proto, port, known.rows, ROWS_MAX);
	if (known.count > ROWS_MAX)
		known.count = ROWS_MAX;
	for (size_t i = 0; i < known.count && !known.registered; i++)
		if (known.rows[i]->confidence == ANNOTATE_REGISTERED)
			known.registered = known.rows[i];
	return known;
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

static void put_process(struct js *js, const struct answers *a, const struct process *p)
{
	if (!p) {
		js_null(js, "pid");
		js_null(js, "uid");
	} else {
		js_uint(js, "pid", p->pid);
		js_uint(js, "uid", p->uid);
	}
	js_str(js, "comm", p ? p->comm : NULL);
	js_str(js, "exe", p ? p->exe : NULL);
	js_str(js, "cmdline", p ? a->cmdline(a->arg, p) : NULL);
	js_str(js, "container", p ? p->container : NULL);
	js_str(js, "cgroup", p ? p->cgroup : NULL);
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

static void put_ends(struct js *js, const struct holder *h)
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

static int json_holder(const struct answers *a, const struct holder *h, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	enum without why = without(h);
	char text[CLOCK_TEXT_SIZE];

	js_str(&js, "event", "holder");
	js_str(&js, "time", clock_format(a->time, text));
	js_str(&js, "state", holder_state_name(h->state));
	js_null(&js, "since");
	js_null(&js, "until");
	js_str(&js, "source", "live");
	put_process(&js, a, h->process_count ? h->processes[0] : NULL);
	put_processes(&js, a, h);
	js_null(&js, "creator");
	js_str(&js, "without_process", why ? without_names[why] : NULL);
	put_ends(&js, h);
	put_ephemeral(&js, h);
	js_str(&js, "how", h->by_connect && !h->locked ? "connect" : NULL);
	js_bool(&js, "accepted", h->accepted);
	if (h->state == HOLDER_TIME_WAIT && h->expires_ns != UNKNOWN_NS)
		js_uint(&js, "seconds_left", seconds_left(h));
	else
		js_null(&js, "seconds_left");
	put_options(&js, h);
	return js_line(&js, out);
}

static void put_known(struct js *js, const struct known *known)
{
	_cleanup_js_ struct js list = js_array();

	for (size_t i = 0; i < known->count; i++) {
		const struct annotate_row *row = known->rows[i];
		_cleanup_js_ struct js one = js_object();

		js_str(&one, "name", row->name);
		js_str(&one, "confidence", annotate_confidence_name(row->confidence));
		js_str(&one, "source", *row->source ? row->source : NULL);
		js_add(&list, NULL, &one);
	}
	js_add(js, "annotations", &list);
}

static void put_range(struct js *js, const struct range *range, uint16_t port)
{
	static const char *const names[] = { "ephemeral_range", "reserved", "ephemeral_low", "ephemeral_high" };

	if (!range->known) {
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			js_null(js, names[i]);
		return;
	}
	js_bool(js, names[0], range_has(range, port));
	js_bool(js, names[1], port_set_has(&range->reserved, port));
	js_uint(js, names[2], range->low);
	js_uint(js, names[3], range->high);
}

/* held NULL: not known. */
static int json_port(const struct answers *a, uint16_t port, uint8_t proto, const struct held *held, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	struct known known = known_of(a, port, proto);

	js_str(&js, "event", "port");
	js_uint(&js, "port", port);
	js_str(&js, "proto", proto_name(proto));
	js_str(&js, "range", tier_of(port)->name);
	js_str(&js, "registered", known.registered ? known.registered->name : NULL);
	put_known(&js, &known);
	js_str(&js, "service", a->service(a->arg, port, proto));
	put_range(&js, a->range, port);
	js_uint(&js, "netns", a->netns);
	if (held)
		js_uint(&js, "holders", held->count);
	else
		js_null(&js, "holders");
	return js_line(&js, out);
}

static int json_range(const struct question *q, uint8_t proto, size_t held, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();

	js_str(&js, "event", "range");
	js_uint(&js, "first", q->first);
	js_uint(&js, "last", q->last);
	js_str(&js, "proto", proto_name(proto));
	js_uint(&js, "held", held);
	return js_line(&js, out);
}

static const char blind_reason[] = "there is no history to ask: nothing was recorded";

static int json_blind(const struct question *q, uint8_t proto, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	char text[CLOCK_TEXT_SIZE];

	js_str(&js, "event", "blind");
	js_uint(&js, "port", q->first);
	js_str(&js, "proto", proto_name(proto));
	js_str(&js, "since", clock_format(q->time, text));
	js_str(&js, "until", clock_format(q->time, text));
	js_str(&js, "reason", blind_reason);
	return js_line(&js, out);
}

/* ---- text ---- */

static void put_label(struct buf *out, const char *label)
{
	buf_printf(out, "  %-10s ", label);
}

static void text_registered(const struct known *known, uint16_t port, struct buf *out)
{
	put_label(out, "IANA");
	if (known->registered)
		annotate_sentence(known->registered, port, out);
	else if (port >= 49152)
		buf_adds(out, "registers nothing from 49152 on");
	else if (port >= TABLE_BEGINS)
		buf_adds(out, "registers nothing for it");
	else
		buf_printf(out, "not known here: the table of ports begins at %d", TABLE_BEGINS);
	buf_addc(out, '\n');
}

static void text_known(const struct known *known, uint16_t port, struct buf *out)
{
	for (size_t i = 0; i < known->count; i++) {
		const struct annotate_row *row = known->rows[i];

		if (row == known->registered)
			continue;
		put_label(out, annotate_confidence_name(row->confidence));
		annotate_sentence(row, port, out);
		if (*row->source) {
			buf_adds(out, " [");
			buf_add_escaped(out, row->source, strlen(row->source));
			buf_addc(out, ']');
		}
		buf_addc(out, '\n');
	}
}

static void text_here(const struct range *range, uint16_t port, struct buf *out)
{
	bool reserved = port_set_has(&range->reserved, port);

	put_label(out, "here");
	if (!range->known)
		buf_adds(out, "the ephemeral range cannot be read\n");
	else if (range_usable(range, port))
		buf_printf(out, "in the ephemeral range %u-%u, not reserved: any outgoing connection may take it\n",
			   range->low, range->high);
	else
		buf_printf(out, "%s the ephemeral range %u-%u, %sreserved\n", range_has(range, port) ? "in" : "outside",
			   range->low, range->high, reserved ? "" : "not ");
}

static void text_port(const struct answers *a, uint16_t port, uint8_t proto, struct buf *out)
{
	struct known known = known_of(a, port, proto);
	const struct tier *tier = tier_of(port);
	const char *service = a->service(a->arg, port, proto);

	buf_printf(out, "%u/%s: %s port (%u-%u)\n", port, proto_name(proto), tier->name, tier->first, tier->last);
	text_registered(&known, port, out);
	text_known(&known, port, out);
	if (service) {
		put_label(out, "services");
		buf_add_escaped(out, service, strlen(service));
		buf_adds(out, " (/etc/services)\n");
	}
	text_here(a->range, port, out);
}

static void put_word(struct buf *out, const char *label, const char *text)
{
	if (!text)
		return;
	buf_printf(out, ", %s ", label);
	buf_add_escaped(out, text, strlen(text));
}

static void text_process(const struct answers *a, const struct process *p, struct buf *out)
{
	const char *cmdline = a->cmdline(a->arg, p);
	size_t length = cmdline ? strlen(cmdline) : 0;

	buf_printf(out, "             pid %u ", p->pid);
	buf_add_escaped(out, p->comm, strlen(p->comm));
	buf_printf(out, ", uid %u", p->uid);
	put_word(out, "exe", p->exe);
	put_word(out, "container", p->container);
	put_word(out, "cgroup", p->cgroup);
	if (cmdline) {
		buf_adds(out, ": ");
		buf_add_escaped(out, cmdline, length < CMDLINE_TOLD ? length : CMDLINE_TOLD);
		buf_adds(out, length < CMDLINE_TOLD ? "" : "...");
	}
	buf_addc(out, '\n');
}

static void text_processes(const struct answers *a, const struct holder *h, struct buf *out)
{
	size_t told = h->process_count < PROCESSES_TOLD ? h->process_count : PROCESSES_TOLD;

	for (size_t i = 0; i < told; i++)
		text_process(a, h->processes[i], out);
	if (told < h->process_count)
		buf_printf(out, "             and %zu processes more\n", h->process_count - told);
	if (h->process_count > 1)
		buf_adds(out, "             which of them took the port is unknown: no tracer saw it\n");
	if (!h->process_count)
		buf_printf(out, "             no process: %s\n", without_texts[without(h)]);
}

static void text_holder(const struct answers *a, const struct holder *h, struct buf *out)
{
	char text[ENDPOINT_TEXT];

	put_label(out, holder_state_name(h->state));
	buf_adds(out, endpoint_text(&h->addr, h->port, text));
	if (h->remote.family)
		buf_printf(out, " to %s", endpoint_text(&h->remote, h->remote_port, text));
	if (h->state == HOLDER_TIME_WAIT && h->expires_ns != UNKNOWN_NS)
		buf_printf(out, ", %" PRIu64 " s left", seconds_left(h));
	if (h->netns != a->netns)
		buf_printf(out, ", netns %u", h->netns);
	buf_adds(out, ", since unknown\n");
	text_processes(a, h, out);
}

static void text_accepted(size_t accepted, struct buf *out)
{
	if (accepted)
		buf_printf(out, "  %-10s %zu connection%s that listeners accepted there (--json lists them)\n", "and", accepted,
			   accepted == 1 ? "" : "s");
}

/* ---- answers ---- */

static int pass_on(const struct answers *a, struct buf *out)
{
	int r = buf_error(out);

	return r ? r : a->flush(a->arg, out);
}

static int text_holders(const struct answers *a, const struct held *held, struct buf *out)
{
	size_t told = 0, accepted = 0;
	int r = 0;

	for (size_t i = 0; i < held->count && !r; i++) {
		if (held->rows[i]->accepted) {
			accepted++;
		} else if (told++ < HOLDERS_TOLD) {
			text_holder(a, held->rows[i], out);
			r = pass_on(a, out);
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
			r = pass_on(a, out);
	}
	return r;
}

static int answer_now(const struct answers *a, uint16_t port, uint8_t proto, const struct held *held, struct buf *out)
{
	int r = 0;

	if (a->json)
		r = json_port(a, port, proto, held, out);
	else
		text_port(a, port, proto, out);
	if (!r)
		r = (a->json ? json_holders : text_holders)(a, held, out);
	return r ? r : pass_on(a, out);
}

static int answer_past(const struct answers *a, const struct question *q, uint8_t proto, struct buf *out)
{
	char text[CLOCK_TEXT_SIZE];
	int r = 0;

	if (a->json) {
		r = json_port(a, q->first, proto, NULL, out);
		if (!r)
			r = json_blind(q, proto, out);
	} else {
		text_port(a, q->first, proto, out);
		buf_printf(out, "  %-10s not known at %s: %s\n", "held by", clock_format(q->time, text), blind_reason);
	}
	return r ? r : pass_on(a, out);
}

/* Hardly anybody means UDP-Lite. */
static bool may_be_silent(const struct question *q, uint8_t proto)
{
	return proto == IPPROTO_UDPLITE && q->any_proto;
}

/* Of a range only what is held is told one by one. */
static int answer_range(const struct answers *a, const struct question *q, uint8_t proto, struct buf *out)
{
	unsigned int ports = q->last - q->first + 1U;
	size_t count = 0;
	int r = 0;

	for (unsigned int port = q->first; port <= q->last && !r; port++) {
		struct held held = find_holders(a, (uint16_t)port, proto);

		if (!held.count)
			continue;
		count++;
		r = answer_now(a, (uint16_t)port, proto, &held, out);
	}
	if (r || (!count && may_be_silent(q, proto)))
		return r;
	if (a->json)
		r = json_range(q, proto, count, out);
	else
		buf_printf(out, "%u-%u/%s: %zu of %u ports held\n", q->first, q->last, proto_name(proto), count, ports);
	return r ? r : pass_on(a, out);
}

static int answer_proto(const struct answers *a, const struct question *q, uint8_t proto, struct buf *out)
{
	struct held held = find_holders(a, q->first, proto);

	if (q->first != q->last)
		return answer_range(a, q, proto, out);
	if (may_be_silent(q, proto) && (q->time || !held.count))
		return 0;
	if (q->time)
		return answer_past(a, q, proto, out);
	return answer_now(a, q->first, proto, &held, out);
}

int answer(const struct answers *a, const struct question *q, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(protos) && !r; i++)
		if (q->protos & proto_bit(protos[i]))
			r = answer_proto(a, q, protos[i], out);
	return r;
}
