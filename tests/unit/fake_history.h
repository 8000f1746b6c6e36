/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A history that is an array: these functions stand before those of user/history.c, which the linker then leaves out.
 * For one test program each.
 */
#ifndef PORTWAKE_TESTS_FAKE_HISTORY_H
#define PORTWAKE_TESTS_FAKE_HISTORY_H

#include <netinet/in.h>

#include "tests/unit/unit.h"
#include "user/history.h"
#include "user/question.h"

struct history {
	const struct past *pasts;	/* by port and since */
	size_t past_count;
	const struct blind *blinds;	/* by time */
	size_t blind_count;
	const struct past_denial *denials;	/* by time */
	size_t denial_count;
	int error;			/* what reading them gives */
	unsigned int most_ports;	/* that one question was about */
	uint16_t blind_first, blind_last;	/* asked for last */
};

int history_open(const char *path, struct history **out, char *why, size_t why_size)
{
	(void)out;
	snprintf(why, why_size, "%s", path);
	return -ENOENT;
}

void history_free(struct history **history)
{
	*history = NULL;
}

const char *history_why(const struct history *history)
{
	return history->error ? "fake.db: it is broken" : "";
}

static bool fake_in_netns(const struct history_query *q, uint32_t netns)
{
	for (uint32_t i = 0; i < q->netns_count; i++)
		if (q->netns[i] == netns)
			return true;
	return !q->netns_count;
}

int history_find(struct history *history, const struct history_query *q,
		 int (*on_past)(void *arg, const struct past *past), void *arg)
{
	unsigned int ports = q->last - q->first + 1U;
	int r = history->error;

	if (ports > history->most_ports)
		history->most_ports = ports;
	for (size_t i = 0; i < history->past_count && !r; i++) {
		const struct past *p = &history->pasts[i];

		if (p->port >= q->first && p->port <= q->last && p->since <= q->until && p->until >= q->since &&
		    (!q->protos || q->protos & question_proto_bit(p->proto)) && fake_in_netns(q, p->netns))
			r = on_past(arg, p);
	}
	return r;
}

int history_denied(struct history *history, const struct history_query *q,
		   int (*on_denied)(void *arg, const struct past_denial *denial), void *arg)
{
	int r = history->error;

	for (size_t i = 0; i < history->denial_count && !r; i++) {
		const struct past_denial *d = &history->denials[i];

		if (d->port >= q->first && d->port <= q->last && d->time <= q->until && d->until >= q->since &&
		    (!q->protos || q->protos & question_proto_bit(d->proto)) && fake_in_netns(q, d->netns))
			r = on_denied(arg, d);
	}
	return r;
}

int history_blind(struct history *history, const struct history_query *q,
		  int (*on_blind)(void *arg, const struct blind *blind), void *arg)
{
	int r = history->error;

	history->blind_first = q->first;
	history->blind_last = q->last;
	for (size_t i = 0; i < history->blind_count && !r; i++)
		if (history->blinds[i].since <= q->until && history->blinds[i].until >= q->since)
			r = on_blind(arg, &history->blinds[i]);
	return r;
}

#endif
