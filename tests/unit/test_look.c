/* SPDX-License-Identifier: GPL-2.0 */
/* The look at objects by their address, which whoever asks chooses: what it answers of sockets, and of all else. Takes root. */
#define _GNU_SOURCE
#include "user/probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "user/cgroup.h"

#define PORT	7777
#define SECRET	4242		/* as the mark of a socket: a word of the kernel's that no record tells */
#define AROUND	1024		/* bytes to each side of it */
#define TRIES	40
#define NET_SIZE 8192		/* of a struct net, at least up to its cookie */

static struct event told;	/* of the socket on PORT */

static void on_event(void *arg, const struct event *event)
{
	(void)arg;
	if (event->kind == PW_SOCK && event->port == PORT)
		told = *event;
}

static int open_look(void **state)
{
	struct probe_options options = { .cgroup_root = -1 };
	struct probe *probe = NULL;
	char why[512] = "";
	struct stat st;

	/* Without root there is nothing to look with: each test says so. */
	if (geteuid())
		return 0;
	if (unshare(CLONE_NEWNET) || stat("/proc/self/ns/net", &st))
		return -1;
	options.settings.netns[0] = (uint32_t)st.st_ino;
	options.settings.netns_count = 1;
	options.settings.protos = PW_PROTO_TCP | PW_PROTO_UDP | PW_PROTO_UDPLITE;
	options.cgroup_root = cgroup_open_root();
	if (probe_open(&options, on_event, NULL, &probe, why, sizeof(why)))
		print_message("%s\n", why);
	close(options.cgroup_root);
	*state = probe;
	return probe ? 0 : -1;
}

static int close_look(void **state)
{
	struct probe *probe = *state;

	probe_free(&probe);
	return 0;
}

static void need_root(void)
{
	if (!geteuid())
		return;
	print_message("takes root\n");
	skip();
}

/* On every address, so that no interface is needed. */
static int take_port(struct probe *probe, int family, int type, int proto)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	bool is_v6 = family == AF_INET6;
	int fd = socket(family, type | SOCK_CLOEXEC, proto), mark = SECRET;

	if (fd < 0)
		return -1;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	assert_int_equal(bind(fd, is_v6 ? (void *)&v6 : (void *)&v4, is_v6 ? sizeof(v6) : sizeof(v4)), 0);
	told = (struct event){ 0 };
	for (int i = 0; i < TRIES && !told.sk; i++) {
		usleep(10000);
		probe_consume(probe);
	}
	assert_true(told.sk && told.cookie);
	return fd;
}

static struct pw_look look_at(struct probe *probe, uint64_t sk, uint64_t cookie, uint16_t port)
{
	struct pw_look look = { .sk = sk, .cookie = cookie, .port = port, .proto = told.proto };

	assert_int_equal(probe_look(probe, &look, 1), 0);
	return look;
}

static void sockets_are_seen(void **state)
{
	static const struct {
		int family, type, proto;
	} kinds[] = {
		{ AF_INET, SOCK_STREAM, 0 }, { AF_INET6, SOCK_STREAM, 0 }, { AF_INET, SOCK_DGRAM, 0 },
		{ AF_INET6, SOCK_DGRAM, 0 }, { AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE },
		{ AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE }, { AF_INET, SOCK_STREAM, 262 }, { AF_INET6, SOCK_STREAM, 262 },
	};
	struct probe *probe = *state;

	need_root();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		/* UDP-Lite and MPTCP are not in every kernel. */
		int fd = take_port(probe, kinds[i].family, kinds[i].type, kinds[i].proto);

		if (fd < 0)
			continue;
		assert_true(look_at(probe, told.sk, told.cookie, PORT).held);
		assert_false(look_at(probe, told.sk, told.cookie + 1, PORT).held);
		assert_false(look_at(probe, told.sk, told.cookie, PORT + 1).held);
		close(fd);
		assert_false(look_at(probe, told.sk, told.cookie, PORT).held);
	}
}

/* Whatever address is asked about, no word of the memory there comes back: that of a socket takes its cookie. */
static void nothing_else_is(void **state)
{
	struct probe *probe = *state;
	int fd;

	need_root();
	fd = take_port(probe, AF_INET, SOCK_DGRAM, 0);
	for (uint64_t sk = told.sk - AROUND; sk < told.sk + AROUND; sk += 2) {
		static const uint16_t ports[] = { SECRET, AF_INET, 1, PORT, 0xffff };

		for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
			struct pw_look look = look_at(probe, sk, 0, ports[i]);

			if (look.held || look.netns_gone || look.bound_dev || look.uid)
				fail_msg("at the socket's address %+lld, port %u: held %u, netns_gone %u, uid %u", (long long)(sk - told.sk),
					 ports[i], look.held, look.netns_gone, look.uid);
			if (sk != told.sk && look_at(probe, sk, told.cookie, ports[i]).held)
				fail_msg("by its cookie at the socket's address %+lld", (long long)(sk - told.sk));
		}
	}
	close(fd);
}

/* Nor by the way of a network namespace: where there is none, it is gone, whatever stands where its cookie would. */
static void no_namespace_is(void **state)
{
	struct probe *probe = *state;
	int fd;

	need_root();
	fd = take_port(probe, AF_INET, SOCK_DGRAM, 0);
	for (uint64_t at = told.sk - NET_SIZE; at < told.sk; at += 4) {
		struct pw_look look = {
			.sk = told.sk, .cookie = told.cookie + 1, .port = PORT, .proto = IPPROTO_UDP, .net = at, .net_cookie = told.cookie,
		};

		assert_int_equal(probe_look(probe, &look, 1), 0);
		if (!look.netns_gone)
			fail_msg("%llu bytes before the socket stands no namespace", (unsigned long long)(told.sk - at));
	}
	close(fd);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(sockets_are_seen),
	cmocka_unit_test(nothing_else_is),
	cmocka_unit_test(no_namespace_is),
};

int main(void)
{
	return cmocka_run_group_tests(tests, open_look, close_look);
}
