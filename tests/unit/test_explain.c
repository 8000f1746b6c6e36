/* SPDX-License-Identifier: GPL-2.0 */
/* Causes by call and arguments, who stands in the way, and advice: the kernel's rules as tables. */
#include "user/explain.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/events.h"
#include "tests/unit/unit.h"

#define PORT 40123

static struct range range;

static int setup(void **state)
{
	(void)state;
	return range_parse("32768\t60999\n", "80,8000-8010\n", &range) ||
	       !(range.unprivileged_start = 1024);
}

static struct event call(enum pw_how how, int error, uint16_t port)
{
	struct event e = ev_sock(0, port, 1);

	e.kind = PW_DENIED;
	e.how = how;
	e.error = (uint32_t)error;
	e.sock_uid = 1000;
	return e;
}

static struct event to(struct event e, const char *addr, uint16_t port)
{
	e.remote = ev_addr(addr);
	e.remote_port = port;
	return e;
}

static struct event udp(struct event e)
{
	e.proto = IPPROTO_UDP;
	return e;
}

static struct event at(struct event e, const char *addr)
{
	e.addr = ev_addr(addr);
	return e;
}

static struct rival rival(enum rival_state state, uint8_t traits)
{
	return (struct rival){
		.state = state, .port = PORT, .traits_known = true, .uid_known = state != RIVAL_TIME_WAIT, .uid = 1000,
		.traits = traits, .left_ns = UINT64_MAX, .addr = ev_addr("127.0.0.1"),
	};
}

/* ---- names and causes ---- */

static void names(void **state)
{
	static const char *const causes[] = { "conflict", "exhausted", "not_local", "permission", "other" };
	static const char *const states[] = { "listen", "bound", "connected", "time_wait", "closed" };

	(void)state;
	for (int i = 0; i < DENIAL_END; i++)
		assert_string_equal(denial_name((enum denial)i), causes[i]);
	for (int i = 0; i < RIVAL_END; i++)
		assert_string_equal(rival_state_name((enum rival_state)i), states[i]);
	assert_null(denial_name(DENIAL_END));
	assert_null(rival_state_name(RIVAL_END));
}

static void cause_is_judged_by_call_and_arguments(void **state)
{
	static const struct {
		enum pw_how how;
		int error;
		uint16_t port;
		uint8_t proto;
		enum denial cause;
	} rows[] = {
		{ PW_HOW_BIND, EADDRINUSE, PORT, IPPROTO_TCP, DENIAL_CONFLICT },
		{ PW_HOW_BIND, EADDRINUSE, PORT, IPPROTO_UDP, DENIAL_CONFLICT },
		{ PW_HOW_BIND, EADDRINUSE, 0, IPPROTO_TCP, DENIAL_EXHAUSTED },
		{ PW_HOW_BIND, EADDRINUSE, 0, IPPROTO_UDP, DENIAL_EXHAUSTED },
		{ PW_HOW_BIND, EADDRNOTAVAIL, 0, IPPROTO_TCP, DENIAL_NOT_LOCAL },
		{ PW_HOW_BIND, EADDRNOTAVAIL, PORT, IPPROTO_UDP, DENIAL_NOT_LOCAL },
		{ PW_HOW_BIND, EACCES, 80, IPPROTO_TCP, DENIAL_PERMISSION },
		{ PW_HOW_BIND, EACCES, 1023, IPPROTO_UDP, DENIAL_PERMISSION },
		{ PW_HOW_BIND, EACCES, 1024, IPPROTO_TCP, DENIAL_OTHER },
		{ PW_HOW_BIND, EACCES, 0, IPPROTO_TCP, DENIAL_OTHER },
		{ PW_HOW_BIND, EINVAL, PORT, IPPROTO_TCP, DENIAL_OTHER },
		{ PW_HOW_BIND, EPERM, 80, IPPROTO_TCP, DENIAL_OTHER },
		{ PW_HOW_LISTEN, EADDRINUSE, 0, IPPROTO_TCP, DENIAL_EXHAUSTED },
		{ PW_HOW_LISTEN, EADDRINUSE, PORT, IPPROTO_TCP, DENIAL_CONFLICT },
		{ PW_HOW_CONNECT, EADDRNOTAVAIL, 0, IPPROTO_TCP, DENIAL_EXHAUSTED },
		{ PW_HOW_CONNECT, EADDRNOTAVAIL, PORT, IPPROTO_TCP, DENIAL_CONFLICT },
		{ PW_HOW_CONNECT, EAGAIN, 0, IPPROTO_UDP, DENIAL_EXHAUSTED },
		{ PW_HOW_SEND, EAGAIN, 0, IPPROTO_UDP, DENIAL_EXHAUSTED },
		{ PW_HOW_SEND, EAGAIN, 0, IPPROTO_UDPLITE, DENIAL_EXHAUSTED },
		{ PW_HOW_CONNECT, EADDRNOTAVAIL, 0, IPPROTO_UDP, DENIAL_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct event e = call(rows[i].how, rows[i].error, rows[i].port);

		e.proto = rows[i].proto;
		if (explain_cause(&e, &range) != rows[i].cause)
			fail_msg("row %zu: %s", i, denial_name(explain_cause(&e, &range)));
	}
}

static void an_address_not_read_is_no_port_0(void **state)
{
	static const int errors[] = { EADDRINUSE, EADDRNOTAVAIL, EACCES };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct event e = call(PW_HOW_BIND, errors[i], 0);

		e.traits = PW_T_UNREAD;
		assert_int_equal(explain_cause(&e, &range), DENIAL_OTHER);
	}
}

static void permission_goes_by_the_namespace(void **state)
{
	struct event e = call(PW_HOW_BIND, EACCES, 1500);
	struct range other = range, unknown = { 0 };

	(void)state;
	other.unprivileged_start = 2000;
	assert_int_equal(explain_cause(&e, &other), DENIAL_PERMISSION);
	other.unprivileged_start = 80;
	e.port = 80;
	assert_int_equal(explain_cause(&e, &other), DENIAL_OTHER);
	assert_int_equal(explain_cause(&e, &unknown), DENIAL_PERMISSION);
}

/* ---- who stands in the way ---- */

static void options_of_both_decide(void **state)
{
	static const struct {
		uint8_t proto;
		enum rival_state state;
		uint8_t mine, theirs;
		uint32_t uid;
		bool blocks;
	} rows[] = {
		{ IPPROTO_TCP, RIVAL_LISTEN, 0, 0, 1000, true },
		{ IPPROTO_TCP, RIVAL_LISTEN, PW_T_REUSE, PW_T_REUSE, 1000, true },
		{ IPPROTO_TCP, RIVAL_LISTEN, PW_T_REUSEPORT, PW_T_REUSEPORT, 1000, false },
		{ IPPROTO_TCP, RIVAL_LISTEN, PW_T_REUSEPORT, PW_T_REUSEPORT, 0, true },
		{ IPPROTO_TCP, RIVAL_LISTEN, PW_T_REUSEPORT, 0, 1000, true },
		{ IPPROTO_TCP, RIVAL_BOUND, PW_T_REUSE, PW_T_REUSE, 0, false },
		{ IPPROTO_TCP, RIVAL_CONNECTED, PW_T_REUSE, 0, 1000, true },
		{ IPPROTO_TCP, RIVAL_CONNECTED, PW_T_REUSE, PW_T_REUSE, 1000, false },
		{ IPPROTO_TCP, RIVAL_TIME_WAIT, PW_T_REUSE, 0, 1000, true },
		{ IPPROTO_TCP, RIVAL_TIME_WAIT, PW_T_REUSE, PW_T_REUSE, 1000, false },
		{ IPPROTO_TCP, RIVAL_TIME_WAIT, PW_T_REUSEPORT, PW_T_REUSEPORT, 0, false },
		{ IPPROTO_UDP, RIVAL_BOUND, PW_T_REUSE, 0, 1000, true },
		{ IPPROTO_UDP, RIVAL_BOUND, PW_T_REUSE, PW_T_REUSE, 0, false },
		{ IPPROTO_UDP, RIVAL_BOUND, PW_T_REUSEPORT, PW_T_REUSEPORT, 1000, false },
		{ IPPROTO_UDP, RIVAL_BOUND, PW_T_REUSEPORT, PW_T_REUSEPORT, 0, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
		struct rival r = rival(rows[i].state, rows[i].theirs);

		e.proto = rows[i].proto;
		e.traits = rows[i].mine;
		r.uid = rows[i].uid;
		if (explain_blocks(&e, &r) != rows[i].blocks)
			fail_msg("row %zu", i);
		/* What is not known of the other cannot be counted on. */
		r.traits_known = r.uid_known = false;
		assert_true(explain_blocks(&e, &r));
	}
}

static void addresses_decide(void **state)
{
	static const struct {
		const char *mine, *theirs;
		uint8_t my_traits, their_traits;
		bool blocks;
	} rows[] = {
		{ "127.0.0.1", "127.0.0.1", 0, 0, true },	{ "127.0.0.1", "127.0.0.2", 0, 0, false },
		{ "0.0.0.0", "127.0.0.2", 0, 0, true },		{ "127.0.0.1", "0.0.0.0", 0, 0, true },
		{ "::1", "::1", 0, 0, true },			{ "::1", "::2", 0, 0, false },
		{ "::", "::2", 0, 0, true },			{ "::1", "127.0.0.1", 0, 0, false },
		{ "::", "127.0.0.1", 0, 0, true },		{ "127.0.0.1", "::", 0, 0, true },
		{ "::", "127.0.0.1", PW_T_V6ONLY, 0, false },	{ "127.0.0.1", "::", 0, PW_T_V6ONLY, false },
		{ "0.0.0.0", "::", 0, PW_T_V6ONLY, false },	{ "0.0.0.0", "::1", 0, 0, true },
		{ "0.0.0.0", "::1", 0, PW_T_V6ONLY, false },	{ "::1", "0.0.0.0", 0, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct event e = at(call(PW_HOW_BIND, EADDRINUSE, PORT), rows[i].mine);
		struct rival r = rival(RIVAL_LISTEN, rows[i].their_traits);

		e.traits = rows[i].my_traits;
		r.addr = ev_addr(rows[i].theirs);
		if (explain_blocks(&e, &r) != rows[i].blocks)
			fail_msg("%s and %s", rows[i].mine, rows[i].theirs);
	}
}

/* Its options not known: bind() to an IPv6 address makes a socket IPV6_V6ONLY, connect() does not. */
static void of_the_ipv4_wildcard(void **state)
{
	static const struct {
		enum rival_state state;
		bool blocks;
	} rows[] = {
		{ RIVAL_LISTEN, false }, { RIVAL_BOUND, false }, { RIVAL_CONNECTED, true }, { RIVAL_TIME_WAIT, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct event e = at(call(PW_HOW_BIND, EADDRINUSE, PORT), "0.0.0.0");
		struct rival r = rival(rows[i].state, 0);

		r.addr = ev_addr("::1");
		r.traits_known = false;
		if (explain_blocks(&e, &r) != rows[i].blocks)
			fail_msg("row %zu", i);
	}
}

static void devices_decide(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
	struct rival r = rival(RIVAL_LISTEN, 0);

	(void)state;
	e.bound_dev = 2;
	assert_true(explain_blocks(&e, &r));
	r.bound_dev = 2;
	assert_true(explain_blocks(&e, &r));
	r.bound_dev = 3;
	assert_false(explain_blocks(&e, &r));
	e.bound_dev = 0;
	assert_true(explain_blocks(&e, &r));
}

static void connections_meet_by_both_ends(void **state)
{
	struct event e = to(call(PW_HOW_CONNECT, EADDRNOTAVAIL, PORT), "192.0.2.7", 443);
	struct rival r = rival(RIVAL_CONNECTED, 0);

	(void)state;
	assert_false(explain_blocks(&e, &r));
	r.remote = ev_addr("192.0.2.7");
	r.remote_port = 443;
	assert_true(explain_blocks(&e, &r));
	r.remote_port = 80;
	assert_false(explain_blocks(&e, &r));
	r.remote_port = 443;
	e = at(e, "127.0.0.9");
	assert_false(explain_blocks(&e, &r));
	e = at(e, "0.0.0.0");
	assert_true(explain_blocks(&e, &r));
}

/* ---- advice ---- */

static struct buf text;
static size_t unlisted;

static const char *advise(const struct event *e, struct rival *rivals, size_t count, struct usage usage)
{
	struct explanation x = {
		.cause = explain_cause(e, &range), .rivals = rivals, .rival_count = count,
		.rival_total = count + unlisted, .usage = usage,
	};

	buf_done(&text);
	text = BUF_INIT(RANGE_LIST_MAX);
	explain_advise(e, &x, &range, &text);
	assert_int_equal(buf_error(&text), 0);
	assert_true(!text.len || text.data[text.len - 1] == '\n');
	return buf_text(&text);
}

#define SAYS(e, r, part)	assert_non_null(strstr(advise(&(e), &(r), 1, (struct usage){ 0 }), part))
#define SAYS_NOT(e, r, part)	assert_null(strstr(advise(&(e), &(r), 1, (struct usage){ 0 }), part))

static void advice_on_a_listener(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
	struct rival r = rival(RIVAL_LISTEN, PW_T_REUSE);

	(void)state;
	SAYS(e, r, "SO_REUSEADDR does not help against a listener\n");
	SAYS(e, r, "SO_REUSEPORT on this socket alone does not help: the listener has not set it");
	SAYS_NOT(e, r, "ip_local_reserved_ports");
	r.traits = PW_T_REUSEPORT;
	SAYS(e, r, "SO_REUSEPORT on this socket, set before bind(), helps");
	r.uid = 0;
	SAYS(e, r, "of uid 0, this socket of uid 1000");
	r.traits_known = r.uid_known = false;
	SAYS(e, r, "when both sockets set it");
	SAYS_NOT(e, r, "device");
}

static void advice_on_an_outgoing_connection(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
	struct rival r = rival(RIVAL_CONNECTED, 0);

	(void)state;
	r.ephemeral = true;
	SAYS(e, r, "SO_REUSEADDR on this socket alone does not help: the outgoing connection had not set it");
	SAYS(e, r, "\nsysctl -w net.ipv4.ip_local_reserved_ports=80,8000-8010,40123\n");
	r.traits = PW_T_REUSE;
	SAYS(e, r, "SO_REUSEADDR on this socket, set before bind(), helps: the outgoing connection");
	r.traits_known = false;
	SAYS(e, r, "helps only if the outgoing connection has set it too");
	/* Outside of the range, or asked for by number, a reservation would not have changed it. */
	r.ephemeral = false;
	SAYS_NOT(e, r, "reserved");
	r.ephemeral = true;
	e.port = 8000;
	SAYS_NOT(e, r, "reserved");
}

/* 120 KB, then 30. */
static void a_long_list_of_reservations_is_not_shown(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, 40123);
	struct rival r = rival(RIVAL_CONNECTED, 0);

	(void)state;
	r.ephemeral = true;
	for (unsigned int port = 20000; port < 60000; port += 2)
		port_set_add(&range.reserved, (uint16_t)port);
	SAYS(e, r, "add it to net.ipv4.ip_local_reserved_ports, whose list is too long");
	SAYS_NOT(e, r, "sysctl -w");
	range.reserved = (struct port_set){ 0 };
	for (unsigned int port = 45000; port < 55000; port += 2)
		port_set_add(&range.reserved, (uint16_t)port);
	SAYS(e, r, "sysctl -w net.ipv4.ip_local_reserved_ports=40123,45000,45002,");
}

static void advice_on_a_time_wait(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
	struct rival r = rival(RIVAL_TIME_WAIT, PW_T_REUSE);

	(void)state;
	r.left_ns = 41200000000;
	SAYS(e, r, "SO_REUSEADDR on this socket, set before bind(), helps: the connection that left this TIME_WAIT");
	SAYS(e, r, "ends by itself in 42 s\n");
	r.traits = 0;
	SAYS(e, r, "does not help: the connection that left this TIME_WAIT had not set it");
	r.left_ns = UINT64_MAX;
	SAYS_NOT(e, r, "ends by itself");
}

static void advice_on_two_families(void **state)
{
	struct event e = at(call(PW_HOW_BIND, EADDRINUSE, PORT), "::");
	struct rival r = rival(RIVAL_BOUND, 0);

	(void)state;
	SAYS(e, r, "IPV6_V6ONLY");
	r.addr = ev_addr("::1");
	SAYS_NOT(e, r, "IPV6_V6ONLY");
}

static void advice_on_a_device(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
	struct rival r = rival(RIVAL_LISTEN, 0);

	(void)state;
	r.bound_dev = 3;
	SAYS(e, r, "the listener is bound to a device (interface 3)");
	e.bound_dev = 3;
	SAYS_NOT(e, r, "device");
}

static void a_line_is_said_once(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
	struct rival rivals[3] = { rival(RIVAL_LISTEN, 0), rival(RIVAL_LISTEN, 0), rival(RIVAL_LISTEN, 0) };
	const char *said = advise(&e, rivals, 3, (struct usage){ 0 });

	(void)state;
	said = strstr(said, "SO_REUSEADDR");
	assert_non_null(said);
	assert_null(strstr(said + 1, "SO_REUSEADDR"));
}

static void an_option_helps_against_all_or_not(void **state)
{
	struct event e = call(PW_HOW_BIND, EADDRINUSE, PORT);
	struct rival rivals[2] = { rival(RIVAL_BOUND, PW_T_REUSE | PW_T_REUSEPORT), rival(RIVAL_CONNECTED, 0) };
	const char *said = advise(&e, rivals, 2, (struct usage){ 0 });

	(void)state;
	e.traits = PW_T_REUSEPORT;
	assert_null(strstr(said, "helps"));
	assert_non_null(strstr(said, "SO_REUSEADDR on this socket alone does not help: the connected socket"));
	said = advise(&e, rivals, 2, (struct usage){ 0 });
	assert_null(strstr(said, "helps"));
	assert_non_null(strstr(said, "SO_REUSEPORT on this socket alone does not help: the connected socket"));
	rivals[1].traits = rivals[0].traits;
	said = advise(&e, rivals, 2, (struct usage){ 0 });
	assert_non_null(strstr(said, "SO_REUSEADDR on this socket, set before bind(), helps"));
	assert_non_null(strstr(said, "SO_REUSEPORT on this socket, set before bind(), helps"));
	rivals[1].traits_known = false;
	said = advise(&e, rivals, 2, (struct usage){ 0 });
	assert_null(strstr(said, "helps:"));
	assert_non_null(strstr(said, "SO_REUSEADDR on this socket helps only if"));
	unlisted = 1;
	rivals[1].traits_known = true;
	assert_null(strstr(advise(&e, rivals, 2, (struct usage){ 0 }), "helps"));
	unlisted = 0;
}

static void advice_on_a_range_used_up(void **state)
{
	struct event e = to(at(call(PW_HOW_CONNECT, EADDRNOTAVAIL, 0), "0.0.0.0"), "192.0.2.7", 443);
	struct usage u = { .known = true, .reserved = 11, .sockets = 10, .time_waits = 4, .reusable = 3, .bound_first = 6 };
	const char *said = advise(&e, NULL, 0, u);

	(void)state;
	assert_non_null(strstr(said, "6 sockets had their port from bind() before connect()"));
	assert_non_null(strstr(said, "\n3 of the sockets are in TIME_WAIT"));
	assert_non_null(strstr(said, "\nsysctl -w net.ipv4.tcp_tw_reuse=1\n"));
	assert_non_null(strstr(said, "11 ports of the range are reserved"));
	assert_non_null(strstr(said, "\nsysctl -w net.ipv4.ip_local_port_range=\"16384 65535\"\n"));
	range.low = 1024;
	range.high = 65535;
	range.tw_reuse = 1;
	u.bound_first = u.reserved = 0;
	assert_string_equal(advise(&e, NULL, 0, u), "");
	e = call(PW_HOW_BIND, EADDRINUSE, 0);
	assert_non_null(strstr(advise(&e, NULL, 0, u), "IP_BIND_ADDRESS_NO_PORT"));
	e = udp(e);
	assert_string_equal(advise(&e, NULL, 0, u), "");
}

static void advice_on_time_waits_of_a_range(void **state)
{
	static const struct {
		const char *remote;
		uint8_t tw_reuse;
		unsigned int reusable;
		bool said;
	} rows[] = {
		{ "192.0.2.7", 0, 1, true }, { "192.0.2.7", 1, 1, false }, { "192.0.2.7", 2, 1, true },
		{ "127.0.0.9", 0, 1, true }, { "127.0.0.9", 2, 1, false }, { "::1", 2, 1, false },
		{ "2001:db8::1", 2, 1, true }, { "192.0.2.7", 0, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct event e = to(call(PW_HOW_CONNECT, EADDRNOTAVAIL, 0), rows[i].remote, 443);
		struct usage u = { .known = true, .sockets = 9, .time_waits = 5, .reusable = rows[i].reusable };

		range.tw_reuse = rows[i].tw_reuse;
		if (!!strstr(advise(&e, NULL, 0, u), "tcp_tw_reuse") != rows[i].said)
			fail_msg("row %zu", i);
	}
}

static void advice_on_the_rest(void **state)
{
	struct event e = at(call(PW_HOW_BIND, EADDRNOTAVAIL, 0), "2001:db8::1");

	(void)state;
	assert_non_null(strstr(advise(&e, NULL, 0, (struct usage){ 0 }), "ip addr add 2001:db8::1/128"));
	assert_non_null(strstr(advise(&e, NULL, 0, (struct usage){ 0 }), "net.ipv6.ip_nonlocal_bind=1"));
	e = at(e, "192.0.2.1");
	assert_non_null(strstr(advise(&e, NULL, 0, (struct usage){ 0 }), "ip addr add 192.0.2.1/32"));
	e = call(PW_HOW_BIND, EACCES, 80);
	assert_non_null(strstr(advise(&e, NULL, 0, (struct usage){ 0 }), "ports below 1024"));
	assert_non_null(strstr(advise(&e, NULL, 0, (struct usage){ 0 }),
			       "\nsysctl -w net.ipv4.ip_unprivileged_port_start=80\n"));
	e = call(PW_HOW_BIND, EINVAL, 80);
	assert_non_null(strstr(advise(&e, NULL, 0, (struct usage){ 0 }), "has a port already"));
	e = call(PW_HOW_BIND, EPERM, 80);
	assert_string_equal(advise(&e, NULL, 0, (struct usage){ 0 }), "");
	buf_done(&text);
}

/* ---- references ---- */

static unsigned int puts_seen;

static void on_put(void *arg, struct process *process)
{
	(void)arg;
	puts_seen += process != NULL;
}

static void the_last_reference_gives_all_back(void **state)
{
	struct explanation *e = pw_calloc(1, sizeof(*e));

	(void)state;
	*e = (struct explanation){ .refs = 1, .put = on_put, .rivals = pw_calloc(2, sizeof(struct rival)), .rival_count = 2 };
	e->rivals[0].owner = (struct process *)e;
	e->usage.top = (struct process *)e;
	e->advice = pw_strdup("");
	assert_ptr_equal(explanation_ref(e), e);
	explanation_put(e);
	assert_int_equal(puts_seen, 0);
	explanation_put(e);
	assert_int_equal(puts_seen, 2);
	assert_null(explanation_ref(NULL));
	explanation_put(NULL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names),
	cmocka_unit_test_setup(cause_is_judged_by_call_and_arguments, setup),
	cmocka_unit_test_setup(an_address_not_read_is_no_port_0, setup),
	cmocka_unit_test_setup(permission_goes_by_the_namespace, setup),
	cmocka_unit_test(options_of_both_decide),
	cmocka_unit_test(addresses_decide),
	cmocka_unit_test(of_the_ipv4_wildcard),
	cmocka_unit_test(devices_decide),
	cmocka_unit_test(connections_meet_by_both_ends),
	cmocka_unit_test_setup(advice_on_a_listener, setup),
	cmocka_unit_test_setup(advice_on_an_outgoing_connection, setup),
	cmocka_unit_test_setup(a_long_list_of_reservations_is_not_shown, setup),
	cmocka_unit_test_setup(advice_on_a_time_wait, setup),
	cmocka_unit_test_setup(advice_on_two_families, setup),
	cmocka_unit_test_setup(advice_on_a_device, setup),
	cmocka_unit_test_setup(a_line_is_said_once, setup),
	cmocka_unit_test_setup(an_option_helps_against_all_or_not, setup),
	cmocka_unit_test_setup(advice_on_a_range_used_up, setup),
	cmocka_unit_test_setup(advice_on_time_waits_of_a_range, setup),
	cmocka_unit_test_setup(advice_on_the_rest, setup),
	cmocka_unit_test(the_last_reference_gives_all_back),
};

UNIT_MAIN(tests)
