/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The broker: a process that is forked once tracing has begun, keeps the few
 * capabilities that looking takes, and answers a fixed set of questions of a
 * recorder that has none. It trusts nothing that it is asked: a question that is
 * not one of these, to the byte, is its end. It ends with the recorder, and with
 * it, nothing being pinned, all that was attached.
 *
 * The other way round the recorder trusts the broker.
 */
#ifndef PORTWAKE_USER_BROKER_H
#define PORTWAKE_USER_BROKER_H

#include "user/dbfile.h"
#include "user/identity.h"
#include "user/view.h"

struct broker_options {
	struct probe *probe;			/* all borrowed */
	const struct probe_options *filter;
	const struct dbfile *dbfile;
	int cgroup_root;
	pid_t command;				/* that it may send signals to; 0: none */
};

struct broker;

/* Forks it. To be called by a process of one thread. 0, or -errno with why. */
int broker_start(const struct broker_options *options, struct broker **out, char *why, size_t why_size);
/* Ends it and waits for that: not for long, where it hangs. */
void broker_free(struct broker **broker);

pid_t broker_pid(const struct broker *broker);

/* What it is asked, as others know it. An answer that takes unbearably long is one of -ETIMEDOUT. */
struct view broker_view(struct broker *broker);
struct identity_ask broker_identity(struct broker *broker);

/* dbfile_is() */
bool broker_file_is(struct broker *broker, uint64_t dev, uint64_t ino);
/* dbfile_open() */
int broker_files(struct broker *broker, struct store_files *out, char *why, size_t why_size);

/* dbfile_left() */
bool broker_left(struct broker *broker, char *out, size_t size);

#define _cleanup_broker_ _cleanup_(broker_free)

#endif
