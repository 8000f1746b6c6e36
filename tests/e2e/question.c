/* SPDX-License-Identifier: GPL-2.0 */
/* portwake who: what it says of the number itself, and how it can be asked. */
#define _GNU_SOURCE
#include "tests/e2e/ask.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PORT 7801

static void bound_only(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_bind(&s, PORT);
	work_step(w);
	ws_close(&s);
}

/* A TCP socket bound to PORT, and no more. */
static struct stage *bound_stage(void)
{
	struct stage *stage = stage_new("who");

	stage_start(stage, bound_only);
	stage_await_step(stage);
	return stage;
}

/* ---- the number itself ---- */

static void two_ranges(struct work *w)
{
	work_step(w);
	work_sysctl(w, "net/ipv4/ip_local_port_range", "32768 60999");
	work_sysctl(w, "net/ipv4/ip_local_reserved_ports", "60420");
	work_step(w);
}

static void free_annotated_port(void **state)
{
	struct stage *stage = stage_new("who");
	json_t *rows;
	const json_t *port, *first;
	const char *text;

	(void)state;
	stage_start(stage, two_ranges);
	stage_await_step(stage);
	rows = ask_json(stage, "60420");
	/* TCP and UDP, and nobody. */
	assert_int_equal(json_array_size(rows), 2);
	port = json_array_get(rows, 0);
	assert_string_equal(str(port, "event"), "port");
	assert_string_equal(str(port, "proto"), "tcp");
	assert_string_equal(str(port, "range"), "dynamic");
	assert_int_equal(num(port, "port"), 60420);
	assert_int_equal(num(port, "holders"), 0);
	assert_null_field(port, "registered");
	assert_true(json_is_true(json_object_get(port, "ephemeral_range")));
	assert_true(json_is_false(json_object_get(port, "reserved")));
	first = json_array_get(json_object_get(port, "annotations"), 0);
	assert_non_null(strstr(str(first, "name"), "Xsan"));
	assert_string_equal(str(first, "confidence"), "reported");
	text = ask_text(stage, "60420/tcp");
	assert_says(text, "60420/tcp: dynamic port (49152-65535)");
	assert_says(text, "listed for Apple Xsan Filesystem Access");
	assert_says(text, "in the ephemeral range ");
	assert_says(text, "any outgoing connection may take it");
	assert_says(text, "held by    nobody in view");
	stage_go(stage);
	stage_await_step(stage);
	port = first_row(ask_json(stage, "60420/tcp"), "port");
	assert_int_equal(num(port, "ephemeral_low"), 32768);
	assert_true(json_is_true(json_object_get(port, "reserved")));
	assert_says(ask_text(stage, "60420/tcp"), "in the ephemeral range 32768-60999, reserved");
	stage_go(stage);
	stage_join(stage);
}

static void tiers_and_registrations(void **state)
{
	const json_t *port;

	(void)state;
	port = first_row(rows_of(ask(ARGS("--json", "22/tcp"))), "port");
	assert_string_equal(str(port, "range"), "system");
	assert_null_field(port, "registered");
	port = first_row(rows_of(ask(ARGS("--json", "33060/tcp"))), "port");
	assert_string_equal(str(port, "range"), "user");
	assert_non_null(strstr(str(port, "registered"), "mysqlx"));
	assert_says(ask(ARGS("33060/tcp"))->partial, "registered for MySQL Database Extended Interface (mysqlx)");
	assert_says(ask(ARGS("22/tcp"))->partial, "22/tcp: system port (0-1023)");
}

/* Of a range what is held is told, and how much of it is. */
static void range_of_ports(void **state)
{
	struct stage *stage = bound_stage();
	json_t *rows = rows_of(ask(ARGS("--json", "--netns", stage->inode, "1-65535/tcp", "7801/udp")));
	const json_t *range = first_row(rows, "range");

	(void)state;
	assert_int_equal(num(range, "first"), 1);
	assert_int_equal(num(range, "last"), 65535);
	assert_int_equal(num(range, "held"), 1);
	assert_int_equal(num(only_holder(rows), "port"), PORT);
	assert_int_equal(json_array_size(rows), 4);
	assert_says(ask_text(stage, "7800-7809/tcp"), "7800-7809/tcp: 1 of 10 ports held\n");
	stage_go(stage);
	stage_join(stage);
}

/* ---- lines of stdin ---- */

static void from_file(void *fd)
{
	if (dup2(*(int *)fd, STDIN_FILENO) < 0)
		_exit(98);
}

static struct run *ask_lines(const char *const *args, const char *lines)
{
	int fd = memfd_create("lines", MFD_CLOEXEC);
	struct run *run;

	assert_true(fd >= 0 && write(fd, lines, strlen(lines)) == (ssize_t)strlen(lines) && !lseek(fd, 0, SEEK_SET));
	run = start_who(args, from_file, &fd);
	close(fd);
	return run;
}

static void lines_are_answered(void **state)
{
	struct stage *stage = bound_stage();
	struct run *run = ask_lines(ARGS("--json", "--netns", stage->inode, "--db", "no/such/history.db", "-"),
				    "7801/tcp\n7801/tcp 2024-11-20T12:00:00Z\n70000\n\n7804/udp\nx\n7801/tcp noon");
	json_t *rows;

	(void)state;
	assert_int_equal(run_wait(run, WITHIN), 1);
	rows = rows_of(run);
	/* A port with its holder, and one that is free; of what is past nothing, and surely not that nobody had it. */
	assert_int_equal(json_array_size(rows), 3);
	assert_int_equal(num(only_holder(rows), "pid"), stage->pid);
	assert_says(run->talk, "no/such/history.db");
	assert_says(run->talk, "stdin:3: '70000'");
	assert_says(run->talk, "stdin:4: the line is empty");
	assert_says(run->talk, "stdin:6: 'x'");
	assert_says(run->talk, "stdin:7: 'noon' is not a time");
	run = ask_lines(ARGS("--db", "no/such/history.db", "-"), "7801/tcp 2024-11-20T12:00:00Z\n");
	assert_int_equal(run_wait(run, WITHIN), 1);
	assert_string_equal(run->partial, "");
	stage_go(stage);
	stage_join(stage);
}

/* What is longer than any question is none, whatever it begins with. */
static void long_line_is_refused(void **state)
{
	struct stage *stage = bound_stage();
	char lines[600];
	struct run *run;

	(void)state;
	snprintf(lines, sizeof(lines), "7801/tcp%300sx\n7801/tcp  \n", "");
	run = ask_lines(ARGS("--json", "--netns", stage->inode, "-"), lines);
	assert_int_equal(run_wait(run, WITHIN), 1);
	assert_says(run->talk, "stdin:1: the line is longer than 255 bytes");
	assert_int_equal(json_array_size(rows_of(run)), 2);
	assert_int_equal(num(only_holder(rows_of(run)), "pid"), stage->pid);
	stage_go(stage);
	stage_join(stage);
}

static bool has_answer(void *arg)
{
	const struct run *run = arg;

	return run->partial && strstr(run->partial, "\"holders\":1");
}

/* A line is answered though half of the next one waits for its rest. */
static void half_a_line_holds_up_nobody(void **state)
{
	struct stage *stage = bound_stage();
	static const char begun[] = "7801/tcp\n78";
	struct run *run;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], begun, strlen(begun)), strlen(begun));
	run = start_who(ARGS("--json", "--netns", stage->inode, "-"), from_file, &ends[0]);
	assert_true(run_until(has_answer, run, WITHIN));
	assert_int_equal(write(ends[1], "04/tcp", 6), 6);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(run_wait(run, WITHIN), 0);
	assert_int_equal(json_array_size(rows_of(run)), 3);
	stage_go(stage);
	stage_join(stage);
}

/* Not "nobody": there is no such place to look at. */
static void namespace_out_of_view(void **state)
{
	struct run *run = start_who(ARGS("--netns", "7", "7801"), NULL, NULL);

	(void)state;
	assert_int_equal(run_wait(run, WITHIN), 2);
	assert_says(run->talk, "not in view");
	assert_string_equal(run->partial, "");
	/* Nor of a part: the answer would be one about the rest. */
	run = start_who(ARGS("--netns", "/proc/self/ns/net", "--netns", "7", "7801"), NULL, NULL);
	assert_int_equal(run_wait(run, WITHIN), 2);
	assert_says(run->talk, "not in view");
	assert_string_equal(run->partial, "");
}

static void to_nobody(void *arg)
{
	(void)arg;
	if (setgid(65534) < 0 || setuid(65534) < 0)
		_exit(98);
}

static void without_privilege(void **state)
{
	struct run *run = start_who(ARGS("7801"), to_nobody, NULL);

	(void)state;
	assert_int_equal(run_wait(run, WITHIN), 3);
	assert_says(run->talk, "run it as root");
	assert_ptr_equal(strchr(run->talk, '\n'), run->talk + run->talk_len - 1);
	assert_string_equal(run->partial, "");
}

static const struct plain list[] = {
	{ "who/free_annotated", free_annotated_port },
	{ "who/tiers", tiers_and_registrations },
	{ "who/range", range_of_ports },
	{ "who/lines", lines_are_answered },
	{ "who/long_line", long_line_is_refused },
	{ "who/half_a_line", half_a_line_holds_up_nobody },
	{ "who/namespace_out_of_view", namespace_out_of_view },
	{ "who/without_privilege", without_privilege },
};

const struct plain_list question_tests = { list, COUNT_OF(list) };
