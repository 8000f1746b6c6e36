/* SPDX-License-Identifier: GPL-2.0 */
/* The recorder's side of a broker that hangs: nothing waits for it without end. */
#include "user/broker.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "user/clock.h"

#define LONG_NS 6000000000ULL	/* well below what is waited for an answer otherwise */

static unsigned pumped;

static int pump(void *arg)
{
	(void)arg;
	pumped++;
	return 0;
}

static void on_row(void *arg, const struct event *row)
{
	(void)arg;
	(void)row;
	fail_msg("a row of a broker that is stopped");
}

/* Without a probe: it is stopped before it is asked. */
static struct broker *start_stopped(void)
{
	struct broker_options options = { .cgroup_root = -1 };
	struct broker *broker = NULL;
	char why[512] = "";

	/* It gives up what only root has. */
	if (geteuid())
		skip();
	if (broker_start(&options, &broker, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(kill(broker_pid(broker), SIGSTOP), 0);
	return broker;
}

static void assert_gone(pid_t pid)
{
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void its_end_is_not_waited_for(void **state)
{
	struct broker *broker = start_stopped();
	pid_t pid = broker_pid(broker);
	uint64_t began = now_boottime();

	(void)state;
	broker_free(&broker);
	assert_true(now_boottime() - began < LONG_NS);
	assert_gone(pid);
}

static void signal_cuts_patience_short(void **state)
{
	struct view_taker taker = { .row = on_row, .pump = pump };
	struct broker *broker = start_stopped();
	struct view view = broker_view(broker);
	uint64_t began = now_boottime();
	struct timespec none = { 0 };
	struct pw_look look = { 0 };
	sigset_t mask;

	(void)state;
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(view.ops->snapshot(view.arg, &taker), -ETIMEDOUT);
	assert_true(pumped > 10);
	assert_true(now_boottime() - began < LONG_NS);
	began = now_boottime();
	assert_int_equal(view.ops->look(view.arg, &look, 1), -ETIMEDOUT);
	assert_true(now_boottime() - began < LONG_NS);
	/* It is the loop's to read. */
	assert_int_equal(sigtimedwait(&mask, NULL, &none), SIGTERM);
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	assert_int_equal(kill(broker_pid(broker), SIGKILL), 0);
	broker_free(&broker);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(its_end_is_not_waited_for),
	cmocka_unit_test(signal_cuts_patience_short),
};

UNIT_MAIN(tests)
