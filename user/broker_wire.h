/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a recorder may ask its broker, and what it is answered: one message each
 * way on a socketpair of datagrams in order (SOCK_SEQPACKET). A question has a number, which
 * its answers carry, so that one that came too late is not taken for another's.
 */
#ifndef PORTWAKE_USER_BROKER_WIRE_H
#define PORTWAKE_USER_BROKER_WIRE_H

#include "user/diag.h"
#include "user/probe.h"
#include "user/procfd.h"
#include "user/range.h"
#include "user/view.h"

enum broker_ask {
	BROKER_LOOK,		/* at looks[count]; answered by looks[count] */
	BROKER_LOSSES,		/* loss */
	BROKER_SNAPSHOT,	/* take one; count: its rows, */
	BROKER_ROWS,		/* which are had from row `from` on: rows[count]; none: it is forgotten */
	BROKER_RANGE,		/* of place; range */
	BROKER_DUMP,		/* of dump; bound[count], in several answers */
	BROKER_FIND,		/* inodes[count]; found[count] */
	BROKER_EXE,		/* of process; text[count] */
	BROKER_CGROUP,		/* of this id; text[count] */
	BROKER_SIGNAL,		/* this signal to the command */
	BROKER_FILE_IS,		/* file; error 0: it is */
	BROKER_FILES,		/* the three descriptors; or an error with text[count] */
	BROKER_LEFT,		/* text[count]: the path of a log that was left behind; or an error: none was */
	BROKER_ASKS
};

#define BROKER_ROWS_MAX 192
#define BROKER_BOUND_MAX 512
#define BROKER_TEXT_MAX 4096

struct broker_question {
	uint32_t ask;
	uint32_t number;
	uint32_t count;		/* 0 where nothing is counted */
	uint32_t pad;
	union {
		struct pw_look looks[PW_LOOKS];
		uint64_t from;
		struct view_place place;
		struct {
			struct view_place place;
			struct diag_query query;
		} dump;
		uint32_t inodes[PROCFD_MAX];
		struct {
			uint64_t start;
			uint32_t pid, pad;
		} process;
		uint64_t cgroup;
		uint64_t signal;
		struct {
			uint64_t dev, ino;
		} file;
	};
};

struct broker_answer {
	uint32_t number;
	int32_t error;		/* 0 or -errno; then nothing follows but text */
	uint32_t count;
	uint32_t more;		/* another answer to the same question follows */
	union {
		struct pw_look looks[PW_LOOKS];
		struct probe_loss loss;
		struct event rows[BROKER_ROWS_MAX];	/* exe: NULL */
		struct range range;
		struct diag_row bound[BROKER_BOUND_MAX];
		struct event_process found[PROCFD_MAX];
		char text[BROKER_TEXT_MAX];		/* unterminated */
	};
};

#define BROKER_HEAD offsetof(struct broker_answer, looks)

/* The one size that a question has; 0: there is no such question, or it counts too much. Pure. */
size_t broker_question_size(uint32_t ask, uint32_t count);

#endif
