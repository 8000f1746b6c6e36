/* SPDX-License-Identifier: GPL-2.0 */
/* Words of a line. */
#include "user/line.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

char *addr_text(const struct event_addr *addr, char out[ADDR_TEXT])
{
	out[0] = '\0';
	if (addr->family)
		inet_ntop(addr->family, addr->bytes, out, ADDR_TEXT);
	return out;
}

char *endpoint_text(const struct event_addr *addr, uint16_t port, char out[ENDPOINT_TEXT])
{
	char text[ADDR_TEXT];

	addr_text(addr, text);
	snprintf(out, ENDPOINT_TEXT, addr->family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
	return out;
}

const char *proto_name(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_UDPLITE:
		return "udplite";
	default:
		return NULL;
	}
}

const char *line_state(const struct line *line)
{
	if (line->time_wait)
		return "time_wait";
	if (line->listening)
		return "listen";
	return line->remote.family ? "connected" : "bound";
}

const char *error_name(uint32_t error)
{
	return error ? strerrorname_np((int)error) : NULL;
}

bool line_by_another(const struct line *line)
{
	return line->holder_pid && (!line->owner || line->owner->pid != line->holder_pid);
}
