/* SPDX-License-Identifier: GPL-2.0 */
/* One line of portwake's JSON stream, checked field by field against the interface. */
#define _GNU_SOURCE
#include "tests/e2e/seen.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define KINDS_LIFE (1U << KIND_PRESENT | 1U << KIND_ALLOCATE | 1U << KIND_LISTEN | 1U << KIND_CLOSE | \
		    1U << KIND_TIME_WAIT | 1U << KIND_RELEASE)
#define KINDS_CALL (KINDS_LIFE | 1U << KIND_DENIED)
#define KINDS_ALL (KINDS_LIFE | 1U << KIND_READY | 1U << KIND_DENIED | 1U << KIND_GAP)

static const char *const kinds[KIND_COUNT] = {
	"ready", "present", "allocate", "listen", "close", "time_wait", "release", "denied", "gap",
};
static const char *const hows[] = { "bind", "connect", "send", "listen" };
static const char *const causes[] = { "close", "reset", "time_wait", "reuse", "disconnect", "netns", "unknown" };

/* What each event must carry. type: s string, i integer, b boolean, a array, o object; upper case: null is allowed. */
static const struct field {
	const char *name;
	char type;
	unsigned kinds;
} fields[] = {
	{ "time", 's', KINDS_ALL },
	{ "pid", 'I', KINDS_CALL }, { "comm", 'S', KINDS_CALL }, { "uid", 'I', KINDS_CALL },
	{ "exe", 'S', KINDS_CALL }, { "container", 'S', KINDS_CALL }, { "cgroup", 'S', KINDS_CALL },
	{ "proto", 's', KINDS_CALL }, { "family", 's', KINDS_CALL }, { "addr", 's', KINDS_CALL },
	{ "port", 'i', KINDS_CALL }, { "netns", 'i', KINDS_CALL },
	{ "remote_addr", 'S', KINDS_CALL }, { "remote_port", 'I', KINDS_CALL },
	{ "cookie", 's', KINDS_LIFE }, { "generation", 'i', KINDS_LIFE },
	{ "ephemeral", 'B', 1U << KIND_ALLOCATE }, { "how", 'S', 1U << KIND_ALLOCATE },
	{ "holder_pid", 'I', KINDS_LIFE }, { "holder_comm", 'S', KINDS_LIFE },
	{ "annotation", 'O', KINDS_CALL }, { "exact", 'b', KINDS_CALL },
	{ "cause", 's', 1U << KIND_RELEASE | 1U << KIND_DENIED },
	{ "errno", 'S', 1U << KIND_RELEASE | 1U << KIND_DENIED },
	{ "call", 's', 1U << KIND_DENIED }, { "holders", 'a', 1U << KIND_DENIED }, { "holders_total", 'i', 1U << KIND_DENIED },
	{ "range", 'O', 1U << KIND_DENIED }, { "advice", 'a', 1U << KIND_DENIED },
	{ "held_ns", 'I', 1U << KIND_RELEASE }, { "open_ns", 'I', 1U << KIND_RELEASE },
	{ "time_wait_ns", 'I', 1U << KIND_RELEASE },
	{ "lost", 'i', 1U << KIND_GAP }, { "lost_allocations", 'i', 1U << KIND_GAP }, { "reason", 's', 1U << KIND_GAP },
	{ "since", 's', 1U << KIND_GAP }, { "until", 's', 1U << KIND_GAP },
};

const char *kind_name(enum kind kind)
{
	return kinds[kind];
}

static const char *mask_names(unsigned mask, const char *const *names, size_t n, char *out, size_t size)
{
	size_t used = 0;

	snprintf(out, size, "null");
	for (size_t i = 0; i < n; i++) {
		if (mask & 1U << i)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "|" : "", names[i]);
	}
	return out;
}

const char *how_names(unsigned mask, char out[64])
{
	return mask_names(mask, hows, COUNT_OF(hows), out, 64);
}

const char *cause_names(unsigned mask, char out[96])
{
	return mask_names(mask, causes, COUNT_OF(causes), out, 96);
}

const char *proto_name(int proto)
{
	switch (proto) {
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_UDPLITE:
		return "udplite";
	default:
		return "tcp";
	}
}

static int name_index(const char *text, const char *const *names, size_t n)
{
	for (size_t i = 0; text && i < n; i++) {
		if (strcmp(text, names[i]) == 0)
			return (int)i;
	}
	return -1;
}

int seen_time(const char *text, int64_t *out)
{
	struct tm tm = { 0 };
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	char *end;
	long ns;

	if (!p || *p != '.' || strlen(p) != 11 || p[10] != 'Z')
		return -EINVAL;
	ns = strtol(p + 1, &end, 10);
	if (end != p + 10)
		return -EINVAL;
	*out = (int64_t)timegm(&tm) * 1000000000 + ns;
	return 0;
}

static bool type_fits(const json_t *value, char type)
{
	if (json_is_null(value))
		return type >= 'A' && type <= 'Z';
	switch (type | 0x20) {
	case 's':
		return json_is_string(value);
	case 'i':
		return json_is_integer(value);
	case 'b':
		return json_is_boolean(value);
	case 'a':
		return json_is_array(value);
	default:
		return json_is_object(value);
	}
}

static int check_fields(const json_t *root, enum kind kind, char *why, size_t size)
{
	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		const json_t *value = json_object_get(root, fields[i].name);

		if (!value && !(fields[i].kinds & 1U << kind))
			continue;
		if (value && type_fits(value, fields[i].type))
			continue;
		if (value && !(fields[i].kinds & 1U << kind) && json_is_null(value))
			continue;
		snprintf(why, size, "%s: field %s is %s", kinds[kind], fields[i].name,
			 value ? "of the wrong type" : "missing");
		return -EINVAL;
	}
	return 0;
}

static int64_t number(const json_t *root, const char *name)
{
	const json_t *value = json_object_get(root, name);

	return json_is_integer(value) ? json_integer_value(value) : SEEN_NULL;
}

static void text(const json_t *root, const char *name, char *out, size_t size)
{
	const char *value = json_string_value(json_object_get(root, name));

	snprintf(out, size, "%s", value ? value : "");
}

static unsigned mask_of(const json_t *root, const char *name, const char *const *names, size_t n, bool *bad)
{
	const json_t *value = json_object_get(root, name);
	int i = name_index(json_string_value(value), names, n);

	if (i < 0 && value && !json_is_null(value))
		*bad = true;
	return i < 0 ? 0 : 1U << i;
}

static int proto_of(const char *name)
{
	if (name && strcmp(name, "tcp") == 0)
		return IPPROTO_TCP;
	if (name && strcmp(name, "udp") == 0)
		return IPPROTO_UDP;
	if (name && strcmp(name, "udplite") == 0)
		return IPPROTO_UDPLITE;
	return -1;
}

static bool family_fits(const json_t *root, const struct seen *out)
{
	const char *family = json_string_value(json_object_get(root, "family"));

	return family && strcmp(family, strchr(out->addr, ':') ? "ipv6" : "ipv4") == 0;
}

static int take_life(const json_t *root, struct seen *out, char *why, size_t size)
{
	const char *cookie = json_string_value(json_object_get(root, "cookie"));
	bool bad = false;
	char *end;

	out->cookie = strtoull(cookie, &end, 10);
	if (*end || !out->cookie) {
		snprintf(why, size, "cookie \"%s\" is not a number above 0", cookie);
		return -EINVAL;
	}
	out->proto = proto_of(json_string_value(json_object_get(root, "proto")));
	out->how = mask_of(root, "how", hows, COUNT_OF(hows), &bad);
	out->cause = mask_of(root, "cause", causes, COUNT_OF(causes), &bad);
	if (bad || out->proto < 0 || !family_fits(root, out)) {
		snprintf(why, size, "proto, family, how or cause is out of range");
		return -EINVAL;
	}
	return 0;
}

static void take_plain(const json_t *root, struct seen *out)
{
	out->port = (uint16_t)number(root, "port");
	out->remote_port = number(root, "remote_port") < 0 ? 0 : (uint16_t)number(root, "remote_port");
	out->generation = (unsigned)number(root, "generation");
	out->pid = (long)number(root, "pid");
	out->uid = (long)number(root, "uid");
	out->holder_pid = (long)number(root, "holder_pid");
	out->held_ns = number(root, "held_ns");
	out->open_ns = number(root, "open_ns");
	out->time_wait_ns = number(root, "time_wait_ns");
	out->netns = (uint64_t)number(root, "netns");
	out->lost = (uint64_t)number(root, "lost");
	out->lost_allocations = (uint64_t)number(root, "lost_allocations");
	out->has_ephemeral = json_is_boolean(json_object_get(root, "ephemeral"));
	out->ephemeral = json_is_true(json_object_get(root, "ephemeral"));
	out->exact = json_is_true(json_object_get(root, "exact"));
	out->kernel = json_is_true(json_object_get(root, "kernel"));
	text(root, "addr", out->addr, sizeof(out->addr));
	text(root, "remote_addr", out->remote_addr, sizeof(out->remote_addr));
	text(root, "comm", out->comm, sizeof(out->comm));
	text(root, "holder_comm", out->holder_comm, sizeof(out->holder_comm));
	text(root, "errno", out->err, sizeof(out->err));
	text(root, "exe", out->exe, sizeof(out->exe));
	text(root, "cgroup", out->cgroup, sizeof(out->cgroup));
	text(root, "container", out->container, sizeof(out->container));
	text(json_object_get(root, "annotation"), "name", out->annotation, sizeof(out->annotation));
	text(json_object_get(root, "annotation"), "confidence", out->confidence, sizeof(out->confidence));
}

static int take_times(const json_t *root, struct seen *out, char *why, size_t size)
{
	const char *const names[] = { "time", "since", "until" };
	int64_t *const into[] = { &out->time, &out->since, &out->until };

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const char *value = json_string_value(json_object_get(root, names[i]));

		if (value && seen_time(value, into[i])) {
			snprintf(why, size, "%s \"%s\" is not RFC 3339 with nanoseconds, UTC", names[i], value);
			return -EINVAL;
		}
	}
	return 0;
}

static int take(const json_t *root, struct seen *out, char *why, size_t size)
{
	const char *event = json_string_value(json_object_get(root, "event"));
	int kind = name_index(event, kinds, KIND_COUNT);
	int err;

	if (kind < 0) {
		snprintf(why, size, "event \"%s\" is unknown", event ? event : "(none)");
		return -EINVAL;
	}
	out->kind = (enum kind)kind;
	err = check_fields(root, out->kind, why, size);
	if (!err)
		err = take_times(root, out, why, size);
	if (err)
		return err;
	take_plain(root, out);
	return (KINDS_LIFE & 1U << kind) ? take_life(root, out, why, size) : 0;
}

int seen_parse(const char *line, size_t len, struct seen *out, char *why, size_t size)
{
	json_error_t error;
	json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	int err;

	memset(out, 0, sizeof(*out));
	if (!json_is_object(root)) {
		snprintf(why, size, "not a JSON object: %s", root ? "another type" : error.text);
		json_decref(root);
		return -EINVAL;
	}
	err = take(root, out, why, size);
	json_decref(root);
	if (!err)
		out->line = strndup(line, len);
	return err;
}

void seen_clear(struct seen *seen)
{
	free(seen->line);
	seen->line = NULL;
}
