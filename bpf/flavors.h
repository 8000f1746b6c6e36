/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Constants of the kernel that BTF does not carry, and struct flavours for
 * fields that moved between kernels, each with the kernel commit that moved it.
 */
#ifndef PORTWAKE_BPF_FLAVORS_H
#define PORTWAKE_BPF_FLAVORS_H

#include "vmlinux.h"

#define AF_UNSPEC 0
#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_UDPLITE 136
#define IPPROTO_MPTCP 262
#define EAGAIN 11
#define EADDRINUSE 98
#define EADDRNOTAVAIL 99
#define ECONNABORTED 103
#define PF_KTHREAD 0x00200000		/* include/linux/sched.h */
#define SOCK_DEAD 0			/* include/net/sock.h: bit of sk_flags */
#define S_IFMT 0170000			/* include/uapi/linux/stat.h */
#define S_IFSOCK 0140000
#define SOCK_BINDADDR_LOCK 4		/* include/net/sock.h: the address was asked for */
#define SOCK_BINDPORT_LOCK 8		/* include/net/sock.h: the port was asked for by number */

#ifdef __TARGET_ARCH_arm64
/* arch/arm64/include/uapi/asm/ptrace.h: what a kprobe program has as its context there. */
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
};
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Until Linux 6.17; then "ns: rename to __ns_ref" (6.18). */
struct ns_common___count {
	struct {
		struct {
			int counter;
		} refs;
	} count;
};

struct ns_common___ref {
	struct {
		struct {
			int counter;
		} refs;
	} __ns_ref;
};

/* What tells a network namespace from other memory, and the way to one's own. */
struct ns_common___ops {
	void *ops;
};

struct nsproxy___net {
	struct net *net_ns;
};

struct task_struct___ns {
	struct nsproxy___net *nsproxy;
};

/* Linux 5.18 to 6.0 alone: "tcp: allocate tcp_death_row outside of struct netns_ipv4", and back again in 6.1. */
struct inet_timewait_death_row___pointed {
	struct inet_hashinfo *hashinfo;
};

struct netns_ipv4___pointer {
	struct inet_timewait_death_row___pointed *tcp_death_row;
};

/* Until Linux 6.5; then "inet: move inet->defer_connect to inet->inet_flags" (6.6), bit INET_FLAGS_DEFER_CONNECT. */
struct inet_sock___bit {
	__u8 defer_connect: 1;
};

struct inet_sock___flags {
	unsigned long inet_flags;
};

#define INET_FLAGS_DEFER_CONNECT 19

#pragma clang attribute pop

#endif
