/* SPDX-License-Identifier: GPL-2.0 */
/* Lifetimes in chunks, linked by number. */
#include "user/lives.h"

#include <string.h>

#include "user/mem.h"

/* Idle sockets whose generation is remembered; beyond that the oldest begin again at 1. */
#define IDLE_MAX 65536

/* With some 27 bytes of tables that is below 200, at any number of them. */
_Static_assert(sizeof(struct lifetime) <= 160, "a live lifetime has its price");

static struct lifetime *at(const struct lives *s, uint32_t number)
{
	return number ? &s->chunks[(number - 1) / LIVES_CHUNK][(number - 1) % LIVES_CHUNK] : NULL;
}

/* ---- memory ---- */

static int add_chunk(struct lives *s)
{
	struct lifetime **chunks = pw_reallocarray(s->chunks, s->chunk_count + 1, sizeof(*chunks));
	struct lifetime *chunk;

	if (!chunks)
		return -ENOMEM;
	s->chunks = chunks;
	chunk = pw_calloc(LIVES_CHUNK, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	chunks[s->chunk_count] = chunk;
	for (size_t i = LIVES_CHUNK; i-- > 0;) {
		chunk[i].number = (uint32_t)(s->chunk_count * LIVES_CHUNK + i + 1);
		chunk[i].cookie_next = s->vacant;
		s->vacant = chunk[i].number;
	}
	s->chunk_count++;
	return 0;
}

struct lifetime *lives_new(struct lives *s)
{
	struct lifetime *l;
	uint32_t number;

	if (!s->vacant && add_chunk(s))
		return NULL;
	number = s->vacant;
	l = at(s, number);
	s->vacant = l->cookie_next;
	*l = (struct lifetime){ .number = number };
	return l;
}

void lives_free(struct lives *s, struct lifetime *l)
{
	l->cookie_next = s->vacant;
	s->vacant = l->number;
}

void lives_done(struct lives *s)
{
	for (size_t i = 0; i < s->chunk_count; i++)
		pw_free(s->chunks[i]);
	pw_free(s->chunks);
	index_done(&s->sockets);
	index_done(&s->ports);
	*s = (struct lives){ 0 };
}

/* ---- by socket ---- */

static struct index_slot *socket_slot(const struct lives *s, uint64_t cookie)
{
	uint32_t hash = index_hash(cookie);
	struct index_slot *slot;

	for (size_t pos = 0; (slot = index_next(&s->sockets, hash, &pos));)
		if (at(s, slot->number)->cookie == cookie)
			return slot;
	return NULL;
}

struct lifetime *lives_socket(const struct lives *s, uint64_t cookie)
{
	const struct index_slot *slot = socket_slot(s, cookie);

	return slot ? at(s, slot->number) : NULL;
}

struct lifetime *lives_socket_next(const struct lives *s, const struct lifetime *l)
{
	return at(s, l->cookie_next);
}

static void idle_unlink(struct lives *s, struct lifetime *idle)
{
	*(idle->all_prev ? &idle->all_prev->all_next : &s->idle_first) = idle->all_next;
	*(idle->all_next ? &idle->all_next->all_prev : &s->idle_last) = idle->all_prev;
	s->idle_count--;
}

void lives_forget(struct lives *s, struct lifetime *idle)
{
	idle_unlink(s, idle);
	index_del(&s->sockets, socket_slot(s, idle->cookie));
	lives_free(s, idle);
}

static void idle_append(struct lives *s, struct lifetime *l)
{
	l->holds = 0;
	l->all_next = NULL;
	l->all_prev = s->idle_last;
	*(s->idle_last ? &s->idle_last->all_next : &s->idle_first) = l;
	s->idle_last = l;
	if (++s->idle_count > IDLE_MAX)
		lives_forget(s, s->idle_first);
}

/* There is room for it. Before those that are there, and in the place of an idle one. */
static void join_socket(struct lives *s, struct lifetime *l)
{
	struct index_slot *slot = socket_slot(s, l->cookie);
	struct lifetime *first = slot ? at(s, slot->number) : NULL;

	l->generation = l->generations = first ? first->generations + 1 : 1;
	if (!first) {
		index_add(&s->sockets, index_hash(l->cookie), l->number);
		return;
	}
	slot->number = l->number;
	if (first->holds) {
		l->cookie_next = first->number;
	} else {
		idle_unlink(s, first);
		lives_free(s, first);
	}
}

static void leave_socket(struct lives *s, struct lifetime *l, bool remember)
{
	struct index_slot *slot = socket_slot(s, l->cookie);
	struct lifetime *before = at(s, slot->number);

	if (before != l) {
		while (before->cookie_next != l->number)
			before = at(s, before->cookie_next);
		before->cookie_next = l->cookie_next;
	} else if (l->cookie_next) {
		slot->number = l->cookie_next;
		at(s, l->cookie_next)->generations = l->generations;
	} else if (remember) {
		idle_append(s, l);
		return;
	} else {
		index_del(&s->sockets, slot);
	}
	lives_free(s, l);
}

/* ---- by port ---- */

static uint32_t port_hash(uint32_t netns, uint8_t proto, uint16_t port, bool waits)
{
	return index_hash((uint64_t)netns << 32 | (uint64_t)waits << 24 | (uint64_t)proto << 16 | port);
}

static struct index_slot *port_slot(const struct lives *s, uint32_t netns, uint8_t proto, uint16_t port, bool waits)
{
	uint32_t hash = port_hash(netns, proto, port, waits);
	struct index_slot *slot;

	for (size_t pos = 0; (slot = index_next(&s->ports, hash, &pos));) {
		const struct lifetime *l = at(s, slot->number);

		if (l->port == port && l->proto == proto && l->netns == netns && l->waits == waits)
			return slot;
	}
	return NULL;
}

struct lifetime *lives_port(const struct lives *s, uint32_t netns, uint8_t proto, uint16_t port, bool waits)
{
	const struct index_slot *slot = port_slot(s, netns, proto, port, waits);

	return slot ? at(s, slot->number) : NULL;
}

struct lifetime *lives_port_next(const struct lives *s, const struct lifetime *l)
{
	return at(s, l->port_next);
}

/* There is room for it. */
static void join_port(struct lives *s, struct lifetime *l)
{
	struct index_slot *slot = port_slot(s, l->netns, l->proto, l->port, l->waits);

	l->port_prev = 0;
	l->port_next = slot ? slot->number : 0;
	if (slot) {
		at(s, slot->number)->port_prev = l->number;
		slot->number = l->number;
	} else {
		index_add(&s->ports, port_hash(l->netns, l->proto, l->port, l->waits), l->number);
	}
}

static void leave_port(struct lives *s, struct lifetime *l)
{
	struct lifetime *next = at(s, l->port_next);
	struct index_slot *slot;

	if (next)
		next->port_prev = l->port_prev;
	if (l->port_prev) {
		at(s, l->port_prev)->port_next = l->port_next;
		return;
	}
	slot = port_slot(s, l->netns, l->proto, l->port, l->waits);
	if (next)
		slot->number = next->number;
	else
		index_del(&s->ports, slot);
}

void lives_wait(struct lives *s, struct lifetime *l)
{
	if (l->waits)
		return;
	leave_port(s, l);
	l->waits = true;
	join_port(s, l);
}

/* ---- all ---- */

void lives_expect(const struct lives *s, const struct event *e)
{
	struct index_slot *slot;
	size_t pos = 0;

	index_expect(&s->sockets, index_hash(e->cookie));
	slot = index_next(&s->ports, port_hash(e->netns, e->proto, e->port, false), &pos);
	if (slot)
		__builtin_prefetch(at(s, slot->number));
}

int lives_link(struct lives *s, struct lifetime *l)
{
	/* As many as there are lifetimes, and so enough when one changes its side. */
	if (index_reserve(&s->ports, s->count + 1) || index_reserve(&s->sockets, s->sockets.count + 1))
		return -ENOMEM;
	join_socket(s, l);
	join_port(s, l);
	l->all_next = s->all;
	if (s->all)
		s->all->all_prev = l;
	s->all = l;
	s->count++;
	return 0;
}

void lives_end(struct lives *s, struct lifetime *l, bool remember)
{
	leave_port(s, l);
	*(l->all_prev ? &l->all_prev->all_next : &s->all) = l->all_next;
	if (l->all_next)
		l->all_next->all_prev = l->all_prev;
	s->count--;
	leave_socket(s, l, remember);
}
