/* SPDX-License-Identifier: GPL-2.0 */
/* portwake live -- COMMAND: that command and its descendants, its end, its exit status. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WITHIN (20 * SECOND)

/* portwake and its command in the stage's namespace. */
static struct run *start_command(struct stage *stage, const char *const *args)
{
	struct run_options options = { .args = args, .before_exec = stage_enter, .arg = stage };

	return run_start(&options);
}

static void expect_status(const char *role, const char *argument, int status)
{
	struct stage *stage = stage_new("a command's exit status");
	struct run *run = start_command(stage, ARGS("live", "--json", "--", self_path(), "--role", role, argument));
	int got = run_wait(run, WITHIN);

	if (got != status)
		fail_msg("exit status %d, not the command's %d; stderr: %s", got, status, run->talk);
	assert_int_equal(run->bad, 0);
	assert_true(run_has(run, KIND_READY));
	run_free(&run);
}

static void exit_status(void **state)
{
	(void)state;
	expect_status("exit", "0", 0);
	expect_status("exit", "7", 7);
	expect_status("die", "9", 128 + 9);
}

static void not_found(void **state)
{
	struct stage *stage = stage_new("no such command");
	struct run *run = start_command(stage, ARGS("live", "--json", "--", "/nowhere/no-such-command"));
	int got = run_wait(run, WITHIN);

	(void)state;
	if (got <= 0 || got >= 128)
		fail_msg("exit status %d; stderr: %s", got, run->talk);
	assert_non_null(strstr(run->talk, "no-such-command"));
}

static void outsider(struct work *w)
{
	while (!w->truth->stop) {
		struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_UDP);

		ws_bind(&s, 7509);
		ws_close(&s);
		usleep(500);
	}
}

static void expect_one_life(const struct run *run, const char *port, const char *comm)
{
	static const enum kind due[] = { KIND_ALLOCATE, KIND_CLOSE, KIND_RELEASE };
	size_t n = 0;

	for (size_t i = 0; i < run->count; i++) {
		const struct seen *s = &run->seen[i];

		if (s->port != strtoul(port, NULL, 10))
			continue;
		if (n >= COUNT_OF(due) || s->kind != due[n] || s->pid <= 0 || strcmp(s->comm, comm) != 0)
			fail_msg("not expected (as event %zu of port %s): %s", n, port, s->line);
		n++;
	}
	if (n != COUNT_OF(due))
		fail_msg("port %s has %zu events, not %zu", port, n, COUNT_OF(due));
}

static void only_the_family(void **state)
{
	struct stage *stage = stage_new("a command's family");
	const char *own = strrchr(self_path(), '/') + 1;
	struct run *run;
	int status;

	(void)state;
	stage_start(stage, outsider);
	run_sleep(20);
	run = start_command(stage, ARGS("live", "--json", "--", self_path(), "--role", "family", "7501", "7502", "7503",
					"7504"));
	status = run_wait(run, WITHIN);
	stage->work.truth->stop = true;
	stage_join(stage);
	if (status != 5 || run->bad)
		fail_msg("exit status %d, %u bad lines (%s); stderr: %s", status, run->bad, run->why, run->talk);
	expect_one_life(run, "7501", own);
	expect_one_life(run, "7502", own);
	expect_one_life(run, "7503", own);
	expect_one_life(run, "7504", own);
	for (size_t i = 0; i < run->count; i++) {
		if (run->seen[i].port == 7509)
			fail_msg("an outsider is shown: %s", run->seen[i].line);
	}
}

static const struct plain list[] = {
	{ "command/exit_status", exit_status },
	{ "command/not_found", not_found },
	{ "command/only_the_family", only_the_family },
};

const struct plain_list command_tests = { list, COUNT_OF(list) };
