/* SPDX-License-Identifier: GPL-2.0 */
/* Processes: interned, referred to, bounded; executables and containers by what is known of them. */
#include "user/identity.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/events.h"
#include "tests/unit/unit.h"
#include "user/cgroup.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct identity *fresh(void)
{
	struct identity *identity = identity_new(-1);

	assert_non_null(identity);
	return identity;
}

/* A process that /proc knows nothing of: pids end at 4194304. */
static struct event by_pid(uint32_t pid)
{
	struct event e = ev_sock(1, 40000, 1000);

	e.process.pid = 5000000 + pid;
	return e;
}

static void learn(struct identity *identity, const struct event *who, const char *exe)
{
	struct event e = { .kind = PW_PROCESS, .process = who->process, .exe = exe, .exe_length = strlen(exe) };

	e.process.comm[0] = '\0';
	e.process.uid = 0;
	e.process.cgroup = 0;
	identity_learn(identity, &e);
}

/* ---- containers ---- */

static const struct {
	const char *path, *container;
} containers[] = {
	{ "/", NULL },
	{ "", NULL },
	{ "/user.slice/user-1000.slice/session-2.scope", NULL },
	{ "/system.slice/docker.service", NULL },
	{ "/system.slice/docker-" HEX64 ".scope", HEX64 },
	{ "/docker/" HEX64, HEX64 },
	{ "/docker/" HEX64 "/init", HEX64 },
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5ab3.slice/cri-containerd-" HEX64 ".scope", HEX64 },
	{ "/kubepods/besteffort/pod0f2c7a5e-6f3a-4f4c-9a55-000000000000/" HEX64, HEX64 },
	{ "/kubepods.slice/crio-" HEX64 ".scope", HEX64 },
	{ "/machine.slice/libpod-" HEX64 ".scope/container", HEX64 },
	{ "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" HEX64 ".scope", HEX64 },
	{ "/lxc.payload.web/system.slice/nginx.service", "web" },
	{ "/lxc/db", "db" },
	{ "/lxc/db/init.scope", "db" },
	{ "/machine.slice/machine-buster.scope", "buster" },
	{ "/machine.slice/machine-buster.scope/payload", "buster" },
	/* Close, but none: a digit short, a digit more, a name without letters. */
	{ "/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde", NULL },
	{ "/docker/" HEX64 "0", NULL },
	{ "/docker/x" HEX64, NULL },
	{ "/lxc/", NULL },
	{ "/lxc.payload./init", NULL },
	{ "/machine.slice/machine-.scope", ".scope" },
};

static void container_of_each_engine(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
		size_t length = 0;
		const char *at = identity_container(containers[i].path, &length);
		const char *expected = containers[i].container;

		if (!expected != !at || (at && (length != strlen(expected) || strncmp(at, expected, length))))
			fail_msg("%s: %.*s", containers[i].path, (int)length, at ? at : "");
		if (at)
			assert_true(at >= containers[i].path && at + length <= strchr(containers[i].path, '\0'));
	}
}

/* ---- interning ---- */

static void same_process_is_one(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1);
	struct process *first = identity_owner(identity, &e), *second = identity_owner(identity, &e);

	(void)state;
	assert_non_null(first);
	assert_ptr_equal(first, second);
	assert_int_equal(first->refs, 2);
	assert_int_equal(first->pid, e.process.pid);
	assert_int_equal(first->uid, 1000);
	assert_int_equal(first->start, 5);
	assert_string_equal(first->comm, "owner");
	assert_null(first->exe);
	assert_null(first->cgroup);
	assert_null(first->container);
	identity_put(identity, first);
	identity_put(identity, second);
	/* Not referred to, but remembered. */
	assert_ptr_equal(identity_owner(identity, &e), first);
	assert_int_equal(first->refs, 1);
	identity_put(identity, first);
}

/* pid alone is not a process; nor is a process after exec, or a name or uid later, what it was. */
static void what_differs_is_another(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e[7];
	struct process *p[7];

	(void)state;
	for (size_t i = 0; i < 7; i++)
		e[i] = by_pid(1);
	e[1].process.pid++;
	e[2].process.start++;
	e[3].process.exec_id++;
	e[4].process.uid++;
	e[5].process.cgroup++;
	strcpy(e[6].process.comm, "other");
	for (size_t i = 0; i < 7; i++) {
		p[i] = identity_owner(identity, &e[i]);
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(p[i], p[j]);
	}
	for (size_t i = 0; i < 7; i++)
		identity_put(identity, p[i]);
}

static void unknown_has_no_process(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1);

	(void)state;
	e.flags |= PW_F_KERNEL;
	assert_null(identity_owner(identity, &e));
	e.flags = 0;
	e.process.pid = 0;
	assert_null(identity_owner(identity, &e));
	identity_put(identity, NULL);
	assert_null(identity_ref(NULL));
}

static void references_count(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1);
	struct process *p = identity_owner(identity, &e);

	(void)state;
	assert_ptr_equal(identity_ref(p), p);
	assert_int_equal(p->refs, 2);
	identity_put(identity, p);
	identity_put(identity, p);
	assert_int_equal(p->refs, 0);
}

/* ---- executables ---- */

static void executable_is_what_was_told(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1), after_exec = by_pid(1);
	struct process *p, *q;

	(void)state;
	after_exec.process.exec_id = 1;
	learn(identity, &e, "/usr/bin/first");
	learn(identity, &after_exec, "/usr/bin/second");
	p = identity_owner(identity, &e);
	q = identity_owner(identity, &after_exec);
	assert_string_equal(p->exe, "/usr/bin/first");
	assert_string_equal(q->exe, "/usr/bin/second");
	identity_put(identity, p);
	identity_put(identity, q);
}

/* The kernel side forgets what it told, and tells it again. */
static void executable_may_be_told_again(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1);
	struct process *p;

	(void)state;
	learn(identity, &e, "/usr/bin/one");
	learn(identity, &e, "/usr/bin/one");
	learn(identity, &e, "/usr/bin/two");
	p = identity_owner(identity, &e);
	assert_string_equal(p->exe, "/usr/bin/two");
	identity_put(identity, p);
}

static void executable_that_is_not_known_is_learnt_as_nothing(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1), told = { .kind = PW_PROCESS, .process = e.process };
	struct process *p;

	(void)state;
	identity_learn(identity, &told);
	p = identity_owner(identity, &e);
	assert_null(p->exe);
	identity_put(identity, p);
}

/* Ours, by /proc: in clock ticks since boot, field 22. */
static uint64_t own_start(void)
{
	unsigned long long ticks = 0;
	char text[1024] = "";
	FILE *file = fopen("/proc/self/stat", "re");

	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_int_equal(sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
				"%*d %*d %*d %llu", &ticks), 1);
	return ticks * (1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void executable_of_what_was_there_before_is_read(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1);
	char path[4096] = "";
	struct process *p;

	(void)state;
	e.process.pid = (uint32_t)getpid();
	e.process.start = own_start() + 1234567;
	assert_true(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
	p = identity_owner(identity, &e);
	assert_non_null(p->exe);
	assert_string_equal(p->exe, path);
	identity_put(identity, p);
}

static void command_line_is_one_line(void **state)
{
	struct process own = { .pid = (uint32_t)getpid(), .start = own_start() };
	char text[4096], piece[8];

	(void)state;
	assert_int_equal(identity_cmdline(&own, text, sizeof(text)), 0);
	assert_non_null(strstr(text, "test_identity"));
	assert_int_equal(identity_cmdline(&own, piece, sizeof(piece)), 0);
	assert_int_equal(strlen(piece), sizeof(piece) - 1);
	assert_memory_equal(piece, text, sizeof(piece) - 1);
}

/* Of kthreadd there is none; of another process behind the same pid it must not be told. */
static void command_line_that_is_not_its_own(void **state)
{
	struct process thread = { .pid = 2 }, other = { .pid = (uint32_t)getpid(), .start = own_start() + 9000000000 };
	struct process none = { .pid = 5000000 };
	char text[4096];

	(void)state;
	assert_int_equal(identity_cmdline(&other, text, sizeof(text)), -ENOENT);
	assert_int_equal(identity_cmdline(&none, text, sizeof(text)), -ENOENT);
	assert_true(identity_cmdline(&thread, text, sizeof(text)) < 0);
}

/* The pid is another process's by now. */
static void executable_of_another_start_is_not(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(1);
	struct process *p;

	(void)state;
	e.process.pid = (uint32_t)getpid();
	e.process.start = own_start() - 20000000;
	p = identity_owner(identity, &e);
	assert_null(p->exe);
	identity_put(identity, p);
}

/* ---- bounds ---- */

/* What is forgotten is made anew, and knows then what was learnt meanwhile. */
static void idle_processes_are_bounded(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(0);
	struct process *p;

	(void)state;
	p = identity_owner(identity, &e);
	identity_put(identity, p);
	learn(identity, &e, "/learnt/since");
	p = identity_owner(identity, &e);
	assert_null(p->exe);
	identity_put(identity, p);
	for (uint32_t i = 1; i <= 4096; i++) {
		struct event other = by_pid(i);

		identity_put(identity, identity_owner(identity, &other));
	}
	p = identity_owner(identity, &e);
	assert_string_equal(p->exe, "/learnt/since");
	identity_put(identity, p);
}

static void what_is_referred_to_is_never_forgotten(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct event e = by_pid(0);
	struct process *p = identity_owner(identity, &e);

	(void)state;
	for (uint32_t i = 1; i <= 10000; i++) {
		struct event other = by_pid(i);

		identity_put(identity, identity_owner(identity, &other));
	}
	assert_int_equal(p->refs, 1);
	assert_ptr_equal(identity_owner(identity, &e), p);
	identity_put(identity, p);
	identity_put(identity, p);
}

/* A machine that starts a hundred thousand processes costs no more than one that starts ten thousand. */
static void memory_is_bounded(void **state)
{
	_cleanup_identity_ struct identity *identity = fresh();
	size_t after_some = 0;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		struct event e = by_pid(i);

		learn(identity, &e, "/usr/bin/some-executable-of-usual-length");
		identity_put(identity, identity_owner(identity, &e));
		if (i == 10000)
			after_some = mallinfo2().uordblks;
	}
	assert_true(mallinfo2().uordblks < after_some + (1 << 20));
}

/* ---- cgroups ---- */

static void cgroup_and_container_by_id(void **state)
{
	static const char dir[] = "docker-" HEX64 ".scope";
	_cleanup_close_ int root = cgroup_open_root();
	struct event e = by_pid(1), gone = by_pid(2);
	struct identity *identity;
	struct process *p, *again;

	(void)state;
	if (root < 0 || mkdirat(root, dir, 0755) < 0)
		skip();
	assert_int_equal(cgroup_id(root, dir, &e.process.cgroup), 0);
	identity = identity_new(root);
	p = identity_owner(identity, &e);
	assert_int_equal(unlinkat(root, dir, AT_REMOVEDIR), 0);
	assert_string_equal(p->cgroup, "/docker-" HEX64 ".scope");
	assert_string_equal(p->container, HEX64);
	/* The path is remembered when the cgroup is gone; one that went unseen has none. */
	e.process.pid++;
	again = identity_owner(identity, &e);
	assert_string_equal(again->cgroup, p->cgroup);
	gone.process.cgroup = e.process.cgroup + 1000000;
	identity_put(identity, p);
	p = identity_owner(identity, &gone);
	assert_null(p->cgroup);
	assert_null(p->container);
	identity_put(identity, p);
	identity_put(identity, again);
	identity_free(&identity);
}

/* ---- without memory ---- */

static void check_without_memory(size_t k, bool *complete)
{
	_cleanup_identity_ struct identity *identity = fresh();
	struct process *held[40];

	*complete = true;
	unit_fail_after(k);
	for (uint32_t i = 0; i < 40; i++) {
		struct event e = by_pid(i % 25);

		learn(identity, &e, "/usr/bin/one");
		held[i] = identity_owner(identity, &e);
		*complete &= held[i] && held[i]->exe;
	}
	unit_fail_never();
	for (uint32_t i = 0; i < 40; i++) {
		if (held[i])
			assert_int_equal(held[i]->pid, 5000000 + i % 25);
		identity_put(identity, held[i]);
	}
}

static void no_memory_is_not_known(void **state)
{
	bool complete = false;
	size_t k;

	(void)state;
	for (k = 0; !complete && k < 1000; k++)
		check_without_memory(k, &complete);
	assert_true(complete && k > 30);
	unit_fail_after(0);
	assert_null(identity_new(-1));
	unit_fail_never();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(container_of_each_engine),
	cmocka_unit_test(same_process_is_one),
	cmocka_unit_test(what_differs_is_another),
	cmocka_unit_test(unknown_has_no_process),
	cmocka_unit_test(references_count),
	cmocka_unit_test(executable_is_what_was_told),
	cmocka_unit_test(executable_may_be_told_again),
	cmocka_unit_test(executable_that_is_not_known_is_learnt_as_nothing),
	cmocka_unit_test(executable_of_what_was_there_before_is_read),
	cmocka_unit_test(executable_of_another_start_is_not),
	cmocka_unit_test(command_line_is_one_line),
	cmocka_unit_test(command_line_that_is_not_its_own),
	cmocka_unit_test(idle_processes_are_bounded),
	cmocka_unit_test(what_is_referred_to_is_never_forgotten),
	cmocka_unit_test(memory_is_bounded),
	cmocka_unit_test(cgroup_and_container_by_id),
	cmocka_unit_test(no_memory_is_not_known),
};

UNIT_MAIN(tests)
