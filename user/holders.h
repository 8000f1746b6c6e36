/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who holds ports now: every socket that holds one, in every network namespace
 * in view, with every process that has it open. No tracer is needed, and none
 * is disturbed: iterators alone, nothing stands on a live hook. What only a
 * tracer could know (since when, and who took the port, where the descriptor
 * was inherited or passed on) is not here.
 */
#ifndef PORTWAKE_USER_HOLDERS_H
#define PORTWAKE_USER_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "user/identity.h"
#include "user/lifetime.h"
#include "user/probe.h"
#include "user/snapshot.h"

enum holder_state {
	HOLDER_LISTEN,
	HOLDER_BOUND,		/* UDP: has no remote end */
	HOLDER_CONNECTED,	/* or connecting, or closing while a process has it open */
	HOLDER_TIME_WAIT,
	HOLDER_CLOSED,		/* its connection has ended; it keeps the number that it was bound to */
	HOLDER_KERNEL,		/* of the kernel itself: no process has it */
	HOLDER_ORPHAN,		/* closed by its last process, its connection not yet ended */
	HOLDER_STATE_END
};

/* The names of the interface; NULL past the end. */
const char *holder_state_name(enum holder_state state);

struct holder {
	uint64_t cookie;
	uint32_t netns;
	uint32_t uid;			/* of the socket; UINT32_MAX: not known */
	uint16_t port, remote_port;
	uint8_t proto;			/* IPPROTO_* */
	uint8_t tcp_state;		/* enum tcp_state */
	enum holder_state state;
	bool accepted;			/* shares its listener's port: took none itself */
	bool unfetched;			/* accepted by the kernel; no accept() has fetched it yet */
	bool by_connect;		/* connect() chose the number (TCP) */
	bool doubtful;			/* snapshot_doubtful(), and not accepted: which way it went is past */
	bool locked;			/* asked for by number (SOCK_BINDPORT_LOCK) */
	bool options_known;		/* false: of a socket that sock_diag alone tells of; what follows is 0 */
	bool reuse, reuseport, v6only;	/* of the socket now */
	uint32_t bound_dev;		/* interface index; 0: none */
	uint64_t expires_ns;		/* TIME_WAIT: time left; UNKNOWN_NS: not known */
	struct event_addr addr, remote;	/* remote.family 0: none */
	/*
	 * Every one that has a descriptor of it, oldest first; references. None
	 * of a state that processes have: it is in flight over a unix socket, in
	 * io_uring alone, or its process is in a PID namespace out of view.
	 */
	struct process **processes;
	size_t process_count;
};

struct holders {
	struct holder *rows;
	size_t count;
	struct process **processes;	/* what the rows' point into */
	size_t process_count;
	struct identity *identity;	/* the references are given back to it */
};

#define HOLDERS_INIT ((struct holders){ 0 })

/*
 * 0 or -errno with one line of explanation and remedy in why[]. Of filter the
 * netns, ports and protos count. Sorted by netns, proto, port, then state.
 * identity is borrowed until holders_done().
 */
int holders_take(struct holders *holders, const struct probe_options *filter, struct identity *identity, char *why,
		 size_t why_size);
void holders_done(struct holders *holders);

/* A TIME_WAIT as sock_diag tells it. */
struct holder_wait {
	uint64_t cookie;
	uint32_t expires_ms;
	uint16_t remote_port;
};

/*
 * What holders_take() is made of: rows as snapshot_gather() leaves them to
 * holders. Sorts waits. 0 or -ENOMEM. Pure but for what identity does.
 */
int holders_of(struct holders *holders, const struct snapshot *rows, struct holder_wait *waits, size_t wait_count,
	       struct identity *identity);

#define _cleanup_holders_ _cleanup_(holders_done)

#endif
