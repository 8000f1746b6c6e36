/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lines to a descriptor that may be slow: a bounded queue of changes, made into
 * text only when the descriptor takes it. A line in waiting costs some 130
 * bytes. When the queue is full the newest are lost, counted, and told by a gap
 * line in their place.
 */
#ifndef PORTWAKE_USER_OUTPUT_H
#define PORTWAKE_USER_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "user/buf.h"
#include "user/explain.h"
#include "user/identity.h"
#include "user/lifetime.h"

/* One change as a value: what a line can say. Times are of the wall clock, ns since 1970. */
struct line {
	uint64_t time;
	uint64_t cookie;
	struct process *owner;		/* a reference */
	union {
		struct {
			uint64_t held_ns, open_ns, time_wait_ns;	/* UNKNOWN_NS: not known, or no TIME_WAIT */
		};
		struct {
			uint64_t lost, lost_allocations, until;		/* WHAT_GAP; since is time */
			const char *reason;
		};
		struct {
			struct explanation *explanation;	/* WHAT_DENIED: a reference; NULL: there was no memory */
			uint32_t sock_uid, bound_dev;
			uint8_t traits;				/* enum pw_trait of the socket */
		};
	};
	uint32_t generation;
	uint32_t netns;
	uint32_t error;
	uint32_t holder_pid;
	uint16_t port;
	uint16_t remote_port;
	uint8_t what;
	uint8_t cause;			/* enum cause */
	uint8_t proto;
	uint8_t how;
	uint8_t flags;
	bool exact;
	bool listening;
	bool time_wait;			/* held by a TIME_WAIT alone */
	struct event_addr addr;
	struct event_addr remote;
	char holder_comm[PW_COMM];
};

/*
 * A description of our own of what fd refers to, that does not block and whose
 * flags nobody else shares; -1 where there is none to be had (a socket). A
 * terminal or a pipe may then be written to at any time.
 */
int output_reopen(int fd);

/* Appends the line's text and newline to out, which sticks to its own error. */
typedef void (*line_format_fn)(void *arg, const struct line *line, struct buf *out);

struct output_options {
	int fd;				/* borrowed; may block: it is asked before each write */
	size_t max_lines;		/* in waiting */
	line_format_fn format;
	void *format_arg;
	struct identity *identity;	/* borrowed; for the references */
};

struct output;

int output_new(const struct output_options *options, struct output **out);
void output_free(struct output **output);

void output_change(struct output *output, const struct change *change, int64_t offset);

/* Writes what the descriptor takes now: 0 all written, -EAGAIN more is waiting, other -errno of write(). */
int output_flush(struct output *output);

/*
 * Writes the rest, as long as the reader takes something every patience_ms; then gives up the remainder, which
 * counts as lost. stop() is asked between writes. 0 or -errno of write().
 */
int output_finish(struct output *output, int patience_ms, bool (*stop)(void *arg), void *arg);

/* Lines lost for good, so far. */
uint64_t output_lost(const struct output *output);

/* What a change says as a line; owner and explanation are not referenced. Pure. */
void line_of(const struct change *change, int64_t offset, struct line *out);

#define _cleanup_output_ _cleanup_(output_free)

#endif
