/* SPDX-License-Identifier: GPL-2.0 */
/* Who took a port and who let it go: fork, exec, threads, descriptors passed on, and processes that just end. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BRIEF 20
#define THREADS 4
#define PER_THREAD 8

/* Reads to the end of the connection. */
static void drain(int fd)
{
	char c;

	while (read(fd, &c, 1) > 0)
		;
	close(fd);
}

/* Connects and closes at once, and is gone within a millisecond. */
static void brief_client(struct work *w, void *arg)
{
	struct wsock s = ws_open(w);

	ws_connect_ok(&s, *(uint16_t *)arg);
	ws_close_waits(&s);
}

static void brief_tcp(struct work *w)
{
	struct wsock server;
	uint16_t port;

	work_name("a-server");
	server = ws_listener(w);
	port = ws_port(&server);
	w->no_cookie = true;
	for (int i = 0; i < BRIEF; i++) {
		char name[16];
		pid_t pid;

		snprintf(name, sizeof(name), "brief-%d", i);
		work_name(name);
		pid = work_spawn(w, brief_client, &port);
		drain(ws_accept(&server));
		work_reap(w, pid);
	}
	ws_close(&server);
}

static void brief_sender(struct work *w, void *arg)
{
	struct wsock s = ws_open(w);

	(void)arg;
	ws_send(&s, 7999);
	ws_close(&s);
}

static void brief_udp(struct work *w)
{
	w->no_cookie = true;
	for (int i = 0; i < BRIEF; i++)
		work_reap(w, work_spawn(w, brief_sender, NULL));
}

/* Each side is credited with its own port, though it is always the other that acts when something happens. */
static void waiting_client(struct work *w, void *arg)
{
	struct wsock s;
	char c;

	work_name("the-client");
	s = ws_open(w);
	ws_connect_ok(&s, *(uint16_t *)arg);
	if (read(s.fd, &c, 1) != 0)
		work_die("data where the end was due");
	ws_close_second(&s);
}

static void server_closes_first(struct work *w)
{
	struct wsock server;
	uint16_t port;

	work_name("the-server");
	server = ws_listener(w);
	port = ws_port(&server);
	for (int i = 0; i < 5; i++) {
		pid_t pid = work_spawn(w, waiting_client, &port);

		close(ws_accept(&server));
		work_reap(w, pid);
	}
	ws_close(&server);
}

/* One socket of each kind of state, all to be let go by the end of the process. */
static void take_all_kinds(struct work *w, uint16_t server)
{
	struct wsock s[4];

	for (int i = 0; i < 4; i++)
		s[i] = ws_open_as(w, w->fam, i == 3 ? IPPROTO_UDP : IPPROTO_TCP);
	ws_bind(&s[0], 0);
	ws_listen(&s[0]);
	ws_bind(&s[1], 7201);
	ws_connect_ok(&s[2], server);
	ws_linger0(&s[2]);
	ws_send(&s[3], 7999);
	for (int i = 0; i < 4; i++)
		ws_doomed(&s[i]);
}

/* A connection that is reset by its own end, and everything else that is merely closed. */
static void accept_either_cause(struct work *w)
{
	for (uint32_t i = 0; i < w->truth->happenings; i++) {
		if (w->truth->happening[i].kind == KIND_RELEASE) {
			w->truth->happening[i].cause |= CAUSE_RESET;
			strcpy(w->truth->happening[i].err, "*");
		}
	}
}

static void exiting_child(struct work *w, void *arg)
{
	work_name("exits");
	take_all_kinds(w, *(uint16_t *)arg);
}

static void exit_without_close(struct work *w)
{
	struct wsock server = ws_listener(w);
	uint16_t port = ws_port(&server);
	pid_t pid = work_spawn(w, exiting_child, &port);
	int accepted = ws_accept(&server);

	work_reap(w, pid);
	accept_either_cause(w);
	close(accepted);
	ws_close(&server);
}

struct killable {
	uint16_t port;
	int ready;
};

static void killed_child(struct work *w, void *arg)
{
	struct killable *k = arg;

	work_name("gets-killed");
	take_all_kinds(w, k->port);
	if (write(k->ready, "r", 1) != 1)
		work_die("write");
	pause();
}

static void killed(struct work *w)
{
	struct wsock server = ws_listener(w);
	struct killable k = { .port = ws_port(&server) };
	int p[2], status;
	pid_t pid;
	char c;

	if (pipe2(p, O_CLOEXEC) < 0)
		work_die("pipe");
	k.ready = p[1];
	pid = work_spawn(w, killed_child, &k);
	if (read(p[0], &c, 1) != 1)
		work_die("read");
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		work_die("waitpid");
	truth_settle(w->truth);
	accept_either_cause(w);
	close(ws_accept(&server));
	ws_close(&server);
}

/* Binds, forks, and goes: the child is left with the socket. */
static void parent_that_goes(struct work *w, void *arg)
{
	struct wsock s;
	pid_t me;

	(void)arg;
	work_name("the-parent");
	s = ws_open(w);
	ws_bind(&s, 7202);
	if (is_tcp(w->proto))
		ws_listen(&s);
	me = getpid();
	if (fork())
		return;
	work_name("the-child");
	while (getppid() == me)
		usleep(1000);
	usleep(20000);
	ws_close(&s);
	_exit(0);
}

static void child_inherits(struct work *w)
{
	pid_t pid;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = work_spawn(w, parent_that_goes, NULL);
	work_reap(w, pid);
	if (wait(NULL) < 0)
		work_die("wait");
}

static void giver(struct work *w, void *arg)
{
	struct wsock s;

	work_name("the-giver");
	s = ws_open(w);
	ws_bind(&s, 0);
	ws_pass(*(int *)arg, &s);
}

/* The receiver goes on to listen, so that event has another process behind it than the owner as well. */
static void descriptor_passed(struct work *w)
{
	struct wsock s;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		work_die("socketpair");
	work_reap(w, work_spawn(w, giver, &pair[0]));
	ws_take(pair[1], &s);
	work_name("the-taker");
	if (is_tcp(w->proto))
		ws_listen(&s);
	usleep(5000);
	ws_close(&s);
}

/* A descriptor that was sent and never received: it ends with the socket it is queued in. */
static void descriptor_in_flight(struct work *w)
{
	struct wsock s = ws_open(w);
	int64_t t0;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		work_die("socketpair");
	ws_bind(&s, 7203);
	ws_pass(pair[0], &s);
	ws_drop(&s);
	usleep(20000);
	t0 = now_ns();
	close(pair[0]);
	close(pair[1]);
	usleep(1000);
	ws_say(&s, KIND_CLOSE, t0, now_ns());
	ws_lost(&s, CAUSE_CLOSE, NULL, t0, now_ns());
}

/* The socket goes through execve() and ends with the program that does not know it. */
static void exec_child(struct work *w, void *arg)
{
	struct wsock s;
	char number[16];

	(void)arg;
	work_name("before-exec");
	s = ws_open(w);
	ws_bind(&s, 7204);
	fcntl(s.fd, F_SETFD, 0);
	snprintf(number, sizeof(number), "%d", s.fd);
	ws_doomed(&s);
	execl(self_path(), "e2e", "--role", "close", number, (char *)NULL);
	work_die("execl %s", self_path());
}

static void exec_keeps(struct work *w)
{
	work_reap(w, work_spawn(w, exec_child, NULL));
}

static void *thread_body(void *arg)
{
	struct work *w = arg;

	for (int i = 0; i < PER_THREAD; i++) {
		struct wsock s = ws_open(w);

		ws_bind(&s, 0);
		if (is_tcp(w->proto))
			ws_listen(&s);
		ws_close(&s);
	}
	return NULL;
}

static void threads_allocate(struct work *w)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&thread[i], NULL, thread_body, w))
			work_die("pthread_create");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void unprivileged_child(struct work *w, void *arg)
{
	struct wsock s;

	(void)arg;
	work_name("nobody");
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		work_die("setresuid");
	s = ws_open(w);
	ws_bind(&s, 0);
	ws_close(&s);
}

static void another_uid(struct work *w)
{
	work_reap(w, work_spawn(w, unprivileged_child, NULL));
}

/* A socket belongs to the namespace it was made in, wherever its process has moved. */
static void moved_process(struct work *w, void *arg)
{
	struct wsock here = ws_open(w), there;
	struct work second = *w;

	(void)arg;
	if (netns_unshare(&second.netns))
		work_die("unshare");
	w->truth->second_netns = second.netns;
	there = ws_open(&second);
	ws_bind(&here, 0);
	ws_bind(&there, 0);
	ws_close(&there);
	ws_close(&here);
}

static void two_namespaces(struct work *w)
{
	work_reap(w, work_spawn(w, moved_process, NULL));
}

#define TCP (VARIANT_TCP)
#define UDP (VARIANT_UDP)
#define ANY (VARIANT_TCP | VARIANT_UDP)

static const struct scenario list[] = {
	{ "brief_process", brief_tcp, FAMS_ALL, TCP },
	{ "brief_process", brief_udp, FAMS_ALL, UDP },
	{ "client_and_server", server_closes_first, FAMS_ALL, TCP | VARIANT_MPTCP },
	{ "exit_without_close", exit_without_close, FAMS_ALL, TCP },
	{ "killed", killed, FAMS_ALL, TCP },
	{ "child_inherits", child_inherits, FAMS_PURE, ANY | VARIANT_MPTCP },
	{ "descriptor_passed", descriptor_passed, FAMS_PURE, ANY },
	{ "descriptor_in_flight", descriptor_in_flight, FAMS_PURE, ANY },
	{ "exec_keeps", exec_keeps, FAMS_PURE, ANY },
	{ "threads_allocate", threads_allocate, FAMS_PURE, ANY },
	{ "another_uid", another_uid, FAMS_PURE, ANY },
	{ "two_namespaces", two_namespaces, FAMS_PURE, ANY },
};

const struct scenario_list owner_scenarios = { list, COUNT_OF(list) };
