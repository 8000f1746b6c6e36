/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the tracer's thread and the writer's: segments of rows, bounded, and the thread that writes them. The lock is
 * taken once a segment. While writing fails the segments wait.
 */
#ifndef PORTWAKE_USER_STORE_QUEUE_H
#define PORTWAKE_USER_STORE_QUEUE_H

#include <stdbool.h>

#include "user/store_write.h"

struct store_queue;

/* As writer_open(), with a thread. Where it succeeds, why[] is empty. */
int store_queue_open(const struct writer_options *options, struct store_queue **out, struct writer_start *start, char *why,
		     size_t why_size);

/*
 * Room for count rows in one segment, which is the caller's to fill until it asks again; a new one has process_floor.
 * NULL: there is none, by the bound or for want of memory.
 */
struct segment *store_queue_room(struct store_queue *queue, uint32_t count, uint32_t process_floor);

/* Ends the segment that is being filled. */
void store_queue_hand_over(struct store_queue *queue);

/* The same, and what waits is to be written now. life: all before is handed over. */
void store_queue_flush(struct store_queue *queue, uint64_t life);

/* 0; -EAGAIN once when writing has failed and once when it works again, with a line in why[]. */
int store_queue_report(struct store_queue *queue, char *why, size_t why_size);

/* Written; and rows that wait. */
void store_queue_count(struct store_queue *queue, struct writer_count *written, uint64_t *waiting);

/*
 * Writes what waits, for at most patience_ns and a step, vouches for what was before life, and ends the session where that
 * is in_order. False: the thread is stuck in the kernel, and keeps the queue and what the options pointed to. *unwritten:
 * rows that were not written.
 */
bool store_queue_close(struct store_queue **queue, uint64_t life, bool in_order, uint64_t patience_ns, uint64_t *unwritten);

#endif
