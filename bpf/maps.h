/* SPDX-License-Identifier: GPL-2.0 */
/* Every map, table and setting of the kernel side. */
#ifndef PORTWAKE_BPF_MAPS_H
#define PORTWAKE_BPF_MAPS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "bpf/event.h"

const volatile struct pw_settings settings = {};
const volatile __u8 wanted_ports[8192] = {};	/* bit N: local port N is wanted; if settings.by_port */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PW_LOST_END);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

/* Processes whose PW_PROCESS record is out. Forgetting one only says it twice. */
struct seen {
	__u64 start;
	__u64 exec_id;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

/* The same of those that allocate again and again, without the search. Two of one slot overwrite each other. */
#define TOLD_SLOTS 4096
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TOLD_SLOTS);
	__type(key, __u32);
	__type(value, __u64);		/* start and exec of a process in `seen`, as one word; by process */
} told_last SEC(".maps");

/*
 * Notes that live for the length of a system call or save a repetition. They
 * are tables indexed by a part of the key, without chains: two users of one
 * slot overwrite each other, and what is lost by that is said twice or seen late, never wrongly.
 */
#define SAID_SLOTS 65536
__u64 said[SAID_SLOTS] = {};	/* cookie << 16 | port that was said; by cookie */

#define ASKED_SLOTS 4096
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ASKED_SLOTS);
	__type(key, __u32);
	__type(value, __u64);		/* sock << 16 | port that bind() asks for, from bind to post_bind; by thread */
} asked SEC(".maps");

struct armed {
	__u64 sk;			/* datagram socket in connect() */
	__u64 cookie;
	__u64 time;			/* ns, CLOCK_BOOTTIME */
	__u64 process;			/* process_mark() of who connects */
	__u32 tid;			/* 0: not in use; ARMED_BUSY: being written or read */
	__u16 remote_port;
	__u8 family;
	__u8 had_port;			/* before the connect() */
	__u8 remote[16];
};

#define ARMED_SLOTS 4096
#define ARMED_BUSY 0xffffffffU	/* no thread has this id */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ARMED_SLOTS);
	__type(key, __u32);
	__type(value, struct armed);
} armed SEC(".maps");

#define CALL_SLOTS 4096
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CALL_SLOTS);
	__type(key, __u32);
	__type(value, __u64);		/* sock that it is binding or connecting; by thread */
} calls SEC(".maps");

struct pw_look looks[PW_LOOKS] = {};
__u32 look_count = 0;
__u64 netns_ops = 0;	/* of a network namespace; of who runs look_again */
__u32 canary = 0;	/* network namespace whose every port is told whatever the filters say; 0: none */
__u64 denied_at_ns = 0;	/* when a denial last called the reader, */
__u64 called_at_ns = 0;	/* and when the ring did */
__u32 arms = 0;		/* slots of armed[] in use: while there is none, a route look-up is nobody's */
__u32 tracer = 0;	/* thread group id of who runs look_again, as the initial PID namespace has it */

#endif
