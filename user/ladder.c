/* SPDX-License-Identifier: GPL-2.0 */
/* The ladder as a table, and questions about it. */
#include "user/ladder.h"

#include <string.h>

#define EXACT LADDER_EXACT
#define DISCONNECT "a disconnect is seen at the next call or within a second"

#define CALLS "not by io_uring, nor by 32-bit programs"
#define EACH_CALL "each system call of the machine (6 to 32 ns measured; --no-denied leaves it out)"

/*
 * The ladder. A row is a thing watched; its rungs are tried from the left, and
 * the first that loads, attaches and passes the canary is used.
 */
const struct hook ladder[LADDER_HOOKS] = {
	{ "tcp-release", "TCP giving a port back or over to TIME_WAIT", true,
	  { { "fentry", EXACT, "each release", { "fentry_put_port", "fentry_time_wait", "fentry_listen_stop" }, NULL },
	    { "fentry", EXACT, "each release", { "fentry_put_port", "fentry_time_wait_old", "fentry_listen_stop" }, NULL },
	    { "kprobe", EXACT, "each release", { "kprobe_put_port", "kprobe_time_wait", "kprobe_listen_stop" }, NULL },
	    { "kprobe", EXACT, "each release", { "kprobe_put_port", "kprobe_time_wait_old", "kprobe_listen_stop" }, NULL },
	    { "tracepoint", EXACT, "each change of a TCP state", { "set_state", "destroy_sock" }, NULL } } },
	{ "udp-destroy", "SOCK_DESTROY of a UDP socket", false,
	  { { "fentry", EXACT, "each SOCK_DESTROY", { "fexit_udp_abort" }, NULL },
	    { "tracepoint", EXACT, "each socket error", { "error_report" }, NULL } } },
	{ "time-wait-end", "the end of a TIME_WAIT", false,
	  { { "fentry", EXACT, "each end of a TIME_WAIT", { "fentry_time_wait_end" }, NULL },
	    { "kprobe", EXACT, "each end of a TIME_WAIT", { "kprobe_time_wait_end" }, NULL },
	    { "tracepoint", "an end before its time is seen within a second", "each timer that expires",
	      { "timer_expire" }, NULL } } },
	{ "close", "the last descriptor closed", true,
	  { { "fentry", EXACT, "each close of a socket", { "sock_release", "fentry_release" }, NULL },
	    { "cgroup", "a kernel socket's end is seen within a second", "each close of a socket",
	      { "sock_release" }, NULL } } },
	{ "bind", "bind() of a port, asked for and taken", true,
	  { { "fentry", EXACT, "each bind()",
	      { "bind4", "bind6", "post_bind4", "post_bind6", "fexit_bind4", "fexit_bind6" }, NULL },
	    { "cgroup", EXACT, "each bind()", { "bind4", "bind6", "post_bind4", "post_bind6" }, NULL } } },
	{ "tcp-open", "TCP connect() and listen() taking a port", true,
	  { { "fentry", EXACT, "each connect() and listen()", { "fexit_connect4", "fexit_connect6", "fexit_listen" },
	      NULL },
	    { "sockops", "a deferred TCP Fast Open is seen at its first write", "each connection, several times",
	      { "sockops" }, NULL } } },
	{ "udp-connect", "UDP connect() taking a port or giving it back", false,
	  { { "fentry", EXACT, "each UDP connect()", { "fentry_dgram_connect", "fexit_dgram_connect" }, "bind" },
	    { "kprobe", "of UDP-Lite, a port is seen at the close", "each UDP connect()",
	      { "connect4", "connect6", "kprobe_dgram_connect", "kretprobe_dgram_connect" }, NULL },
	    { "tracepoint", DISCONNECT "; io_uring's and a 32-bit program's port at its next call", "each connect()",
	      { "connect4", "connect6", "exit_connect" }, "connect-denied" },
	    { "cgroup", DISCONNECT, "each connect() and each route look-up",
	      { "connect4", "connect6", "route4", "route6" }, NULL },
	    { "cgroup", DISCONNECT "; IPv4 only", "each connect() and each route look-up", { "connect4", "route4" },
	      NULL } } },
	{ "udp-send", "an unconnected UDP send taking a port", false,
	  { { "fentry", "where the first datagram goes is not told", "each UDP port taken",
	      { "fexit_udp_port4", "fexit_udp_port6" }, "udp-connect" },
	    { "cgroup", "of a send that fails, a port is seen at the close", "each unconnected UDP send",
	      { "sendmsg4", "sendmsg6" }, NULL } } },
	{ "bind-denied", "bind() that fails", false,
	  { { "fentry", EXACT, "each bind()", { "fexit_bind4", "fexit_bind6", "fexit_denied_bind_mptcp" }, "bind" },
	    { "fentry", EXACT, "each bind()", { "fexit_bind4", "fexit_bind6" }, "bind" },
	    { "tracepoint", CALLS, EACH_CALL, { "exit_bind" }, NULL } } },
	{ "connect-denied", "connect(), listen() or a send that fails for want of a port", false,
	  { { "fentry", "where a send went to is not known", "each port taken",
	      { "fexit_connect4", "fexit_connect6", "fexit_dgram_connect", "fexit_udp_port4", "fexit_udp_port6",
		"fexit_listen" }, "udp-connect" },
	    { "tracepoint", CALLS, EACH_CALL,
	      { "exit_connect", "exit_listen", "exit_sendto", "exit_sendmsg", "exit_sendmmsg" }, NULL } } },
	{ "snapshot", "sockets open before", true,
	  { { "iterator", EXACT, "the start, and the end of a gap", { "iter_task_file", "iter_tcp", "iter_udp" },
	      NULL } } },
	{ "look", "does that object still hold its port", true,
	  { { "syscall", "within a second", "each TIME_WAIT and connected UDP socket, once a second",
	      { "look_again" }, NULL } } },
};

size_t ladder_hook(const char *name)
{
	size_t hook = 0;

	while (hook < LADDER_HOOKS && strcmp(ladder[hook].name, name) != 0)
		hook++;
	return hook;
}

int ladder_rank(const char *rung)
{
	if (!strcmp(rung, "fentry"))
		return 0;
	return strcmp(rung, "kprobe") ? 2 : 1;
}

bool ladder_knows(const char *text)
{
	const char *equals = strchr(text, '=');
	const char *name = equals ? equals + 1 : text;
	bool known = !equals;

	for (size_t hook = 0; hook < LADDER_HOOKS && !known; hook++)
		known = strlen(ladder[hook].name) == (size_t)(equals - text) &&
			!strncmp(text, ladder[hook].name, (size_t)(equals - text));
	return known && (!strcmp(name, "fentry") || !strcmp(name, "kprobe") || !strcmp(name, "base"));
}
