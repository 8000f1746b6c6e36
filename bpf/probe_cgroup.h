/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The base rung in process context: cgroup and sockops hooks. They run in the
 * task that makes the system call, and are never skipped. Each lets everything
 * pass: a cgroup program answers 1, sockops -1.
 */
#ifndef PORTWAKE_BPF_PROBE_CGROUP_H
#define PORTWAKE_BPF_PROBE_CGROUP_H

#include "bpf/release.h"

/* ---- bind: the number asked for before, the number taken after ---- */

static __always_inline int on_bind(struct bpf_sock_addr *ctx)
{
	struct sock *sk = plain_sock(ctx->sk);

	note_asked(sk, bpf_ntohs((__u16)ctx->user_port));
	enter_call(sk);
	return 1;
}

SEC("?cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	return on_bind(ctx);
}

SEC("?cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	return on_bind(ctx);
}

static __always_inline int on_post_bind(struct bpf_sock *ctx)
{
	struct sock *sk = plain_sock(ctx);
	struct look look;

	leave_call();
	if (ctx->type == SOCK_RAW)
		return 1;
	read_common(&look.common, sk);
	look_on(&look, sk, ctx->protocol, PW_HOW_BIND);
	take_asked(&look);
	if (in_canary(look.sk) || wanted_owner(current_task()))
		observe(ctx, &look);
	else if (wanted_socket(&look))
		/* Of nobody's interest, and so that no later hook takes it for new. */
		note_said(bpf_get_socket_cookie(ctx), look.port);
	return 1;
}

SEC("?cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	return on_post_bind(ctx);
}

SEC("?cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	return on_post_bind(ctx);
}

/* ---- connect of a datagram socket: arms the route look-up that follows the autobind ---- */

static __always_inline void remote_of(struct look *look, struct bpf_sock_addr *ctx, bool v6)
{
	look->family = v6 ? AF_INET6 : AF_INET;
	look->remote_port = bpf_ntohs((__u16)ctx->user_port);
	if (v6) {
		__u32 words[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };

		__builtin_memcpy(look->remote, words, 16);
	} else {
		__u32 word = ctx->user_ip4;

		__builtin_memcpy(look->remote, &word, 4);
	}
}

/* The remote end of an IPv6 socket that speaks to an IPv4 address, in the form that the socket itself would have. */
static __always_inline void map_remote(struct look *look)
{
	if (look->family != AF_INET || look->common.sk.skc_family != AF_INET6)
		return;
	__builtin_memcpy(look->remote + 12, look->remote, 4);
	__builtin_memset(look->remote, 0, 10);
	look->remote[10] = look->remote[11] = 0xff;
}

static __always_inline int on_connect(struct bpf_sock_addr *ctx, bool v6)
{
	struct sock *sk;
	struct look look;
	__u64 before;

	if (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP || ctx->type == SOCK_RAW)
		return 1;
	sk = plain_sock(ctx->sk);
	look_at(&look, sk, ctx->protocol, PW_HOW_CONNECT);
	remote_of(&look, ctx, v6);
	map_remote(&look);
	before = look.common.sk.skc_cookie.counter;
	if (look.port) {
		look.cookie = before;
		doubt_all(&look);
		observe(ctx, &look);
		return 1;
	}
	if (before)
		record_free(BPF_CORE_READ(sk, sk_err), before, 0, look.common.sk.skc_state, PW_F_LATE);
	if (!in_canary(sk) &&
	    (!wanted_proto(look.proto) || !wanted_netns(read_netns(sk)) || !wanted_owner(current_task())))
		return 1;
	look.cookie = bpf_get_socket_cookie(ctx);
	arm(&look);
	return 1;
}

SEC("?cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return on_connect(ctx, false);
}

SEC("?cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return on_connect(ctx, true);
}

/* ---- each unconnected datagram: the one hook at a data path's rate, so it notes what it said ---- */

static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, bool v6)
{
	__u16 port = ctx->sk->src_port;
	struct look look;
	struct sock *sk;

	/* A cast takes the typed pointer as it is. */
	if (settings.casts ? already_said(cast(struct sock, ctx->sk)->__sk_common.skc_cookie.counter, port) :
			     already_said(read_cookie(plain_sock(ctx->sk)), port))
		return 1;
	sk = plain_sock(ctx->sk);
	look_at(&look, sk, ctx->protocol, PW_HOW_SEND);
	if (!wanted_owner(current_task())) {
		/* As at post_bind: so that no later hook takes it for new. */
		if (wanted_socket(&look))
			note_said(bpf_get_socket_cookie(ctx), port);
		return 1;
	}
	doubt(&look);
	/* The connect() of a connected socket took its port, or what came before it: not this send. */
	if (look.common.sk.skc_state == TCP_ESTABLISHED && !(look.flags & (PW_F_UPDATE | PW_F_LATE))) {
		look.flags |= by_owner() ? PW_F_UPDATE : PW_F_LATE;
		look.stranger = !is_armed(sk, look.cookie);
	}
	remote_of(&look, ctx, v6);
	map_remote(&look);
	observe(ctx, &look);
	return 1;
}

SEC("?cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, false);
}

SEC("?cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, true);
}

/* ---- TCP connect and listen ---- */

SEC("?sockops")
int sockops(struct bpf_sock_ops *ctx)
{
	struct look look;
	__u32 op = ctx->op;
	struct bpf_sock *sk;

	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_TCP_LISTEN_CB)
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;
	look_at(&look, plain_sock(sk), IPPROTO_TCP,
		op == BPF_SOCK_OPS_TCP_LISTEN_CB ? PW_HOW_LISTEN : PW_HOW_CONNECT);
	doubt(&look);
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB && is_deferred(look.sk))
		look.flags |= PW_F_LATE;
	observe(ctx, &look);
	return 1;
}

/* ---- the last descriptor is gone ---- */

SEC("?cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	struct sock *sk = plain_sock(ctx);
	__u16 proto = ctx->protocol;

	if (ctx->type == SOCK_RAW)
		return 1;
	if (proto == IPPROTO_MPTCP) {
		sk = port_holder(sk, proto);
		proto = IPPROTO_TCP;
	}
	if (sk && (wanted_proto(proto) || in_canary(sk)))
		observe_release(ctx, sk, proto, ctx->protocol);
	return 1;
}

#endif
