/* SPDX-License-Identifier: GPL-2.0 */
/*
 * observe() and the records: compare, filter, reserve, fill, submit or count.
 * A probe hands over what it looked at; all policy is here.
 *
 * The socket cookie is the note: observe() has the kernel make one only for a
 * socket that passed the filters. A socket without a cookie was never spoken
 * of, so the hooks that see every socket end (accepted ones above all) pass it
 * by at the price of one load.
 */
#ifndef PORTWAKE_BPF_RECORD_H
#define PORTWAKE_BPF_RECORD_H

#include "bpf/filter.h"
#include "bpf/note.h"
#include "bpf/ring.h"

/*
 * A tracing program. The kernel skips one that is already at work on the CPU
 * (__bpf_prog_enter_recur()): where it is interrupted by a softirq that runs it
 * too, and on a preemptible kernel, for every other thread, while one that is
 * inside it waits for its turn. User space watches the count of that.
 */
#define TRACE(section, name, body, after, ...)           \
	SEC(section) int BPF_PROG(name, __VA_ARGS__)     \
	{                                                \
		body;                                    \
		after;                                   \
		return 0;                                \
	}

#define NOTHING ((void)0)

/*
 * Once a process, at its first allocation since its exec: what is gone when a
 * short process is. A global function: the verifier goes through its loop once
 * a program, not once a path that leads here.
 */
__attribute__((noinline)) int record_process(void)
{
	struct task_struct *task = current_task();
	__u32 pid = task->tgid;
	__u64 start = leader_of(task)->start_boottime, exec_id = task->self_exec_id;
	struct seen now = { .start = start, .exec_id = exec_id };
	__u64 mark = process_mark(task);
	__u32 slot = pid & (TOLD_SLOTS - 1);
	__u64 *told = bpf_map_lookup_elem(&told_last, &slot);
	struct pw_process *process;
	struct seen *before;

	/* Nobody listens yet, and what is said now would not be said again. */
	if (canary || (told && *told == mark))
		return 0;
	before = bpf_map_lookup_elem(&seen, &pid);
	if (before && before->start == now.start && before->exec_id == now.exec_id) {
		if (told)
			*told = mark;
		return 0;
	}
	process = reserve(PW_PROCESS, sizeof(*process));
	if (!process)
		return 0;
	process->start = now.start;
	process->pid = pid;
	process->exec_id = now.exec_id;
	process->pad = 0;
	process->path_at = read_exe(task, process);
	bpf_ringbuf_submit(process, wake_by(process->head.time));
	if (bpf_map_update_elem(&seen, &pid, &now, BPF_ANY))
		count_lost(PW_LOST_MAP);
	return 0;
}

static __always_inline void fill_owner_of(struct pw_sock *record, struct task_struct *task)
{
	struct task_struct *leader = leader_of(task);

	record->pid = task->tgid;
	record->start = leader->start_boottime;
	record->exec_id = task->self_exec_id;
	record->uid = settings.casts ? cast(struct task_struct, task)->cred->uid.val : BPF_CORE_READ(task, cred, uid.val);
	record->cgroup = settings.casts ? cast(struct task_struct, task)->cgroups->dfl_cgrp->kn->id :
					  BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	read_comm(record->comm, leader);
}

/* The process at hand. 1: it may not have been told of. Global, as above; and beside that, for the stack of a chain of calls. */
__attribute__((noinline)) int fill_owner(struct pw_sock *record)
{
	__u64 *told, mark;
	__u32 slot;

	if (!record)
		return 0;
	fill_owner_of(record, current_task());
	mark = mark_of(record->start, record->exec_id);
	slot = record->pid & (TOLD_SLOTS - 1);
	told = bpf_map_lookup_elem(&told_last, &slot);
	return !told || *told != mark;
}

static __always_inline void fill_socket(struct pw_sock *record, const struct look *look)
{
	const struct sock_common *common = &look->common.sk;
	const struct sock *sk = look->sk;
	__u16 family = common->skc_family;

	record->head.port = look->port;
	record->head.cookie = look->cookie;
	record->head.state = common->skc_state;
	record->head.flags = look->flags;
	record->sk = (__u64)sk;
	record->netns = netns_of(look);
	record->proto = look->proto;
	record->family = family;
	record->how = look->how;
	record->head.error = field(struct sock, sk, sk_err);
	if (family == AF_INET6) {
		__builtin_memcpy(record->v6.addr, &common->skc_v6_rcv_saddr, 16);
		__builtin_memcpy(record->v6.remote, look->family ? (void *)look->remote : (void *)&common->skc_v6_daddr, 16);
	} else {
		__builtin_memcpy(record->v4.addr, &common->skc_rcv_saddr, 4);
		__builtin_memcpy(record->v4.remote, look->family ? (void *)look->remote : (void *)&common->skc_daddr, 4);
	}
	record->remote_port = look->family ? look->remote_port : bpf_ntohs(common->skc_dport);
}

/* Says that look->sk holds look->port; true when it is on the ring. Without owner: the process at hand is not the one that allocated. */
static __always_inline bool record_sock(const struct look *look, bool owner)
{
	__u32 size = look->common.sk.skc_family == AF_INET6 ? sizeof(struct pw_sock) : PW_SOCK_V4;
	struct pw_sock record = {};

	if (owner && fill_owner(&record))
		record_process();
	/* Also when it is lost: that is counted now, and must not be told or counted again at the close. */
	if (!(look->flags & PW_F_UPDATE))
		note_said(look->cookie, look->port);
	head_on(&record.head, look->now ? look->now : bpf_ktime_get_boot_ns(), PW_SOCK, size);
	fill_socket(&record, look);
	return put(&record, size);
}

/*
 * The one question of every hook in process context: does this socket hold a
 * port, and may that be news? ctx is what bpf_get_socket_cookie() takes there;
 * it is a macro because that helper's argument type differs by program type.
 */
#define observe(ctx, look)                                                                        \
	({                                                                                        \
		struct task_struct *task_ = current_task();                                       \
		bool said_ = false;                                                               \
		if ((look)->port && admit((look), task_)) {                                       \
			if (!(look)->cookie)                                                      \
				(look)->cookie = bpf_get_socket_cookie(ctx);                      \
			said_ = record_sock((look), !((look)->flags & PW_F_KERNEL) && !(look)->stranger && \
						     !is_kernel_thread(task_));                   \
		}                                                                                 \
		said_;                                                                            \
	})

/*
 * A hook that comes after a socket may have got its port elsewhere: what was
 * said of is not begun again, and what was asked for by number was taken by
 * bind(), at a time and by a process that are not known.
 */
static __always_inline void doubt(struct look *look)
{
	look->cookie = look->common.sk.skc_cookie.counter;
	if (already_said(look->cookie, look->port)) {
		look->flags |= PW_F_UPDATE;
	} else if (look->flags & PW_F_LOCKED && by_owner()) {
		look->flags |= PW_F_UPDATE;
		note_said(look->cookie, look->port);
	} else if (look->flags & PW_F_LOCKED) {
		look->flags |= PW_F_LATE;
		look->stranger = true;
	}
}

/* A call that finds the port there did not take it: an earlier one did, at a time and by a process that are not known. */
static __always_inline void doubt_all(struct look *look)
{
	look->flags |= already_said(look->cookie, look->port) || by_owner() ? PW_F_UPDATE : PW_F_LATE;
	look->stranger = true;
}

/* ---- the other records ---- */

static __always_inline void record_free(__u8 error, __u64 cookie, __u16 port, __u8 state, __u8 flags)
{
	struct pw_head record;

	if (!(flags & PW_F_HELD))
		forget_said(cookie);
	head_on(&record, bpf_ktime_get_boot_ns(), PW_FREE, sizeof(record));
	record.cookie = cookie;
	record.port = port;
	record.state = state;
	record.flags = flags;
	record.error = error;
	put(&record, sizeof(record));
}

static __always_inline void record_tw(__u16 kind, const struct inet_timewait_sock *tw, __u64 cookie, __u8 flags,
				      __u32 ended)
{
	struct pw_tw record;

	if (kind == PW_TW_START && !(flags & PW_F_HELD))
		forget_said(cookie);
	head_on(&record.head, bpf_ktime_get_boot_ns(), kind, sizeof(record));
	record.head.cookie = cookie;
	record.head.port = BPF_CORE_READ(tw, __tw_common.skc_num);
	record.head.state = TCP_TIME_WAIT;
	record.head.flags = flags;
	record.tw = (__u64)tw;
	record.net = (__u64)BPF_CORE_READ(tw, __tw_common.skc_net.net);
	record.net_cookie = BPF_CORE_READ(tw, __tw_common.skc_net.net, net_cookie);
	record.ended = ended;
	record.pad = 0;
	put(&record, sizeof(record));
}

/* The process at hand; our own walk of descriptors may be left with the last reference: then who closed it is not known. */
__attribute__((noinline)) int fill_closer(struct pw_close *record)
{
	struct task_struct *task = current_task();

	if (!record || (__u32)task->tgid == tracer)
		return 0;
	record->pid = task->tgid;
	read_comm(record->comm, leader_of(task));
	return 0;
}

static __always_inline void record_close(__u64 cookie, __u16 proto, __u16 port, __u8 state)
{
	struct pw_close record = {};

	head_on(&record.head, bpf_ktime_get_boot_ns(), PW_CLOSE, sizeof(record));
	record.head.cookie = cookie;
	record.head.port = port;
	record.head.state = state;
	record.head.flags = port && proto == IPPROTO_TCP ? PW_F_HELD : 0;
	fill_closer(&record);
	put(&record, sizeof(record));
}

#endif
