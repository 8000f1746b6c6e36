/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why a call was denied a port, and what would help. Pure: the call, the
 * sockets that hold the port and the range of the namespace come in.
 *
 * The rules are the kernel's own:
 *   TCP bind(N), listen()	inet_csk_get_port(), inet_bind_conflict() (net/ipv4/inet_connection_sock.c): two sockets
 *				share a port when they are bound to different devices; or both have SO_REUSEADDR and
 *				the one that is there does not listen; or both have SO_REUSEPORT and one uid, which
 *				a TIME_WAIT is not asked for; or their addresses differ
 *   UDP bind(N)		udp_lib_lport_inuse() (net/ipv4/udp.c): different devices, SO_REUSEADDR on both, or
 *				SO_REUSEPORT on both and one uid; or their addresses differ
 *   addresses			inet_rcv_saddr_equal(): equal, or one is the wildcard; [::] also stands for every
 *				IPv4 address unless that socket is IPV6_V6ONLY; a bind() to 0.0.0.0 also meets what
 *				connect() gave an IPv6 address, unless that socket is IPV6_V6ONLY
 *   bind(0), listen()		inet_csk_find_open_port(): EADDRINUSE when the range has no port left
 *   TCP connect()		__inet_hash_connect(): EADDRNOTAVAIL when each port of the range is bound, or connected
 *				to the same end; of a socket that has its port, when that connection is there already
 *   UDP connect(), send	inet_autobind() (net/ipv4/af_inet.c): EAGAIN whatever udp_lib_get_port() said
 *   EACCES			inet_port_requires_bind_service(): below ip_unprivileged_port_start
 *   bind() EADDRNOTAVAIL	inet_addr_valid_or_nonlocal(), __inet6_bind(): no address of this namespace
 */
#ifndef PORTWAKE_USER_EXPLAIN_H
#define PORTWAKE_USER_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "user/buf.h"
#include "user/event.h"
#include "user/range.h"

struct process;		/* user/identity.h; here only handed through */

enum denial { DENIAL_CONFLICT, DENIAL_EXHAUSTED, DENIAL_NOT_LOCAL, DENIAL_PERMISSION, DENIAL_OTHER, DENIAL_END };

/* The names of DESIGN's interface; NULL past the end. */
const char *denial_name(enum denial cause);

enum rival_state { RIVAL_LISTEN, RIVAL_BOUND, RIVAL_CONNECTED, RIVAL_TIME_WAIT, RIVAL_CLOSED, RIVAL_END };

const char *rival_state_name(enum rival_state state);

/* A socket that holds what the call wanted. */
struct rival {
	struct process *owner;		/* a reference; NULL: unknown */
	uint64_t cookie;
	uint32_t inode;			/* to find the owner by; 0: it needs none, or has none */
	uint64_t left_ns;		/* TIME_WAIT: until it ends; UINT64_MAX: not known */
	uint16_t port, remote_port;
	enum rival_state state;
	bool ephemeral;			/* the kernel chose its number, or may have */
	bool accepted;			/* shares the port of the listener that accepted it, */
	bool accepted_unknown;		/* or may */
	bool kernel;
	bool traits_known;		/* the three below */
	bool uid_known;
	uint8_t traits;			/* enum pw_trait */
	uint32_t uid;			/* of the socket */
	uint32_t bound_dev;
	struct event_addr addr;
	struct event_addr remote;	/* family 0: none */
};

/* How the range is used by one protocol. */
struct usage {
	bool known;
	unsigned int size, reserved;	/* ports of the range */
	unsigned int held;		/* of them, those that somebody holds */
	unsigned int sockets;		/* that hold them, */
	unsigned int time_waits;	/* of those in TIME_WAIT, */
	unsigned int reusable;		/* and of these the ones that connect() gave their port (tcp_tw_reuse) */
	unsigned int bound_first;	/* and connected ones that had their port from bind() before */
	struct process *top;		/* who holds most of them: a reference; NULL: unknown */
	unsigned int top_sockets;
	uint16_t low, high;
	uint16_t top_remote_port;
	struct event_addr top_remote;	/* where most of them go; family 0: nowhere */
	unsigned int top_remote_sockets;
};

#define RIVALS_MAX 16

/* Shared by all denials that it is true of: by references. */
struct explanation {
	unsigned int refs;
	enum denial cause;
	size_t rival_count;
	size_t rival_total;		/* those left out for room counted too */
	struct rival *rivals;
	struct usage usage;		/* DENIAL_EXHAUSTED */
	char *advice;			/* lines, each with its newline; "" for none */
	void (*put)(void *arg, struct process *process);	/* gives a reference back */
	void (*end)(void *arg);					/* the last word to arg; NULL: it needs none */
	void *arg;
};

struct explanation *explanation_ref(struct explanation *explanation);
void explanation_put(struct explanation *explanation);

/* From the call, its arguments and its errno; of the range ip_unprivileged_port_start counts. */
enum denial explain_cause(const struct event *denied, const struct range *range);

/* Does this socket stand in the way of the call? What is not known of it is taken to its disadvantage. */
bool explain_blocks(const struct event *denied, const struct rival *rival);

/* Appends the lines of advice; one that begins with "sysctl" is a command, complete. rivals: those that stand in the way; usage: of an exhausted range. */
void explain_advise(const struct event *denied, const struct explanation *explanation, const struct range *range,
		    struct buf *out);

#endif
