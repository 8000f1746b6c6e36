/* SPDX-License-Identifier: GPL-2.0 */
/* portwake who, text and JSON, asked about sockets that a workload in a namespace of its own holds. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PORT 7801
#define SERVER_PORT 7802
#define OTHER_SERVER_PORT 7803
#define GROUP 8
#define WITHIN (20 * SECOND)

/* ---- asking ---- */

static struct run *start_who(const char *const *args, void (*before_exec)(void *arg), void *arg)
{
	const char *all[16] = { "who" };

	for (size_t i = 0; args[i]; i++)
		all[i + 1] = args[i];
	return run_start(&(struct run_options){ .args = all, .text = true, .before_exec = before_exec, .arg = arg });
}

static struct run *ask(const char *const *args)
{
	struct run *run = start_who(args, NULL, NULL);
	int status = run_wait(run, WITHIN);

	if (status)
		fail_msg("exit status %d: %s", status, run->talk);
	return run;
}

static json_t *rows_of(const struct run *run)
{
	json_t *rows = json_array();
	const char *line = run->partial, *stop;

	for (; (stop = strchr(line, '\n')); line = stop + 1) {
		json_t *row = json_loadb(line, (size_t)(stop - line), JSON_REJECT_DUPLICATES, NULL);

		if (!json_is_object(row))
			fail_msg("not a JSON object: %.*s", (int)(stop - line), line);
		json_array_append_new(rows, row);
	}
	assert_string_equal(line, "");
	return rows;
}

/* In the stage's namespace; the answer's lines. */
static json_t *ask_json(const struct stage *stage, const char *question)
{
	return rows_of(ask(ARGS("--json", "--netns", stage->inode, question)));
}

static const char *ask_text(const struct stage *stage, const char *question)
{
	return ask(ARGS("--netns", stage->inode, question))->partial;
}

static void assert_says(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("'%s' is not in: %s", words, text);
}

static const char *str(const json_t *row, const char *name)
{
	const json_t *value = json_object_get(row, name);

	if (!value)
		fail_msg("no %s", name);
	return json_is_string(value) ? json_string_value(value) : "";
}

static int64_t num(const json_t *row, const char *name)
{
	const json_t *value = json_object_get(row, name);

	if (!json_is_integer(value))
		fail_msg("%s is %s", name, value ? "no number" : "missing");
	return json_integer_value(value);
}

static void assert_null_field(const json_t *row, const char *name)
{
	if (!json_is_null(json_object_get(row, name)))
		fail_msg("%s is not null", name);
}

/* The holders among the lines, in their order. */
static json_t *holders_in(const json_t *rows)
{
	json_t *holders = json_array(), *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (!strcmp(str(row, "event"), "holder"))
			json_array_append(holders, row);
	return holders;
}

static const json_t *first_row(const json_t *rows, const char *event)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (!strcmp(str(row, "event"), event))
			return row;
	fail_msg("no line of event %s", event);
	return NULL;
}

static const json_t *only_holder(const json_t *rows)
{
	json_t *holders = holders_in(rows);

	if (json_array_size(holders) != 1)
		fail_msg("%zu holders: %s", json_array_size(holders), json_dumps(rows, 0));
	return json_array_get(holders, 0);
}

static bool has_process(const json_t *holder, pid_t pid)
{
	const json_t *process;
	size_t i;

	json_array_foreach(json_object_get(holder, "processes"), i, process)
		if (num(process, "pid") == pid)
			return true;
	return false;
}

/* ---- variants ---- */

static const struct variant {
	enum fam fam;
	int proto;
	const char *name;
} variants[] = {
	{ FAM_V4, IPPROTO_TCP, "tcp" }, { FAM_V6, IPPROTO_TCP, "tcp" }, { FAM_MAPPED, IPPROTO_TCP, "tcp" },
	{ FAM_V4, IPPROTO_UDP, "udp" }, { FAM_V6, IPPROTO_UDP, "udp" }, { FAM_MAPPED, IPPROTO_UDP, "udp" },
};

struct setting {
	struct stage *stage;
	const struct variant *variant;
	char question[32];
};

static struct setting set_up(const struct variant *variant, void (*work)(struct work *work))
{
	struct setting s = { .stage = stage_new("who"), .variant = variant };

	s.stage->work.fam = variant->fam;
	s.stage->work.proto = variant->proto;
	s.stage->work.before = true;
	snprintf(s.question, sizeof(s.question), "%d/%s", PORT, variant->name);
	stage_start(s.stage, work);
	stage_await_step(s.stage);
	return s;
}

static void tear_down(struct setting *s)
{
	stage_go(s->stage);
	stage_join(s->stage);
	run_kill_strays();
}

/* What holds of every live holder: since when is not known, and each field fits the socket. */
static void assert_socket(const json_t *holder, const struct setting *s, const char *state)
{
	const struct life *life = &s->stage->work.truth->life[0];
	const char *family = s->variant->fam == FAM_V6 ? "ipv6" : "ipv4";
	char cookie[24];

	snprintf(cookie, sizeof(cookie), "%llu", (unsigned long long)life->cookie);
	assert_string_equal(str(holder, "state"), state);
	assert_string_equal(str(holder, "proto"), s->variant->name);
	assert_string_equal(str(holder, "family"), family);
	assert_string_equal(str(holder, "addr"), life->addr[0]);
	assert_string_equal(str(holder, "cookie"), cookie);
	assert_string_equal(str(holder, "source"), "live");
	assert_int_equal(num(holder, "port"), PORT);
	assert_int_equal(num(holder, "netns"), s->stage->ns.inode);
	assert_null_field(holder, "since");
	assert_null_field(holder, "until");
	assert_null_field(holder, "creator");
}

/* ---- one socket ---- */

static void bound_only(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_bind(&s, PORT);
	work_step(w);
	ws_close(&s);
}

static void assert_own_process(const json_t *holder, pid_t pid)
{
	assert_int_equal(num(holder, "pid"), pid);
	assert_string_equal(str(holder, "comm"), "e2e-work");
	assert_string_equal(str(holder, "exe"), self_path());
	assert_int_equal(num(holder, "uid"), 0);
	assert_int_equal(json_array_size(json_object_get(holder, "processes")), 1);
	assert_true(has_process(holder, pid));
	assert_non_null(strstr(str(holder, "cmdline"), "e2e"));
	assert_null_field(holder, "without_process");
}

static void bound_only_is_held(void **state)
{
	char words[32];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(variants); i++) {
		struct setting s = set_up(&variants[i], bound_only);
		json_t *rows = ask_json(s.stage, s.question);
		const json_t *holder = only_holder(rows);
		const char *text = ask_text(s.stage, s.question);

		assert_socket(holder, &s, "bound");
		assert_own_process(holder, s.stage->pid);
		assert_true(json_is_false(json_object_get(holder, "ephemeral")));
		assert_int_equal(num(first_row(rows, "port"), "holders"), 1);
		snprintf(words, sizeof(words), "pid %d e2e-work, uid 0", s.stage->pid);
		assert_says(text, words);
		assert_says(text, "  bound      ");
		assert_says(text, "since unknown");
		tear_down(&s);
	}
}

static void with_options(struct work *w)
{
	struct wsock s = ws_open(w);

	ws_option(&s, SOL_SOCKET, SO_REUSEADDR, 1);
	ws_option(&s, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (setsockopt(s.fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) < 0)
		work_die("SO_BINDTODEVICE");
	ws_bind(&s, PORT);
	work_step(w);
	ws_close(&s);
}

static void options_are_told(void **state)
{
	static const size_t which[] = { 1, 4 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(which); i++) {
		struct setting s = set_up(&variants[which[i]], with_options);
		const json_t *holder = only_holder(ask_json(s.stage, s.question));

		assert_true(json_is_true(json_object_get(holder, "reuseaddr")));
		assert_true(json_is_true(json_object_get(holder, "v6only")));
		assert_true(json_is_false(json_object_get(holder, "reuseport")));
		assert_int_equal(num(holder, "bound_dev"), 1);
		tear_down(&s);
	}
}

/* ---- TIME_WAIT, closed and gone ---- */

static void waits(struct work *w)
{
	struct wsock server = ws_listener_on(w, SERVER_PORT), s;
	int accepted;

	w->truth->lives = 0;
	s = ws_open(w);
	ws_bind(&s, PORT);
	accepted = ws_join(&s, &server);
	ws_close_waits(&s);
	close(accepted);
	work_step(w);
	close(server.fd);
}

static void time_wait_is_held(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct setting s = set_up(&variants[i], waits);
		const json_t *holder = only_holder(ask_json(s.stage, s.question));
		const char *text = ask_text(s.stage, s.question);
		double left = json_real_value(json_object_get(holder, "seconds_left"));

		assert_socket(holder, &s, "time_wait");
		assert_int_equal(num(holder, "remote_port"), SERVER_PORT);
		if (left < 40 || left > 61)
			fail_msg("%.3f seconds left", left);
		assert_null_field(holder, "pid");
		assert_null_field(holder, "uid");
		assert_null_field(holder, "socket_uid");
		assert_int_equal(json_array_size(json_object_get(holder, "processes")), 0);
		assert_string_equal(str(holder, "without_process"), "time_wait");
		assert_says(text, "  time_wait  ");
		assert_says(text, " s left");
		assert_says(text, "its process has closed it, or has gone");
		tear_down(&s);
	}
}

/* Closed while the other end reads nothing: what is unsent keeps the socket. */
static void orphan(struct work *w)
{
	struct wsock server = ws_listener_on(w, SERVER_PORT), s;
	static char block[65536];
	int accepted;

	w->truth->lives = 0;
	s = ws_open(w);
	ws_bind(&s, PORT);
	accepted = ws_join(&s, &server);
	while (send(s.fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	close(s.fd);
	work_step(w);
	close(accepted);
	close(server.fd);
}

static void orphan_is_called_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct setting s = set_up(&variants[i], orphan);
		const json_t *holder = only_holder(ask_json(s.stage, s.question));

		assert_socket(holder, &s, "orphan");
		assert_string_equal(str(holder, "without_process"), "orphan");
		assert_null_field(holder, "pid");
		assert_says(ask_text(s.stage, s.question), "closed by its process");
		tear_down(&s);
	}
}

/* Reset by the other end, it keeps the number that it asked for. */
static void reset(struct work *w)
{
	struct wsock server = ws_listener_on(w, SERVER_PORT), s;
	struct linger hard = { .l_onoff = 1 };
	int accepted;

	w->truth->lives = 0;
	s = ws_open(w);
	ws_bind(&s, PORT);
	accepted = ws_join(&s, &server);
	setsockopt(accepted, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(accepted);
	work_step(w);
	close(s.fd);
	close(server.fd);
}

static void closed_keeps_its_number(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct setting s = set_up(&variants[i], reset);
		const json_t *holder = only_holder(ask_json(s.stage, s.question));

		assert_socket(holder, &s, "closed");
		assert_own_process(holder, s.stage->pid);
		tear_down(&s);
	}
}

/* ---- shared ports ---- */

static void two_destinations(struct work *w)
{
	struct wsock one = ws_listener_on(w, SERVER_PORT), two = ws_listener_on(w, OTHER_SERVER_PORT);
	struct wsock a, b;
	int ends[2];

	work_sysctl(w, "net/ipv4/ip_local_port_range", "7801 7801");
	a = ws_open(w);
	b = ws_open(w);
	ends[0] = ws_join(&a, &one);
	ends[1] = ws_join(&b, &two);
	work_step(w);
	close(ends[0]);
	close(ends[1]);
	close(a.fd);
	close(b.fd);
}

static void both_holders_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct setting s = set_up(&variants[i], two_destinations);
		json_t *holders = holders_in(ask_json(s.stage, s.question));
		const char *text = ask_text(s.stage, s.question);
		int64_t sum = 0;

		assert_int_equal(json_array_size(holders), 2);
		for (size_t j = 0; j < 2; j++) {
			const json_t *holder = json_array_get(holders, j);

			assert_string_equal(str(holder, "state"), "connected");
			assert_true(json_is_true(json_object_get(holder, "ephemeral")));
			assert_own_process(holder, s.stage->pid);
			sum += num(holder, "remote_port");
		}
		assert_int_equal(sum, SERVER_PORT + OTHER_SERVER_PORT);
		assert_says(text, ":7802, ");
		assert_says(text, ":7803, ");
		tear_down(&s);
	}
}

struct group {
	pid_t pids[GROUP];
};

static void member(struct work *w, void *arg)
{
	struct wsock s = ws_open(w);

	ws_option(&s, SOL_SOCKET, SO_REUSEPORT, 1);
	ws_bind(&s, PORT);
	if (is_tcp(w->proto))
		ws_listen(&s);
	if (write(*(int *)arg, "r", 1) != 1)
		work_die("pipe");
	pause();
}

static void reuseport_group(struct work *w)
{
	struct group *group = w->arg;
	int ready[2];
	char c;

	if (pipe(ready) < 0)
		work_die("pipe");
	for (int i = 0; i < GROUP; i++)
		group->pids[i] = work_spawn(w, member, &ready[1]);
	for (int i = 0; i < GROUP; i++)
		if (read(ready[0], &c, 1) != 1)
			work_die("read");
	work_step(w);
}

static struct group *shared_group(void)
{
	struct group *group = mmap(NULL, sizeof(*group), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(group, MAP_FAILED);
	return group;
}

static void judge_group(const struct variant *variant)
{
	struct setting s = { .stage = stage_new("who"), .variant = variant };
	struct group *group = shared_group();
	json_t *holders;

	s.stage->work.fam = variant->fam;
	s.stage->work.proto = variant->proto;
	s.stage->work.arg = group;
	snprintf(s.question, sizeof(s.question), "%d/%s", PORT, variant->name);
	stage_start(s.stage, reuseport_group);
	stage_await_step(s.stage);
	holders = holders_in(ask_json(s.stage, s.question));
	assert_int_equal(json_array_size(holders), GROUP);
	for (size_t i = 0; i < GROUP; i++) {
		size_t found = 0;

		for (size_t j = 0; j < GROUP; j++)
			found += num(json_array_get(holders, j), "pid") == group->pids[i];
		assert_int_equal(found, 1);
		assert_true(json_is_true(json_object_get(json_array_get(holders, i), "reuseport")));
		assert_string_equal(str(json_array_get(holders, i), "state"), is_tcp(variant->proto) ? "listen" : "bound");
	}
	tear_down(&s);
	munmap(group, sizeof(*group));
}

static void group_of_eight(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(variants); i++)
		judge_group(&variants[i]);
}

static void served(struct work *w)
{
	struct wsock server = ws_listener_on(w, PORT), s[3];
	int accepted[2];

	for (size_t i = 0; i < COUNT_OF(s); i++) {
		s[i] = ws_open(w);
		ws_connect_ok(&s[i], PORT);
		if (i < 2)
			accepted[i] = ws_accept(&server);
	}
	work_step(w);
	close(accepted[0]);
	close(accepted[1]);
}

static void accepted_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct setting s = set_up(&variants[i], served);
		json_t *holders = holders_in(ask_json(s.stage, s.question));
		size_t unfetched = 0;

		assert_int_equal(json_array_size(holders), 4);
		assert_string_equal(str(json_array_get(holders, 0), "state"), "listen");
		assert_true(json_is_false(json_object_get(json_array_get(holders, 0), "accepted")));
		for (size_t j = 1; j < 4; j++) {
			assert_true(json_is_true(json_object_get(json_array_get(holders, j), "accepted")));
			unfetched += !strcmp(str(json_array_get(holders, j), "without_process"), "accept_queue");
		}
		assert_int_equal(unfetched, 1);
		assert_says(ask_text(s.stage, s.question), "3 connections that listeners accepted there");
		tear_down(&s);
	}
}

/* ---- who has the descriptor ---- */

static void heir(struct work *w, void *arg)
{
	(void)w;
	work_name("the-heir");
	if (write(*(int *)arg, "r", 1) != 1)
		work_die("pipe");
	pause();
}

static void inherited(struct work *w)
{
	struct group *group = w->arg;
	struct wsock s = ws_open(w);
	int ready[2];
	char c;

	if (pipe(ready) < 0)
		work_die("pipe");
	ws_bind(&s, PORT);
	group->pids[0] = work_spawn(w, heir, &ready[1]);
	if (read(ready[0], &c, 1) != 1)
		work_die("read");
	work_step(w);
}

static void every_holder_of_one_socket(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(variants); i++) {
		struct setting s = { .stage = stage_new("who"), .variant = &variants[i] };
		struct group *group = shared_group();
		const json_t *holder;

		s.stage->work.fam = variants[i].fam;
		s.stage->work.proto = variants[i].proto;
		s.stage->work.arg = group;
		snprintf(s.question, sizeof(s.question), "%d/%s", PORT, variants[i].name);
		stage_start(s.stage, inherited);
		stage_await_step(s.stage);
		holder = only_holder(ask_json(s.stage, s.question));
		assert_int_equal(json_array_size(json_object_get(holder, "processes")), 2);
		assert_true(has_process(holder, s.stage->pid) && has_process(holder, group->pids[0]));
		assert_null_field(holder, "creator");
		assert_says(ask_text(s.stage, s.question), "which of them took the port is unknown");
		tear_down(&s);
		munmap(group, sizeof(*group));
	}
}

static void send_away(int way, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	if (sendmsg(way, &msg, 0) != 1)
		work_die("sendmsg SCM_RIGHTS");
	close(fd);
}

static void in_flight(struct work *w)
{
	struct wsock s = ws_open(w);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		work_die("socketpair");
	ws_bind(&s, PORT);
	send_away(pair[0], s.fd);
	work_step(w);
	close(pair[0]);
	close(pair[1]);
}

static void in_flight_is_called_that(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(variants); i++) {
		struct setting s = set_up(&variants[i], in_flight);
		json_t *holders = holders_in(ask_json(s.stage, s.question));
		const json_t *holder = json_array_get(holders, 0);

		/* Only sock_diag of Linux 6.8 and later lists what is bound and no more, without a process. */
		if (is_tcp(variants[i].proto) && !holder) {
			tear_down(&s);
			skip_because("this kernel does not list bound sockets");
		}
		assert_int_equal(json_array_size(holders), 1);
		assert_socket(holder, &s, "bound");
		assert_null_field(holder, "pid");
		assert_int_equal(json_array_size(json_object_get(holder, "processes")), 0);
		assert_string_equal(str(holder, "without_process"), "in_flight");
		assert_int_equal(num(holder, "socket_uid"), 0);
		assert_says(ask_text(s.stage, s.question), "in flight over a unix socket");
		tear_down(&s);
	}
}

static void with_vxlan(struct work *w)
{
	int r = vxlan_add("e2e-vxlan", PORT);

	if (r == -EOPNOTSUPP || r == -ENOENT)
		work_skip(w, "this kernel has no VXLAN");
	work_step(w);
	link_delete("e2e-vxlan");
}

static void kernels_own_is_called_that(void **state)
{
	struct setting s = set_up(&variants[3], with_vxlan);
	const json_t *holder = json_array_get(holders_in(ask_json(s.stage, s.question)), 0);

	(void)state;
	assert_non_null(holder);
	assert_string_equal(str(holder, "state"), "kernel");
	assert_string_equal(str(holder, "without_process"), "kernel");
	assert_null_field(holder, "pid");
	assert_says(ask_text(s.stage, s.question), "a socket of the kernel's own");
	tear_down(&s);
}

/* ---- namespaces ---- */

static void every_namespace_in_view(void **state)
{
	struct setting s = set_up(&variants[0], bound_only), other = set_up(&variants[0], bound_only);
	json_t *holders = holders_in(rows_of(ask(ARGS("--json", s.question))));
	char words[40];
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < json_array_size(holders); i++) {
		int64_t pid = num(json_array_get(holders, i), "pid");
		uint64_t netns = (uint64_t)num(json_array_get(holders, i), "netns");

		found += (pid == s.stage->pid && netns == s.stage->ns.inode) ||
			 (pid == other.stage->pid && netns == other.stage->ns.inode);
	}
	assert_int_equal(found, 2);
	snprintf(words, sizeof(words), ", netns %s, ", s.stage->inode);
	assert_says(ask(ARGS(s.question))->partial, words);
	assert_int_equal(num(only_holder(ask_json(other.stage, s.question)), "pid"), other.stage->pid);
	tear_down(&s);
	tear_down(&other);
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
	struct setting s = set_up(&variants[0], bound_only);
	json_t *rows = rows_of(ask(ARGS("--json", "--netns", s.stage->inode, "1-65535/tcp", "7801/udp")));
	const json_t *range = first_row(rows, "range");

	(void)state;
	assert_int_equal(num(range, "first"), 1);
	assert_int_equal(num(range, "last"), 65535);
	assert_int_equal(num(range, "held"), 1);
	assert_int_equal(num(only_holder(rows), "port"), PORT);
	assert_int_equal(json_array_size(rows), 4);
	assert_says(ask_text(s.stage, "7800-7809/tcp"), "7800-7809/tcp: 1 of 10 ports held\n");
	tear_down(&s);
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
	struct setting s = set_up(&variants[0], bound_only);
	struct run *run = ask_lines(ARGS("--json", "--netns", s.stage->inode, "-"),
				    "7801/tcp\n7801/tcp 2026-11-20T12:00:00Z\n70000\n\n7804/udp\nx\n7801/tcp noon");
	const json_t *blind;
	json_t *rows;

	(void)state;
	assert_int_equal(run_wait(run, WITHIN), 1);
	rows = rows_of(run);
	/* A port with its holder, one with what is not known, one that is free. */
	assert_int_equal(json_array_size(rows), 5);
	assert_int_equal(num(only_holder(rows), "pid"), s.stage->pid);
	blind = json_array_get(rows, 3);
	assert_string_equal(str(blind, "event"), "blind");
	assert_string_equal(str(blind, "since"), "2026-11-20T12:00:00.000000000Z");
	assert_true(*str(blind, "reason"));
	assert_null_field(json_array_get(rows, 2), "holders");
	assert_says(run->talk, "stdin:3: '70000'");
	assert_says(run->talk, "stdin:4: the line is empty");
	assert_says(run->talk, "stdin:6: 'x'");
	assert_says(run->talk, "stdin:7: 'noon' is not a time");
	run = ask_lines(ARGS("-"), "7801/tcp 2026-11-20T12:00:00Z\n");
	assert_int_equal(run_wait(run, WITHIN), 0);
	assert_says(run->partial, "not known at 2026-11-20T12:00:00.000000000Z: there is no history to ask");
	assert_null(strstr(run->partial, "nobody"));
	tear_down(&s);
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
	{ "who/bound_only", bound_only_is_held },
	{ "who/options", options_are_told },
	{ "who/time_wait", time_wait_is_held },
	{ "who/orphan", orphan_is_called_one },
	{ "who/closed", closed_keeps_its_number },
	{ "who/two_destinations", both_holders_are_named },
	{ "who/reuseport_group", group_of_eight },
	{ "who/accepted", accepted_are_told_apart },
	{ "who/inherited", every_holder_of_one_socket },
	{ "who/in_flight", in_flight_is_called_that },
	{ "who/kernel", kernels_own_is_called_that },
	{ "who/every_namespace", every_namespace_in_view },
	{ "who/free_annotated", free_annotated_port },
	{ "who/tiers", tiers_and_registrations },
	{ "who/range", range_of_ports },
	{ "who/lines", lines_are_answered },
	{ "who/without_privilege", without_privilege },
};

const struct plain_list who_tests = { list, COUNT_OF(list) };
