/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The reader's end of a BPF ring buffer (kernel/bpf/ringbuf.c). What is taken is given back to the kernel many records
 * at a time: it reads how far the reader is at each record that it writes, and would wait for that cache line as often
 * as it is written.
 */
#ifndef PORTWAKE_USER_RING_H
#define PORTWAKE_USER_RING_H

#include <stddef.h>

#include "user/base.h"

struct ring;

typedef void (*ring_fn)(void *arg, const void *data, size_t size);

/* fd: of the map, which stays the caller's and can be polled; size: its max_entries, in bytes. 0 or -errno. */
int ring_open(int fd, size_t size, struct ring **out);
void ring_free(struct ring **ring);

/*
 * Hands out the records that are there when it is called, up to the first that is still being written. The number of
 * them; -EAGAIN after `most`, when more are there. What fn is given lasts until it returns.
 */
int ring_consume(struct ring *ring, size_t most, ring_fn fn, void *arg);

#define _cleanup_ring_ _cleanup_(ring_free)

#endif
