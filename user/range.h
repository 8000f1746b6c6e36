/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a network namespace lets the kernel choose: ip_local_port_range, ip_local_reserved_ports and what goes with
 * them. One range serves IPv4 and IPv6, TCP and UDP (net/ipv4/sysctl_net_ipv4.c: ipv4_local_port_range(),
 * sysctl_local_reserved_ports, both of struct net).
 *
 * A reserved port is only passed over when the kernel chooses (inet_is_local_reserved_port() in
 * __inet_hash_connect(), inet_csk_find_open_port(), udp_lib_get_port()); bind() to its number still succeeds. That
 * connect() tries one parity first and bind(0) the other is a preference, no limit. A socket may have a range of its
 * own (IP_LOCAL_PORT_RANGE, Linux 6.3), which nothing here knows of.
 */
#ifndef PORTWAKE_USER_RANGE_H
#define PORTWAKE_USER_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "user/buf.h"
#include "user/num.h"

/* Longer than any list of the kernel's: every other port, 6 bytes each. */
#define RANGE_LIST_MAX (1u << 18)

struct range {
	bool known;			/* false: it could not be read, and all below is 0 */
	uint16_t low, high;		/* both are part of it */
	struct port_set reserved;
	uint32_t unprivileged_start;	/* ip_unprivileged_port_start: bind() below it takes CAP_NET_BIND_SERVICE */
	uint8_t tw_reuse;		/* tcp_tw_reuse: 0 never, 1 always, 2 on loopback only */
};

/* Of the network namespace that the calling thread is in: /proc/sys/net/ipv4/. 0 or -errno with *out unknown. */
int range_read(struct range *out);

/*
 * From the text of ip_local_port_range ("32768\t60999\n") and of ip_local_reserved_ports ("80,8000-8010\n", "\n").
 * 0; or -EINVAL, and then *out is untouched. Pure.
 */
int range_parse(const char *range, const char *reserved, struct range *out);

/* Does the port lie in the range? */
static inline bool range_has(const struct range *range, uint16_t port)
{
	return range->known && port >= range->low && port <= range->high;
}

/* May the kernel choose it? */
static inline bool range_usable(const struct range *range, uint16_t port)
{
	return range_has(range, port) && !port_set_has(&range->reserved, port);
}

/* How many ports the range has, how many of them are reserved, and how many the kernel may choose. */
unsigned int range_size(const struct range *range);
unsigned int range_reserved_count(const struct range *range);
unsigned int range_usable_count(const struct range *range);

/* ip_local_reserved_ports with more added to what it has, as one writes it: "80,8000-8010". buf_error(out). */
int range_reserve(const struct range *range, const struct port_set *more, struct buf *out);

/* "a,b-c" of any set; nothing for an empty one. buf_error(out). */
int range_list(const struct port_set *ports, struct buf *out);

#endif
