/* SPDX-License-Identifier: GPL-2.0 */
/* Wire to checked struct. */
#include "user/event.h"

#include <netinet/in.h>
#include <string.h>

static const size_t sizes[PW_KIND_END] = {
	[PW_SOCK] = sizeof(struct pw_sock),
	[PW_FREE] = sizeof(struct pw_head),
	[PW_CLOSE] = sizeof(struct pw_close),
	[PW_TW_START] = sizeof(struct pw_tw),
	[PW_TW_END] = sizeof(struct pw_tw),
	[PW_PROCESS] = sizeof(struct pw_process),
	[PW_DENIED] = sizeof(struct pw_row),
};

static void take_comm(char out[PW_COMM], const char comm[PW_COMM])
{
	memcpy(out, comm, PW_COMM);
	out[PW_COMM - 1] = '\0';
}

void event_addr_set(struct event_addr *out, uint8_t family, const uint8_t *bytes)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memset(out, 0, sizeof(*out));
	out->family = family;
	if (family == AF_INET6 && !memcmp(bytes, mapped, sizeof(mapped))) {
		out->family = AF_INET;
		memcpy(out->bytes, bytes + sizeof(mapped), 4);
	} else {
		memcpy(out->bytes, bytes, family == AF_INET ? 4 : 16);
	}
}

/* Of wire at least PW_SOCK_V4 bytes are there. */
static int decode_sock(const struct pw_sock *wire, struct event *out)
{
	bool v4 = wire->family == AF_INET;

	if (wire->head.size == PW_SOCK_V4 && !v4)
		return -EBADMSG;
	if (wire->family != AF_INET && wire->family != AF_INET6)
		return -EBADMSG;
	if (wire->proto != IPPROTO_TCP && wire->proto != IPPROTO_UDP && wire->proto != IPPROTO_UDPLITE)
		return -EBADMSG;
	if (wire->how >= PW_HOW_END)
		return -EBADMSG;
	out->proto = wire->proto;
	out->how = wire->how;
	out->netns = wire->netns;
	out->sk = wire->sk;
	event_addr_set(&out->addr, wire->family, v4 ? wire->v4.addr : wire->v6.addr);
	if (wire->remote_port) {
		out->remote_port = wire->remote_port;
		event_addr_set(&out->remote, wire->family, v4 ? wire->v4.remote : wire->v6.remote);
	}
	out->process.pid = wire->pid;
	out->process.uid = wire->uid;
	out->process.exec_id = wire->exec_id;
	out->process.start = wire->start;
	out->process.cgroup = wire->cgroup;
	take_comm(out->process.comm, wire->comm);
	return 0;
}

static int decode_row(const struct pw_row *wire, struct event *out)
{
	out->bucket = wire->bucket;
	out->by_connect = wire->by_connect;
	out->traits = wire->traits;
	out->bound_dev = wire->bound_dev;
	out->sock_uid = wire->sock_uid;
	return decode_sock(&wire->sock, out);
}

static int decode_process(const struct pw_process *wire, struct event *out)
{
	if (wire->path_at > PW_PATH || !wire->pid)
		return -EBADMSG;
	out->process.pid = wire->pid;
	out->process.start = wire->start;
	out->process.exec_id = wire->exec_id;
	if (wire->path_at < PW_PATH) {
		out->exe = wire->path + wire->path_at;
		out->exe_length = PW_PATH - 1 - wire->path_at;
	}
	return 0;
}

static int decode_tw(const struct pw_tw *wire, struct event *out)
{
	if (wire->ended >= PW_ENDED_END)
		return -EBADMSG;
	out->tw = wire->tw;
	out->net = wire->net;
	out->net_cookie = wire->net_cookie;
	out->ended = wire->ended;
	return 0;
}

static void decode_close(const struct pw_close *wire, struct event *out)
{
	out->process.pid = wire->pid;
	take_comm(out->process.comm, wire->comm);
}

static bool is_size(const struct pw_head *head)
{
	if (head->kind == PW_SOCK && head->flags & PW_F_ROW)
		return head->size == sizeof(struct pw_row);
	return head->size == sizes[head->kind] || (head->kind == PW_SOCK && head->size == PW_SOCK_V4);
}

int event_decode(const void *data, size_t size, struct event *out)
{
	const struct pw_head *head = data;

	if (size < sizeof(*head) || head->kind >= PW_KIND_END || !sizes[head->kind])
		return -EBADMSG;
	if (size != head->size || !is_size(head))
		return -EBADMSG;

	memset(out, 0, sizeof(*out));
	out->kind = head->kind;
	out->time = head->time;
	out->cookie = head->cookie;
	out->port = head->port;
	out->flags = head->flags;
	out->state = head->state;
	out->error = head->error;
	switch (out->kind) {
	case PW_SOCK:
		if (!head->port || !head->cookie)
			return -EBADMSG;
		return head->flags & PW_F_ROW ? decode_row(data, out) : decode_sock(data, out);
	case PW_DENIED:
		return decode_row(data, out) || !out->error || !out->how ? -EBADMSG : 0;
	case PW_PROCESS:
		return decode_process(data, out);
	case PW_CLOSE:
		decode_close(data, out);
		break;
	case PW_FREE:
		break;
	case PW_TW_START:
	case PW_TW_END:
		return decode_tw(data, out);
	case PW_NONE:
	case PW_KIND_END:
		return -EBADMSG;
	}
	return 0;
}
