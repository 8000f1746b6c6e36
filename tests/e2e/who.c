/* SPDX-License-Identifier: GPL-2.0 */
/* portwake who, text and JSON, asked about sockets that a workload in a namespace of its own holds. */
#define _GNU_SOURCE
#include "tests/e2e/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PORT 7801
#define SERVER_PORT 7802
#define OTHER_SERVER_PORT 7803
#define GROUP 8

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
	assert_null_field(holder, "generation");
	assert_null_field(holder, "how");
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

static void mptcp(struct work *w)
{
	struct wsock server = ws_listener_on(w, SERVER_PORT), s = ws_open(w);

	ws_bind(&s, PORT);
	work_step(w);
	close(ws_join(&s, &server));
	work_step(w);
}

/* What has the port is the first subflow, what the process has is the socket around it. */
static void subflow_is_the_processs(void **state)
{
	static const struct variant variant = { FAM_V6, IPPROTO_MPTCP, "tcp" };
	static const char *const states[] = { "bound", "connected" };
	struct setting s = set_up(&variant, mptcp);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		const json_t *holder = only_holder(ask_json(s.stage, s.question));

		assert_string_equal(str(holder, "state"), states[i]);
		assert_own_process(holder, s.stage->pid);
		if (!i) {
			stage_go(s.stage);
			stage_await_step(s.stage);
		}
	}
	tear_down(&s);
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

/* What is left of the 60 s since the workload closed, two seconds either way. */
static void assert_left(const struct truth *truth, int64_t asked, int64_t left)
{
	for (uint32_t i = 0; i < truth->happenings; i++) {
		const struct happening *h = &truth->happening[i];
		int64_t least = 58 - (now_ns() - h->t0) / SECOND, most = 62 - (asked - h->t1) / SECOND;

		if (h->kind != KIND_TIME_WAIT)
			continue;
		if (left < least || left > most)
			fail_msg("%lld seconds left, not %lld to %lld", (long long)left, (long long)least,
				 (long long)most);
		return;
	}
	fail_msg("no TIME_WAIT");
}

static void time_wait_is_held(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct setting s = set_up(&variants[i], waits);
		const json_t *holder;
		const char *text;
		int64_t asked;

		/* So that it is not the whole of it. */
		run_sleep(5000);
		asked = now_ns();
		holder = only_holder(ask_json(s.stage, s.question));
		assert_left(s.stage->work.truth, asked, num(holder, "seconds_left"));
		text = ask_text(s.stage, s.question);
		assert_socket(holder, &s, "time_wait");
		assert_int_equal(num(holder, "remote_port"), SERVER_PORT);
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
			assert_string_equal(str(holder, "how"), "connect");
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
	bool unlisted = false;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(variants); i++) {
		struct setting s = set_up(&variants[i], in_flight);
		json_t *holders = holders_in(ask_json(s.stage, s.question));
		const json_t *holder = json_array_get(holders, 0);

		/* Only sock_diag of Linux 6.8 and later lists what is bound and no more, without a process. */
		if (is_tcp(variants[i].proto) && !holder) {
			unlisted = true;
			tear_down(&s);
			continue;
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
	if (unlisted)
		skip_because("this kernel does not list bound TCP sockets");
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

static const struct plain list[] = {
	{ "who/bound_only", bound_only_is_held },
	{ "who/mptcp", subflow_is_the_processs },
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
};

const struct plain_list who_tests = { list, COUNT_OF(list) };
