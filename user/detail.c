/* SPDX-License-Identifier: GPL-2.0 */
/* The details of a denial as JSON: who held what was wanted, and what would help. */
#include "user/detail.h"

#include <string.h>

#include "user/identity.h"
#include "user/line.h"

static void put_pid(struct js *js, const char *key, uint32_t pid)
{
	if (pid)
		js_uint(js, key, pid);
	else
		js_null(js, key);
}

void detail_traits(struct js *js, bool known, uint8_t traits, uint32_t bound_dev)
{
	static const struct {
		const char *key;
		uint8_t trait;
	} names[] = { { "reuseaddr", PW_T_REUSE }, { "reuseport", PW_T_REUSEPORT }, { "v6only", PW_T_V6ONLY } };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (known)
			js_bool(js, names[i].key, traits & names[i].trait);
		else
			js_null(js, names[i].key);
	}
	put_pid(js, "bound_dev", known ? bound_dev : 0);
}

void detail_cookie(struct js *js, uint64_t cookie)
{
	if (cookie)
		js_id(js, "cookie", cookie);
	else
		js_null(js, "cookie");
}

void detail_end(struct js *js, const struct event_addr *remote, uint16_t port)
{
	char text[ADDR_TEXT];

	js_str(js, "remote_addr", remote->family ? addr_text(remote, text) : NULL);
	put_pid(js, "remote_port", remote->family ? port : 0);
}

static void put_rival(struct js *list, const struct rival *rival)
{
	_cleanup_js_ struct js js = js_object();
	const struct process *p = rival->owner;
	uint64_t milliseconds = rival->left_ns / 1000000;
	char text[ADDR_TEXT];

	put_pid(&js, "pid", p ? p->pid : 0);
	js_str(&js, "comm", p ? p->comm : NULL);
	js_str(&js, "exe", p ? p->exe : NULL);
	js_str(&js, "container", p ? p->container : NULL);
	if (rival->kernel)
		js_bool(&js, "kernel", true);
	js_str(&js, "state", rival_state_name(rival->state));
	js_str(&js, "addr", addr_text(&rival->addr, text));
	js_uint(&js, "port", rival->port);
	detail_end(&js, &rival->remote, rival->remote_port);
	detail_cookie(&js, rival->cookie);
	if (rival->accepted_unknown)
		js_null(&js, "accepted");
	else
		js_bool(&js, "accepted", rival->accepted);
	if (rival->left_ns == UNKNOWN_NS)
		js_null(&js, "seconds_left");
	else
		js_real(&js, "seconds_left", (double)milliseconds / 1e3);
	detail_traits(&js, rival->traits_known, rival->traits, rival->bound_dev);
	if (rival->uid_known)
		js_uint(&js, "socket_uid", rival->uid);
	else
		js_null(&js, "socket_uid");
	js_add(list, NULL, &js);
}

static void put_usage(struct js *to, const struct usage *u)
{
	_cleanup_js_ struct js js = js_object();

	if (!u->known) {
		js_null(to, "range");
		return;
	}
	js_uint(&js, "low", u->low);
	js_uint(&js, "high", u->high);
	js_uint(&js, "size", u->size);
	js_uint(&js, "reserved", u->reserved);
	js_uint(&js, "held", u->held);
	js_uint(&js, "sockets", u->sockets);
	js_uint(&js, "time_wait", u->time_waits);
	put_pid(&js, "top_pid", u->top ? u->top->pid : 0);
	js_str(&js, "top_comm", u->top ? u->top->comm : NULL);
	js_uint(&js, "top_sockets", u->top_sockets);
	detail_end(&js, &u->top_remote, u->top_remote_port);
	js_uint(&js, "remote_sockets", u->top_remote_sockets);
	js_add(to, "range", &js);
}

static void put_advice(struct js *to, const char *text)
{
	_cleanup_js_ struct js list = js_array();

	for (const char *end; (end = strchr(text, '\n')); text = end + 1)
		js_strn(&list, NULL, text, (size_t)(end - text));
	js_add(to, "advice", &list);
}

void detail_put(struct js *to, const struct explanation *e)
{
	_cleanup_js_ struct js holders = js_array();

	for (size_t i = 0; e && i < e->rival_count; i++)
		put_rival(&holders, &e->rivals[i]);
	js_add(to, "holders", &holders);
	js_uint(to, "holders_total", e ? e->rival_total : 0);
	if (e)
		put_usage(to, &e->usage);
	else
		js_null(to, "range");
	put_advice(to, e ? e->advice : "");
}
