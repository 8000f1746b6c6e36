/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sockets by sock_diag(7), of the network namespace of the calling thread: no
 * privilege, no BPF, and two things that no iterator tells: TCP sockets that
 * are bound and no more, and the time a TIME_WAIT has left. The one user of
 * libmnl.
 */
#ifndef PORTWAKE_USER_DIAG_H
#define PORTWAKE_USER_DIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"

/* TCP_BOUND_INACTIVE, since Linux 6.8; older kernels list nothing for it. */
#define DIAG_BOUND (1u << 13)
#define DIAG_TIME_WAIT (1u << STATE_TIME_WAIT | 1u << STATE_FIN_WAIT2)
#define DIAG_ANY UINT32_MAX

struct diag_query {
	uint8_t family;		/* AF_INET, AF_INET6: of the socket, so that an IPv4-mapped address is among AF_INET6 */
	uint8_t proto;		/* IPPROTO_TCP, _UDP, _UDPLITE */
	uint32_t states;	/* mask of 1 << enum tcp_state, or the above */
	uint16_t first, last;	/* local ports, sought in the kernel; last 0: any */
};

struct diag_row {
	uint64_t cookie;
	uint32_t uid;		/* of the socket's inode; 0 where it has none */
	uint32_t inode;		/* 0: TIME_WAIT, orphan, accepted but not fetched */
	uint32_t expires_ms;	/* time_wait: what it has left */
	uint16_t port, remote_port;
	uint8_t state;		/* of a TIME_WAIT its substate, which may be FIN_WAIT2; of bound ones STATE_CLOSE */
	bool time_wait;		/* an inet_timewait_sock */
	struct event_addr addr;
	struct event_addr remote;	/* family 0: none */
};

typedef void (*diag_row_fn)(void *arg, const struct diag_row *row);

/* 0 or -errno: -ENOENT when the kernel has no sock_diag for the protocol. */
int diag_dump(const struct diag_query *query, diag_row_fn on_row, void *arg);

struct inet_diag_msg;

/* Pure. False: of no port, or of no cookie. */
bool diag_decode(const struct inet_diag_msg *message, struct diag_row *out);

#endif
