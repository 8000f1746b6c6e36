/* SPDX-License-Identifier: GPL-2.0 */
/* Whose sockets are wanted, and which. */
#ifndef PORTWAKE_BPF_FILTER_H
#define PORTWAKE_BPF_FILTER_H

#include "bpf/look.h"
#include "bpf/maps.h"

static __always_inline bool wanted_proto(__u16 proto)
{
	__u32 bit = proto == IPPROTO_TCP ? PW_PROTO_TCP : proto == IPPROTO_UDP ? PW_PROTO_UDP : PW_PROTO_UDPLITE;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != IPPROTO_UDPLITE)
		return false;
	return !settings.protos || (settings.protos & bit);
}

static __always_inline bool wanted_netns(__u32 netns)
{
	if (!settings.netns_count)
		return true;
	for (__u32 i = 0; i < PW_FILTER; i++)
		if (i < settings.netns_count && settings.netns[i] == netns)
			return true;
	return false;
}

static __always_inline bool wanted_port(__u16 port)
{
	return !settings.by_port || (wanted_ports[port >> 3] & (1 << (port & 7)));
}

static __always_inline bool wanted_socket(const struct look *look)
{
	__u16 family = look->common.sk.skc_family;

	if (family != AF_INET && family != AF_INET6)
		return false;
	return wanted_proto(look->proto) && wanted_port(look->port) &&
	       (!settings.netns_count || wanted_netns(netns_of(look)));
}

static __always_inline bool by_owner(void)
{
	return settings.pid_count || settings.comm[0] || settings.cgroup || settings.descendants;
}

static __always_inline bool wanted_pid(__u32 pid)
{
	if (!settings.pid_count)
		return true;
	for (__u32 i = 0; i < PW_FILTER; i++)
		if (i < settings.pid_count && settings.pid[i] == pid)
			return true;
	return false;
}

static __always_inline bool wanted_comm(struct task_struct *task)
{
	char comm[PW_COMM] = {};

	if (!settings.comm[0])
		return true;
	bpf_probe_read_kernel_str(comm, sizeof(comm), BPF_CORE_READ(task, group_leader, comm));
	for (int i = 0; i < PW_COMM; i++) {
		if (comm[i] != settings.comm[i])
			return false;
		if (!comm[i])
			break;
	}
	return true;
}

static __always_inline bool wanted_owner(struct task_struct *task)
{
	if (!by_owner())
		return true;
	if (!wanted_pid(BPF_CORE_READ(task, tgid)) || !wanted_comm(task))
		return false;
	if (settings.cgroup && !in_cgroup(task, settings.cgroup))
		return false;
	return !settings.descendants || descends_from(task, tracer);
}

/* Of the namespace that the start takes its proofs in: told, whatever the filters say. */
static __always_inline bool in_canary(const struct sock *sk)
{
	return canary && canary == read_netns(sk);
}

/* Is this socket's port wanted, and by whom it is held? Sets the flags that follow from it. */
static __always_inline bool admit(struct look *look, struct task_struct *task)
{
	if (in_canary(look->sk))
		return true;
	if (!wanted_socket(look))
		return false;
	if (is_kernel_socket(look->sk, look->proto)) {
		look->flags |= PW_F_KERNEL;
		return !by_owner();
	}
	if (wanted_owner(task))
		return true;
	look->flags |= PW_F_UPDATE;
	return look->common.sk.skc_cookie.counter != 0;
}

#endif
