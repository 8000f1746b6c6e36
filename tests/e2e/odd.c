/* SPDX-License-Identifier: GPL-2.0 */
/* Ways to a port and from it that are seldom gone: io_uring, the kernel's own sockets, a peer that falls silent. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 6.11; the headers may be older. */
#define OP_BIND 56
#define OP_LISTEN 57

struct ring {
	int fd;
	char *rings;
	struct io_uring_sqe *sqes;
	struct io_uring_params params;
};

static struct ring ring_new(struct work *w)
{
	struct ring r = { 0 };
	size_t size;

	r.fd = (int)syscall(SYS_io_uring_setup, 8, &r.params);
	if (r.fd < 0)
		work_skip(w, "no io_uring here: %s", strerror(errno));
	if (!(r.params.features & IORING_FEAT_SINGLE_MMAP))
		work_skip(w, "an io_uring of old");
	size = r.params.cq_off.cqes + r.params.cq_entries * sizeof(struct io_uring_cqe);
	r.rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, IORING_OFF_SQ_RING);
	r.sqes = mmap(NULL, r.params.sq_entries * sizeof(*r.sqes), PROT_READ | PROT_WRITE, MAP_SHARED, r.fd,
		      IORING_OFF_SQES);
	if (r.rings == MAP_FAILED || (void *)r.sqes == MAP_FAILED)
		work_die("mmap of an io_uring");
	return r;
}

static unsigned *at(const struct ring *r, unsigned offset)
{
	return (unsigned *)(r->rings + offset);
}

/* One operation, waited for: its result. */
static int ring_do(struct ring *r, const struct io_uring_sqe *sqe)
{
	unsigned tail = *at(r, r->params.sq_off.tail), head = *at(r, r->params.cq_off.head);
	unsigned slot = tail & *at(r, r->params.sq_off.ring_mask);
	const struct io_uring_cqe *cqes = (const struct io_uring_cqe *)(r->rings + r->params.cq_off.cqes);
	int result;

	r->sqes[slot] = *sqe;
	at(r, r->params.sq_off.array)[slot] = slot;
	__atomic_store_n(at(r, r->params.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		work_die("io_uring_enter");
	result = cqes[head & *at(r, r->params.cq_off.ring_mask)].res;
	__atomic_store_n(at(r, r->params.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return result;
}

static void ring_close(struct ring *r, struct wsock *s)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_CLOSE, .fd = s->fd };
	int64_t t0 = now_ns();

	errno = -ring_do(r, &sqe);
	if (errno)
		work_die("io_uring close");
	ws_say(s, KIND_CLOSE, t0, now_ns());
	ws_lost(s, CAUSE_CLOSE, NULL, t0, now_ns());
}

static void ring_connect(struct ring *r, struct wsock *s, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, s->fam, AT_LOOP, port);
	struct io_uring_sqe sqe = { .opcode = IORING_OP_CONNECT, .fd = s->fd, .addr = (uintptr_t)&to, .off = len };
	int64_t t0 = now_ns();

	errno = -ring_do(r, &sqe);
	if (errno)
		work_die("io_uring connect");
	ws_took_connect(s, &to, t0, now_ns());
}

static void uring_connect(struct work *w)
{
	struct ring r = ring_new(w);
	struct wsock server = ws_listener(w), tcp = ws_open(w), udp = ws_open_as(w, w->fam, IPPROTO_UDP);
	char c;

	ring_connect(&r, &tcp, ws_port(&server));
	close(ws_accept(&server));
	if (read(tcp.fd, &c, 1) != 0)
		work_die("no end where it was due");
	ring_close(&r, &tcp);
	ring_connect(&r, &udp, 7999);
	/* The end of the system call connect(), which tells the base, does not come. */
	if (truth_of_base())
		ws_unseen(&udp);
	ring_close(&r, &udp);
	ws_close(&server);
}

static void uring_send(struct work *w)
{
	struct ring r = ring_new(w);
	struct wsock s = ws_open(w);
	struct sockaddr_storage to;
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr msg = { .msg_name = &to, .msg_namelen = addr_make(&to, w->fam, AT_LOOP, 7999), .msg_iov = &iov,
			      .msg_iovlen = 1 };
	struct io_uring_sqe sqe = { .opcode = IORING_OP_SENDMSG, .fd = s.fd, .addr = (uintptr_t)&msg, .len = 1 };
	int64_t t0 = now_ns();

	if (ring_do(&r, &sqe) != 1)
		work_die("io_uring sendmsg");
	ws_took(&s, HOW_SEND, true, t0, now_ns());
	ws_remote(&s, &to);
	ring_close(&r, &s);
}

static void uring_bind(struct work *w)
{
	struct ring r = ring_new(w);
	struct wsock s = ws_open(w);
	struct sockaddr_storage ss;
	socklen_t len = addr_make(&ss, w->fam, AT_LOOP, 0);
	struct io_uring_sqe bind_it = { .opcode = OP_BIND, .fd = s.fd, .addr = (uintptr_t)&ss, .off = len };
	struct io_uring_sqe listen_it = { .opcode = OP_LISTEN, .fd = s.fd, .len = 5 };
	int64_t t0 = now_ns();
	int err = ring_do(&r, &bind_it);

	if (err == -EINVAL)
		work_skip(w, "this kernel's io_uring cannot bind");
	errno = -err;
	if (err)
		work_die("io_uring bind");
	ws_took(&s, HOW_BIND, true, t0, now_ns());
	t0 = now_ns();
	errno = -ring_do(&r, &listen_it);
	if (errno)
		work_die("io_uring listen");
	ws_say(&s, KIND_LISTEN, t0, now_ns());
	ring_close(&r, &s);
}

/* The tracer has no hook on the end of a kernel's datagram socket: it looks from time to time. */
static void kernel_socket(struct work *w)
{
	struct life life = { .netns = w->netns, .generation = 1, .proto = IPPROTO_UDP, .how = HOW_BIND, .kernel = true,
			     .port = 4789, .addr = { "0.0.0.0" } };
	struct happening h = { .kind = KIND_ALLOCATE, .t0 = now_ns() };
	int err = vxlan_add("e2e-vxlan", 4789);

	if (err == -EOPNOTSUPP || err == -ENOENT)
		work_skip(w, "this kernel has no VXLAN");
	errno = -err;
	if (err)
		work_die("RTM_NEWLINK");
	h.t1 = now_ns();
	h.life = truth_life(w->truth, &life);
	truth_add(w->truth, &h);
	usleep(20000);
	h = (struct happening){ .kind = KIND_RELEASE, .life = h.life, .t0 = now_ns(), .late = true,
				.cause = CAUSE_CLOSE | CAUSE_UNKNOWN };
	errno = -link_delete("e2e-vxlan");
	if (errno)
		work_die("RTM_DELLINK");
	h.t1 = now_ns();
	truth_add(w->truth, &h);
}

/* The interface goes down under a connection, and the kernel gives up on what was sent. */
static void peer_falls_silent(struct work *w)
{
	struct wsock server = ws_listener(w), s = ws_open(w);
	int accepted = ws_join(&s, &server);
	struct pollfd p = { .fd = s.fd };
	int64_t t0;

	ws_option(&s, IPPROTO_TCP, TCP_USER_TIMEOUT, 300);
	if (lo_set(false))
		work_die("lo down");
	t0 = now_ns();
	if (write(s.fd, "x", 1) != 1)
		work_die("write");
	if (poll(&p, 1, 20000) != 1)
		work_die("poll");
	ws_lost(&s, CAUSE_RESET, "ETIMEDOUT", t0, now_ns());
	lo_set(true);
	ws_close(&s);
	close(accepted);
	ws_close(&server);
}

static const struct scenario list[] = {
	{ "uring_connect", uring_connect, FAMS_ALL, VARIANT_TCP },
	{ "uring_send", uring_send, FAMS_ALL, VARIANT_UDP },
	{ "uring_bind", uring_bind, FAMS_ALL, VARIANT_TCP },
	{ "kernel_socket", kernel_socket, FAMS_V4, VARIANT_UDP },
	{ "peer_falls_silent", peer_falls_silent, FAMS_V4, VARIANT_TCP },
};

const struct scenario_list odd_scenarios = { list, COUNT_OF(list) };
