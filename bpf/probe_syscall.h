/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The base rung of what is denied: the ends of the system calls that may be.
 * Their presence slows every system call of the machine, so each leaves at the
 * first compare: what is denied is rare. What the call asked for is read again
 * from its registers; io_uring and 32-bit calls do not come here.
 */
#ifndef PORTWAKE_BPF_PROBE_SYSCALL_H
#define PORTWAKE_BPF_PROBE_SYSCALL_H

#include <bpf/bpf_tracing.h>
#include "bpf/denied.h"

/* 0 would keep the event from everybody else's perf (perf_syscall_exit()). */
#define LET_PASS 1

struct sys_exit {
	__u64 common;
	__s64 number;
	__s64 result;
};

struct call {
	struct sock *sk;
	__u64 arguments[6];
};

static __always_inline struct sock *sock_of_fd(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd), *file = NULL;
	struct socket *socket;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline bool read_call(struct call *call)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());

	call->arguments[0] = PT_REGS_PARM1_CORE_SYSCALL(regs);
	call->arguments[1] = PT_REGS_PARM2_CORE_SYSCALL(regs);
	call->arguments[2] = PT_REGS_PARM3_CORE_SYSCALL(regs);
	call->arguments[4] = PT_REGS_PARM5_CORE_SYSCALL(regs);
	call->sk = sock_of_fd(current_task(), call->arguments[0]);
	return call->sk;
}

SEC("?tracepoint/syscalls/sys_exit_bind")
int exit_bind(struct sys_exit *ctx)
{
	struct call call = {};

	if (ctx->result < 0 && read_call(&call))
		denied_bind(call.sk, true, (void *)call.arguments[1], call.arguments[2], ctx->result);
	return LET_PASS;
}

static __always_inline bool wants_port(__s64 result)
{
	return result == -EADDRNOTAVAIL || result == -EAGAIN;
}

/* A datagram socket took its port on the address that it was bound to, the wildcard mostly: the route's came after. */
static __always_inline void on_datagram_exit(struct armed *slot)
{
	struct look look;

	look_at_armed(&look, slot);
	give_up(slot);
	if (!look.port)
		return;
	if (!read_addr_locked(look.sk)) {
		look.common.sk.skc_rcv_saddr = 0;
		__builtin_memset(&look.common.sk.skc_v6_rcv_saddr, 0, 16);
	}
	if (admit(&look, current_task()))
		record_sock(&look, !(look.flags & PW_F_KERNEL) && !look.stranger);
}

SEC("?tracepoint/syscalls/sys_exit_connect")
int exit_connect(struct sys_exit *ctx)
{
	struct armed *slot = armed_here();
	struct call call = {};

	if (slot)
		on_datagram_exit(slot);
	if (wants_port(ctx->result) && read_call(&call))
		denied_way(call.sk, PW_HOW_CONNECT, true, (void *)call.arguments[1], call.arguments[2], ctx->result);
	return LET_PASS;
}

SEC("?tracepoint/syscalls/sys_exit_sendto")
int exit_sendto(struct sys_exit *ctx)
{
	struct call call = {};
	__u32 length = 0;

	if (!wants_port(ctx->result) || !read_call(&call))
		return LET_PASS;
	/* The length is the sixth argument, which libbpf has no word for: an address is at most so long. */
	if (call.arguments[4])
		length = ADDRESS_V6_END;
	denied_way(call.sk, PW_HOW_SEND, true, (void *)call.arguments[4], length, ctx->result);
	return LET_PASS;
}

/* The head of struct user_msghdr, which struct mmsghdr begins with. */
struct message {
	void *name;
	__u32 length;
	__u32 pad;
};

static __always_inline int on_sendmsg_exit(__s64 result)
{
	struct message message = {};
	struct call call = {};

	if (!wants_port(result) || !read_call(&call))
		return LET_PASS;
	bpf_probe_read_user(&message, sizeof(message), (void *)call.arguments[1]);
	denied_way(call.sk, PW_HOW_SEND, true, message.name, message.length, result);
	return LET_PASS;
}

SEC("?tracepoint/syscalls/sys_exit_sendmsg")
int exit_sendmsg(struct sys_exit *ctx)
{
	return on_sendmsg_exit(ctx->result);
}

SEC("?tracepoint/syscalls/sys_exit_sendmmsg")
int exit_sendmmsg(struct sys_exit *ctx)
{
	return on_sendmsg_exit(ctx->result);
}

SEC("?tracepoint/syscalls/sys_exit_listen")
int exit_listen(struct sys_exit *ctx)
{
	struct call call = {};

	if (ctx->result == -EADDRINUSE && read_call(&call))
		denied_listen(call.sk, ctx->result);
	return LET_PASS;
}

#endif
