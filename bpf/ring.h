/* SPDX-License-Identifier: GPL-2.0 */
/* Records onto the ring, or counted as lost. */
#ifndef PORTWAKE_BPF_RING_H
#define PORTWAKE_BPF_RING_H

#include "bpf/maps.h"
#include "bpf/read.h"

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
	bool call = (__s64)(now - called_at_ns) > CALL_NS && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= settings.wake_bytes;

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

#endif
