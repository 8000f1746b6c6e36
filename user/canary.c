/* SPDX-License-Identifier: GPL-2.0 */
/* Ports taken and given back to see who tells of it. */
#include "user/canary.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

/* In a namespace of one's own any number is free. */
#define FIXED_PORT 1024
#define NO_PORT 9
#define FIN_TIMEOUT_S 1

/* ---- what must be told ---- */

void canary_expect(struct canary *canary, const struct proof *proof)
{
	if (canary->count < CANARY_PROOFS)
		canary->proofs[canary->count++] = *proof;
}

static bool proves(const struct proof *proof, const struct event *event)
{
	if (event->kind != proof->kind || event->cookie != proof->cookie)
		return false;
	if (proof->kind == PW_SOCK)
		return event->how == proof->how;
	return proof->kind != PW_FREE || proof->held == !!(event->flags & PW_F_HELD);
}

void canary_hear(struct canary *canary, const struct event *event)
{
	for (size_t i = 0; i < canary->count; i++)
		if (proves(&canary->proofs[i], event))
			canary->proofs[i].told = true;
}

const char *canary_missed(const struct canary *canary, const char *hook)
{
	for (size_t i = 0; i < canary->count; i++)
		if (!canary->proofs[i].told && !strcmp(canary->proofs[i].hook, hook))
			return canary->proofs[i].what;
	return NULL;
}

/* ---- its namespace ---- */

static int bring_up_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int own_netns(uint32_t *inode)
{
	struct stat st;

	if (stat("/proc/self/ns/net", &st) < 0)
		return -errno;
	*inode = (uint32_t)st.st_ino;
	return 0;
}

int canary_enter(struct canary *canary)
{
	_cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (home < 0 || unshare(CLONE_NEWNET) < 0)
		return -errno;
	canary->home = TAKE_FD(home);
	r = own_netns(&canary->netns);
	if (!r)
		r = bring_up_loopback();
	if (r)
		(void)!canary_leave(canary);
	return r;
}

int canary_leave(struct canary *canary)
{
	if (canary->home >= 0 && setns(canary->home, CLONE_NEWNET) < 0)
		return -errno;
	close_fd(&canary->home);
	return 0;
}

/* ---- what is done there ---- */

struct place {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t size;
};

static struct place loopback(int family, uint16_t port)
{
	struct place place = { .size = sizeof(place.v4) };

	place.any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		place.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		place.v4.sin_port = htons(port);
	} else {
		place.v6.sin6_addr = in6addr_loopback;
		place.v6.sin6_port = htons(port);
		place.size = sizeof(place.v6);
	}
	return place;
}

/* Asking for the cookie makes it: a hook that tells of an end does not depend on the one that told of the beginning. */
static int open_socket(int family, int type, uint64_t *cookie)
{
	_cleanup_close_ int fd = socket(family, type | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &size) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void expect_sock(struct canary *canary, const char *hook, const char *what, uint64_t cookie, enum pw_how how)
{
	canary_expect(canary, &(struct proof){ .hook = hook, .what = what, .cookie = cookie, .kind = PW_SOCK, .how = how });
}

static void expect(struct canary *canary, const char *hook, const char *what, uint64_t cookie, enum pw_kind kind)
{
	canary_expect(canary, &(struct proof){ .hook = hook, .what = what, .cookie = cookie, .kind = kind });
}

static int bind_fixed(struct canary *canary, int family, int type, uint64_t *cookie)
{
	struct place place = loopback(family, FIXED_PORT);
	_cleanup_close_ int fd = open_socket(family, type, cookie);

	if (fd < 0)
		return fd;
	if (bind(fd, &place.any, place.size) < 0)
		return -errno;
	expect_sock(canary, "bind", family == AF_INET ? "an IPv4 bind()" : "an IPv6 bind()", *cookie, PW_HOW_BIND);
	return TAKE_FD(fd);
}

/* The client leaves a TIME_WAIT (still waiting for a FIN), which a reset by the server ends. */
static int leave_time_wait(struct canary *canary, int listener, int client, uint64_t cookie)
{
	static const struct timeval patience = { .tv_sec = FIN_TIMEOUT_S };
	static const struct linger reset = { .l_onoff = 1 };
	static const int on = 1;
	_cleanup_close_ int owned = client;
	_cleanup_close_ int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char byte;

	if (server < 0 || setsockopt(server, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0 ||
	    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		return -errno;
	close_fd(&owned);
	expect(canary, "close", "a close()", cookie, PW_CLOSE);
	expect(canary, "tcp-release", "a hand-over to TIME_WAIT", cookie, PW_TW_START);
	expect(canary, "tcp-release", "a port given back", cookie, PW_FREE);
	/* The FIN is there; its ACK may be delayed by 40 ms, and the reset must not come before it (tcp_fin()). */
	if (recv(server, &byte, 1, 0) < 0 || setsockopt(server, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)) < 0)
		return -errno;
	expect(canary, "time-wait-end", "the end of a TIME_WAIT", cookie, PW_TW_END);
	return 0;
}

static int connect_tcp(struct canary *canary, int family, int listener)
{
	struct place place = loopback(family, FIXED_PORT);
	uint64_t cookie = 0;
	_cleanup_close_ int client = open_socket(family, SOCK_STREAM, &cookie);

	if (client < 0)
		return client;
	if (connect(client, &place.any, place.size) < 0)
		return -errno;
	expect_sock(canary, "tcp-open", family == AF_INET ? "an IPv4 connect()" : "an IPv6 connect()", cookie,
		    PW_HOW_CONNECT);
	return leave_time_wait(canary, listener, TAKE_FD(client), cookie);
}

static int listen_unbound(struct canary *canary, int family)
{
	uint64_t cookie = 0;
	_cleanup_close_ int fd = open_socket(family, SOCK_STREAM, &cookie);

	if (fd < 0)
		return fd;
	if (listen(fd, 1) < 0)
		return -errno;
	expect_sock(canary, "tcp-open", "a listen() that takes a port", cookie, PW_HOW_LISTEN);
	return 0;
}

static int sing_tcp(struct canary *canary, int family)
{
	uint64_t cookie = 0;
	_cleanup_close_ int listener = bind_fixed(canary, family, SOCK_STREAM, &cookie);
	int r;

	if (listener < 0)
		return listener;
	if (listen(listener, 1) < 0)
		return -errno;
	r = connect_tcp(canary, family, listener);
	canary_expect(canary, &(struct proof){ .hook = "tcp-release", .what = "a listener's end", .cookie = cookie,
					       .kind = PW_FREE, .held = true });
	return r ? r : listen_unbound(canary, family);
}

static int connect_udp(struct canary *canary, int family)
{
	struct place place = loopback(family, NO_PORT);
	uint64_t cookie = 0;
	_cleanup_close_ int fd = open_socket(family, SOCK_DGRAM, &cookie);

	if (fd < 0)
		return fd;
	if (connect(fd, &place.any, place.size) < 0)
		return -errno;
	expect_sock(canary, "udp-connect", "a UDP connect()", cookie, PW_HOW_CONNECT);
	if (connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)) < 0)
		return -errno;
	expect(canary, "udp-connect", "a UDP disconnect", cookie, PW_FREE);
	return 0;
}

static int sing_udp(struct canary *canary, int family)
{
	struct place place = loopback(family, NO_PORT);
	uint64_t bound = 0, cookie = 0;
	_cleanup_close_ int fixed = bind_fixed(canary, family, SOCK_DGRAM, &bound);
	_cleanup_close_ int fd = open_socket(family, SOCK_DGRAM, &cookie);

	if (fixed < 0 || fd < 0)
		return fixed < 0 ? fixed : fd;
	if (sendto(fd, "", 0, 0, &place.any, place.size) < 0)
		return -errno;
	expect_sock(canary, "udp-send", "a UDP send that takes a port", cookie, PW_HOW_SEND);
	return connect_udp(canary, family);
}

static bool has_ipv6(void)
{
	struct place place = loopback(AF_INET6, 0);
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && !bind(fd, &place.any, place.size);
}

int canary_sing(struct canary *canary)
{
	int r;

	canary->count = 0;
	r = sing_tcp(canary, AF_INET);
	if (!r)
		r = sing_udp(canary, AF_INET);
	if (r || !has_ipv6())
		return r;
	r = sing_tcp(canary, AF_INET6);
	return r ? r : sing_udp(canary, AF_INET6);
}
