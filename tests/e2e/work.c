/* SPDX-License-Identifier: GPL-2.0 */
/* The workload's side: sockets that log what they do to their port as they do it. */
#define _GNU_SOURCE
#include "tests/e2e/work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIME_WAIT_AT_LEAST (59 * SECOND)
#define RETRANSMITTED (250 * MS)	/* TCP_RTO_MIN, 200 ms, and some */

void work_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	dprintf(STDERR_FILENO, "workload: ");
	vdprintf(STDERR_FILENO, format, args);
	dprintf(STDERR_FILENO, " (errno %d: %s)\n", errno, strerror(errno));
	va_end(args);
	_exit(WORK_BROKEN);
}

void work_skip(struct work *work, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(work->truth->skip, sizeof(work->truth->skip), format, args);
	va_end(args);
	_exit(WORK_SKIPPED);
}

void work_step(struct work *work)
{
	char c = 's';

	if (write(work->sync_fd, &c, 1) != 1 || read(work->sync_fd, &c, 1) != 1)
		work_die("the test went away");
}

void work_name(const char *comm)
{
	prctl(PR_SET_NAME, comm);
}

void work_sysctl(struct work *work, const char *name, const char *value)
{
	int err = sysctl_set(name, value);

	if (err)
		work_skip(work, "cannot set %s: %s", name, strerror(-err));
}

bool is_tcp(int proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_MPTCP;
}

static int new_socket(enum fam fam, int proto)
{
	return socket(fam_domain(fam), (is_tcp(proto) ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, proto);
}

bool ws_possible(enum fam fam, int proto)
{
	int fd = new_socket(fam, proto);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

struct wsock ws_open_as(struct work *work, enum fam fam, int proto)
{
	struct wsock s = { .work = work, .fam = fam, .proto = proto, .life = -1 };

	s.fd = new_socket(fam, proto);
	if (s.fd < 0 && (errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT || errno == ENOPROTOOPT))
		work_skip(work, "this kernel has no such socket (family %s, protocol %d)", fam_name(fam), proto);
	if (s.fd < 0)
		work_die("socket");
	return s;
}

struct wsock ws_open(struct work *work)
{
	return ws_open_as(work, work->fam, work->proto);
}

static struct life *life_of(const struct wsock *s)
{
	return s->life < 0 ? NULL : &s->work->truth->life[s->life];
}

uint16_t ws_port(const struct wsock *s)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	if (getsockname(s->fd, (struct sockaddr *)&ss, &len) < 0)
		work_die("getsockname");
	return addr_port(&ss);
}

static uint64_t ask_cookie(const struct wsock *s)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	/* The socket that holds an MPTCP port is one that the program cannot see. */
	if (s->work->no_cookie || s->proto == IPPROTO_MPTCP)
		return 0;
	if (getsockopt(s->fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		work_die("SO_COOKIE");
	return cookie;
}

static void address_now(const struct wsock *s, char out[ADDR_TEXT])
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	if (getsockname(s->fd, (struct sockaddr *)&ss, &len) < 0)
		work_die("getsockname");
	addr_text(&ss, out);
}

void ws_took(struct wsock *s, unsigned how, bool ephemeral, int64_t t0, int64_t t1)
{
	struct life life = {
		.netns = s->work->netns, .how = how, .ephemeral = ephemeral, .proto = s->proto,
		.before = s->work->before, .either = s->work->either, .generation = ++s->generation,
		.pid = getpid(), .uid = getuid(), .port = ws_port(s),
	};

	if (s->proto == IPPROTO_MPTCP)
		life.proto = IPPROTO_TCP;
	if (!s->cookie)
		s->cookie = ask_cookie(s);
	life.cookie = s->cookie;
	prctl(PR_GET_NAME, life.comm);
	snprintf(life.exe, sizeof(life.exe), "%s", self_path());
	address_now(s, life.addr[0]);
	s->life = truth_life(s->work->truth, &life);
	s->locked = !ephemeral;
	ws_say(s, KIND_ALLOCATE, t0, t1);
}

struct happening *ws_say(struct wsock *s, enum kind kind, int64_t t0, int64_t t1)
{
	struct happening h = { .life = (uint32_t)s->life, .kind = kind, .t0 = t0, .t1 = t1, .actor = getpid() };

	if (kind == KIND_TIME_WAIT || kind == KIND_RELEASE)
		h.soft = true;
	if (kind == KIND_TIME_WAIT)
		h.actor = 0;
	return truth_add(s->work->truth, &h);
}

struct happening *ws_lost(struct wsock *s, unsigned cause, const char *err, int64_t t0, int64_t t1)
{
	struct happening *h = ws_say(s, KIND_RELEASE, t0, t1);

	h->cause = cause;
	snprintf(h->err, sizeof(h->err), "%s", err ? err : "");
	if (!(cause & CAUSE_CLOSE))
		h->actor = 0;
	s->life = -1;
	return h;
}

int ws_try_bind(struct wsock *s, enum where where, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_make(&ss, s->fam, where, port);
	int64_t t0 = now_ns();

	if (bind(s->fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	if (ws_port(s))
		ws_took(s, HOW_BIND, !port, t0, now_ns());
	return 0;
}

void ws_bind(struct wsock *s, uint16_t port)
{
	errno = -ws_try_bind(s, AT_LOOP, port);
	if (errno)
		work_die("bind to port %u", port);
}

void ws_bind_any(struct wsock *s, uint16_t port)
{
	errno = -ws_try_bind(s, AT_ANY, port);
	if (errno)
		work_die("bind to port %u", port);
}

void ws_listen(struct wsock *s)
{
	int64_t t0 = now_ns(), t1;

	if (listen(s->fd, 128) < 0)
		work_die("listen");
	t1 = now_ns();
	if (s->life < 0)
		ws_took(s, HOW_LISTEN, true, t0, t1);
	ws_say(s, KIND_LISTEN, t0, t1);
	s->listening = true;
}

void ws_remote(struct wsock *s, const struct sockaddr_storage *to)
{
	struct life *life = life_of(s);
	char text[ADDR_TEXT];
	int i = 0;

	addr_text(to, text);
	while (i < LIFE_REMOTES - 1 && *life->remote_addr[i] &&
	       (strcmp(life->remote_addr[i], text) != 0 || life->remote_port[i] != addr_port(to)))
		i++;
	memcpy(life->remote_addr[i], text, sizeof(text));
	life->remote_port[i] = addr_port(to);
}

/*
 * A wildcard becomes the address that reaches the other end (on loopback: the same one). A TCP socket has it when it
 * takes its port, and none any more when it has failed; a UDP socket takes its port before.
 */
static void note_connected(struct wsock *s, bool autobound, const struct sockaddr_storage *to)
{
	struct life *life = life_of(s);
	struct sockaddr_storage any;
	char now[ADDR_TEXT];

	address_now(s, now);
	if (autobound && is_tcp(s->proto)) {
		addr_text(to, life->addr[0]);
		return;
	}
	if (strcmp(now, life->addr[0]) != 0)
		memcpy(life->addr[1], now, sizeof(now));
	if (!autobound)
		return;
	addr_make(&any, s->fam, AT_ANY, 0);
	addr_text(&any, life->addr[1]);
}

void ws_unseen(struct wsock *s)
{
	struct truth *t = s->work->truth;

	life_of(s)->owner_unknown = true;
	for (uint32_t i = t->happenings; i-- > 0;) {
		if (t->happening[i].life == s->life && t->happening[i].kind == KIND_ALLOCATE) {
			t->happening[i].late = true;
			break;
		}
	}
}

static bool took_no_port(const struct wsock *s, int err)
{
	return is_tcp(s->proto) && (err == ENETUNREACH || err == EHOSTUNREACH || err == EADDRNOTAVAIL ||
				    err == EISCONN || err == EALREADY || err == EINVAL);
}

static void failed_to_connect(struct wsock *s, int err, int64_t t0, int64_t t1)
{
	const char *name = err == ECONNREFUSED ? "ECONNREFUSED" : err == ETIMEDOUT ? "ETIMEDOUT" : "ECONNRESET";

	if (!is_tcp(s->proto) || s->locked)
		return;
	ws_lost(s, CAUSE_RESET, name, t0, t1);
}

void ws_took_connect(struct wsock *s, const struct sockaddr_storage *to, int64_t t0, int64_t t1)
{
	bool autobound = s->life < 0;

	if (autobound) {
		ws_took(s, HOW_CONNECT, true, t0, t1);
		life_of(s)->remote_due = is_tcp(s->proto);
		if (s->proto == IPPROTO_UDPLITE) {
			ws_unseen(s);
			life_of(s)->how |= HOW_SEND;
		}
	}
	ws_remote(s, to);
	note_connected(s, autobound, to);
	s->connected = true;
}

int ws_connect_to(struct wsock *s, const struct sockaddr_storage *to, socklen_t len)
{
	int64_t t0 = now_ns(), t1;
	int err = connect(s->fd, (const struct sockaddr *)to, len) < 0 ? errno : 0;

	t1 = now_ns();
	if (took_no_port(s, err))
		return -err;
	ws_took_connect(s, to, t0, t1);
	if (err && err != EINPROGRESS) {
		s->connected = false;
		failed_to_connect(s, err, t0, t1);
	}
	return -err;
}

int ws_connect(struct wsock *s, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, s->fam, AT_LOOP, port);

	return ws_connect_to(s, &to, len);
}

void ws_connect_ok(struct wsock *s, uint16_t port)
{
	errno = -ws_connect(s, port);
	if (errno)
		work_die("connect to port %u", port);
}

ssize_t ws_send(struct wsock *s, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, s->fam, AT_LOOP, port), room = sizeof(int);
	int64_t t0 = now_ns();
	ssize_t sent;
	int old_error;

	/* An earlier refusal would fail the call after it has taken a port: another case, see send_fails in udp.c. */
	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &old_error, &room);
	sent = sendto(s->fd, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&to, len);

	if (s->life < 0)
		ws_took(s, HOW_SEND, true, t0, now_ns());
	ws_remote(s, &to);
	return sent;
}

/*
 * A port that the program did not name is given back: by a UDP socket always (and the tracer may come to see it late),
 * by a TCP socket when there was something to leave.
 */
void ws_disconnect(struct wsock *s)
{
	struct sockaddr_storage none = { .ss_family = AF_UNSPEC };
	bool had = !is_tcp(s->proto) || s->connected || s->listening;
	int64_t t0 = now_ns();

	if (connect(s->fd, (struct sockaddr *)&none, sizeof(struct sockaddr_in)) < 0)
		work_die("connect AF_UNSPEC");
	s->connected = false;
	s->listening = false;
	if (s->life >= 0 && !s->locked && had)
		ws_lost(s, CAUSE_DISCONNECT, NULL, t0, now_ns())->late = !is_tcp(s->proto);
}

void ws_destroy(struct wsock *s)
{
	struct sockaddr_storage local = { 0 }, remote = { 0 };
	socklen_t len = sizeof(local), far = sizeof(remote);
	int err;

	if (getsockname(s->fd, (struct sockaddr *)&local, &len) < 0)
		work_die("getsockname");
	if (getpeername(s->fd, (struct sockaddr *)&remote, &far) < 0)
		addr_make(&remote, s->fam, AT_ANY, 0);
	err = sock_destroy(s->proto, &local, &remote, s->cookie);
	if (err == -EOPNOTSUPP || err == -ENOENT)
		work_skip(s->work, "this kernel has no SOCK_DESTROY for %s", proto_name(s->proto));
	errno = -err;
	if (err)
		work_die("SOCK_DESTROY");
}

void ws_option(const struct wsock *s, int level, int option, int value)
{
	if (setsockopt(s->fd, level, option, &value, sizeof(value)) < 0)
		work_die("setsockopt %d/%d", level, option);
}

void ws_linger0(const struct wsock *s)
{
	struct linger linger = { .l_onoff = 1 };

	if (setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
		work_die("SO_LINGER");
}

void ws_close(struct wsock *s)
{
	int64_t t0 = now_ns(), t1;

	close(s->fd);
	t1 = now_ns();
	s->fd = -1;
	if (s->life < 0)
		return;
	ws_say(s, KIND_CLOSE, t0, t1);
	ws_lost(s, CAUSE_CLOSE, NULL, t0, t1);
}

void ws_close_second(struct wsock *s)
{
	int64_t t0 = now_ns(), t1;

	close(s->fd);
	t1 = now_ns();
	s->fd = -1;
	ws_say(s, KIND_CLOSE, t0, t1);
	ws_lost(s, CAUSE_CLOSE, NULL, t0, t1 + RETRANSMITTED);
}

struct happening *ws_close_waits(struct wsock *s)
{
	int64_t t0 = now_ns(), t1;
	struct happening *end;

	close(s->fd);
	t1 = now_ns();
	s->fd = -1;
	ws_say(s, KIND_CLOSE, t0, t1);
	ws_say(s, KIND_TIME_WAIT, t0, t1);
	end = ws_lost(s, CAUSE_TIME_WAIT, NULL, t0 + TIME_WAIT_AT_LEAST, t1 + 600 * SECOND);
	end->optional = true;
	end->late = true;
	return end;
}

void ws_close_resets(struct wsock *s)
{
	int64_t t0 = now_ns(), t1;

	ws_linger0(s);
	close(s->fd);
	t1 = now_ns();
	s->fd = -1;
	ws_say(s, KIND_CLOSE, t0, t1);
	ws_lost(s, CAUSE_CLOSE | CAUSE_RESET, "*", t0, t1);
}

void ws_finish(struct wsock *s, int accepted)
{
	char c;

	close(accepted);
	if (read(s->fd, &c, 1) != 0)
		work_die("no end where it was due");
	ws_close(s);
}

void ws_drop(struct wsock *s)
{
	close(s->fd);
	s->fd = -1;
}

void ws_doomed(struct wsock *s)
{
	int64_t t0 = now_ns();

	if (s->life < 0)
		return;
	ws_say(s, KIND_CLOSE, t0, 0);
	ws_lost(s, CAUSE_CLOSE, NULL, t0, 0);
}

struct wsock ws_listener_on(struct work *work, uint16_t port)
{
	struct wsock s = ws_open_as(work, work->fam, is_tcp(work->proto) ? work->proto : IPPROTO_TCP);

	ws_bind(&s, port);
	ws_listen(&s);
	return s;
}

struct wsock ws_listener(struct work *work)
{
	return ws_listener_on(work, 0);
}

int ws_accept(const struct wsock *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		work_die("accept");
	return fd;
}

int ws_join(struct wsock *client, const struct wsock *listener)
{
	ws_connect_ok(client, ws_port(listener));
	return ws_accept(listener);
}

void ws_pass(int way, const struct wsock *s)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { .iov_base = (void *)s, .iov_len = sizeof(*s) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.head), &s->fd, sizeof(int));
	if (sendmsg(way, &msg, 0) != (ssize_t)sizeof(*s))
		work_die("sendmsg SCM_RIGHTS");
}

void ws_take(int way, struct wsock *s)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = s, .iov_len = sizeof(*s) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	if (recvmsg(way, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*s))
		work_die("recvmsg SCM_RIGHTS");
	memcpy(&s->fd, CMSG_DATA(&control.head), sizeof(int));
}

pid_t work_spawn(struct work *work, void (*fn)(struct work *work, void *arg), void *arg)
{
	pid_t pid = fork();

	if (pid < 0)
		work_die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fn(work, arg);
	_exit(0);
}

void work_reap(struct work *work, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		work_die("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	truth_settle(work->truth);
}
