/* SPDX-License-Identifier: GPL-2.0 */
/* Segments of rows, and the thread that writes them. */
#include "user/store_queue.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "user/mem.h"
#include "user/schema.h"

#define QUEUE_MAX	32			/* segments, of half a MiB */
#define EXTRA_MAX	(512U << 10)		/* and what a segment's rows may own beside it: then it is full */
#define EAGER		8			/* segments that are worth writing before it is time */
#define RETRY_NS	500000000ULL
#define GIVE_UP_NS	1500000000ULL		/* of a step that is begun, SQLite's waiting for locks in it */

struct store_queue {
	struct writer *writer;		/* the thread's, while that runs */
	pthread_t thread;
	char *path;
	struct segment *filling;	/* the caller's */
	uint64_t serial;

	/* Shared, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct segment *first, *last;
	size_t count;
	uint64_t rows;
	uint64_t life;			/* all before is handed over */
	bool flush, stop;
	bool give_up;			/* what cannot be written now is not waited for any more */
	bool failing, told_failing;
	bool notice;			/* something to tell that stops nothing */
	char why[256];
	struct writer_count written;
};

/* ---- the caller's side ---- */

void store_queue_hand_over(struct store_queue *q)
{
	struct segment *segment = TAKE_PTR(q->filling);

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

static bool is_full(struct store_queue *q)
{
	bool full;

	pthread_mutex_lock(&q->lock);
	full = q->count >= QUEUE_MAX - 1;
	pthread_mutex_unlock(&q->lock);
	return full;
}

struct segment *store_queue_room(struct store_queue *q, uint32_t count, uint32_t process_floor)
{
	struct segment *segment;

	if (q->filling && (q->filling->count + count > SEGMENT_ROWS || q->filling->extra >= EXTRA_MAX))
		store_queue_hand_over(q);
	if (q->filling)
		return q->filling;
	if (is_full(q))
		return NULL;
	/* Not zeroed: each row is, as it is taken. */
	segment = pw_reallocarray(NULL, 1, sizeof(*segment));
	if (!segment)
		return NULL;
	segment->next = NULL;
	segment->count = segment->extra = 0;
	segment->life = 0;
	segment->serial = ++q->serial;
	segment->process_floor = process_floor;
	q->filling = segment;
	return segment;
}

void store_queue_flush(struct store_queue *q, uint64_t life)
{
	if (q->filling)
		q->filling->life = life;
	store_queue_hand_over(q);
	pthread_mutex_lock(&q->lock);
	q->life = life;
	q->flush = true;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

int store_queue_report(struct store_queue *q, char *why, size_t why_size)
{
	int r = 0;

	pthread_mutex_lock(&q->lock);
	if (q->failing != q->told_failing || q->notice) {
		q->told_failing = q->failing;
		snprintf(why, why_size, "%s", q->failing || q->notice ? q->why : "");
		if (!q->failing && !q->notice)
			snprintf(why, why_size, "%s: it can be written to again", q->path);
		q->notice = false;
		r = -EAGAIN;
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

void store_queue_count(struct store_queue *q, struct writer_count *written, uint64_t *waiting)
{
	pthread_mutex_lock(&q->lock);
	*written = q->written;
	*waiting = q->rows;
	pthread_mutex_unlock(&q->lock);
	*waiting += q->filling ? q->filling->count : 0;
}

/* ---- the writer's thread ---- */

static struct timespec monotonic_in(uint64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ns / 1000000000);
	until.tv_nsec += (long)(ns % 1000000000);
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return until;
}

/* With the lock held. */
static void rest(struct store_queue *q, uint64_t ns)
{
	struct timespec until = monotonic_in(ns);

	pthread_cond_timedwait(&q->wake, &q->lock, &until);
}

static void drop_first(struct store_queue *q)
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
static uint64_t life_of(const struct store_queue *q, size_t count)
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
static bool write_some(struct store_queue *q, uint64_t *told_life)
{
	size_t max = writer_segments(q->writer), count = q->count < max ? q->count : max;
	const struct segment *first = q->first;
	uint64_t life = life_of(q, count);
	struct writer_count written = { 0 };
	char why[sizeof(q->why)] = "";
	int r;

	q->flush = q->count > count;
	pthread_mutex_unlock(&q->lock);
	r = writer_write(q->writer, first, count, life, &written, why, sizeof(why));
	pthread_mutex_lock(&q->lock);
	q->failing = r;
	if (r) {
		q->flush = true;
		snprintf(q->why, sizeof(q->why), "%s", why);
		return false;
	}
	*told_life = life ? life : *told_life;
	q->written.lifetimes += written.lifetimes;
	q->written.denials += written.denials;
	for (size_t i = 0; i < count; i++)
		drop_first(q);
	return true;
}

/* The same. True: there is more to do. */
static bool tidy(struct store_queue *q, uint64_t now, bool *noticed)
{
	char why[sizeof(q->why)] = "";
	int r;

	pthread_mutex_unlock(&q->lock);
	r = writer_tidy(q->writer, now, why, sizeof(why));
	pthread_mutex_lock(&q->lock);
	if (r < 0 && !*noticed) {
		snprintf(q->why, sizeof(q->why), "%s", why);
		q->notice = true;
	}
	*noticed = r < 0;
	return r > 0;
}

static bool is_due(const struct store_queue *q, uint64_t told_life)
{
	if (q->count)
		return q->flush || q->stop || q->count >= EAGER;
	return q->flush && q->life > told_life + SCHEMA_LIFE_NS;
}

static void *write_loop(void *arg)
{
	struct store_queue *q = arg;
	uint64_t told_life = 0;
	bool more = false, noticed = false;

	pthread_mutex_lock(&q->lock);
	while (!q->stop || (q->first && !q->give_up)) {
		if (is_due(q, told_life)) {
			more = write_some(q, &told_life);
			if (!more)
				rest(q, RETRY_NS);
		} else if (more) {
			more = tidy(q, told_life, &noticed);
		} else {
			pthread_cond_wait(&q->wake, &q->lock);
		}
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

/* ---- the whole ---- */

static void free_queue(struct store_queue *q)
{
	writer_free(&q->writer);
	if (q->filling)
		segment_free(q->filling);
	while (q->first)
		drop_first(q);
	pw_free(q->path);
	pw_free(q);
}

static int begin_thread(struct store_queue *q)
{
	pthread_condattr_t attributes;
	sigset_t all, before;
	int r;

	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&q->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&q->thread, NULL, write_loop, q);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int store_queue_open(const struct writer_options *options, struct store_queue **out, struct writer_start *start, char *why,
		     size_t why_size)
{
	struct store_queue *q = pw_calloc(1, sizeof(*q));
	int r = -ENOMEM;

	snprintf(why, why_size, "%s: there is no memory to open it: give it more", options->path);
	if (!q)
		return r;
	q->path = pw_strdup(options->path);
	if (q->path)
		r = writer_open(options, &q->writer, start, why, why_size);
	if (!r) {
		r = begin_thread(q);
		if (r)
			snprintf(why, why_size, "%s: no thread to write it can be begun: %s", options->path, strerror(-r));
	}
	if (r) {
		free_queue(q);
		return r;
	}
	why[0] = '\0';
	*out = q;
	return 0;
}

static bool join_within(struct store_queue *q, uint64_t ns)
{
	struct timespec until = monotonic_in(ns);

	return !pthread_clockjoin_np(q->thread, NULL, CLOCK_MONOTONIC, &until);
}

static void tell_thread(struct store_queue *q, bool *what)
{
	pthread_mutex_lock(&q->lock);
	*what = true;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

/* False: it is stuck. One that only waits to try again is not. */
static bool end_thread(struct store_queue *q, uint64_t patience_ns)
{
	tell_thread(q, &q->stop);
	if (join_within(q, patience_ns))
		return true;
	tell_thread(q, &q->give_up);
	return join_within(q, GIVE_UP_NS);
}

bool store_queue_close(struct store_queue **queue, uint64_t life, bool in_order, uint64_t patience_ns, uint64_t *unwritten)
{
	struct store_queue *q = *queue;
	struct writer_count written;
	char why[256];
	bool ended;

	*unwritten = 0;
	if (!q)
		return true;
	*queue = NULL;
	store_queue_flush(q, life);
	ended = end_thread(q, patience_ns);
	store_queue_count(q, &written, unwritten);
	if (!ended) {
		pthread_detach(q->thread);
		return false;
	}
	if (!q->failing && in_order)
		(void)!writer_end(q->writer, life, why, sizeof(why));
	pthread_mutex_destroy(&q->lock);
	pthread_cond_destroy(&q->wake);
	free_queue(q);
	return true;
}
