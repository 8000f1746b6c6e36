/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two more places to look: the iterators of the snapshot, whose rows are
 * struct pw_row written to their file instead of the ring, and the look at
 * single objects by address.
 */
#ifndef PORTWAKE_BPF_PROBE_ITER_H
#define PORTWAKE_BPF_PROBE_ITER_H

#include <bpf/bpf_tracing.h>
#include "bpf/record.h"

/* __inet_hash_connect() makes its buckets with fastreuse -1, bind() and listen() with 0 or 1. */
static __always_inline void fill_bucket(struct pw_row *row, const struct inet_bind_bucket *bucket)
{
	row->bucket = (__u64)bucket;
	row->by_connect = BPF_CORE_READ(bucket, fastreuse) == -1;
}

static __always_inline void fill_traits(struct pw_row *row, const struct sock_common *common)
{
	row->traits = read_options(common);
	row->bound_dev = BPF_CORE_READ(common, skc_bound_dev_if);
}

/* False where the filters pass the socket by. */
static __always_inline bool fill_row(struct pw_row *row, struct look *look)
{
	const struct sock *sk = look->sk;

	row->sock.head.kind = PW_SOCK;
	row->sock.head.size = sizeof(*row);
	row->sock.head.time = bpf_ktime_get_boot_ns();
	if (!look->port || !wanted_socket(look))
		return false;
	look->flags |= PW_F_ROW;
	if (is_kernel_socket(sk, look->proto))
		look->flags |= PW_F_KERNEL;
	fill_socket(&row->sock, look);
	fill_traits(row, &sk->__sk_common);
	row->traits |= read_loose(sk, look->proto);
	row->sock_uid = BPF_CORE_READ(sk, sk_uid.val);
	if (look->proto == IPPROTO_TCP)
		fill_bucket(row, (struct inet_bind_bucket *)read_bucket(look->sk));
	return true;
}

SEC("?iter/task_file")
int iter_task_file(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct pw_row row = {};
	struct look look;
	struct socket *socket;
	struct sock *sk;
	__u16 proto;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk || BPF_CORE_READ(sk, sk_type) == SOCK_RAW)
		return 0;
	proto = BPF_CORE_READ(sk, sk_protocol);
	sk = port_holder(sk, proto);
	if (proto == IPPROTO_MPTCP)
		proto = IPPROTO_TCP;
	if (!sk || !wanted_proto(proto) || !wanted_port(BPF_CORE_READ(sk, __sk_common.skc_num)))
		return 0;
	look_at(&look, sk, proto, PW_HOW_NONE);
	if (!wanted_owner(task) || !fill_row(&row, &look))
		return 0;
	row.sock.head.cookie = read_cookie(sk);
	/* The outer socket of MPTCP has a cookie of its own; its subflow gets one from iter_tcp. */
	if (!row.sock.head.cookie && socket->sk == sk)
		row.sock.head.cookie = bpf_get_socket_cookie(socket->sk);
	fill_owner_of(&row.sock, task);
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

static __always_inline void fill_time_wait(struct pw_row *row, const struct inet_timewait_sock *tw)
{
	__u16 family = BPF_CORE_READ(tw, __tw_common.skc_family);

	row->sock.head.port = BPF_CORE_READ(tw, __tw_common.skc_num);
	row->sock.head.state = TCP_TIME_WAIT;
	row->sock.head.flags = PW_F_ROW | PW_F_EPHEMERAL_UNKNOWN;
	row->sock.sk = (__u64)tw;
	fill_bucket(row, BPF_CORE_READ(tw, tw_tb));
	fill_traits(row, &tw->__tw_common);
	row->sock.netns = BPF_CORE_READ(tw, __tw_common.skc_net.net, ns.inum);
	row->sock.proto = IPPROTO_TCP;
	row->sock.family = family;
	row->sock.remote_port = bpf_ntohs(BPF_CORE_READ(tw, __tw_common.skc_dport));
	if (family == AF_INET6) {
		bpf_probe_read_kernel(row->sock.v6.addr, 16, &tw->__tw_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(row->sock.v6.remote, 16, &tw->__tw_common.skc_v6_daddr);
	} else {
		bpf_probe_read_kernel(row->sock.v4.addr, 4, &tw->__tw_common.skc_rcv_saddr);
		bpf_probe_read_kernel(row->sock.v4.remote, 4, &tw->__tw_common.skc_daddr);
	}
}

SEC("?iter/tcp")
int iter_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct pw_row row = {};
	struct look look;
	__u8 state;

	if (!common)
		return 0;
	state = common->skc_state;
	if (state == TCP_NEW_SYN_RECV || !wanted_port(common->skc_num))
		return 0;
	if (by_owner()) {
		/* Nothing here has an owner; but what is behind an MPTCP socket needs its cookie to be told at all. */
		if (state != TCP_TIME_WAIT && is_mptcp_subflow((struct sock *)common, IPPROTO_TCP))
			bpf_get_socket_cookie(common);
		return 0;
	}
	if (state == TCP_TIME_WAIT) {
		row.sock.head.kind = PW_SOCK;
		row.sock.head.size = sizeof(row);
		row.sock.head.time = bpf_ktime_get_boot_ns();
		fill_time_wait(&row, (void *)common);
		if (!wanted_proto(IPPROTO_TCP) || !wanted_port(row.sock.head.port) || !wanted_netns(row.sock.netns))
			return 0;
	} else {
		look_at(&look, (struct sock *)common, IPPROTO_TCP, PW_HOW_NONE);
		if (!fill_row(&row, &look))
			return 0;
	}
	row.sock.head.cookie = bpf_get_socket_cookie(common);
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

SEC("?iter/udp")
int iter_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;
	struct pw_row row = {};
	struct look look;

	if (!udp || by_owner())
		return 0;
	look_at(&look, (struct sock *)udp, BPF_CORE_READ((struct sock *)udp, sk_protocol), PW_HOW_NONE);
	if (!fill_row(&row, &look))
		return 0;
	row.sock.head.cookie = bpf_get_socket_cookie(udp);
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

struct proto___name {
	char name[32];
} __attribute__((preserve_access_index));

struct sock_common___prot {
	struct proto___name *skc_prot;
} __attribute__((preserve_access_index));

/* Of every family that has ports: "TCP", "TCPv6", "UDP-Lite", "UDPLITEv6", "MPTCP"; kTLS and sockmap copy the name. */
static __always_inline bool is_socket(const struct sock *sk)
{
	const struct proto___name *prot = BPF_CORE_READ((const struct sock_common___prot *)sk, skc_prot);
	char name[4] = {};

	if (bpf_core_read(name, 3, &prot->name))
		return false;
	return (name[0] == 'T' && name[1] == 'C' && name[2] == 'P') || (name[0] == 'U' && name[1] == 'D' && name[2] == 'P') ||
	       (name[0] == 'M' && name[1] == 'P' && name[2] == 'T');
}

/*
 * Who asks has no right to read the kernel, and may lie about the address: what is told of is a socket, and that very one. A
 * cookie of 0 names none, and would be found wherever memory is clear.
 */
static __always_inline bool is_same(const struct pw_look *look)
{
	const struct sock *sk = (void *)look->sk;

	return look->cookie && is_socket(sk) && read_cookie(sk) == look->cookie;
}

static __always_inline bool still_held(const struct pw_look *look)
{
	const struct inet_timewait_sock *tw = (void *)look->sk;
	const struct sock *sk = (void *)look->sk;

	if (!is_same(look) || BPF_CORE_READ(sk, __sk_common.skc_num) != look->port)
		return false;
	if (look->tw)
		return BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_TIME_WAIT && BPF_CORE_READ(tw, tw_tb);
	return read_held(sk, look->proto) != 0;
}

/* For the same reason: else each byte behind an address could be guessed. */
static __always_inline bool is_netns(const struct net *net)
{
	return read_netns_ops(net) == netns_ops;
}

static __always_inline bool netns_gone(const struct pw_look *look)
{
	const struct sock *sk = (void *)look->sk;
	const struct net *net = (void *)look->net;

	if (net)
		return !is_netns(net) || BPF_CORE_READ(net, net_cookie) != look->net_cookie || !read_net_count(net);
	net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	return is_same(look) && is_netns(net) && !read_net_count(net);
}

static __always_inline void look_at_options(struct pw_look *look)
{
	const struct sock *sk = (void *)look->sk;

	look->traits = read_options(&sk->__sk_common);
	look->bound_dev = BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
	look->uid = look->tw ? 0 : BPF_CORE_READ(sk, sk_uid.val);
}

/*
 * Freed memory does not deceive it: an object gives its port back before it is
 * freed (inet_num, icsk_bind_hash, tw_tb are cleared), and another one at its
 * address has another cookie. A global function: verified once, not once a look.
 */
__attribute__((noinline)) int look_one(__u32 i)
{
	struct pw_look *look;

	if (i >= PW_LOOKS)
		return 0;
	look = &looks[i];
	look->held = still_held(look);
	look->netns_gone = !look->held && netns_gone(look);
	if (look->held)
		look_at_options(look);
	if (!look->held && !look->tw)
		forget_said(look->cookie);
	return 0;
}

SEC("?syscall")
int look_again(void *ctx)
{
	struct task_struct___ns *task = (void *)current_task();

	(void)ctx;
	tracer = bpf_get_current_pid_tgid() >> 32;
	netns_ops = read_netns_ops(BPF_CORE_READ(task, nsproxy, net_ns));
	for (__u32 i = 0; i < PW_LOOKS && i < look_count; i++)
		look_one(i);
	return 0;
}

#endif
