/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A record of the wire as a checked value. Everything above the wire works on
 * struct event alone.
 */
#ifndef PORTWAKE_USER_EVENT_H
#define PORTWAKE_USER_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/event.h"
#include "user/base.h"

/* TCP states as the kernel numbers them (include/net/tcp_states.h). */
enum tcp_state {
	STATE_ESTABLISHED = 1,
	STATE_SYN_SENT = 2,
	STATE_FIN_WAIT2 = 5,
	STATE_TIME_WAIT = 6,
	STATE_CLOSE = 7,
	STATE_CLOSE_WAIT = 8,
	STATE_LISTEN = 10,
};

/* Who did it, as far as the record tells. pid 0: not known. */
struct event_process {
	uint32_t pid;
	uint32_t uid;
	uint32_t exec_id;
	uint64_t start;		/* ns, CLOCK_BOOTTIME; 0: not told */
	uint64_t cgroup;	/* cgroup v2 id; 0: not told */
	char comm[PW_COMM];	/* terminated */
};

/* An address of the family it belongs to on the wire: an IPv4-mapped one is AF_INET here. */
struct event_addr {
	uint8_t family;		/* AF_INET, AF_INET6; 0: none */
	uint8_t bytes[16];
};

/* bytes: 4 of AF_INET, 16 of AF_INET6. */
void event_addr_set(struct event_addr *out, uint8_t family, const uint8_t *bytes);

struct event {
	enum pw_kind kind;
	enum pw_how how;	/* PW_SOCK, PW_DENIED */
	uint64_t time;		/* ns, CLOCK_BOOTTIME */
	uint64_t cookie;
	uint16_t port;
	uint8_t flags;		/* enum pw_flag */
	uint8_t state;		/* enum tcp_state */

	/* PW_SOCK; PW_DENIED: port and addr as asked for, how the call, cookie 0 when the socket has none */
	uint8_t proto;		/* IPPROTO_* */
	bool by_connect;	/* rows: the number was chosen by connect() */
	bool held;		/* rows of snapshot_take(): it held the port still when all had been read */
	bool accepted;		/* rows, once snapshot_settle() has judged: it shares the port of its listener */
	uint8_t traits;		/* rows, PW_DENIED: enum pw_trait */
	uint16_t remote_port;
	uint32_t netns;
	uint64_t sk;
	uint64_t bucket;
	uint32_t bound_dev;	/* rows, PW_DENIED: interface index; 0: none */
	uint32_t sock_uid;	/* rows, PW_DENIED: of the socket; of a TIME_WAIT nothing */
	struct event_addr addr;
	struct event_addr remote;	/* family 0: none */

	struct event_process process;	/* PW_SOCK, PW_DENIED, PW_CLOSE (pid and comm), PW_PROCESS (no comm) */
	uint32_t error;			/* sk_err then; PW_DENIED: of the call; positive errno, 0 */
	enum pw_ended ended;		/* PW_TW_END */
	uint64_t tw;			/* PW_TW_START, PW_TW_END */
	uint64_t net, net_cookie;	/* PW_TW_START: of its network namespace, for struct pw_look */
	const char *exe;		/* PW_PROCESS: of exe_length bytes inside the record; NULL: not known */
	size_t exe_length;
};

/*
 * Checks a record of size bytes and decodes it. 0; -EBADMSG when its kind is
 * not known, its size is not that kind's or a field is out of its range: the
 * caller counts it, *out is then undefined.
 */
int event_decode(const void *data, size_t size, struct event *out);

#endif
