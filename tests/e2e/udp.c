/* SPDX-License-Identifier: GPL-2.0 */
/* Every way a UDP or UDP-Lite socket takes and loses a local port. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define SOMEWHERE 7999	/* whether anybody listens there does not matter */

static void bind0(struct work *w)
{
	struct wsock s = ws_open(w), any = ws_open(w);

	ws_bind(&s, 0);
	ws_bind_any(&any, 0);
	ws_close(&s);
	ws_close(&any);
}

static void bind_fixed(struct work *w)
{
	struct wsock low = ws_open(w), inside = ws_open(w), taken = ws_open(w);

	ws_bind(&low, 7101);
	ws_bind(&inside, 45101);
	if (ws_try_bind(&taken, AT_LOOP, 7101) != -EADDRINUSE)
		work_die("a bind to a taken port");
	ws_close(&taken);
	ws_close(&low);
	ws_close(&inside);
}

static void sendto_unbound(struct work *w)
{
	struct wsock s = ws_open(w);

	for (int i = 0; i < 3; i++)
		ws_send(&s, SOMEWHERE);
	ws_close(&s);
}

static struct msghdr message(struct sockaddr_storage *to, socklen_t len, struct iovec *iov)
{
	return (struct msghdr){ .msg_name = to, .msg_namelen = len, .msg_iov = iov, .msg_iovlen = 1 };
}

static void sendmsg_unbound(struct work *w)
{
	struct wsock s = ws_open(w);
	struct sockaddr_storage to;
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr msg = message(&to, addr_make(&to, w->fam, AT_LOOP, SOMEWHERE), &iov);
	int64_t t0 = now_ns();

	if (sendmsg(s.fd, &msg, 0) != 1)
		work_die("sendmsg");
	ws_took(&s, HOW_SEND, true, t0, now_ns());
	ws_remote(&s, &to);
	ws_close(&s);
}

static void sendmmsg_unbound(struct work *w)
{
	struct wsock s = ws_open(w);
	struct sockaddr_storage to;
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr msg = message(&to, addr_make(&to, w->fam, AT_LOOP, SOMEWHERE), &iov);
	struct mmsghdr messages[3] = { { .msg_hdr = msg }, { .msg_hdr = msg }, { .msg_hdr = msg } };
	int64_t t0 = now_ns();

	if (sendmmsg(s.fd, messages, 3, 0) < 1)
		work_die("sendmmsg");
	ws_took(&s, HOW_SEND, true, t0, now_ns());
	ws_remote(&s, &to);
	ws_close(&s);
}

static void connect_unbound(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_connect_ok(&s, SOMEWHERE);
	if (send(s.fd, "x", 1, 0) < 0)
		work_die("send");
	/* Where the first goes unseen, the second must not pass for it: out of tolerance. */
	usleep(10000 * slow());
	ws_connect_ok(&s, SOMEWHERE - 1);
	ws_close(&s);
}

static void bound_connect(struct work *w)
{
	struct wsock chosen = ws_open(w), fixed = ws_open(w);

	ws_bind(&chosen, 0);
	ws_connect_ok(&chosen, SOMEWHERE);
	ws_bind_any(&fixed, 7102);
	ws_connect_ok(&fixed, SOMEWHERE);
	ws_close(&chosen);
	ws_close(&fixed);
}

static void bind_no_port(struct work *w)
{
	struct wsock to_connect = ws_open(w), to_send = ws_open(w);

	ws_option(&to_connect, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	ws_option(&to_send, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	ws_bind(&to_connect, 0);
	ws_bind(&to_send, 0);
	ws_connect_ok(&to_connect, SOMEWHERE);
	ws_send(&to_send, SOMEWHERE);
	ws_close(&to_connect);
	ws_close(&to_send);
}

static void disconnect_reconnect(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_connect_ok(&s, SOMEWHERE);
	usleep(20000);
	ws_disconnect(&s);
	usleep(20000);
	ws_connect_ok(&s, SOMEWHERE);
	usleep(20000);
	ws_disconnect(&s);
	ws_send(&s, SOMEWHERE);
	ws_close(&s);
}

/* What getaddrinfo() does to sort addresses, as fast as it goes. */
static void disconnect_at_once(struct work *w)
{
	struct wsock s = ws_open(w);

	for (int i = 0; i < 10; i++) {
		ws_connect_ok(&s, SOMEWHERE);
		ws_disconnect(&s);
	}
	ws_connect_ok(&s, SOMEWHERE);
	ws_close(&s);
}

/* Nothing is done to the socket any more: only a look of the tracer's own accord finds it portless. */
static void disconnect_and_wait(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_connect_ok(&s, SOMEWHERE);
	ws_disconnect(&s);
	usleep(2500000);
	ws_close(&s);
}

static void disconnect_bound(struct work *w)
{
	struct wsock chosen = ws_open(w), fixed = ws_open(w);

	ws_bind(&chosen, 0);
	ws_disconnect(&chosen);
	ws_close(&chosen);
	ws_bind(&fixed, 7103);
	ws_connect_ok(&fixed, SOMEWHERE);
	ws_disconnect(&fixed);
	ws_close(&fixed);
}

static void reuseport_group(struct work *w)
{
	struct wsock s[8];

	for (int i = 0; i < 8; i++) {
		s[i] = ws_open(w);
		ws_option(&s[i], SOL_SOCKET, SO_REUSEPORT, 1);
		ws_bind(&s[i], 7104);
	}
	for (int i = 0; i < 8; i++)
		ws_close(&s[(i * 5) % 8]);
}

static void destroyed(struct work *w)
{
	struct wsock s = ws_open(w), fixed = ws_open(w);
	int64_t t0;

	ws_connect_ok(&s, SOMEWHERE);
	ws_bind(&fixed, 7105);
	t0 = now_ns();
	ws_destroy(&s);
	ws_lost(&s, CAUSE_RESET, "ECONNABORTED", t0, now_ns())->late = true;
	ws_destroy(&fixed);
	ws_close(&s);
	ws_close(&fixed);
}

/* The port is taken before the failure is found, and stays. */
static void send_fails(struct work *w)
{
	struct wsock s = ws_open(w);
	int64_t t0 = now_ns();

	if (send(s.fd, "x", 1, 0) >= 0 || errno != EDESTADDRREQ)
		work_die("send to nowhere");
	if (!ws_port(&s))
		work_skip(w, "this kernel takes no port for it");
	ws_took(&s, HOW_SEND | HOW_CONNECT | HOW_BIND, true, t0, now_ns());
	ws_unseen(&s);
	usleep(20000);
	ws_close(&s);
}

static void connect_fails(struct work *w)
{
	struct wsock s = ws_open(w);
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, FAM_V4, AT_LOOP, SOMEWHERE);

	((struct sockaddr_in *)&to)->sin_addr.s_addr = htonl(0xc0000201);
	if (ws_connect_to(&s, &to, len) != -ENETUNREACH)
		work_die("there is a way out of the namespace");
	if (!ws_port(&s))
		work_die("connect kept no port");
	usleep(20000);
	ws_close(&s);
}

/* A wildcard IPv6 socket stays one, whatever it sends to. */
static void six_sends_to_four(struct work *w)
{
	struct wsock s = ws_open_as(w, FAM_V6, w->proto);

	s.fam = FAM_MAPPED;
	ws_send(&s, SOMEWHERE);
	s.fam = FAM_V6;
	ws_send(&s, SOMEWHERE);
	ws_close(&s);
}

static void exhausted(struct work *w)
{
	struct wsock s = ws_open(w), more = ws_open(w);

	work_sysctl(w, "net/ipv4/ip_local_port_range", "46100 46100");
	ws_send(&s, SOMEWHERE);
	if (ws_port(&s) != 46100)
		work_die("not the one port there is");
	for (int i = 0; i < 2; i++) {
		struct sockaddr_storage to;
		socklen_t len = addr_make(&to, w->fam, AT_LOOP, SOMEWHERE);

		if (connect(more.fd, (struct sockaddr *)&to, len) == 0 || errno != EAGAIN)
			work_die("connect found a port");
	}
	ws_close(&s);
	ws_connect_ok(&more, SOMEWHERE);
	ws_close(&more);
}

static void one_port_again_and_again(struct work *w)
{
	for (int i = 0; i < 20; i++) {
		struct wsock s = ws_open(w);

		ws_bind(&s, 7106);
		ws_close(&s);
	}
}

#define BOTH (VARIANT_UDP | VARIANT_UDPLITE)

static const struct scenario list[] = {
	{ "bind0", bind0, FAMS_ALL, BOTH },
	{ "bind_fixed", bind_fixed, FAMS_ALL, BOTH },
	{ "sendto_unbound", sendto_unbound, FAMS_ALL, BOTH },
	{ "sendmsg_unbound", sendmsg_unbound, FAMS_ALL, BOTH },
	{ "sendmmsg_unbound", sendmmsg_unbound, FAMS_ALL, BOTH },
	{ "connect_unbound", connect_unbound, FAMS_ALL, BOTH },
	{ "bound_connect", bound_connect, FAMS_ALL, BOTH },
	{ "bind_no_port", bind_no_port, FAMS_ALL, BOTH },
	{ "disconnect_reconnect", disconnect_reconnect, FAMS_ALL, VARIANT_UDP },
	{ "disconnect_at_once", disconnect_at_once, FAMS_ALL, VARIANT_UDP },
	{ "disconnect_and_wait", disconnect_and_wait, FAMS_V4, VARIANT_UDP },
	{ "disconnect_bound", disconnect_bound, FAMS_ALL, BOTH },
	{ "reuseport_group", reuseport_group, FAMS_ALL, BOTH },
	{ "destroyed", destroyed, FAMS_ALL, BOTH },
	{ "send_fails", send_fails, FAMS_ALL, BOTH },
	{ "connect_fails", connect_fails, FAMS_V4, BOTH },
	{ "six_sends_to_four", six_sends_to_four, 1U << FAM_V6, BOTH },
	{ "exhausted", exhausted, FAMS_ALL, BOTH },
	{ "one_port_again_and_again", one_port_again_and_again, FAMS_ALL, BOTH },
};

const struct scenario_list udp_scenarios = { list, COUNT_OF(list) };
