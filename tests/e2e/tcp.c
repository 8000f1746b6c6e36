/* SPDX-License-Identifier: GPL-2.0 */
/* Every way a TCP socket takes and loses a local port, TIME_WAIT aside. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT 30
#endif

#define NOBODY_LISTENS 9	/* in a namespace of our own */

static void bind0_listen(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_bind(&s, 0);
	ws_listen(&s);
	ws_close(&s);
}

static void bind0_any(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_bind_any(&s, 0);
	ws_listen(&s);
	ws_close(&s);
}

static void listen_unbound(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_listen(&s);
	if (listen(s.fd, 5) < 0)
		work_die("a second listen");
	ws_close(&s);
}

static void bind_only(struct work *w)
{
	struct wsock low = ws_open(w), inside = ws_open(w), any = ws_open(w);

	ws_bind(&low, 7001);
	ws_bind(&inside, 45001);
	ws_bind(&any, 0);
	ws_close(&low);
	ws_close(&any);
	ws_close(&inside);
}

static void bind_fails(struct work *w)
{
	struct wsock s = ws_open(w), other = ws_open(w);

	ws_bind(&s, 7002);
	if (ws_try_bind(&s, AT_LOOP, 7003) != -EINVAL)
		work_die("a second bind");
	if (ws_try_bind(&other, AT_LOOP, 7002) != -EADDRINUSE)
		work_die("a bind to a taken port");
	ws_bind(&other, 7003);
	ws_close(&other);
	ws_close(&s);
}

static void bind_no_port_connect(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);

	ws_option(&s, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	ws_bind(&s, 0);
	if (ws_port(&s))
		work_die("bind took a port");
	ws_finish(&s, ws_join(&s, &server));
	ws_close(&server);
}

static void server_closes_first(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);

	ws_finish(&s, ws_join(&s, &server));
	ws_close(&server);
}

static void bound_connect(struct work *w)
{
	struct wsock server = ws_listener(w), fixed = ws_open(w), chosen = ws_open(w);

	ws_bind(&fixed, 7004);
	ws_finish(&fixed, ws_join(&fixed, &server));
	ws_bind_any(&chosen, 0);
	ws_finish(&chosen, ws_join(&chosen, &server));
	ws_close(&server);
}

static void accepted_are_none(struct work *w)
{
	struct wsock server = ws_listener(w), client[5];
	int accepted[5];

	for (int i = 0; i < 5; i++) {
		client[i] = ws_open(w);
		accepted[i] = ws_join(&client[i], &server);
	}
	ws_close(&server);
	for (int i = 0; i < 5; i++)
		ws_finish(&client[i], accepted[i]);
}

/* An accepted socket that is disconnected and connects elsewhere takes a port like any other. */
static void accepted_is_reborn(struct work *w)
{
	struct wsock server = ws_listener(w), client = ws_open(w), reborn = { .work = w, .life = -1 };
	int64_t t0;

	reborn.proto = w->proto;
	reborn.fam = w->fam;
	reborn.fd = ws_join(&client, &server);
	t0 = now_ns();
	ws_disconnect(&reborn);
	ws_lost(&client, CAUSE_RESET, "ECONNRESET", t0, now_ns());
	ws_close(&client);
	ws_finish(&reborn, ws_join(&reborn, &server));
	ws_close(&server);
}

static void refused(struct work *w)
{
	struct wsock s = ws_open(w), fixed = ws_open(w), chosen = ws_open(w);

	if (ws_connect(&s, NOBODY_LISTENS) != -ECONNREFUSED)
		work_die("connect was not refused");
	ws_close(&s);
	ws_bind(&fixed, 7005);
	if (ws_connect(&fixed, NOBODY_LISTENS) != -ECONNREFUSED)
		work_die("connect was not refused");
	ws_close(&fixed);
	ws_bind(&chosen, 0);
	if (ws_connect(&chosen, NOBODY_LISTENS) != -ECONNREFUSED)
		work_die("connect was not refused");
	ws_close(&chosen);
}

static void refused_again(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);

	for (int i = 0; i < 3; i++) {
		if (ws_connect(&s, NOBODY_LISTENS) != -ECONNREFUSED)
			work_die("connect was not refused");
	}
	ws_finish(&s, ws_join(&s, &server));
	ws_close(&server);
}

static void reset_by_client(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);
	int accepted = ws_join(&s, &server);

	ws_close_resets(&s);
	close(accepted);
	ws_close(&server);
}

static void reset_by_server(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w), fixed = ws_open(w), other = { 0 };
	int64_t t0;

	other.fd = ws_join(&s, &server);
	ws_linger0(&other);
	t0 = now_ns();
	close(other.fd);
	ws_lost(&s, CAUSE_RESET, "ECONNRESET", t0, now_ns());
	ws_close(&s);

	ws_bind(&fixed, 7006);
	other.fd = ws_join(&fixed, &server);
	ws_linger0(&other);
	close(other.fd);
	ws_close_resets(&fixed);
	ws_close(&server);
}

/* The listener's queue is full, so the second SYN is never answered. */
static void closed_in_syn_sent(struct work *w)
{
	struct wsock server = ws_listener_on(w, 7007), first = ws_open(w), second = ws_open(w);

	if (listen(server.fd, 0) < 0)
		work_die("listen");
	ws_connect_ok(&first, 7007);
	second.fd = (close(second.fd), socket(fam_domain(w->fam), SOCK_STREAM | SOCK_NONBLOCK, 0));
	if (ws_connect(&second, 7007) != -EINPROGRESS)
		work_die("connect was answered");
	ws_close(&second);
	ws_close_resets(&first);
	ws_close(&server);
}

static void one_port_two_destinations(struct work *w)
{
	struct wsock server[2], client[2];
	int accepted[2];

	work_sysctl(w, "net/ipv4/ip_local_port_range", "46000 46000");
	for (int i = 0; i < 2; i++) {
		server[i] = ws_listener_on(w, (uint16_t)(7010 + i));
	}
	for (int i = 0; i < 2; i++) {
		client[i] = ws_open(w);
		accepted[i] = ws_join(&client[i], &server[i]);
		if (ws_port(&client[i]) != 46000)
			work_die("not the one port there is");
	}
	for (int i = 0; i < 2; i++) {
		ws_finish(&client[i], accepted[i]);
		ws_close(&server[i]);
	}
}

static void exhausted(struct work *w)
{
	struct wsock server = ws_listener_on(w, 7012), first = ws_open(w), second = ws_open(w), third = ws_open(w);
	int accepted;

	work_sysctl(w, "net/ipv4/ip_local_port_range", "46001 46001");
	accepted = ws_join(&first, &server);
	if (ws_connect(&second, 7012) != -EADDRNOTAVAIL)
		work_die("connect found a port");
	if (ws_try_bind(&third, AT_LOOP, 0) != -EADDRINUSE)
		work_die("bind found a port");
	ws_finish(&first, accepted);
	ws_finish(&second, ws_join(&second, &server));
	ws_close(&third);
	ws_close(&server);
}

static void reuseport_group(struct work *w)
{
	struct wsock s[8];

	for (int i = 0; i < 8; i++) {
		s[i] = ws_open(w);
		ws_option(&s[i], SOL_SOCKET, SO_REUSEPORT, 1);
		ws_bind(&s[i], 7020);
		ws_listen(&s[i]);
	}
	for (int i = 0; i < 8; i++)
		ws_close(&s[(i * 3) % 8]);
}

/* Two may bind a port with SO_REUSEADDR, one may listen. */
static void reuseaddr_pair(struct work *w)
{
	struct wsock a = ws_open(w), b = ws_open(w);

	ws_option(&a, SOL_SOCKET, SO_REUSEADDR, 1);
	ws_option(&b, SOL_SOCKET, SO_REUSEADDR, 1);
	ws_bind(&a, 7021);
	ws_bind(&b, 7021);
	ws_listen(&a);
	if (listen(b.fd, 5) == 0 || errno != EADDRINUSE)
		work_die("the second listen");
	ws_close(&b);
	ws_close(&a);
}

static void both_families(struct work *w)
{
	struct wsock six = ws_open_as(w, FAM_V6, w->proto), four = ws_open_as(w, FAM_V4, w->proto);

	ws_option(&six, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	ws_bind_any(&six, 7022);
	ws_bind_any(&four, 7022);
	ws_listen(&six);
	ws_listen(&four);
	ws_close(&six);
	ws_close(&four);
}

static void disconnect_reconnect(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);

	for (int i = 0; i < 3; i++) {
		int accepted = ws_join(&s, &server);

		ws_disconnect(&s);
		close(accepted);
	}
	ws_finish(&s, ws_join(&s, &server));
	ws_close(&server);
}

static void disconnect_keeps_fixed(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);
	int accepted;

	ws_bind(&s, 7023);
	accepted = ws_join(&s, &server);
	ws_disconnect(&s);
	close(accepted);
	ws_finish(&s, ws_join(&s, &server));
	ws_close(&server);
}

/* Without a connection there is nothing to leave: the port stays. */
static void disconnect_bound(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_bind(&s, 0);
	ws_disconnect(&s);
	ws_close(&s);
}

static void stop_listening(struct wsock *s)
{
	int64_t t0 = now_ns();

	if (shutdown(s->fd, SHUT_RDWR) < 0)
		work_die("shutdown");
	if (!s->locked)
		ws_lost(s, CAUSE_DISCONNECT, NULL, t0, now_ns());
}

static void listener_stops(struct work *w)
{
	struct wsock chosen = ws_listener(w), fixed = ws_open(w), left = ws_listener(w);

	stop_listening(&chosen);
	ws_listen(&chosen);
	ws_close(&chosen);

	ws_bind(&fixed, 7024);
	ws_listen(&fixed);
	stop_listening(&fixed);
	ws_listen(&fixed);
	ws_close(&fixed);

	ws_disconnect(&left);
	ws_close(&left);
}

static void destroyed(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w), fixed = ws_open(w);
	int accepted[2];
	int64_t t0;

	ws_bind(&fixed, 7025);
	accepted[0] = ws_join(&s, &server);
	accepted[1] = ws_join(&fixed, &server);
	t0 = now_ns();
	ws_destroy(&s);
	ws_lost(&s, CAUSE_RESET, "ECONNABORTED", t0, now_ns());
	ws_destroy(&fixed);
	ws_close(&s);
	ws_close_resets(&fixed);
	close(accepted[0]);
	close(accepted[1]);
	t0 = now_ns();
	ws_destroy(&server);
	ws_lost(&server, CAUSE_RESET | CAUSE_DISCONNECT, "*", t0, now_ns());
	ws_close(&server);
}

static struct wsock fast_open_server(struct work *w)
{
	struct wsock server = ws_open(w);

	work_sysctl(w, "net/ipv4/tcp_fastopen", "1543");
	ws_bind(&server, 7026);
	ws_option(&server, IPPROTO_TCP, TCP_FASTOPEN, 5);
	ws_listen(&server);
	return server;
}

/* Unread data would make a reset of the server's close. */
static int accept_and_read(const struct wsock *server)
{
	int fd = ws_accept(server);
	char c;

	if (read(fd, &c, 1) != 1)
		work_die("read");
	return fd;
}

static void fast_open(struct work *w)
{
	struct wsock server = fast_open_server(w), s = ws_open(w);
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, w->fam, AT_LOOP, 7026);
	int64_t t0 = now_ns();

	if (sendto(s.fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, len) < 0)
		work_die("sendto MSG_FASTOPEN");
	ws_took(&s, HOW_CONNECT | HOW_SEND, true, t0, now_ns());
	ws_remote(&s, &to);
	ws_finish(&s, accept_and_read(&server));
	ws_close(&server);
}

/* The SYN, and with it the tracer's first sure look, waits for the first write. */
static void fast_open_deferred(struct work *w)
{
	struct wsock server = fast_open_server(w), s = ws_open(w);

	ws_option(&s, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
	ws_connect_ok(&s, 7026);
	ws_unseen(&s);
	usleep(20000);
	if (write(s.fd, "x", 1) != 1)
		work_die("write");
	ws_finish(&s, accept_and_read(&server));
	ws_close(&server);
}

static void unreachable(struct work *w)
{
	struct wsock s = ws_open(w);
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, FAM_V4, AT_LOOP, 80);

	((struct sockaddr_in *)&to)->sin_addr.s_addr = htonl(0xc0000201);
	if (ws_connect_to(&s, &to, len) != -ENETUNREACH)
		work_die("there is a way out of the namespace");
	ws_listen(&s);
	ws_close(&s);
}

static void last_descriptor_counts(struct work *w)
{
	struct wsock s = ws_listener(w), copy = s;

	copy.fd = dup(s.fd);
	ws_drop(&s);
	usleep(20000);
	ws_close(&copy);
}

static void one_port_again_and_again(struct work *w)
{
	for (int i = 0; i < 20; i++) {
		struct wsock s = ws_open(w);

		ws_bind(&s, 7027);
		if (i % 2)
			ws_listen(&s);
		ws_close(&s);
	}
}

#define PLAIN (VARIANT_TCP)
#define BOTH (VARIANT_TCP | VARIANT_MPTCP)

static const struct scenario list[] = {
	{ "bind0_listen", bind0_listen, FAMS_ALL, BOTH },
	{ "bind0_any", bind0_any, FAMS_PURE, BOTH },
	{ "listen_unbound", listen_unbound, FAMS_PURE, BOTH },
	{ "bind_only", bind_only, FAMS_ALL, BOTH },
	{ "bind_fails", bind_fails, FAMS_ALL, PLAIN },
	{ "bind_no_port_connect", bind_no_port_connect, FAMS_ALL, PLAIN },
	{ "server_closes_first", server_closes_first, FAMS_ALL, BOTH },
	{ "bound_connect", bound_connect, FAMS_ALL, PLAIN },
	{ "accepted_are_none", accepted_are_none, FAMS_ALL, PLAIN },
	{ "accepted_is_reborn", accepted_is_reborn, FAMS_ALL, PLAIN },
	{ "refused", refused, FAMS_ALL, PLAIN },
	{ "refused_again", refused_again, FAMS_ALL, PLAIN },
	{ "reset_by_client", reset_by_client, FAMS_ALL, PLAIN },
	{ "reset_by_server", reset_by_server, FAMS_ALL, PLAIN },
	{ "closed_in_syn_sent", closed_in_syn_sent, FAMS_ALL, PLAIN },
	{ "one_port_two_destinations", one_port_two_destinations, FAMS_ALL, PLAIN },
	{ "exhausted", exhausted, FAMS_ALL, PLAIN },
	{ "reuseport_group", reuseport_group, FAMS_ALL, PLAIN },
	{ "reuseaddr_pair", reuseaddr_pair, FAMS_ALL, PLAIN },
	{ "both_families", both_families, FAMS_V4, PLAIN },
	{ "disconnect_reconnect", disconnect_reconnect, FAMS_ALL, PLAIN },
	{ "disconnect_keeps_fixed", disconnect_keeps_fixed, FAMS_ALL, PLAIN },
	{ "disconnect_bound", disconnect_bound, FAMS_ALL, PLAIN },
	{ "listener_stops", listener_stops, FAMS_ALL, PLAIN },
	{ "destroyed", destroyed, FAMS_ALL, PLAIN },
	{ "fast_open", fast_open, FAMS_ALL, PLAIN },
	{ "fast_open_deferred", fast_open_deferred, FAMS_ALL, PLAIN },
	{ "unreachable", unreachable, FAMS_V4, PLAIN },
	{ "last_descriptor_counts", last_descriptor_counts, FAMS_ALL, PLAIN },
	{ "one_port_again_and_again", one_port_again_and_again, FAMS_ALL, PLAIN },
};

const struct scenario_list tcp_scenarios = { list, COUNT_OF(list) };
