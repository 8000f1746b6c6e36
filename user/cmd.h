/* SPDX-License-Identifier: GPL-2.0 */
/* What every sub-command gives and what they share. */
#ifndef PORTWAKE_USER_CMD_H
#define PORTWAKE_USER_CMD_H

#include "user/annotate.h"
#include "user/buf.h"
#include "user/holders.h"
#include "user/options.h"
#include "user/range.h"
#include "user/run.h"

/* Exit statuses of the program. */
enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_CANNOT = 3,	/* cannot trace here */
};

/* Each takes parsed options, logs what goes wrong once, and returns an exit status. */
int cmd_live(const struct options *options);
int cmd_stats(const struct options *options);
int cmd_probes(const struct options *options);
int cmd_who(const struct options *options);
int cmd_pool(const struct options *options);
int cmd_audit(const struct options *options);
int cmd_record(const struct options *options);

/* What a tracing command stands on. */
struct tracing {
	int cgroup_root;
	struct identity *identity;
	struct annotate_table *annotations;
	struct run_options run;
};

#define TRACING_INIT ((struct tracing){ .cgroup_root = -1 })

/* Loads the annotations, once. STATUS_DONE, or logged. */
int tracing_annotate(struct tracing *tracing, const struct options *options);

/* Fills in everything, of run all but the sink. STATUS_DONE, or logged. */
int tracing_set(struct tracing *tracing, const struct options *options);
void tracing_clear(struct tracing *tracing);

/* Logs how a run ended (r: what run() returned) and its summary; the exit status for it. */
int tracing_report(const struct options *options, const struct run_result *result, int r);

/* A network namespace in view, and who holds ports there. */
struct scene_netns {
	uint32_t netns;
	struct range range;
	const struct holder *rows;	/* into scene.holders */
	size_t count;
};

/* One look at who holds ports, without a tracer. */
struct scene {
	uint64_t time;			/* ns, CLOCK_BOOTTIME, of its beginning */
	struct holders holders;
	struct scene_netns *netns;	/* by inode number */
	size_t count;
	size_t strays;			/* holders in none of these */
};

#define SCENE_INIT ((struct scene){ .holders = HOLDERS_INIT })

/* STATUS_DONE, or logged. */
int scene_take(struct scene *scene, const struct tracing *tracing);
void scene_done(struct scene *scene);

/* Logs what was left out, if anything was. */
void scene_warn(const struct scene *scene);

/* Is the range of each namespace known? scene_take() has logged which is not. */
bool scene_known(const struct scene *scene);

/* All of it to stdout. STATUS_DONE, or logged; STATUS_DONE as well when a signal cut it short. */
int print_all(const struct buf *out);

#define _cleanup_scene_ _cleanup_(scene_done)

#define _cleanup_tracing_ _cleanup_(tracing_clear)

#endif
