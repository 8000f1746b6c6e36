/* SPDX-License-Identifier: GPL-2.0 */
/* What a denial advises: what is said to help does, and what is said not to does not. */
#define _GNU_SOURCE
#include "tests/e2e/wish.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PORT 7411
#define LOW 47000
#define NOBODY 65534

#define RANGE "net/ipv4/ip_local_port_range"
#define RESERVED "net/ipv4/ip_local_reserved_ports"

static const enum fam fams[] = { FAM_V4, FAM_V6 };
static const int protos[] = { IPPROTO_TCP, IPPROTO_UDP };

/* Leaves no TIME_WAIT. */
static void reset(int fd)
{
	struct linger now = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static int accepted_by(int server)
{
	int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		work_die("accept");
	return fd;
}

static int joined(int fd, enum fam f, uint16_t port)
{
	wish_must(wish_join(fd, f, port), "connect");
	return fd;
}

static int with_int(int fd, int level, int option)
{
	int one = 1;

	if (setsockopt(fd, level, option, &one, sizeof(one)) < 0)
		work_die("setsockopt");
	return fd;
}

/* ---- SO_REUSEPORT ---- */

struct share {
	enum fam fam;
	int proto;
	int result;
};

static void share_as_nobody(struct work *w, void *arg)
{
	const struct share *share = arg;

	(void)w;
	if (setresuid(NOBODY, NOBODY, NOBODY) < 0)
		work_die("setresuid");
	wish_must(wish_own(wish_with(wish_sock(share->fam, share->proto), SO_REUSEPORT), share->fam, AT_LOOP, PORT),
		  "bind as the same user");
}

static void within_one_user(struct work *w)
{
	for (size_t i = 0; i < 4; i++) {
		struct share share = { .fam = fams[i & 1], .proto = protos[i / 2] };
		struct wish_held held = { .fam = share.fam, .proto = share.proto, .port = PORT, .option = SO_REUSEPORT,
					  .listens = is_tcp(share.proto), .uid = NOBODY };
		pid_t keeper = wish_keep(w, &held);
		struct wish *wish = wish_conflict(w, wish_with(wish_sock(share.fam, share.proto), SO_REUSEPORT), share.fam,
						  share.proto, AT_LOOP, PORT, held.listens ? "listen" : "bound");

		wish->holder = keeper;
		wish->says[0] = "SO_REUSEPORT shares a port within one user only";
		wish->says[1] = "is of uid 65534, this socket of uid 0";
		wish->says_not = "SO_REUSEPORT on this socket, set before bind(), helps";
		work_reap(w, work_spawn(w, share_as_nobody, &share));
		wish_let_go(keeper);
	}
}

static void ports_of_connections(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT);
		struct wish_held held = { .fam = f, .proto = IPPROTO_TCP, .to = PORT };
		pid_t keeper = wish_keep(w, &held);
		struct wish *wish = wish_conflict(w, wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEPORT), f, IPPROTO_TCP,
						  AT_LOOP, held.kept, "connected");

		wish->holder = keeper;
		wish->holder_remote = PORT;
		wish->says[0] = "SO_REUSEPORT on this socket alone does not help: the outgoing connection";
		reset(accepted_by(server));
		wish_let_go(keeper);
		/* Both have it, and that the users differ is no matter to a TIME_WAIT. */
		held.option = SO_REUSEPORT;
		held.uid = NOBODY;
		keeper = wish_keep(w, &held);
		wish_let_go(keeper);
		close(accepted_by(server));
		usleep(300000);
		wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, held.kept, "time_wait");
		wish->holder = keeper;
		wish->holder_remote = PORT;
		wish->says[0] = "SO_REUSEPORT on this socket, set before bind(), helps";
		wish_must(wish_own(wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEPORT), f, AT_LOOP, held.kept),
			  "bind with SO_REUSEPORT");
		close(server);
	}
}

/* ---- SO_BINDTODEVICE ---- */

static int on_device(enum fam f, int proto, const char *device)
{
	int fd = wish_sock(f, proto);

	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
		work_die("SO_BINDTODEVICE");
	return fd;
}

static void devices(struct work *w)
{
	bool second = !vxlan_add("wish0", 4789);

	for (size_t i = 0; i < 4; i++) {
		enum fam f = fams[i & 1];
		int proto = protos[i / 2];
		struct wish_held held = { .fam = f, .proto = proto, .where = AT_ANY, .port = PORT, .device = "lo",
					  .listens = is_tcp(proto) };
		pid_t keeper = wish_keep(w, &held);
		const char *state = held.listens ? "listen" : "bound";
		struct wish *wish = wish_conflict(w, wish_sock(f, proto), f, proto, AT_ANY, PORT, state);

		wish->holder = keeper;
		*wish->holder_addr = '\0';
		wish->says[0] = "bound to different devices (SO_BINDTODEVICE) share a port";
		wish = wish_conflict(w, on_device(f, proto, "lo"), f, proto, AT_ANY, PORT, state);
		wish->holder = keeper;
		*wish->holder_addr = '\0';
		wish->says_not = "SO_BINDTODEVICE";
		if (second) {
			int fd = on_device(f, proto, "wish0");

			wish_must(wish_own(fd, f, AT_ANY, PORT), "bind on another device");
			close(fd);
		}
		wish_let_go(keeper);
	}
}

/* ---- addresses that are none ---- */

static int own_text(int fd, enum fam f, const char *text)
{
	struct sockaddr_storage at;
	socklen_t len = addr_make(&at, f, AT_LOOP, 0);

	inet_pton(fam_domain(f), text, f == FAM_V4 ? (void *)&((struct sockaddr_in *)&at)->sin_addr :
						      (void *)&((struct sockaddr_in6 *)&at)->sin6_addr);
	return bind(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
}

static void not_local(struct work *w)
{
	for (size_t i = 0; i < 4; i++) {
		enum fam f = fams[i & 1];
		int proto = protos[i / 2], v4 = f == FAM_V4, s = wish_sock(f, proto);
		const char *text = v4 ? "192.0.2.1" : "2001:db8::1";
		const char *sysctl = v4 ? "net/ipv4/ip_nonlocal_bind" : "net/ipv6/ip_nonlocal_bind";
		struct wish *wish = wish_denied(w, "bind", own_text(s, f, text), EADDRNOTAVAIL, "not_local", f, proto);

		strcpy(wish->addr, text);
		wish->says[0] = v4 ? "IP_FREEBIND on the socket" : "IPV6_FREEBIND on the socket";
		wish->says[1] = v4 ? "sysctl -w net.ipv4.ip_nonlocal_bind=1" : "sysctl -w net.ipv6.ip_nonlocal_bind=1";
		wish->says[2] = v4 ? "ip addr add 192.0.2.1/32" : "ip addr add 2001:db8::1/128";
		wish_set(sysctl, "1");
		wish_must(own_text(s, f, text), "bind with ip_nonlocal_bind");
		wish_set(sysctl, "0");
		s = with_int(wish_sock(f, proto), v4 ? SOL_IP : SOL_IPV6, v4 ? IP_FREEBIND : IPV6_FREEBIND);
		wish_must(own_text(s, f, text), "bind with FREEBIND");
	}
}

/* ---- the range ---- */

/* A port of its own for each: nothing of another is left on it. */
static void one_port(uint16_t port)
{
	char range[16];

	snprintf(range, sizeof(range), "%u %u", port, port);
	wish_set(RANGE, range);
	usleep(300000);
}

/* What is reserved as advised is not given away any more, and what was reserved before still is. */
static void reserved_line(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), s, accepted;
		struct wish *wish;

		wish_set(RANGE, "47000 47001");
		wish_set(RESERVED, "47001");
		usleep(300000);
		s = joined(wish_sock(f, IPPROTO_TCP), f, PORT);
		accepted = accepted_by(server);
		if (wish_port(s) != LOW)
			work_die("port %u", wish_port(s));
		wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, LOW, "connected");
		wish_apply(w, "net.ipv4.ip_local_reserved_ports");
		reset(accepted);
		close(s);
		s = wish_sock(f, IPPROTO_TCP);
		wish = wish_denied(w, "bind", wish_own(s, f, AT_LOOP, 0), EADDRINUSE, "exhausted", f, IPPROTO_TCP);
		wish->range = (struct wish_range){ .low = LOW, .high = LOW + 1, .reserved = 2 };
		wish->says[0] = "2 ports of the range are reserved";
		wish_must(wish_own(s, f, AT_LOOP, LOW), "bind to the reserved port");
		close(s);
		wish_set(RESERVED, "");
		close(server);
	}
}

/* bind() to port 0 takes a port from every destination, unless it leaves the choice to connect(). */
static void bound_first(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT);
		int other = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT + 1);
		int s = wish_sock(f, IPPROTO_TCP), two = wish_sock(f, IPPROTO_TCP);
		struct wish *wish;

		one_port((uint16_t)(LOW + 10 + i));
		wish_must(wish_own(s, f, AT_LOOP, 0), "bind to port 0");
		joined(s, f, PORT);
		wish = wish_denied(w, "connect", wish_join(two, f, PORT + 1), EADDRNOTAVAIL, "exhausted", f, IPPROTO_TCP);
		wish->holder = getpid();
		wish->remote_port = PORT + 1;
		wish->says[0] = "IP_BIND_ADDRESS_NO_PORT would let connect() share ports between destinations";
		reset(accepted_by(server));
		close(s);
		s = with_int(wish_sock(f, IPPROTO_TCP), SOL_IP, IP_BIND_ADDRESS_NO_PORT);
		wish_must(wish_own(s, f, AT_LOOP, 0), "bind");
		joined(s, f, PORT);
		wish = wish_denied(w, "bind", wish_own(two, f, AT_LOOP, 0), EADDRINUSE, "exhausted", f, IPPROTO_TCP);
		wish->holder = getpid();
		wish->says[0] = "IP_BIND_ADDRESS_NO_PORT leaves the choice to that";
		with_int(two, SOL_IP, IP_BIND_ADDRESS_NO_PORT);
		wish_must(wish_own(two, f, AT_LOOP, 0), "bind without a port");
		joined(two, f, PORT + 1);
		reset(accepted_by(server));
		reset(accepted_by(other));
		close(s);
		close(two);
		close(server);
		close(other);
	}
}

/* By default a TIME_WAIT on loopback is taken again; switched off, that is what helps. */
static void time_waits_taken_again(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), s, accepted;
		struct wish *wish;

		wish_set("net/ipv4/tcp_tw_reuse", "0");
		one_port((uint16_t)(LOW + 20 + i));
		s = joined(wish_sock(f, IPPROTO_TCP), f, PORT);
		accepted = accepted_by(server);
		close(s);
		close(accepted);
		usleep(1500000);
		s = wish_sock(f, IPPROTO_TCP);
		wish = wish_denied(w, "connect", wish_join(s, f, PORT), EADDRNOTAVAIL, "exhausted", f, IPPROTO_TCP);
		wish->holder = getpid();
		wish->state = "time_wait";
		wish->remote_port = wish->holder_remote = PORT;
		wish->range = (struct wish_range){ .low = (uint16_t)(LOW + 20 + i), .high = (uint16_t)(LOW + 20 + i), .held = 1, .sockets = 1, .time_wait = 1,
						   .top = getpid(), .top_sockets = 1, .remote_port = PORT };
		wish_apply(w, "net.ipv4.tcp_tw_reuse");
		joined(s, f, PORT);
		reset(accepted_by(server));
		close(s);
		close(server);
	}
}

/* The default takes one on loopback again, after a second: it is not what is missing. */
static void time_waits_too_young(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), s, accepted;
		struct wish *wish;

		wish_set("net/ipv4/tcp_tw_reuse", "2");
		one_port((uint16_t)(LOW + i));
		s = joined(wish_sock(f, IPPROTO_TCP), f, PORT);
		accepted = accepted_by(server);
		close(s);
		close(accepted);
		s = wish_sock(f, IPPROTO_TCP);
		wish = wish_denied(w, "connect", wish_join(s, f, PORT), EADDRNOTAVAIL, "exhausted", f, IPPROTO_TCP);
		wish->holder = getpid();
		wish->remote_port = wish->holder_remote = PORT;
		wish->says_not = "tcp_tw_reuse";
		close(s);
		close(server);
	}
}

static void on_sharing(struct work *w)
{
	within_one_user(w);
	ports_of_connections(w);
}

static void on_the_range(struct work *w)
{
	reserved_line(w);
	bound_first(w);
	time_waits_taken_again(w);
}

static void reuseport(void **state)
{
	(void)state;
	wish_check(on_sharing, NULL, false);
}

static void bind_to_device(void **state)
{
	(void)state;
	wish_check(devices, NULL, false);
}

static void nonlocal_bind(void **state)
{
	(void)state;
	wish_check(not_local, NULL, false);
}

static void range(void **state)
{
	(void)state;
	wish_check(on_the_range, NULL, false);
}

static void reuse_is_on(void **state)
{
	(void)state;
	wish_check(time_waits_too_young, NULL, false);
}

static const struct plain list[] = {
	{ "denied/advice_reuseport", reuseport },
	{ "denied/advice_bind_to_device", bind_to_device },
	{ "denied/advice_nonlocal_bind", nonlocal_bind },
	{ "denied/advice_range", range },
	{ "denied/advice_reuse_is_on", reuse_is_on },
};

const struct plain_list advice_tests = { list, COUNT_OF(list) };
