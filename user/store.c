/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Changes to rows, on the tracer's thread; rows to the writer (store_write.c) on its own. Between the two is a queue of
 * segments, bounded, under one lock that is taken once a segment.
 */
#include "user/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "user/clock.h"
#include "user/detail.h"
#include "user/explain.h"
#include "user/map.h"
#include "user/schema.h"
#include "user/store_row.h"
#include "user/store_write.h"

#define QUEUE_MAX	32			/* segments, of half a MiB */
#define EAGER		8			/* segments that are worth writing before it is time */
#define FLUSH_NS	400000000ULL		/* what waits is written so often */
#define YOUNG_NS	500000000ULL		/* what has lasted less is not written as lasting */
#define LIFE_MARGIN_NS	100000000ULL		/* what the ring may still hold is not vouched for */
#define CLOCK_STEP_NS	1000000			/* a change of the wall clock that matters */
#define RETRY_NS	500000000ULL
#define PERSONS_MAX	8192			/* processes whose numbers are remembered, */
#define PERSONS_AGE	1000000			/* for so many lifetimes */
#define HOLDERS_MAX	16384
#define COMMAND_MAX	512			/* bytes of a command line */
#define COMMANDS_A_TICK	200			/* processes whose command line is looked up */
#define DETAIL_MAX	8192
#define DETAILS_A_TICK	500

struct person {
	struct process *process;	/* a reference; NULL: known by pid and name alone */
	uint32_t number;
};

/* Shared with the writer's thread, under `lock`. */
struct queue {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct segment *first, *last;
	size_t count;
	uint64_t rows;
	uint64_t life;			/* all before is handed over */
	bool flush, stop;
	bool failing, told_failing;
	bool notice;			/* something to tell that stops nothing */
	char why[256];
	struct store_totals totals;
};

struct store {
	struct queue queue;
	struct writer *writer;		/* the thread's, while that runs */
	struct identity *identity;
	pthread_t thread;
	char boot[40];
	char *path, *filter;

	struct segment *filling;
	struct map persons;		/* by address of the process, or by who_key() */
	struct person pool[PERSONS_MAX];
	size_t person_count;
	uint32_t next_process, process_floor;
	uint64_t since_forgotten;	/* lifetimes since the persons were */
	struct map holders;		/* lifetime -> struct person that closed it */
	struct map denials;		/* denial_key() -> struct row of `filling` */
	unsigned int commands_left, details_left;

	int64_t offset;
	uint64_t now, flushed_at;
	uint32_t sync;
	bool ready;
	bool anew;			/* whatever lasts is to be told from the start */
	bool walk_all;			/* a walk of them did not come to its end */
	bool unsettled;			/* ROW_SETTLE is due after it */
	uint64_t settle_until;
	uint64_t lost, lost_allocations, lost_since, lost_until;
};

/* ---- the queue ---- */

static void hand_over(struct store *store)
{
	struct queue *q = &store->queue;
	struct segment *segment = TAKE_PTR(store->filling);

	map_done(&store->denials);
	if (!segment)
		return;
	pthread_mutex_lock(&q->lock);
	*(q->last ? &q->last->next : &q->first) = segment;
	q->last = segment;
	q->count++;
	q->rows += segment->count;
	if (q->count >= EAGER)
		pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

static bool queue_full(struct store *store)
{
	bool full;

	pthread_mutex_lock(&store->queue.lock);
	full = store->queue.count >= QUEUE_MAX - 1;
	pthread_mutex_unlock(&store->queue.lock);
	return full;
}

/* Room for `count` rows in one segment. NULL: there is none, by the bound or for want of memory. */
static struct segment *room(struct store *store, uint32_t count)
{
	struct segment *segment;

	if (store->filling && store->filling->count + count > SEGMENT_ROWS)
		hand_over(store);
	if (store->filling)
		return store->filling;
	if (queue_full(store))
		return NULL;
	segment = pw_reallocarray(NULL, 1, sizeof(*segment));
	if (!segment)
		return NULL;
	segment->next = NULL;
	segment->count = 0;
	segment->life = 0;
	segment->process_floor = store->process_floor;
	store->filling = segment;
	return segment;
}

static struct row *next_row(struct segment *segment, enum row_kind kind)
{
	struct row *row = &segment->rows[segment->count++];

	memset(row, 0, sizeof(*row));
	row->kind = kind;
	return row;
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
	pthread_mutex_lock(&store->queue.lock);
	store->queue.totals.lost++;
	pthread_mutex_unlock(&store->queue.lock);
}

/* After a loss, what lasts is told anew: what is not among it ended in the gap. */
static void tell_loss(struct store *store)
{
	struct row *row = next_row(store->filling, ROW_GAP);

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

/* The next row, with space for others before it. NULL: it is lost, and counted. */
static struct segment *room_for(struct store *store, uint64_t time, bool allocation, uint32_t count)
{
	struct segment *segment = room(store, count + 1);

	if (!segment) {
		lose(store, time, allocation);
		return NULL;
	}
	if (store->lost)
		tell_loss(store);
	return segment;
}

/* ---- processes ---- */

static struct row_process *row_process_of(const char *const strings[4])
{
	struct row_process *person;
	size_t size = sizeof(*person);
	char *at;

	for (int i = 0; i < 4; i++)
		size += strings[i] ? strlen(strings[i]) + 1 : 0;
	person = pw_calloc(1, size);
	if (!person)
		return NULL;
	at = (char *)(person + 1);
	for (int i = 0; i < 4; i++) {
		const char **to = i == 0 ? &person->exe : i == 1 ? &person->cgroup : i == 2 ? &person->container : &person->cmdline;

		if (!strings[i])
			continue;
		*to = at;
		at = stpcpy(at, strings[i]) + 1;
	}
	return person;
}

static struct row_process *tell_process(struct store *store, const struct process *p)
{
	const char *strings[4] = { p->exe, p->cgroup, p->container, NULL };
	char command[COMMAND_MAX];
	struct row_process *person;

	if (store->identity && p->start && store->commands_left) {
		store->commands_left--;
		if (!identity_cmdline(p, command, sizeof(command)))
			strings[3] = command;
	}
	person = row_process_of(strings);
	if (!person)
		return NULL;
	person->pid = p->pid;
	person->uid = p->uid;
	person->exec_id = p->exec_id;
	person->start = p->start;
	memcpy(person->comm, p->comm, sizeof(person->comm));
	return person;
}

static void forget_persons(struct store *store)
{
	for (size_t i = 0; i < store->person_count; i++)
		if (store->identity)
			identity_put(store->identity, store->pool[i].process);
	map_done(&store->persons);
	map_done(&store->holders);
	store->person_count = 0;
	store->since_forgotten = 0;
	store->process_floor = store->next_process;
}

static struct person *add_person(struct store *store, uint64_t key, const struct process *process)
{
	struct segment *segment = room(store, 2);
	struct person *person = &store->pool[store->person_count];
	struct row_process *told = segment ? tell_process(store, process) : NULL;
	struct row *row;

	if (!told)
		return NULL;
	if (map_put(&store->persons, key, person)) {
		pw_free(told);
		return NULL;
	}
	*person = (struct person){ .number = store->next_process++ };
	store->person_count++;
	row = next_row(segment, ROW_PROCESS);
	row->process = person->number;
	row->person = told;
	return person;
}

/* The number of a process, 0 when it is not known, or there is no room. */
static uint32_t process_number(struct store *store, struct process *process)
{
	uint64_t key = (uint64_t)(uintptr_t)process;
	struct person *person;

	if (!process)
		return 0;
	person = map_get(&store->persons, key);
	if (person)
		return person->number;
	person = add_person(store, key, process);
	if (person && store->identity)
		person->process = identity_ref(process);
	return person ? person->number : 0;
}

/* One known by pid and name alone. No address has the bit that these have. */
static struct person *find_holder(struct store *store, uint32_t pid, const char *comm)
{
	struct process process = { .pid = pid };
	uint64_t key = 0xcbf29ce484222325ULL ^ pid;

	memcpy(process.comm, comm, sizeof(process.comm));
	for (size_t i = 0; i < sizeof(process.comm); i++)
		key = (key ^ (unsigned char)process.comm[i]) * 0x100000001b3ULL;
	key |= 1ULL << 63;
	return map_get(&store->persons, key) ?: add_person(store, key, &process);
}

/* Before a change, so that numbers given for it stay good: they are told anew now and then, and the old can go. */
static void trim_persons(struct store *store)
{
	if (store->person_count + 2 <= PERSONS_MAX && store->since_forgotten < PERSONS_AGE)
		return;
	hand_over(store);
	forget_persons(store);
}

/* ---- lifetimes ---- */

static void fill(struct store *store, struct row *row, const struct lifetime *l)
{
	const struct person *holder = map_count(&store->holders) ? map_get(&store->holders, (uint64_t)(uintptr_t)l) : NULL;

	row->cookie = l->cookie;
	row->generation = l->generation;
	row->since = l->since ? l->since : l->seen;
	row->closed_at = l->closed_at;
	row->tw_at = l->tw_at;
	row->holder = holder ? holder->number : 0;
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
	uint32_t owner = process_number(store, l->owner);
	struct segment *segment = room_for(store, change->time, false, 1);
	struct row *row;

	if (segment) {
		row = next_row(segment, ROW_LIFETIME);
		fill(store, row, l);
		row->until = change->time;
		row->process = owner;
		row->stored = l->stored || store->unsettled;
		row->bits &= change->exact ? ~0U : ~(uint32_t)SCHEMA_EXACT;
		row->bits |= (uint32_t)change->cause << SCHEMA_CAUSE_SHIFT | (l->error & SCHEMA_ERROR) << SCHEMA_ERROR_SHIFT;
		store->since_forgotten++;
	}
	if (map_count(&store->holders))
		map_del(&store->holders, (uint64_t)(uintptr_t)l);
}

static bool tell_held(struct store *store, struct lifetime *l)
{
	uint32_t owner = process_number(store, l->owner);
	struct segment *segment = room(store, 2);
	struct row *row;

	if (!segment)
		return false;
	if (store->lost)
		tell_loss(store);
	row = next_row(segment, ROW_HELD);
	fill(store, row, l);
	row->process = owner;
	row->sync = store->sync;
	l->stored = true;
	return true;
}

static void note_holder(struct store *store, const struct change *change)
{
	const struct lifetime *l = change->lifetime;
	struct person *person;

	if (!change->holder_pid || (l->owner && l->owner->pid == change->holder_pid) ||
	    map_count(&store->holders) >= HOLDERS_MAX)
		return;
	person = find_holder(store, change->holder_pid, change->holder_comm);
	/* Without memory it stays unknown. */
	if (person)
		(void)!map_put(&store->holders, (uint64_t)(uintptr_t)l, person);
}

/* What changed of one that was told as lasting is told again. */
static void tell_mark(struct store *store, const struct change *change)
{
	if (change->what == WHAT_CLOSE)
		note_holder(store, change);
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
	uint32_t owner = process_number(store, change->denied_owner);
	struct segment *segment = room_for(store, change->time, false, 1);
	struct row told, *row;
	uint64_t key;

	if (!segment)
		return;
	fill_denial(&told, change, owner);
	key = denial_key(&told);
	row = map_get(&store->denials, key);
	if (row && same_denial(row, &told)) {
		row->count++;
		row->until = told.until;
		return;
	}
	row = next_row(segment, ROW_DENIAL);
	*row = told;
	row->detail = detail_of(store, change->explanation);
	/* Without memory the next one has a row of its own. */
	(void)!map_put(&store->denials, key, row);
}

/* ---- the rest ---- */

static void tell_gap(struct store *store, const struct gap *gap)
{
	struct segment *segment = room_for(store, gap->until, false, 1);
	struct row *row;

	if (!segment)
		return;
	row = next_row(segment, ROW_GAP);
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
		next_row(segment, ROW_READY)->since = time;
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
	row = next_row(segment, ROW_CLOCK);
	row->since = now;
	row->offset = offset;
	store->offset = offset;
}

void store_change(struct store *store, const struct change *change, int64_t offset)
{
	trim_persons(store);
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
		process_number(store, change->lifetime->owner);
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
static void walk(struct store *store, struct lifetime *newest, uint64_t now)
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
		if (l->stored || (!all && now < l->seen + YOUNG_NS))
			continue;
		trim_persons(store);
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
	row = next_row(segment, ROW_SETTLE);
	row->sync = store->sync;
	row->until = store->settle_until;
	store->unsettled = false;
}

static void flush(struct store *store, uint64_t life)
{
	struct queue *q = &store->queue;

	if (store->filling)
		store->filling->life = life;
	hand_over(store);
	pthread_mutex_lock(&q->lock);
	q->life = life;
	q->flush = true;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

/* News of the writer's. */
static int report(struct store *store, char *why, size_t why_size)
{
	struct queue *q = &store->queue;
	int r = 0;

	pthread_mutex_lock(&q->lock);
	if (q->failing != q->told_failing || q->notice) {
		q->told_failing = q->failing;
		snprintf(why, why_size, "%s", q->failing || q->notice ? q->why : "");
		if (!q->failing && !q->notice)
			snprintf(why, why_size, "%s: it can be written to again", store->path);
		q->notice = false;
		r = -EAGAIN;
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

int store_tick(struct store *store, struct lifetime *newest, uint64_t now, int64_t offset, char *why, size_t why_size)
{
	store->now = now;
	tell_clock(store, now, offset);
	if (now < store->flushed_at || now - store->flushed_at >= FLUSH_NS) {
		store->flushed_at = now;
		store->commands_left = COMMANDS_A_TICK;
		store->details_left = DETAILS_A_TICK;
		trim_persons(store);
		walk(store, newest, now);
		settle(store);
		flush(store, now - LIFE_MARGIN_NS);
	}
	return report(store, why, why_size);
}

int store_flush(struct store *store, struct lifetime *newest, uint64_t now, int64_t offset, char *why, size_t why_size)
{
	store->flushed_at = 0;
	return store_tick(store, newest, now, offset, why, why_size);
}

/* ---- the writer's thread ---- */

/* With the lock held. */
static void rest(struct queue *q, uint64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ns / 1000000000);
	until.tv_nsec += (long)(ns % 1000000000);
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&q->wake, &q->lock, &until);
}

static void drop_first(struct queue *q)
{
	struct segment *segment = q->first;

	q->first = segment->next;
	if (!q->first)
		q->last = NULL;
	q->count--;
	q->rows -= segment->count;
	segment_free(segment);
}

/* What is vouched for once these segments are written. */
static uint64_t life_of(const struct queue *q, size_t count)
{
	const struct segment *segment = q->first;
	uint64_t life = 0;

	if (count == q->count && !q->first)
		return q->life;
	for (size_t i = 0; i < count; i++, segment = segment->next)
		life = segment->life ? segment->life : life;
	return life;
}

/* With the lock held, which it gives up while it writes. False: it failed. */
static bool write_some(struct store *store, uint64_t *told_life)
{
	struct queue *q = &store->queue;
	size_t max = writer_segments(store->writer), count = q->count < max ? q->count : max;
	const struct segment *first = q->first;
	uint64_t life = life_of(q, count);
	struct writer_count written = { 0 };
	char why[sizeof(q->why)] = "";
	int r;

	q->flush = q->count > count;
	pthread_mutex_unlock(&q->lock);
	r = writer_write(store->writer, first, count, life, &written, why, sizeof(why));
	pthread_mutex_lock(&q->lock);
	q->failing = r;
	if (r) {
		q->flush = true;
		snprintf(q->why, sizeof(q->why), "%s", why);
		return false;
	}
	*told_life = life ? life : *told_life;
	q->totals.lifetimes += written.lifetimes;
	q->totals.denials += written.denials;
	for (size_t i = 0; i < count; i++)
		drop_first(q);
	return true;
}

/* The same. True: there is more to do. */
static bool tidy(struct store *store, uint64_t now, bool *noticed)
{
	struct queue *q = &store->queue;
	char why[sizeof(q->why)] = "";
	int r;

	pthread_mutex_unlock(&q->lock);
	r = writer_tidy(store->writer, now, why, sizeof(why));
	pthread_mutex_lock(&q->lock);
	if (r < 0 && !*noticed) {
		snprintf(q->why, sizeof(q->why), "%s", why);
		q->notice = true;
	}
	*noticed = r < 0;
	return r > 0;
}

static bool is_due(const struct queue *q, uint64_t told_life)
{
	if (q->count)
		return q->flush || q->stop || q->count >= EAGER;
	return q->flush && q->life > told_life + SCHEMA_LIFE_NS;
}

static void *write_loop(void *arg)
{
	struct store *store = arg;
	struct queue *q = &store->queue;
	uint64_t told_life = 0;
	bool more = false, noticed = false;

	pthread_mutex_lock(&q->lock);
	while (!q->stop || q->first) {
		if (is_due(q, told_life)) {
			more = write_some(store, &told_life);
			if (!more)
				rest(q, RETRY_NS);
		} else if (more) {
			more = tidy(store, told_life, &noticed);
		} else {
			pthread_cond_wait(&q->wake, &q->lock);
		}
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
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

static int begin_thread(struct store *store)
{
	pthread_condattr_t attributes;
	sigset_t all, before;
	int r;

	pthread_mutex_init(&store->queue.lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&store->queue.wake, &attributes);
	pthread_condattr_destroy(&attributes);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&store->thread, NULL, write_loop, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void free_store(struct store *store)
{
	writer_free(&store->writer);
	if (store->filling)
		segment_free(store->filling);
	while (store->queue.first)
		drop_first(&store->queue);
	map_done(&store->denials);
	forget_persons(store);
	pw_free(store->path);
	pw_free(store->filter);
	pw_free(store);
}

static void free_storep(struct store **store)
{
	if (*store)
		free_store(*store);
}

static int begin_writer(struct store *store, const struct store_options *options, char *why, size_t why_size)
{
	struct writer_options to = {
		.path = store->path, .files = options->files, .boot = store->boot, .filter = store->filter,
		.now = options->now ? options->now : now_boottime(),
		.offset = options->now ? options->offset : clock_offset(),
		.keep_ns = options->keep_ns, .max_size = options->max_size,
	};
	struct writer_start start;
	int r = writer_open(&to, &store->writer, &start, why, why_size);

	if (r)
		return r;
	store->now = to.now;
	store->offset = to.offset;
	store->next_process = store->process_floor = start.process;
	store->sync = start.sync;
	store->settle_until = INT64_MAX;
	store->anew = store->unsettled = true;
	return 0;
}

int store_open(const struct store_options *options, struct store **out, char *why, size_t why_size)
{
	_cleanup_(free_storep) struct store *store = pw_calloc(1, sizeof(*store));
	int r = -ENOMEM;

	snprintf(why, why_size, "%s: there is no memory to open it: give it more", options->path);
	if (!store)
		return r;
	store->identity = options->identity;
	store->commands_left = COMMANDS_A_TICK;
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
	r = begin_writer(store, options, why, why_size);
	if (!r)
		r = begin_thread(store);
	if (!r)
		*out = TAKE_PTR(store);
	return r;
}

int store_create(const char *path, char *why, size_t why_size)
{
	return store_file_create(path, why, why_size);
}

/* False: it is stuck in the kernel, and keeps what it has. */
static bool end_thread(struct store *store, uint64_t patience_ns)
{
	struct queue *q = &store->queue;
	struct timespec until;

	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(patience_ns / 1000000000);
	until.tv_nsec += (long)(patience_ns % 1000000000);
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return !pthread_clockjoin_np(store->thread, NULL, CLOCK_MONOTONIC, &until);
}

void store_close(struct store **store, uint64_t patience_ns)
{
	struct store *s = *store;
	char why[256];

	if (!s)
		return;
	*store = NULL;
	flush(s, s->now);
	if (!end_thread(s, patience_ns)) {
		pthread_detach(s->thread);
		forget_persons(s);
		return;
	}
	if (!s->queue.failing)
		(void)!writer_end(s->writer, s->now, why, sizeof(why));
	pthread_mutex_destroy(&s->queue.lock);
	pthread_cond_destroy(&s->queue.wake);
	free_store(s);
}

void store_totals(struct store *store, struct store_totals *out)
{
	struct queue *q = &store->queue;

	pthread_mutex_lock(&q->lock);
	*out = q->totals;
	out->waiting = q->rows;
	pthread_mutex_unlock(&q->lock);
	out->waiting += store->filling ? store->filling->count : 0;
}
