/* SPDX-License-Identifier: GPL-2.0 */
/* Every kind of line, at fixed times, as text and as JSON. */
#include "tests/golden/golden.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "user/sink_json.h"
#include "user/sink_text.h"

/* 2023-11-14T22:13:20.123456789Z, and so many milliseconds later. */
#define AT(ms) (1700000000123456789u + (uint64_t)(ms) * 1000000u)

#define CONTAINER "3f4a9c0d5e6b7a8f3f4a9c0d5e6b7a8f3f4a9c0d5e6b7a8f3f4a9c0d5e6b7a8f"

static struct process curl = {
	.pid = 4711, .uid = 1000, .comm = "curl", .exe = (char[]){ "/usr/bin/curl" },
	.cgroup = (char[]){ "/user.slice/user-1000.slice/session-2.scope" },
};
static struct process nginx = {
	.pid = 801, .uid = 33, .comm = "nginx", .exe = (char[]){ "/usr/sbin/nginx" },
	.cgroup = (char[]){ "/system.slice/docker-" CONTAINER ".scope" }, .container = (char[]){ CONTAINER },
};
static struct process short_lived = { .pid = 4194304, .uid = 0, .comm = "fifteen-letters" };
static struct process terminal = {
	.pid = 66, .comm = "\033]0;x\a\033[2J\n", .exe = (char[]){ "/home/\033[31m\nred" },
};
static struct process quotes = {
	.pid = 67, .comm = "a\"b\\c'd\t{},", .exe = (char[]){ "/home/\"quoted\" \\n" },
};
static struct process binary = {
	.pid = 68, .comm = "\xff\xfe\xc3(\x80\xed\xa0\x80", .exe = (char[]){ "/home/\xff" },
};
static struct process reversed = { .pid = 69, .comm = "a\xe2\x80\xaetxt.exe\xc2\x9b" };
static struct process umlaut = { .pid = 70, .comm = "gr\xc3\xbc\xc3\x9f-\xe6\x97\xa5\xe6\x9c\xac" };

/* What is behind a bind() that found its port taken, and a connect() that found none. */
static struct rival rivals[] = {
	{ .owner = &nginx, .cookie = 71, .left_ns = UNKNOWN_NS, .port = 43210, .state = RIVAL_LISTEN,
	  .traits_known = true, .uid_known = true, .uid = 33, .addr = { AF_INET6, { 0 } } },
	{ .cookie = 72, .left_ns = UNKNOWN_NS, .port = 43210, .remote_port = 55555, .state = RIVAL_CONNECTED,
	  .accepted = true, .addr = { AF_INET, { 127, 0, 0, 1 } }, .remote = { AF_INET, { 127, 0, 0, 1 } } },
	{ .owner = &terminal, .cookie = 73, .left_ns = 41234567890, .port = 43210, .remote_port = 443,
	  .state = RIVAL_TIME_WAIT, .traits_known = true, .traits = PW_T_REUSE | PW_T_REUSEPORT,
	  .addr = { AF_INET, { 192, 0, 2, 7 } }, .remote = { AF_INET, { 93, 184, 216, 34 } } },
};
static struct explanation conflict = {
	.refs = 1, .cause = DENIAL_CONFLICT, .rivals = rivals, .rival_count = 3, .rival_total = 5,
	.advice = (char[]){ "SO_REUSEADDR does not help against a listener\n"
			    "sysctl -w net.ipv4.ip_local_reserved_ports=43210\n" },
};
static struct explanation exhausted = {
	.refs = 1, .cause = DENIAL_EXHAUSTED, .advice = (char[]){ "" },
	.usage = { .known = true, .size = 28232, .reserved = 12, .held = 28220, .sockets = 28221, .time_waits = 28000,
		   .top = &curl, .top_sockets = 28210, .low = 32768, .high = 60999, .top_remote_port = 443,
		   .top_remote = { AF_INET, { 93, 184, 216, 34 } }, .top_remote_sockets = 28200 },
};

/* A row of the table; what most share is filled in by line_of_row(). */
struct row {
	struct line line;
	const char *addr, *remote;
	bool wide;		/* may pass 100 columns, by an address, a name or an unusual detail */
};

#define ROW(local, other, ...) { .addr = (local), .remote = (other), .line = { __VA_ARGS__ } }
#define WIDE(local, other, ...) { .addr = (local), .remote = (other), .line = { __VA_ARGS__ }, .wide = true }
#define TCP	.proto = IPPROTO_TCP
#define UDP	.proto = IPPROTO_UDP
#define HELD(held, open, wait) .held_ns = (held), .open_ns = (open), .time_wait_ns = (wait)
#define NEVER	UNKNOWN_NS

static const struct row rows[] = {
	/* what was there before */
	ROW("0.0.0.0", NULL, .what = WHAT_PRESENT, TCP, .owner = &nginx, .port = 443, .listening = true,
	    .flags = PW_F_LOCKED),
	ROW("::", NULL, .what = WHAT_PRESENT, TCP, .owner = &nginx, .port = 60420, .listening = true,
	    .flags = PW_F_LOCKED),
	ROW("192.0.2.7", "93.184.216.34", .what = WHAT_PRESENT, TCP, .owner = &curl, .port = 43210,
	    .remote_port = 443, .flags = PW_F_EPHEMERAL),
	ROW("127.0.0.1", NULL, .what = WHAT_PRESENT, TCP, .owner = &curl, .port = 5555, .flags = PW_F_LOCKED),
	WIDE("192.0.2.7", "93.184.216.34", .what = WHAT_PRESENT, TCP, .port = 43211, .remote_port = 443,
	    .time_wait = true, .flags = PW_F_EPHEMERAL_UNKNOWN),
	ROW("0.0.0.0", NULL, .what = WHAT_PRESENT, UDP, .port = 4789, .flags = PW_F_KERNEL | PW_F_LOCKED),
	ROW(NULL, NULL, .what = WHAT_READY),

	/* allocations */
	ROW("192.0.2.7", "93.184.216.34", .what = WHAT_ALLOCATE, TCP, .owner = &curl, .port = 43212,
	    .remote_port = 443, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL),
	ROW("127.0.0.1", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &nginx, .port = 43213, .how = PW_HOW_BIND,
	    .flags = PW_F_EPHEMERAL),
	ROW("0.0.0.0", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &nginx, .port = 60420, .how = PW_HOW_BIND,
	    .flags = PW_F_LOCKED),
	ROW("0.0.0.0", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &nginx, .port = 43215, .how = PW_HOW_LISTEN,
	    .flags = PW_F_EPHEMERAL, .listening = true),
	ROW("0.0.0.0", "198.51.100.1", .what = WHAT_ALLOCATE, UDP, .owner = &curl, .port = 43216,
	    .remote_port = 53, .how = PW_HOW_SEND, .flags = PW_F_EPHEMERAL),
	ROW("0.0.0.0", NULL, .what = WHAT_ALLOCATE, UDP, .owner = &nginx, .port = 32769, .how = PW_HOW_BIND,
	    .flags = PW_F_LOCKED),
	ROW("127.0.0.1", NULL, .what = WHAT_ALLOCATE, .proto = IPPROTO_UDPLITE, .owner = &curl, .port = 43217,
	    .how = PW_HOW_BIND, .flags = PW_F_EPHEMERAL),
	WIDE("255.255.255.254", "255.255.255.253", .what = WHAT_ALLOCATE, TCP, .owner = &short_lived,
	    .port = 65535, .remote_port = 65535, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL),
	ROW("0.0.0.0", NULL, .what = WHAT_ALLOCATE, UDP, .port = 43218, .flags = PW_F_EPHEMERAL | PW_F_LATE),
	ROW("0.0.0.0", NULL, .what = WHAT_ALLOCATE, TCP, .port = 900, .how = PW_HOW_BIND,
	    .flags = PW_F_KERNEL | PW_F_LOCKED),
	ROW("127.0.0.1", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &curl, .port = 43219, .how = PW_HOW_BIND,
	    .flags = PW_F_EPHEMERAL_UNKNOWN),

	/* IPv6 */
	ROW("::1", "::1", .what = WHAT_ALLOCATE, TCP, .owner = &curl, .port = 43220, .remote_port = 80,
	    .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL),
	WIDE("2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
	    .what = WHAT_ALLOCATE, TCP, .owner = &curl, .port = 43221, .remote_port = 443,
	    .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL),
	ROW("::", NULL, .what = WHAT_LISTEN, TCP, .owner = &nginx, .port = 8080, .listening = true,
	    .flags = PW_F_LOCKED),

	/* listen */
	ROW("0.0.0.0", NULL, .what = WHAT_LISTEN, TCP, .owner = &nginx, .port = 80, .listening = true,
	    .flags = PW_F_LOCKED),
	ROW("0.0.0.0", NULL, .what = WHAT_LISTEN, TCP, .owner = &nginx, .port = 60420, .listening = true,
	    .flags = PW_F_LOCKED),
	ROW("0.0.0.0", NULL, .what = WHAT_LISTEN, TCP, .owner = &nginx, .port = 60421, .listening = true,
	    .flags = PW_F_LOCKED),
	ROW("0.0.0.0", NULL, .what = WHAT_LISTEN, TCP, .owner = &nginx, .port = 32768, .listening = true,
	    .flags = PW_F_LOCKED),
	ROW("0.0.0.0", NULL, .what = WHAT_LISTEN, TCP, .owner = &nginx, .port = 81, .listening = true,
	    .flags = PW_F_LOCKED, .holder_pid = 802, .holder_comm = "heir"),
	ROW("0.0.0.0", NULL, .what = WHAT_LISTEN, TCP, .owner = &nginx, .port = 82, .listening = true,
	    .flags = PW_F_LOCKED | PW_F_LATE),

	/* close, TIME_WAIT */
	ROW("192.0.2.7", "93.184.216.34", .what = WHAT_CLOSE, TCP, .owner = &curl, .port = 43212,
	    .remote_port = 443, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL, .holder_pid = 4711,
	    .holder_comm = "curl"),
	ROW("0.0.0.0", NULL, .what = WHAT_CLOSE, TCP, .owner = &nginx, .port = 80, .listening = true,
	    .flags = PW_F_LOCKED, .holder_pid = 802, .holder_comm = "nginx: worker"),
	ROW("0.0.0.0", NULL, .what = WHAT_CLOSE, TCP, .port = 43222, .flags = PW_F_EPHEMERAL_UNKNOWN,
	    .holder_pid = 803, .holder_comm = "somebody"),
	ROW("192.0.2.7", "93.184.216.34", .what = WHAT_TIME_WAIT, TCP, .owner = &curl, .port = 43212,
	    .remote_port = 443, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL),
	WIDE("192.0.2.7", "10.0.0.1", .what = WHAT_TIME_WAIT, TCP, .owner = &curl, .port = 43212,
	    .remote_port = 80, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL | PW_F_LATE),

	/* release, by cause */
	ROW("0.0.0.0", NULL, .what = WHAT_RELEASE, .cause = CAUSE_CLOSE, UDP, .owner = &curl, .port = 43216,
	    .how = PW_HOW_SEND, .flags = PW_F_EPHEMERAL, HELD(812345, 812345, NEVER)),
	WIDE("127.0.0.1", "127.0.0.1", .what = WHAT_RELEASE, .cause = CAUSE_RESET, TCP, .owner = &curl,
	    .port = 43223, .remote_port = 1, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL,
	    .error = ECONNREFUSED, HELD(61234, 61234, NEVER)),
	ROW("127.0.0.1", "127.0.0.1", .what = WHAT_RELEASE, .cause = CAUSE_RESET, TCP, .owner = &curl,
	    .port = 43224, .remote_port = 80, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL,
	    HELD(3723000000000, 3723000000000, NEVER)),
	ROW("192.0.2.7", "93.184.216.34", .what = WHAT_RELEASE, .cause = CAUSE_TIME_WAIT, TCP, .owner = &curl,
	    .port = 43212, .remote_port = 443, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL,
	    HELD(61500000000, 1500000000, 60000000000)),
	ROW("192.0.2.7", "93.184.216.34", .what = WHAT_RELEASE, .cause = CAUSE_REUSE, TCP, .owner = &curl,
	    .port = 43212, .remote_port = 443, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL,
	    HELD(2500000000, 1500000000, 1000000000)),
	WIDE("127.0.0.1", "127.0.0.53", .what = WHAT_RELEASE, .cause = CAUSE_DISCONNECT, UDP, .owner = &curl,
	    .port = 43225, .remote_port = 53, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL | PW_F_LATE,
	    HELD(1500000, 1500000, NEVER)),
	WIDE("127.0.0.1", NULL, .what = WHAT_RELEASE, .cause = CAUSE_NETNS, TCP, .owner = &nginx, .port = 43226,
	    .how = PW_HOW_BIND, .flags = PW_F_EPHEMERAL | PW_F_LATE, HELD(15000000, 15000000, NEVER)),
	ROW("127.0.0.1", NULL, .what = WHAT_RELEASE, .cause = CAUSE_UNKNOWN, TCP,
	    .flags = PW_F_EPHEMERAL_UNKNOWN | PW_F_LATE, .port = 43227, HELD(NEVER, NEVER, NEVER)),

	/* loss */
	ROW(NULL, NULL, .what = WHAT_GAP, .lost = 1, .lost_allocations = 0, .until = AT(1234),
	    .reason = "recursion"),
	ROW(NULL, NULL, .what = WHAT_GAP, .lost = 1234567, .lost_allocations = 123456, .until = AT(60000),
	    .reason = "output"),

	/* names that mean harm, and one that does not */
	WIDE("127.0.0.1", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &terminal, .port = 5001,
	    .how = PW_HOW_BIND, .flags = PW_F_LOCKED),
	ROW("127.0.0.1", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &quotes, .port = 5002, .how = PW_HOW_BIND,
	    .flags = PW_F_LOCKED),
	ROW("127.0.0.1", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &binary, .port = 5003, .how = PW_HOW_BIND,
	    .flags = PW_F_LOCKED),
	WIDE("127.0.0.1", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &reversed, .port = 5004,
	    .how = PW_HOW_BIND, .flags = PW_F_LOCKED),
	ROW("127.0.0.1", NULL, .what = WHAT_ALLOCATE, TCP, .owner = &umlaut, .port = 5005, .how = PW_HOW_BIND,
	    .flags = PW_F_LOCKED),
	WIDE("127.0.0.1", NULL, .what = WHAT_CLOSE, TCP, .owner = &umlaut, .port = 5005, .flags = PW_F_LOCKED,
	    .holder_pid = 66, .holder_comm = "\033[8mnot me\r\n"),

	/* denied */
	ROW("127.0.0.1", NULL, .what = WHAT_DENIED, TCP, .owner = &curl, .port = 43210, .how = PW_HOW_BIND,
	    .error = EADDRINUSE, .explanation = &conflict, .sock_uid = 1000, .traits = PW_T_REUSE),
	WIDE("::", "2001:db8::7", .what = WHAT_DENIED, TCP, .owner = &curl, .remote_port = 443, .how = PW_HOW_CONNECT,
	     .error = EADDRNOTAVAIL, .explanation = &exhausted, .bound_dev = 2, .traits = PW_T_V6ONLY),
	WIDE("0.0.0.0", NULL, .what = WHAT_DENIED, UDP, .flags = PW_F_KERNEL, .port = 4789, .how = PW_HOW_BIND,
	     .error = EADDRINUSE),
};

static struct event_addr addr_of(const char *text)
{
	struct event_addr addr = { 0 };

	if (!text)
		return addr;
	addr.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	inet_pton(addr.family, text, addr.bytes);
	return addr;
}

static struct line line_of_row(size_t i)
{
	struct line line = rows[i].line;

	line.time = AT(i);
	line.exact = !(line.flags & PW_F_LATE);
	if (line.what == WHAT_GAP || line.what == WHAT_READY)
		return line;
	line.cookie = 18446744073709551615u - i;
	line.generation = 1 + (uint32_t)i % 3;
	line.netns = 4026531840;
	line.addr = addr_of(rows[i].addr);
	line.remote = addr_of(rows[i].remote);
	return line;
}

void text_lines(void **state)
{
	_cleanup_annotate_ struct annotate_table *annotations = NULL;
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX);
	struct sink_text sink = { 0 };

	(void)state;
	assert_int_equal(annotate_new(&annotations), 0);
	sink.annotations = annotations;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct line line = line_of_row(i);

		sink_text_format(&sink, &line, &out);
	}
	golden_check("live.txt", &out);
}

void json_lines(void **state)
{
	_cleanup_annotate_ struct annotate_table *annotations = NULL;
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX);

	(void)state;
	assert_int_equal(annotate_new(&annotations), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct line line = line_of_row(i);

		sink_json_format(annotations, &line, &out);
	}
	golden_check("live.json", &out);
}

/* Lines fit a terminal of 100 columns; those of the table that cannot are known, and are as few. */
void text_lines_fit(void **state)
{
	_cleanup_annotate_ struct annotate_table *annotations = NULL;
	struct sink_text sink = { .headed = true };

	(void)state;
	assert_int_equal(annotate_new(&annotations), 0);
	sink.annotations = annotations;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX);
		struct line line = line_of_row(i);
		size_t columns;

		sink_text_format(&sink, &line, &out);
		columns = golden_columns(buf_text(&out), strcspn(buf_text(&out), "\n"));
		if (columns > 100 && !rows[i].wide)
			fail_msg("%zu columns: %s", columns, buf_text(&out));
	}
}
