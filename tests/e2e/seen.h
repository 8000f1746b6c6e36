/* SPDX-License-Identifier: GPL-2.0 */
/* One line of portwake's JSON stream, checked field by field against the interface. */
#ifndef E2E_SEEN_H
#define E2E_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/e2e/net.h"

enum kind {
	KIND_READY, KIND_PRESENT, KIND_ALLOCATE, KIND_LISTEN, KIND_CLOSE, KIND_TIME_WAIT, KIND_RELEASE, KIND_DENIED,
	KIND_GAP, KIND_COUNT
};

enum how { HOW_BIND = 1, HOW_CONNECT = 2, HOW_SEND = 4, HOW_LISTEN = 8 };

enum cause {
	CAUSE_CLOSE = 1, CAUSE_RESET = 2, CAUSE_TIME_WAIT = 4, CAUSE_REUSE = 8, CAUSE_DISCONNECT = 16,
	CAUSE_NETNS = 32, CAUSE_UNKNOWN = 64, CAUSE_ANY = 127
};

#define SEEN_NULL (-1L)

struct seen {
	enum kind kind;
	bool ephemeral, exact, kernel, has_ephemeral;
	uint16_t port, remote_port;
	int proto;
	unsigned how, cause;		/* 0: null or absent */
	unsigned generation;
	long pid, uid, holder_pid;	/* SEEN_NULL: null */
	int64_t time;			/* CLOCK_REALTIME, ns */
	int64_t held_ns, open_ns, time_wait_ns;	/* SEEN_NULL: null */
	int64_t since, until;		/* of a gap */
	uint64_t netns, cookie, lost, lost_allocations;
	char addr[ADDR_TEXT], remote_addr[ADDR_TEXT];	/* "": null */
	char comm[64], holder_comm[64];
	char err[24];			/* errno of a release; "": null */
	char exe[256], cgroup[256], container[80], annotation[200], confidence[24];	/* "": null */
	char *line;			/* owned */
};

/* Parses and checks one line (without its newline). 0, or -EINVAL with the reason in why. */
int seen_parse(const char *line, size_t len, struct seen *out, char *why, size_t size);
void seen_clear(struct seen *seen);

/* RFC 3339 in UTC with nanoseconds to CLOCK_REALTIME ns; -EINVAL when it is anything else. */
int seen_time(const char *text, int64_t *out);

const char *kind_name(enum kind kind);
const char *how_names(unsigned mask, char out[64]);
const char *cause_names(unsigned mask, char out[96]);
const char *proto_name(int proto);

#endif
