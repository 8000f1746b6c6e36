/* SPDX-License-Identifier: GPL-2.0 */
/* Denials: what a workload knows was denied to it, and the comparison with what was told. */
#ifndef E2E_WISH_H
#define E2E_WISH_H

#include "tests/e2e/case.h"

#define WISHES 4096

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
	bool owner_unknown;	/* the holder's process need not be known */
	int64_t at;		/* when it failed, now_ns() */
	int64_t until;		/* end of the holder's TIME_WAIT, now_ns(); 0: it is in none */
	const char *says[3];	/* parts of the advice */
};

/* In memory that the workload shares with the test. */
struct wishes {
	size_t count;
	_Atomic size_t told;	/* denials seen so far */
	_Atomic bool done;	/* the workload is at its end */
	bool hasty;		/* the calls do not wait for one another to be told */
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
/* A bind() that fails for a holder in that state, which is a socket of the same process. Closes fd. */
struct wish *wish_conflict(struct work *work, int fd, enum fam fam, int proto, enum where where, uint16_t port,
			   const char *state);

/* ---- the test's side ---- */

/* Runs fn in a namespace of its own under a tracer with these arguments, and compares; none: nothing is to be told. */
void wish_check(void (*fn)(struct work *work), const char *const *args, bool none);

#endif
