/* SPDX-License-Identifier: GPL-2.0 */
/* A random machine of sockets, and what hooks say of it. */
#include "tests/unit/stream.h"

#include "tests/unit/events.h"
#include "tests/unit/unit.h"

#define FIRST_PORT	40000
#define PORTS		4
#define REMOTES		2

enum { FIN_WAIT2 = 5, LAST_ACK = 9 };

static uint64_t below(struct stream *s, uint64_t n)
{
	return unit_random(&s->random) % n;
}

static bool chance(struct stream *s, unsigned int percent)
{
	return below(s, 100) < percent;
}

static uint16_t any_port(struct stream *s)
{
	return (uint16_t)(FIRST_PORT + below(s, PORTS));
}

/* ---- telling ---- */

static struct step *queued(struct stream *s, size_t index)
{
	return &s->queue[(s->queue_first + index) % STREAM_QUEUE];
}

static struct step *push(struct stream *s)
{
	if (s->queue_count == STREAM_QUEUE)
		abort();
	return queued(s, s->queue_count++);
}

static void push_kind(struct stream *s, int kind)
{
	*push(s) = (struct step){ .kind = kind };
}

/* Hooks of one socket run in its order, but for its close, which another CPU may be at the same time as its end. */
static bool may_swap(const struct event *a, const struct event *b)
{
	bool end = b->kind == PW_FREE || b->kind == PW_TW_START;

	return a->cookie != b->cookie || (a->kind == PW_CLOSE && end && !(a->flags & PW_F_ROW));
}

static void push_event(struct stream *s, const struct event *e)
{
	struct step *step = push(s), *before, other;

	*step = (struct step){ .kind = STEP_EVENT, .event = *e };
	if (s->queue_count < 2 || !chance(s, s->noise.swapped))
		return;
	before = queued(s, s->queue_count - 2);
	if (before->kind != STEP_EVENT || !may_swap(&before->event, e))
		return;
	other = *before;
	*before = *step;
	*step = other;
}

static void tell(struct stream *s, struct event e)
{
	e.time = ++s->time;
	if (chance(s, s->noise.lost))
		return;
	push_event(s, &e);
	if (chance(s, s->noise.repeated))
		push_event(s, &e);
}

static struct event statement(const struct stream_sock *k, enum pw_how how)
{
	struct event e = {
		.kind = PW_SOCK, .cookie = k->cookie, .port = k->port, .state = k->state, .proto = k->proto,
		.how = how, .netns = k->netns, .sk = k->sk, .remote_port = k->remote_port,
		.addr = ev_addr(k->v6 ? "::1" : "127.0.0.1"), .error = k->error,
		.process = { .pid = k->pid },
	};

	e.flags = k->locked ? PW_F_LOCKED : PW_F_EPHEMERAL;
	if (!k->pid)
		e.flags |= PW_F_KERNEL;
	if (k->remote_port)
		e.remote = ev_addr(k->v6 ? "::2" : "127.0.0.2");
	return e;
}

static void say(struct stream *s, struct stream_sock *k, enum pw_how how)
{
	k->spoken = true;
	tell(s, statement(k, how));
}

static void say_free(struct stream *s, struct stream_sock *k, uint16_t port, uint8_t left)
{
	struct event e = ev_free(k->cookie, port, left, 0);

	e.error = k->error;
	if (k->port)
		e.flags = PW_F_HELD;
	if (k->spoken)
		tell(s, e);
}

/* ---- TCP ---- */

static bool same_tuple(const struct stream_sock *a, const struct stream_sock *b)
{
	return a->cookie && b->cookie && a->netns == b->netns && a->proto == b->proto && a->v6 == b->v6 &&
	       a->port == b->port && a->remote_port == b->remote_port && a->remote_port;
}

static bool tuple_taken(const struct stream *s, const struct stream_sock *k)
{
	for (size_t i = 0; i < STREAM_SOCKS; i++)
		if (&s->socks[i] != k && same_tuple(&s->socks[i], k))
			return true;
	return false;
}

static void take_over_time_wait(struct stream *s, const struct stream_sock *k)
{
	for (size_t i = 0; i < STREAM_TWS; i++)
		if (same_tuple(&s->tws[i].was, k))
			s->tws[i].was.cookie = 0;
}

static void tcp_connect(struct stream *s, struct stream_sock *k)
{
	struct stream_sock wish = *k;

	wish.remote_port = (uint16_t)(80 + below(s, REMOTES));
	if (!wish.port)
		wish.port = any_port(s);
	if (tuple_taken(s, &wish))
		return;
	take_over_time_wait(s, &wish);
	s->allocations += !k->port;
	wish.state = STATE_SYN_SENT;
	*k = wish;
	say(s, k, PW_HOW_CONNECT);
}

static void bind_port(struct stream *s, struct stream_sock *k)
{
	k->locked = chance(s, 50);
	k->port = any_port(s);
	s->allocations += k->proto == IPPROTO_TCP;
	say(s, k, PW_HOW_BIND);
}

static void tcp_listen(struct stream *s, struct stream_sock *k)
{
	if (!k->port) {
		k->port = any_port(s);
		s->allocations++;
	}
	k->state = STATE_LISTEN;
	say(s, k, PW_HOW_LISTEN);
}

/* The socket itself is destroyed: what it held is given back. */
static void destroy(struct stream *s, struct stream_sock *k)
{
	uint16_t port = k->port;

	k->port = 0;
	if (port)
		say_free(s, k, port, k->state);
	k->cookie = 0;
}

static bool make_time_wait(struct stream *s, const struct stream_sock *k, uint16_t port, bool held)
{
	struct stream_tw *tw = &s->tws[below(s, STREAM_TWS)];
	struct event e;

	if (tw->was.cookie)
		return false;
	for (size_t i = 0; i < STREAM_TWS; i++)
		s->unclear |= s->tws[i].was.cookie == k->cookie && s->tws[i].was.port == port;
	*tw = (struct stream_tw){ .was = *k, .tw = s->next_address += 0x100 };
	tw->was.port = port;
	e = ev_tw(PW_TW_START, k->cookie, port, tw->tw, 0);
	e.flags = held ? PW_F_HELD : 0;
	if (k->spoken)
		tell(s, e);
	return true;
}

/* tcp_set_state(TCP_CLOSE): a port that was not asked for by number goes. */
static void tcp_to_close(struct stream *s, struct stream_sock *k, uint32_t error)
{
	uint16_t port = k->port;
	uint8_t left = k->state;
	bool waits = left == FIN_WAIT2 && !error;

	/* It lies in the socket until the program reads it. */
	if (error)
		k->error = error;
	k->state = STATE_CLOSE;
	if (!k->locked)
		k->port = 0;
	waits = waits && make_time_wait(s, k, port, k->port != 0);
	if (!waits && (!k->port || left == STATE_LISTEN))
		say_free(s, k, port, left);
	k->remote_port = 0;
	if (!k->open)
		destroy(s, k);
}

static void say_close(struct stream *s, struct stream_sock *k)
{
	struct event e = ev_close(k->cookie, k->port, k->port && k->proto == IPPROTO_TCP ? PW_F_HELD : 0, 0);
	bool late = !k->spoken && k->port && (k->proto != IPPROTO_TCP || k->state == STATE_CLOSE || k->locked ||
					      k->state == STATE_SYN_SENT || k->state == STATE_LISTEN);

	if (!k->pid)
		return;
	if (late) {
		struct event found = statement(k, PW_HOW_NONE);

		found.flags |= PW_F_LATE;
		found.process = (struct event_process){ 0 };
		k->spoken = true;
		tell(s, found);
	}
	/* Not always by its owner. */
	e.process.pid = k->pid + (chance(s, 20) ? 50 : 0);
	if (k->spoken)
		tell(s, e);
}

static void tcp_close(struct stream *s, struct stream_sock *k)
{
	say_close(s, k);
	k->open = false;
	if (k->state == STATE_CLOSE)
		destroy(s, k);
	else if (k->state == STATE_LISTEN || k->state == STATE_SYN_SENT || chance(s, 20))
		tcp_to_close(s, k, 0);
	else if (k->state == STATE_ESTABLISHED)
		k->state = FIN_WAIT2;
	else if (k->state == STATE_CLOSE_WAIT)
		k->state = LAST_ACK;
}

static void tcp_unconnected_turn(struct stream *s, struct stream_sock *k)
{
	uint64_t what = below(s, 4);

	if (what == 0 && !k->port)
		bind_port(s, k);
	else if (what == 1)
		tcp_listen(s, k);
	else if (what == 2)
		tcp_connect(s, k);
	else
		tcp_close(s, k);
}

static void tcp_established_turn(struct stream *s, struct stream_sock *k)
{
	switch (below(s, 5)) {
	case 0:
		k->state = STATE_CLOSE_WAIT;
		break;
	case 1:		/* shutdown(SHUT_WR), and the peer's acknowledgement */
		k->state = FIN_WAIT2;
		break;
	case 2:
		tcp_to_close(s, k, ECONNRESET);
		break;
	case 3:		/* connect(AF_UNSPEC): the error comes after the port has gone */
		tcp_to_close(s, k, 0);
		k->error = ECONNRESET;
		break;
	default:
		tcp_close(s, k);
		break;
	}
}

static void tcp_turn(struct stream *s, struct stream_sock *k)
{
	switch (k->state) {
	case STATE_CLOSE:
		tcp_unconnected_turn(s, k);
		break;
	case STATE_SYN_SENT:
		if (chance(s, 30))
			tcp_to_close(s, k, chance(s, 50) ? ECONNREFUSED : ETIMEDOUT);
		else if (chance(s, 20))
			tcp_close(s, k);
		else
			k->state = STATE_ESTABLISHED;
		break;
	case STATE_LISTEN:
		if (chance(s, 30))
			say(s, k, PW_HOW_LISTEN);
		else if (chance(s, 30))
			tcp_to_close(s, k, 0);
		else
			tcp_close(s, k);
		break;
	case STATE_ESTABLISHED:
		tcp_established_turn(s, k);
		break;
	case FIN_WAIT2:
		if (k->open && chance(s, 30))
			tcp_close(s, k);
		else
			tcp_to_close(s, k, chance(s, 10) ? ECONNRESET : 0);
		break;
	case STATE_CLOSE_WAIT:
		tcp_close(s, k);
		break;
	default:
		tcp_to_close(s, k, 0);
		break;
	}
}

/* ---- UDP ---- */

static void udp_connect(struct stream *s, struct stream_sock *k)
{
	struct event e = ev_free(k->cookie, 0, k->state, 0);
	bool bound = k->port != 0;

	if (!bound && k->spoken) {
		e.flags = PW_F_LATE;
		tell(s, e);
	}
	if (!bound)
		k->port = any_port(s);
	k->remote_port = (uint16_t)(80 + below(s, REMOTES));
	k->spoken = true;
	e = statement(k, PW_HOW_CONNECT);
	if (bound)
		e.flags |= PW_F_UPDATE;
	tell(s, e);
	k->state = STATE_ESTABLISHED;
}

static void udp_send(struct stream *s, struct stream_sock *k)
{
	if (!k->port)
		k->port = any_port(s);
	if (k->remote_port)
		return;
	/* Each datagram may go elsewhere. */
	k->remote_port = (uint16_t)(80 + below(s, REMOTES));
	say(s, k, PW_HOW_SEND);
	k->remote_port = 0;
}

/* Nothing tells of it. */
static void udp_disconnect(struct stream_sock *k)
{
	k->state = STATE_CLOSE;
	k->remote_port = 0;
	if (!k->locked)
		k->port = 0;
}

static void udp_close(struct stream *s, struct stream_sock *k)
{
	say_close(s, k);
	k->cookie = 0;
}

static void udp_abort(struct stream *s, struct stream_sock *k)
{
	uint16_t port = k->port;
	uint8_t left = k->state;

	k->error = ECONNABORTED;
	udp_disconnect(k);
	if (port && !k->port)
		say_free(s, k, port, left);
}

static void udp_turn(struct stream *s, struct stream_sock *k)
{
	switch (below(s, 6)) {
	case 0:
		if (!k->port)
			bind_port(s, k);
		break;
	case 1:
	case 2:
		udp_send(s, k);
		break;
	case 3:
		udp_connect(s, k);
		break;
	case 4:
		if (chance(s, 80))
			udp_disconnect(k);
		else
			udp_abort(s, k);
		break;
	default:
		udp_close(s, k);
		break;
	}
}

/* ---- the machine ---- */

static void new_socket(struct stream *s, struct stream_sock *k)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE };

	*k = (struct stream_sock){
		.cookie = ++s->next_cookie, .sk = s->next_address += 0x100,
		.netns = TEST_NETNS + (uint32_t)below(s, 2), .pid = chance(s, 5) ? 0 : 100 + (uint32_t)below(s, 3),
		.proto = protos[below(s, sizeof(protos))], .state = STATE_CLOSE, .open = true, .v6 = chance(s, 30),
	};
}

/* Most expire; some are reset or purged, and nothing tells of those. */
static void end_time_wait(struct stream *s, struct stream_tw *tw)
{
	if (tw->was.spoken && chance(s, 80))
		tell(s, ev_tw(PW_TW_END, tw->was.cookie, tw->was.port, tw->tw, 0));
	tw->was.cookie = 0;
}

/* By cookie, a socket before its TIME_WAIT, which is flagged where its socket holds on: as snapshot_settle() leaves them. */
static void say_row(struct stream *s, const struct stream_sock *k, uint64_t tw, bool held)
{
	struct event e = ev_row(statement(k, PW_HOW_NONE));

	if (tw) {
		e.flags = PW_F_ROW | PW_F_EPHEMERAL_UNKNOWN | (held ? PW_F_HELD : 0);
		e.state = STATE_TIME_WAIT;
		e.sk = tw;
		e.process = (struct event_process){ 0 };
	} else if (!k->open) {
		e.process = (struct event_process){ 0 };
	}
	e.time = ++s->time;
	push_event(s, &e);
}

static void snapshot(struct stream *s, bool starting)
{
	unsigned int swapped = s->noise.swapped;

	s->noise.swapped = 0;
	if (starting)
		push_kind(s, STEP_STARTING);
	for (size_t i = 0; i < STREAM_SOCKS; i++) {
		struct stream_sock *k = &s->socks[i];

		if (!k->cookie || !k->port)
			continue;
		k->spoken = true;
		say_row(s, k, 0, false);
	}
	for (size_t i = 0; i < STREAM_TWS; i++) {
		struct stream_tw *tw = &s->tws[i];

		if (!tw->was.cookie)
			continue;
		tw->was.spoken = true;
		say_row(s, &tw->was, tw->tw, stream_holds(s, tw->was.sk, tw->was.cookie, tw->was.port));
	}
	push_kind(s, STEP_LOOK);
	if (starting)
		push_kind(s, STEP_STARTED);
	s->noise.swapped = swapped;
}

static void turn(struct stream *s)
{
	struct stream_sock *k = &s->socks[below(s, STREAM_SOCKS)];
	struct stream_tw *tw = &s->tws[below(s, STREAM_TWS)];

	if (tw->was.cookie && chance(s, 20))
		end_time_wait(s, tw);
	else if (!k->cookie)
		new_socket(s, k);
	else if (k->error && chance(s, 50))
		k->error = 0;
	else if (k->proto == IPPROTO_TCP)
		tcp_turn(s, k);
	else
		udp_turn(s, k);
	if (chance(s, 5))
		push_kind(s, STEP_LOOK);
	if (chance(s, s->noise.rows))
		snapshot(s, false);
}

/* ---- anything at all ---- */

static void wild_flags(struct stream *s, struct event *e)
{
	static const uint8_t flags[] = { 0, 0, 0, PW_F_LATE, PW_F_UPDATE, PW_F_ROW, PW_F_ROW, PW_F_LOCKED,
					 PW_F_LATE | PW_F_UPDATE };
	static const uint8_t states[] = { STATE_CLOSE, STATE_SYN_SENT, STATE_ESTABLISHED, STATE_LISTEN };

	e->flags = flags[below(s, sizeof(flags))];
	e->state = states[below(s, sizeof(states))];
	if (e->state == STATE_LISTEN) {
		e->remote = (struct event_addr){ 0 };
		e->remote_port = 0;
	}
	e->error = chance(s, 30) ? ECONNRESET : 0;
	e->how = e->flags & PW_F_ROW ? PW_HOW_NONE : (enum pw_how)below(s, PW_HOW_END);
	if (e->flags & PW_F_ROW && chance(s, 40)) {
		e->state = STATE_TIME_WAIT;
		e->flags |= chance(s, 50) ? PW_F_HELD : 0;
		e->sk = 0x7000 + 8 * below(s, 3);
	}
}

static void wild_turn(struct stream *s)
{
	static const uint8_t lefts[] = { 1, 2, 4, 5, 7, 8, 9, 10, 11 };
	struct stream_sock *k = &s->socks[below(s, 4)];
	struct event e;

	/* What is closed says no more of a port, and no cookie comes twice. */
	if (!k->cookie || (!k->open && chance(s, 20)))
		new_socket(s, k);
	k->port = any_port(s);
	k->remote_port = (uint16_t)(chance(s, 50) ? 80 + below(s, REMOTES) : 0);
	e = statement(k, PW_HOW_NONE);
	switch (k->open ? below(s, 8) : 3 + below(s, 5)) {
	case 0:
	case 1:
	case 2:
		wild_flags(s, &e);
		break;
	case 3:
		e = ev_free(k->cookie, k->port, lefts[below(s, sizeof(lefts))], 0);
		e.flags = chance(s, 30) ? PW_F_HELD : chance(s, 30) ? PW_F_LATE : 0;
		e.error = chance(s, 30) ? ECONNRESET : chance(s, 30) ? EPIPE : 0;
		break;
	case 4:
	case 5:
		e = ev_tw(PW_TW_START, k->cookie, k->port, 0x7000 + 8 * below(s, 3), 0);
		e.flags = chance(s, 50) ? PW_F_HELD : 0;
		break;
	case 6:
		e = ev_tw(PW_TW_END, k->cookie, k->port, 0x7000 + 8 * below(s, 3), 0);
		break;
	default:
		e = ev_close(k->cookie, k->port, chance(s, 50) ? PW_F_HELD : 0, 0);
		k->open = false;
		break;
	}
	tell(s, e);
	if (chance(s, 3))
		push_kind(s, chance(s, 50) ? STEP_STARTING : STEP_STARTED);
}

/* ---- in and out ---- */

void stream_begin(struct stream *s, uint64_t seed, const struct stream_noise *noise)
{
	*s = (struct stream){ .noise = *noise, .random = seed, .time = 1000, .next_address = 0x100000 };
	if (noise->wild)
		return;
	for (int i = 0; i < 30; i++) {
		s->queue_count = 0;
		turn(s);
	}
	s->queue_count = 0;
	s->allocations = 0;
	s->unclear = false;
	for (size_t i = 0; i < STREAM_SOCKS; i++)
		s->socks[i].spoken = false;
	for (size_t i = 0; i < STREAM_TWS; i++)
		s->tws[i].was.spoken = false;
	snapshot(s, true);
}

static void pop(struct stream *s, struct step *out)
{
	*out = *queued(s, 0);
	s->queue_first = (s->queue_first + 1) % STREAM_QUEUE;
	s->queue_count--;
}

void stream_next(struct stream *s, struct step *out)
{
	while (!s->queue_count) {
		if (s->noise.wild)
			wild_turn(s);
		else
			turn(s);
	}
	pop(s, out);
}

/* One step towards an empty machine; false when it is. */
static bool wind_down(struct stream *s)
{
	for (size_t i = 0; i < STREAM_SOCKS; i++) {
		struct stream_sock *k = &s->socks[i];

		if (!k->cookie)
			continue;
		if (k->proto != IPPROTO_TCP)
			udp_close(s, k);
		else if (k->open)
			tcp_close(s, k);
		else
			tcp_to_close(s, k, 0);
		return true;
	}
	for (size_t i = 0; i < STREAM_TWS; i++) {
		if (!s->tws[i].was.cookie)
			continue;
		end_time_wait(s, &s->tws[i]);
		return true;
	}
	return false;
}

bool stream_end(struct stream *s, struct step *out)
{
	while (!s->queue_count)
		if (!wind_down(s))
			return false;
	pop(s, out);
	return true;
}

bool stream_holds(const struct stream *s, uint64_t object, uint64_t cookie, uint16_t port)
{
	for (size_t i = 0; i < STREAM_SOCKS; i++)
		if (s->socks[i].sk == object && s->socks[i].cookie == cookie && s->socks[i].port == port)
			return true;
	for (size_t i = 0; i < STREAM_TWS; i++)
		if (s->tws[i].tw == object && s->tws[i].was.cookie == cookie && s->tws[i].was.port == port)
			return true;
	return false;
}
