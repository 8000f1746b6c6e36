/* SPDX-License-Identifier: GPL-2.0 */
/* Statements to lifetimes; the drawing is in the header. */
#include "user/lifetime.h"

#include <netinet/in.h>
#include <string.h>

#include "user/mem.h"

/* TCP states beyond those of event.h that a socket may lose its port in. */
enum {
	STATE_FIN_WAIT1 = 4,
	STATE_LAST_ACK = 9,
	STATE_CLOSING = 11,
};

/* Idle sockets (open, without a port) whose generation is remembered; beyond that the oldest begin again at 1. */
#define IDLE_MAX 65536

struct socket_entry {
	struct lifetime *lifetimes;
	struct socket_entry *idle_next, *idle_prev;
	uint64_t cookie;
	uint32_t generation;
	bool idle;
};

struct tracker {
	const struct tracker_ops *ops;
	void *arg;
	struct map sockets;		/* cookie -> struct socket_entry */
	struct map ports;		/* port_key() -> first struct lifetime */
	struct lifetime *all;
	size_t count;
	struct socket_entry *idle_first, *idle_last;
	size_t idle_count;
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

static uint64_t port_key(uint32_t netns, uint8_t proto, uint16_t port)
{
	return (uint64_t)netns << 32 | (uint64_t)proto << 16 | port;
}

/* ---- sockets ---- */

static void idle_unlink(struct tracker *t, struct socket_entry *entry)
{
	if (!entry->idle)
		return;
	*(entry->idle_prev ? &entry->idle_prev->idle_next : &t->idle_first) = entry->idle_next;
	*(entry->idle_next ? &entry->idle_next->idle_prev : &t->idle_last) = entry->idle_prev;
	entry->idle_next = entry->idle_prev = NULL;
	entry->idle = false;
	t->idle_count--;
}

static void socket_forget(struct tracker *t, struct socket_entry *entry)
{
	idle_unlink(t, entry);
	map_del(&t->sockets, entry->cookie);
	pw_free(entry);
}

static void idle_append(struct tracker *t, struct socket_entry *entry)
{
	entry->idle = true;
	entry->idle_prev = t->idle_last;
	*(t->idle_last ? &t->idle_last->idle_next : &t->idle_first) = entry;
	t->idle_last = entry;
	if (++t->idle_count > IDLE_MAX)
		socket_forget(t, t->idle_first);
}

static struct socket_entry *socket_get(struct tracker *t, uint64_t cookie)
{
	struct socket_entry *entry = map_get(&t->sockets, cookie);

	if (entry)
		return entry;
	entry = pw_calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->cookie = cookie;
	if (map_put(&t->sockets, cookie, entry)) {
		pw_free(entry);
		return NULL;
	}
	return entry;
}

static struct lifetime *find_hold(struct tracker *t, uint64_t cookie, enum hold hold)
{
	struct socket_entry *entry = map_get(&t->sockets, cookie);
	struct lifetime *lifetime = entry ? entry->lifetimes : NULL;

	while (lifetime && !(lifetime->holds & hold))
		lifetime = lifetime->cookie_next;
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

static void unlink_lifetime(struct tracker *t, struct socket_entry *entry, struct lifetime *lifetime)
{
	uint64_t key = port_key(lifetime->netns, lifetime->proto, lifetime->port);
	struct lifetime *first = map_get(&t->ports, key);
	struct lifetime **at;

	if (first == lifetime && !lifetime->port_next) {
		map_del(&t->ports, key);
	} else if (first == lifetime) {
		/* Replacing a value allocates nothing. */
		(void)!map_put(&t->ports, key, lifetime->port_next);
	} else {
		while (first->port_next != lifetime)
			first = first->port_next;
		first->port_next = lifetime->port_next;
	}
	for (at = &entry->lifetimes; *at != lifetime; at = &(*at)->cookie_next)
		;
	*at = lifetime->cookie_next;
	*(lifetime->all_prev ? &lifetime->all_prev->all_next : &t->all) = lifetime->all_next;
	if (lifetime->all_next)
		lifetime->all_next->all_prev = lifetime->all_prev;
	t->count--;
}

static void free_lifetime(struct tracker *t, struct lifetime *lifetime)
{
	if (lifetime->owner)
		t->ops->put(t->arg, lifetime->owner);
	pw_free(lifetime);
}

static void release(struct tracker *t, struct lifetime *lifetime, enum cause cause, uint64_t time, bool exact)
{
	struct socket_entry *entry = map_get(&t->sockets, lifetime->cookie);
	struct change change = {
		.what = WHAT_RELEASE, .cause = cause, .exact = exact, .time = time, .lifetime = lifetime,
	};

	t->ops->emit(t->arg, &change);
	unlink_lifetime(t, entry, lifetime);
	if (!entry->lifetimes && lifetime->closed_at)
		socket_forget(t, entry);
	else if (!entry->lifetimes)
		idle_append(t, entry);
	free_lifetime(t, lifetime);
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
	for (lifetime = tracker_port(t, e->netns, e->proto, e->port); lifetime; lifetime = next) {
		next = lifetime->port_next;
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

static int link_lifetime(struct tracker *t, struct socket_entry *entry, struct lifetime *lifetime)
{
	uint64_t key = port_key(lifetime->netns, lifetime->proto, lifetime->port);
	struct lifetime *first = map_get(&t->ports, key);
	int r;

	if (first) {
		lifetime->port_next = first->port_next;
		first->port_next = lifetime;
	} else {
		r = map_put(&t->ports, key, lifetime);
		if (r)
			return r;
	}
	idle_unlink(t, entry);
	lifetime->cookie_next = entry->lifetimes;
	entry->lifetimes = lifetime;
	lifetime->all_next = t->all;
	if (t->all)
		t->all->all_prev = lifetime;
	t->all = lifetime;
	t->count++;
	return 0;
}

static void learn(struct lifetime *lifetime, const struct event *e)
{
	lifetime->addr = e->addr;
	/* Of a datagram socket the first, until it connects: a send names another with each datagram. */
	if (e->remote.family && (!lifetime->remote.family || e->proto == IPPROTO_TCP || e->flags & PW_F_UPDATE)) {
		lifetime->remote = e->remote;
		lifetime->remote_port = e->remote_port;
	}
}

static struct lifetime *lifetime_of(const struct event *e)
{
	struct lifetime *lifetime = pw_calloc(1, sizeof(*lifetime));

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
	lifetime->stale_error = e->error;
	learn(lifetime, e);
	if (e->state == STATE_TIME_WAIT) {
		lifetime->holds = HOLD_TW;
		lifetime->tw = e->sk;
		lifetime->inexact = true;
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
	struct socket_entry *entry = socket_get(t, e->cookie);
	struct lifetime *lifetime;
	enum what what = t->starting && !is_exact(e) ? WHAT_PRESENT : WHAT_ALLOCATE;

	if (!entry)
		return -ENOMEM;
	lifetime = lifetime_of(e);
	if (!lifetime || link_lifetime(t, entry, lifetime)) {
		pw_free(lifetime);
		if (!entry->lifetimes && !entry->idle)
			socket_forget(t, entry);
		return -ENOMEM;
	}
	lifetime->generation = ++entry->generation;
	lifetime->owner = t->ops->owner(t->arg, e);
	/* A `present` says by its state that it listens: the moment of listen() is not known. */
	if (what == WHAT_PRESENT)
		lifetime->listening = lifetime->listened = e->proto == IPPROTO_TCP && e->state == STATE_LISTEN;
	emit(t, what, lifetime, e->time, is_exact(e) || what == WHAT_PRESENT);
	mark_listening(t, lifetime, e);
	return 0;
}

/* ---- statements ---- */

static struct lifetime *first_of(struct tracker *t, uint64_t cookie)
{
	struct socket_entry *entry = map_get(&t->sockets, cookie);

	return entry ? entry->lifetimes : NULL;
}

static struct lifetime *find_time_wait(struct tracker *t, uint64_t cookie, uint64_t tw)
{
	struct lifetime *lifetime = first_of(t, cookie);

	while (lifetime && !(lifetime->holds & HOLD_TW && lifetime->tw == tw))
		lifetime = lifetime->cookie_next;
	return lifetime;
}

static bool waits_on_port(struct tracker *t, uint64_t cookie, uint16_t port)
{
	struct lifetime *lifetime = first_of(t, cookie);

	while (lifetime && !(lifetime->holds & HOLD_TW && lifetime->port == port))
		lifetime = lifetime->cookie_next;
	return lifetime;
}

/* A second TIME_WAIT of one lifetime takes over from the first: it ends later. */
static void hand_over(struct tracker *t, struct lifetime *lifetime, const struct event *e, uint64_t tw, bool exact)
{
	bool first = !(lifetime->holds & HOLD_TW);

	lifetime->holds = HOLD_TW | (e->flags & PW_F_HELD ? HOLD_SOCK : 0);
	lifetime->tw = tw;
	lifetime->net = e->net;
	lifetime->net_cookie = e->net_cookie;
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
	lifetime->error = error_of(lifetime, e);
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
	struct socket_entry *entry = map_get(&t->sockets, e->cookie);
	struct lifetime *lifetime, *next;

	if (!entry)
		return;
	if (!entry->lifetimes) {
		socket_forget(t, entry);
		return;
	}
	for (lifetime = entry->lifetimes; lifetime; lifetime = next) {
		next = lifetime->cookie_next;
		if (!(lifetime->holds & HOLD_SOCK) || e->flags & PW_F_HELD) {
			mark_closed(t, lifetime, e);
		} else if (lifetime->proto != IPPROTO_TCP && e->port == lifetime->port) {
			mark_closed(t, lifetime, e);
			end_hold(t, lifetime, HOLD_SOCK, CAUSE_CLOSE, e->time, !lifetime->inexact);
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
	struct lifetime *lifetime;
	void *entry;

	if (!t)
		return;
	while ((lifetime = t->all)) {
		t->all = lifetime->all_next;
		free_lifetime(t, lifetime);
	}
	for (size_t pos = 0; map_next(&t->sockets, &pos, NULL, &entry);)
		pw_free(entry);
	map_done(&t->sockets);
	map_done(&t->ports);
	pw_free(t);
	*tracker = NULL;
}

void tracker_starting(struct tracker *t, bool starting)
{
	t->starting = starting;
}

struct lifetime *tracker_first(struct tracker *t)
{
	return t->all;
}

size_t tracker_count(const struct tracker *t)
{
	return t->count;
}

bool tracker_knows(struct tracker *t, uint64_t cookie)
{
	const struct socket_entry *entry = map_get(&t->sockets, cookie);

	return entry && entry->lifetimes;
}

struct lifetime *tracker_find(struct tracker *t, uint64_t cookie, uint32_t generation)
{
	const struct socket_entry *entry = map_get(&t->sockets, cookie);
	struct lifetime *lifetime = entry ? entry->lifetimes : NULL;

	while (lifetime && lifetime->generation != generation)
		lifetime = lifetime->cookie_next;
	return lifetime;
}

struct lifetime *tracker_port(struct tracker *t, uint32_t netns, uint8_t proto, uint16_t port)
{
	return map_get(&t->ports, port_key(netns, proto, port));
}
