/* SPDX-License-Identifier: GPL-2.0 */
/* Statements to lifetimes; the drawing is in the header. */
#include "user/lifetime.h"

#include <netinet/in.h>
#include <string.h>

#include "user/map.h"
#include "user/mem.h"

/* TCP states beyond those of event.h that a socket may lose its port in. */
enum {
	STATE_FIN_WAIT1 = 4,
	STATE_LAST_ACK = 9,
	STATE_CLOSING = 11,
};

/* Network namespaces whose address is remembered; a full table starts again. */
#define NETS_MAX 4096

struct net_address {
	uint64_t net, cookie;
};

struct tracker {
	const struct tracker_ops *ops;
	void *arg;
	struct lives lives;
	struct map nets;		/* netns -> struct net_address */
	bool starting;
};

static const char *const what_names[WHAT_END] = {
	"ready", "present", "allocate", "listen", "close", "time_wait", "release", "denied", "gap",
};

static const char *const cause_names[CAUSE_END] = {
	[CAUSE_CLOSE] = "close", [CAUSE_RESET] = "reset", [CAUSE_TIME_WAIT] = "time_wait",
	[CAUSE_REUSE] = "reuse", [CAUSE_DISCONNECT] = "disconnect", [CAUSE_NETNS] = "netns",
	[CAUSE_UNKNOWN] = "unknown",
};

static const char *const how_names[PW_HOW_END] = {
	[PW_HOW_BIND] = "bind", [PW_HOW_CONNECT] = "connect", [PW_HOW_SEND] = "send", [PW_HOW_LISTEN] = "listen",
};

const char *what_name(enum what what)
{
	return what < WHAT_END ? what_names[what] : NULL;
}

const char *cause_name(enum cause cause)
{
	return cause < CAUSE_END ? cause_names[cause] : NULL;
}

const char *how_name(enum pw_how how)
{
	return how < PW_HOW_END ? how_names[how] : NULL;
}

static struct lifetime *find_hold(struct tracker *t, uint64_t cookie, enum hold hold)
{
	struct lifetime *lifetime = lives_socket(&t->lives, cookie);

	while (lifetime && !(lifetime->holds & hold))
		lifetime = lives_socket_next(&t->lives, lifetime);
	return lifetime;
}

/* ---- changes ---- */

static void emit(struct tracker *t, enum what what, struct lifetime *lifetime, uint64_t time, bool exact)
{
	struct change change = { .what = what, .exact = exact, .time = time, .lifetime = lifetime };

	t->ops->emit(t->arg, &change);
}

/* Said as it happened, and not found later. */
static bool is_exact(const struct event *e)
{
	return !(e->flags & (PW_F_LATE | PW_F_ROW));
}

/* What a process did that need not be the owner. */
static void emit_by(struct tracker *t, enum what what, struct lifetime *lifetime, const struct event *e)
{
	struct change change = {
		.what = what, .exact = is_exact(e), .time = e->time, .lifetime = lifetime,
		.holder_pid = e->process.pid,
	};

	memcpy(change.holder_comm, e->process.comm, sizeof(change.holder_comm));
	t->ops->emit(t->arg, &change);
}

static void release(struct tracker *t, struct lifetime *lifetime, enum cause cause, uint64_t time, bool exact)
{
	struct change change = {
		.what = WHAT_RELEASE, .cause = cause, .exact = exact, .time = time, .lifetime = lifetime,
	};

	t->ops->emit(t->arg, &change);
	if (lifetime->owner)
		t->ops->put(t->arg, lifetime->owner);
	lives_end(&t->lives, lifetime, !lifetime->closed_at);
}

/* Ends one hold; the lifetime with it if that was the last. */
static void end_hold(struct tracker *t, struct lifetime *lifetime, enum hold hold, enum cause cause, uint64_t time,
		     bool exact)
{
	lifetime->holds &= ~hold;
	if (!lifetime->holds)
		release(t, lifetime, cause, time, exact);
}

static bool same_addr(const struct event_addr *a, const struct event_addr *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* A new connection has the very four-tuple of a TIME_WAIT: the kernel let it take over (tcp_twsk_unique()). */
static void end_reused(struct tracker *t, const struct event *e)
{
	struct lifetime *next, *lifetime;

	if (e->proto != IPPROTO_TCP || !e->remote.family)
		return;
	for (lifetime = lives_port(&t->lives, e->netns, e->proto, e->port, true); lifetime; lifetime = next) {
		next = lives_port_next(&t->lives, lifetime);
		if (lifetime->cookie == e->cookie && (lifetime->holds & HOLD_SOCK))
			continue;
		if (!(lifetime->holds & HOLD_TW) || lifetime->remote_port != e->remote_port)
			continue;
		if (same_addr(&lifetime->remote, &e->remote) && same_addr(&lifetime->addr, &e->addr))
			end_hold(t, lifetime, HOLD_TW, CAUSE_REUSE, lifetime->tw_ended ? lifetime->tw_ended : e->time,
				 !lifetime->inexact);
	}
}

/* ---- beginnings ---- */

static void learn(struct lifetime *lifetime, const struct event *e)
{
	/* Of a datagram socket what it was bound to: later the route gives it one. */
	if (!lifetime->addr.family || e->proto == IPPROTO_TCP)
		lifetime->addr = e->addr;
	/* Of a datagram socket the first, until it connects: a send names another with each datagram. */
	if (e->remote.family && (!lifetime->remote.family || e->proto == IPPROTO_TCP || e->flags & PW_F_UPDATE ||
				 e->how == PW_HOW_CONNECT)) {
		lifetime->remote = e->remote;
		lifetime->remote_port = e->remote_port;
	}
}

static struct lifetime *lifetime_of(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime = lives_new(&t->lives);

	if (!lifetime)
		return NULL;
	lifetime->cookie = e->cookie;
	lifetime->seen = e->time;
	lifetime->since = e->flags & (PW_F_ROW | PW_F_LATE) ? 0 : e->time;
	lifetime->netns = e->netns;
	lifetime->port = e->port;
	lifetime->proto = e->proto;
	lifetime->how = e->how;
	lifetime->flags = e->flags;
	lifetime->stale_error = (uint8_t)e->error;
	learn(lifetime, e);
	if (e->state == STATE_TIME_WAIT) {
		lifetime->holds = HOLD_TW;
		lifetime->tw = e->sk;
		lifetime->inexact = lifetime->waits = true;
	} else {
		lifetime->holds = HOLD_SOCK;
		lifetime->sk = e->sk;
	}
	return lifetime;
}

static void mark_listening(struct tracker *t, struct lifetime *lifetime, const struct event *e)
{
	if (e->proto != IPPROTO_TCP || e->state != STATE_LISTEN || lifetime->listening)
		return;
	lifetime->listening = lifetime->listened = true;
	/* Whatever it was connected to before. */
	lifetime->remote = (struct event_addr){ 0 };
	lifetime->remote_port = 0;
	/* The process of a row has the descriptor; who called listen() is not known by it. */
	if (e->flags & PW_F_ROW)
		emit(t, WHAT_LISTEN, lifetime, e->time, false);
	else
		emit_by(t, WHAT_LISTEN, lifetime, e);
}

static int begin(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime = lifetime_of(t, e);
	enum what what = t->starting && !is_exact(e) ? WHAT_PRESENT : WHAT_ALLOCATE;

	if (!lifetime)
		return -ENOMEM;
	if (lives_link(&t->lives, lifetime)) {
		lives_free(&t->lives, lifetime);
		return -ENOMEM;
	}
	lifetime->owner = t->ops->owner(t->arg, e);
	/* A `present` says by its state that it listens: the moment of listen() is not known. */
	if (what == WHAT_PRESENT)
		lifetime->listening = lifetime->listened = e->proto == IPPROTO_TCP && e->state == STATE_LISTEN;
	emit(t, what, lifetime, e->time, is_exact(e) || what == WHAT_PRESENT);
	mark_listening(t, lifetime, e);
	return 0;
}

/* ---- statements ---- */

static struct lifetime *find_time_wait(struct tracker *t, uint64_t cookie, uint64_t tw)
{
	struct lifetime *lifetime = lives_socket(&t->lives, cookie);

	while (lifetime && !(lifetime->holds & HOLD_TW && lifetime->tw == tw))
		lifetime = lives_socket_next(&t->lives, lifetime);
	return lifetime;
}

static bool waits_on_port(struct tracker *t, uint64_t cookie, uint16_t port)
{
	struct lifetime *lifetime = lives_socket(&t->lives, cookie);

	while (lifetime && !(lifetime->holds & HOLD_TW && lifetime->port == port))
		lifetime = lives_socket_next(&t->lives, lifetime);
	return lifetime;
}

static void forget_nets(struct tracker *t)
{
	void *known;

	for (size_t pos = 0; map_next(&t->nets, &pos, NULL, &known);)
		pw_free(known);
	map_done(&t->nets);
}

/* Best effort: what is not known, the kernel is asked without. */
static void learn_net(struct tracker *t, uint32_t netns, const struct event *e)
{
	struct net_address *known = map_get(&t->nets, netns);

	if (!e->net)
		return;
	if (!known) {
		if (map_count(&t->nets) >= NETS_MAX)
			forget_nets(t);
		known = pw_calloc(1, sizeof(*known));
		if (!known || map_put(&t->nets, netns, known)) {
			pw_free(known);
			return;
		}
	}
	*known = (struct net_address){ e->net, e->net_cookie };
}

/* A second TIME_WAIT of one lifetime takes over from the first: it ends later. */
static void hand_over(struct tracker *t, struct lifetime *lifetime, const struct event *e, uint64_t tw, bool exact)
{
	bool first = !(lifetime->holds & HOLD_TW);

	lifetime->holds = HOLD_TW | (e->flags & PW_F_HELD ? HOLD_SOCK : 0);
	lifetime->tw = tw;
	lives_wait(&t->lives, lifetime);
	learn_net(t, lifetime->netns, e);
	if (!first)
		return;
	lifetime->tw_at = e->time;
	lifetime->inexact |= !exact;
	emit(t, WHAT_TIME_WAIT, lifetime, e->time, exact);
}

/* A row in TIME_WAIT: of a lifetime whose hand-over was missed, or of one never heard of. */
static int feed_time_wait_row(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime = find_hold(t, e->cookie, HOLD_SOCK);

	if (find_time_wait(t, e->cookie, e->sk))
		return 0;
	if (lifetime && lifetime->port == e->port && !(lifetime->holds & HOLD_TW)) {
		hand_over(t, lifetime, e, e->sk, false);
		return 0;
	}
	/* An earlier TIME_WAIT of a lifetime that has a later one is no news. */
	return waits_on_port(t, e->cookie, e->port) ? 0 : begin(t, e);
}

static int feed_sock(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime;

	if (e->state == STATE_TIME_WAIT)
		return feed_time_wait_row(t, e);
	lives_expect(&t->lives, e);
	end_reused(t, e);
	lifetime = find_hold(t, e->cookie, HOLD_SOCK);
	if (lifetime && lifetime->port != e->port) {
		/* It could not have another port without giving up this one. */
		end_hold(t, lifetime, HOLD_SOCK, CAUSE_DISCONNECT, e->time, false);
		lifetime = NULL;
	}
	if (!lifetime)
		return e->flags & PW_F_UPDATE ? 0 : begin(t, e);
	if (!lifetime->sk)
		lifetime->sk = e->sk;
	if (!(e->flags & PW_F_ROW))
		learn(lifetime, e);
	if (!lifetime->owner && !(e->flags & PW_F_UPDATE) && e->process.pid && (e->flags & PW_F_ROW))
		lifetime->owner = t->ops->owner(t->arg, e);
	mark_listening(t, lifetime, e);
	return 0;
}

/*
 * The error that ended the hold, or 0. One that lay in the socket before (sk_err
 * stays until somebody reads SO_ERROR) is not it, nor is any where the kernel
 * ends a port without one: in CLOSE, and in LISTEN.
 */
static uint32_t error_of(const struct lifetime *lifetime, const struct event *e)
{
	if (e->flags & PW_F_LATE || e->error == lifetime->stale_error)
		return 0;
	if (lifetime->proto != IPPROTO_TCP)
		return e->error == ECONNABORTED ? e->error : 0;		/* udp_abort(); others do not end it */
	return e->state == STATE_CLOSE || e->state == STATE_LISTEN ? 0 : e->error;
}

static enum cause cause_of(const struct lifetime *lifetime, const struct event *e)
{
	bool orderly = e->state == STATE_CLOSE || e->state == STATE_LAST_ACK || e->state == STATE_FIN_WAIT1 ||
		       e->state == STATE_FIN_WAIT2 || e->state == STATE_CLOSING;

	if (error_of(lifetime, e))
		return CAUSE_RESET;
	if (orderly)
		return CAUSE_CLOSE;
	if (!lifetime->closed_at)
		return CAUSE_DISCONNECT;
	if (lifetime->proto == IPPROTO_TCP && (e->state == STATE_ESTABLISHED || e->state == STATE_CLOSE_WAIT))
		return CAUSE_RESET;	/* SO_LINGER 0 or unread data: tcp_close() sends RST */
	return CAUSE_CLOSE;
}

static void feed_free(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime = find_hold(t, e->cookie, HOLD_SOCK);

	if (!lifetime)
		return;
	if (e->flags & PW_F_HELD) {
		lifetime->listening = false;
		return;
	}
	lifetime->error = (uint8_t)error_of(lifetime, e);
	if (e->flags & PW_F_LATE)
		end_hold(t, lifetime, HOLD_SOCK, CAUSE_DISCONNECT, e->time, false);
	else
		end_hold(t, lifetime, HOLD_SOCK, cause_of(lifetime, e), e->time, !lifetime->inexact);
}

static void mark_closed(struct tracker *t, struct lifetime *lifetime, const struct event *e)
{
	if (lifetime->closed_at)
		return;
	lifetime->closed_at = e->time;
	/* A kernel socket has no descriptor: that it ends is all there is to tell. */
	if (!(lifetime->flags & PW_F_KERNEL))
		emit_by(t, WHAT_CLOSE, lifetime, e);
}

static void feed_close(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime = lives_socket(&t->lives, e->cookie), *next;

	if (lifetime && !lifetime->holds) {
		lives_forget(&t->lives, lifetime);
		return;
	}
	for (; lifetime; lifetime = next) {
		next = lives_socket_next(&t->lives, lifetime);
		if (!(lifetime->holds & HOLD_SOCK) || e->flags & PW_F_HELD) {
			mark_closed(t, lifetime, e);
		} else if (lifetime->proto != IPPROTO_TCP && e->port == lifetime->port) {
			mark_closed(t, lifetime, e);
			end_hold(t, lifetime, HOLD_SOCK, CAUSE_CLOSE, e->time, !lifetime->inexact);
		} else if (lifetime->proto == IPPROTO_TCP && lifetime->sk && !(lifetime->holds & HOLD_TW)) {
			/*
			 * The packet that ends a connection is at work on another CPU: the port is given back, and that is
			 * told in a moment. If it was not seen, the look of the next second finds it gone.
			 */
			mark_closed(t, lifetime, e);
			lifetime->parting = true;
		} else {
			/* It closes without the port it had: where that went was not seen. */
			if (lifetime->holds & HOLD_TW)
				mark_closed(t, lifetime, e);
			else if (!lifetime->closed_at)
				lifetime->closed_at = e->time;
			end_hold(t, lifetime, HOLD_SOCK,
				 lifetime->proto == IPPROTO_TCP ? CAUSE_UNKNOWN : CAUSE_DISCONNECT, e->time, false);
		}
	}
}

static void feed_tw_start(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime = find_hold(t, e->cookie, HOLD_SOCK);

	if (lifetime && lifetime->port == e->port && !find_time_wait(t, e->cookie, e->tw))
		hand_over(t, lifetime, e, e->tw, true);
}

static void feed_tw_end(struct tracker *t, const struct event *e)
{
	struct lifetime *lifetime = find_time_wait(t, e->cookie, e->tw);

	if (!lifetime)
		return;
	/* Early: a new connection that took over says so next. What nobody took over, a look at the kernel settles. */
	if (e->ended == PW_ENDED_EARLY)
		lifetime->tw_ended = e->time;
	else
		end_hold(t, lifetime, HOLD_TW, e->ended == PW_ENDED_NETNS ? CAUSE_NETNS : CAUSE_TIME_WAIT, e->time,
			 !lifetime->inexact);
}

int tracker_feed(struct tracker *t, const struct event *e)
{
	switch (e->kind) {
	case PW_SOCK:
		return feed_sock(t, e);
	case PW_FREE:
		feed_free(t, e);
		break;
	case PW_CLOSE:
		feed_close(t, e);
		break;
	case PW_TW_START:
		feed_tw_start(t, e);
		break;
	case PW_TW_END:
		feed_tw_end(t, e);
		break;
	case PW_PROCESS:
	case PW_DENIED:
	case PW_NONE:
	case PW_KIND_END:
		break;
	}
	return 0;
}

void tracker_lost(struct tracker *t, struct lifetime *lifetime, enum hold hold, enum cause cause, uint64_t time)
{
	if (!(lifetime->holds & hold))
		return;
	if (hold == HOLD_TW && lifetime->tw_ended)
		end_hold(t, lifetime, hold, cause, lifetime->tw_ended, !lifetime->inexact);
	else
		end_hold(t, lifetime, hold, cause, time, false);
}

/* ---- the whole ---- */

struct tracker *tracker_new(const struct tracker_ops *ops, void *arg)
{
	struct tracker *t = pw_calloc(1, sizeof(*t));

	if (t) {
		t->ops = ops;
		t->arg = arg;
	}
	return t;
}

void tracker_free(struct tracker **tracker)
{
	struct tracker *t = *tracker;

	if (!t)
		return;
	for (struct lifetime *lifetime = t->lives.all; lifetime; lifetime = lifetime->all_next)
		if (lifetime->owner)
			t->ops->put(t->arg, lifetime->owner);
	lives_done(&t->lives);
	forget_nets(t);
	pw_free(t);
	*tracker = NULL;
}

void tracker_starting(struct tracker *t, bool starting)
{
	t->starting = starting;
}

struct lifetime *tracker_first(struct tracker *t)
{
	return t->lives.all;
}

size_t tracker_count(const struct tracker *t)
{
	return t->lives.count;
}

bool tracker_knows(struct tracker *t, uint64_t cookie)
{
	const struct lifetime *lifetime = lives_socket(&t->lives, cookie);

	return lifetime && lifetime->holds;
}

struct lifetime *tracker_find(struct tracker *t, uint64_t cookie, uint32_t generation)
{
	struct lifetime *lifetime = lives_socket(&t->lives, cookie);

	while (lifetime && !(lifetime->holds && lifetime->generation == generation))
		lifetime = lives_socket_next(&t->lives, lifetime);
	return lifetime;
}

struct lifetime *tracker_port(struct tracker *t, uint32_t netns, uint8_t proto, uint16_t port)
{
	struct lifetime *first = lives_port(&t->lives, netns, proto, port, false);

	return first ? first : lives_port(&t->lives, netns, proto, port, true);
}

/* Those in TIME_WAIT come after the others. */
struct lifetime *tracker_port_next(struct tracker *t, const struct lifetime *l)
{
	struct lifetime *next = lives_port_next(&t->lives, l);

	return next || l->waits ? next : lives_port(&t->lives, l->netns, l->proto, l->port, true);
}

void tracker_net(const struct tracker *t, uint32_t netns, struct pw_look *look)
{
	const struct net_address *known = map_get(&t->nets, netns);

	look->net = known ? known->net : 0;
	look->net_cookie = known ? known->cookie : 0;
}
