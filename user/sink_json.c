/* SPDX-License-Identifier: GPL-2.0 */
/* One JSON object a line. */
#include "user/sink_json.h"

#include <netinet/in.h>
#include <string.h>

#include "user/detail.h"
#include "user/json.h"
#include "user/line.h"

static void put_pid(struct js *js, const char *key, uint32_t pid)
{
	if (pid)
		js_uint(js, key, pid);
	else
		js_null(js, key);
}

static void put_owner(struct js *js, const struct line *line)
{
	const struct process *p = line->owner;

	put_pid(js, "pid", p ? p->pid : 0);
	js_str(js, "comm", p ? p->comm : NULL);
	if (p)
		js_uint(js, "uid", p->uid);
	else
		js_null(js, "uid");
	js_str(js, "exe", p ? p->exe : NULL);
	js_str(js, "container", p ? p->container : NULL);
	js_str(js, "cgroup", p ? p->cgroup : NULL);
	if (line->flags & PW_F_KERNEL)
		js_bool(js, "kernel", true);
}

static void put_socket(struct js *js, const struct line *line)
{
	char text[ADDR_TEXT];

	js_str(js, "proto", proto_name(line->proto));
	js_str(js, "family", line->addr.family == AF_INET6 ? "ipv6" : "ipv4");
	js_str(js, "addr", addr_text(&line->addr, text));
	js_uint(js, "port", line->port);
	js_uint(js, "netns", line->netns);
	js_id(js, "cookie", line->cookie);
	js_uint(js, "generation", line->generation);
	if (line->flags & PW_F_EPHEMERAL_UNKNOWN)
		js_null(js, "ephemeral");
	else
		js_bool(js, "ephemeral", line->flags & PW_F_EPHEMERAL);
	js_str(js, "how", how_name(line->how));
	js_str(js, "remote_addr", line->remote.family ? addr_text(&line->remote, text) : NULL);
	put_pid(js, "remote_port", line->remote_port);
}

static void put_holder(struct js *js, const struct line *line)
{
	bool other = line_by_another(line);

	put_pid(js, "holder_pid", other ? line->holder_pid : 0);
	js_str(js, "holder_comm", other ? line->holder_comm : NULL);
}

static void put_annotation(struct js *js, const struct annotate_table *annotations, const struct line *line)
{
	const struct annotate_row *row = annotate_find(annotations, line->proto, line->port);
	_cleanup_js_ struct js child = js_object();

	if (!row) {
		js_null(js, "annotation");
		return;
	}
	js_str(&child, "name", row->name);
	js_str(&child, "confidence", annotate_confidence_name(row->confidence));
	js_add(js, "annotation", &child);
}

static void put_release(struct js *js, const struct line *line)
{
	js_str(js, "cause", cause_name(line->cause));
	js_str(js, "errno", error_name(line->error));
	js_span(js, "held_ns", line->held_ns);
	js_span(js, "open_ns", line->open_ns);
	js_span(js, "time_wait_ns", line->time_wait_ns);
}

static void put_denied(struct js *js, const struct line *line)
{
	const struct explanation *e = line->explanation;
	char text[ADDR_TEXT];

	js_str(js, "proto", proto_name(line->proto));
	js_str(js, "family", line->addr.family == AF_INET6 ? "ipv6" : "ipv4");
	if (line->traits & PW_T_UNREAD) {
		js_null(js, "addr");
		js_null(js, "port");
	} else {
		js_str(js, "addr", addr_text(&line->addr, text));
		js_uint(js, "port", line->port);
	}
	js_uint(js, "netns", line->netns);
	detail_cookie(js, line->cookie);
	js_str(js, "call", how_name(line->how));
	js_str(js, "errno", error_name(line->error));
	js_str(js, "cause", e ? denial_name(e->cause) : NULL);
	detail_end(js, &line->remote, line->remote_port);
	detail_traits(js, true, line->traits, line->bound_dev);
	js_uint(js, "socket_uid", line->sock_uid);
	detail_put(js, e);
}

static void put_gap(struct js *js, const struct line *line)
{
	js_uint(js, "lost", line->lost);
	js_uint(js, "lost_allocations", line->lost_allocations);
	js_time(js, "since", line->time);
	js_time(js, "until", line->until);
	js_str(js, "reason", line->reason);
}

void sink_json_format(void *annotations, const struct line *line, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	int r;

	js_str(&js, "event", what_name(line->what));
	js_time(&js, "time", line->what == WHAT_GAP ? line->until : line->time);
	if (line->what == WHAT_GAP) {
		put_gap(&js, line);
	} else if (line->what == WHAT_DENIED) {
		put_owner(&js, line);
		put_denied(&js, line);
		put_annotation(&js, annotations, line);
		js_bool(&js, "exact", line->exact);
	} else if (line->what != WHAT_READY) {
		put_owner(&js, line);
		put_socket(&js, line);
		put_holder(&js, line);
		put_annotation(&js, annotations, line);
		js_bool(&js, "exact", line->exact);
		if (line->what == WHAT_PRESENT)
			js_str(&js, "state", line_state(line));
		if (line->what == WHAT_RELEASE)
			put_release(&js, line);
	}
	r = js_line(&js, out);
	/* It sticks to out and ends the stream: a line does not vanish. */
	if (r)
		out->error = r;
}
