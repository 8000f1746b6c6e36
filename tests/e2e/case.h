/* SPDX-License-Identifier: GPL-2.0 */
/* What a test is made of: namespaces with workloads in them, a tracer, and the comparison of the two. */
#ifndef E2E_CASE_H
#define E2E_CASE_H

/* clang-format off: cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/e2e/work.h"

/* The words of a command line. */
#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#define FAMS_ALL (1U << FAM_V4 | 1U << FAM_V6 | 1U << FAM_MAPPED)
#define FAMS_PURE (1U << FAM_V4 | 1U << FAM_V6)
#define FAMS_V4 (1U << FAM_V4)

enum { VARIANT_TCP = 1, VARIANT_UDP = 2, VARIANT_UDPLITE = 4, VARIANT_MPTCP = 8 };

/* A workload that is run once for each family and protocol, each time in a namespace of its own. */
struct scenario {
	const char *name;
	void (*work)(struct work *work);
	unsigned fams;		/* FAMS_* */
	unsigned variants;	/* VARIANT_* */
};

struct scenario_list {
	const struct scenario *list;
	size_t count;
};

extern const struct scenario_list tcp_scenarios, timewait_scenarios, udp_scenarios, owner_scenarios, odd_scenarios;

/* A test with a tracer of its own. */
struct plain {
	const char *name;
	void (*test)(void **state);
};

struct plain_list {
	const struct plain *list;
	size_t count;
};

extern const struct plain_list self_tests, start_tests, load_tests, mix_tests, cli_tests, command_tests, annotate_tests,
	cgroup_tests, isolate_tests, stats_tests, who_tests, question_tests, kernel_tests, denied_tests, advice_tests,
	pool_tests, audit_tests, past_tests, record_tests, minute_tests;

/* Who frees a stage: the end of its test, the end of the shared tracer, or nobody. */
enum keep { KEEP_FOR_TEST, KEEP_WATCHED, KEEP_ALWAYS };

/* A namespace, its truth, and one workload in it at a time. */
struct stage {
	char name[80];
	struct netns ns;
	char inode[24];		/* the namespace's number, as --netns wants it */
	struct work work;
	pid_t pid;		/* of the workload, 0: none */
	int sync_fd;
	enum keep keep;
	struct stage *next;
};

struct stage *stage_new(const char *name);
/* Starts fn in the namespace. */
void stage_start(struct stage *stage, void (*fn)(struct work *work));
/* Waits until the workload calls work_step(); then it waits for stage_go(). */
/* $E2E_SEED, or one of the clock: told, so that a random test can be repeated. */
uint64_t choose_seed(void);

void stage_await_step(struct stage *stage);
void stage_go(struct stage *stage);
/* Waits for the workload's end; fails or skips the test when it did. */
void stage_join(struct stage *stage);
void stage_run(struct stage *stage, void (*fn)(struct work *work));
void stage_free(struct stage **stage);
/* For run_options.before_exec: moves the tracer into the stage's namespace. */
void stage_enter(void *stage);
const char *stage_number(const struct stage *stage);

/* Fails the test unless the run tells the stage's truth, waiting a while for what is still to come. */
void assert_truth(struct stage *stage, struct run *run);
/* Ends the run and fails the test unless it exits 0, every line parses, and the stream keeps its rules. */
void assert_ends_well(struct run *run, int sig);
void assert_no_gap(const struct run *run);
/* A run that traces the stage's namespace only, with up to 12 further arguments (NULL: none). */
struct run *live_on(struct stage *stage, const char *const *more);
/* SKIPs the running test and remembers its name and reason for the end. */
void skip_because(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* The name of the test that runs, for the line that repeats it. */
void case_begin(const char *name);
/* It has come to its end; whatever has neither passed nor been skipped is told how to repeat. */
void case_passed(void);
int case_teardown(void **state);
void case_print_skips(void);

/* Scenarios share one unfiltered tracer, begun by the first and ended by watcher_end(), which is a test itself. */
void scenario_run(const struct scenario *scenario, enum fam fam, int proto, const char *name);
void watcher_end(void **state);

/* Those of a recorder. */
extern const struct plain_list history_tests, outage_tests, storage_tests, service_tests, power_tests, forget_tests;

/* The minute that TIME_WAIT takes passes while the other tests run. */
void minute_begin(void);
/* The same of the minute that a recorder keeps. */
void forget_begin(void);

/* What this program does when a test executes it again; see roles.c. */
int role_main(int argc, char **argv);

#endif
