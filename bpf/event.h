/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The wire between the kernel side and the user side: records, settings,
 * counters. Both include it; nothing else crosses. Fixed-width fields, padding
 * written out, integers in host order, addresses in network order.
 *
 * A record is a statement about one socket at one time, not an event: the
 * tracker settles what is news. Saying a thing twice changes nothing.
 */
#ifndef PORTWAKE_BPF_EVENT_H
#define PORTWAKE_BPF_EVENT_H

#ifndef VMLINUX_H
#include <linux/types.h>
#endif

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

enum pw_kind {
	PW_NONE,
	PW_SOCK,	/* struct pw_sock, of a row struct pw_row: the socket holds a port */
	PW_FREE,	/* the head alone: it holds none, or only stopped listening (PW_F_HELD) */
	PW_CLOSE,	/* struct pw_close: its last descriptor is closed */
	PW_TW_START,	/* struct pw_tw: its port went over to a TIME_WAIT */
	PW_TW_END,	/* struct pw_tw: that TIME_WAIT ended */
	PW_PROCESS,	/* struct pw_process: first allocation of a process since its exec */
	PW_DENIED,	/* struct pw_row: a bind() that failed, or another call for want of a port */
	PW_KIND_END
};

/* How a socket came to its port. */
enum pw_how {
	PW_HOW_NONE,
	PW_HOW_BIND,
	PW_HOW_CONNECT,
	PW_HOW_SEND,
	PW_HOW_LISTEN,
	PW_HOW_END
};

enum pw_flag {
	PW_F_EPHEMERAL = 1,	/* the kernel chose the number */
	PW_F_EPHEMERAL_UNKNOWN = 2,
	PW_F_KERNEL = 4,	/* a kernel socket: no process owns it */
	PW_F_LATE = 8,		/* seen now, happened at an unknown time before */
	PW_F_HELD = 16,		/* the socket itself still holds its port */
	PW_F_UPDATE = 32,	/* adds to a known lifetime, begins none */
	PW_F_LOCKED = 64,	/* SOCK_BINDPORT_LOCK: the port stays through a disconnect */
	PW_F_ROW = 128,		/* a row of an iterator, not of a live hook */
};

/* What a row or a denial tells of its socket. */
enum pw_trait {
	PW_T_REUSE = 1,		/* SO_REUSEADDR */
	PW_T_REUSEPORT = 2,
	PW_T_V6ONLY = 4,
	PW_T_DEAD = 8,		/* an orphan: closed by all, not yet done */
	PW_T_UNFETCHED = 16,	/* accepted by the kernel, not yet by accept() */
	PW_T_UNREAD = 32,	/* denials: the address that the call gave could not be read */
};

/* 24 bytes at the head of every record. */
struct pw_head {
	__u8 kind;
	__u8 error;		/* sk_err that lies in the socket, nobody having read it; of PW_DENIED of the call */
	__u16 size;		/* of the whole record */
	__u16 port;		/* local port */
	__u8 flags;		/* enum pw_flag */
	__u8 state;		/* kernel's TCP_* state; of PW_FREE the state left */
	__u64 time;		/* ns, CLOCK_BOOTTIME */
	__u64 cookie;		/* socket cookie; 0 in PW_PROCESS */
};

#define PW_COMM 16

/* A live one of IPv4 ends with its addresses (PW_SOCK_V4): the ring holds the more, and fewer lines go between CPUs. */
struct pw_sock {
	struct pw_head head;
	__u64 sk;		/* kernel address of the sock or timewait sock, for struct pw_look */
	__u64 start;		/* owner's start, ns CLOCK_BOOTTIME; task_struct.start_boottime */
	__u64 cgroup;		/* cgroup v2 id of the owner */
	__u32 pid;		/* thread group id; 0: not known */
	__u32 uid;
	__u32 exec_id;		/* task_struct.self_exec_id, tells execs of one pid apart */
	__u32 netns;		/* inode number */
	__u16 remote_port;
	__u8 proto;		/* IPPROTO_TCP, _UDP, _UDPLITE */
	__u8 family;		/* AF_INET, AF_INET6 */
	__u8 how;		/* enum pw_how */
	__u8 pad[3];
	char comm[PW_COMM];	/* of the thread group's leader */
	union {			/* by family */
		struct {
			__u8 addr[4];	/* local */
			__u8 remote[4];
		} v4;
		struct {
			__u8 addr[16];
			__u8 remote[16];
		} v6;
	};
};

#define PW_SOCK_V4 (sizeof(struct pw_sock) - 24)

/*
 * What a row or a denial tells besides. PW_DENIED: the port and the local
 * address are those that bind() asked for, else what the socket has (0, any);
 * remote where to, as far as the call says; how the call; the cookie is 0 when
 * the socket has none.
 */
struct pw_row {
	struct pw_sock sock;
	__u64 bucket;		/* rows: the bind bucket, shared by a listener and what it accepted */
	__u32 bound_dev;	/* interface it is bound to; 0: none */
	__u32 sock_uid;		/* of the socket itself */
	__u8 traits;		/* enum pw_trait */
	__u8 by_connect;	/* rows: connect() made the bind bucket, so it chose the number */
	__u8 pad[6];
};

struct pw_close {
	struct pw_head head;
	__u32 pid;
	__u32 pad;
	char comm[PW_COMM];
};

/* How a TIME_WAIT came to its end. */
enum pw_ended {
	PW_ENDED_EXPIRED,
	PW_ENDED_EARLY,		/* reset, destroyed, or taken over by a new connection */
	PW_ENDED_NETNS,		/* its network namespace is being taken down */
	PW_ENDED_END
};

struct pw_tw {
	struct pw_head head;
	__u64 tw;		/* kernel address of the inet_timewait_sock */
	__u64 net;		/* PW_TW_START: kernel address of its struct net, */
	__u64 net_cookie;	/* and what tells that from another at the same address */
	__u32 ended;		/* PW_TW_END: enum pw_ended */
	__u32 pad;
};

#define PW_PATH 512
#define PW_NAME_MAX 256

struct pw_process {
	struct pw_head head;
	__u64 start;
	__u32 pid;
	__u32 exec_id;
	__u32 path_at;		/* the executable's path is path[path_at .. PW_PATH - 2]; PW_PATH: not known */
	__u32 pad;
	char path[PW_PATH + PW_NAME_MAX];
};

/* What was lost, by reason; one counter of each per CPU. */
enum pw_lost {
	PW_LOST_RING,		/* records that found the ring full */
	PW_LOST_RING_ALLOC,	/* those of them that may have been an allocation */
	PW_LOST_MAP,		/* notes that found their map full */
	PW_LOST_END
};

/*
 * A question to the kernel side: does this object, still the same one, hold its
 * port? And is its namespace gone? What options has it?
 */
struct pw_look {
	__u64 sk;
	__u64 cookie;
	__u64 net;		/* 0: not known, then the object's own is asked, as long as it is the same object */
	__u64 net_cookie;
	__u16 port;
	__u8 proto;
	__u8 tw;		/* sk is an inet_timewait_sock */
	__u8 held;		/* the answers */
	__u8 netns_gone;
	__u8 traits;		/* enum pw_trait; these three only if held */
	__u8 pad;
	__u32 bound_dev;
	__u32 uid;		/* of a timewait sock 0 */
};

#define PW_LOOKS 256
#define PW_FILTER 8

struct pw_settings {
	__u64 tw_handler;	/* address of tw_timer_handler(); 0: not known */
	__u64 cgroup;		/* only owners in this cgroup v2 or below; 0: any */
	__u32 wake_bytes;	/* wake the reader when so much is unread */
	__u32 netns_count;
	__u32 netns[PW_FILTER];
	__u32 pid_count;
	__u32 pid[PW_FILTER];
	__u32 descendants;	/* only owners that descend from the tracer */
	__u32 denied;		/* what fentry programs tell of denials: enum pw_denials mask */
	__u32 by_port;		/* pw_ports[] is in force */
	__u32 protos;		/* enum pw_proto mask; 0: any */
	__u32 calls;		/* a hook asks for the socket that a thread binds or connects */
	__u32 casts;		/* the kernel has bpf_rdonly_cast() */
	__u32 pad;
	char comm[PW_COMM];	/* only owners of this name; empty: any */
};

enum pw_denials {
	PW_DENIALS_BIND = 1,
	PW_DENIALS_CONNECT = 2,
};

enum pw_proto {
	PW_PROTO_TCP = 1,
	PW_PROTO_UDP = 2,
	PW_PROTO_UDPLITE = 4,
};

#pragma GCC diagnostic pop

#endif
