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

#include "bpf/maps.h"
#include "bpf/read.h"

/* What a probe looks at, and what it knows better than the socket. */
struct look {
	struct sock *sk;
	__u64 cookie;
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

static __always_inline void count_lost(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &reason);

	/* Programs in process context are preempted and interrupted by others that count too. */
	if (count)
		__sync_fetch_and_add(count, 1);
}

/* The time is read before there is room on the ring: a record is never older than it says. */
static __always_inline void head_on(struct pw_head *head, __u64 now, __u8 kind, __u16 size)
{
	__builtin_memset(head, 0, sizeof(*head));
	head->kind = kind;
	head->size = size;
	head->time = now;
}

#define CALL_NS 1000000

/*
 * No wake-up an event: the reader comes by timer, and is called when much has gathered; once, for each call is an
 * interrupt, and while a reader that has been called catches up the mark stays passed.
 */
static __always_inline __u64 wake_by(__u64 now)
{
	bool call = now - called_at_ns > CALL_NS && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= settings.wake_bytes;

	if (call)
		called_at_ns = now;
	return call ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void count_full(__u8 kind)
{
	count_lost(PW_LOST_RING);
	if (kind == PW_SOCK)
		count_lost(PW_LOST_RING_ALLOC);
}

/* For the rare and large: room on the ring, with a head. */
static __always_inline void *reserve(__u8 kind, __u64 size)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct pw_head *head = bpf_ringbuf_reserve(&ring, size, 0);

	if (!head) {
		count_full(kind);
		return NULL;
	}
	head_on(head, now, kind, size);
	return head;
}

/* For the others: made on the stack, and onto the ring in one call. */
static __always_inline bool put(const void *record, __u32 size)
{
	const struct pw_head *head = record;

	if (!bpf_ringbuf_output(&ring, (void *)record, size, wake_by(head->time)))
		return true;
	count_full(head->kind);
	return false;
}

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

static __always_inline __u32 netns_of(const struct look *look)
{
	const struct net *net = look->common.sk.skc_net.net;

	return BPF_CORE_READ(net, ns.inum);
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

/*
 * Once a process, at its first allocation since its exec: what is gone when a
 * short process is. A global function: the verifier goes through its loop once
 * a program, not once a path that leads here.
 */
__attribute__((noinline)) int record_process(void)
{
	struct task_struct *task = current_task();
	__u32 pid = task->tgid;
	__u64 start = task->group_leader->start_boottime, exec_id = task->self_exec_id;
	struct seen now = { .start = start, .exec_id = exec_id };
	__u64 mark = start ^ (__u64)exec_id << 40;
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

/* Pointers by calls, but for one: a typed load of one costs the verifier a search of the kernel's BTF by name. */
static __always_inline void fill_owner_of(struct pw_sock *record, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	record->pid = task->tgid;
	record->start = leader->start_boottime;
	record->exec_id = task->self_exec_id;
	record->uid = BPF_CORE_READ(task, cred, uid.val);
	record->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), &leader->comm);
}

/* The process at hand; global, as above. */
__attribute__((noinline)) int fill_owner(struct pw_sock *record)
{
	if (record)
		fill_owner_of(record, current_task());
	return 0;
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
	record->head.error = BPF_CORE_READ(sk, sk_err);
	if (family == AF_INET6) {
		__builtin_memcpy(record->v6.addr, &common->skc_v6_rcv_saddr, 16);
		__builtin_memcpy(record->v6.remote, look->family ? (void *)look->remote : (void *)&common->skc_v6_daddr, 16);
	} else {
		__builtin_memcpy(record->v4.addr, &common->skc_rcv_saddr, 4);
		__builtin_memcpy(record->v4.remote, look->family ? (void *)look->remote : (void *)&common->skc_daddr, 4);
	}
	record->remote_port = look->family ? look->remote_port : bpf_ntohs(common->skc_dport);
}

static __always_inline bool already_said(__u64 cookie, __u16 port)
{
	__u32 slot = cookie & (SAID_SLOTS - 1);
	__u64 *note = bpf_map_lookup_elem(&said, &slot);

	return note && cookie && *note == (cookie << 16 | port);
}

static __always_inline void forget_said(__u64 cookie)
{
	__u32 slot = cookie & (SAID_SLOTS - 1);
	__u64 *note = bpf_map_lookup_elem(&said, &slot);

	if (note && *note >> 16 == (cookie & 0xffffffffffffULL))
		*note = 0;
}

static __always_inline void note_said(__u64 cookie, __u16 port)
{
	__u32 slot = cookie & (SAID_SLOTS - 1);
	__u64 *note = bpf_map_lookup_elem(&said, &slot);

	if (note)
		*note = cookie << 16 | port;
}

/* Says that look->sk holds look->port; true when it is on the ring. Without owner: the process at hand is not the one that allocated. */
static __always_inline bool record_sock(const struct look *look, bool owner)
{
	__u32 size = look->common.sk.skc_family == AF_INET6 ? sizeof(struct pw_sock) : PW_SOCK_V4;
	struct pw_sock record = {};

	if (owner) {
		fill_owner(&record);
		record_process();
	}
	/* Also when it is lost: that is counted now, and must not be told or counted again at the close. */
	if (!(look->flags & PW_F_UPDATE))
		note_said(look->cookie, look->port);
	head_on(&record.head, bpf_ktime_get_boot_ns(), PW_SOCK, size);
	fill_socket(&record, look);
	return put(&record, size);
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

/* ---- notes for the length of a system call ---- */

static __always_inline void note_asked(const struct sock *sk, __u16 port)
{
	__u32 slot = (__u32)bpf_get_current_pid_tgid() & (ASKED_SLOTS - 1);
	__u64 *note = bpf_map_lookup_elem(&asked, &slot);

	if (note)
		*note = (__u64)sk << 16 | port;
}

/* At post_bind the socket does not tell yet whether its port was asked for: the note of bind does. */
static __always_inline void take_asked(struct look *look)
{
	__u32 slot = (__u32)bpf_get_current_pid_tgid() & (ASKED_SLOTS - 1);
	__u64 *note = bpf_map_lookup_elem(&asked, &slot);

	if (!note || *note >> 16 != ((__u64)look->sk & 0xffffffffffffULL))
		look->flags |= PW_F_EPHEMERAL_UNKNOWN;
	else if (*note & 0xffff)
		look->flags |= PW_F_LOCKED;
	else
		look->flags |= PW_F_EPHEMERAL;
}

static __always_inline struct armed *armed_slot(__u32 tid)
{
	__u32 slot = tid & (ARMED_SLOTS - 1);

	return bpf_map_lookup_elem(&armed, &slot);
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
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), &task->group_leader->comm);
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

/* A TCP socket came to CLOSE: its port is back, over to a TIME_WAIT, or kept because it was asked for by number. */
static __always_inline void observe_tcp_close(const struct sock *sk, __u64 cookie, __u8 left, __u8 error)
{
	struct inet_timewait_sock *tw = NULL;
	__u8 held;

	held = read_bucket(sk) ? PW_F_HELD : 0;
	if (left == TCP_FIN_WAIT2 || left == TCP_CLOSING)
		tw = find_time_wait(sk, cookie);
	if (tw)
		record_tw(PW_TW_START, tw, cookie, held, 0);
	else if (!held || left == TCP_LISTEN)
		record_free(error, cookie, read_stale_port(sk), left, held);
}

/* This thread connected it, and nothing told of it: io_uring's has no end, a multicast by a bound device no route. */
static __always_inline bool is_armed(const struct sock *sk, __u64 cookie)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct armed *slot = armed_slot(tid);

	return slot && cookie && slot->tid == tid && slot->sk == (__u64)sk && slot->cookie == cookie;
}

static __always_inline bool accepted_in_passing(const struct sock_common *common, __u16 proto)
{
	return proto == IPPROTO_TCP && !common->skc_cookie.counter && common->skc_state == TCP_ESTABLISHED;
}

/* May this port, of which nothing was said, be the socket's own? No accepted socket is in these states with one. */
static __always_inline bool late_port(const struct look *look)
{
	__u8 state = look->common.sk.skc_state;

	if (look->proto != IPPROTO_TCP)
		return true;
	return state == TCP_CLOSE || state == TCP_SYN_SENT || state == TCP_LISTEN || look->flags & PW_F_LOCKED;
}

/* Is this port one to be told of late? Looks at the lock only then. */
static __always_inline bool is_unsaid(struct look *look)
{
	if (!look->port || by_owner() || already_said(look->cookie, look->port))
		return false;
	look_at_lock(look);
	return late_port(look);
}

/*
 * The last descriptor of a socket is closed. A macro like observe(); sk_ is the
 * plain pointer, of an MPTCP socket its first subflow: then outer_ is
 * IPPROTO_MPTCP, and ctx has another cookie, which is not the subflow's.
 */
#define observe_release(ctx, sk_, proto_, outer_)                                                         \
	({                                                                                        \
		struct look end_;                                                                 \
		read_common(&end_.common, sk_);                                                   \
		if (!accepted_in_passing(&end_.common.sk, proto_)) {                                 \
			look_on(&end_, sk_, proto_, PW_HOW_NONE);                                 \
			end_.cookie = end_.common.sk.skc_cookie.counter;                             \
			if (is_unsaid(&end_)) {                                                   \
				end_.flags |= PW_F_LATE;                                          \
				end_.stranger = !is_armed(sk_, end_.cookie);                      \
				if (end_.cookie || outer_ == IPPROTO_TCP || proto_ != IPPROTO_TCP) \
					observe(ctx, &end_);                                      \
			}                                                                         \
			if (end_.cookie)                                                          \
				record_close(end_.cookie, proto_, end_.port, end_.common.sk.skc_state); \
		}                                                                                 \
	})

/* ---- the functions that end a port's hold, for every rung that can stand on them ---- */

static __always_inline int observe_put_port(const struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		record_free(BPF_CORE_READ(sk, sk_err), cookie, BPF_CORE_READ(sk, __sk_common.skc_num),
			    BPF_CORE_READ(sk, __sk_common.skc_state), 0);
	return 0;
}

/* A listener stops; its port, when it was asked for by number, stays. */
static __always_inline int observe_listen_stop(const struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie && read_bucket(sk))
		record_free(BPF_CORE_READ(sk, sk_err), cookie, BPF_CORE_READ(sk, __sk_common.skc_num), TCP_LISTEN, PW_F_HELD);
	return 0;
}

/* The socket gives its own hold up just after, in inet_put_port(). */
static __always_inline int observe_hashdance(const struct inet_timewait_sock *tw, const struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie)
		record_tw(PW_TW_START, tw, cookie, PW_F_HELD, 0);
	return 0;
}

static __always_inline int observe_time_wait_end(const struct sock *sk)
{
	const struct inet_timewait_sock *tw = (const void *)sk;
	__u64 cookie = read_cookie(sk);
	__u32 ended = PW_ENDED_EARLY;

	if (!cookie)
		return 0;
	if (!read_net_count(BPF_CORE_READ(sk, __sk_common.skc_net.net)))
		ended = PW_ENDED_NETNS;
	else if ((__s64)(bpf_jiffies64() - BPF_CORE_READ(tw, tw_timer.expires)) >= 0)
		ended = PW_ENDED_EXPIRED;
	record_tw(PW_TW_END, tw, cookie, 0, ended);
	return 0;
}

/* ---- a datagram socket in connect(), from the entry to where its port can be seen ---- */

static __always_inline void arm(const struct look *look)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct armed *slot = armed_slot(tid);

	if (!slot)
		return;
	/* Two threads of one slot may count it twice: then route look-ups are looked at that need not be. */
	if (!slot->tid)
		__sync_fetch_and_add(&arms, 1);
	slot->sk = (__u64)look->sk;
	slot->cookie = look->cookie;
	slot->time = bpf_ktime_get_boot_ns();
	slot->remote_port = look->remote_port;
	slot->family = look->family;
	slot->had_port = look->port != 0;
	__builtin_memcpy(slot->remote, look->remote, 16);
	slot->tid = tid;
}

static __always_inline void disarm(struct armed *slot)
{
	slot->tid = 0;
	__sync_fetch_and_add(&arms, -1);
}

/* The arm of this thread, if it is in a connect(). */
static __always_inline struct armed *armed_here(void)
{
	struct armed *slot;
	__u32 tid;

	if (!arms)
		return NULL;
	tid = bpf_get_current_pid_tgid();
	slot = armed_slot(tid);
	if (!slot || slot->tid != tid || !tid)
		return NULL;
	if (read_cookie((struct sock *)slot->sk) == slot->cookie)
		return slot;
	/* An arm that nothing answered, of a connect() that failed early: the memory is another socket's by now. */
	disarm(slot);
	return NULL;
}

/* What tells of a connect() comes at once; a later one is of another call, in which the port is only found. */
#define ARMED_NS 1000000

static __always_inline void look_at_armed(struct look *look, const struct armed *slot)
{
	struct sock *sk = (struct sock *)slot->sk;

	look_at(look, sk, BPF_CORE_READ(sk, sk_protocol), PW_HOW_CONNECT);
	look->cookie = slot->cookie;
	look->remote_port = slot->remote_port;
	look->family = slot->family;
	__builtin_memcpy(look->remote, slot->remote, 16);
	if (bpf_ktime_get_boot_ns() - slot->time > ARMED_NS)
		look->flags |= PW_F_LATE;
}

/* The socket that this thread is connecting, and whether it had a port before; once. */
static __always_inline bool take_armed(struct look *look, bool *had_port)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct armed *slot = armed_slot(tid);

	if (!slot || slot->tid != tid || !tid)
		return false;
	disarm(slot);
	look->sk = (struct sock *)slot->sk;
	*had_port = slot->had_port;
	return true;
}

/* ---- the socket that a thread binds or connects, for a hook deep inside of that ---- */

static __always_inline __u64 *call_slot(void)
{
	__u32 slot = (__u32)bpf_get_current_pid_tgid() & (CALL_SLOTS - 1);

	return bpf_map_lookup_elem(&calls, &slot);
}

static __always_inline int enter_call(const struct sock *sk)
{
	__u64 *slot = settings.calls ? call_slot() : NULL;

	if (slot)
		*slot = (__u64)sk;
	return 0;
}

static __always_inline void leave_call(void)
{
	enter_call(NULL);
}

static __always_inline bool in_call(const struct sock *sk)
{
	__u64 *slot = call_slot();

	return slot && *slot == (__u64)sk;
}

#endif
