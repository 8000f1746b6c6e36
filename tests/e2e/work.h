/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The workload's side: sockets that log what they do to their port as they do it. Runs in forked children, so a failed
 * step prints and exits with WORK_BROKEN; nothing here uses cmocka.
 */
#ifndef E2E_WORK_H
#define E2E_WORK_H

#include "tests/e2e/truth.h"

#define WORK_BROKEN 99
#define WORK_SKIPPED 77

struct work {
	struct truth *truth;
	enum fam fam;
	int proto;		/* IPPROTO_* of the variant under test */
	int sync_fd;		/* see work_step() */
	uint64_t netns;
	bool before;		/* the tracer is not running yet: lifetimes taken now are `present` */
	bool either;		/* it is starting */
	bool no_cookie;		/* do not touch sockets with SO_COOKIE */
	void *arg;
};

/* A socket and the lifetime it has now. Copies made by fork() speak of the same lifetime. */
struct wsock {
	struct work *work;
	int fd, proto;
	enum fam fam;
	bool locked;		/* the program named the port: only the last close releases it */
	bool connected;
	bool listening;
	int64_t life;		/* -1: holds no port */
	uint64_t cookie;
	unsigned generation;
};

void work_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void work_skip(struct work *work, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* Tells the test that a step is reached and waits for its leave to go on. */
void work_step(struct work *work);
void work_name(const char *comm);
void work_sysctl(struct work *work, const char *name, const char *value);
bool is_tcp(int proto);

/* socket(); skips the test when the kernel lacks the protocol. */
struct wsock ws_open(struct work *work);
struct wsock ws_open_as(struct work *work, enum fam fam, int proto);
bool ws_possible(enum fam fam, int proto);
int ws_try_bind(struct wsock *s, enum where where, uint16_t port);
void ws_bind(struct wsock *s, uint16_t port);		/* to the loopback address; 0: the kernel chooses */
void ws_bind_any(struct wsock *s, uint16_t port);
void ws_listen(struct wsock *s);
/* To the loopback address. 0 or -errno; -EINPROGRESS counts as an allocation as well. */
int ws_connect(struct wsock *s, uint16_t port);
void ws_connect_ok(struct wsock *s, uint16_t port);
int ws_connect_to(struct wsock *s, const struct sockaddr_storage *to, socklen_t len);
ssize_t ws_send(struct wsock *s, uint16_t port);
void ws_disconnect(struct wsock *s);
/* SOCK_DESTROY; logs nothing. Skips the test when the kernel cannot. */
void ws_destroy(struct wsock *s);
void ws_option(const struct wsock *s, int level, int option, int value);
void ws_linger0(const struct wsock *s);
uint16_t ws_port(const struct wsock *s);

/* close() by the last holder: close, release at once or as soon as the other end has answered. */
void ws_close(struct wsock *s);

/* The same after the other end: its answer to our FIN may be lost between two states of its own, and is asked for again. */
void ws_close_second(struct wsock *s);
/*
 * close() by the last holder on the side that has to wait: close, time_wait, and the release a minute later, which is
 * returned (optional, so that nobody need wait for it).
 */
struct happening *ws_close_waits(struct wsock *s);
/* The other end closes first, so that this one's port has no TIME_WAIT. */
void ws_finish(struct wsock *s, int accepted);
/* close() by the last holder that sends a reset: both words are true of its cause. */
void ws_close_resets(struct wsock *s);
/* close() of one descriptor of several: nothing happens. */
void ws_drop(struct wsock *s);
/* The process is about to die, or dies at the hand of another: close and release between now and truth_settle(). */
void ws_doomed(struct wsock *s);

/* The lower level: what was done to the socket between t0 and t1. */
void ws_took(struct wsock *s, unsigned how, bool ephemeral, int64_t t0, int64_t t1);
struct happening *ws_say(struct wsock *s, enum kind kind, int64_t t0, int64_t t1);
struct happening *ws_lost(struct wsock *s, unsigned cause, const char *err, int64_t t0, int64_t t1);
/* The same for a connect() to this end that has succeeded. */
void ws_took_connect(struct wsock *s, const struct sockaddr_storage *to, int64_t t0, int64_t t1);
void ws_remote(struct wsock *s, const struct sockaddr_storage *to);
/* What it took just now went past every hook of some kernels: it may be found as late as at close, without an owner. */
void ws_unseen(struct wsock *s);

/* A listener on a port of the kernel's choice, or on this one. */
struct wsock ws_listener(struct work *work);
struct wsock ws_listener_on(struct work *work, uint16_t port);
/* The descriptor of an accepted connection. */
int ws_accept(const struct wsock *listener);
/* Connects to the listener: the descriptor of the other end. */
int ws_join(struct wsock *client, const struct wsock *listener);

/* The socket with its descriptor over a Unix socket of datagrams, and out of one. */
void ws_pass(int way, const struct wsock *s);
void ws_take(int way, struct wsock *s);

/* A child of the workload running fn(work, arg), and its end. */
pid_t work_spawn(struct work *work, void (*fn)(struct work *work, void *arg), void *arg);
void work_reap(struct work *work, pid_t pid);

#endif
