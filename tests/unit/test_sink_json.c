/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON lines, read back by a parser: fields, nulls, hostile bytes, failures. Every kind of line as a whole is in
 * tests/golden.
 */
#include "user/sink_json.h"

#include <jansson.h>

#include "tests/unit/events.h"
#include "tests/unit/unit.h"
#include "user/escape.h"
#include "user/line.h"

/* 2023-11-14T22:13:20.123456789Z */
#define TIME 1700000000123456789u

static struct annotate_table *annotations;
static json_t *told;

static int setup(void **state)
{
	(void)state;
	return annotate_new(&annotations);
}

static int teardown(void **state)
{
	(void)state;
	json_decref(told);
	told = NULL;
	annotate_free(&annotations);
	return 0;
}

static struct process owner = {
	.pid = 4711, .uid = 1000, .comm = "curl", .exe = (char[]){ "/usr/bin/curl" }, .cgroup = (char[]){ "/user.slice" },
};

static struct line plain(enum what what)
{
	struct line line = {
		.what = (uint8_t)what, .time = TIME, .cookie = 0xfedcba9876543210, .generation = 3, .owner = &owner,
		.netns = TEST_NETNS, .port = 40123, .remote_port = 443, .proto = IPPROTO_TCP, .how = PW_HOW_CONNECT,
		.exact = true, .flags = PW_F_EPHEMERAL, .addr = ev_addr("192.0.2.1"),
		.remote = ev_addr("93.184.216.34"), .held_ns = 1500000000, .open_ns = 1000000000,
		.time_wait_ns = UNKNOWN_NS, .cause = CAUSE_CLOSE,
	};

	/* Of the same memory as the times. */
	if (what == WHAT_DENIED) {
		line.explanation = NULL;
		line.sock_uid = line.bound_dev = line.traits = 0;
	}
	return line;
}

static struct line gap(void)
{
	return (struct line){
		.what = WHAT_GAP, .time = TIME, .until = TIME + 1, .lost = 5, .lost_allocations = 2, .reason = "ring",
		.exact = true,
	};
}

/* The line's text: one line of valid UTF-8, parsed into told. */
static void tell(const struct line *line)
{
	_cleanup_buf_ struct buf out = BUF_INIT(100000);
	json_error_t error;

	sink_json_format(annotations, line, &out);
	assert_int_equal(buf_error(&out), 0);
	assert_ptr_equal(strchr(buf_text(&out), '\n'), out.data + out.len - 1);
	json_decref(told);
	told = json_loads(buf_text(&out), JSON_REJECT_DUPLICATES, &error);
	if (!told)
		fail_msg("%s: %s", error.text, buf_text(&out));
}

#define TELL(...)						\
	do {							\
		struct line line_ = __VA_ARGS__;		\
		tell(&line_);					\
	} while (0)

static const char *text(const char *key)
{
	return json_string_value(json_object_get(told, key));
}

static json_int_t number(const char *key)
{
	assert_true(json_is_integer(json_object_get(told, key)));
	return json_integer_value(json_object_get(told, key));
}

static bool is_null(const char *key)
{
	return json_is_null(json_object_get(told, key));
}

/* ---- fields ---- */

static void every_field_of_an_allocation(void **state)
{
	(void)state;
	TELL(plain(WHAT_ALLOCATE));
	assert_string_equal(text("event"), "allocate");
	assert_string_equal(text("time"), "2023-11-14T22:13:20.123456789Z");
	assert_int_equal(number("pid"), 4711);
	assert_string_equal(text("comm"), "curl");
	assert_int_equal(number("uid"), 1000);
	assert_string_equal(text("exe"), "/usr/bin/curl");
	assert_true(is_null("container"));
	assert_string_equal(text("cgroup"), "/user.slice");
	assert_string_equal(text("proto"), "tcp");
	assert_string_equal(text("family"), "ipv4");
	assert_string_equal(text("addr"), "192.0.2.1");
	assert_int_equal(number("port"), 40123);
	assert_int_equal(number("netns"), TEST_NETNS);
	/* 64 bits, which a number of JSON does not hold everywhere. */
	assert_string_equal(text("cookie"), "18364758544493064720");
	assert_int_equal(number("generation"), 3);
	assert_true(json_is_true(json_object_get(told, "ephemeral")));
	assert_string_equal(text("how"), "connect");
	assert_string_equal(text("remote_addr"), "93.184.216.34");
	assert_int_equal(number("remote_port"), 443);
	assert_true(is_null("holder_pid") && is_null("holder_comm"));
	assert_true(is_null("annotation"));
	assert_true(json_is_true(json_object_get(told, "exact")));
	assert_null(json_object_get(told, "kernel"));
	assert_null(json_object_get(told, "cause"));
	assert_null(json_object_get(told, "state"));
}

static void fields_of_a_release(void **state)
{
	struct line line = plain(WHAT_RELEASE);

	(void)state;
	line.cause = CAUSE_RESET;
	line.error = ECONNREFUSED;
	tell(&line);
	assert_string_equal(text("cause"), "reset");
	assert_string_equal(text("errno"), "ECONNREFUSED");
	assert_int_equal(number("held_ns"), 1500000000);
	assert_int_equal(number("open_ns"), 1000000000);
	assert_true(is_null("time_wait_ns"));
	line.held_ns = line.open_ns = UNKNOWN_NS;
	line.time_wait_ns = INT64_MAX;
	line.error = 0;
	tell(&line);
	assert_true(is_null("held_ns") && is_null("open_ns") && is_null("errno"));
	assert_int_equal(number("time_wait_ns"), INT64_MAX);
}

static void fields_of_a_gap(void **state)
{
	(void)state;
	TELL(gap());
	assert_string_equal(text("event"), "gap");
	assert_string_equal(text("time"), "2023-11-14T22:13:20.123456790Z");
	assert_string_equal(text("since"), "2023-11-14T22:13:20.123456789Z");
	assert_string_equal(text("until"), "2023-11-14T22:13:20.123456790Z");
	assert_int_equal(number("lost"), 5);
	assert_int_equal(number("lost_allocations"), 2);
	assert_string_equal(text("reason"), "ring");
	assert_int_equal(json_object_size(told), 7);
}

static void fields_of_ready(void **state)
{
	(void)state;
	TELL((struct line){ .what = WHAT_READY, .time = TIME, .exact = true });
	assert_string_equal(text("event"), "ready");
	assert_string_equal(text("time"), "2023-11-14T22:13:20.123456789Z");
	assert_int_equal(json_object_size(told), 2);
}

/* The same fields in every kind of line about a lifetime, so that a reader need not ask which it is. */
static void kinds_have_the_same_fields(void **state)
{
	static const char *const keys[] = {
		"event", "time", "pid", "comm", "uid", "exe", "container", "cgroup", "proto", "family", "addr", "port",
		"netns", "cookie", "generation", "ephemeral", "how", "remote_addr", "remote_port", "holder_pid",
		"holder_comm", "annotation", "exact",
	};

	(void)state;
	for (enum what what = WHAT_PRESENT; what < WHAT_DENIED; what++) {
		TELL(plain(what));
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (!json_object_get(told, keys[i]))
				fail_msg("%s has no %s", what_name(what), keys[i]);
		assert_int_equal(json_object_size(told),
				 ARRAY_SIZE(keys) + (what == WHAT_RELEASE ? 5 : what == WHAT_PRESENT ? 1 : 0));
	}
}

static void denied_fields(void **state)
{
	struct rival rivals[2] = {
		{ .owner = &owner, .cookie = 9, .port = 40123, .state = RIVAL_TIME_WAIT, .left_ns = 41500000000,
		  .traits_known = true, .traits = PW_T_REUSE, .addr = ev_addr("127.0.0.1"),
		  .remote = ev_addr("192.0.2.7"), .remote_port = 80 },
		{ .port = 40123, .state = RIVAL_BOUND, .left_ns = UNKNOWN_NS, .addr = ev_addr("::") },
	};
	struct explanation why = {
		.cause = DENIAL_CONFLICT, .rivals = rivals, .rival_count = 2, .rival_total = 7,
		.advice = (char[]){ "one\ntwo\n" },
	};
	struct line line = plain(WHAT_DENIED);
	const json_t *holder;

	(void)state;
	line.explanation = &why;
	line.error = EADDRINUSE;
	line.how = PW_HOW_BIND;
	line.cookie = 0;
	tell(&line);
	assert_string_equal(text("event"), "denied");
	assert_string_equal(text("call"), "bind");
	assert_string_equal(text("errno"), "EADDRINUSE");
	assert_string_equal(text("cause"), "conflict");
	assert_true(is_null("cookie"));
	assert_true(is_null("range"));
	assert_int_equal(number("holders_total"), 7);
	assert_int_equal(json_array_size(json_object_get(told, "holders")), 2);
	assert_int_equal(json_array_size(json_object_get(told, "advice")), 2);
	assert_string_equal(json_string_value(json_array_get(json_object_get(told, "advice"), 1)), "two");
	holder = json_array_get(json_object_get(told, "holders"), 0);
	assert_int_equal(json_integer_value(json_object_get(holder, "pid")), 4711);
	assert_true(json_real_value(json_object_get(holder, "seconds_left")) == 41.5);
	assert_true(json_is_true(json_object_get(holder, "reuseaddr")));
	assert_true(json_is_false(json_object_get(holder, "reuseport")));
	holder = json_array_get(json_object_get(told, "holders"), 1);
	assert_true(json_is_null(json_object_get(holder, "pid")));
	assert_true(json_is_null(json_object_get(holder, "cookie")));
	assert_true(json_is_null(json_object_get(holder, "seconds_left")));
	assert_true(json_is_null(json_object_get(holder, "reuseaddr")));
}

static void states_of_present(void **state)
{
	struct line line = plain(WHAT_PRESENT);

	(void)state;
	tell(&line);
	assert_string_equal(text("state"), "connected");
	line.listening = true;
	tell(&line);
	assert_string_equal(text("state"), "listen");
}

static void ipv6_fields(void **state)
{
	struct line line = plain(WHAT_ALLOCATE);

	(void)state;
	line.addr = ev_addr("::1");
	line.remote = ev_addr("2001:db8::1");
	tell(&line);
	assert_string_equal(text("family"), "ipv6");
	assert_string_equal(text("addr"), "::1");
	assert_string_equal(text("remote_addr"), "2001:db8::1");
}

static void unknown_is_null(void **state)
{
	struct line line = plain(WHAT_ALLOCATE);

	(void)state;
	line.owner = NULL;
	line.how = PW_HOW_NONE;
	line.flags = PW_F_EPHEMERAL_UNKNOWN;
	line.remote = (struct event_addr){ 0 };
	line.remote_port = 0;
	line.exact = false;
	tell(&line);
	assert_true(is_null("pid") && is_null("comm") && is_null("uid") && is_null("exe") && is_null("container"));
	assert_true(is_null("how") && is_null("ephemeral") && is_null("remote_addr") && is_null("remote_port"));
	assert_true(json_is_false(json_object_get(told, "exact")));
	assert_null(json_object_get(told, "kernel"));
	/* uid 0 is root, and not nobody knows who. */
	line.owner = &(struct process){ .pid = 1 };
	tell(&line);
	assert_int_equal(number("uid"), 0);
}

static void kernel_sockets_are_told_apart(void **state)
{
	struct line line = plain(WHAT_ALLOCATE);

	(void)state;
	line.owner = NULL;
	line.flags = PW_F_KERNEL;
	tell(&line);
	assert_true(json_is_true(json_object_get(told, "kernel")));
	assert_true(is_null("pid"));
	assert_true(json_is_false(json_object_get(told, "ephemeral")));
}

static void holder_only_where_it_is_another(void **state)
{
	struct line line = plain(WHAT_CLOSE);

	(void)state;
	line.holder_pid = 4711;
	strcpy(line.holder_comm, "curl");
	tell(&line);
	assert_true(is_null("holder_pid") && is_null("holder_comm"));
	line.holder_pid = 4712;
	tell(&line);
	assert_int_equal(number("holder_pid"), 4712);
	assert_string_equal(text("holder_comm"), "curl");
}

static void annotation_of_a_known_port(void **state)
{
	struct line line = plain(WHAT_LISTEN);
	const json_t *annotation;

	(void)state;
	line.port = 60420;
	tell(&line);
	annotation = json_object_get(told, "annotation");
	assert_string_equal(json_string_value(json_object_get(annotation, "name")), "xsan: Apple Xsan Filesystem Access");
	assert_string_equal(json_string_value(json_object_get(annotation, "confidence")), "reported");
	assert_int_equal(json_object_size(annotation), 2);
}

/* ---- hostile bytes ---- */

static void check_text(const char *got, const char *given)
{
	size_t length = strlen(given);

	/* What is UTF-8 comes back as it was, whatever it is. */
	if (length == 0 || escape_utf8_len(given, length) == length)
		assert_string_equal(got, given);
	for (size_t at = 0, n; got[at]; at += n) {
		n = escape_utf8_len(got + at, strlen(got + at));
		assert_true(n > 0);
	}
}

static void any_two_bytes_make_valid_json(void **state)
{
	char name[3] = "";
	struct process hostile = { .pid = 1, .exe = name, .cgroup = name, .container = name };
	struct line line = plain(WHAT_CLOSE);

	(void)state;
	line.owner = &hostile;
	line.holder_pid = 2;
	for (unsigned int i = 1; i < 0x10000; i += 13) {
		name[0] = (char)(i >> 8);
		name[1] = (char)i;
		strcpy(hostile.comm, name);
		strcpy(line.holder_comm, name);
		tell(&line);
		check_text(text("comm"), name);
		check_text(text("holder_comm"), name);
		check_text(text("exe"), name);
		check_text(text("container"), name);
	}
}

static void quotes_and_escapes_come_back(void **state)
{
	struct process hostile = { .pid = 1, .comm = "\"\\\n\033[31m\t'}{,\x7f" };
	struct line line = plain(WHAT_ALLOCATE);

	(void)state;
	line.owner = &hostile;
	tell(&line);
	assert_string_equal(text("comm"), hostile.comm);
}

/* ---- failures ---- */

static void failure_sticks(void **state)
{
	struct line line = plain(WHAT_RELEASE);
	_cleanup_buf_ struct buf whole = BUF_INIT(10000);

	(void)state;
	sink_json_format(annotations, &line, &whole);
	for (size_t max = 0; max < whole.len; max++) {
		_cleanup_buf_ struct buf out = BUF_INIT(max);

		sink_json_format(annotations, &line, &out);
		if (buf_error(&out) != -ENOBUFS || out.len)
			fail_msg("a line of %zu bytes goes into %zu", whole.len, max);
	}
}

/* What is no number of JSON is an error as well, and no line that is missing. */
static void failure_of_a_value_sticks(void **state)
{
	struct line line = plain(WHAT_RELEASE);
	_cleanup_buf_ struct buf out = BUF_INIT(10000);

	(void)state;
	line.held_ns = (uint64_t)INT64_MAX + 1;
	sink_json_format(annotations, &line, &out);
	assert_int_equal(buf_error(&out), -ERANGE);
	assert_int_equal(out.len, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(every_field_of_an_allocation),
	TEST(fields_of_a_release),
	TEST(fields_of_a_gap),
	TEST(fields_of_ready),
	TEST(kinds_have_the_same_fields),
	TEST(denied_fields),
	TEST(states_of_present),
	TEST(ipv6_fields),
	TEST(unknown_is_null),
	TEST(kernel_sockets_are_told_apart),
	TEST(holder_only_where_it_is_another),
	TEST(annotation_of_a_known_port),
	TEST(any_two_bytes_make_valid_json),
	TEST(quotes_and_escapes_come_back),
	TEST(failure_sticks),
	TEST(failure_of_a_value_sticks),
};

UNIT_MAIN(tests)
