/* SPDX-License-Identifier: GPL-2.0 */
/* A command to trace: forked before tracing begins, so that its pid is known, and let go when that has. */
#ifndef PORTWAKE_USER_CHILD_H
#define PORTWAKE_USER_CHILD_H

#include <signal.h>
#include <sys/types.h>

#include "user/base.h"

struct child {
	pid_t pid;	/* 0: none, or reaped */
	int gate;	/* it begins when this pipe is written to; -1: it has begun */
};

#define CHILD_INIT ((struct child){ .gate = -1 })

/* mask: what it gets back of signals. 0 or -errno. */
int child_start(struct child *child, char *const *command, const sigset_t *mask);

/* Lets it begin, if that has not been done. 0 or -errno. */
int child_go(struct child *child);

/* Takes in a status of waitpid(2): the exit status, or 128 + signal. */
int child_status(int status);

#endif
