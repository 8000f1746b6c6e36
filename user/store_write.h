/* SPDX-License-Identifier: GPL-2.0 */
/* Rows into the database's tables, one transaction a call; retention beside it. For the writer's thread. */
#ifndef PORTWAKE_USER_STORE_WRITE_H
#define PORTWAKE_USER_STORE_WRITE_H

#include <stddef.h>

#include "user/store_file.h"
#include "user/store_row.h"

struct writer_options {
	const char *path;
	struct store_files files;
	const char *boot;		/* id of this boot */
	const char *filter;		/* or NULL */
	uint64_t now;
	int64_t offset;			/* of the wall clock, now */
	uint64_t keep_ns, max_size;	/* 0: without bound */
};

/* What the rows to come count from. */
struct writer_start {
	uint32_t process;	/* first free number of a process */
	uint32_t sync;		/* and of a look */
};

struct writer;

/* Ends what an earlier session left, begins a new one. 0, or -errno with why, as store_file_open(). */
int writer_open(const struct writer_options *options, struct writer **out, struct writer_start *start, char *why,
		size_t why_size);
void writer_free(struct writer **writer);

/* Segments that one transaction takes at most. */
size_t writer_segments(const struct writer *writer);

struct writer_count {
	uint64_t lifetimes, denials;
};

/*
 * Writes count segments (0: only a sign of life), and of retention as much as keeps pace. life: all before it is
 * written then; 0: not said. 0, or -errno with why: nothing is written, and the same may be tried again.
 */
int writer_write(struct writer *writer, const struct segment *first, size_t count, uint64_t life, struct writer_count *out,
		 char *why, size_t why_size);

/* When there is time: a bounded step of retention and of giving space back. True: there is more to do. -errno with why. */
int writer_tidy(struct writer *writer, uint64_t now, char *why, size_t why_size);

/* The session ends in order. 0 or -errno with why. */
int writer_end(struct writer *writer, uint64_t now, char *why, size_t why_size);

#define _cleanup_writer_ _cleanup_(writer_free)

#endif
