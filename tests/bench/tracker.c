/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bench-tracker: what a record costs from the ring's bytes through decoding, owner and tracker to a sink that does
 * nothing, and what a live lifetime takes of memory, beside 1,000, 10,000 and 100,000 live ones. Prints medians.
 *
 *	reset		TCP connect and close with a reset, beside sockets that stay open
 *	udp		UDP bind and close, the same
 *	time_wait	TCP connect and close; what is live are TIME_WAITs, of which the oldest ends each time
 *
 * bench-tracker CASE LIVE TURNS: that many turns at once, all inside measured(), for valgrind to count; prints how many
 * records they were.
 */
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "user/identity.h"
#include "user/lifetime.h"

#define FIRST_PORT 32768
#define PORTS 28232
#define ROUNDS 7
#define BATCH 4096		/* turns encoded at once */
#define ROUND_TURNS 65536
#define RECORDS_MAX 4		/* of a turn */
#define PROCESSES 50

union record {
	struct pw_head head;
	struct pw_sock sock;
	struct pw_close close;
	struct pw_tw tw;
};

struct world {
	struct tracker *tracker;
	struct identity *identity;
	uint64_t next;		/* cookie of the next socket */
	uint64_t oldest;	/* cookie of the oldest live TIME_WAIT */
	uint64_t changes;
	union record *records;
	size_t count;
};

struct contest {
	const char *name;
	uint8_t proto;
	bool time_wait;
};

static const struct contest contests[] = {
	{ "reset", IPPROTO_TCP, false },
	{ "udp", IPPROTO_UDP, false },
	{ "time_wait", IPPROTO_TCP, true },
};

static void on_change(void *arg, const struct change *change)
{
	struct world *w = arg;

	w->changes += change->what != WHAT_END;
}

static struct process *on_owner(void *arg, const struct event *event)
{
	return identity_owner(((struct world *)arg)->identity, event);
}

static void on_put(void *arg, struct process *process)
{
	identity_put(((struct world *)arg)->identity, process);
}

static const struct tracker_ops ops = { on_change, on_owner, on_put };

/* ---- records ---- */

static union record *add(struct world *w, enum pw_kind kind, size_t size, uint64_t cookie)
{
	union record *record = &w->records[w->count++];

	memset(record, 0, sizeof(*record));
	record->head.kind = kind;
	record->head.size = (uint16_t)size;
	record->head.time = 1000000 + w->next * 16 + w->count;
	record->head.cookie = cookie;
	record->head.port = (uint16_t)(FIRST_PORT + cookie % PORTS);
	return record;
}

/* Every port once, then again towards another address; every fourth socket IPv6. */
static void add_sock(struct world *w, uint8_t proto, uint64_t cookie)
{
	bool v4 = cookie % 4;
	struct pw_sock *s = &add(w, PW_SOCK, v4 ? PW_SOCK_V4 : sizeof(*s), cookie)->sock;
	uint8_t *remote = v4 ? s->v4.remote : s->v6.remote;
	uint32_t pid = (uint32_t)(cookie % PROCESSES);

	s->sk = 0xffff888000000000 + cookie * 2048;
	s->start = pid * 1000000;
	s->pid = 400000000 + pid;
	s->netns = 4026531840;
	s->proto = proto;
	s->family = v4 ? AF_INET : AF_INET6;
	s->how = proto == IPPROTO_TCP ? PW_HOW_CONNECT : PW_HOW_BIND;
	s->v6.addr[0] = 10;
	s->head.flags = PW_F_EPHEMERAL;
	s->head.state = proto == IPPROTO_TCP ? STATE_SYN_SENT : STATE_CLOSE;
	snprintf(s->comm, sizeof(s->comm), "client-%u", pid);
	if (proto != IPPROTO_TCP)
		return;
	s->remote_port = 443;
	remote[0] = 10;
	remote[3] = (uint8_t)(cookie / PORTS % 200 + 1);
}

static void add_close(struct world *w, uint8_t proto, uint64_t cookie)
{
	struct pw_close *c = &add(w, PW_CLOSE, sizeof(*c), cookie)->close;

	c->pid = (uint32_t)(400000000 + cookie % PROCESSES);
	strcpy(c->comm, "client");
	c->head.flags = proto == IPPROTO_TCP ? PW_F_HELD : 0;
}

static void add_tw(struct world *w, enum pw_kind kind, uint64_t cookie)
{
	struct pw_tw *tw = &add(w, kind, sizeof(*tw), cookie)->tw;

	tw->tw = 0xffff889000000000 + cookie * 256;
	tw->net = 0xffff88a000000000;
	tw->net_cookie = 1;
}

static void add_live(struct world *w, const struct contest *c)
{
	uint64_t cookie = ++w->next;

	add_sock(w, c->proto, cookie);
	if (!c->time_wait)
		return;
	add_close(w, c->proto, cookie);
	add_tw(w, PW_TW_START, cookie);
}

static void add_turn(struct world *w, const struct contest *c)
{
	add_live(w, c);
	if (c->time_wait) {
		add_tw(w, PW_TW_END, w->oldest++);
		return;
	}
	add_close(w, c->proto, w->next);
	if (c->proto == IPPROTO_TCP)
		add(w, PW_FREE, sizeof(struct pw_head), w->next)->head.state = STATE_ESTABLISHED;
}

/* ---- what is measured ---- */

static void feed(struct world *w)
{
	struct event event;

	for (size_t i = 0; i < w->count; i++)
		if (event_decode(&w->records[i], w->records[i].head.size, &event) || tracker_feed(w->tracker, &event))
			abort();
}

/* Never inlined: valgrind counts what is inside. */
__attribute__((noinline)) static void measured(struct world *w)
{
	feed(w);
}

static double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static size_t in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void world_begin(struct world *w, const struct contest *c, size_t live, size_t batch)
{
	*w = (struct world){ .oldest = 1, .identity = identity_new(-1) };
	w->records = calloc(batch * RECORDS_MAX, sizeof(*w->records));
	w->tracker = tracker_new(&ops, w);
	if (!w->identity || !w->records || !w->tracker)
		abort();
	for (size_t i = 0; i < live; i++) {
		w->count = 0;
		add_live(w, c);
		feed(w);
	}
	if (tracker_count(w->tracker) != live)
		abort();
}

static void world_end(struct world *w)
{
	tracker_free(&w->tracker);
	identity_free(&w->identity);
	free(w->records);
}

static void turns(struct world *w, const struct contest *c, size_t count)
{
	w->count = 0;
	for (size_t i = 0; i < count; i++)
		add_turn(w, c);
}

/* Nanoseconds of CPU a record. */
static double round_of(struct world *w, const struct contest *c)
{
	size_t records = 0;
	double ns = 0, start;

	for (size_t i = 0; i < ROUND_TURNS; i += BATCH) {
		turns(w, c, BATCH);
		start = cpu_ns();
		measured(w);
		ns += cpu_ns() - start;
		records += w->count;
	}
	return ns / (double)records;
}

static int by_size(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static void time_one(const struct contest *c, size_t live)
{
	double ns[ROUNDS], bytes = 0;
	struct world small, w;
	size_t before;

	/* What an empty tracker takes, its processes too, is no lifetime's. */
	before = in_use();
	world_begin(&small, c, PROCESSES, BATCH);
	bytes -= (double)(in_use() - before);
	before = in_use();
	world_begin(&w, c, live + PROCESSES, BATCH);
	bytes += (double)(in_use() - before);
	round_of(&w, c);
	for (size_t i = 0; i < ROUNDS; i++)
		ns[i] = round_of(&w, c);
	qsort(ns, ROUNDS, sizeof(*ns), by_size);
	printf("%-10s %7zu live  %6.1f ns a record (%.1f to %.1f)  %6.1f bytes a live lifetime\n", c->name, live,
	       ns[ROUNDS / 2], ns[0], ns[ROUNDS - 1], bytes / (double)live);
	world_end(&w);
	world_end(&small);
}

static int count_one(const char *name, size_t live, size_t count)
{
	for (size_t i = 0; i < ARRAY_SIZE(contests); i++) {
		struct world w;

		if (strcmp(contests[i].name, name))
			continue;
		world_begin(&w, &contests[i], live, count);
		turns(&w, &contests[i], count);
		measured(&w);
		printf("%zu\n", w.count);
		world_end(&w);
		return 0;
	}
	return 2;
}

int main(int argc, char **argv)
{
	static const size_t live[] = { 1000, 10000, 100000 };

	if (argc > 3)
		return count_one(argv[1], strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	for (size_t c = 0; c < ARRAY_SIZE(contests); c++)
		for (size_t i = 0; i < ARRAY_SIZE(live); i++)
			time_one(&contests[c], live[i]);
	return 0;
}
