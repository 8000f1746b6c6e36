/* SPDX-License-Identifier: GPL-2.0 */
/* What the program says of itself and of wrong usage: nothing of this needs root. */
#include "tests/golden/golden.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS 8

/* Arguments, up to NULL. */
typedef const char *args_t[ARGS];

static void read_file(int fd, struct buf *out)
{
	char part[4096];
	off_t at = 0;
	ssize_t got;

	while ((got = pread(fd, part, sizeof(part), at)) > 0) {
		buf_add(out, part, (size_t)got);
		at += got;
	}
}

static void run_program(const args_t args, int out, int err)
{
	const char *program = getenv("PORTWAKE");
	char *argv[ARGS + 1] = { strdup("portwake") };

	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = strdup(args[i]);
	if (program && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
		execv(program, argv);
	_exit(127);
}

/* Runs the program; its exit status. */
static int run(const args_t args, struct buf *out, struct buf *err)
{
	_cleanup_close_ int out_fd = memfd_create("out", MFD_CLOEXEC);
	_cleanup_close_ int err_fd = memfd_create("err", MFD_CLOEXEC);
	int status = 0;
	pid_t child;

	if (!getenv("PORTWAKE"))
		fail_msg("PORTWAKE must name the program");
	fflush(stdout);
	child = fork();
	if (!child)
		run_program(args, out_fd, err_fd);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	read_file(out_fd, out);
	read_file(err_fd, err);
	return WEXITSTATUS(status);
}

/* To stdout, and nothing to stderr. */
static void check_said(const char *name, const args_t args)
{
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX), err = BUF_INIT(GOLDEN_MAX);

	assert_int_equal(run(args, &out, &err), 0);
	assert_string_equal(buf_text(&err), "");
	golden_check(name, &out);
}

void help(void **state)
{
	_cleanup_buf_ struct buf named = BUF_INIT(GOLDEN_MAX), out = BUF_INIT(GOLDEN_MAX), err = BUF_INIT(GOLDEN_MAX);

	(void)state;
	check_said("help.txt", (args_t){ "--help" });
	/* The default command is the first, and help goes before what else is asked for. */
	assert_int_equal(run((args_t){ "--help" }, &out, &err), 0);
	assert_int_equal(run((args_t){ "live", "--json", "-h", "--duration=1" }, &named, &err), 0);
	assert_string_equal(buf_text(&out), buf_text(&named));
}

void stats_help(void **state)
{
	(void)state;
	check_said("stats-help.txt", (args_t){ "stats", "--help" });
}

void record_help(void **state)
{
	(void)state;
	check_said("record-help.txt", (args_t){ "record", "--help" });
}

void who_help(void **state)
{
	(void)state;
	check_said("who-help.txt", (args_t){ "who", "--help" });
}

void version(void **state)
{
	(void)state;
	check_said("version.txt", (args_t){ "--version" });
}

void help_fits(void **state)
{
	static const args_t asked[] = {
		{ "--help" }, { "stats", "--help" }, { "who", "--help" }, { "pool", "--help" }, { "audit", "--help" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX), err = BUF_INIT(GOLDEN_MAX);

		run(asked[i], &out, &err);
		for (const char *at = buf_text(&out), *end; (end = strchr(at, '\n')); at = end + 1)
			if (golden_columns(at, (size_t)(end - at)) > 100)
				fail_msg("wider than 100 columns: %.*s", (int)(end - at), at);
	}
}

static const args_t wrong[] = {
	{ "frobnicate" },
	{ "" },
	{ "Live" },
	{ "live", "stats" },
	{ "--frobnicate" },
	{ "-x" },
	{ "-jl" },
	{ "-" },
	{ "live", "--version" },
	{ "ls", "-l" },
	{ "--json=1" },
	{ "--duration" },
	{ "--duration", "x" },
	{ "--duration", "0" },
	{ "--duration", "-1" },
	{ "-d5y" },
	{ "--port", "70000" },
	{ "--port", "0" },
	{ "--port", "80-" },
	{ "--port=" },
	{ "-P", "90-80" },
	{ "--proto", "sctp" },
	{ "--pid", "0" },
	{ "--pid", "1,x" },
	{ "--pid", "1,2,3,4,5,6,7,8,9" },
	{ "--comm", "" },
	{ "--comm", "sixteen--letters" },
	{ "--cgroup", "" },
	{ "--netns", "nowhere" },
	{ "--netns", "/etc/passwd" },
	{ "--netns", "" },
	{ "--by", "port" },
	{ "stats", "--by", "pid" },
	{ "stats", "--sort", "size" },
	{ "stats", "--listeners" },
	{ "--ports", "no/such/file.tsv" },
	{ "--ports", "tests/golden/bad-ports.tsv" },
	{ "--" },
	{ "--duration=5", "--" },
	{ "who" },
	{ "who", "--json" },
	{ "who", "70000" },
	{ "who", "80/sctp" },
	{ "who", "443", "http" },
	{ "who", "443", "-" },
	{ "who", "90-80" },
	{ "who", "443", "--listeners" },
	{ "who", "443", "--duration", "5" },
	{ "who", "--", "443" },
	{ "who", "443", "--at", "yesterdayish" },
	{ "who", "443", "--at", "2261-01-01" },
	{ "who", "443", "--at" },
	{ "who", "443", "--at", "-5m", "--since", "1h" },
	{ "who", "443", "--until", "1h" },
	{ "who", "443", "--since", "1h", "--until", "2h" },
	{ "who", "443", "--format", "xml" },
	{ "who", "443", "--at=-5m", "--db=" },
	{ "who", "443", "--at", "-5m", "--db", "no/such/history.db" },
	{ "stats", "--at", "-5m" },
	{ "stats", "--since", "1h", "--duration", "5" },
	{ "stats", "--since", "1h", "--", "ls" },
	{ "stats", "--db", "history.db" },
	{ "live", "--since", "1h" },
	{ "pool", "--watch", "0" },
	{ "pool", "--watch=soon" },
	{ "pool", "--port", "80" },
	{ "pool", "--", "ls" },
	{ "audit", "--duration", "1" },
	{ "audit", "60420" },
	{ "audit", "--ports", "no/such/file.tsv" },
	{ "--comm", "\033[31m\n" "sixteen-letters" },
};

/* The command as one would type it, then each line of stderr, then the status. */
static void add_wrong(const args_t args, struct buf *all)
{
	_cleanup_buf_ struct buf out = BUF_INIT(GOLDEN_MAX), err = BUF_INIT(GOLDEN_MAX);
	int status = run(args, &out, &err);

	buf_adds(all, "$ portwake");
	for (size_t i = 0; args[i]; i++) {
		buf_adds(all, *args[i] ? " " : " ''");
		buf_add_escaped(all, args[i], strlen(args[i]));
	}
	buf_printf(all, "\n%s[%d]\n", buf_text(&err), status);
	/* Nothing of it is data, and one line says it all. */
	assert_string_equal(buf_text(&out), "");
	assert_non_null(err.data);
	assert_ptr_equal(strchr(err.data, '\n'), err.data + err.len - 1);
}

void usage_errors(void **state)
{
	_cleanup_buf_ struct buf all = BUF_INIT(GOLDEN_MAX);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		add_wrong(wrong[i], &all);
	golden_check("usage.txt", &all);
}
