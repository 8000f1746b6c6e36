/* SPDX-License-Identifier: GPL-2.0 */
/* Looks taken here and now. */
#include "user/view.h"

#include <sys/socket.h>

#include "user/netns.h"
#include "user/procfd.h"
#include "user/snapshot.h"

static int look(void *arg, struct pw_look *looks, size_t count)
{
	struct view_direct *direct = arg;

	return probe_look(direct->probe, looks, count);
}

static int losses(void *arg, struct probe_loss *out)
{
	struct view_direct *direct = arg;

	return probe_losses(direct->probe, out);
}

static int take(void *arg, const struct view_taker *taker)
{
	_cleanup_snapshot_ struct snapshot snapshot = SNAPSHOT_INIT;
	struct view_direct *direct = arg;
	int r = snapshot_take(&snapshot, direct->probe, direct->filter, taker->pump, taker->arg);

	for (size_t i = 0; !r && i < snapshot.count; i++)
		taker->row(taker->arg, &snapshot.rows[i]);
	return r;
}

static int read_range(void *arg, uint32_t netns)
{
	(void)netns;
	range_read(arg);
	return 1;
}

static int range(void *arg, struct view_place place, struct range *out)
{
	int r;

	(void)arg;
	*out = (struct range){ 0 };
	r = netns_visit(place.netns, place.pid, read_range, out);
	return r < 0 ? r : 0;
}

struct dump {
	struct diag_query query;
	diag_row_fn on_row;
	void *arg;
};

static int dump_here(void *arg, uint32_t netns)
{
	struct dump *d = arg;

	(void)netns;
	d->query.family = AF_INET;
	if (!diag_dump(&d->query, d->on_row, d->arg)) {
		d->query.family = AF_INET6;
		diag_dump(&d->query, d->on_row, d->arg);
	}
	return 1;
}

static int dump(void *arg, struct view_place place, const struct diag_query *query, diag_row_fn on_row, void *row_arg)
{
	struct dump d = { *query, on_row, row_arg };
	int r = netns_visit(place.netns, place.pid, dump_here, &d);

	(void)arg;
	return r < 0 ? r : 0;
}

static void find(void *arg, const uint32_t *inodes, size_t count, struct event_process *out)
{
	(void)arg;
	procfd_find(inodes, count, out);
}

struct view view_of(struct view_direct *direct)
{
	static const struct view_ops ops = {
		.look = look, .losses = losses, .snapshot = take, .range = range, .dump = dump, .find = find,
	};

	return (struct view){ &ops, direct };
}
