/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The best rung: fentry and fexit of the functions that take and give back
 * ports. Off the data path: nothing runs for a datagram on a socket that has
 * its port, for a route look-up, for a timer. What a cgroup program tells as
 * well at no cost to a data path (bind, close) is left to it, for it is never
 * skipped. Each function here is called through a pointer or from another
 * translation unit, so no compiler should inline it: docs/hooks.md.
 */
#ifndef PORTWAKE_BPF_PROBE_FENTRY_H
#define PORTWAKE_BPF_PROBE_FENTRY_H

#include <bpf/bpf_tracing.h>
#include "bpf/denied.h"
#include "bpf/release.h"

/*
 * ---- denied a port ----
 *
 * Told by the programs that tell of success: a second program on one function
 * has the kernel build its trampoline anew, which takes it a grace period.
 */

/* An MPTCP socket binds its subflow here on older kernels: mptcp_bind() tells of it. */
static __always_inline void on_bind_denied(struct socket *socket, void *addr, int length, int error)
{
	struct sock *sk = socket->sk;

	if (error < 0 && settings.denied & PW_DENIALS_BIND && sk && !is_mptcp_subflow(sk, sk->sk_protocol))
		denied_bind(plain_sock(sk), false, addr, length, error);
}

static __always_inline void on_connect_denied(struct sock *sk, int error)
{
	if (error == -EADDRNOTAVAIL && settings.denied & PW_DENIALS_CONNECT)
		denied_way(plain_sock(sk), PW_HOW_CONNECT, false, NULL, 0, error);
}

static __always_inline void on_datagram_connect_denied(struct socket *socket, void *addr, int length, int error)
{
	struct sock *sk = socket->sk;

	if (error == -EAGAIN && settings.denied & PW_DENIALS_CONNECT && sk)
		denied_way(plain_sock(sk), PW_HOW_CONNECT, false, addr, length, error);
}

/* Its own error is 1: inet_autobind() makes EAGAIN of it. Where to, the message tells, which is not at hand here. */
static __always_inline void on_send_denied(struct sock *sk, unsigned short port, int error)
{
	if (error && settings.denied & PW_DENIALS_CONNECT && !port && !in_call(sk))
		denied_way(plain_sock(sk), PW_HOW_SEND, false, NULL, 0, -EAGAIN);
}

/* Until Linux 6.0 its error is 1, and listen() says EADDRINUSE. */
static __always_inline void on_listen_denied(struct sock *sk, int error)
{
	if (error && settings.denied & PW_DENIALS_CONNECT && sk->__sk_common.skc_state == TCP_LISTEN)
		denied_listen(plain_sock(sk), error < 0 ? error : -EADDRINUSE);
}

/* ---- bind, kernel_bind: cgroup programs, which are never skipped, tell of the ports; these of a call that fails ---- */

TRACE("?fexit/inet_bind", fexit_bind4, leave_call(), on_bind_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int error)
TRACE("?fexit/inet6_bind", fexit_bind6, leave_call(), on_bind_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int error)
TRACE("?fexit/mptcp_bind", fexit_denied_bind_mptcp, NOTHING, on_bind_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int error)

/* ---- TCP connect, and listen: get_port is called for both kinds of listen, with a port and without ---- */

static __always_inline int on_connected(struct sock *sk, int error)
{
	struct look look;

	if (error)
		return 0;
	look_at(&look, sk, IPPROTO_TCP, PW_HOW_CONNECT);
	doubt(&look);
	observe(sk, &look);
	return 0;
}

TRACE("?fexit/inet_hash_connect", fexit_connect4, on_connected(sk, error), on_connect_denied(sk, error),
      void *row, struct sock *sk, int error)
TRACE("?fexit/inet6_hash_connect", fexit_connect6, on_connected(sk, error), on_connect_denied(sk, error),
      void *row, struct sock *sk, int error)

/*
 * mptcp_bind() goes past inet_bind(), and comes here for its first subflow, before the lock tells what was asked for. One
 * observe() for both: a second record would not fit on the stack.
 */
static __always_inline int on_port(struct sock *sk, __u16 asked, int error)
{
	bool listens = sk->__sk_common.skc_state == TCP_LISTEN;
	struct look look;

	if (error || sk->sk_protocol != IPPROTO_TCP || (!listens && !is_mptcp_subflow(sk, IPPROTO_TCP)))
		return 0;
	look_at(&look, sk, IPPROTO_TCP, listens ? PW_HOW_LISTEN : PW_HOW_BIND);
	if (listens)
		doubt(&look);
	else
		look.flags = asked ? PW_F_LOCKED : PW_F_EPHEMERAL;
	observe(sk, &look);
	return 0;
}

TRACE("?fexit/inet_csk_get_port", fexit_listen, on_port(sk, port, error), on_listen_denied(sk, error),
      struct sock *sk, unsigned short port, int error)

/* ---- UDP connect and disconnect, seen when it is done: the address is the one that the route gave ---- */

static __always_inline int enter_datagram_connect(struct sock *sk)
{
	struct look look = { .sk = sk, .port = read_held(sk, IPPROTO_UDP) };

	arm(&look);
	return enter_call(sk);
}

TRACE("?fentry/inet_dgram_connect", fentry_dgram_connect, enter_datagram_connect(socket->sk), NOTHING,
      struct socket *socket)

static __always_inline int on_datagram_connected(struct socket *socket)
{
	struct sock *sk = socket->sk;
	struct look entered, look;
	bool had_port = false;

	leave_call();
	if (!take_armed(&entered, &had_port) || entered.sk != sk)
		had_port = false;
	if (!sk || sk->sk_type == SOCK_RAW)
		return 0;
	look_at(&look, sk, sk->sk_protocol, PW_HOW_CONNECT);
	look.cookie = read_cookie(sk);
	if (look.port && had_port)
		doubt_all(&look);
	if (look.port)
		observe(sk, &look);
	else if (read_cookie(sk))
		record_free(BPF_CORE_READ(sk, sk_err), read_cookie(sk), 0, TCP_ESTABLISHED, 0);
	return 0;
}

TRACE("?fexit/inet_dgram_connect", fexit_dgram_connect, on_datagram_connected(socket),
      on_datagram_connect_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int flags, int error)

/* ---- a UDP send that takes a port: get_port outside of bind and connect ---- */

static __always_inline int on_datagram_port(struct sock *sk, int error)
{
	struct look look;

	if (error || in_call(sk))
		return 0;
	look_at(&look, sk, sk->sk_protocol, PW_HOW_SEND);
	observe(sk, &look);
	return 0;
}

TRACE("?fexit/udp_v4_get_port", fexit_udp_port4, on_datagram_port(sk, error), on_send_denied(sk, port, error),
      struct sock *sk, unsigned short port, int error)
TRACE("?fexit/udp_v6_get_port", fexit_udp_port6, on_datagram_port(sk, error), on_send_denied(sk, port, error),
      struct sock *sk, unsigned short port, int error)

/* ---- the end of a kernel socket, which no cgroup program is told of ---- */

static __always_inline void on_release(struct socket *socket)
{
	struct sock *sk = socket->sk;

	if (!sk || sk->sk_type == SOCK_RAW || !is_kernel_socket(sk, sk->sk_protocol) || !wanted_proto(sk->sk_protocol))
		return;
	observe_release(sk, sk, sk->sk_protocol, sk->sk_protocol);
}

TRACE("?fentry/inet_release", fentry_release, on_release(socket), NOTHING, struct socket *socket)

/* ---- TCP gives its port back, or hands it over to a TIME_WAIT and then gives it back ---- */

TRACE("?fentry/inet_put_port", fentry_put_port, observe_put_port(sk), NOTHING, struct sock *sk)
TRACE("?fentry/inet_csk_listen_stop", fentry_listen_stop, observe_listen_stop(sk), NOTHING,
      struct sock *sk)
TRACE("?fentry/inet_twsk_hashdance", fentry_time_wait_old, observe_hashdance(tw, sk), NOTHING,
      struct inet_timewait_sock *tw, struct sock *sk)
/* Its name since "net: tcp/dccp: prepare for tw_timer un-pinning" (Linux 6.11). */
TRACE("?fentry/inet_twsk_hashdance_schedule", fentry_time_wait, observe_hashdance(tw, sk), NOTHING,
      struct inet_timewait_sock *tw, struct sock *sk)
TRACE("?fentry/tcp_twsk_destructor", fentry_time_wait_end, observe_time_wait_end(sk), NOTHING,
      struct sock *sk)

/* ---- SOCK_DESTROY of a datagram socket, when it is done ---- */

static __always_inline int on_aborted(struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie && !read_held(sk, IPPROTO_UDP))
		record_free(BPF_CORE_READ(sk, sk_err), cookie, 0, TCP_ESTABLISHED, 0);
	return 0;
}

TRACE("?fexit/udp_abort", fexit_udp_abort, on_aborted(sk), NOTHING, struct sock *sk)

#endif
