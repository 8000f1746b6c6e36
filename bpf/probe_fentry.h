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
#include "bpf/denied.h"

/*
 * The kernel skips a tracing program that is already at work on the CPU, which
 * on a preemptible kernel may be for the length of a time slice
 * (__bpf_prog_enter_recur()). So whatever tells something stands here twice:
 * NAME, and NAME_again, which is attached before it and therefore runs after it
 * (bpf_trampoline_link_prog() puts the newest first). The first to run leaves a
 * mark for the second, which then has nothing to do: by the object that the
 * function is about, and by thread, because a softirq may come in between.
 */
enum twin {
	TWIN_ENTER,
	TWIN_ENTER_CONNECT,
	TWIN_BOUND,
	TWIN_CONNECTED,
	TWIN_PORT,
	TWIN_DATAGRAM,
	TWIN_DATAGRAM_PORT,
	TWIN_RELEASE,
	TWIN_PUT_PORT,
	TWIN_LISTEN_STOP,
	TWIN_TIME_WAIT,
	TWIN_TIME_WAIT_END,
	TWIN_ABORT,
};

static __always_inline __u64 *twin_mark(enum twin twin, const void *object)
{
	__u32 slot = slot_of((__u64)object, TWIN_SLOTS);
	struct twins *twins = bpf_map_lookup_elem(&twin_marks, &slot);

	return twins ? &twins->ran[twin] : NULL;
}

static __always_inline __u64 twin_word(const void *object)
{
	return (__u64)object << 16 ^ (__u32)bpf_get_current_pid_tgid();
}

/* The first copy runs. */
static __always_inline void runs_first(enum twin twin, const void *object)
{
	__u64 *mark = twin_mark(twin, object);

	if (mark)
		*mark = twin_word(object);
}

/* Has the first copy run? Else this one stands in for it, and a skipped run is no loss. */
static __always_inline bool has_run(enum twin twin, const void *object)
{
	__u64 *mark = twin_mark(twin, object);

	if (mark && *mark == twin_word(object)) {
		*mark = 0;
		return true;
	}
	count_lost(PW_LOST_COVERED);
	return false;
}

/* Two programs of one place and one body, which is run once. object: what the function is about. */
#define TWICE(section, name, twin, object, body, ...)                           \
	SEC(section) int BPF_PROG(name, __VA_ARGS__)                            \
	{                                                                       \
		runs_first(twin, object);                                       \
		return body;                                                    \
	}                                                                       \
	SEC(section) int BPF_PROG(name##_again, __VA_ARGS__)                    \
	{                                                                       \
		return has_run(twin, object) ? 0 : body;                        \
	}

/* ---- bind, kernel_bind ---- */

TWICE("?fentry/inet_bind", fentry_bind4, TWIN_ENTER, socket, enter_call(socket->sk), struct socket *socket)
TWICE("?fentry/inet6_bind", fentry_bind6, TWIN_ENTER, socket, enter_call(socket->sk), struct socket *socket)

static __always_inline int on_bound(struct socket *socket, int error)
{
	struct sock *sk = socket->sk;
	struct look look = {};

	leave_call();
	if (error || !sk || sk->sk_type == SOCK_RAW)
		return 0;
	look_at(&look, sk, sk->sk_protocol, PW_HOW_BIND);
	/* Of nobody's interest, and so that no later hook takes it for new. */
	if (!in_canary(sk) && !wanted_owner(current_task()) && wanted_socket(sk, look.proto, look.port))
		note_said(bpf_get_socket_cookie(sk), look.port);
	observe(sk, &look);
	return 0;
}

TWICE("?fexit/inet_bind", fexit_bind4, TWIN_BOUND, socket, on_bound(socket, error),
      struct socket *socket, void *addr, int length, int error)
TWICE("?fexit/inet6_bind", fexit_bind6, TWIN_BOUND, socket, on_bound(socket, error),
      struct socket *socket, void *addr, int length, int error)

/* ---- TCP connect, and listen: get_port is called for both kinds of listen, with a port and without ---- */

static __always_inline int on_connected(struct sock *sk, int error)
{
	struct look look = {};

	if (error)
		return 0;
	look_at(&look, sk, IPPROTO_TCP, PW_HOW_CONNECT);
	doubt(&look);
	observe(sk, &look);
	return 0;
}

TWICE("?fexit/inet_hash_connect", fexit_connect4, TWIN_CONNECTED, sk, on_connected(sk, error),
      void *row, struct sock *sk, int error)
TWICE("?fexit/inet6_hash_connect", fexit_connect6, TWIN_CONNECTED, sk, on_connected(sk, error),
      void *row, struct sock *sk, int error)

/* mptcp_bind() goes past inet_bind(), and comes here for its first subflow, before the lock tells what was asked for. */
static __always_inline void on_subflow_bound(struct sock *sk, __u16 asked)
{
	struct look look = {};

	look_at(&look, sk, IPPROTO_TCP, PW_HOW_BIND);
	look.flags = asked ? PW_F_LOCKED : PW_F_EPHEMERAL;
	observe(sk, &look);
}

static __always_inline int on_port(struct sock *sk, __u16 port, int error)
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
	doubt(&look);
	observe(sk, &look);
	return 0;
}

TWICE("?fexit/inet_csk_get_port", fexit_listen, TWIN_PORT, sk, on_port(sk, port, error),
      struct sock *sk, unsigned short port, int error)

/* ---- UDP connect and disconnect, seen when it is done: the address is the one that the route gave ---- */

static __always_inline int enter_datagram_connect(struct sock *sk)
{
	struct look look = { .sk = sk, .port = read_held(sk, IPPROTO_UDP) };

	arm(&look);
	return enter_call(sk);
}

TWICE("?fentry/inet_dgram_connect", fentry_dgram_connect, TWIN_ENTER_CONNECT, socket,
      enter_datagram_connect(socket->sk), struct socket *socket)

static __always_inline int on_datagram_connected(struct socket *socket)
{
	struct sock *sk = socket->sk;
	struct look entered = {}, look = {};
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
		record_free(sk, read_cookie(sk), 0, TCP_ESTABLISHED, 0);
	return 0;
}

TWICE("?fexit/inet_dgram_connect", fexit_dgram_connect, TWIN_DATAGRAM, socket, on_datagram_connected(socket),
      struct socket *socket)

/* ---- a UDP send that takes a port: get_port outside of bind and connect ---- */

static __always_inline int on_datagram_port(struct sock *sk, int error)
{
	struct look look = {};

	if (error || in_call(sk))
		return 0;
	look_at(&look, sk, sk->sk_protocol, PW_HOW_SEND);
	observe(sk, &look);
	return 0;
}

TWICE("?fexit/udp_v4_get_port", fexit_udp_port4, TWIN_DATAGRAM_PORT, sk, on_datagram_port(sk, error),
      struct sock *sk, unsigned short port, int error)
TWICE("?fexit/udp_v6_get_port", fexit_udp_port6, TWIN_DATAGRAM_PORT, sk, on_datagram_port(sk, error),
      struct sock *sk, unsigned short port, int error)

/* ---- the last descriptor is gone; kernel sockets end here as well ---- */

static __always_inline int on_release(struct socket *socket)
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
	if (sk && (wanted_proto(proto) || in_canary(sk)))
		observe_release(owner, sk, proto, owner->sk_protocol);
	return 0;
}

TWICE("?fentry/inet_release", fentry_release, TWIN_RELEASE, socket, on_release(socket), struct socket *socket)

/* ---- TCP gives its port back, or hands it over to a TIME_WAIT and then gives it back ---- */

TWICE("?fentry/inet_put_port", fentry_put_port, TWIN_PUT_PORT, sk, observe_put_port(sk), struct sock *sk)
TWICE("?fentry/inet_csk_listen_stop", fentry_listen_stop, TWIN_LISTEN_STOP, sk, observe_listen_stop(sk),
      struct sock *sk)
TWICE("?fentry/inet_twsk_hashdance", fentry_time_wait_old, TWIN_TIME_WAIT, tw, observe_hashdance(tw, sk),
      struct inet_timewait_sock *tw, struct sock *sk)
/* Its name since "net: tcp/dccp: prepare for tw_timer un-pinning" (Linux 6.11). */
TWICE("?fentry/inet_twsk_hashdance_schedule", fentry_time_wait, TWIN_TIME_WAIT, tw, observe_hashdance(tw, sk),
      struct inet_timewait_sock *tw, struct sock *sk)
TWICE("?fentry/tcp_twsk_destructor", fentry_time_wait_end, TWIN_TIME_WAIT_END, sk, observe_time_wait_end(sk),
      struct sock *sk)

/* ---- SOCK_DESTROY of a datagram socket, when it is done ---- */

static __always_inline int on_aborted(struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie && !read_held(sk, IPPROTO_UDP))
		record_free(sk, cookie, 0, TCP_ESTABLISHED, 0);
	return 0;
}

TWICE("?fexit/udp_abort", fexit_udp_abort, TWIN_ABORT, sk, on_aborted(sk), struct sock *sk)

/*
 * ---- denied a port ----
 *
 * Once each: a run that is skipped is counted as a loss. A second copy would
 * cover it, at the price of attaching nine more at each start.
 */
#define ONCE(section, name, body, ...)               \
	SEC(section) int BPF_PROG(name, __VA_ARGS__) \
	{                                            \
		return body;                         \
	}

/* An MPTCP socket binds its subflow here on older kernels: mptcp_bind() tells of it. */
static __always_inline int on_bind_denied(struct socket *socket, void *addr, int length, int error)
{
	struct sock *sk = socket->sk;

	if (error < 0 && sk && !is_mptcp_subflow(sk, sk->sk_protocol))
		denied_bind(plain_sock(sk), false, addr, length, error);
	return 0;
}

ONCE("?fexit/inet_bind", fexit_denied_bind4, on_bind_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int error)
ONCE("?fexit/inet6_bind", fexit_denied_bind6, on_bind_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int error)
ONCE("?fexit/mptcp_bind", fexit_denied_bind_mptcp, on_bind_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int error)

static __always_inline int on_connect_denied(struct sock *sk, int error)
{
	if (error == -EADDRNOTAVAIL)
		denied_way(plain_sock(sk), PW_HOW_CONNECT, false, NULL, 0, error);
	return 0;
}

ONCE("?fexit/inet_hash_connect", fexit_denied_connect4, on_connect_denied(sk, error),
      void *row, struct sock *sk, int error)
ONCE("?fexit/inet6_hash_connect", fexit_denied_connect6, on_connect_denied(sk, error),
      void *row, struct sock *sk, int error)

static __always_inline int on_datagram_connect_denied(struct socket *socket, void *addr, int length, int error)
{
	struct sock *sk = socket->sk;

	if (error == -EAGAIN && sk)
		denied_way(plain_sock(sk), PW_HOW_CONNECT, false, addr, length, error);
	return 0;
}

ONCE("?fexit/inet_dgram_connect", fexit_denied_dgram,
      on_datagram_connect_denied(socket, addr, length, error),
      struct socket *socket, void *addr, int length, int flags, int error)

/* Its own error is 1: inet_autobind() makes EAGAIN of it. Where to, the message tells, which is not at hand here. */
static __always_inline int on_send_denied(struct sock *sk, unsigned short port, int error)
{
	if (error && !port && !in_call(sk))
		denied_way(plain_sock(sk), PW_HOW_SEND, false, NULL, 0, -EAGAIN);
	return 0;
}

ONCE("?fexit/udp_v4_get_port", fexit_denied_port4, on_send_denied(sk, port, error),
      struct sock *sk, unsigned short port, int error)
ONCE("?fexit/udp_v6_get_port", fexit_denied_port6, on_send_denied(sk, port, error),
      struct sock *sk, unsigned short port, int error)

/* Until Linux 6.0 its error is 1, and listen() says EADDRINUSE. */
static __always_inline int on_listen_denied(struct sock *sk, int error)
{
	if (error && sk->__sk_common.skc_state == TCP_LISTEN)
		denied_listen(plain_sock(sk), error < 0 ? error : -EADDRINUSE);
	return 0;
}

ONCE("?fexit/inet_csk_get_port", fexit_denied_listen, on_listen_denied(sk, error),
      struct sock *sk, unsigned short port, int error)

#endif
