/* SPDX-License-Identifier: GPL-2.0 */
/* Operations at random on an array of sockets, each of which keeps its own model. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OPERATIONS 4000
#define SLOTS 48
#define NOBODY_LISTENS 9
#define SOMEWHERE 7999

struct slot {
	struct wsock s;
	bool open;
	int accepted;		/* the other end of a TCP connection; -1 */
};

struct mix {
	struct work *work;
	struct wsock server[FAM_COUNT];
	struct slot slot[SLOTS];
	uint64_t random;
	uint16_t next_fixed;
};

static uint32_t draw(struct mix *m, uint32_t below)
{
	m->random = m->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(m->random >> 33) % below;
}

static void do_open(struct mix *m, struct slot *slot)
{
	static const int protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE };
	enum fam fam = (enum fam)draw(m, FAM_COUNT);
	int proto = protos[draw(m, COUNT_OF(protos))];

	if (!ws_possible(fam, proto))
		return;
	slot->s = ws_open_as(m->work, fam, proto);
	slot->open = true;
	slot->accepted = -1;
}

static bool is_idle(const struct slot *slot)
{
	return !slot->s.connected && !slot->s.listening;
}

static void do_bind0(struct mix *m, struct slot *slot)
{
	(void)m;
	if (slot->s.life < 0 && is_idle(slot))
		ws_bind(&slot->s, 0);
}

static void do_bind_fixed(struct mix *m, struct slot *slot)
{
	if (slot->s.life < 0 && is_idle(slot))
		ws_bind(&slot->s, m->next_fixed++);
}

static void do_listen(struct mix *m, struct slot *slot)
{
	(void)m;
	if (is_tcp(slot->s.proto) && is_idle(slot))
		ws_listen(&slot->s);
}

static void do_connect(struct mix *m, struct slot *slot)
{
	/* A UDP-Lite socket that connects may be found as late as at its close, which a disconnect would forestall. */
	if (slot->s.proto == IPPROTO_UDP)
		ws_connect_ok(&slot->s, SOMEWHERE);
	else if (is_tcp(slot->s.proto) && is_idle(slot))
		slot->accepted = ws_join(&slot->s, &m->server[slot->s.fam]);
}

static void do_refused(struct mix *m, struct slot *slot)
{
	(void)m;
	if (is_tcp(slot->s.proto) && is_idle(slot) && ws_connect(&slot->s, NOBODY_LISTENS) != -ECONNREFUSED)
		work_die("connect was not refused");
}

static void do_send(struct mix *m, struct slot *slot)
{
	(void)m;
	if (!is_tcp(slot->s.proto))
		ws_send(&slot->s, SOMEWHERE);
}

static void do_disconnect(struct mix *m, struct slot *slot)
{
	(void)m;
	ws_disconnect(&slot->s);
	if (slot->accepted >= 0)
		close(slot->accepted);
	slot->accepted = -1;
}

/* A later connect may take the port over from the TIME_WAIT. */
static void close_first(struct slot *slot)
{
	int64_t now = now_ns();
	struct happening *end = ws_close_waits(&slot->s);

	end->t0 = now;
	end->cause = CAUSE_TIME_WAIT | CAUSE_REUSE;
	close(slot->accepted);
}

static void do_close(struct mix *m, struct slot *slot)
{
	slot->open = false;
	if (slot->accepted < 0) {
		ws_close(&slot->s);
		return;
	}
	switch (draw(m, 3)) {
	case 0:
		close_first(slot);
		break;
	case 1:
		ws_finish(&slot->s, slot->accepted);
		break;
	default:
		ws_close_resets(&slot->s);
		close(slot->accepted);
	}
}

static void do_dup(struct mix *m, struct slot *slot)
{
	int copy = dup(slot->s.fd);

	(void)m;
	if (copy < 0)
		work_die("dup");
	ws_drop(&slot->s);
	slot->s.fd = copy;
}

static void (*const operations[])(struct mix *m, struct slot *slot) = {
	do_bind0, do_bind_fixed, do_listen, do_connect, do_connect, do_refused, do_send, do_send, do_disconnect,
	do_close, do_close, do_dup,
};

static void random_mix(struct work *w)
{
	static struct mix m;
	const uint64_t *seed = w->arg;

	m.work = w;
	m.random = *seed;
	m.next_fixed = 10000;
	for (unsigned fam = 0; fam < FAM_COUNT; fam++) {
		w->fam = (enum fam)fam;
		m.server[fam] = ws_listener(w);
	}
	for (int i = 0; i < OPERATIONS; i++) {
		struct slot *slot = &m.slot[draw(&m, SLOTS)];

		if (slot->open)
			operations[draw(&m, COUNT_OF(operations))](&m, slot);
		else
			do_open(&m, slot);
	}
	for (int i = 0; i < SLOTS; i++) {
		if (m.slot[i].open)
			do_close(&m, &m.slot[i]);
	}
	for (unsigned fam = 0; fam < FAM_COUNT; fam++)
		ws_close(&m.server[fam]);
}

static void four_thousand(void **state)
{
	struct stage *stage = stage_new("random mix");
	struct run *run = live_on(stage, NULL);
	uint64_t seed = choose_seed();

	(void)state;
	stage->work.arg = &seed;
	stage_run(stage, random_mix);
	assert_truth(stage, run);
	assert_no_gap(run);
	assert_ends_well(run, SIGINT);
}

static const struct plain list[] = {
	{ "mix/four_thousand_operations", four_thousand },
};

const struct plain_list mix_tests = { list, COUNT_OF(list) };
