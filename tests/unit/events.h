/* SPDX-License-Identifier: GPL-2.0 */
/* Statements for tests: each a plain one of its kind, for the test to change in what matters to it. */
#ifndef PORTWAKE_TESTS_EVENTS_H
#define PORTWAKE_TESTS_EVENTS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "user/event.h"

#define TEST_NETNS	4026531840u
#define TEST_PID	100u
#define TW		0x7000u		/* address of a timewait sock */

/* The address in text, of whichever family it is. */
static inline struct event_addr ev_addr(const char *text)
{
	struct event_addr addr = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	inet_pton(addr.family, text, addr.bytes);
	return addr;
}

/* A TCP socket bound to 127.0.0.1:port, by process TEST_PID. */
static inline struct event ev_sock(uint64_t cookie, uint16_t port, uint64_t time)
{
	return (struct event){
		.kind = PW_SOCK, .time = time, .cookie = cookie, .port = port, .flags = PW_F_EPHEMERAL,
		.state = STATE_CLOSE, .proto = IPPROTO_TCP, .how = PW_HOW_BIND, .netns = TEST_NETNS,
		.sk = 0x1000 + cookie, .addr = ev_addr("127.0.0.1"),
		.process = { .pid = TEST_PID, .uid = 1000, .start = 5, .comm = "owner" },
	};
}

/* The same, connecting to 127.0.0.2:remote_port. */
static inline struct event ev_connect(uint64_t cookie, uint16_t port, uint16_t remote_port, uint64_t time)
{
	struct event e = ev_sock(cookie, port, time);

	e.state = STATE_SYN_SENT;
	e.how = PW_HOW_CONNECT;
	e.remote = ev_addr("127.0.0.2");
	e.remote_port = remote_port;
	return e;
}

static inline struct event ev_listen(uint64_t cookie, uint16_t port, uint64_t time)
{
	struct event e = ev_sock(cookie, port, time);

	e.state = STATE_LISTEN;
	e.how = PW_HOW_LISTEN;
	return e;
}

static inline struct event ev_udp(uint64_t cookie, uint16_t port, uint64_t time)
{
	struct event e = ev_sock(cookie, port, time);

	e.proto = IPPROTO_UDP;
	return e;
}

/* What an iterator says of the same. */
static inline struct event ev_row(struct event e)
{
	e.flags |= PW_F_ROW;
	e.how = PW_HOW_NONE;
	return e;
}

/* A row of a TIME_WAIT of a connection as ev_connect() makes it. */
static inline struct event ev_tw_row(uint64_t cookie, uint16_t port, uint16_t remote_port, uint64_t tw, uint64_t time)
{
	struct event e = ev_row(ev_connect(cookie, port, remote_port, time));

	e.flags = PW_F_ROW | PW_F_EPHEMERAL_UNKNOWN;
	e.state = STATE_TIME_WAIT;
	e.sk = tw;
	e.process = (struct event_process){ 0 };
	return e;
}

/* The socket left `state` without its port. */
static inline struct event ev_free(uint64_t cookie, uint16_t port, uint8_t state, uint64_t time)
{
	return (struct event){ .kind = PW_FREE, .time = time, .cookie = cookie, .port = port, .state = state };
}

/* flags: PW_F_HELD where the socket holds its port on. */
static inline struct event ev_close(uint64_t cookie, uint16_t port, uint8_t flags, uint64_t time)
{
	return (struct event){
		.kind = PW_CLOSE, .time = time, .cookie = cookie, .port = port, .flags = flags,
		.process = { .pid = TEST_PID, .comm = "owner" },
	};
}

static inline struct event ev_tw(enum pw_kind kind, uint64_t cookie, uint16_t port, uint64_t tw, uint64_t time)
{
	return (struct event){
		.kind = kind, .time = time, .cookie = cookie, .port = port, .state = STATE_TIME_WAIT, .tw = tw,
	};
}

#endif
