/* SPDX-License-Identifier: GPL-2.0 */
/*
 * e2e [--list] [PATTERN]...: portwake ($PORTWAKE, build/portwake by default) against workloads that know the truth.
 * PATTERN is a part of a name or a shell pattern of all of it; one that begins with ! leaves tests out. $E2E_SLOW=N
 * stretches every deadline N times, $E2E_SEED repeats a random test, $E2E_RUNG forces a rung on every tracer,
 * $E2E_NO_DENIED has each do without denials, $E2E_GUEST says that the machine is a throw-away one, $E2E_LONG takes a
 * minute where seconds do otherwise.
 *
 *   case.c   stages, tracers, comparisons; main.c runs tcp.c udp.c owner.c timewait.c odd.c (scenarios: one shared
 *            tracer),
 *            then start.c load.c mix.c cli.c command.c annotate.c cgroups.c isolate.c stats.c who.c question.c denied.c
 *            advice.c (wish.c) (a tracer for each), past.c record.c history.c outage.c storage.c service.c power.c (a recorder
 *            for each), pool.c audit.c (no tracer; room.c: a namespace with a small range), then minute.c
 *   work.c   the workload's side: sockets that log what they do     truth.c match.c   that log against the stream
 *   ask.c    portwake who as a child
 *   recorder.c portwake record as a child, and its file     told.c   what who says of the past, against that log
 *   crowd.c  workloads for it: ten processes at random, a steady one, a flood
 *   run.c    portwake as a child     seen.c   one line of its stream     net.c   namespaces and netlink     roles.c
 */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TESTS 512

struct entry {
	char name[96];
	const struct scenario *scenario;
	enum fam fam;
	int proto;
	void (*test)(void **state);
};

static struct entry entries[MAX_TESTS];
static struct CMUnitTest tests[MAX_TESTS];
static size_t entry_count;
static char *no_patterns[] = { NULL };
static char **patterns = no_patterns;

static const struct {
	unsigned variant;
	int proto;
	const char *name;
} variants[] = {
	{ VARIANT_TCP, IPPROTO_TCP, "tcp" },
	{ VARIANT_MPTCP, IPPROTO_MPTCP, "mptcp" },
	{ VARIANT_UDP, IPPROTO_UDP, "udp" },
	{ VARIANT_UDPLITE, IPPROTO_UDPLITE, "udplite" },
};

static void run_entry(void **state)
{
	const struct entry *e = *state;

	case_begin(e->name);
	if (e->scenario)
		scenario_run(e->scenario, e->fam, e->proto, e->name);
	else
		e->test(state);
	case_passed();
}

static bool matches(const char *name, const char *pattern)
{
	return strstr(name, pattern) || fnmatch(pattern, name, 0) == 0;
}

static bool wanted(const char *name)
{
	bool all = true, any = false;

	for (char **p = patterns; *p; p++) {
		if (**p == '!' && matches(name, *p + 1))
			return false;
		if (**p == '!')
			continue;
		all = false;
		any = any || matches(name, *p);
	}
	return all || any;
}

static void add(const struct entry *entry)
{
	if (!wanted(entry->name))
		return;
	if (entry_count == MAX_TESTS)
		abort();
	entries[entry_count] = *entry;
	tests[entry_count] = (struct CMUnitTest){
		.name = entries[entry_count].name, .test_func = run_entry, .teardown_func = case_teardown,
		.initial_state = &entries[entry_count],
	};
	entry_count++;
}

static void add_variant(const struct scenario *s, size_t v)
{
	for (unsigned fam = 0; fam < FAM_COUNT; fam++) {
		struct entry e = { .scenario = s, .fam = (enum fam)fam, .proto = variants[v].proto };

		if (!(s->fams & 1U << fam))
			continue;
		snprintf(e.name, sizeof(e.name), "%s/%s/%s", variants[v].name, s->name, fam_name((enum fam)fam));
		add(&e);
	}
}

static void add_scenarios(const struct scenario_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		for (size_t v = 0; v < COUNT_OF(variants); v++) {
			if (list->list[i].variants & variants[v].variant)
				add_variant(&list->list[i], v);
		}
	}
}

static void add_plain(const struct plain_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct entry e = { .test = list->list[i].test };

		snprintf(e.name, sizeof(e.name), "%s", list->list[i].name);
		add(&e);
	}
}

/* The tests of the shared tracer are not whole without its end. */
static void add_watcher_end(void)
{
	struct entry e = { .name = "the_shared_tracer_ends_well", .test = watcher_end };
	char **kept = patterns;

	patterns = no_patterns;
	if (entry_count)
		add(&e);
	patterns = kept;
}

static bool is_role(int argc, char **argv)
{
	return argc > 2 && strcmp(argv[1], "--role") == 0;
}

static int list_names(void)
{
	for (size_t i = 0; i < entry_count; i++)
		printf("%s\n", entries[i].name);
	return 0;
}

static void collect(void)
{
	static const struct scenario_list *const scenarios[] = {
		&tcp_scenarios, &udp_scenarios, &owner_scenarios, &timewait_scenarios, &odd_scenarios,
	};
	static const struct plain_list *const plain[] = {
		&self_tests, &start_tests, &load_tests, &mix_tests, &cli_tests, &command_tests, &annotate_tests,
		&history_tests, &outage_tests, &storage_tests, &service_tests, &power_tests, &forget_tests,
		&cgroup_tests, &isolate_tests, &stats_tests, &who_tests, &question_tests, &kernel_tests, &denied_tests, &advice_tests,
		&pool_tests, &audit_tests, &past_tests, &record_tests, &minute_tests,
	};

	for (size_t i = 0; i < COUNT_OF(scenarios); i++)
		add_scenarios(scenarios[i]);
	add_watcher_end();
	for (size_t i = 0; i < COUNT_OF(plain); i++)
		add_plain(plain[i]);
}

static bool includes(const struct plain_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (wanted(list->list[i].name))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
	int failed;

	if (is_role(argc, argv))
		return role_main(argc - 2, argv + 2);
	if (argc > 1 + list)
		patterns = argv + 1 + list;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	collect();
	if (list)
		return list_names();
	if (!entry_count || geteuid() != 0) {
		fprintf(stderr, "e2e: %s\n", entry_count ? "these tests need root" : "no test has such a name");
		return 2;
	}
	if (includes(&minute_tests))
		minute_begin();
	if (includes(&forget_tests))
		forget_begin();
	failed = _cmocka_run_group_tests("e2e", tests, entry_count, NULL, NULL);
	case_print_skips();
	return failed ? 1 : 0;
}
