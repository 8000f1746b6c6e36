/* SPDX-License-Identifier: GPL-2.0 */
/* Denials: what a workload knows was denied to it, and the comparison with what was told. */
#ifndef E2E_WISH_H
#define E2E_WISH_H

#include "tests/e2e/case.h"

#define WISHES 4096
#define WISH_ADVICE 8192

/* The range that was used up, as it is to be told. */
struct wish_range {
	uint16_t low, high;
	int reserved, held, sockets, time_wait;
	pid_t top;		/* 0: nobody known */
	int top_sockets;
	uint16_t remote_port;	/* where most go; 0: nowhere */
};

/* What has to be told of one denial. Words are the program's own constants. */
struct wish {
	const char *call, *cause;
	int err, proto;
	enum fam fam;
	uint16_t port, remote_port;
	char addr[ADDR_TEXT];
	pid_t pid;
	pid_t holder;		/* of the first one listed; 0: none is to be listed */
	const char *state;
	uint16_t holder_remote;
	bool accepted;
	char holder_addr[ADDR_TEXT];	/* "": any */
	int holders;		/* how many there are in all; 0: any number */
	int64_t at;		/* when it failed, now_ns() */
	int64_t until;		/* end of the holder's TIME_WAIT, now_ns(); 0: it is in none */
	const char *says[3];	/* parts of the advice */
	const char *says_not;	/* nor this */
	struct wish_range range;	/* high 0: not compared */
};

/* In memory that the workload shares with the test. */
struct wishes {
	size_t count;
	_Atomic size_t told;	/* denials seen so far */
	_Atomic bool done;	/* the workload is at its end */
	bool hasty;		/* the calls do not wait for one another to be told */
	char advice[WISH_ADVICE];	/* of the last one seen, a line each */
	struct wish list[WISHES];
};

/* ---- the workload's side: plain sockets; what a call returns is 0 or -errno ---- */

int wish_sock(enum fam fam, int proto);
int wish_own(int fd, enum fam fam, enum where where, uint16_t port);
int wish_join(int fd, enum fam fam, uint16_t port);
int wish_tell(int fd, enum fam fam, uint16_t port);
/* Ends the workload unless result is 0. */
void wish_must(int result, const char *what);
/* Sets an option of SOL_SOCKET; returns fd. */
int wish_with(int fd, int option);
uint16_t wish_port(int fd);
int wish_listener(int fd, enum fam fam, enum where where, uint16_t port);

/* A call that failed with err, as it should: what is to be told of it, to be completed by the caller. */
struct wish *wish_denied(struct work *work, const char *call, int result, int err, const char *cause, enum fam fam,
			 int proto);
/* A bind() that fails for one holder in that state, which is a loopback socket of the same process. Closes fd. */
struct wish *wish_conflict(struct work *work, int fd, enum fam fam, int proto, enum where where, uint16_t port,
			   const char *state);

/* Does what the last denial advised of that sysctl, to the letter, and waits until no sum of before is told. */
void wish_apply(struct work *work, const char *name);
void wish_set(const char *name, const char *value);

/* What another process holds. */
struct wish_held {
	enum fam fam;
	int proto;
	enum where where;
	uint16_t port;		/* to bind to; 0: it does not bind */
	int option;		/* of SOL_SOCKET, set before that; 0: none */
	bool listens;
	uid_t uid;
	uint16_t to;		/* that it connects to; 0: nowhere */
	const char *device;
	int sockets;		/* of that kind; 0: one */
	_Atomic uint16_t kept;	/* the port it has in the end, of the last socket */
};

/* A child that holds it until wish_let_go(); what it has is in *keep. */
pid_t wish_keep(struct work *work, struct wish_held *keep);
void wish_let_go(pid_t pid);

/* ---- the test's side ---- */

/* Runs fn in a namespace of its own under a tracer with these arguments, and compares; none: nothing is to be told. */
void wish_check(void (*fn)(struct work *work), const char *const *args, bool none);

#endif
