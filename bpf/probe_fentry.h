/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The best rung: fentry and fexit of the functions that take and give back
 * ports. Off the data path: nothing runs for a datagram on a socket that has
 * its port, for a route look-up, for a timer. Each function here is called
 * through a pointer or from another translation unit, so no compiler inlines
 * it: docs/hooks.md.
 */
#ifndef PORTWAKE_BPF_PROBE_FENTRY_H
#define PORTWAKE_BPF_PROBE_FENTRY_H

#include <bpf/bpf_tracing.h>
#include "bpf/record.h"

/* ---- bind, kernel_bind ---- */

SEC("?fentry/inet_bind")
int BPF_PROG(fentry_bind4, struct socket *socket)
{
	enter_call();
	return 0;
}

SEC("?fentry/inet6_bind")
int BPF_PROG(fentry_bind6, struct socket *socket)
{
	enter_call();
	return 0;
}

static __always_inline int on_bound(struct socket *socket, int error)
{
	struct sock *sk = socket->sk;
	struct look look = {};

	leave_call();
	if (error || !sk || sk->sk_type == SOCK_RAW)
		return 0;
	look_at(&look, sk, sk->sk_protocol, PW_HOW_BIND);
	observe(sk, &look);
	return 0;
}

SEC("?fexit/inet_bind")
int BPF_PROG(fexit_bind4, struct socket *socket, void *addr, int length, int error)
{
	return on_bound(socket, error);
}

SEC("?fexit/inet6_bind")
int BPF_PROG(fexit_bind6, struct socket *socket, void *addr, int length, int error)
{
	return on_bound(socket, error);
}

/* ---- TCP connect, and listen: get_port is called for both kinds of listen, with a port and without ---- */

static __always_inline int on_connected(struct sock *sk, int error)
{
	struct look look = {};

	if (error)
		return 0;
	look_at(&look, sk, IPPROTO_TCP, PW_HOW_CONNECT);
	observe(sk, &look);
	return 0;
}

SEC("?fexit/inet_hash_connect")
int BPF_PROG(fexit_connect4, void *row, struct sock *sk, int error)
{
	return on_connected(sk, error);
}

SEC("?fexit/inet6_hash_connect")
int BPF_PROG(fexit_connect6, void *row, struct sock *sk, int error)
{
	return on_connected(sk, error);
}

/* mptcp_bind() goes past inet_bind(), and comes here for its first subflow, before the lock tells what was asked for. */
static __always_inline void on_subflow_bound(struct sock *sk, __u16 asked)
{
	struct look look = {};

	look_at(&look, sk, IPPROTO_TCP, PW_HOW_BIND);
	look.flags = asked ? PW_F_LOCKED : PW_F_EPHEMERAL;
	observe(sk, &look);
}

SEC("?fexit/inet_csk_get_port")
int BPF_PROG(fexit_listen, struct sock *sk, unsigned short port, int error)
{
	struct look look = {};

	if (error || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (sk->__sk_common.skc_state != TCP_LISTEN) {
		if (is_mptcp_subflow(sk, IPPROTO_TCP))
			on_subflow_bound(sk, port);
		return 0;
	}
	look_at(&look, sk, IPPROTO_TCP, PW_HOW_LISTEN);
	observe(sk, &look);
	return 0;
}

/* ---- UDP connect and disconnect, seen when it is done: the address is the one that the route gave ---- */

SEC("?fentry/inet_dgram_connect")
int BPF_PROG(fentry_dgram_connect, struct socket *socket)
{
	enter_call();
	return 0;
}

SEC("?fexit/inet_dgram_connect")
int BPF_PROG(fexit_dgram_connect, struct socket *socket, void *addr, int length, int flags, int error)
{
	struct sock *sk = socket->sk;
	struct look look = {};

	leave_call();
	if (!sk || sk->sk_type == SOCK_RAW)
		return 0;
	look_at(&look, sk, sk->sk_protocol, PW_HOW_CONNECT);
	if (look.port)
		observe(sk, &look);
	else if (read_cookie(sk))
		record_free(sk, read_cookie(sk), 0, TCP_ESTABLISHED, 0);
	return 0;
}

/* ---- a UDP send that takes a port: get_port outside of bind and connect ---- */

static __always_inline int on_datagram_port(struct sock *sk, int error)
{
	struct look look = {};

	if (error || in_call())
		return 0;
	look_at(&look, sk, sk->sk_protocol, PW_HOW_SEND);
	observe(sk, &look);
	return 0;
}

SEC("?fexit/udp_v4_get_port")
int BPF_PROG(fexit_udp_port4, struct sock *sk, unsigned short port, int error)
{
	return on_datagram_port(sk, error);
}

SEC("?fexit/udp_v6_get_port")
int BPF_PROG(fexit_udp_port6, struct sock *sk, unsigned short port, int error)
{
	return on_datagram_port(sk, error);
}

/* ---- the last descriptor is gone; kernel sockets end here as well ---- */

SEC("?fentry/inet_release")
int BPF_PROG(fentry_release, struct socket *socket)
{
	struct sock *owner = socket->sk;
	struct sock *sk = owner;
	__u16 proto;

	if (!owner || owner->sk_type == SOCK_RAW)
		return 0;
	proto = owner->sk_protocol;
	if (proto == IPPROTO_MPTCP) {
		sk = port_holder(sk, proto);
		proto = IPPROTO_TCP;
	}
	if (sk && wanted_proto(proto))
		observe_release(owner, sk, proto, owner->sk_protocol);
	return 0;
}

/* ---- TCP gives its port back, or hands it over to a TIME_WAIT and then gives it back ---- */

SEC("?fentry/inet_put_port")
int BPF_PROG(fentry_put_port, struct sock *sk)
{
	observe_put_port(sk);
	return 0;
}

SEC("?fentry/inet_csk_listen_stop")
int BPF_PROG(fentry_listen_stop, struct sock *sk)
{
	observe_listen_stop(sk);
	return 0;
}

SEC("?fentry/inet_twsk_hashdance")
int BPF_PROG(fentry_time_wait_old, struct inet_timewait_sock *tw, struct sock *sk)
{
	observe_hashdance(tw, sk);
	return 0;
}

/* Its name since "net: tcp/dccp: prepare for tw_timer un-pinning" (Linux 6.11). */
SEC("?fentry/inet_twsk_hashdance_schedule")
int BPF_PROG(fentry_time_wait, struct inet_timewait_sock *tw, struct sock *sk)
{
	observe_hashdance(tw, sk);
	return 0;
}

SEC("?fentry/tcp_twsk_destructor")
int BPF_PROG(fentry_time_wait_end, struct sock *sk)
{
	observe_time_wait_end(sk);
	return 0;
}

/* ---- SOCK_DESTROY of a datagram socket, when it is done ---- */

SEC("?fexit/udp_abort")
int BPF_PROG(fexit_udp_abort, struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie && !read_held(sk, IPPROTO_UDP))
		record_free(sk, cookie, 0, TCP_ESTABLISHED, 0);
	return 0;
}

#endif
