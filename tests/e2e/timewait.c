/* SPDX-License-Identifier: GPL-2.0 */
/* TIME_WAIT: how it begins, the ways it ends before its minute is over, and (in minute.c) not at all. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct wsock connected(struct work *w, const struct wsock *server, int *accepted)
{
	struct wsock s = ws_open(w);

	*accepted = ws_join(&s, server);
	return s;
}

static void client_closes_first(struct work *w)
{
	struct wsock server = ws_listener(w), s[3];
	int accepted;

	for (int i = 0; i < 3; i++) {
		s[i] = connected(w, &server, &accepted);
		ws_close_waits(&s[i]);
		close(accepted);
	}
	usleep(200000);
	ws_close(&server);
}

static void bound_client_closes_first(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);
	int accepted;

	ws_bind(&s, 7301);
	accepted = ws_join(&s, &server);
	ws_close_waits(&s);
	close(accepted);
	ws_close(&server);
}

/* The socket is its own other end. */
static void self_connected(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_bind(&s, 7302);
	ws_connect_ok(&s, 7302);
	ws_close_waits(&s);
}

/* close(), and a release at the end of a TIME_WAIT that `earliest` and `latest` bound. */
static struct happening *close_waits_until(struct wsock *s, unsigned cause, int64_t earliest, int64_t latest)
{
	int64_t t0 = now_ns(), t1;
	struct happening *end;

	close(s->fd);
	t1 = now_ns();
	ws_say(s, KIND_CLOSE, t0, t1);
	ws_say(s, KIND_TIME_WAIT, t0, t1);
	end = ws_lost(s, cause, NULL, t0 + earliest, latest ? t1 + latest : 0);
	end->late = true;
	return end;
}

/* The other end never closes: the wait is tcp_fin_timeout long. */
static void fin_wait2(struct work *w)
{
	struct wsock server = ws_listener(w), s;
	struct happening *end;
	int accepted;

	work_sysctl(w, "net/ipv4/tcp_fin_timeout", "1");
	s = connected(w, &server, &accepted);
	end = close_waits_until(&s, CAUSE_TIME_WAIT, 900 * MS, 1500 * MS);
	/*
	 * Where the answer to the FIN comes while close() still has the socket, that waits itself, without a
	 * TIME_WAIT (tcp_rcv_state_process(), TCP_FIN_WAIT1): seen where processors are slow.
	 */
	if (slow() > 1) {
		end[-1].optional = true;
		end->cause |= CAUSE_CLOSE | CAUSE_RESET;
	}
	usleep(1800000);
	close(accepted);
	ws_close(&server);
}

static void no_buckets(struct work *w)
{
	struct wsock server = ws_listener(w), s;
	int accepted;

	work_sysctl(w, "net/ipv4/tcp_max_tw_buckets", "0");
	s = connected(w, &server, &accepted);
	ws_close(&s);
	close(accepted);
	ws_close(&server);
}

/* One port, one destination: the second connection takes the port over from the first one's TIME_WAIT. */
static void reused(struct work *w)
{
	struct wsock server, s;
	struct happening *end;
	int accepted;

	work_sysctl(w, "net/ipv4/ip_local_port_range", "46200 46200");
	work_sysctl(w, "net/ipv4/tcp_tw_reuse", "1");
	server = ws_listener_on(w, 7303);
	s = connected(w, &server, &accepted);
	end = close_waits_until(&s, CAUSE_REUSE, 1000 * MS, 0);
	close(accepted);
	usleep(1300000);
	end->t0 = now_ns();
	s = connected(w, &server, &accepted);
	truth_settle(w->truth);
	if (ws_port(&s) != 46200)
		work_die("not the one port there is");
	ws_close_waits(&s);
	close(accepted);
	ws_close(&server);
}

static void destroyed(struct work *w)
{
	struct wsock server = ws_listener(w), s;
	struct sockaddr_storage local, remote;
	struct happening *end;
	int accepted, err;

	s = connected(w, &server, &accepted);
	addr_make(&local, w->fam, AT_LOOP, ws_port(&s));
	addr_make(&remote, w->fam, AT_LOOP, ws_port(&server));
	end = close_waits_until(&s, CAUSE_TIME_WAIT | CAUSE_RESET | CAUSE_UNKNOWN, 0, 0);
	strcpy(end->err, "*");
	close(accepted);
	usleep(50000);
	end->t0 = now_ns();
	err = sock_destroy(IPPROTO_TCP, &local, &remote, s.cookie);
	if (err == -EOPNOTSUPP || err == -ENOENT)
		work_skip(w, "this kernel has no SOCK_DESTROY of a TIME_WAIT");
	errno = -err;
	if (err)
		work_die("SOCK_DESTROY");
	truth_settle(w->truth);
	ws_close(&server);
}

/* The last process of a namespace leaves a TIME_WAIT, and the kernel takes both away. */
static void doomed_namespace(struct work *w, void *arg)
{
	struct work second = *w;
	struct wsock server, s;
	int accepted;

	(void)arg;
	if (netns_unshare(&second.netns))
		work_die("unshare");
	w->truth->second_netns = second.netns;
	server = ws_listener(&second);
	s = connected(&second, &server, &accepted);
	close_waits_until(&s, CAUSE_NETNS | CAUSE_UNKNOWN, 0, 30 * SECOND);
	close(accepted);
	ws_close(&server);
}

static void namespace_destroyed(struct work *w)
{
	work_reap(w, work_spawn(w, doomed_namespace, NULL));
}

static const struct scenario list[] = {
	{ "client_closes_first", client_closes_first, FAMS_ALL, VARIANT_TCP },
	{ "bound_client_closes_first", bound_client_closes_first, FAMS_ALL, VARIANT_TCP },
	{ "self_connected", self_connected, FAMS_ALL, VARIANT_TCP },
	{ "fin_wait2", fin_wait2, FAMS_ALL, VARIANT_TCP },
	{ "no_buckets", no_buckets, FAMS_ALL, VARIANT_TCP },
	{ "reused", reused, FAMS_ALL, VARIANT_TCP },
	{ "time_wait_destroyed", destroyed, FAMS_ALL, VARIANT_TCP },
	{ "namespace_destroyed", namespace_destroyed, FAMS_PURE, VARIANT_TCP },
};

const struct scenario_list timewait_scenarios = { list, COUNT_OF(list) };
