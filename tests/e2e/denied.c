/* SPDX-License-Identifier: GPL-2.0 */
/* Calls that are denied a port: what is told of each, and whether the advice is true. */
#define _GNU_SOURCE
#include "tests/e2e/wish.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PORT 7401

static const enum fam fams[] = { FAM_V4, FAM_V6 };

static int only_v6(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		work_die("IPV6_V6ONLY");
	return fd;
}

/* ---- conflicts, and whether what is said to help does ---- */

static void listeners(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int one = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), two;
		struct wish *wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, PORT, "listen");

		wish->says[0] = "SO_REUSEADDR does not help against a listener";
		wish->says[1] = "SO_REUSEPORT on this socket alone does not help";
		wish_conflict(w, wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), f, IPPROTO_TCP, AT_ANY, PORT, "listen");
		wish_conflict(w, wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEPORT), f, IPPROTO_TCP, AT_LOOP, PORT, "listen");
		close(one);
		one = wish_listener(wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEPORT), f, AT_LOOP, PORT);
		wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, PORT, "listen");
		wish->says[0] = "SO_REUSEPORT on this socket, set before bind(), helps";
		two = wish_listener(wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEPORT), f, AT_LOOP, PORT);
		close(two);
		close(one);
	}
}

static void bound_only(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int one = wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), two;
		struct wish *wish;

		wish_must(wish_own(one, f, AT_LOOP, PORT), "bind");
		wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, PORT, "bound");
		wish->says[0] = "SO_REUSEADDR on this socket, set before bind(), helps";
		two = wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR);
		wish_must(wish_own(two, f, AT_LOOP, PORT), "bind beside it");
		/* Both are bound, and one of them may listen. */
		if (listen(one, 1) < 0)
			work_die("listen");
		wish = wish_denied(w, "listen", listen(two, 1) < 0 ? -errno : 0, EADDRINUSE, "conflict", f, IPPROTO_TCP);
		wish->port = PORT;
		wish->holder = getpid();
		wish->state = "listen";
		close(two);
		close(one);
	}
}

static void datagrams(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int one = wish_sock(f, IPPROTO_UDP), two;
		struct wish *wish;

		wish_must(wish_own(one, f, AT_LOOP, PORT), "bind");
		wish = wish_conflict(w, wish_sock(f, IPPROTO_UDP), f, IPPROTO_UDP, AT_ANY, PORT, "bound");
		wish->says[0] = "SO_REUSEADDR on this socket alone does not help";
		wish->says[1] = "SO_REUSEPORT on this socket alone does not help";
		wish_conflict(w, wish_with(wish_sock(f, IPPROTO_UDP), SO_REUSEADDR), f, IPPROTO_UDP, AT_LOOP, PORT, "bound");
		wish_conflict(w, wish_with(wish_sock(f, IPPROTO_UDP), SO_REUSEPORT), f, IPPROTO_UDP, AT_LOOP, PORT, "bound");
		close(one);
		one = wish_with(wish_sock(f, IPPROTO_UDP), SO_REUSEPORT);
		wish_must(wish_own(one, f, AT_LOOP, PORT), "bind");
		wish = wish_conflict(w, wish_sock(f, IPPROTO_UDP), f, IPPROTO_UDP, AT_LOOP, PORT, "bound");
		wish->says[0] = "SO_REUSEPORT on this socket, set before bind(), helps";
		two = wish_with(wish_sock(f, IPPROTO_UDP), SO_REUSEPORT);
		wish_must(wish_own(two, f, AT_LOOP, PORT), "bind beside it");
		close(two);
		close(one);
		one = wish_with(wish_sock(f, IPPROTO_UDP), SO_REUSEADDR);
		wish_must(wish_own(one, f, AT_LOOP, PORT), "bind");
		wish = wish_conflict(w, wish_sock(f, IPPROTO_UDP), f, IPPROTO_UDP, AT_LOOP, PORT, "bound");
		wish->says[0] = "SO_REUSEADDR on this socket, set before bind(), helps";
		two = wish_with(wish_sock(f, IPPROTO_UDP), SO_REUSEADDR);
		wish_must(wish_own(two, f, AT_LOOP, PORT), "bind beside it");
		close(two);
		close(one);
	}
}

static void dual_stack(struct work *w)
{
	static const int protos[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (size_t i = 0; i < COUNT_OF(protos); i++) {
		int proto = protos[i], one = wish_sock(FAM_V4, proto), two;
		struct wish *wish;

		wish_must(wish_own(one, FAM_V4, AT_LOOP, PORT), "bind");
		wish = wish_conflict(w, wish_sock(FAM_V6, proto), FAM_V6, proto, AT_ANY, PORT, "bound");
		wish->says[0] = "IPV6_V6ONLY";
		strcpy(wish->holder_addr, "127.0.0.1");
		two = only_v6(wish_sock(FAM_V6, proto));
		wish_must(wish_own(two, FAM_V6, AT_ANY, PORT), "bind of IPv6 alone");
		/* Two holders, one of which is no matter to this one. */
		wish = wish_conflict(w, wish_sock(FAM_V6, proto), FAM_V6, proto, AT_LOOP, PORT, "bound");
		strcpy(wish->holder_addr, "::");
		close(one);
		close(two);
		two = wish_sock(FAM_V6, proto);
		wish_must(wish_own(two, FAM_V6, AT_ANY, PORT), "bind");
		wish = wish_conflict(w, wish_sock(FAM_V4, proto), FAM_V4, proto, AT_LOOP, PORT, "bound");
		strcpy(wish->holder_addr, "::");
		wish->says[0] = "IPV6_V6ONLY";
		close(two);
	}
}

/* A connection over loopback; *server and the accepted end stay open. */
static int outgoing(enum fam f, int fd, int server, int *accepted)
{
	wish_must(wish_join(fd, f, wish_port(server)), "connect");
	*accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	if (*accepted < 0)
		work_die("accept");
	return fd;
}

static void reserve(const char *port)
{
	wish_must(sysctl_set("net/ipv4/ip_local_reserved_ports", port), "sysctl");
}

static void outgoing_connections(struct work *w)
{
	char port[16];

	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), accepted, accepted2, s, two;
		struct wish *wish;

		reserve("80,8000-8010");
		s = outgoing(f, wish_sock(f, IPPROTO_TCP), server, &accepted);
		wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, wish_port(s), "connected");
		wish->holder_remote = PORT;
		wish->says[0] = "SO_REUSEADDR on this socket alone does not help: the outgoing connection";
		wish->says[1] = "sysctl -w net.ipv4.ip_local_reserved_ports=80,8000-8010,";
		wish_conflict(w, wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), f, IPPROTO_TCP, AT_ANY, wish_port(s), "connected");
		two = outgoing(f, wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), server, &accepted2);
		wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, wish_port(two), "connected");
		wish->says[0] = "SO_REUSEADDR on this socket, set before bind(), helps: the outgoing connection";
		close(wish_listener(wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), f, AT_LOOP, wish_port(two)));
		close(s);
		close(two);
		close(accepted);
		close(accepted2);
		/* Reserved, the kernel does not choose it. */
		wish_must(sysctl_set("net/ipv4/ip_local_port_range", "47000 47001"), "sysctl");
		reserve("47000");
		s = outgoing(f, wish_sock(f, IPPROTO_TCP), server, &accepted);
		snprintf(port, sizeof(port), "%u", wish_port(s));
		if (strcmp(port, "47001") != 0)
			work_die("port %s, which is reserved", port);
		close(s);
		close(accepted);
		wish_must(sysctl_set("net/ipv4/ip_local_port_range", "32768 60999"), "sysctl");
		close(server);
	}
}

static void four_tuple(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), accepted;
		int s = wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), two = wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR);
		struct wish *wish;

		wish_must(wish_own(s, f, AT_LOOP, PORT + 1), "bind");
		wish_must(wish_own(two, f, AT_LOOP, PORT + 1), "bind");
		outgoing(f, s, server, &accepted);
		wish = wish_denied(w, "connect", wish_join(two, f, PORT), EADDRNOTAVAIL, "conflict", f, IPPROTO_TCP);
		wish->port = PORT + 1;
		wish->remote_port = wish->holder_remote = PORT;
		wish->holder = getpid();
		wish->state = "connected";
		wish->says[0] = "without bind()";
		close(two);
		two = wish_sock(f, IPPROTO_TCP);
		wish_must(wish_join(two, f, PORT), "connect without bind()");
		close(two);
		close(accepted);
		close(s);
		close(server);
	}
}

struct left {
	enum fam fam;
	bool reuse;
	uint16_t port;
	int64_t until;
};

/* Ends at once; its TIME_WAIT does not. */
static void leave_time_wait(struct work *w, void *arg)
{
	struct left *left = arg;
	enum fam f = left->fam;
	int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, 0), accepted, s = wish_sock(f, IPPROTO_TCP);

	(void)w;
	prctl(PR_SET_NAME, "long-gone");
	if (left->reuse)
		wish_with(s, SO_REUSEADDR);
	outgoing(f, s, server, &accepted);
	left->port = wish_port(s);
	close(s);
	close(accepted);
	left->until = now_ns() + 60 * SECOND;
	close(server);
}

static void time_waits(struct work *w)
{
	struct left *left = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 4; i++) {
		enum fam f = fams[i & 1];
		struct wish *wish;
		pid_t pid;

		*left = (struct left){ .fam = f, .reuse = i >= 2 };
		pid = work_spawn(w, leave_time_wait, left);
		work_reap(w, pid);
		usleep(1200000);
		wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, left->port, "time_wait");
		wish->holder = pid;
		wish->until = left->until;
		wish->says[0] = left->reuse ? "SO_REUSEADDR on this socket, set before bind(), helps" :
					      "SO_REUSEADDR on this socket alone does not help";
		wish->says[1] = "ends by itself in";
		if (left->reuse)
			close(wish_listener(wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), f, AT_LOOP, left->port));
		else
			wish_conflict(w, wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), f, IPPROTO_TCP, AT_LOOP, left->port,
				 "time_wait")->holder = pid;
	}
}

/* What a listener accepted outlives it, and keeps its port. */
static void left_by_a_listener(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), f, AT_LOOP, PORT), accepted;
		int s = outgoing(f, wish_sock(f, IPPROTO_TCP), server, &accepted);
		struct wish *wish;

		close(server);
		wish = wish_conflict(w, wish_sock(f, IPPROTO_TCP), f, IPPROTO_TCP, AT_LOOP, PORT, "connected");
		wish->accepted = true;
		wish->holder_remote = wish_port(s);
		close(wish_listener(wish_with(wish_sock(f, IPPROTO_TCP), SO_REUSEADDR), f, AT_LOOP, PORT));
		close(s);
		close(accepted);
	}
}

/* ---- the range used up ---- */

/* Leaves no TIME_WAIT. */
static void reset(int fd)
{
	struct linger now = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

#define SHARE 20
#define MENDED (8 * SECOND)

/*
 * The sum over the range is taken within a budget that fills up by a twentieth of the time that passes (denial.c): the
 * next call waits until what this one may have taken of it is there again.
 */
static void used_up_by(struct wish *wish, pid_t pid, uint16_t top_remote)
{
	int64_t pause = SHARE * (now_ns() - wish->at);

	usleep((useconds_t)((pause < MENDED ? pause : MENDED) / 1000));
	wish->holder = pid;
	wish->holders = 2;
	wish->range = (struct wish_range){ .low = 47000, .high = 47001, .held = 2, .sockets = 2, .top = pid,
					   .top_sockets = 2, .remote_port = top_remote };
}

static void exhausted_tcp(struct work *w, enum fam f)
{
	int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), s = wish_sock(f, IPPROTO_TCP);
	struct wish_held held = { .fam = f, .proto = IPPROTO_TCP, .to = PORT, .sockets = 2 };
	pid_t keeper = wish_keep(w, &held);
	struct wish *wish;

	wish = wish_denied(w, "connect", wish_join(s, f, PORT), EADDRNOTAVAIL, "exhausted", f, IPPROTO_TCP);
	wish->remote_port = wish->holder_remote = PORT;
	used_up_by(wish, keeper, PORT);
	wish_apply(w, "net.ipv4.ip_local_port_range");
	wish_must(wish_join(wish_sock(f, IPPROTO_TCP), f, PORT), "connect in a wider range");
	wish_set("net/ipv4/ip_local_port_range", "47000 47001");
	usleep(300000);
	wish = wish_denied(w, "bind", wish_own(s, f, AT_LOOP, 0), EADDRINUSE, "exhausted", f, IPPROTO_TCP);
	used_up_by(wish, keeper, PORT);
	wish->says[0] = "IP_BIND_ADDRESS_NO_PORT";
	wish = wish_denied(w, "listen", listen(s, 1) < 0 ? -errno : 0, EADDRINUSE, "exhausted", f, IPPROTO_TCP);
	used_up_by(wish, keeper, PORT);
	for (int i = 0; i < 3; i++)
		reset(accept4(server, NULL, NULL, SOCK_CLOEXEC));
	wish_let_go(keeper);
	close(s);
	close(server);
}

/* sendmsg(), and sendmmsg() of one. */
static int tell_by(int fd, enum fam f, uint16_t port, bool many)
{
	struct sockaddr_storage to;
	char x = 0;
	struct iovec byte = { .iov_base = &x, .iov_len = 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_name = &to, .msg_iov = &byte, .msg_iovlen = 1 } };

	m.msg_hdr.msg_namelen = addr_make(&to, f, AT_LOOP, port);
	return (many ? sendmmsg(fd, &m, 1, 0) : (int)sendmsg(fd, &m.msg_hdr, 0)) < 0 ? -errno : 0;
}

static void exhausted_udp(struct work *w, enum fam f)
{
	struct wish_held held = { .fam = f, .proto = IPPROTO_UDP, .to = PORT, .sockets = 2 };
	pid_t keeper = wish_keep(w, &held);
	int s = wish_sock(f, IPPROTO_UDP);
	struct wish *wish;

	wish = wish_denied(w, "bind", wish_own(s, f, AT_ANY, 0), EADDRINUSE, "exhausted", f, IPPROTO_UDP);
	used_up_by(wish, keeper, PORT);
	wish = wish_denied(w, "connect", wish_join(s, f, PORT), EAGAIN, "exhausted", f, IPPROTO_UDP);
	wish->remote_port = PORT;
	used_up_by(wish, keeper, PORT);
	for (int i = 0; i < 3; i++) {
		int result = i ? tell_by(s, f, PORT, i > 1) : wish_tell(s, f, PORT);

		wish = wish_denied(w, "send", result, EAGAIN, "exhausted", f, IPPROTO_UDP);
		wish->remote_port = PORT;
		used_up_by(wish, keeper, PORT);
	}
	close(s);
	wish_let_go(keeper);
}

static void exhausted(struct work *w)
{
	work_sysctl(w, "net/ipv4/ip_local_port_range", "47000 47001");
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		exhausted_tcp(w, fams[i]);
		exhausted_udp(w, fams[i]);
	}
}

/* ---- other reasons, and none ---- */

static int bind_text(int fd, const char *v4, const char *v6, enum fam f, uint16_t port)
{
	struct sockaddr_storage at;
	socklen_t len = addr_make(&at, f, AT_LOOP, port);

	if (f == FAM_V4)
		inet_pton(AF_INET, v4, &((struct sockaddr_in *)&at)->sin_addr);
	else
		inet_pton(AF_INET6, v6, &((struct sockaddr_in6 *)&at)->sin6_addr);
	return bind(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
}

static void as_nobody(struct work *w, void *arg)
{
	enum fam f = *(enum fam *)arg;
	struct wish *wish;

	if (setresuid(65534, 65534, 65534) < 0)
		work_die("setresuid");
	wish = wish_denied(w, "bind", wish_own(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, 80), EACCES, "permission", f, IPPROTO_TCP);
	wish->port = 80;
	wish->says[0] = "sysctl -w net.ipv4.ip_unprivileged_port_start=80";
	wish = wish_denied(w, "bind", wish_own(wish_sock(f, IPPROTO_UDP), f, AT_LOOP, 1023), EACCES, "permission", f, IPPROTO_UDP);
	wish->port = 1023;
}

static void helped_nobody(struct work *w, void *arg)
{
	enum fam f = *(enum fam *)arg;

	(void)w;
	if (setresuid(65534, 65534, 65534) < 0)
		work_die("setresuid");
	wish_must(wish_own(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, 80), "bind as nobody");
}

static void other_reasons(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int s = wish_sock(f, IPPROTO_TCP), one = 1;
		struct wish *wish = wish_denied(w, "bind", bind_text(s, "192.0.2.1", "2001:db8::1", f, 0), EADDRNOTAVAIL,
					   "not_local", f, IPPROTO_TCP);

		strcpy(wish->addr, f == FAM_V4 ? "192.0.2.1" : "2001:db8::1");
		wish->says[0] = f == FAM_V4 ? "IP_FREEBIND" : "IPV6_FREEBIND";
		if (setsockopt(s, f == FAM_V4 ? SOL_IP : SOL_IPV6, f == FAM_V4 ? IP_FREEBIND : IPV6_FREEBIND, &one,
			       sizeof(one)) < 0)
			work_die("FREEBIND");
		wish_must(bind_text(s, "192.0.2.1", "2001:db8::1", f, 0), "bind with FREEBIND");
		wish = wish_denied(w, "bind", wish_own(s, f, AT_LOOP, PORT), EINVAL, "other", f, IPPROTO_TCP);
		wish->port = PORT;
		close(s);
		work_reap(w, work_spawn(w, as_nobody, &f));
		wish_must(sysctl_set("net/ipv4/ip_unprivileged_port_start", "80"), "sysctl");
		work_reap(w, work_spawn(w, helped_nobody, &f));
		wish_must(sysctl_set("net/ipv4/ip_unprivileged_port_start", "1024"), "sysctl");
	}
}

/* EAGAIN and ECONNRESET of sockets that have their port. */
static void full_and_reset(enum fam f)
{
	int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), s = wish_sock(f, IPPROTO_TCP), accepted;
	static char bytes[65536];

	wish_must(wish_join(s, f, PORT), "connect");
	accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	while (send(s, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	if (errno != EAGAIN)
		work_die("send");
	reset(accepted);
	close(s);
	s = wish_sock(f, IPPROTO_TCP);
	fcntl(s, F_SETFL, O_NONBLOCK);
	if (wish_join(s, f, PORT) != -EINPROGRESS)
		work_die("non-blocking connect");
	reset(accept4(server, NULL, NULL, SOCK_CLOEXEC));
	if (wish_join(s, f, PORT) != -ECONNRESET)
		work_die("not reset");
	close(s);
	close(server);
}

/* A connect() that does not wait, and succeeds. */
static void later(enum fam f)
{
	int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), s = wish_sock(f, IPPROTO_TCP);
	struct pollfd p = { .fd = s, .events = POLLOUT };

	fcntl(s, F_SETFL, O_NONBLOCK);
	if (wish_join(s, f, PORT) != -EINPROGRESS || poll(&p, 1, 5000) != 1 || p.revents != POLLOUT)
		work_die("not connected later");
	close(s);
	close(server);
}

static void no_denials(struct work *w)
{
	(void)w;
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int s = wish_sock(f, IPPROTO_TCP);

		if (wish_join(s, f, PORT) != -ECONNREFUSED)
			work_die("not refused");
		close(s);
		later(f);
		full_and_reset(f);
	}
}

/* The holders pass no filter that the caller passes. */
static void from_behind(struct work *w)
{
	static const int protos[] = { IPPROTO_TCP, IPPROTO_UDP };

	work_name("asker");
	for (size_t i = 0; i < 2 * COUNT_OF(fams); i++) {
		enum fam f = fams[i & 1];
		int proto = protos[i / 2];
		struct wish_held held = { .fam = f, .proto = proto, .port = PORT, .listens = proto == IPPROTO_TCP };
		pid_t keeper = wish_keep(w, &held);

		wish_conflict(w, wish_sock(f, proto), f, proto, AT_ANY, PORT, held.listens ? "listen" : "bound")->holder =
			keeper;
		wish_let_go(keeper);
	}
}

static void used_up_behind(struct work *w)
{
	work_name("asker");
	work_sysctl(w, "net/ipv4/ip_local_port_range", "47000 47001");
	for (size_t i = 0; i < COUNT_OF(fams); i++) {
		enum fam f = fams[i];
		int server = wish_listener(wish_sock(f, IPPROTO_TCP), f, AT_LOOP, PORT), s = wish_sock(f, IPPROTO_TCP);
		struct wish_held held = { .fam = f, .proto = IPPROTO_TCP, .to = PORT, .sockets = 2 };
		pid_t keeper = wish_keep(w, &held);
		struct wish *wish;

		wish = wish_denied(w, "connect", wish_join(s, f, PORT), EADDRNOTAVAIL, "exhausted", f, IPPROTO_TCP);
		wish->remote_port = PORT;
		used_up_by(wish, 0, 0);
		wish->holders = wish->range.top_sockets = 0;
		reset(accept4(server, NULL, NULL, SOCK_CLOEXEC));
		reset(accept4(server, NULL, NULL, SOCK_CLOEXEC));
		wish_let_go(keeper);
		close(s);
		close(server);
	}
}

#define STORM 3000

/* A program that tries again and again: each is told, and the tracer keeps up. */
static void storm(struct work *w)
{
	int one = wish_listener(wish_sock(FAM_V4, IPPROTO_TCP), FAM_V4, AT_LOOP, PORT), s = wish_sock(FAM_V4, IPPROTO_TCP);

	((struct wishes *)w->arg)->hasty = true;
	for (int i = 0; i < STORM; i++) {
		struct wish *wish = wish_denied(w, "bind", wish_own(s, FAM_V4, AT_LOOP, PORT), EADDRINUSE, "conflict", FAM_V4,
					   IPPROTO_TCP);

		wish->port = PORT;
		wish->holder = getpid();
	}
	usleep(300000);
	close(s);
	close(one);
}

static void conflicts_with_listeners(void **state)
{
	(void)state;
	wish_check(listeners, NULL, false);
}

static void conflicts_with_bound_sockets(void **state)
{
	(void)state;
	wish_check(bound_only, NULL, false);
}

static void conflicts_of_datagrams(void **state)
{
	(void)state;
	wish_check(datagrams, NULL, false);
}

static void conflicts_of_dual_stacks(void **state)
{
	(void)state;
	wish_check(dual_stack, NULL, false);
}

static void conflicts_with_connections(void **state)
{
	(void)state;
	wish_check(outgoing_connections, NULL, false);
}

static void conflicts_of_connections(void **state)
{
	(void)state;
	wish_check(four_tuple, NULL, false);
}

static void conflicts_with_time_waits(void **state)
{
	(void)state;
	wish_check(time_waits, NULL, false);
}

static void conflicts_with_accepted(void **state)
{
	(void)state;
	wish_check(left_by_a_listener, NULL, false);
}

static void range_used_up(void **state)
{
	(void)state;
	wish_check(exhausted, NULL, false);
}

static void not_local_and_not_permitted(void **state)
{
	(void)state;
	wish_check(other_reasons, NULL, false);
}

static void failures_that_are_none(void **state)
{
	(void)state;
	wish_check(no_denials, NULL, false);
}

static void tried_again_and_again(void **state)
{
	(void)state;
	wish_check(storm, NULL, false);
}

static void left_out(void **state)
{
	(void)state;
	wish_check(listeners, ARGS("--no-denied"), true);
}

/* A filter keeps the holder from the tracer, and not from the answer. */
static void behind_a_filter(void **state)
{
	(void)state;
	wish_check(listeners, ARGS("--port", "7401", "--denied"), false);
	wish_check(listeners, ARGS("--port", "7402"), true);
	wish_check(from_behind, ARGS("--comm", "asker", "--denied"), false);
	wish_check(used_up_behind, ARGS("--comm", "asker", "--denied"), false);
}

static const struct plain list[] = {
	{ "denied/conflicts_with_listeners", conflicts_with_listeners },
	{ "denied/conflicts_with_bound_sockets", conflicts_with_bound_sockets },
	{ "denied/conflicts_of_datagrams", conflicts_of_datagrams },
	{ "denied/conflicts_of_dual_stacks", conflicts_of_dual_stacks },
	{ "denied/conflicts_with_connections", conflicts_with_connections },
	{ "denied/conflicts_of_connections", conflicts_of_connections },
	{ "denied/conflicts_with_time_waits", conflicts_with_time_waits },
	{ "denied/conflicts_with_accepted", conflicts_with_accepted },
	{ "denied/range_used_up", range_used_up },
	{ "denied/not_local_and_not_permitted", not_local_and_not_permitted },
	{ "denied/failures_that_are_none", failures_that_are_none },
	{ "denied/tried_again_and_again", tried_again_and_again },
	{ "denied/left_out", left_out },
	{ "denied/behind_a_filter", behind_a_filter },
};

const struct plain_list denied_tests = { list, COUNT_OF(list) };
