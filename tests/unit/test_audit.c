/* SPDX-License-Identifier: GPL-2.0 */
/* The audit: what is a fixed port, what is at risk, what would put it right. */
#include "user/audit.h"

#include <netinet/in.h>

#include "tests/unit/unit.h"

static struct range range;
static struct annotate_table *table;
static struct process kubelet = { .comm = "kubelet" }, shell = { .comm = "kube" };
static struct process *kubelets[] = { &shell, &kubelet };

static int setup(void **state)
{
	static const char own[] = "40100\t40100\ttcp\tours\tdocumented\n60001\t60001\ttcp\tquiet\tnone\n";
	struct annotate_error error;

	(void)state;
	assert_int_equal(annotate_new(&table), 0);
	assert_int_equal(annotate_load_text(table, "own", own, strlen(own), &error), 0);
	return range_parse("32768\t60999\n", "80,50000-50009\n", &range);
}

static int teardown(void **state)
{
	(void)state;
	annotate_free(&table);
	return 0;
}

static struct holder listener(uint16_t port)
{
	return (struct holder){ .proto = IPPROTO_TCP, .port = port, .state = HOLDER_LISTEN, .tcp_state = STATE_LISTEN,
				.locked = true, .addr = { .family = AF_INET } };
}

static struct holder outgoing(uint16_t port)
{
	return (struct holder){ .proto = IPPROTO_TCP, .port = port, .state = HOLDER_CONNECTED, .by_connect = true,
				.tcp_state = STATE_ESTABLISHED, .addr = { .family = AF_INET },
				.remote = { .family = AF_INET }, .remote_port = 443 };
}

static struct holder udp(uint16_t port, bool locked, bool with_remote)
{
	return (struct holder){ .proto = IPPROTO_UDP, .port = port, .locked = locked, .addr = { .family = AF_INET },
				.state = with_remote ? HOLDER_CONNECTED : HOLDER_BOUND,
				.tcp_state = with_remote ? STATE_ESTABLISHED : STATE_CLOSE,
				.remote = { .family = with_remote ? AF_INET : 0 } };
}

static struct audit taken(const struct holder *rows, size_t count)
{
	struct audit audit;

	assert_int_equal(audit_take(&audit, rows, count, &range, table), 0);
	return audit;
}

#define ROWS(...) (struct holder[]){ __VA_ARGS__ }, sizeof((struct holder[]){ __VA_ARGS__ }) / sizeof(struct holder)

static void assert_reserve(const struct audit *audit, const char *list)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1000);

	assert_int_equal(range_list(&audit->reserve, &out), 0);
	assert_string_equal(buf_text(&out), list);
}

/* One row: is it at risk, and as what? -1: nothing is said of it. */
static int kind_of(struct holder row)
{
	_cleanup_audit_ struct audit audit = taken(&row, 1);
	int kind = audit.count ? (int)audit.ports[0].kind : -1;

	assert_int_equal(audit.at_risk, audit.count && kind != AUDIT_PASSER_BY);
	return kind;
}

static void listeners(void **state)
{
	struct holder chosen = listener(41237), bound = listener(41237), kernel = listener(41237);

	(void)state;
	assert_int_equal(kind_of(listener(41237)), AUDIT_LISTENER);
	assert_int_equal(kind_of(listener(32768)), AUDIT_LISTENER);
	assert_int_equal(kind_of(listener(60999)), AUDIT_LISTENER);
	/* Outside, and reserved. */
	assert_int_equal(kind_of(listener(32767)), -1);
	assert_int_equal(kind_of(listener(61000)), -1);
	assert_int_equal(kind_of(listener(80)), -1);
	assert_int_equal(kind_of(listener(50004)), -1);
	/* The kernel chose the number. */
	chosen.locked = false;
	assert_int_equal(kind_of(chosen), -1);
	/* Asked for, but nobody listens and nothing is known of the port. */
	bound.state = HOLDER_BOUND;
	bound.tcp_state = STATE_CLOSE;
	assert_int_equal(kind_of(bound), -1);
	kernel.state = HOLDER_KERNEL;
	assert_int_equal(kind_of(kernel), AUDIT_LISTENER);
}

static void udp_services(void **state)
{
	(void)state;
	assert_int_equal(kind_of(udp(41237, true, false)), AUDIT_LISTENER);
	assert_int_equal(kind_of(udp(41237, true, true)), -1);
	assert_int_equal(kind_of(udp(41237, false, false)), -1);
	assert_int_equal(kind_of(udp(50000, true, false)), -1);
}

static void annotated(void **state)
{
	struct holder bound = listener(60420), wait = outgoing(60420), doubtful = outgoing(40100);

	(void)state;
	bound.state = HOLDER_BOUND;
	bound.tcp_state = STATE_CLOSE;
	assert_int_equal(kind_of(bound), AUDIT_SERVICE);
	assert_int_equal(kind_of(listener(60420)), AUDIT_LISTENER);
	/* Shipped: it may never have been here. The user's own: it has. */
	assert_int_equal(kind_of(outgoing(60420)), AUDIT_PASSER_BY);
	assert_int_equal(kind_of(outgoing(40100)), AUDIT_TAKEN);
	assert_int_equal(kind_of(outgoing(40101)), -1);
	assert_int_equal(kind_of(outgoing(60001)), -1);
	wait.state = HOLDER_TIME_WAIT;
	assert_int_equal(kind_of(wait), AUDIT_PASSER_BY);
	wait.by_connect = false;
	assert_int_equal(kind_of(wait), -1);
	/* Perhaps accepted by the service itself, which has gone. */
	doubtful.by_connect = false;
	doubtful.doubtful = true;
	assert_int_equal(kind_of(doubtful), -1);
}

static void one_port_of_many(void **state)
{
	struct holder accepted = outgoing(41237), second = listener(41237), passer = outgoing(41237);
	struct audit audit;

	(void)state;
	accepted.by_connect = false;
	accepted.accepted = true;
	second.cookie = 2;
	passer.cookie = 3;
	audit = taken(ROWS(listener(41237), second, accepted, passer, udp(41237, true, false)));
	assert_int_equal(audit.count, 2);
	assert_int_equal(audit.at_risk, 2);
	assert_int_equal(audit.ports[0].services, 2);
	assert_int_equal(audit.ports[0].service->cookie, 0);
	assert_int_equal(audit.ports[0].passers, 1);
	assert_int_equal(audit.ports[0].passer->cookie, 3);
	assert_int_equal(audit.ports[1].proto, IPPROTO_UDP);
	assert_int_equal(audit.ports[1].passers, 0);
	assert_null(audit.ports[1].passer);
	assert_reserve(&audit, "41237");
	audit_done(&audit);
	assert_null(audit.ports);
}

/* The listener is the service, whoever else asked for the number and comes first. */
static void the_listener_goes_before(void **state)
{
	struct holder client = listener(60420), serves = listener(60420);
	struct audit audit;

	(void)state;
	client.state = HOLDER_BOUND;
	client.tcp_state = STATE_CLOSE;
	serves.cookie = 7;
	audit = taken(ROWS(client, serves));
	assert_int_equal(audit.ports[0].kind, AUDIT_LISTENER);
	assert_int_equal(audit.ports[0].service->cookie, 7);
	assert_int_equal(audit.ports[0].services, 2);
	audit_done(&audit);
}

static void what_to_reserve(void **state)
{
	struct audit audit = taken(ROWS(listener(80), listener(41237), listener(41238), outgoing(40100),
					listener(50001), outgoing(60420)));
	_cleanup_buf_ struct buf out = BUF_INIT(1000);

	(void)state;
	assert_int_equal(audit.count, 4);
	assert_int_equal(audit.at_risk, 3);
	assert_reserve(&audit, "40100,41237-41238");
	assert_int_equal(range_reserve(&range, &audit.reserve, &out), 0);
	assert_string_equal(buf_text(&out), "80,40100,41237-41238,50000-50009");
	audit_done(&audit);
}

static void nothing_to_say(void **state)
{
	struct audit audit;

	(void)state;
	assert_int_equal(audit_take(&audit, NULL, 0, &range, NULL), 0);
	assert_int_equal(audit.at_risk, 0);
	assert_int_equal(audit.count, 0);
	audit_done(&audit);
	assert_int_equal(audit_take(&audit, ROWS(listener(41237), outgoing(60420)), &range, NULL), 0);
	assert_int_equal(audit.count, 1);
	audit_done(&audit);
}

static void nodeports(void **state)
{
	struct holder row = listener(10250);
	struct audit audit;

	(void)state;
	assert_int_equal(range_parse("30000\t60999\n", "30000-30067\n", &range), 0);
	audit = taken(ROWS(listener(10250)));
	assert_int_equal(audit.nodeports, 2700);
	assert_false(audit.kubernetes);
	assert_int_equal(audit.at_risk, 0);
	assert_reserve(&audit, "");
	audit_done(&audit);
	row.processes = kubelets;
	row.process_count = 1;
	audit = taken(&row, 1);
	assert_false(audit.kubernetes);
	audit_done(&audit);
	row.process_count = 2;
	audit = taken(&row, 1);
	assert_true(audit.kubernetes);
	assert_int_equal(audit.at_risk, 1);
	assert_reserve(&audit, "30000-32767");
	audit_done(&audit);
	assert_int_equal(range_parse("32768\t60999\n", "\n", &range), 0);
	audit = taken(&row, 1);
	assert_int_equal(audit.nodeports, 0);
	assert_int_equal(audit.at_risk, 0);
	audit_done(&audit);
}

static void names(void **state)
{
	(void)state;
	for (int i = 0; i < AUDIT_KINDS; i++)
		assert_non_null(audit_kind_name((enum audit_kind)i));
	assert_null(audit_kind_name(AUDIT_KINDS));
}

static void no_memory(void **state)
{
	struct audit audit;

	(void)state;
	unit_fail_after(0);
	assert_int_equal(audit_take(&audit, NULL, 0, &range, NULL), -ENOMEM);
	unit_fail_never();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(listeners), TEST(udp_services), TEST(annotated), TEST(one_port_of_many), TEST(the_listener_goes_before),
	TEST(what_to_reserve), TEST(nothing_to_say), TEST(nodeports), TEST(names), TEST(no_memory),
};

UNIT_MAIN(tests)
