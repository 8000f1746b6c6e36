/* SPDX-License-Identifier: GPL-2.0 */
/* Kernel objects to plain values. Nothing here writes a map or the ring. */
#ifndef PORTWAKE_BPF_READ_H
#define PORTWAKE_BPF_READ_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "bpf/event.h"
#include "bpf/flavors.h"

/*
 * A kernel address, or a context's typed pointer, as one whose fields are loads that fault to 0, not calls: free, for the
 * verifier makes a move of it. Since Linux 6.2; before, the calls stand.
 */
extern const volatile struct pw_settings settings;	/* maps.h */
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

#define cast(type, pointer) ((type *)bpf_rdonly_cast((pointer), bpf_core_type_id_kernel(type)))

/* One field: a load, or a call where there is no such cast; the verifier leaves only one of them. */
#define field(type, pointer, at) (settings.casts ? cast(type, pointer)->at : BPF_CORE_READ((type *)(pointer), at))
#define field_bits(type, pointer, at)                                        \
	(settings.casts ? BPF_CORE_READ_BITFIELD(cast(type, pointer), at) : \
			  BPF_CORE_READ_BITFIELD_PROBED((type *)(pointer), at))

/*
 * A context's typed pointer as a plain number: the verifier refuses offsets on PTR_TO_SOCKET. The difference of two typed
 * pointers is a plain number, and the task is to be had in both ways; reading the pointer from the stack takes longer.
 */
static __always_inline struct sock *plain_sock(void *typed)
{
	__u64 address = (__u64)typed, task = (__u64)bpf_get_current_task_btf();

	asm volatile("%0 -= %1" : "+r"(address) : "r"(task));
	return (struct sock *)(address + bpf_get_current_task());
}

/*
 * Room for the kernel's own struct sock_common up to and with its cookie, 96 bytes where IPv6 is built in: that of
 * vmlinux.h has the fields that are used, and is smaller.
 */
union common {
	struct sock_common sk;
	__u8 room[104];
};

/* The first of a socket that matters, in one read instead of one for each field; only the address family's own addresses. */
static __always_inline void read_common(union common *to, const struct sock *sk)
{
	__u32 size = bpf_core_field_offset(struct sock_common, skc_cookie) + sizeof(__u64);
	const struct sock_common *from;

	if (size > sizeof(*to)) {
		__builtin_memset(to, 0, sizeof(*to));
		return;
	}
	if (!settings.casts) {
		bpf_probe_read_kernel(to, size, sk);
		return;
	}
	from = cast(struct sock_common, sk);
	to->sk.skc_daddr = from->skc_daddr;
	to->sk.skc_rcv_saddr = from->skc_rcv_saddr;
	to->sk.skc_dport = from->skc_dport;
	to->sk.skc_num = from->skc_num;
	to->sk.skc_family = from->skc_family;
	to->sk.skc_state = from->skc_state;
	to->sk.skc_net.net = from->skc_net.net;
	to->sk.skc_cookie.counter = from->skc_cookie.counter;
	if (from->skc_family != AF_INET6)
		return;
	for (int i = 0; i < 4; i++) {
		to->sk.skc_v6_daddr.in6_u.u6_addr32[i] = from->skc_v6_daddr.in6_u.u6_addr32[i];
		to->sk.skc_v6_rcv_saddr.in6_u.u6_addr32[i] = from->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
	}
}

static __always_inline __u64 read_cookie(const struct sock *sk)
{
	return field(struct sock, sk, __sk_common.skc_cookie.counter);
}

static __always_inline __u32 read_netns(const struct sock *sk)
{
	const struct net *net = field(struct sock, sk, __sk_common.skc_net.net);

	return field(struct net, net, ns.inum);
}

static __always_inline bool read_locked(const struct sock *sk)
{
	return field_bits(struct sock, sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

static __always_inline bool read_addr_locked(const struct sock *sk)
{
	return field_bits(struct sock, sk, sk_userlocks) & SOCK_BINDADDR_LOCK;
}

static __always_inline __u64 read_bucket(const struct sock *sk)
{
	return (__u64)field(struct inet_connection_sock, sk, icsk_bind_hash);
}

/* The port that a socket holds now, 0 if none. For TCP inet_num is set early and inet_sport stays stale: the bucket decides. */
static __always_inline __u16 read_held(const struct sock *sk, __u16 proto)
{
	if (proto == IPPROTO_TCP && !read_bucket(sk))
		return 0;
	return field(struct sock, sk, __sk_common.skc_num);
}

/* enum pw_trait of what sockets and TIME_WAITs have in common. */
static __always_inline __u8 read_options(const struct sock_common *common)
{
	return (BPF_CORE_READ_BITFIELD_PROBED(common, skc_reuse) ? PW_T_REUSE : 0) |
	       (BPF_CORE_READ_BITFIELD_PROBED(common, skc_reuseport) ? PW_T_REUSEPORT : 0) |
	       (BPF_CORE_READ_BITFIELD_PROBED(common, skc_ipv6only) ? PW_T_V6ONLY : 0);
}

/* The port it had last, also when it was given back. */
static __always_inline __u16 read_stale_port(const struct sock *sk)
{
	return bpf_ntohs(field(struct inet_sock, sk, inet_sport));
}

/* The subflow that holds the port of an MPTCP socket; others are themselves. */
static __always_inline struct sock *port_holder(struct sock *sk, __u16 proto)
{
	if (proto != IPPROTO_MPTCP)
		return sk;
	if (!bpf_core_field_exists(struct mptcp_sock, first))
		return NULL;
	return BPF_CORE_READ((struct mptcp_sock *)sk, first);
}

static __always_inline bool is_mptcp_subflow(const struct sock *sk, __u16 proto)
{
	if (proto != IPPROTO_TCP || !bpf_core_field_exists(struct tcp_sock, is_mptcp))
		return false;
	return field(struct tcp_sock, sk, is_mptcp);
}

/* enum pw_trait of a socket that is nobody's, whatever process is looked for. */
static __always_inline __u8 read_loose(const struct sock *sk, __u16 proto)
{
	/* The process has the outer socket. */
	if (is_mptcp_subflow(sk, proto))
		return 0;
	if (BPF_CORE_READ(sk, __sk_common.skc_flags) & 1UL << SOCK_DEAD)
		return PW_T_DEAD;
	return BPF_CORE_READ(sk, sk_socket) ? 0 : PW_T_UNFETCHED;
}

/* connect() with TCP_FASTOPEN_CONNECT took the port, and the SYN waits for the first write. */
static __always_inline bool is_deferred(const struct sock *sk)
{
	if (bpf_core_field_exists(struct inet_sock___bit, defer_connect))
		return BPF_CORE_READ_BITFIELD_PROBED((const struct inet_sock___bit *)sk, defer_connect);
	return (settings.casts ? ((struct inet_sock___flags *)cast(struct inet_sock, sk))->inet_flags :
				 BPF_CORE_READ((const struct inet_sock___flags *)sk, inet_flags)) &
	       (1UL << INET_FLAGS_DEFER_CONNECT);
}

/* References to a network namespace; 0 while it is taken down and after. */
static __always_inline int read_net_count(const struct net *net)
{
	const struct ns_common___ref *ref = (const void *)net + bpf_core_field_offset(struct net, ns);
	const struct ns_common___count *count = (const void *)ref;

	if (bpf_core_field_exists(count->count))
		return BPF_CORE_READ(count, count.refs.counter);
	if (bpf_core_field_exists(ref->__ns_ref))
		return BPF_CORE_READ(ref, __ns_ref.refs.counter);
	return 1;
}

/* The same word in each network namespace (netns_operations). */
static __always_inline __u64 read_netns_ops(const struct net *net)
{
	const struct ns_common___ops *ns = (const void *)net + bpf_core_field_offset(struct net, ns);

	return (__u64)BPF_CORE_READ(ns, ops);
}

/* Typed, so that its fields are loads, not calls; programs of every type have it since Linux 5.15. */
static __always_inline struct task_struct *current_task(void)
{
	return bpf_get_current_task_btf();
}

/* A pointer that is loaded through a typed one costs the verifier a search of the kernel's BTF by name: not through a cast. */
static __always_inline struct task_struct *leader_of(struct task_struct *task)
{
	return settings.casts ? cast(struct task_struct, task)->group_leader : task->group_leader;
}

/* Two loads instead of a call. */
static __always_inline void read_comm(char to[PW_COMM], const struct task_struct *task)
{
	((__u64 *)to)[0] = *(__u64 *)&task->comm[0];
	((__u64 *)to)[1] = *(__u64 *)&task->comm[8];
}

/* Tells a process and its exec from others of its pid. */
static __always_inline __u64 mark_of(__u64 start, __u32 exec_id)
{
	return start ^ (__u64)exec_id << 40;
}

static __always_inline __u64 process_mark(struct task_struct *task)
{
	return mark_of(leader_of(task)->start_boottime, task->self_exec_id);
}

static __always_inline bool is_kernel_thread(const struct task_struct *task)
{
	return task->flags & PF_KTHREAD;
}

/* A socket that no process owns. A first MPTCP subflow is the kernel's too, but acts for the process at hand. */
static __always_inline bool is_kernel_socket(const struct sock *sk, __u16 proto)
{
	if (!field_bits(struct sock, sk, sk_kern_sock))
		return false;
	return !is_mptcp_subflow(sk, proto);
}

#define CGROUP_DEPTH 24
static __always_inline bool in_cgroup(struct task_struct *task, __u64 wanted)
{
	struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);

	for (int i = 0; i < CGROUP_DEPTH && cgroup; i++) {
		if (BPF_CORE_READ(cgroup, kn, id) == wanted)
			return true;
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent, cgroup);
	}
	return false;
}

#define FAMILY_DEPTH 64
static __always_inline bool descends_from(struct task_struct *task, __u32 ancestor)
{
	task = BPF_CORE_READ(task, group_leader);
	for (int i = 0; i < FAMILY_DEPTH; i++) {
		struct task_struct *parent = BPF_CORE_READ(task, real_parent);

		if (!parent || parent == task)
			return false;
		parent = BPF_CORE_READ(parent, group_leader);
		if ((__u32)BPF_CORE_READ(parent, tgid) == ancestor)
			return true;
		task = parent;
	}
	return false;
}

static __always_inline struct inet_hashinfo *established_table(const struct net *net)
{
	const struct netns_ipv4___pointer *ipv4 = (const void *)net + bpf_core_field_offset(struct net, ipv4);

	if (bpf_core_field_exists(net->ipv4.tcp_death_row.hashinfo))
		return BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo);
	return BPF_CORE_READ(ipv4, tcp_death_row, hashinfo);
}

#define CHAIN_DEPTH 64

/*
 * The TIME_WAIT that took over from a socket, NULL if there is none.
 * tcp_time_wait() copies the cookie and links the timewait sock into the
 * established hash, under the socket's own hash, before tcp_done() gives up
 * the socket: so inside that tcp_done() it is found in the same chain.
 */
static __always_inline struct inet_timewait_sock *find_time_wait(const struct sock *sk, __u64 cookie)
{
	struct inet_hashinfo *table = established_table(BPF_CORE_READ(sk, __sk_common.skc_net.net));
	unsigned int slot = BPF_CORE_READ(sk, __sk_common.skc_hash) & BPF_CORE_READ(table, ehash_mask);
	struct inet_ehash_bucket *chain = BPF_CORE_READ(table, ehash);
	__u64 node = 0;

	chain = (void *)chain + (__u64)slot * bpf_core_type_size(struct inet_ehash_bucket);
	node = (__u64)BPF_CORE_READ(chain, chain.first);
	for (int i = 0; i < CHAIN_DEPTH && node && !(node & 1); i++) {
		struct sock_common *at =
			(void *)node - bpf_core_field_offset(struct sock_common, skc_nulls_node);

		if ((__u64)BPF_CORE_READ(at, skc_cookie.counter) == cookie &&
		    BPF_CORE_READ(at, skc_state) == TCP_TIME_WAIT)
			return (struct inet_timewait_sock *)at;
		node = (__u64)BPF_CORE_READ((struct hlist_nulls_node *)node, next);
	}
	return NULL;
}

#define PATH_DEPTH 32
#define hide_range(var) asm volatile("" : "+r"(var))

/* Up the path of an executable. */
struct climb {
	struct dentry *dentry;
	struct mount *mount;
	__u32 at;		/* in path[], which is filled from its end; PW_PATH: there is none, or it does not fit */
};

static __always_inline bool cross_mount(struct climb *climb, bool top)
{
	struct mount *mount = climb->mount, *above = BPF_CORE_READ(mount, mnt_parent);

	if (above == mount || !top)
		return false;
	climb->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
	climb->mount = above;
	return true;
}

/*
 * Puts one name before the path, or goes from a mount to the one above; false
 * at the end. A global function: the verifier looks at it once, not once a name.
 * path[] has PW_NAME_MAX bytes to spare: it adds the greatest offset to the greatest length.
 */
__attribute__((noinline)) int climb_one(struct climb *climb, struct pw_process *process)
{
	struct dentry *dentry, *root, *parent;
	struct mount *mount;
	__u32 length, at;

	if (!climb || !process)
		return false;
	dentry = climb->dentry;
	mount = climb->mount;
	root = BPF_CORE_READ(mount, mnt.mnt_root);
	parent = BPF_CORE_READ(dentry, d_parent);
	if (dentry == root || dentry == parent)
		return cross_mount(climb, dentry == root);
	at = climb->at;
	length = BPF_CORE_READ(dentry, d_name.len);
	climb->at = PW_PATH;
	if (length >= PW_NAME_MAX || length + 1 > at)
		return false;
	at -= length;
	hide_range(at);
	hide_range(length);
	at &= PW_PATH - 1;
	length &= PW_NAME_MAX - 1;
	bpf_probe_read_kernel(process->path + at, length, BPF_CORE_READ(dentry, d_name.name));
	at = (at - 1) & (PW_PATH - 1);
	hide_range(at);
	at &= PW_PATH - 1;
	process->path[at] = '/';
	climb->at = at;
	climb->dentry = parent;
	return true;
}

/*
 * Writes the executable's path, from its root, so that it ends at
 * path[PW_PATH - 1]; returns where it begins, PW_PATH if there is none or it
 * does not fit.
 */
static __always_inline __u32 read_exe(struct task_struct *task, struct pw_process *process)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct climb climb = {
		.dentry = BPF_CORE_READ(exe, f_path.dentry),
		.mount = (void *)BPF_CORE_READ(exe, f_path.mnt) - bpf_core_field_offset(struct mount, mnt),
		.at = PW_PATH - 1,
	};

	if (!exe)
		return PW_PATH;
	for (int i = 0; i < PATH_DEPTH; i++)
		if (!climb_one(&climb, process))
			return climb.at;
	return PW_PATH;
}

#endif
