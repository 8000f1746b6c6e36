/* SPDX-License-Identifier: GPL-2.0 */
/* A socket as a probe sees it: read in one go. */
#ifndef PORTWAKE_BPF_LOOK_H
#define PORTWAKE_BPF_LOOK_H

#include "bpf/read.h"

/* What a probe looks at, and what it knows better than the socket. */
struct look {
	struct sock *sk;
	__u64 cookie;
	__u64 now;		/* 0: the clock is read for the record */
	__u8 remote[16] __attribute__((aligned(8)));
	__u16 proto;
	__u16 port;
	__u16 remote_port;
	__u8 how;
	__u8 flags;
	__u8 family;		/* of remote[]; 0: the socket's own */
	bool stranger;		/* the process at hand need not be the one that allocated */
	union common common;	/* as far as read_common() goes */
};

static __always_inline __u32 netns_of(const struct look *look)
{
	const struct net *net = look->common.sk.skc_net.net;

	return field(struct net, net, ns.inum);
}

/* Fills all of it but the common part, which is read, and whether the port was asked for. */
static __always_inline void look_on(struct look *look, struct sock *sk, __u16 proto, __u8 how)
{
	__builtin_memset(look, 0, __builtin_offsetof(struct look, common));
	look->sk = sk;
	look->proto = proto;
	look->how = how;
	look->port = proto == IPPROTO_TCP && !read_bucket(sk) ? 0 : look->common.sk.skc_num;
}

static __always_inline void look_at_lock(struct look *look)
{
	look->flags |= read_locked(look->sk) ? PW_F_LOCKED : PW_F_EPHEMERAL;
}

static __always_inline void look_at(struct look *look, struct sock *sk, __u16 proto, __u8 how)
{
	read_common(&look->common, sk);
	look_on(look, sk, proto, how);
	look_at_lock(look);
}

#endif
