/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What was recorded, read back. Reads beside a recorder that writes, and without
 * one; needs no privilege but that of reading the file.
 *
 * Times are nanoseconds since 1970 by the wall clock as it stood then; spans are
 * of CLOCK_BOOTTIME, which setting the clock does not change. Where the clock was
 * set back a wall time was twice: then both are answered.
 */
#ifndef PORTWAKE_USER_HISTORY_H
#define PORTWAKE_USER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "user/lifetime.h"

#define HISTORY_DB "/var/lib/portwake/history.db"

struct past_process {
	uint32_t pid, uid;
	uint64_t start;			/* ns, CLOCK_BOOTTIME of its boot; 0: not known */
	const char *comm;
	const char *exe, *cgroup, *container, *cmdline;	/* NULL: not known, or none */
};

/* One lifetime. Borrowed: valid during the call back. */
struct past {
	uint64_t cookie;
	uint32_t generation;
	uint32_t netns;
	uint16_t port, remote_port;
	uint8_t proto;			/* IPPROTO_* */
	uint8_t how;			/* enum pw_how */
	uint8_t flags;			/* enum pw_flag */
	bool listened;
	bool exact;			/* every time here is that of the event */
	bool began_before;		/* it was held when recording began: since is when it was first seen */
	bool lasts;			/* held when last heard of: until is that moment, cause is none */
	bool runs;			/* and its recorder runs: it is held now, which is until */
	bool end_unknown;		/* released in a gap: until is when it was last known to be held */
	enum cause cause;
	uint32_t error;			/* positive errno that ended it; 0: none */
	struct event_addr addr, remote;	/* remote.family 0: none */
	uint64_t since, until;
	uint64_t closed_at, tw_at;	/* 0: never */
	uint64_t held_ns, open_ns, tw_ns;	/* UNKNOWN_NS: not known; 0: none */
	const struct past_process *owner;	/* NULL: unknown */
	const struct past_process *holder;	/* who closed it, where that is another; NULL: the owner, or unknown */
	const char *boot;		/* id of the boot, as /proc/sys/kernel/random/boot_id */
};

/* Calls that were denied a port: one, or the same one again and again. Borrowed: valid during the call back. */
struct past_denial {
	uint64_t time, until;		/* of the first and of the last */
	uint64_t count;
	uint32_t netns;
	uint16_t port, remote_port;	/* as asked for; 0: whichever there was */
	uint8_t proto;			/* IPPROTO_* */
	uint8_t how;			/* the call: enum pw_how */
	uint8_t cause;			/* enum denial */
	uint32_t error;			/* positive errno */
	struct event_addr addr, remote;	/* as asked for; remote.family 0: none */
	const struct past_process *owner;	/* who called; NULL: unknown */
	const char *detail;		/* as detail_put() said it, an object of JSON; NULL: not known */
};

/* A stretch that the history cannot speak for. */
struct blind {
	uint64_t since, until;		/* since 0: from ever; until UINT64_MAX: up to now and on */
	uint64_t lost;			/* records; 0: not counted, nobody recorded */
	const char *reason;		/* "not recorded yet", "the recorder did not run", "ring", ... */
	bool partly;			/* some of what was then is recorded */
	bool denied;			/* this is of denied calls alone: every holder is recorded */
	bool elsewhere;			/* this is of other namespaces than those recorded, and none was asked for by name */
};

struct history;

/* 0, or -errno with one line in why[] that names the file and the remedy: -ENOENT none there, -EACCES, -EBADMSG not a
 * database or damaged, -EPROTONOSUPPORT of a newer portwake. */
int history_open(const char *path, struct history **out, char *why, size_t why_size);
void history_free(struct history **history);

/* What is asked; times inclusive. since == until: that instant. */
struct history_query {
	uint64_t since, until;
	uint16_t first, last;		/* ports */
	unsigned int protos;		/* enum pw_proto mask; 0: any */
	const uint32_t *netns;		/* inodes; netns_count 0: any */
	uint32_t netns_count;
};

/* So many ports are told in order. */
#define HISTORY_SORTED 256

/*
 * Every lifetime of these ports that overlaps the time; by port and since, unless they are more than HISTORY_SORTED. 0; -errno (with history_why()); what
 * on_past returns other than 0 ends it and is returned.
 */
int history_find(struct history *history, const struct history_query *query,
		 int (*on_past)(void *arg, const struct past *past), void *arg);

/*
 * Every call in that time that asked for one of these ports and was denied, about in order of time; first 0: those that
 * named none too. The same.
 */
int history_denied(struct history *history, const struct history_query *query,
		   int (*on_denied)(void *arg, const struct past_denial *denial), void *arg);

/* Every stretch of the query's time in which records of such a port may be missing, by time. The same. */
int history_blind(struct history *history, const struct history_query *query,
		  int (*on_blind)(void *arg, const struct blind *blind), void *arg);

/* Why the last call failed, one line. */
const char *history_why(const struct history *history);

#define _cleanup_history_ _cleanup_(history_free)

#endif
