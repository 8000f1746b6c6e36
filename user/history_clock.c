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

uint64_t walls_time(const struct walls *walls, uint32_t boot, int64_t time)
{
	size_t low = 0, high = walls->count;
	const struct wall_span *span;

	/* The last that begins at or before it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		span = &walls->spans[middle];
		if (span->boot < boot || (span->boot == boot && span->since <= time))
			low = middle + 1;
		else
			high = middle;
	}
	span = low ? &walls->spans[low - 1] : NULL;
	return span && span->boot == boot ? (uint64_t)(time + span->offset) : 0;
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
