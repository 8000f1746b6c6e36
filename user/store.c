/* SPDX-License-Identifier: GPL-2.0 */
/* Changes to rows, on the tracer's thread; store_queue.c has the other one. */
#include "user/store.h"

#include <fcntl.h>
#include <string.h>

#include "user/clock.h"
#include "user/detail.h"
#include "user/explain.h"
#include "user/map.h"
#include "user/schema.h"
#include "user/store_person.h"
#include "user/store_queue.h"

#define FLUSH_NS	400000000ULL		/* what waits is written so often */
#define YOUNG_NS	250000000ULL		/* what has lasted less is not written as lasting, nor vouched for */
#define CLOCK_STEP_NS	1000000			/* a change of the wall clock that matters */
#define DETAIL_MAX	8192
#define DETAILS_A_TICK	500

struct store {
	struct store_queue *queue;
	char boot[40];
	char *path, *filter;

	struct persons persons;
	struct map denials;		/* denial_key() -> struct row of this segment: */
	uint64_t denials_serial;
	unsigned int details_left;

	int64_t offset;
	uint64_t now, flushed_at;
	uint32_t sync;
	bool ready;
	bool anew;			/* whatever lasts is to be told from the start */
	bool walk_all;			/* a walk of them did not come to its end */
	bool unsettled;			/* ROW_SETTLE is due after it */
	uint64_t settle_until;
	uint64_t lost, lost_allocations, lost_since, lost_until;
	uint64_t lost_ever;
	uint64_t vouched;		/* all that happened before is told */
};

/* ---- room ---- */

/* Room for so many rows in one segment; NULL: there is none. */
static struct segment *room(struct store *store, uint32_t count)
{
	return store_queue_room(store->queue, count, store->persons.floor);
}

static void lose(struct store *store, uint64_t time, bool allocation)
{
	if (!store->lost)
		store->lost_since = store->lost_until = time;
	if (time < store->lost_since)
		store->lost_since = time;
	if (time > store->lost_until)
		store->lost_until = time;
	store->lost++;
	store->lost_allocations += allocation;
	store->lost_ever++;
}

/* After a loss, what lasts is told anew: what is not among it ended in the gap. */
static void tell_loss(struct store *store, struct segment *segment)
{
	struct row *row = segment_row(segment, ROW_GAP);

	row->since = store->lost_since;
	row->until = store->lost_until;
	row->lost = store->lost;
	row->lost_allocations = store->lost_allocations;
	row->reason = "storage";
	store->settle_until = store->lost_since;
	store->lost = store->lost_allocations = 0;
	store->sync++;
	store->anew = store->unsettled = true;
}

static void tell_old_loss(struct store *store)
{
	struct segment *segment = store->lost ? room(store, 1) : NULL;

	if (segment)
		tell_loss(store, segment);
}

/* The next row, with space for others before it. NULL: it is lost, and counted. */
static struct segment *room_for(struct store *store, uint64_t time, bool allocation, uint32_t count)
{
	struct segment *segment = room(store, count + 1);

	if (!segment) {
		lose(store, time, allocation);
		return NULL;
	}
	if (store->lost)
		tell_loss(store, segment);
	return segment;
}

/* ---- lifetimes ---- */

/* Of one that was found in TIME_WAIT nobody saw when that began: it is in it from where it was first seen. */
static uint64_t tw_at(const struct lifetime *l)
{
	return !l->tw_at && l->waits ? l->seen : l->tw_at;
}

static void fill(struct store *store, struct row *row, const struct lifetime *l)
{
	row->cookie = l->cookie;
	row->generation = l->generation;
	row->since = l->since ? l->since : l->seen;
	row->closed_at = l->closed_at;
	row->tw_at = tw_at(l);
	row->holder = persons_closer(&store->persons, l);
	row->netns = l->netns;
	row->port = l->port;
	row->remote_port = l->remote_port;
	row->proto = l->proto;
	row->bits = (l->how & SCHEMA_HOW) | (uint32_t)(l->flags & SCHEMA_FLAGS) << SCHEMA_FLAGS_SHIFT |
		    (l->listened ? SCHEMA_LISTENED : 0) | (l->since ? 0 : SCHEMA_BEFORE) | (l->inexact ? 0 : SCHEMA_EXACT);
	row->addr = l->addr;
	row->remote = l->remote;
}

static void tell_release(struct store *store, const struct change *change)
{
	struct lifetime *l = change->lifetime;
	uint32_t owner = persons_number(&store->persons, l->owner);
	struct segment *segment = room_for(store, change->time, false, 1);
	struct row *row;

	if (segment) {
		row = segment_row(segment, ROW_LIFETIME);
		fill(store, row, l);
		row->until = change->time;
		row->process = owner;
		row->stored = l->stored || store->unsettled;
		row->bits &= change->exact ? ~0U : ~(uint32_t)SCHEMA_EXACT;
		row->bits |= (uint32_t)change->cause << SCHEMA_CAUSE_SHIFT | (l->error & SCHEMA_ERROR) << SCHEMA_ERROR_SHIFT;
		store->persons.since_forgotten++;
	}
	persons_forget_closer(&store->persons, l);
}

static bool tell_held(struct store *store, struct lifetime *l)
{
	uint32_t owner = persons_number(&store->persons, l->owner);
	struct segment *segment = room(store, 2);
	struct row *row;

	if (!segment)
		return false;
	if (store->lost)
		tell_loss(store, segment);
	row = segment_row(segment, ROW_HELD);
	fill(store, row, l);
	row->process = owner;
	row->sync = store->sync;
	l->stored = true;
	return true;
}

/* What changed of one that was told as lasting is told again. */
static void tell_mark(struct store *store, const struct change *change)
{
	if (change->what == WHAT_CLOSE)
		persons_note_closer(&store->persons, change->lifetime, change->holder_pid, change->holder_comm);
	if (change->lifetime->stored && !tell_held(store, change->lifetime))
		lose(store, change->time, false);
}

/* ---- denials ---- */

static char *detail_of(struct store *store, const struct explanation *explanation)
{
	_cleanup_buf_ struct buf text = BUF_INIT(DETAIL_MAX);
	_cleanup_js_ struct js js = js_object();

	if (!explanation || !store->details_left)
		return NULL;
	store->details_left--;
	detail_put(&js, explanation);
	if (js_line(&js, &text))
		return NULL;
	return pw_strndup(text.data, text.len - 1);
}

static uint64_t denial_key(const struct row *row)
{
	const uint64_t words[] = {
		(uint64_t)row->netns << 32 | row->process,
		(uint64_t)row->port << 48 | (uint64_t)row->remote_port << 32 | row->bits,
		(uint64_t)row->proto << 24 | row->how << 16 | row->cause << 8 | row->traits,
	};
	uint64_t key = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		key = (key ^ words[i]) * 0x9e3779b97f4a7c15ULL ^ key >> 29;
	for (size_t i = 0; i < sizeof(row->addr.bytes); i++)
		key = (key ^ row->addr.bytes[i] ^ (uint64_t)row->remote.bytes[i] << 8) * 0x100000001b3ULL;
	return key;
}

static bool same_denial(const struct row *a, const struct row *b)
{
	return a->netns == b->netns && a->process == b->process && a->port == b->port &&
	       a->remote_port == b->remote_port && a->bits == b->bits && a->proto == b->proto && a->how == b->how &&
	       a->cause == b->cause && a->traits == b->traits && !memcmp(&a->addr, &b->addr, sizeof(a->addr)) &&
	       !memcmp(&a->remote, &b->remote, sizeof(a->remote));
}

static void fill_denial(struct row *row, const struct change *change, uint32_t owner)
{
	const struct event *e = change->denied;

	memset(row, 0, sizeof(*row));
	row->kind = ROW_DENIAL;
	row->since = row->until = change->time;
	row->count = 1;
	row->process = owner;
	row->netns = e->netns;
	row->port = e->port;
	row->remote_port = e->remote_port;
	row->proto = e->proto;
	row->how = (uint8_t)e->how;
	row->bits = e->error;
	row->cause = change->explanation ? (uint8_t)change->explanation->cause : DENIAL_OTHER;
	row->traits = e->traits;
	row->addr = e->addr;
	row->remote = e->remote;
}

/* A program that tries again and again has one row a batch. */
static void tell_denied(struct store *store, const struct change *change)
{
	uint32_t owner = persons_number(&store->persons, change->denied_owner);
	struct segment *segment = room_for(store, change->time, false, 1);
	struct row told, *row;
	uint64_t key;

	if (!segment)
		return;
	if (segment->serial != store->denials_serial)
		map_done(&store->denials);
	store->denials_serial = segment->serial;
	fill_denial(&told, change, owner);
	key = denial_key(&told);
	row = map_get(&store->denials, key);
	if (row && same_denial(row, &told)) {
		row->count++;
		row->until = told.until;
		return;
	}
	row = segment_row(segment, ROW_DENIAL);
	*row = told;
	row->detail = detail_of(store, change->explanation);
	segment->extra += row->detail ? (uint32_t)strlen(row->detail) + 1 : 0;
	/* Without memory the next one has a row of its own. */
	(void)!map_put(&store->denials, key, row);
}

/* ---- the rest ---- */

static void tell_gap(struct store *store, const struct gap *gap)
{
	struct segment *segment = room_for(store, gap->until, false, 1);
	struct row *row;

	/* Then it is part of the one that there is room for later. */
	if (!segment) {
		store->lost_since = gap->since < store->lost_since ? gap->since : store->lost_since;
		store->lost += gap->lost;
		store->lost_allocations += gap->lost_allocations;
		return;
	}
	row = segment_row(segment, ROW_GAP);
	row->since = gap->since;
	row->until = gap->until;
	row->lost = gap->lost;
	row->lost_allocations = gap->lost_allocations;
	row->reason = gap->reason;
}

static void tell_ready(struct store *store, uint64_t time)
{
	struct segment *segment = room_for(store, time, false, 1);

	store->ready = true;
	if (segment)
		segment_row(segment, ROW_READY)->since = time;
}

static void tell_clock(struct store *store, uint64_t now, int64_t offset)
{
	struct segment *segment;
	struct row *row;

	if (llabs(offset - store->offset) <= CLOCK_STEP_NS)
		return;
	segment = room_for(store, now, false, 1);
	if (!segment)
		return;
	row = segment_row(segment, ROW_CLOCK);
	row->since = now;
	row->offset = offset;
	store->offset = offset;
}

void store_change(struct store *store, const struct change *change, int64_t offset)
{
	persons_trim(&store->persons);
	tell_clock(store, change->time, offset);
	if (change->time > store->now)
		store->now = change->time;
	switch (change->what) {
	case WHAT_READY:
		tell_ready(store, change->time);
		break;
	case WHAT_PRESENT:
	case WHAT_ALLOCATE:
		/* While the process is there to be asked for its command line. */
		persons_number(&store->persons, change->lifetime->owner);
		change->lifetime->stored = false;
		break;
	case WHAT_LISTEN:
	case WHAT_CLOSE:
	case WHAT_TIME_WAIT:
		tell_mark(store, change);
		break;
	case WHAT_RELEASE:
		tell_release(store, change);
		break;
	case WHAT_DENIED:
		tell_denied(store, change);
		break;
	case WHAT_GAP:
		tell_gap(store, change->gap);
		break;
	case WHAT_END:
		break;
	}
}

/* ---- what lasts ---- */

/* New ones stand before old ones: a plain walk ends at the first that is told. */
static void walk(struct store *store, struct lifetime *newest, uint64_t seen_before)
{
	bool all;

	if (store->anew) {
		for (struct lifetime *l = newest; l; l = l->all_next)
			l->stored = false;
		store->walk_all = true;
		store->anew = false;
	}
	all = store->walk_all;
	for (struct lifetime *l = newest; l; l = l->all_next) {
		if (l->stored && !all)
			break;
		if (l->stored || (!all && l->seen > seen_before))
			continue;
		persons_trim(&store->persons);
		if (!tell_held(store, l)) {
			store->walk_all = true;
			return;
		}
	}
	store->walk_all = store->anew;
}

static void settle(struct store *store)
{
	struct segment *segment;
	struct row *row;

	if (!store->unsettled || !store->ready || store->walk_all || store->anew)
		return;
	segment = room(store, 1);
	if (!segment)
		return;
	row = segment_row(segment, ROW_SETTLE);
	row->sync = store->sync;
	row->until = store->settle_until;
	store->unsettled = false;
}

bool store_is_behind(const struct store *store)
{
	return store->lost || store->walk_all || store->anew || (store->unsettled && store->ready);
}

/* vouched: up to when all that happened was told, if there is room for it; what was seen later need not be. */
static void write_all(struct store *store, struct lifetime *newest, uint64_t vouched)
{
	store->persons.commands_left = PERSONS_COMMANDS;
	store->details_left = DETAILS_A_TICK;
	persons_trim(&store->persons);
	tell_old_loss(store);
	walk(store, newest, vouched);
	settle(store);
	if (!store_is_behind(store))
		store->vouched = vouched;
	store_queue_flush(store->queue, store->vouched);
}

int store_tick(struct store *store, struct lifetime *newest, uint64_t now, uint64_t sure, int64_t offset, char *why,
	       size_t why_size)
{
	store->now = now;
	tell_clock(store, now, offset);
	if (now < store->flushed_at || now - store->flushed_at >= FLUSH_NS) {
		store->flushed_at = now;
		write_all(store, newest, sure < now - YOUNG_NS ? sure : now - YOUNG_NS);
	}
	return store_queue_report(store->queue, why, why_size);
}

void store_flush(struct store *store, struct lifetime *newest, uint64_t now, int64_t offset)
{
	tell_clock(store, now, offset);
	store->now = now;
	store->walk_all = true;
	write_all(store, newest, now);
}

/* ---- the whole ---- */

static int read_boot(char *out, size_t size)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, out, size - 1);

	if (length <= 0)
		return -errno;
	out[length] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

static void free_store(struct store *store)
{
	map_done(&store->denials);
	persons_forget(&store->persons);
	pw_free(store->path);
	pw_free(store->filter);
	pw_free(store);
}

static void free_storep(struct store **store)
{
	if (*store)
		free_store(*store);
}

static int begin_session(struct store *store, const struct store_options *options, char *why, size_t why_size)
{
	struct writer_options to = {
		.path = store->path, .files = options->files, .boot = store->boot, .filter = store->filter,
		.now = options->now ? options->now : now_boottime(),
		.offset = options->now ? options->offset : clock_offset(),
		.keep_ns = options->keep_ns, .max_size = options->max_size,
	};
	struct writer_start start;
	int r = store_queue_open(&to, &store->queue, &start, why, why_size);

	if (r)
		return r;
	store->now = to.now;
	store->offset = to.offset;
	store->persons.queue = store->queue;
	store->persons.next = store->persons.floor = start.process;
	store->sync = start.sync;
	store->settle_until = INT64_MAX;
	store->anew = store->unsettled = true;
	store->details_left = DETAILS_A_TICK;
	store->persons.commands_left = PERSONS_COMMANDS;
	return 0;
}

int store_open(const struct store_options *options, struct store **out, char *why, size_t why_size)
{
	_cleanup_(free_storep) struct store *store = pw_calloc(1, sizeof(*store));
	int r = -ENOMEM;

	snprintf(why, why_size, "%s: there is no memory to open it: give it more", options->path);
	if (!store)
		return r;
	store->persons.identity = options->identity;
	store->persons.commands_left = PERSONS_COMMANDS;
	store->details_left = DETAILS_A_TICK;
	store->path = pw_strdup(options->path);
	store->filter = options->filter ? pw_strdup(options->filter) : NULL;
	if (!store->path || (options->filter && !store->filter))
		return r;
	if (options->boot)
		snprintf(store->boot, sizeof(store->boot), "%s", options->boot);
	else
		r = read_boot(store->boot, sizeof(store->boot));
	if (!options->boot && r) {
		snprintf(why, why_size, "/proc/sys/kernel/random/boot_id: %s: mount /proc", strerror(-r));
		return r;
	}
	r = begin_session(store, options, why, why_size);
	if (r)
		return r;
	why[0] = '\0';
	*out = TAKE_PTR(store);
	return 0;
}

int store_create(const char *path, char *why, size_t why_size)
{
	return store_file_create(path, why, why_size);
}

uint64_t store_close(struct store **store, uint64_t patience_ns)
{
	struct store *s = *store;
	uint64_t unwritten;

	if (!s)
		return 0;
	*store = NULL;
	if (store_queue_close(&s->queue, store_is_behind(s) ? s->vouched : s->now, !store_is_behind(s), patience_ns, &unwritten))
		free_store(s);
	else
		persons_forget(&s->persons);
	return unwritten;
}

void store_totals(struct store *store, struct store_totals *out)
{
	struct writer_count written;

	store_queue_count(store->queue, &written, &out->waiting);
	out->lifetimes = written.lifetimes;
	out->denials = written.denials;
	out->lost = store->lost_ever;
}
