/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much of a namespace's ephemeral range is taken, by whom, and how much is left. Pure arithmetic over who holds
 * ports now (holders.h) and the range (range.h). Only ports that the kernel may choose count: in the range, not
 * reserved.
 *
 * What is left differs by what asks:
 * - bind(0), listen() and UDP want a number that nobody holds (inet_csk_find_open_port(), udp_lib_get_port()): `free`.
 *   They may get more: a number held only on another address, or one shared by SO_REUSEADDR or SO_REUSEPORT.
 * - TCP connect() also takes a number that others hold, as long as the four-tuple is new and connect() took it for
 *   them too: __inet_hash_connect() passes over every bind bucket with fastreuse >= 0 or fastreuseport >= 0, that is
 *   each that bind() or listen() made or joined (inet_csk_update_fastreuse()), and asks __inet_check_established() of
 *   the others. `connectable` is what it may take towards a destination not connected to yet; of each other
 *   destination, `left`.
 * - towards one destination a closed connection keeps its number for 60 s (TCP_TIMEWAIT_LEN): connectable / 60 s is
 *   what can be kept up, unless tcp_tw_reuse lets connect() take the number over sooner (tcp_twsk_unique()).
 */
#ifndef PORTWAKE_USER_POOL_H
#define PORTWAKE_USER_POOL_H

#include "user/holders.h"
#include "user/range.h"

#define POOL_TIME_WAIT_SECONDS 60

/* How the number was come by. */
enum pool_how {
	POOL_EXPLICIT,		/* asked for by number */
	POOL_CONNECT,		/* TCP: chosen by connect() */
	POOL_BIND,		/* TCP: chosen by bind(0) or listen() */
	POOL_EPHEMERAL,		/* UDP: chosen by bind(0), connect() or a send; by which is not kept */
	POOL_ACCEPTED,		/* a listener's */
	POOL_UNKNOWN,		/* bound to 0 before it connected, or accepted by a listener that has gone */
	POOL_HOW_END
};

/* Towards one remote end from one local address (TCP). In numbers of ports. */
struct pool_destination {
	struct event_addr addr, remote;
	uint16_t remote_port;
	unsigned int held;		/* of usable ports */
	unsigned int time_wait;		/* of them */
	unsigned int reusable;		/* of those: connect() may take them over, tcp_tw_reuse_delay after the close */
	unsigned int left;		/* as if none of those were taken over */
	double seconds_left;		/* NAN: it does not grow, or there was no look before */
};

struct pool_process {
	const struct process *process;	/* borrowed from the holders; NULL: none, or not known */
	unsigned int ports;		/* of sockets of which it is the oldest process */
};

/* One protocol in one namespace. */
struct pool {
	uint8_t proto;
	unsigned int sockets;		/* that hold a usable port: the sum of states[], and of how[] */
	unsigned int states[HOLDER_STATE_END], how[POOL_HOW_END];
	unsigned int held, free;	/* ports; held + free = usable */
	unsigned int connectable;	/* TCP; 0 for others */
	double seconds_left;		/* until free is 0; NAN: it does not grow, or there was no look before */
	struct pool_destination *destinations;	/* most held first */
	size_t destination_count;
	struct pool_process *processes;	/* most ports first */
	size_t process_count;
};

/* Of rows[0..count), all of one namespace: those of one protocol. 0 or -ENOMEM; pool_done() releases it. */
int pool_count(struct pool *pool, const struct holder *rows, size_t count, const struct range *range, uint8_t proto);
void pool_done(struct pool *pool);

/* Fills in seconds_left from what was counted `elapsed_ns` before. 0 or -ENOMEM. */
int pool_compare(struct pool *now, const struct pool *before, uint64_t elapsed_ns);

/* Connections a second to one destination that TIME_WAIT lets be kept up. */
static inline double pool_time_wait_rate(const struct pool *pool)
{
	return (double)pool->connectable / POOL_TIME_WAIT_SECONDS;
}

const char *pool_how_name(enum pool_how how);

#define _cleanup_pool_ _cleanup_(pool_done)

#endif
