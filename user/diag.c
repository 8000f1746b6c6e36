/* SPDX-License-Identifier: GPL-2.0 */
/* sock_diag dumps. */
#include "user/diag.h"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>

#define STATE_BOUND 13
#define TIMER_TIME_WAIT 3	/* net/ipv4/inet_diag.c: inet_twsk_diag_fill() */

bool diag_decode(const struct inet_diag_msg *m, struct diag_row *out)
{
	memset(out, 0, sizeof(*out));
	out->cookie = m->id.idiag_cookie[0] | (uint64_t)m->id.idiag_cookie[1] << 32;
	out->uid = m->idiag_uid;
	out->inode = m->idiag_inode;
	out->port = ntohs(m->id.idiag_sport);
	out->state = m->idiag_state == STATE_BOUND ? STATE_CLOSE : m->idiag_state;
	out->time_wait = m->idiag_timer == TIMER_TIME_WAIT;
	out->expires_ms = out->time_wait ? m->idiag_expires : 0;
	event_addr_set(&out->addr, m->idiag_family, (const uint8_t *)m->id.idiag_src);
	if (m->id.idiag_dport) {
		out->remote_port = ntohs(m->id.idiag_dport);
		event_addr_set(&out->remote, m->idiag_family, (const uint8_t *)m->id.idiag_dst);
	}
	return out->port && out->cookie && (m->idiag_family == AF_INET || m->idiag_family == AF_INET6);
}

struct dump {
	diag_row_fn on_row;
	void *arg;
};

static int on_message(const struct nlmsghdr *header, void *arg)
{
	const struct dump *dump = arg;
	struct diag_row row;

	if (mnl_nlmsg_get_payload_len(header) >= sizeof(struct inet_diag_msg) &&
	    diag_decode(mnl_nlmsg_get_payload(header), &row))
		dump->on_row(dump->arg, &row);
	return MNL_CB_OK;
}

/*
 * A program of two comparisons, each an operation and its operand: on yes to
 * the next, on no beyond the end, which means no.
 */
static void put_ports(struct nlmsghdr *header, uint16_t first, uint16_t last)
{
	struct inet_diag_bc_op ops[] = {
		{ INET_DIAG_BC_S_GE, 2 * sizeof(ops[0]), 5 * sizeof(ops[0]) }, { .no = first },
		{ INET_DIAG_BC_S_LE, 2 * sizeof(ops[0]), 3 * sizeof(ops[0]) }, { .no = last },
	};

	mnl_attr_put(header, INET_DIAG_REQ_BYTECODE, sizeof(ops), ops);
}

static int send_query(struct mnl_socket *socket, const struct diag_query *query)
{
	char buffer[256];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request;

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	request->sdiag_family = query->family;
	request->sdiag_protocol = query->proto;
	request->idiag_states = query->states;
	if (query->last)
		put_ports(header, query->first, query->last);
	return mnl_socket_sendto(socket, header, header->nlmsg_len) < 0 ? -errno : 0;
}

static int read_dump(struct mnl_socket *socket, struct dump *dump)
{
	char buffer[32768];
	unsigned int port = mnl_socket_get_portid(socket);
	int r = 1;

	while (r > 0) {
		ssize_t got = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));

		if (got < 0)
			return -errno;
		r = mnl_cb_run(buffer, (size_t)got, 0, port, on_message, dump);
	}
	return r < 0 ? -errno : 0;
}

static void mnl_closep(struct mnl_socket **socket)
{
	if (*socket)
		mnl_socket_close(*socket);
}

int diag_dump(const struct diag_query *query, diag_row_fn on_row, void *arg)
{
	_cleanup_(mnl_closep) struct mnl_socket *socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct dump dump = { on_row, arg };
	int r;

	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	r = send_query(socket, query);
	return r ? r : read_dump(socket, &dump);
}
