/* SPDX-License-Identifier: GPL-2.0 */
/* The port, the process, the line. */
#include "user/about.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "user/line.h"

#define ROWS_MAX 16		/* annotations of one port */
#define CMDLINE_TOLD 200	/* bytes of a command line in text */
#define TABLE_BEGINS 32768	/* data/ports.tsv: below it the table is silent, not empty */

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

static struct known known_of(const struct about *a, uint16_t port, uint8_t proto)
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

/* ---- lines ---- */

/* What objects of who have, in one table: a column that an object lacks is empty. */
static const char *const columns[] = {
	"event", "asked_since", "asked_until", "port", "proto", "family", "addr", "time", "state", "since", "until", "source",
	"pid", "comm", "uid", "exe", "cmdline", "container", "cgroup", "netns", "cookie", "generation", "boot", "ephemeral",
	"how", "accepted", "remote_addr", "remote_port", "seconds_left", "held_ns", "open_ns", "time_wait_ns", "cause",
	"errno", "exact", "began_before", "end_unknown", "holder_pid", "holder_comm", "without_process", "holders", "first",
	"last", "held", "lost", "reason", "call", "count", "range", "registered", "service", "ephemeral_range", "reserved",
	"ephemeral_low", "ephemeral_high", "reuseaddr", "reuseport", "v6only", "socket_uid", "bound_dev",
};

int about_line(const struct about *a, const struct js *js, struct buf *out)
{
	return a->format == FORMAT_CSV ? js_csv(js, columns, ARRAY_SIZE(columns), out) : js_line(js, out);
}

int about_head(enum format format, struct buf *out)
{
	return format == FORMAT_CSV ? js_csv_head(columns, ARRAY_SIZE(columns), out) : 0;
}

int about_pass_on(const struct about *a, struct buf *out)
{
	int r = buf_error(out);

	return r ? r : a->flush(a->arg, out);
}

void about_label(struct buf *out, const char *label)
{
	buf_printf(out, "  %-10s ", label);
}

/* ---- the port ---- */

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

static void put_asked(struct js *js, const struct moment *asked)
{
	if (!asked->last)
		return;
	js_time(js, "asked_since", asked->first);
	js_time(js, "asked_until", asked->last);
}

static int json_port(const struct about *a, uint16_t port, uint8_t proto, const size_t *holders,
		     const struct moment *asked, struct buf *out)
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
	if (holders)
		js_uint(&js, "holders", *holders);
	else
		js_null(&js, "holders");
	put_asked(&js, asked);
	return about_line(a, &js, out);
}

static void text_registered(const struct known *known, uint16_t port, struct buf *out)
{
	about_label(out, "IANA");
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
		about_label(out, annotate_confidence_name(row->confidence));
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

	about_label(out, "here");
	if (!range->known)
		buf_adds(out, "the ephemeral range cannot be read\n");
	else if (range_usable(range, port))
		buf_printf(out, "in the ephemeral range %u-%u, not reserved: any outgoing connection may take it\n",
			   range->low, range->high);
	else
		buf_printf(out, "%s the ephemeral range %u-%u, %sreserved\n", range_has(range, port) ? "in" : "outside",
			   range->low, range->high, reserved ? "" : "not ");
}

static void text_port(const struct about *a, uint16_t port, uint8_t proto, struct buf *out)
{
	struct known known = known_of(a, port, proto);
	const struct tier *tier = tier_of(port);
	const char *service = a->service(a->arg, port, proto);

	buf_printf(out, "%u/%s: %s port (%u-%u)\n", port, proto_name(proto), tier->name, tier->first, tier->last);
	text_registered(&known, port, out);
	text_known(&known, port, out);
	if (service) {
		about_label(out, "services");
		buf_add_escaped(out, service, strlen(service));
		buf_adds(out, " (/etc/services)\n");
	}
	text_here(a->range, port, out);
}

int about_port(const struct about *a, uint16_t port, uint8_t proto, const size_t *holders, const struct moment *asked,
	       struct buf *out)
{
	if (a->format != FORMAT_TEXT)
		return json_port(a, port, proto, holders, asked, out);
	text_port(a, port, proto, out);
	return buf_error(out);
}

static int json_range(const struct about *a, const struct question *q, uint8_t proto, size_t held, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();

	js_str(&js, "event", "range");
	js_uint(&js, "first", q->first);
	js_uint(&js, "last", q->last);
	js_str(&js, "proto", proto_name(proto));
	js_uint(&js, "held", held);
	put_asked(&js, &q->time);
	return about_line(a, &js, out);
}

int about_range(const struct about *a, const struct question *q, uint8_t proto, size_t held, struct buf *out)
{
	unsigned int ports = q->last - q->first + 1U;

	if (a->format != FORMAT_TEXT)
		return json_range(a, q, proto, held, out);
	return buf_printf(out, "%u-%u/%s: %zu of %u ports held\n", q->first, q->last, proto_name(proto), held, ports);
}

/* ---- a process ---- */

void about_put_process(struct js *js, const struct past_process *p)
{
	static const struct past_process none = { .pid = 0 };

	if (!p) {
		js_null(js, "pid");
		js_null(js, "uid");
		p = &none;
	} else {
		js_uint(js, "pid", p->pid);
		js_uint(js, "uid", p->uid);
	}
	js_str(js, "comm", p->comm);
	js_str(js, "exe", p->exe);
	js_str(js, "cmdline", p->cmdline);
	js_str(js, "container", p->container);
	js_str(js, "cgroup", p->cgroup);
}

static void put_word(struct buf *out, const char *label, const char *text)
{
	if (!text)
		return;
	buf_printf(out, ", %s ", label);
	buf_add_escaped(out, text, strlen(text));
}

void about_text_process(const char *before, const struct past_process *p, struct buf *out)
{
	size_t length = p->cmdline ? strlen(p->cmdline) : 0;

	buf_printf(out, "             %spid %u ", before, p->pid);
	buf_add_escaped(out, p->comm, strlen(p->comm));
	buf_printf(out, ", uid %u", p->uid);
	put_word(out, "exe", p->exe);
	put_word(out, "container", p->container);
	put_word(out, "cgroup", p->cgroup);
	if (p->cmdline) {
		buf_adds(out, ": ");
		buf_add_escaped(out, p->cmdline, length < CMDLINE_TOLD ? length : CMDLINE_TOLD);
		buf_adds(out, length < CMDLINE_TOLD ? "" : "...");
	}
	buf_addc(out, '\n');
}

void about_text_time(uint64_t time, struct buf *out)
{
	time_t seconds = (time_t)(time / 1000000000);
	char text[32];
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
	buf_printf(out, "%s.%03u", text, (unsigned int)(time / 1000000 % 1000));
}
