/* SPDX-License-Identifier: GPL-2.0 */
/* Notes from one hook for a later one: tables without chains, see maps.h. */
#ifndef PORTWAKE_BPF_NOTE_H
#define PORTWAKE_BPF_NOTE_H

#include "bpf/look.h"
#include "bpf/maps.h"

/* ---- what was said, until the port is given back ---- */

static __always_inline bool already_said(__u64 cookie, __u16 port)
{
	return cookie && said[cookie & (SAID_SLOTS - 1)] == (cookie << 16 | port);
}

static __always_inline void forget_said(__u64 cookie)
{
	__u64 *note = &said[cookie & (SAID_SLOTS - 1)];

	if (*note >> 16 == (cookie & 0xffffffffffffULL))
		*note = 0;
}

static __always_inline void note_said(__u64 cookie, __u16 port)
{
	said[cookie & (SAID_SLOTS - 1)] = cookie << 16 | port;
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

/* ---- a datagram socket in connect(), from the entry to where its port can be seen ---- */

static __always_inline struct armed *armed_slot(__u32 tid)
{
	__u32 slot = tid & (ARMED_SLOTS - 1);

	return bpf_map_lookup_elem(&armed, &slot);
}

/* This thread connected it, and nothing told of it: io_uring's has no end, a multicast by a bound device no route. */
static __always_inline bool is_armed(const struct sock *sk, __u64 cookie)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct armed *slot = armed_slot(tid);

	return slot && cookie && slot->tid == tid && slot->sk == (__u64)sk && slot->cookie == cookie &&
	       slot->process == process_mark(current_task());
}

/*
 * A slot is whoever's takes it: what is in it is written and read by one at a time, and another thread of that slot
 * does without, so that no socket is taken for another thread's. False: it is taken, or has another id by now.
 */
static __always_inline bool claim(struct armed *slot, __u32 tid)
{
	return __sync_val_compare_and_swap(&slot->tid, tid, ARMED_BUSY) == tid;
}

static __always_inline void give_up(struct armed *slot)
{
	__sync_fetch_and_add(&arms, -1);
	__sync_lock_test_and_set(&slot->tid, 0);
}

static __always_inline void arm(const struct look *look)
{
	__u32 tid = bpf_get_current_pid_tgid(), before;
	struct armed *slot = armed_slot(tid);

	if (!slot)
		return;
	before = slot->tid;
	if (before == ARMED_BUSY || !claim(slot, before))
		return;
	if (!before)
		__sync_fetch_and_add(&arms, 1);
	slot->sk = (__u64)look->sk;
	slot->cookie = look->cookie;
	slot->time = bpf_ktime_get_boot_ns();
	slot->process = process_mark(current_task());
	slot->remote_port = look->remote_port;
	slot->family = look->family;
	slot->had_port = look->port != 0;
	__builtin_memcpy(slot->remote, look->remote, 16);
	__sync_lock_test_and_set(&slot->tid, tid);
}

/* The arm of this thread, if it is in a connect(), claimed: give_up() or keep_on(). */
static __always_inline struct armed *armed_here(void)
{
	struct armed *slot;
	__u32 tid;

	if (!arms)
		return NULL;
	tid = bpf_get_current_pid_tgid();
	slot = armed_slot(tid);
	if (!slot || !tid || !claim(slot, tid))
		return NULL;
	if (read_cookie((struct sock *)slot->sk) == slot->cookie)
		return slot;
	/* An arm that nothing answered, of a connect() that failed early: the memory is another socket's by now. */
	give_up(slot);
	return NULL;
}

/* The route look-up of another thing than the connect(): still armed. */
static __always_inline void keep_on(struct armed *slot)
{
	__sync_lock_test_and_set(&slot->tid, (__u32)bpf_get_current_pid_tgid());
}

/* What tells of a connect() comes at once; a later one is of another call, in which the port is only found. */
#define ARMED_NS 1000000

static __always_inline void look_at_armed(struct look *look, const struct armed *slot)
{
	struct sock *sk = (struct sock *)slot->sk;

	look_at(look, sk, field(struct sock, sk, sk_protocol), PW_HOW_CONNECT);
	look->cookie = slot->cookie;
	/* Of io_uring: the thread's id may be another's by now, and the port told of by another hook. */
	look->stranger = slot->process != process_mark(current_task());
	if (already_said(look->cookie, look->port))
		look->flags |= PW_F_UPDATE;
	look->remote_port = slot->remote_port;
	look->family = slot->family;
	__builtin_memcpy(look->remote, slot->remote, 16);
	look->now = bpf_ktime_get_boot_ns();
	if (look->now - slot->time > ARMED_NS)
		look->flags |= PW_F_LATE;
}

/* The socket that this thread is connecting, and whether it had a port before; once. */
static __always_inline bool take_armed(struct look *look, bool *had_port)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct armed *slot = armed_slot(tid);

	if (!slot || !tid || !claim(slot, tid))
		return false;
	look->sk = (struct sock *)slot->sk;
	*had_port = slot->had_port;
	give_up(slot);
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
