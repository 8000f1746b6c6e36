/* SPDX-License-Identifier: GPL-2.0 */
/* Answers about a made-up past. */
#include "user/past.h"

#include <jansson.h>

#include "tests/unit/events.h"
#include "tests/unit/fake_history.h"
#include "user/explain.h"
#include "user/num.h"

#define SEC 1000000000ULL
#define T0 (1795176000 * SEC)	/* 2026-11-20T12:00:00Z */
#define NOW (T0 + 3600 * SEC)
#define AT(seconds) (T0 + (seconds) * SEC)

static const struct past_process nginx = {
	.pid = 712, .uid = 33, .start = 5, .comm = "nginx", .exe = "/usr/sbin/nginx", .cmdline = "nginx -g",
};
static const struct past_process worker = { .pid = 713, .comm = "work\033er" };

/* A TCP connection of T0 + 10 to + 100, closed at 20, in TIME_WAIT from 40 on. */
static struct past connection(void)
{
	return (struct past){
		.cookie = UINT64_MAX, .generation = 2, .netns = TEST_NETNS, .port = 40000, .remote_port = 443,
		.proto = IPPROTO_TCP, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL, .exact = true,
		.cause = CAUSE_TIME_WAIT, .addr = ev_addr("127.0.0.1"), .remote = ev_addr("192.0.2.1"), .since = AT(10),
		.until = AT(100), .closed_at = AT(20), .tw_at = AT(40), .held_ns = 90 * SEC, .open_ns = 10 * SEC,
		.tw_ns = 60 * SEC, .owner = &nginx, .boot = "b00t",
	};
}

static struct past listener(void)
{
	return (struct past){
		.cookie = 9, .generation = 1, .netns = TEST_NETNS, .port = 443, .proto = IPPROTO_TCP, .how = PW_HOW_BIND,
		.listened = true, .exact = true, .lasts = true, .runs = true, .addr = ev_addr("::"), .since = AT(0), .until = NOW,
		.held_ns = UNKNOWN_NS, .open_ns = UNKNOWN_NS, .owner = &nginx, .boot = "b00t",
	};
}

static const char *on_service(void *arg, uint16_t port, uint8_t proto)
{
	(void)arg;
	(void)port;
	(void)proto;
	return NULL;
}

static int on_flush(void *arg, struct buf *out)
{
	(void)arg;
	return buf_error(out);
}

static struct history history;
static struct buf out;
static const char *why;

static int ask(enum format format, const char *line)
{
	static struct annotate_table *annotations;
	static const struct range range;
	struct past_answers answers = {
		.about = { .format = format, .range = &range, .netns = TEST_NETNS, .service = on_service, .flush = on_flush },
		.history = &history,
	};
	struct question q;
	char refusal[300];
	int r;

	if (!annotations)
		assert_int_equal(annotate_new(&annotations), 0);
	answers.about.annotations = annotations;
	buf_done(&out);
	out = BUF_INIT(1 << 20);
	if (question_parse_line(line, 0, NOW, &q, refusal, sizeof(refusal)))
		fail_msg("%s", refusal);
	r = past_answer(&answers, &q, &out);
	why = answers.why;
	return r;
}

/* The lines; the first of an event, behind `skip` of them. */
static json_t *rows_of(const char *line)
{
	json_t *rows = json_array();
	const char *at, *end;

	assert_int_equal(ask(FORMAT_JSON, line), 0);
	for (at = buf_text(&out); (end = strchr(at, '\n')); at = end + 1) {
		json_t *row = json_loadb(at, (size_t)(end - at), 0, NULL);

		assert_non_null(row);
		json_array_append_new(rows, row);
	}
	return rows;
}

static const json_t *row_at(const json_t *rows, size_t i, const char *event)
{
	const json_t *row = json_array_get(rows, i);

	if (!row || strcmp(json_string_value(json_object_get(row, "event")), event))
		fail_msg("row %zu is no %s: %s", i, event, buf_text(&out));
	return row;
}

static const char *str(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "(none)";
}

static bool is_null(const json_t *row, const char *name)
{
	return json_is_null(json_object_get(row, name));
}

/* The one holder that the history has, asked about at a time; its state and what is left of its TIME_WAIT. */
static void check_state(const char *line, const char *state, int64_t left)
{
	json_t *rows = rows_of(line);
	const json_t *holder = row_at(rows, 1, "holder");

	assert_string_equal(str(holder, "state"), state);
	if (left < 0)
		assert_true(is_null(holder, "seconds_left"));
	else
		assert_int_equal(json_integer_value(json_object_get(holder, "seconds_left")), left);
	json_decref(rows);
}

static void states_by_time(void **state)
{
	struct past p = connection();

	(void)state;
	history = (struct history){ .pasts = &p, .past_count = 1 };
	check_state("40000/tcp @1795176010.000000000", "connected", -1);
	check_state("40000/tcp @1795176019.999999999", "connected", -1);
	check_state("40000/tcp @1795176020.000000000", "orphan", -1);
	check_state("40000/tcp @1795176040.000000000", "time_wait", 60);
	check_state("40000/tcp @1795176050.500000000", "time_wait", 50);
	check_state("40000/tcp @1795176100.000000000", "time_wait", 0);
	/* It began within that second: it is told as it was then. */
	p.since += 5;
	check_state("40000/tcp @1795176010", "connected", -1);
	p.cause = CAUSE_REUSE;
	check_state("40000/tcp @1795176050", "time_wait", -1);
	p = listener();
	check_state("443/tcp @1795176050", "listen", -1);
	p.listened = false;
	check_state("443/tcp @1795176050", "bound", -1);
	p.flags = PW_F_KERNEL;
	check_state("443/tcp @1795176050", "kernel", -1);
}

static void an_ended_lifetime(void **state)
{
	struct past p = connection();
	const json_t *holder;
	json_t *rows;

	(void)state;
	p.holder = &worker;
	history = (struct history){ .pasts = &p, .past_count = 1 };
	rows = rows_of("40000/tcp 2026-11-20T12:00:12Z");
	assert_int_equal(json_array_size(rows), 2);
	holder = row_at(rows, 0, "port");
	assert_string_equal(str(holder, "asked_since"), "2026-11-20T12:00:12.000000000Z");
	assert_string_equal(str(holder, "asked_until"), "2026-11-20T12:00:12.999999999Z");
	assert_true(is_null(holder, "holders"));
	holder = row_at(rows, 1, "holder");
	assert_string_equal(str(holder, "source"), "history");
	assert_string_equal(str(holder, "time"), "2026-11-20T12:00:12.000000000Z");
	assert_string_equal(str(holder, "since"), "2026-11-20T12:00:10.000000000Z");
	assert_string_equal(str(holder, "until"), "2026-11-20T12:01:40.000000000Z");
	assert_string_equal(str(holder, "cookie"), "18446744073709551615");
	assert_string_equal(str(holder, "comm"), "nginx");
	assert_string_equal(str(holder, "cmdline"), "nginx -g");
	assert_string_equal(str(holder, "how"), "connect");
	assert_string_equal(str(holder, "cause"), "time_wait");
	assert_string_equal(str(holder, "remote_addr"), "192.0.2.1");
	assert_string_equal(str(holder, "boot"), "b00t");
	assert_string_equal(str(holder, "holder_comm"), "work\033er");
	assert_true(is_null(holder, "container") && is_null(holder, "errno"));
	assert_true(json_is_true(json_object_get(holder, "ephemeral")));
	assert_true(json_is_true(json_object_get(holder, "exact")));
	assert_true(json_is_false(json_object_get(holder, "began_before")));
	assert_true(json_is_false(json_object_get(holder, "end_unknown")));
	assert_int_equal(json_integer_value(json_object_get(holder, "held_ns")), 90 * SEC);
	assert_int_equal(json_integer_value(json_object_get(holder, "generation")), 2);
	json_decref(rows);
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00:12Z"), 0);
	assert_non_null(strstr(buf_text(&out), "  connected  127.0.0.1:40000 to 192.0.2.1:443\n"));
	assert_non_null(strstr(buf_text(&out), " (90.000s): time_wait\n"));
	assert_non_null(strstr(buf_text(&out), "closed by pid 713 work\\x1ber\n"));
}

static void what_lasts(void **state)
{
	struct past p = listener();
	const json_t *holder;
	json_t *rows;

	(void)state;
	history = (struct history){ .pasts = &p, .past_count = 1 };
	rows = rows_of("443/tcp -1s");
	holder = row_at(rows, 1, "holder");
	assert_true(is_null(holder, "until") && is_null(holder, "cause") && is_null(holder, "held_ns"));
	assert_true(is_null(holder, "time_wait_ns") && is_null(holder, "open_ns"));
	assert_true(json_is_false(json_object_get(holder, "end_unknown")));
	json_decref(rows);
	assert_int_equal(ask(FORMAT_TEXT, "443/tcp -1s"), 0);
	assert_non_null(strstr(buf_text(&out), ", held still\n"));
	/* The same, once its recorder has gone. */
	p.runs = false;
	p.until = NOW - 5 * SEC;
	rows = rows_of("443/tcp -6s");
	holder = row_at(rows, 1, "holder");
	assert_string_equal(str(holder, "until"), "2026-11-20T12:59:55.000000000Z");
	assert_true(is_null(holder, "cause") && is_null(holder, "held_ns"));
	assert_true(json_is_true(json_object_get(holder, "end_unknown")));
	json_decref(rows);
	assert_int_equal(ask(FORMAT_TEXT, "443/tcp -6s"), 0);
	assert_non_null(strstr(buf_text(&out), " until at least "));
	assert_null(strstr(buf_text(&out), "held still"));
}

static void what_is_not_known(void **state)
{
	struct past p = connection();
	const json_t *holder;
	json_t *rows;

	(void)state;
	p.owner = NULL;
	p.began_before = p.end_unknown = true;
	p.cause = CAUSE_UNKNOWN;
	p.flags = PW_F_EPHEMERAL_UNKNOWN;
	p.how = PW_HOW_NONE;
	p.held_ns = UNKNOWN_NS;
	history = (struct history){ .pasts = &p, .past_count = 1 };
	rows = rows_of("40000/tcp 2026-11-20T12:00:50Z");
	holder = row_at(rows, 1, "holder");
	assert_true(is_null(holder, "pid") && is_null(holder, "uid") && is_null(holder, "comm") && is_null(holder, "exe"));
	assert_true(is_null(holder, "ephemeral") && is_null(holder, "how") && is_null(holder, "held_ns"));
	assert_true(is_null(holder, "seconds_left") && is_null(holder, "holder_pid"));
	assert_true(json_is_true(json_object_get(holder, "began_before")));
	assert_true(json_is_true(json_object_get(holder, "end_unknown")));
	json_decref(rows);
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00:50Z"), 0);
	assert_non_null(strstr(buf_text(&out), "since before "));
	assert_non_null(strstr(buf_text(&out), "its end was not recorded\n"));
	assert_non_null(strstr(buf_text(&out), "who took it is not known\n"));
}

/* "Nobody" is said of a time that was recorded, all of it. */
static void nobody_and_blind(void **state)
{
	static const struct blind whole = { .until = UINT64_MAX, .reason = "not recorded yet" };
	static const struct blind parts[] = {
		{ .since = AT(0), .until = AT(30), .lost = 5, .reason = "ring", .partly = true },
		{ .since = AT(50), .until = AT(60), .reason = "the recorder did not run" },
	};
	const json_t *blind;
	json_t *rows;

	(void)state;
	history = (struct history){ 0 };
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00"), 0);
	assert_non_null(strstr(buf_text(&out), "  held by    nobody\n"));
	rows = rows_of("40000 2026-11-20T12:00");
	/* TCP and UDP. */
	assert_int_equal(json_array_size(rows), 2);
	json_decref(rows);

	history.blinds = &whole;
	history.blind_count = 1;
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00"), 0);
	assert_non_null(strstr(buf_text(&out), "  blind      at all times: not recorded yet\n"));
	assert_non_null(strstr(buf_text(&out), "  held by    not known: nothing was recorded then\n"));
	rows = rows_of("40000/udp 2026-11-20T12:00");
	blind = row_at(rows, 1, "blind");
	assert_true(is_null(blind, "since") && is_null(blind, "until"));
	assert_string_equal(str(blind, "reason"), "not recorded yet");
	assert_string_equal(str(blind, "proto"), "udp");
	json_decref(rows);

	history.blinds = parts;
	history.blind_count = 2;
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00"), 0);
	assert_non_null(strstr(buf_text(&out), ": ring, 5 records lost\n"));
	assert_non_null(strstr(buf_text(&out), "  held by    nobody that was recorded; not all was\n"));
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00:10Z"), 0);
	assert_non_null(strstr(buf_text(&out), "  held by    nobody that was recorded; not all was\n"));
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00:55Z"), 0);
	assert_non_null(strstr(buf_text(&out), "  held by    not known: nothing was recorded then\n"));
	rows = rows_of("40000/tcp 2026-11-20T12:00");
	assert_int_equal(json_integer_value(json_object_get(row_at(rows, 1, "blind"), "lost")), 5);
	assert_string_equal(str(row_at(rows, 2, "blind"), "since"), "2026-11-20T12:00:50.000000000Z");
	json_decref(rows);
}

static void expect_rows(const char *question, size_t count)
{
	json_t *rows = rows_of(question);

	assert_int_equal(json_array_size(rows), count);
	json_decref(rows);
}

/* Of one namespace alone was recorded: who had the port there is an answer; that nobody had it is one of there. */
static void one_namespace(void **state)
{
	static const struct blind others = {
		.since = AT(0), .until = AT(3600), .reason = "only netns=7 was recorded", .partly = true, .elsewhere = true,
	};
	struct past p = connection();
	json_t *rows;

	(void)state;
	history = (struct history){ .pasts = &p, .past_count = 1, .blinds = &others, .blind_count = 1 };
	expect_rows("40000/tcp 2026-11-20T12:00:50Z", 2);
	expect_rows("40001/tcp 2026-11-20T12:00:50Z", 2);
	/* Another port of it may have been held elsewhere. */
	expect_rows("40000-40001/tcp 2026-11-20T12:00:50Z", 4);
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00:50Z"), 0);
	assert_null(strstr(buf_text(&out), "  scope "));
	assert_int_equal(ask(FORMAT_TEXT, "40001/tcp 2026-11-20T12:00:50Z"), 0);
	assert_non_null(strstr(buf_text(&out), "  scope      from "));
	assert_non_null(strstr(buf_text(&out), ": only netns=7 was recorded\n"));
	assert_non_null(strstr(buf_text(&out), "  held by    nobody in what was recorded\n"));
	rows = rows_of("40001/tcp 2026-11-20T12:00:50Z");
	row_at(rows, 1, "scope");
	json_decref(rows);
}

/* Of one namespace, and in a gap: both are told, and it is the gap that nobody can speak for. */
static void one_namespace_in_a_gap(void **state)
{
	static const struct blind blinds[2] = {
		{ .since = AT(0), .until = AT(3600), .reason = "only netns=7 was recorded", .partly = true, .elsewhere = true },
		{ .since = AT(40), .until = AT(60), .reason = "ring", .lost = 3, .partly = true },
	};
	json_t *rows;

	(void)state;
	history = (struct history){ .blinds = blinds, .blind_count = 2 };
	rows = rows_of("40001/tcp 2026-11-20T12:00:50Z");
	row_at(rows, 1, "scope");
	row_at(rows, 2, "blind");
	json_decref(rows);
	assert_int_equal(ask(FORMAT_TEXT, "40001/tcp 2026-11-20T12:00:50Z"), 0);
	assert_non_null(strstr(buf_text(&out), "  held by    nobody that was recorded; not all was\n"));
}

/* That nobody was denied is not known then; that nobody had it is. */
static void without_denials(void **state)
{
	static const struct blind denied = {
		.since = AT(0), .until = AT(3600), .reason = "denied calls were not recorded", .partly = true, .denied = true,
	};

	(void)state;
	history = (struct history){ .blinds = &denied, .blind_count = 1 };
	assert_int_equal(ask(FORMAT_TEXT, "40001/tcp 2026-11-20T12:00:50Z"), 0);
	assert_non_null(strstr(buf_text(&out), ": denied calls were not recorded\n"));
	assert_non_null(strstr(buf_text(&out), "  held by    nobody\n"));
}

static struct past_denial denial(void)
{
	return (struct past_denial){
		.time = AT(30), .until = AT(31), .count = 3, .netns = TEST_NETNS, .port = 40000, .proto = IPPROTO_TCP,
		.how = PW_HOW_BIND, .cause = DENIAL_CONFLICT, .error = EADDRINUSE, .addr = ev_addr("127.0.0.1"),
		.owner = &worker, .detail = "{\"holders\":[{\"pid\":712}],\"advice\":[]}",
	};
}

static void denied_calls(void **state)
{
	struct past_denial denials[2] = { denial(), denial() };
	const json_t *row;
	json_t *rows;

	(void)state;
	denials[1].port = 40001;
	denials[1].how = PW_HOW_CONNECT;
	denials[1].error = EADDRNOTAVAIL;
	denials[1].cause = DENIAL_EXHAUSTED;
	denials[1].addr = ev_addr("::");
	denials[1].remote = ev_addr("::1");
	denials[1].remote_port = 80;
	denials[1].count = 1;
	denials[1].owner = NULL;
	denials[1].detail = "what is no object";
	history = (struct history){ .denials = denials, .denial_count = 2 };
	rows = rows_of("40000/tcp 2026-11-20T12:00:30Z");
	assert_int_equal(json_array_size(rows), 2);
	row = row_at(rows, 1, "denied");
	assert_string_equal(str(row, "time"), "2026-11-20T12:00:30.000000000Z");
	assert_string_equal(str(row, "until"), "2026-11-20T12:00:31.000000000Z");
	assert_int_equal(json_integer_value(json_object_get(row, "count")), 3);
	assert_int_equal(json_integer_value(json_object_get(row, "pid")), 713);
	assert_string_equal(str(row, "call"), "bind");
	assert_string_equal(str(row, "errno"), "EADDRINUSE");
	assert_string_equal(str(row, "cause"), "conflict");
	assert_string_equal(str(row, "addr"), "127.0.0.1");
	assert_true(is_null(row, "remote_addr") && is_null(row, "remote_port"));
	assert_int_equal(json_array_size(json_object_get(row, "holders")), 1);
	json_decref(rows);
	rows = rows_of("40001/tcp 2026-11-20T12:00:30Z");
	row = row_at(rows, 1, "denied");
	assert_string_equal(str(row, "remote_addr"), "::1");
	assert_string_equal(str(row, "family"), "ipv6");
	assert_true(is_null(row, "pid"));
	assert_null(json_object_get(row, "holders"));
	json_decref(rows);
	expect_rows("40000-40001/tcp 2026-11-20T12:00:30Z", 3);
	expect_rows("40000/tcp 2026-11-20T12:00:40Z", 1);
	expect_rows("40000/udp 2026-11-20T12:00:30Z", 1);
	assert_int_equal(ask(FORMAT_TEXT, "40000-40001/tcp 2026-11-20T12:00:30Z"), 0);
	assert_non_null(strstr(buf_text(&out), "  denied     127.0.0.1:40000: bind EADDRINUSE conflict\n             from "));
	assert_non_null(strstr(buf_text(&out), ", 3 times\n             pid 713 work"));
	assert_non_null(strstr(buf_text(&out), "  denied     [::]:40001 to [::1]:80: connect EADDRNOTAVAIL exhausted\n"
					       "             at "));
	assert_non_null(strstr(buf_text(&out), "who called is not known\n"));
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00:30Z"), 0);
	assert_non_null(strstr(buf_text(&out), "  held by    nobody\n"));
}

static void a_range_of_ports(void **state)
{
	struct past pasts[3] = { connection(), connection(), connection() };
	json_t *rows;

	(void)state;
	pasts[1].since++;
	history = (struct history){ .pasts = pasts, .past_count = 3 };
	pasts[2].port = 40002;
	rows = rows_of("40000-40009/tcp 2026-11-20T12:00");
	assert_int_equal(json_array_size(rows), 6);
	row_at(rows, 0, "port");
	row_at(rows, 2, "holder");
	assert_int_equal(json_integer_value(json_object_get(row_at(rows, 3, "port"), "port")), 40002);
	assert_int_equal(json_integer_value(json_object_get(row_at(rows, 5, "range"), "held")), 2);
	json_decref(rows);
	/* More than a history tells in order, told once all the same. */
	pasts[2].port = 65535;
	rows = rows_of("1-65535/tcp 2026-11-20T12:00");
	assert_int_equal(json_array_size(rows), 6);
	assert_int_equal(json_integer_value(json_object_get(row_at(rows, 5, "range"), "held")), 2);
	json_decref(rows);
	assert_int_equal(ask(FORMAT_TEXT, "40010-40019/tcp 2026-11-20T12:00"), 0);
	assert_string_equal(buf_text(&out), "40010-40019/tcp: 0 of 10 ports held\n");
}

/* UDP-Lite is told where somebody held it, or where it was named. */
static void udplite(void **state)
{
	struct past p = connection();
	json_t *rows;

	(void)state;
	p.proto = IPPROTO_UDPLITE;
	history = (struct history){ .pasts = &p, .past_count = 1 };
	rows = rows_of("40000 2026-11-20T12:00");
	assert_int_equal(json_array_size(rows), 4);
	assert_string_equal(str(row_at(rows, 3, "holder"), "proto"), "udplite");
	json_decref(rows);
	rows = rows_of("40001/udplite 2026-11-20T12:00");
	assert_int_equal(json_array_size(rows), 1);
	json_decref(rows);
}

static void text_is_bounded(void **state)
{
	static struct past pasts[70];

	(void)state;
	for (size_t i = 0; i < 70; i++)
		pasts[i] = connection();
	history = (struct history){ .pasts = pasts, .past_count = 70 };
	assert_int_equal(ask(FORMAT_TEXT, "40000/tcp 2026-11-20T12:00"), 0);
	assert_non_null(strstr(buf_text(&out), "  and        6 lifetimes more (--json lists them)\n"));
}

static void csv(void **state)
{
	struct past p = connection();
	static const struct blind blind = { .since = AT(0), .until = AT(30), .lost = 5, .reason = "ring" };

	(void)state;
	history = (struct history){ .pasts = &p, .past_count = 1, .blinds = &blind, .blind_count = 1 };
	assert_int_equal(ask(FORMAT_CSV, "40000/tcp 2026-11-20T12:00"), 0);
	assert_non_null(strstr(buf_text(&out), "\nholder,2026-11-20T12:00:00.000000000Z,2026-11-20T12:00:59.999999999Z,40000,tcp,"
			       "ipv4,127.0.0.1,2026-11-20T12:00:10.000000000Z,connected,"));
	assert_non_null(strstr(buf_text(&out), "\nblind,2026-11-20T12:00:00.000000000Z,"));
	assert_non_null(strstr(buf_text(&out), ",5,ring,,,,,,,,,,,,,,\n"));
}

/* Whose failure it was, the caller can tell. */
static void failures(void **state)
{
	struct past p = connection();

	(void)state;
	history = (struct history){ .pasts = &p, .past_count = 1, .error = -EBADMSG };
	assert_int_equal(ask(FORMAT_JSON, "40000/tcp 2026-11-20T12:00"), -EBADMSG);
	assert_string_equal(why, "fake.db: it is broken");
	history.error = 0;
	p.cookie = 1;
	for (int n = 0;; n++) {
		int r;

		unit_fail_after((size_t)n);
		r = ask(FORMAT_JSON, "40000/tcp 2026-11-20T12:00");
		unit_fail_never();
		assert_null(why);
		if (!r)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(n < 100);
	}
}

static int in_utc(void **state)
{
	(void)state;
	setenv("TZ", "UTC0", 1);
	return 0;
}

static int clear(void **state)
{
	(void)state;
	buf_done(&out);
	return 0;
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(states_by_time),
	cmocka_unit_test(an_ended_lifetime),
	cmocka_unit_test(what_lasts),
	cmocka_unit_test(what_is_not_known),
	cmocka_unit_test(nobody_and_blind),
	cmocka_unit_test(one_namespace),
	cmocka_unit_test(one_namespace_in_a_gap),
	cmocka_unit_test(without_denials),
	cmocka_unit_test(denied_calls),
	cmocka_unit_test(a_range_of_ports),
	cmocka_unit_test(udplite),
	cmocka_unit_test(text_is_bounded),
	cmocka_unit_test(csv),
	cmocka_unit_test(failures),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, in_utc, clear);
}
