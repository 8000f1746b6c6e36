/* SPDX-License-Identifier: GPL-2.0 */
/* Options, filters, output that cannot be written, names that try to break it, and ends. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVIL "\x1b[31m\"'\n\\"
#define WITHIN (15 * SECOND)

static size_t lines_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* Runs portwake to its end: the exit status. The run is left to be looked at. */
static int run_to_end(const char *const *args, struct run **out)
{
	struct run_options options = { .args = args, .text = true };

	*out = run_start(&options);
	return run_wait(*out, WITHIN);
}

static void assert_refused(const char *const *args, int status, int other, const char *names)
{
	struct run *run;
	int got = run_to_end(args, &run);

	if (got != status && got != other)
		fail_msg("exit status %d for '%s', not %d; stderr: %s", got, names, status, run->talk);
	if (lines_of(run->talk) != 1 || !strstr(run->talk, names))
		fail_msg("not one line that names '%s': %s", names, run->talk);
	if (run->partial_len)
		fail_msg("stdout has: %s", run->partial);
	run_free(&run);
}

static void bad_usage(void **state)
{
	(void)state;
	assert_refused(ARGS("live", "--no-such-option"), 2, 2, "--no-such-option");
	assert_refused(ARGS("no-such-command"), 2, 2, "no-such-command");
	assert_refused(ARGS("live", "--port", "70000"), 2, 2, "70000");
	assert_refused(ARGS("live", "--port", "http"), 2, 2, "http");
	assert_refused(ARGS("live", "--port", "90-80"), 2, 2, "90-80");
	assert_refused(ARGS("live", "--proto", "carrier-pigeon"), 2, 2, "carrier-pigeon");
	assert_refused(ARGS("live", "--pid", "-4"), 2, 2, "-4");
	assert_refused(ARGS("live", "--duration", "soon"), 2, 2, "soon");
	assert_refused(ARGS("live", "--ring-size", "5000"), 2, 2, "5000");
	assert_refused(ARGS("live", "--port"), 2, 2, "--port");
	assert_refused(ARGS("live", "--netns", "nowhere"), 2, 1, "nowhere");
	assert_refused(ARGS("live", "--netns", "/proc/self/exe"), 2, 1, "/proc/self/exe");
	assert_refused(ARGS("live", "--ports", "/nowhere/ports.tsv"), 2, 1, "/nowhere/ports.tsv");
}

static void help(void **state)
{
	struct run *run;

	(void)state;
	assert_int_equal(run_to_end(ARGS("--help"), &run), 0);
	assert_non_null(strstr(run->partial, "live"));
	run_free(&run);
	assert_int_equal(run_to_end(ARGS("live", "--help"), &run), 0);
	assert_non_null(strstr(run->partial, "--netns"));
	run_free(&run);
}

/* Opened first: nobody may not be allowed to walk to it. */
static void become_nobody(void *arg)
{
	char words[3][16] = { "portwake", "live", "--json" };
	char *const argv[] = { words[0], words[1], words[2], NULL };
	int fd = open(run_program(), O_RDONLY | O_CLOEXEC);

	(void)arg;
	if (fd < 0 || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		_exit(WORK_BROKEN);
	fexecve(fd, argv, (char *const[]){ NULL });
	_exit(WORK_BROKEN);
}

static void not_root(void **state)
{
	struct run *run = run_start(&(struct run_options){ .text = true, .before_exec = become_nobody });
	int status = run_wait(run, WITHIN);

	(void)state;
	if (status != 3)
		fail_msg("exit status %d, not 3; stderr: %s", status, run->talk);
	if (lines_of(run->talk) != 1 || !strstr(run->talk, "root"))
		fail_msg("not one line that says what is needed: %s", run->talk);
	assert_int_equal(run->partial_len, 0);
}

static void full_disk(void **state)
{
	struct run_options options = { .args = ARGS("live", "--json", "--duration", "5"), .text = true };
	struct run *run;
	int status;

	(void)state;
	options.stdout_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (options.stdout_fd < 0)
		skip_because("no /dev/full");
	run = run_start(&options);
	close(options.stdout_fd);
	status = run_wait(run, WITHIN);
	if (status != 1)
		fail_msg("exit status %d, not 1; stderr: %s", status, run->talk);
	if (!strstr(run->talk, strerror(ENOSPC)))
		fail_msg("nothing about '%s': %s", strerror(ENOSPC), run->talk);
}

static void reader_gone(void **state)
{
	struct run_options options = { .args = ARGS("live", "--json", "--duration", "5"), .text = true };
	struct run *run;
	int status, p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	options.stdout_fd = p[1];
	run = run_start(&options);
	close(p[1]);
	status = run_wait(run, WITHIN);
	if (status != 0 && status != 1)
		fail_msg("exit status %d; stderr: %s", status, run->talk);
	if (status == 1 && !strstr(run->talk, strerror(EPIPE)))
		fail_msg("nothing about '%s': %s", strerror(EPIPE), run->talk);
}

static void duration(void **state)
{
	struct run *run = run_live(ARGS("--duration", "1"), NULL);
	int64_t ready = now_ns(), took;

	(void)state;
	assert_non_null(run);
	assert_ends_well(run, 0);
	took = now_ns() - ready;
	if (took < 900 * MS || took > 4 * SECOND * slow())
		fail_msg("it took %.3f s", (double)took / 1e9);
	assert_true(run->talk_len > 0);
}

static void signals_end_it(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(signals); i++) {
		struct run *run = run_live(NULL, NULL);
		int64_t asked = now_ns();

		assert_non_null(run);
		assert_ends_well(run, signals[i]);
		assert_true(now_ns() - asked < 3 * SECOND * slow());
		assert_non_null(strstr(run->talk, "lost"));
		run_free(&run);
	}
}

static void tcp_and_udp(struct work *w)
{
	struct wsock tcp, udp;

	work_step(w);
	tcp = ws_open_as(w, FAM_V4, IPPROTO_TCP);
	udp = ws_open_as(w, FAM_V4, IPPROTO_UDP);
	ws_bind(&tcp, 7601);
	ws_bind(&udp, 7602);
	ws_listen(&tcp);
	ws_close(&tcp);
	ws_close(&udp);
	usleep(50000);
}

/* Runs the workload under the filter, stops, and leaves the run. */
static struct run *filtered(struct stage *stage, void (*fn)(struct work *w), const char *const *args)
{
	struct run *run;

	stage_start(stage, fn);
	stage_await_step(stage);
	run = live_on(stage, args);
	stage_go(stage);
	stage_join(stage);
	assert_ends_well(run, SIGINT);
	return run;
}

static size_t events_of(const struct run *run, uint16_t port)
{
	size_t n = 0;

	for (size_t i = 0; i < run->count; i++)
		n += run->seen[i].port == port;
	return n;
}

static size_t life_events(const struct run *run)
{
	size_t n = 0;

	for (size_t i = 0; i < run->count; i++)
		n += run->seen[i].kind >= KIND_PRESENT && run->seen[i].kind <= KIND_RELEASE;
	return n;
}

static void expect_ports(const char *const *args, size_t tcp, size_t udp)
{
	struct stage *stage = stage_new("a filter");
	struct run *run = filtered(stage, tcp_and_udp, args);

	for (uint32_t i = 0; i < stage->work.truth->lives; i++)
		stage->work.truth->life[i].unseen_ok = true;
	if (events_of(run, 7601) != tcp || events_of(run, 7602) != udp || life_events(run) != tcp + udp) {
		for (size_t i = 0; i < run->count; i++)
			fprintf(stderr, "    %s\n", run->seen[i].line);
		fail_msg("%s %s: %zu and %zu events, not %zu and %zu", args[0], args[1] ? args[1] : "",
			 events_of(run, 7601), events_of(run, 7602), tcp, udp);
	}
	assert_int_equal(truth_differs(stage->work.truth, run, true, false), 0);
	run_free(&run);
}

static void filter_proto(void **state)
{
	(void)state;
	expect_ports(ARGS("--proto", "tcp"), 4, 0);
	expect_ports(ARGS("--proto", "udp"), 0, 3);
	expect_ports(ARGS("--proto", "udp,tcp"), 4, 3);
}

static void filter_port(void **state)
{
	(void)state;
	expect_ports(ARGS("--port", "7601"), 4, 0);
	expect_ports(ARGS("--port", "7602-7700"), 0, 3);
	expect_ports(ARGS("--port", "80,7600-7601,7602"), 4, 3);
}

static void filter_comm(void **state)
{
	(void)state;
	expect_ports(ARGS("--comm", "e2e-work"), 4, 3);
	expect_ports(ARGS("--comm", "somebody-else"), 0, 0);
}

/* The client gets the one port there is; its owner is the same as without the filter. */
static void client_on_one_port(struct work *w)
{
	struct wsock server, s;

	work_sysctl(w, "net/ipv4/ip_local_port_range", "46300 46300");
	work_step(w);
	server = ws_listener_on(w, 7603);
	w->truth->life[server.life].unseen_ok = true;
	s = ws_open(w);
	ws_finish(&s, ws_join(&s, &server));
	ws_close(&server);
	usleep(50000);
}

static void filter_port_of_client(void **state)
{
	struct stage *stage = stage_new("--port of a client");
	struct run *run = filtered(stage, client_on_one_port, ARGS("--port", "46300"));

	(void)state;
	assert_int_equal(truth_differs(stage->work.truth, run, true, false), 0);
	assert_int_equal(events_of(run, 46300), 3);
	assert_int_equal(life_events(run), 3);
}

static void other_process(struct work *w, void *arg)
{
	struct wsock s = ws_open(w);

	(void)arg;
	ws_bind(&s, 7604);
	w->truth->life[s.life].unseen_ok = true;
	ws_close(&s);
}

static void heir(struct work *w, void *arg)
{
	struct wsock *s = arg;

	(void)w;
	usleep(20000);
	ws_close(s);
}

/* What the process took is followed to its end, even when another lets it go. */
static void two_processes(struct work *w)
{
	struct wsock s;
	pid_t pid;

	work_step(w);
	work_reap(w, work_spawn(w, other_process, NULL));
	s = ws_open(w);
	ws_bind(&s, 7605);
	pid = work_spawn(w, heir, &s);
	ws_drop(&s);
	work_reap(w, pid);
	usleep(50000);
}

static void filter_pid(void **state)
{
	struct stage *stage = stage_new("--pid");
	struct run *run;
	char pid[16];

	(void)state;
	stage_start(stage, two_processes);
	stage_await_step(stage);
	snprintf(pid, sizeof(pid), "%d", (int)stage->pid);
	run = live_on(stage, ARGS("--pid", pid));
	stage_go(stage);
	stage_join(stage);
	assert_ends_well(run, SIGINT);
	assert_int_equal(truth_differs(stage->work.truth, run, true, false), 0);
	assert_int_equal(events_of(run, 7605), 3);
	assert_int_equal(life_events(run), 3);
}

static void listener_and_client(struct work *w)
{
	struct wsock server, s;
	int accepted;

	work_step(w);
	server = ws_listener_on(w, 7606);
	s = ws_open(w);
	accepted = ws_join(&s, &server);
	w->truth->life[s.life].unseen_ok = true;
	ws_finish(&s, accepted);
	ws_close(&server);
	usleep(50000);
}

static void filter_listeners(void **state)
{
	struct stage *stage = stage_new("--listeners");
	struct run *run;

	(void)state;
	stage_start(stage, listener_and_client);
	stage_await_step(stage);
	run = live_on(stage, ARGS("--listeners"));
	stage_go(stage);
	stage_join(stage);
	assert_int_equal(run_stop(run, SIGINT), 0);
	assert_int_equal(run->bad, 0);
	assert_true(events_of(run, 7606) >= 2);
	assert_int_equal(life_events(run), events_of(run, 7606));
}

static void filter_netns_by_path(void **state)
{
	struct stage *stage = stage_new("--netns PATH"), *other = stage_new("another namespace");
	struct run *run;
	char path[64];

	(void)state;
	stage_start(stage, tcp_and_udp);
	stage_await_step(stage);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)stage->pid);
	run = run_live(ARGS("--netns", path), NULL);
	assert_non_null(run);
	stage_start(other, tcp_and_udp);
	stage_await_step(other);
	stage_go(other);
	stage_join(other);
	stage_go(stage);
	stage_join(stage);
	assert_ends_well(run, SIGINT);
	assert_int_equal(truth_differs(stage->work.truth, run, true, false), 0);
	assert_int_equal(life_events(run), 7);
}

/* A name as `ip netns add` would have made it, in a mount namespace that only the tracer sees. */
static void name_namespace(void *arg)
{
	const struct stage *stage = arg;
	char from[64];
	int fd;

	snprintf(from, sizeof(from), "/proc/self/fd/%d", stage->ns.fd);
	mkdir("/run", 0755);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("e2e", "/run", "tmpfs", 0, NULL) || mkdir("/run/netns", 0755))
		_exit(WORK_SKIPPED);
	fd = open("/run/netns/e2e-name", O_CREAT | O_RDONLY, 0644);
	if (fd < 0 || mount(from, "/run/netns/e2e-name", NULL, MS_BIND, NULL))
		_exit(WORK_SKIPPED);
	close(fd);
}

static void filter_netns_by_name(void **state)
{
	struct stage *stage = stage_new("--netns NAME");
	struct run_options options = { .before_exec = name_namespace, .arg = stage };
	struct run *run;

	(void)state;
	stage_start(stage, tcp_and_udp);
	stage_await_step(stage);
	run = run_live(ARGS("--netns", "e2e-name"), &options);
	assert_non_null(run);
	stage_go(stage);
	stage_join(stage);
	assert_ends_well(run, SIGINT);
	assert_int_equal(truth_differs(stage->work.truth, run, true, false), 0);
	assert_int_equal(life_events(run), 7);
}

static void evil_name(struct work *w)
{
	struct wsock s;

	work_name(EVIL);
	work_step(w);
	s = ws_open(w);
	ws_bind(&s, 7607);
	ws_listen(&s);
	ws_close(&s);
	usleep(50000);
}

static void evil_name_json(void **state)
{
	struct stage *stage = stage_new("a comm with escapes");
	struct run *run = filtered(stage, evil_name, NULL);

	(void)state;
	assert_int_equal(truth_differs(stage->work.truth, run, true, false), 0);
	for (size_t i = 0; i < run->count; i++) {
		if (run->seen[i].kind == KIND_ALLOCATE)
			assert_string_equal(run->seen[i].comm, EVIL);
	}
}

static bool text_has_port(void *arg)
{
	const struct run *run = arg;

	return strstr(run->partial, "7607") != NULL;
}

static bool text_has_head(void *arg)
{
	const struct run *run = arg;

	return run->partial_len > 0 || run->talk_len > 0;
}

/* The text form says no word when it is ready, so the workload is repeated until its port is seen. */
static struct run *text_of(struct stage *stage, void (*fn)(struct work *w))
{
	struct run *run = run_start(&(struct run_options){ .args = ARGS("live", "--netns", stage->inode), .text = true });

	run_until(text_has_head, run, 2 * SECOND);
	for (int i = 0; i < 40 && !text_has_port(run); i++) {
		stage_start(stage, fn);
		stage_await_step(stage);
		stage_go(stage);
		stage_join(stage);
		run_sleep(200 * (int)slow());
	}
	assert_int_equal(run_stop(run, SIGINT), 0);
	return run;
}

static void evil_name_text(void **state)
{
	struct stage *stage = stage_new("a comm with escapes, as text");
	struct run *run = text_of(stage, evil_name);

	(void)state;
	assert_true(text_has_port(run));
	assert_non_null(strstr(run->partial, "[31m"));
	for (size_t i = 0; i < run->partial_len; i++) {
		unsigned char c = (unsigned char)run->partial[i];

		if ((c < ' ' && c != '\n') || c == 0x7f)
			fail_msg("control byte 0x%02x in: %s", c, run->partial);
	}
}

static const struct plain list[] = {
	{ "cli/bad_usage", bad_usage },
	{ "cli/help", help },
	{ "cli/not_root", not_root },
	{ "cli/full_disk", full_disk },
	{ "cli/reader_gone", reader_gone },
	{ "cli/duration", duration },
	{ "cli/signals_end_it", signals_end_it },
	{ "cli/filter_proto", filter_proto },
	{ "cli/filter_port", filter_port },
	{ "cli/filter_port_of_client", filter_port_of_client },
	{ "cli/filter_comm", filter_comm },
	{ "cli/filter_pid", filter_pid },
	{ "cli/filter_listeners", filter_listeners },
	{ "cli/filter_netns_by_path", filter_netns_by_path },
	{ "cli/filter_netns_by_name", filter_netns_by_name },
	{ "cli/evil_name_json", evil_name_json },
	{ "cli/evil_name_text", evil_name_text },
};

const struct plain_list cli_tests = { list, COUNT_OF(list) };
