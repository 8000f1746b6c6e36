/* SPDX-License-Identifier: GPL-2.0 */
/* Ports that are known for something: Xsan's, and what the user's own files add and silence. */
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

static const uint16_t xsan[] = { 60420, 60202, 60312, 60096, 60587 };

static const char *annotation_of(const struct run *run, uint16_t port)
{
	const char *found = NULL;

	for (size_t i = 0; i < run->count; i++) {
		const struct seen *s = &run->seen[i];

		if (s->port != port)
			continue;
		if (found && strcmp(found, s->annotation) != 0)
			fail_msg("port %u is '%s', then '%s'", port, found, s->annotation);
		found = s->annotation;
	}
	if (!found)
		fail_msg("no event of port %u", port);
	return found;
}

static void listen_on(struct work *w, uint16_t port, int proto)
{
	struct wsock s = ws_open_as(w, FAM_V4, proto);

	ws_bind(&s, port);
	if (is_tcp(proto))
		ws_listen(&s);
	ws_close(&s);
}

static void known_ports(struct work *w)
{
	for (size_t i = 0; i < COUNT_OF(xsan); i++)
		listen_on(w, xsan[i], IPPROTO_TCP);
	listen_on(w, 60421, IPPROTO_TCP);
	listen_on(w, 60422, IPPROTO_UDP);
	listen_on(w, 7701, IPPROTO_TCP);
	listen_on(w, 7702, IPPROTO_UDP);
}

static struct run *annotated(const char *const *args, const struct run_options *options)
{
	struct stage *stage = stage_new("known ports");
	const char *all[8] = { "--netns", stage->inode };
	struct run *run;

	for (size_t i = 0; args && args[i]; i++)
		all[i + 2] = args[i];
	run = run_live(all, options);
	assert_non_null(run);
	stage_run(stage, known_ports);
	assert_truth(stage, run);
	assert_ends_well(run, SIGINT);
	return run;
}

static void xsan_is_flagged(void **state)
{
	struct run *run = annotated(NULL, NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(xsan); i++)
		assert_non_null(strstr(annotation_of(run, xsan[i]), "Xsan"));
	assert_string_equal(annotation_of(run, 60421), "");
	assert_string_equal(annotation_of(run, 60422), "");
	assert_string_equal(annotation_of(run, 7701), "");
	for (size_t i = 0; i < run->count; i++) {
		if (run->seen[i].port == 60420)
			assert_string_equal(run->seen[i].confidence, "reported");
	}
}

/* An outgoing connection that happens to take the port is named as well. */
static void passer_by(struct work *w)
{
	struct wsock server = ws_listener_on(w, 7703), s = ws_open(w);

	work_sysctl(w, "net/ipv4/ip_local_port_range", "60420 60420");
	ws_finish(&s, ws_join(&s, &server));
	ws_close(&server);
}

static void passer_by_is_named(void **state)
{
	struct stage *stage = stage_new("a client on 60420");
	struct run *run = live_on(stage, NULL);

	(void)state;
	stage_run(stage, passer_by);
	assert_ends_well(run, SIGINT);
	assert_non_null(strstr(annotation_of(run, 60420), "Xsan"));
}

static const char users_rows[] =
	"# first\tlast\tproto\tname\tconfidence\tsource\n"
	"60420\t60420\ttcp\tnot here\tnone\tthis house\n"
	"7701\t7701\ttcp\tour own service\tdocumented\tthis house\n"
	"60312\t60312\ttcp\tour render farm\tdocumented\tthis house\n";

static void write_rows(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, users_rows, strlen(users_rows)) != (ssize_t)strlen(users_rows))
		_exit(WORK_SKIPPED);
	close(fd);
}

static void assert_users_rows_win(const struct run *run)
{
	assert_string_equal(annotation_of(run, 60420), "");
	assert_string_equal(annotation_of(run, 60421), "");
	assert_string_equal(annotation_of(run, 7701), "our own service");
	assert_string_equal(annotation_of(run, 7702), "");
	assert_string_equal(annotation_of(run, 60312), "our render farm");
	assert_non_null(strstr(annotation_of(run, 60202), "Xsan"));
}

static void users_file(void **state)
{
	char path[] = "/tmp/portwake-e2e-XXXXXX";
	int fd = mkstemp(path);
	struct run *run;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	write_rows(path);
	run = annotated(ARGS("--ports", path), NULL);
	unlink(path);
	assert_users_rows_win(run);
}

/* The same rows where an administrator would put them, in an /etc that only the tracer sees. */
static void furnish_etc(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("e2e", "/etc", "tmpfs", 0, NULL) || mkdir("/etc/portwake", 0755) ||
	    mkdir("/etc/portwake/ports.d", 0755))
		_exit(WORK_SKIPPED);
	write_rows("/etc/portwake/ports.d/house.tsv");
}

static void system_files(void **state)
{
	struct run_options options = { .before_exec = furnish_etc };

	(void)state;
	assert_users_rows_win(annotated(NULL, &options));
}

static void bad_file(void **state)
{
	char path[] = "/tmp/portwake-e2e-XXXXXX";
	int fd = mkstemp(path);
	struct run *run;
	int status;

	(void)state;
	assert_true(fd >= 0);
	assert_true(write(fd, "60420\tlots\ttcp\n", 15) == 15);
	close(fd);
	run = run_start(&(struct run_options){ .args = ARGS("live", "--duration", "1", "--ports", path), .text = true });
	status = run_wait(run, 15 * SECOND);
	unlink(path);
	if (status != 1 && status != 2)
		fail_msg("exit status %d; stderr: %s", status, run->talk);
	assert_non_null(strstr(run->talk, path));
	assert_non_null(strstr(run->talk, ":1"));
}

static const struct plain list[] = {
	{ "annotate/xsan_is_flagged", xsan_is_flagged },
	{ "annotate/passer_by_is_named", passer_by_is_named },
	{ "annotate/users_file", users_file },
	{ "annotate/system_files", system_files },
	{ "annotate/bad_file", bad_file },
};

const struct plain_list annotate_tests = { list, COUNT_OF(list) };
