/* SPDX-License-Identifier: GPL-2.0 */
/* Filters as a history keeps them. */
#include "user/scope.h"

#include "user/mem.h"
#include "user/range.h"
#include "user/schema.h"

/* One word: blanks divide them. */
static void add_word(struct buf *out, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(out, "%s%s=", out->len ? " " : "", name);
	for (; *value; value++)
		buf_add(out, *value == ' ' ? "_" : value, 1);
}

static void add_numbers(struct buf *out, const char *name, const uint32_t *numbers, uint32_t count)
{
	char text[16 * PW_FILTER] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u", i ? "," : "", numbers[i]);
	add_word(out, name, text);
}

static void add_protos(struct buf *out, unsigned int protos)
{
	char text[24];

	snprintf(text, sizeof(text), "%s%s%s", protos & PW_PROTO_TCP ? ",tcp" : "", protos & PW_PROTO_UDP ? ",udp" : "",
		 protos & PW_PROTO_UDPLITE ? ",udplite" : "");
	add_word(out, "proto", *text ? text + 1 : text);
}

int scope_text(const struct options *o, char **out)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SCHEMA_FILTER_MAX), ports = BUF_INIT(RANGE_LIST_MAX);
	const struct pw_settings *s = &o->settings;

	*out = NULL;
	if (o->by_port && range_list(&o->ports, &ports))
		return buf_error(&ports);
	add_numbers(&text, "netns", s->netns, s->netns_count);
	add_word(&text, "port", buf_text(&ports));
	add_protos(&text, s->protos);
	add_numbers(&text, "pid", s->pid, s->pid_count);
	add_word(&text, "comm", s->comm);
	add_word(&text, "cgroup", o->cgroup);
	add_word(&text, "command", o->command ? o->command[0] : NULL);
	add_word(&text, "denied", o->no_denied ? "no" : NULL);
	if (buf_error(&text) || !text.len)
		return buf_error(&text);
	*out = pw_strdup(buf_text(&text));
	return *out ? 0 : -ENOMEM;
}
