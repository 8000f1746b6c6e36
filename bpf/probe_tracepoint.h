/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The base rung beyond process context: BTF tracepoints. They are skipped when
 * one nests in itself on a CPU (bpf_prog_info.recursion_misses, which user
 * space watches), so each leaves early when the state is not its own.
 */
#ifndef PORTWAKE_BPF_PROBE_TRACEPOINT_H
#define PORTWAKE_BPF_PROBE_TRACEPOINT_H

#include <bpf/bpf_tracing.h>
#include "bpf/release.h"

static __always_inline void on_state(const struct sock *sk, int left, int entered)
{
	__u64 cookie;

	if (entered != TCP_CLOSE)
		return;
	cookie = sk->__sk_common.skc_cookie.counter;
	if (cookie && sk->sk_protocol == IPPROTO_TCP)
		observe_tcp_close(sk, cookie, left, sk->sk_err);
}

TRACE("?tp_btf/inet_sock_set_state", set_state, on_state(sk, left, entered), NOTHING,
      const struct sock *sk, const int left, const int entered)

/* What was asked for by number, or never connected, is given back just after this. */
static __always_inline void on_destroy(struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;

	if (cookie && read_bucket(sk))
		record_free(sk->sk_err, cookie, sk->__sk_common.skc_num, sk->__sk_common.skc_state, 0);
}

TRACE("?tp_btf/tcp_destroy_sock", destroy_sock, on_destroy(sk), NOTHING, struct sock *sk)

/* udp_abort() (SOCK_DESTROY) reports its error just before it gives the port back. */
SEC("?tp_btf/inet_sk_error_report")
int BPF_PROG(error_report, const struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	__u16 proto = sk->sk_protocol;

	if (!cookie || (proto != IPPROTO_UDP && proto != IPPROTO_UDPLITE))
		return 0;
	if (sk->sk_err == ECONNABORTED && !read_locked(sk))
		record_free(sk->sk_err, cookie, read_held(sk, proto), sk->__sk_common.skc_state, 0);
	return 0;
}

SEC("?tp_btf/timer_expire_entry")
int BPF_PROG(timer_expire, struct timer_list *timer)
{
	struct inet_timewait_sock *tw;
	__u64 cookie;

	if ((__u64)timer->function != settings.tw_handler)
		return 0;
	tw = (void *)timer - bpf_core_field_offset(struct inet_timewait_sock, tw_timer);
	cookie = BPF_CORE_READ(tw, __tw_common.skc_cookie.counter);
	if (cookie)
		record_tw(PW_TW_END, tw, cookie, 0, PW_ENDED_EXPIRED);
	return 0;
}

/* ---- route look-ups, for the datagram socket that this task is connecting ---- */

static __always_inline int on_route(void)
{
	struct armed *slot = armed_here();
	struct look look;

	if (!slot)
		return 0;
	look_at_armed(&look, slot);
	if (!look.port) {
		keep_on(slot);
		return 0;
	}
	give_up(slot);
	if (admit(&look, current_task()))
		record_sock(&look, !(look.flags & PW_F_KERNEL) && !look.stranger);
	return 0;
}

SEC("?tp_btf/fib_table_lookup")
int BPF_PROG(route4)
{
	return on_route();
}

SEC("?tp_btf/fib6_table_lookup")
int BPF_PROG(route6)
{
	return on_route();
}

#endif
