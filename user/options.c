/* SPDX-License-Identifier: GPL-2.0 */
/* The table of options and its parser. */
#include "user/options.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "user/history.h"
#include "user/ladder.h"
#include "user/log.h"
#include "user/netns.h"
#include "user/probe.h"

#define KEEP_MIN_NS 1000000000ULL
#define MAX_SIZE_MIN (8u << 20)	/* STORE_SIZE_MIN */

static int refuse(char *why, size_t size, const char *fmt, ...) _printf_(3, 4);

static int refuse(char *why, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, size, fmt, args);
	va_end(args);
	return -EINVAL;
}

static int set_json(struct options *o, const char *value _unused, char *why _unused, size_t size _unused)
{
	o->json = true;
	o->format = FORMAT_JSON;
	return 0;
}

static int set_format(struct options *o, const char *value, char *why, size_t size)
{
	static const char *const names[] = { [FORMAT_TEXT] = "text", [FORMAT_JSON] = "json", [FORMAT_CSV] = "csv" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		o->format = (enum format)i;
		o->json = o->format == FORMAT_JSON;
		return 0;
	}
	return refuse(why, size, "'%s' is none of text, json, csv", value);
}

static int set_db(struct options *o, const char *value, char *why, size_t size)
{
	if (!*value)
		return refuse(why, size, "the path is empty");
	o->db = value;
	return 0;
}

/* "-5m" is the same moment in two options. */
static uint64_t now_of(struct options *o)
{
	if (!o->now)
		o->now = now_realtime();
	return o->now;
}

static int set_at(struct options *o, const char *value, char *why, size_t size)
{
	return clock_moment(value, now_of(o), &o->at, why, size);
}

static int set_since(struct options *o, const char *value, char *why, size_t size)
{
	struct moment moment;

	if (clock_moment(value, now_of(o), &moment, why, size))
		return -EINVAL;
	o->since = moment.first ? moment.first : 1;
	return 0;
}

static int set_until(struct options *o, const char *value, char *why, size_t size)
{
	struct moment moment;

	if (clock_moment(value, now_of(o), &moment, why, size))
		return -EINVAL;
	o->until = moment.last;
	return 0;
}

static int set_help(struct options *o, const char *value _unused, char *why _unused, size_t size _unused)
{
	o->help = true;
	return 0;
}

static int set_verbose(struct options *o _unused, const char *value _unused, char *why _unused, size_t size _unused)
{
	log_set_level(LOG_LEVEL_DEBUG);
	return 0;
}

static int set_listeners(struct options *o, const char *value _unused, char *why _unused, size_t size _unused)
{
	o->listeners = true;
	return 0;
}

static int set_denied(struct options *o, const char *value _unused, char *why _unused, size_t size _unused)
{
	o->denied = true;
	return 0;
}

static int set_no_denied(struct options *o, const char *value _unused, char *why _unused, size_t size _unused)
{
	o->no_denied = true;
	return 0;
}

static int set_duration(struct options *o, const char *value, char *why, size_t size)
{
	if (num_seconds(value, &o->duration_ns) || !o->duration_ns)
		return refuse(why, size, "'%s' is not a length of time; as in 5, 1.5, 250ms, 10m, 2h", value);
	return 0;
}

static int set_keep(struct options *o, const char *value, char *why, size_t size)
{
	if (num_seconds(value, &o->keep_ns) || o->keep_ns < KEEP_MIN_NS)
		return refuse(why, size, "'%s' is not a length of time of a second or more; as in 7d, 12h, 90m", value);
	/* Whoever means days would lose all but the last seconds. */
	if (isdigit((unsigned char)value[strlen(value) - 1]))
		return refuse(why, size, "'%s' has no unit; as in 7d, 12h, 90m, 30s", value);
	return 0;
}

static int set_max_size(struct options *o, const char *value, char *why, size_t size)
{
	if (num_size(value, MAX_SIZE_MIN, INT64_MAX, &o->max_size))
		return refuse(why, size, "'%s' is not a size of 8M or more; as in 500M or 2G", value);
	return 0;
}

static int set_watch(struct options *o, const char *value, char *why, size_t size)
{
	o->watch = true;
	return value ? set_duration(o, value, why, size) : 0;
}

static int set_netns(struct options *o, const char *value, char *why, size_t size)
{
	uint32_t *count = &o->settings.netns_count;

	if (*count == PW_FILTER)
		return refuse(why, size, "more than %d network namespaces", PW_FILTER);
	if (netns_resolve(value, &o->settings.netns[*count]))
		return refuse(why, size, "there is no network namespace '%s': give a name of `ip netns list`, a path "
			      "like /proc/PID/ns/net, or an inode number of `lsns -t net`", value);
	++*count;
	return 0;
}

static int add_pid(struct options *o, const char *value, char *why, size_t size)
{
	uint32_t *count = &o->settings.pid_count;
	uint64_t pid;

	if (num_u64(value, 1, INT32_MAX, &pid))
		return refuse(why, size, "'%s' is not a process id; as in 1234 or 1234,1235", value);
	if (*count == PW_FILTER)
		return refuse(why, size, "more than %d processes", PW_FILTER);
	o->settings.pid[(*count)++] = (uint32_t)pid;
	return 0;
}

static int set_pid(struct options *o, const char *value, char *why, size_t size)
{
	for (;;) {
		char one[32];
		size_t length = strcspn(value, ",");
		int r;

		if (length >= sizeof(one))
			return refuse(why, size, "'%s' is not a list of process ids; as in 1234 or 1234,1235", value);
		snprintf(one, sizeof(one), "%.*s", (int)length, value);
		r = add_pid(o, one, why, size);
		if (r || !value[length])
			return r;
		value += length + 1;
	}
}

static int set_comm(struct options *o, const char *value, char *why, size_t size)
{
	if (!*value || strlen(value) >= PW_COMM)
		return refuse(why, size, "'%s' is not a process name: those have 1 to %d bytes, as in /proc/PID/comm",
			      value, PW_COMM - 1);
	strcpy(o->settings.comm, value);
	return 0;
}

static int set_cgroup(struct options *o, const char *value, char *why, size_t size)
{
	if (!*value)
		return refuse(why, size, "the path is empty");
	o->cgroup = value;
	return 0;
}

static int set_port(struct options *o, const char *value, char *why, size_t size)
{
	if (num_port_list(value, &o->ports))
		return refuse(why, size, "'%s' is not a list of ports from 1 to 65535; as in 443 or 80,8000-8999", value);
	o->by_port = true;
	return 0;
}

static int set_proto(struct options *o, const char *value, char *why, size_t size)
{
	if (num_proto_list(value, &o->settings.protos))
		return refuse(why, size, "'%s' is not a list of protocols: tcp, udp, udplite", value);
	return 0;
}

static int set_ring_size(struct options *o, const char *value, char *why, size_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes;

	if (num_size(value, page, PROBE_RING_MAX, &bytes) || bytes & (bytes - 1))
		return refuse(why, size, "'%s' is not a power of two from %llu to 1G; as in 64K or 8M", value,
			      (unsigned long long)page);
	o->ring_size = (uint32_t)bytes;
	return 0;
}

static int set_ports(struct options *o, const char *value, char *why, size_t size)
{
	if (o->file_count == OPTIONS_FILES)
		return refuse(why, size, "more than %d files", OPTIONS_FILES);
	o->files[o->file_count++] = value;
	return 0;
}

static int set_rung(struct options *o, const char *value, char *why, size_t size)
{
	if (o->rung_count == OPTIONS_FILES)
		return refuse(why, size, "more than %d rungs", OPTIONS_FILES);
	if (!ladder_knows(value))
		return refuse(why, size, "'%s' is not fentry, kprobe or base, nor HOOK=one of these with a hook of "
			      "`portwake probes`", value);
	o->rungs[o->rung_count++] = value;
	return 0;
}

static int set_by(struct options *o, const char *value, char *why, size_t size)
{
	if (stats_by_of(value, &o->by))
		return refuse(why, size, "'%s' is none of port, process, destination, container", value);
	return 0;
}

static int set_sort(struct options *o, const char *value, char *why, size_t size)
{
	if (stats_sort_of(value, &o->sort))
		return refuse(why, size, "'%s' is none of lifetimes, now, held, longest, key", value);
	return 0;
}

const struct option_row option_rows[] = {
	{ "json", 'j', NULL, "one JSON object a line", FOR_ALL, set_json },
	{ "format", 0, "FORMAT", "text (default), json (the same as --json) or csv", FOR_WHO | FOR_STATS, set_format },
	{ "at", 'a', "TIME", "who had it then: 2026-11-20 12:03:07, 12:03 (today), -5m", FOR_WHO, set_at },
	{ "since", 'S', "TIME", "from the recorded history, from this time on: 1h, 12:03, ...", FOR_WHO | FOR_STATS,
	  set_since },
	{ "until", 'U', "TIME", "with --since: up to this time, now if it is left out", FOR_WHO | FOR_STATS, set_until },
	{ "db", 0, "FILE", "of the history; default " HISTORY_DB, FOR_RECORD | FOR_WHO | FOR_STATS, set_db },
	{ "keep", 0, "TIME", "drop what is older (7d, 12h); default: nothing", FOR_RECORD, set_keep },
	{ "max-size", 0, "BYTES", "drop the oldest beyond this size (500M, 2G); default: nothing", FOR_RECORD, set_max_size },
	{ "duration", 'd', "SECONDS", "end after so long (5, 1.5, 10m), or at Ctrl-C; pool: between looks",
	  FOR_TRACING | FOR_POOL, set_duration },
	{ "watch", 'w', "[SECONDS]", "look again and again, until Ctrl-C", FOR_POOL, set_watch },
	{ "netns", 'n', "NETNS", "only this network namespace: NAME, PATH or INODE; may be repeated",
	  FOR_TRACING | FOR_POOL | FOR_AUDIT | FOR_WHO, set_netns },
	{ "pid", 'p', "PID[,PID]", "only what these processes allocate", FOR_TRACING, set_pid },
	{ "comm", 'c', "NAME", "only what processes of this name allocate", FOR_TRACING, set_comm },
	{ "cgroup", 'g', "PATH", "only what processes in this cgroup (v2) and below allocate", FOR_TRACING, set_cgroup },
	{ "port", 'P', "N[-M],...", "only these local ports", FOR_TRACING, set_port },
	{ "proto", 't', "PROTO,...", "only tcp, udp, udplite", FOR_TRACING | FOR_WHO, set_proto },
	{ "listeners", 'l', NULL, "only sockets that listen", FOR_LIVE, set_listeners },
	{ "denied", 'D', NULL, "only calls that were denied a port", FOR_LIVE, set_denied },
	{ "no-denied", 0, NULL, "leave out denials, which cost each system call a little", FOR_TRACING | FOR_PROBES, set_no_denied },
	{ "by", 'b', "KEY", "a row for each port (default), process, destination or container", FOR_STATS, set_by },
	{ "sort", 's', "COLUMN", "by lifetimes (default), now, held, longest or key", FOR_STATS, set_sort },
	{ "ports", 0, "FILE", "annotated ports of your own (TSV) over the shipped; may be repeated",
	  FOR_LIVE | FOR_STATS | FOR_AUDIT | FOR_WHO, set_ports },
	{ "ring-size", 0, "BYTES", "of the ring buffer, a power of two; default 8M", FOR_TRACING, set_ring_size },
	{ "rung", 0, "[HOOK=]RUNG", "begin at this rung: fentry, kprobe or base; may be repeated",
	  FOR_TRACING | FOR_PROBES, set_rung },
	{ "verbose", 'v', NULL, "say more on stderr", FOR_ALL, set_verbose },
	{ "help", 'h', NULL, "this text", FOR_ALL, set_help },
};

const size_t option_count = ARRAY_SIZE(option_rows);

/* The option at argv[*at], with its value wherever that stands; NULL when there is none of that name. */
static const struct option_row *find_option(char **argv, int *at, const char **value)
{
	const char *text = argv[*at];
	size_t length = strcspn(text, "=");

	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		bool is_long = !strncmp(text, "--", 2) && strlen(row->name) == length - 2 &&
			       !strncmp(text + 2, row->name, length - 2);
		bool is_short = row->letter && text[0] == '-' && text[1] == row->letter && (!text[2] || row->value);

		if (!is_long && !is_short)
			continue;
		*value = is_long ? (text[length] ? text + length + 1 : NULL) : (text[2] ? text + 2 : NULL);
		return row;
	}
	return NULL;
}

/* "[SECONDS]", but not "[HOOK=]RUNG". */
static bool may_be_left_out(const struct option_row *row)
{
	return row->value[0] == '[' && row->value[strlen(row->value) - 1] == ']';
}

static bool begins_with_digit(const char *text)
{
	return text && text[0] >= '0' && text[0] <= '9';
}

static int parse_one(struct options *options, unsigned int command, char **argv, int *at, char *why, size_t size)
{
	const char *value = NULL, *text = argv[*at];
	const struct option_row *row = text[0] == '-' && text[1] ? find_option(argv, at, &value) : NULL;
	char reason[300];

	if (!row && text[0] == '-')
		return refuse(why, size, "unknown option '%s': --help lists the options", text);
	if (!row)
		return refuse(why, size, "unexpected argument '%s': %s", text,
			      command & FOR_TRACING ? "a command to trace stands behind --" : "it takes options alone");
	if (!(row->commands & command))
		return refuse(why, size, "option --%s does not go with this command", row->name);
	if (!row->value && value)
		return refuse(why, size, "option --%s takes no value", row->name);
	if (row->value && !value && (!may_be_left_out(row) || begins_with_digit(argv[*at + 1])))
		value = argv[++*at];
	if (row->value && !value && !may_be_left_out(row))
		return refuse(why, size, "option --%s needs a value: %s", row->name, row->value);
	if (row->set(options, value, reason, sizeof(reason)))
		return refuse(why, size, "--%s: %s", row->name, reason);
	return 0;
}

/* What each option is right about, and together they are not. */
static int check_times(const struct options *o, unsigned int command, char *why, size_t size)
{
	if (o->at.last && (o->since || o->until))
		return refuse(why, size, "--at is one time, --since and --until are two: give the one or the others");
	if (o->until && !o->since)
		return refuse(why, size, "--until needs --since: from when on?");
	if (o->until && o->since > o->until)
		return refuse(why, size, "--since is later than --until");
	if (!(command & FOR_STATS))
		return 0;
	if (o->since && (o->duration_ns || o->command))
		return refuse(why, size, "--since asks what was recorded: neither --duration nor a command to trace goes with it");
	if (o->db && !o->since)
		return refuse(why, size, "--db needs --since: without it what happens from now on is counted");
	return 0;
}

static int parse_all(struct options *options, unsigned int command, int argc, char **argv, char *why, size_t size)
{
	for (int at = 1; at < argc; at++) {
		int r;

		if (!strcmp(argv[at], "--")) {
			if (!(command & FOR_TRACING))
				return refuse(why, size, "this command traces no program: nothing stands behind --");
			if (!argv[at + 1])
				return refuse(why, size, "no command behind --");
			options->command = argv + at + 1;
			return 0;
		}
		if (command & FOR_WHO && (argv[at][0] != '-' || !argv[at][1])) {
			/* There is room: an option before it left its own place. */
			options->words = argv + 1;
			argv[++options->word_count] = argv[at];
			continue;
		}
		r = parse_one(options, command, argv, &at, why, size);
		if (r)
			return r;
	}
	return 0;
}

int options_parse(struct options *options, unsigned int command, int argc, char **argv, char *why, size_t size)
{
	int r = parse_all(options, command, argc, argv, why, size);

	return r ? r : check_times(options, command, why, size);
}
