/* SPDX-License-Identifier: GPL-2.0 */
/* The slow honest twin. */
#include "tests/unit/twin.h"

#include <netinet/in.h>
#include <string.h>

static struct told *tell(struct twin *twin, const struct twin_life *life, enum what what, uint64_t time, bool exact)
{
	struct told *told = &twin->told[twin->told_count++];

	if (twin->told_count > sizeof(twin->told) / sizeof(twin->told[0]))
		abort();
	*told = life->is;
	told->what = what;
	told->time = time;
	told->exact = exact;
	return told;
}

static void done_by(struct told *told, const struct event *e)
{
	told->holder_pid = e->process.pid;
	memcpy(told->holder_comm, e->process.comm, sizeof(told->holder_comm));
}

static void take_away(struct twin *twin, struct twin_life *life, enum hold hold, enum cause cause, uint64_t time,
		      bool exact)
{
	struct told *told;

	if (life->over || !(life->is.holds & hold))
		return;
	life->is.holds &= (uint8_t)~hold;
	if (life->is.holds)
		return;
	told = tell(twin, life, WHAT_RELEASE, time, exact && !life->approximate);
	told->cause = cause;
	told->error = life->error;
	life->over = true;
}

static bool same_end(const struct event_addr *a, const struct event_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* ---- PW_SOCK ---- */

static void reuse(struct twin *twin, const struct event *e)
{
	if (e->proto != IPPROTO_TCP || e->remote.family == 0)
		return;
	for (size_t i = 0; i < twin->count; i++) {
		struct twin_life *life = &twin->lives[i];
		const struct told *is = &life->is;
		bool itself = is->cookie == e->cookie && is->holds & HOLD_SOCK;
		bool same_port = is->netns == e->netns && is->proto == e->proto && is->port == e->port;

		if (!itself && same_port && is->remote_port == e->remote_port && same_end(&is->addr, &e->addr) &&
		    same_end(&is->remote, &e->remote))
			take_away(twin, life, HOLD_TW, CAUSE_REUSE, e->time, true);
	}
}

static struct twin_life *new_life(struct twin *twin, const struct event *e)
{
	uint32_t before = 0;

	for (size_t i = 0; i < twin->count; i++)
		before += twin->lives[i].is.cookie == e->cookie;
	if (twin->count == twin->size) {
		twin->size = twin->size ? twin->size * 2 : 64;
		twin->lives = realloc(twin->lives, twin->size * sizeof(*twin->lives));
		if (!twin->lives)
			abort();
	}
	twin->lives[twin->count] = (struct twin_life){ .is = {
		.cookie = e->cookie, .generation = before + 1, .netns = e->netns, .owner = e->process.pid,
		.seen = e->time, .flags = e->flags, .port = e->port, .proto = e->proto, .how = (uint8_t)e->how, .addr = e->addr,
	} };
	return &twin->lives[twin->count++];
}

static void learn(struct twin_life *life, const struct event *e)
{
	bool connects = e->proto == IPPROTO_TCP || (e->flags & PW_F_UPDATE) || e->how == PW_HOW_CONNECT;

	/* A datagram socket keeps what it was bound to. */
	if (e->proto == IPPROTO_TCP || life->is.addr.family == 0)
		life->is.addr = e->addr;
	/* And the first remote end, until it connects. */
	if (e->remote.family && (life->is.remote.family == 0 || connects)) {
		life->is.remote = e->remote;
		life->is.remote_port = e->remote_port;
	}
}

static void listens(struct twin *twin, struct twin_life *life, const struct event *e)
{
	bool live = !(e->flags & PW_F_ROW);
	struct told *told;

	if (e->proto != IPPROTO_TCP || e->state != STATE_LISTEN || life->is.listening)
		return;
	life->is.listening = life->is.listened = true;
	/* A listener has no remote end, whatever it had before. */
	life->is.remote = (struct event_addr){ 0 };
	life->is.remote_port = 0;
	told = tell(twin, life, WHAT_LISTEN, e->time, live && !(e->flags & PW_F_LATE));
	/* The process of a row has the descriptor; who called listen() is not known by it. */
	if (live)
		done_by(told, e);
}

static void begin(struct twin *twin, const struct event *e)
{
	struct twin_life *life = new_life(twin, e);
	bool seen_happen = !(e->flags & (PW_F_LATE | PW_F_ROW));
	bool present = twin->starting && !seen_happen;

	life->stale_error = e->error;
	learn(life, e);
	if (e->state == STATE_TIME_WAIT) {
		life->is.holds = HOLD_TW;
		life->tw = e->sk;
		life->approximate = true;
	} else {
		life->is.holds = HOLD_SOCK;
		life->sk = e->sk;
	}
	if (seen_happen)
		life->is.since = e->time;
	/* A `present` says by its state that it listens. */
	if (present && e->state == STATE_LISTEN && e->proto == IPPROTO_TCP)
		life->is.listening = life->is.listened = true;
	tell(twin, life, present ? WHAT_PRESENT : WHAT_ALLOCATE, e->time, seen_happen || present);
	listens(twin, life, e);
}

static struct twin_life *life_by_socket(struct twin *twin, uint64_t cookie)
{
	for (size_t i = 0; i < twin->count; i++)
		if (twin->lives[i].is.cookie == cookie && !twin->lives[i].over &&
		    twin->lives[i].is.holds & HOLD_SOCK)
			return &twin->lives[i];
	return NULL;
}

static struct twin_life *life_by_tw(struct twin *twin, uint64_t cookie, uint64_t tw)
{
	for (size_t i = 0; i < twin->count; i++)
		if (twin->lives[i].is.cookie == cookie && !twin->lives[i].over && twin->lives[i].tw == tw &&
		    twin->lives[i].is.holds & HOLD_TW)
			return &twin->lives[i];
	return NULL;
}

/* The port goes over to a TIME_WAIT; the socket keeps it too if the statement says so. */
static void hand_over(struct twin *twin, struct twin_life *life, const struct event *e, uint64_t tw, bool exact)
{
	bool first = !(life->is.holds & HOLD_TW);

	life->is.holds = HOLD_TW | (e->flags & PW_F_HELD ? HOLD_SOCK : 0);
	life->tw = tw;
	if (!first)
		return;
	life->is.tw_at = e->time;
	life->approximate |= !exact;
	tell(twin, life, WHAT_TIME_WAIT, e->time, exact);
}

static bool waits_on_port(const struct twin *twin, uint64_t cookie, uint16_t port)
{
	for (size_t i = 0; i < twin->count; i++)
		if (twin->lives[i].is.cookie == cookie && !twin->lives[i].over && twin->lives[i].is.port == port &&
		    twin->lives[i].is.holds & HOLD_TW)
			return true;
	return false;
}

/* One that is known; else of a hand-over that was missed; else an earlier one of a lifetime that has a later one; else news. */
static void feed_time_wait_row(struct twin *twin, const struct event *e)
{
	struct twin_life *life = life_by_socket(twin, e->cookie);

	if (life_by_tw(twin, e->cookie, e->sk))
		return;
	if (life && life->is.port == e->port && !(life->is.holds & HOLD_TW))
		hand_over(twin, life, e, e->sk, false);
	else if (!waits_on_port(twin, e->cookie, e->port))
		begin(twin, e);
}

static void feed_sock(struct twin *twin, const struct event *e)
{
	struct twin_life *life;

	if (e->state == STATE_TIME_WAIT) {
		feed_time_wait_row(twin, e);
		return;
	}
	reuse(twin, e);
	life = life_by_socket(twin, e->cookie);
	if (life && life->is.port != e->port) {
		take_away(twin, life, HOLD_SOCK, CAUSE_DISCONNECT, e->time, false);
		life = NULL;
	}
	if (!life) {
		if (!(e->flags & PW_F_UPDATE))
			begin(twin, e);
		return;
	}
	if (!life->sk)
		life->sk = e->sk;
	if (!(e->flags & PW_F_ROW))
		learn(life, e);
	else if (!life->is.owner && !(e->flags & PW_F_UPDATE))
		life->is.owner = e->process.pid;
	listens(twin, life, e);
}

/* ---- the others ---- */

/* What lay in the socket before ended nothing; CLOSE and LISTEN are left without an error. */
static uint32_t error_of(const struct twin_life *life, const struct event *e)
{
	bool tcp = life->is.proto == IPPROTO_TCP;
	bool without = e->flags & PW_F_LATE || (tcp && (e->state == STATE_CLOSE || e->state == STATE_LISTEN)) ||
		       (!tcp && e->error != ECONNABORTED);

	return without || e->error == life->stale_error ? 0 : e->error;
}

static enum cause cause_of(const struct twin_life *life, const struct event *e)
{
	bool connected = e->state == STATE_ESTABLISHED || e->state == STATE_CLOSE_WAIT;
	const struct told *is = &life->is;

	if (error_of(life, e))
		return CAUSE_RESET;
	switch (e->state) {
	case 4:		/* FIN_WAIT1 */
	case 5:		/* FIN_WAIT2 */
	case STATE_CLOSE:
	case 9:		/* LAST_ACK */
	case 11:	/* CLOSING */
		return CAUSE_CLOSE;
	default:
		break;
	}
	if (!is->closed_at)
		return CAUSE_DISCONNECT;
	return connected && is->proto == IPPROTO_TCP ? CAUSE_RESET : CAUSE_CLOSE;
}

static void feed_free(struct twin *twin, const struct event *e)
{
	struct twin_life *life = life_by_socket(twin, e->cookie);

	if (!life)
		return;
	if (e->flags & PW_F_HELD) {
		life->is.listening = false;
		return;
	}
	life->error = error_of(life, e);
	if (e->flags & PW_F_LATE)
		take_away(twin, life, HOLD_SOCK, CAUSE_DISCONNECT, e->time, false);
	else
		take_away(twin, life, HOLD_SOCK, cause_of(life, e), e->time, true);
}

static void mark_closed(struct twin *twin, struct twin_life *life, const struct event *e)
{
	if (life->is.closed_at)
		return;
	life->is.closed_at = e->time;
	if (!(life->is.flags & PW_F_KERNEL))
		done_by(tell(twin, life, WHAT_CLOSE, e->time, true), e);
}

static void close_life(struct twin *twin, struct twin_life *life, const struct event *e)
{
	bool tcp = life->is.proto == IPPROTO_TCP;

	if (!(life->is.holds & HOLD_SOCK) || e->flags & PW_F_HELD) {
		mark_closed(twin, life, e);
	} else if (!tcp && e->port == life->is.port) {
		mark_closed(twin, life, e);
		take_away(twin, life, HOLD_SOCK, CAUSE_CLOSE, e->time, true);
	} else if (tcp && life->sk && !(life->is.holds & HOLD_TW)) {
		mark_closed(twin, life, e);
	} else {
		/* Its port went before, unseen. A TIME_WAIT lives on, and its socket is closed now. */
		if (life->is.holds & HOLD_TW)
			mark_closed(twin, life, e);
		else if (!life->is.closed_at)
			life->is.closed_at = e->time;
		take_away(twin, life, HOLD_SOCK, tcp ? CAUSE_UNKNOWN : CAUSE_DISCONNECT, e->time, false);
	}
}

static void feed_close(struct twin *twin, const struct event *e)
{
	for (size_t i = 0; i < twin->count; i++)
		if (twin->lives[i].is.cookie == e->cookie && !twin->lives[i].over)
			close_life(twin, &twin->lives[i], e);
}

static void feed_tw_start(struct twin *twin, const struct event *e)
{
	struct twin_life *life = life_by_socket(twin, e->cookie);

	if (life && life->is.port == e->port && !life_by_tw(twin, e->cookie, e->tw))
		hand_over(twin, life, e, e->tw, true);
}

static void feed_tw_end(struct twin *twin, const struct event *e)
{
	struct twin_life *life = life_by_tw(twin, e->cookie, e->tw);

	if (life)
		take_away(twin, life, HOLD_TW, CAUSE_TIME_WAIT, e->time, true);
}

void twin_feed(struct twin *twin, const struct event *e)
{
	twin->told_count = 0;
	if (e->kind == PW_SOCK)
		feed_sock(twin, e);
	else if (e->kind == PW_FREE)
		feed_free(twin, e);
	else if (e->kind == PW_CLOSE)
		feed_close(twin, e);
	else if (e->kind == PW_TW_START)
		feed_tw_start(twin, e);
	else if (e->kind == PW_TW_END)
		feed_tw_end(twin, e);
}

void twin_lost(struct twin *twin, uint64_t cookie, uint32_t generation, enum hold hold, enum cause cause, uint64_t time)
{
	twin->told_count = 0;
	for (size_t i = 0; i < twin->count; i++)
		if (twin->lives[i].is.cookie == cookie && twin->lives[i].is.generation == generation)
			take_away(twin, &twin->lives[i], hold, cause, time, false);
}

void twin_done(struct twin *twin)
{
	free(twin->lives);
	*twin = (struct twin){ 0 };
}
