/* SPDX-License-Identifier: GPL-2.0 */
/* The broker's side of the socket. */
#ifndef PORTWAKE_USER_BROKER_SERVE_H
#define PORTWAKE_USER_BROKER_SERVE_H

#include "user/broker_wire.h"
#include "user/dbfile.h"

struct broker_serve {
	int socket;				/* all borrowed */
	struct probe *probe;
	const struct probe_options *filter;
	const struct dbfile *dbfile;
	int cgroup_root;
	int command;				/* a pidfd; -1: none */
};

/* Answers until the other end is gone: 0; -EPROTO at a question that is none; or -errno. */
int broker_serve(const struct broker_serve *serve);

#endif
