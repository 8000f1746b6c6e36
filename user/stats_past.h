/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lifetimes of a history added up (stats.h): those that overlap the asked time, each with the part of it that lies
 * there. Pure but for the history.
 */
#ifndef PORTWAKE_USER_STATS_PAST_H
#define PORTWAKE_USER_STATS_PAST_H

#include "user/history.h"
#include "user/map.h"
#include "user/options.h"
#include "user/stats.h"

/* The processes that rows refer to, once each. The argument of past_stats_ops; outlives the stats. */
struct crowd {
	struct map members;	/* hash -> struct member */
};

extern const struct stats_ops past_stats_ops;

void crowd_done(struct crowd *crowd);

struct stats_past {
	struct stats *stats;		/* made with past_stats_ops and crowd */
	struct crowd *crowd;
	struct history *history;
	const struct options *options;	/* the filters, since and until; all borrowed */
	uint64_t now;			/* ns since 1970 */
	uint64_t not_counted;		/* lifetimes and denials that there was no memory for */
};

/* 0, or -errno of the history (history_why()). */
int stats_past_count(struct stats_past *past);

/* Each stretch of that time without records. The same; what on_blind returns other than 0 ends it and is returned. */
int stats_past_blind(struct stats_past *past, int (*on_blind)(void *arg, const struct blind *blind), void *arg);

#define _cleanup_crowd_ _cleanup_(crowd_done)

#endif
