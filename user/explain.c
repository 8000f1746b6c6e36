/* SPDX-License-Identifier: GPL-2.0 */
/* Causes and advice. */
#include "user/explain.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "user/mem.h"

#define WIDE_LOW 16384U			/* a range that reaches down to here leaves most registered ports alone */
#define RESERVED_SHOWN (32U * 1024)	/* a longer list is not repeated in each denial */
#define UNPRIVILEGED_START 1024		/* PROT_SOCK, where the sysctl cannot be read */

static const char *const denial_names[DENIAL_END] = {
	"conflict", "exhausted", "not_local", "permission", "other",
};

static const char *const state_names[RIVAL_END] = { "listen", "bound", "connected", "time_wait", "closed" };

const char *denial_name(enum denial cause)
{
	return cause < DENIAL_END ? denial_names[cause] : NULL;
}

const char *rival_state_name(enum rival_state state)
{
	return state < RIVAL_END ? state_names[state] : NULL;
}

struct explanation *explanation_ref(struct explanation *e)
{
	if (e)
		e->refs++;
	return e;
}

void explanation_put(struct explanation *e)
{
	if (!e || --e->refs)
		return;
	for (size_t i = 0; i < e->rival_count; i++)
		e->put(e->arg, e->rivals[i].owner);
	e->put(e->arg, e->usage.top);
	if (e->end)
		e->end(e->arg);
	pw_free(e->rivals);
	pw_free(e->advice);
	pw_free(e);
}

/* ---- causes ---- */

static enum denial cause_of_bind(const struct event *d, const struct range *range)
{
	uint32_t start = range->known ? range->unprivileged_start : UNPRIVILEGED_START;

	/* Whether it asked for a port is not known. */
	if (d->traits & PW_T_UNREAD)
		return DENIAL_OTHER;
	switch (d->error) {
	case EADDRINUSE:
		return d->port ? DENIAL_CONFLICT : DENIAL_EXHAUSTED;
	case EADDRNOTAVAIL:
		return DENIAL_NOT_LOCAL;
	case EACCES:
		return d->port && d->port < start ? DENIAL_PERMISSION : DENIAL_OTHER;
	default:
		return DENIAL_OTHER;
	}
}

enum denial explain_cause(const struct event *d, const struct range *range)
{
	if (d->how == PW_HOW_BIND)
		return cause_of_bind(d, range);
	if (d->how == PW_HOW_LISTEN && d->error == EADDRINUSE)
		return d->port ? DENIAL_CONFLICT : DENIAL_EXHAUSTED;
	if (d->proto == IPPROTO_TCP && d->error == EADDRNOTAVAIL)
		return d->port ? DENIAL_CONFLICT : DENIAL_EXHAUSTED;
	if (d->proto != IPPROTO_TCP && d->error == EAGAIN)
		return DENIAL_EXHAUSTED;
	return DENIAL_OTHER;
}

/* ---- who stands in the way ---- */

static bool is_any(const struct event_addr *addr)
{
	static const uint8_t any[16];

	return !memcmp(addr->bytes, any, addr->family == AF_INET6 ? 16 : 4);
}

/* [::] that speaks IPv4 as well. */
static bool is_dual(const struct event_addr *addr, bool v6only)
{
	return addr->family == AF_INET6 && is_any(addr) && !v6only;
}

static bool rival_v6only(const struct rival *r)
{
	return r->traits_known && r->traits & PW_T_V6ONLY;
}

static bool same_end(const struct event_addr *a, const struct event_addr *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/*
 * An IPv6 socket at an address of its own has LOOPBACK4_IPV6 as its IPv4 one (tcp_v6_connect(), __ip6_datagram_connect()),
 * which 0.0.0.0 meets (ipv4_rcv_saddr_equal()), unless it is IPV6_V6ONLY: bind() to such an address makes it so
 * (__inet6_bind()), connect() does not. The other way around bind() has seen to it first.
 */
static bool meets_any4(const struct event *d, const struct rival *r)
{
	bool only = r->traits_known ? r->traits & PW_T_V6ONLY : r->state == RIVAL_LISTEN || r->state == RIVAL_BOUND;

	return d->addr.family == AF_INET && is_any(&d->addr) && !only;
}

static bool addresses_meet(const struct event *d, const struct rival *r)
{
	if (d->addr.family == r->addr.family)
		return is_any(&d->addr) || is_any(&r->addr) || same_end(&d->addr, &r->addr);
	return is_dual(&d->addr, d->traits & PW_T_V6ONLY) || is_dual(&r->addr, rival_v6only(r)) || meets_any4(d, r);
}

static bool devices_meet(const struct event *d, const struct rival *r)
{
	return !d->bound_dev || !r->traits_known || !r->bound_dev || d->bound_dev == r->bound_dev;
}

static bool both(const struct event *d, const struct rival *r, uint8_t trait)
{
	return r->traits_known && d->traits & r->traits & trait;
}

static bool one_user(const struct event *d, const struct rival *r)
{
	return (r->state == RIVAL_TIME_WAIT && d->proto == IPPROTO_TCP) || (r->uid_known && r->uid == d->sock_uid);
}

bool explain_blocks(const struct event *d, const struct rival *r)
{
	if (d->how == PW_HOW_CONNECT)
		return d->remote.family && same_end(&d->remote, &r->remote) && d->remote_port == r->remote_port &&
		       (is_any(&d->addr) || same_end(&d->addr, &r->addr));
	if (!addresses_meet(d, r) || !devices_meet(d, r))
		return false;
	if (both(d, r, PW_T_REUSE) && (d->proto != IPPROTO_TCP || r->state != RIVAL_LISTEN))
		return false;
	return !both(d, r, PW_T_REUSEPORT) || !one_user(d, r);
}

/* ---- advice on a conflict ---- */

/* A line once, however many sockets it is true of. */
static void _printf_(2, 3) say(struct buf *out, const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	strcat(line, "\n");
	if (!strstr(buf_text(out), line))
		buf_adds(out, line);
}

static const char *noun(const struct event *d, const struct rival *r)
{
	if (r->state == RIVAL_TIME_WAIT)
		return "the connection that left this TIME_WAIT";
	if (r->state == RIVAL_LISTEN)
		return "the listener";
	if (r->accepted)
		return "the accepted connection";
	if (r->state == RIVAL_CONNECTED)
		return d->proto == IPPROTO_TCP && r->ephemeral ? "the outgoing connection" : "the connected socket";
	return "the socket that holds it";
}

enum help { HELPS, DEPENDS, HELPS_NOT };

/* SO_REUSEADDR: for TCP helps only where both have it, and never against a listener. */
static enum help reuse_help(const struct event *d, const struct rival *r)
{
	if (d->proto == IPPROTO_TCP && r->state == RIVAL_LISTEN)
		return HELPS_NOT;
	if (!r->traits_known)
		return DEPENDS;
	return r->traits & PW_T_REUSE ? HELPS : HELPS_NOT;
}

static enum help reuseport_help(const struct event *d, const struct rival *r)
{
	if (!r->traits_known)
		return DEPENDS;
	if (!(r->traits & PW_T_REUSEPORT))
		return HELPS_NOT;
	if (one_user(d, r))
		return HELPS;
	return r->uid_known ? HELPS_NOT : DEPENDS;
}

/* Against all of them: the weakest, and no promise where some are not listed. */
static enum help help_of_all(const struct event *d, const struct explanation *e,
			     enum help (*help)(const struct event *d, const struct rival *r))
{
	enum help all = e->rival_total > e->rival_count ? DEPENDS : HELPS;

	for (size_t i = 0; i < e->rival_count; i++)
		if (help(d, &e->rivals[i]) > all)
			all = help(d, &e->rivals[i]);
	return all;
}

static void advise_reuse(const struct event *d, const struct rival *r, enum help all, struct buf *out)
{
	if (reuse_help(d, r) != all)
		return;
	if (d->proto == IPPROTO_TCP && r->state == RIVAL_LISTEN)
		say(out, "SO_REUSEADDR does not help against a listener");
	else if (!r->traits_known)
		say(out, "SO_REUSEADDR on this socket helps only if %s has set it too", noun(d, r));
	else if (r->traits & PW_T_REUSE)
		say(out, "SO_REUSEADDR on this socket, set before bind(), helps: %s has set it", noun(d, r));
	else
		say(out, "SO_REUSEADDR on this socket alone does not help: %s had not set it", noun(d, r));
}

static void advise_reuseport(const struct event *d, const struct rival *r, enum help all, struct buf *out)
{
	if (reuseport_help(d, r) != all)
		return;
	if (!r->traits_known)
		say(out, "SO_REUSEPORT shares a port when both sockets set it before bind() and belong to one user");
	else if (!(r->traits & PW_T_REUSEPORT))
		say(out, "SO_REUSEPORT on this socket alone does not help: %s has not set it, and both must", noun(d, r));
	else if (!one_user(d, r) && r->uid_known)
		say(out, "SO_REUSEPORT shares a port within one user only: %s is of uid %u, this socket of uid %u",
		    noun(d, r), r->uid, d->sock_uid);
	else if (!one_user(d, r))
		say(out, "SO_REUSEPORT shares a port within one user only");
	else
		say(out, "SO_REUSEPORT on this socket, set before bind(), helps: %s has set it", noun(d, r));
}

static void advise_wait(const struct rival *r, struct buf *out)
{
	if (r->state == RIVAL_TIME_WAIT && r->left_ns != UINT64_MAX)
		say(out, "the TIME_WAIT ends by itself in %u s", (unsigned int)((r->left_ns + 999999999) / 1000000000));
}

static void advise_family(const struct event *d, const struct rival *r, struct buf *out)
{
	if (d->addr.family != r->addr.family)
		say(out, "the IPv6 socket of the two takes IPv4 as well: with IPV6_V6ONLY set on it before its bind() "
		    "or connect(), each has its own port");
}

static void advise_device(const struct event *d, const struct rival *r, struct buf *out)
{
	if (r->traits_known && !d->bound_dev != !r->bound_dev)
		say(out, "%s is bound to a device (interface %u), the other to none: two that are bound to different "
		    "devices (SO_BINDTODEVICE) share a port", d->bound_dev ? "this socket" : noun(d, r),
		    d->bound_dev ? d->bound_dev : r->bound_dev);
}

/* Reserved, the kernel would not have given it away: the whole line, for what was reserved before has to stay. */
static void advise_reserve(const struct event *d, const struct rival *r, const struct range *range, struct buf *out)
{
	_cleanup_buf_ struct buf list = BUF_INIT(RANGE_LIST_MAX);
	struct port_set more = { 0 };

	if (!r->ephemeral || r->accepted || !range_usable(range, d->port))
		return;
	port_set_add(&more, d->port);
	range_reserve(range, &more, &list);
	say(out, "port %u lies in net.ipv4.ip_local_port_range (%u-%u), from which the kernel gave it away; reserved, it "
	    "is kept free:", d->port, range->low, range->high);
	if (strstr(buf_text(out), "sysctl -w net.ipv4.ip_local_reserved_ports="))
		return;
	if (buf_error(&list) || list.len > RESERVED_SHOWN)
		say(out, "add it to net.ipv4.ip_local_reserved_ports, whose list is too long to be shown here");
	else
		buf_printf(out, "sysctl -w net.ipv4.ip_local_reserved_ports=%s\n", buf_text(&list));
}

static void advise_conflict(const struct event *d, const struct explanation *e, const struct rival *r,
			    const struct range *range, struct buf *out)
{
	if (d->how == PW_HOW_CONNECT) {
		say(out, "this connection, from the same address and port to the same end, is there already: without bind() "
		    "to a port, connect() takes another");
		advise_wait(r, out);
		return;
	}
	advise_family(d, r, out);
	advise_reuse(d, r, help_of_all(d, e, reuse_help), out);
	if (d->traits & PW_T_REUSEPORT || (r->traits_known && r->traits & PW_T_REUSEPORT) ||
	    r->state == RIVAL_LISTEN || d->proto != IPPROTO_TCP)
		advise_reuseport(d, r, help_of_all(d, e, reuseport_help), out);
	advise_device(d, r, out);
	advise_wait(r, out);
	advise_reserve(d, r, range, out);
}

/* ---- advice on the other causes ---- */

static bool is_loopback(const struct event_addr *addr)
{
	static const uint8_t one[16] = { [15] = 1 };

	return addr->family == AF_INET6 ? !memcmp(addr->bytes, one, 16) : addr->bytes[0] == 127;
}

/* tcp_twsk_unique() */
static bool reuses_time_waits(const struct event *d, const struct range *range)
{
	return range->tw_reuse == 1 || (range->tw_reuse == 2 && is_loopback(&d->remote));
}

static void advise_exhausted(const struct event *d, const struct usage *u, const struct range *range, struct buf *out)
{
	bool tcp = d->proto == IPPROTO_TCP;

	if (tcp && d->how == PW_HOW_BIND)
		say(out, "bind() to port 0 takes a port for every destination at once; before a connect(), "
		    "IP_BIND_ADDRESS_NO_PORT leaves the choice to that, which shares ports between destinations");
	else if (tcp && u->known && u->bound_first * 2 >= u->sockets && u->bound_first)
		say(out, "%u sockets had their port from bind() before connect(), which takes it for every destination at "
		    "once: IP_BIND_ADDRESS_NO_PORT would let connect() share ports between destinations",
		    u->bound_first);
	if (tcp && d->how == PW_HOW_CONNECT && u->known && u->reusable && !reuses_time_waits(d, range)) {
		say(out, "%u of the sockets are in TIME_WAIT; connect() may take such a port after a second:",
		    u->reusable);
		say(out, "sysctl -w net.ipv4.tcp_tw_reuse=1");
	}
	if (u->known && u->reserved)
		say(out, "%u ports of the range are reserved (net.ipv4.ip_local_reserved_ports)", u->reserved);
	if (range->known && (range->low > WIDE_LOW || range->high < 65535)) {
		say(out, "a wider range:");
		say(out, "sysctl -w net.ipv4.ip_local_port_range=\"%u 65535\"",
		    range->low > WIDE_LOW ? WIDE_LOW : range->low);
	}
}

static void advise_not_local(const struct event *d, struct buf *out)
{
	bool v6 = d->addr.family == AF_INET6;
	char text[INET6_ADDRSTRLEN];

	inet_ntop(v6 ? AF_INET6 : AF_INET, d->addr.bytes, text, sizeof(text));
	say(out, "%s is no address of this network namespace: ip addr add %s/%d dev DEVICE makes it one", text, text,
	    v6 ? 128 : 32);
	say(out, "%s on the socket, or sysctl -w net.%s.ip_nonlocal_bind=1, binds to it all the same",
	    v6 ? "IPV6_FREEBIND" : "IP_FREEBIND", v6 ? "ipv6" : "ipv4");
}

static void advise_permission(const struct event *d, const struct range *range, struct buf *out)
{
	say(out, "ports below %u take CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep PROGRAM)",
	    range->known ? range->unprivileged_start : UNPRIVILEGED_START);
	say(out, "or open them to everyone, from %u on:", d->port);
	say(out, "sysctl -w net.ipv4.ip_unprivileged_port_start=%u", d->port);
}

void explain_advise(const struct event *d, const struct explanation *e, const struct range *range, struct buf *out)
{
	switch (e->cause) {
	case DENIAL_CONFLICT:
		for (size_t i = 0; i < e->rival_count; i++)
			advise_conflict(d, e, &e->rivals[i], range, out);
		break;
	case DENIAL_EXHAUSTED:
		advise_exhausted(d, &e->usage, range, out);
		break;
	case DENIAL_NOT_LOCAL:
		advise_not_local(d, out);
		break;
	case DENIAL_PERMISSION:
		advise_permission(d, range, out);
		break;
	case DENIAL_OTHER:
		if (d->how == PW_HOW_BIND && d->error == EINVAL)
			say(out, "the socket has a port already, or the address is too short");
		else if (d->traits & PW_T_UNREAD)
			say(out, "the address that it gave could not be read, or is of another family");
		break;
	case DENIAL_END:
		break;
	}
}
