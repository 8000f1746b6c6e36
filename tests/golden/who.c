/* SPDX-License-Identifier: GPL-2.0 */
/* Answers about ports whose holders are made up. */
#include "tests/golden/golden.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "user/who.h"

#define NETNS 4026531840u

static struct process nginx = { .pid = 712, .uid = 33, .comm = "nginx", .exe = (char *)"/usr/sbin/nginx",
				.cgroup = (char *)"/system.slice/nginx.service" };
static struct process evil = { .pid = 713, .comm = "e\033[31mvil", .container = (char *)"c0ffee" };
static struct process *two[] = { &nginx, &evil };

static struct event_addr addr(const char *text)
{
	struct event_addr out = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	inet_pton(out.family, text, out.bytes);
	return out;
}

static struct holder of(uint16_t port, uint8_t proto, enum holder_state state, const char *local)
{
	return (struct holder){
		.cookie = 18446744073709551615ULL, .netns = NETNS, .uid = 33, .port = port, .proto = proto, .state = state,
		.options_known = true, .expires_ns = UNKNOWN_NS, .addr = addr(local),
	};
}

static struct holder to(struct holder holder, const char *remote, uint16_t port)
{
	holder.remote = addr(remote);
	holder.remote_port = port;
	return holder;
}

static struct holder with(struct holder holder, size_t processes)
{
	holder.processes = two;
	holder.process_count = processes;
	return holder;
}

static const char *on_cmdline(void *arg, const struct process *process)
{
	(void)arg;
	return process == &nginx ? "nginx: master process /usr/sbin/nginx" : NULL;
}

static const char *on_service(void *arg, uint16_t port, uint8_t proto)
{
	(void)arg;
	return port == 22 && proto == IPPROTO_TCP ? "ssh" : NULL;
}

static int on_flush(void *arg, struct buf *out)
{
	(void)arg;
	return buf_error(out);
}

/* One of each kind. */
static size_t hold(struct holder rows[16])
{
	struct holder *h = rows;

	*h = with(of(40000, IPPROTO_TCP, HOLDER_LISTEN, "::"), 2);
	h->reuseport = h->v6only = h->locked = true;
	(h++)->bound_dev = 3;
	*h = to(with(of(40000, IPPROTO_TCP, HOLDER_CONNECTED, "127.0.0.1"), 1), "192.0.2.1", 443);
	(h++)->by_connect = true;
	*h = to(of(40000, IPPROTO_TCP, HOLDER_TIME_WAIT, "127.0.0.1"), "192.0.2.2", 443);
	h->uid = UINT32_MAX;
	(h++)->expires_ns = 58123456789;
	*h++ = to(of(40000, IPPROTO_TCP, HOLDER_ORPHAN, "127.0.0.1"), "192.0.2.3", 443);
	*h = of(40000, IPPROTO_TCP, HOLDER_BOUND, "127.0.0.1");
	h->netns++;
	(h++)->options_known = false;
	for (int i = 0; i < 2; i++, h++) {
		*h = to(with(of(40000, IPPROTO_TCP, HOLDER_CONNECTED, "::1"), !i), "::1", (uint16_t)(50000 + i));
		h->accepted = true;
		h->unfetched = i;
	}
	*h++ = of(40000, IPPROTO_UDP, HOLDER_KERNEL, "0.0.0.0");
	*h++ = with(of(40001, IPPROTO_UDPLITE, HOLDER_BOUND, "127.0.0.1"), 1);
	return (size_t)(h - rows);
}

static void ask(enum format format, struct buf *out)
{
	static const char *const questions[] = {
		"40000", "40001", "22/tcp", "60420/tcp", "33060/tcp", "50000-50009/udp",
	};
	_cleanup_annotate_ struct annotate_table *annotations = NULL;
	struct range range = { .known = true, .low = 32768, .high = 60999 };
	struct holder rows[16];
	struct holders holders = { .rows = rows, .count = hold(rows) };
	struct recall recall = { .boot = NULL };
	struct answers answers = {
		.recall = &recall, .about = { .format = format, .range = &range, .netns = NETNS, .service = on_service, .flush = on_flush },
		.time = 1795176187000000000, .cmdline = on_cmdline,
	};

	port_set_add(&range.reserved, 60420);
	assert_int_equal(annotate_new(&annotations), 0);
	assert_int_equal(about_head(format, out), 0);
	answers.about.annotations = annotations;
	assert_int_equal(answers_index(&answers, &holders), 0);
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		struct question question;
		char why[300] = "";

		assert_int_equal(question_parse_line(questions[i], 0, 0, &question, why, sizeof(why)), 0);
		assert_int_equal(answer(&answers, &question, out), 0);
	}
	free(answers.by_port);
}

void who_text(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX);

	(void)state;
	ask(FORMAT_TEXT, &out);
	golden_check("who.txt", &out);
}

void who_json(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX);

	(void)state;
	ask(FORMAT_JSON, &out);
	golden_check("who.json", &out);
}

void who_csv(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX);

	(void)state;
	ask(FORMAT_CSV, &out);
	golden_check("who.csv", &out);
}
