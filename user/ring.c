/* SPDX-License-Identifier: GPL-2.0 */
/* Two counters and a double mapping. */
#include "user/ring.h"

#include <linux/bpf.h>
#include <stdint.h>
#include <sys/mman.h>

#include "user/mem.h"

#define GIVE_BACK 64	/* records */

struct ring {
	unsigned long *consumer;	/* a page of its own, the only one that we write */
	const unsigned long *producer;	/* a page, and behind it the data, twice in a row: no record is in two pieces */
	const uint8_t *data;
	size_t page, size;
};

int ring_open(int fd, size_t size, struct ring **out)
{
	_cleanup_ring_ struct ring *ring = pw_calloc(1, sizeof(*ring));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at;

	if (!ring)
		return -ENOMEM;
	ring->page = page;
	ring->size = size;
	at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	ring->consumer = at;
	at = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, fd, (off_t)page);
	if (at == MAP_FAILED)
		return -errno;
	ring->producer = at;
	ring->data = (const uint8_t *)at + page;
	*out = TAKE_PTR(ring);
	return 0;
}

void ring_free(struct ring **ring)
{
	struct ring *r = *ring;

	if (!r)
		return;
	if (r->consumer)
		munmap(r->consumer, r->page);
	if (r->producer)
		munmap((void *)r->producer, r->page + 2 * r->size);
	pw_free(r);
	*ring = NULL;
}

static size_t length_of(uint32_t head)
{
	return head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
}

int ring_consume(struct ring *ring, size_t most, ring_fn fn, void *arg)
{
	unsigned long end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	unsigned long at = *ring->consumer;
	int count = 0;

	while (at != end && (size_t)count < most) {
		const uint8_t *record = ring->data + (at & (ring->size - 1));
		uint32_t head = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);

		if (head & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(head & BPF_RINGBUF_DISCARD_BIT))
			fn(arg, record + BPF_RINGBUF_HDR_SZ, length_of(head));
		at += (length_of(head) + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;
		if (++count % GIVE_BACK == 0)
			__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
	}
	__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
	return at != end && (size_t)count == most ? -EAGAIN : count;
}
