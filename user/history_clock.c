/* SPDX-License-Identifier: GPL-2.0 */
/* Boottime and wall time. */
#include "user/history_clock.h"

#include "user/mem.h"

int walls_add(struct walls *walls, uint32_t boot, uint32_t session, int64_t since, int64_t offset)
{
	struct wall_span *last;

	if (!walls->spans || walls->count == walls->size) {
		size_t size = walls->size ? walls->size * 2 : 16;
		struct wall_span *spans = pw_reallocarray(walls->spans, size, sizeof(*spans));

		if (!spans)
			return -ENOMEM;
		walls->spans = spans;
		walls->size = size;
	}
	last = walls->count ? &walls->spans[walls->count - 1] : NULL;
	if (last && last->boot == boot)
		last->until = since;
	else
		since = INT64_MIN;
	walls->spans[walls->count++] = (struct wall_span){ boot, session, since, INT64_MAX, offset };
	return 0;
}

void walls_done(struct walls *walls)
{
	pw_free(walls->spans);
	*walls = (struct walls){ 0 };
}

/* How many spans begin at or before it: the last of them is the one that it lies in, if that is of its boot. */
static size_t begun(const struct walls *walls, uint32_t boot, int64_t time)
{
	size_t low = 0, high = walls->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct wall_span *span = &walls->spans[middle];

		if (span->boot < boot || (span->boot == boot && span->since <= time))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t walls_time(const struct walls *walls, uint32_t boot, int64_t time)
{
	size_t count = begun(walls, boot, time);
	const struct wall_span *span = count ? &walls->spans[count - 1] : NULL;

	return span && span->boot == boot ? (uint64_t)(time + span->offset) : 0;
}

/* What of a stretch of boottime lies in this span. */
static bool shown_in(const struct wall_span *span, int64_t since, int64_t until, struct wall_stretch *out)
{
	int64_t from = since > span->since ? since : span->since, to = until < span->until ? until : span->until;

	/* All of it may be a moment; what is cut from more may not. */
	if (from > to || from == span->until || (from == to && since < until))
		return false;
	*out = (struct wall_stretch){ (uint64_t)(from + span->offset), (uint64_t)(to + span->offset) };
	return true;
}

static bool touch(const struct wall_stretch *a, const struct wall_stretch *b)
{
	return b->since <= a->until + WALL_STEP_NS && a->since <= b->until + WALL_STEP_NS;
}

bool walls_next(const struct walls *walls, uint32_t boot, int64_t since, int64_t until, size_t *at, struct wall_stretch *out)
{
	size_t i = *at ? *at : begun(walls, boot, since);
	struct wall_stretch whole = { 0, 0 }, next;
	bool found = false;

	if (!*at && i)
		i--;
	for (; i < walls->count && walls->spans[i].boot == boot && walls->spans[i].since <= until; i++) {
		if (!shown_in(&walls->spans[i], since, until, &next))
			continue;
		if (found && !touch(&whole, &next))
			break;
		whole.since = !found || next.since < whole.since ? next.since : whole.since;
		whole.until = !found || next.until > whole.until ? next.until : whole.until;
		found = true;
	}
	*at = i;
	*out = whole;
	return found;
}

/* Times are of this side of the year 2262, so that all sums of two fit. */
static int64_t bounded(uint64_t wall)
{
	return wall > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)wall;
}

size_t walls_windows(const struct walls *walls, uint64_t since, uint64_t until, struct wall_window *out)
{
	size_t count = 0;

	for (size_t i = 0; i < walls->count; i++) {
		const struct wall_span *span = &walls->spans[i];
		int64_t from = bounded(since) - span->offset, to = bounded(until) - span->offset;

		if (from < span->since)
			from = span->since;
		if (to >= span->until)
			to = span->until - 1;
		if (from <= to)
			out[count++] = (struct wall_window){ span->boot, from, to };
	}
	return count;
}
