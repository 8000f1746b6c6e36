/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rung below fentry, for what ends a lifetime and for UDP connect. A kprobe
 * program cannot give a socket its cookie, so what begins a lifetime without a
 * cgroup hook at its side has no rung here.
 */
#ifndef PORTWAKE_BPF_PROBE_KPROBE_H
#define PORTWAKE_BPF_PROBE_KPROBE_H

#include <bpf/bpf_tracing.h>
#include "bpf/release.h"

SEC("?kprobe/inet_put_port")
int BPF_KPROBE(kprobe_put_port, struct sock *sk)
{
	return observe_put_port(sk);
}

SEC("?kprobe/inet_csk_listen_stop")
int BPF_KPROBE(kprobe_listen_stop, struct sock *sk)
{
	return observe_listen_stop(sk);
}

SEC("?kprobe/inet_twsk_hashdance")
int BPF_KPROBE(kprobe_time_wait_old, struct inet_timewait_sock *tw, struct sock *sk)
{
	return observe_hashdance(tw, sk);
}

SEC("?kprobe/inet_twsk_hashdance_schedule")
int BPF_KPROBE(kprobe_time_wait, struct inet_timewait_sock *tw, struct sock *sk)
{
	return observe_hashdance(tw, sk);
}

SEC("?kprobe/tcp_twsk_destructor")
int BPF_KPROBE(kprobe_time_wait_end, struct sock *sk)
{
	return observe_time_wait_end(sk);
}

/* connect4 and connect6 give the socket its cookie in between, and note where to. */
SEC("?kprobe/inet_dgram_connect")
int BPF_KPROBE(kprobe_dgram_connect, struct socket *socket)
{
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct look look = { .sk = sk, .port = read_held(sk, IPPROTO_UDP) };

	arm(&look);
	return 0;
}

/* connect() of a datagram socket is done: it holds a port, or it was a disconnect. */
static __always_inline void observe_datagram(struct look *look, bool had_port)
{
	const struct sock *sk = look->sk;
	__u64 cookie = read_cookie(sk);

	if (!cookie || BPF_CORE_READ(sk, sk_type) == SOCK_RAW)
		return;
	look_at(look, look->sk, BPF_CORE_READ(sk, sk_protocol), PW_HOW_CONNECT);
	look->cookie = cookie;
	if (had_port)
		doubt_all(look);
	if (!look->port)
		record_free(BPF_CORE_READ(sk, sk_err), look->cookie, 0, TCP_ESTABLISHED, 0);
	else if (admit(look, current_task()))
		record_sock(look, !(look->flags & PW_F_KERNEL) && !look->stranger);
}

SEC("?kretprobe/inet_dgram_connect")
int BPF_KRETPROBE(kretprobe_dgram_connect)
{
	struct look look;
	bool had_port;

	if (take_armed(&look, &had_port))
		observe_datagram(&look, had_port);
	return 0;
}

#endif
