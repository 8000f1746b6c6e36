/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who a process is: pid and start time to executable, cgroup path, container.
 * One struct process for each process as it was at an allocation; interned, so
 * that a lifetime costs a pointer. The cache is bounded and refers to /proc
 * only for processes that were there before tracing began.
 */
#ifndef PORTWAKE_USER_IDENTITY_H
#define PORTWAKE_USER_IDENTITY_H

#include <stdint.h>

#include "user/event.h"

struct process {
	struct process *idle_next, *idle_prev;	/* identity's own */
	uint64_t key;
	uint32_t refs;
	uint32_t pid;
	uint32_t uid;
	uint32_t exec_id;
	uint64_t start;		/* ns, CLOCK_BOOTTIME */
	uint64_t cgroup_id;
	char comm[PW_COMM];
	char *exe;		/* NULL: not known */
	char *cgroup;		/* path in cgroup v2; NULL: not known */
	char *container;	/* id or name, from the cgroup path; NULL: none or not known */
};

struct identity;

/* cgroup_root: cgroup_open_root()'s descriptor, borrowed, or -1. NULL without memory. */
struct identity *identity_new(int cgroup_root);
void identity_free(struct identity **identity);

/* Who is asked of what has not been told: /proc and the cgroup hierarchy, by whom the privilege it takes has. */
struct identity_ask {
	/* As identity_exe() and cgroup_path(). */
	int (*exe)(void *arg, uint32_t pid, uint64_t start, char *out, size_t size);
	int (*cgroup)(void *arg, uint64_t id, char *out, size_t size);
	void *arg;
};

/* From now on another than this process itself. */
void identity_ask_of(struct identity *identity, const struct identity_ask *ask);

/* Takes in a PW_PROCESS statement: the executable of what allocates next. Best effort. */
void identity_learn(struct identity *identity, const struct event *event);

/* A reference to the owner in a PW_SOCK statement; NULL when that has none (pid 0) or there is no memory. */
struct process *identity_owner(struct identity *identity, const struct event *event);

struct process *identity_ref(struct process *process);
void identity_put(struct identity *identity, struct process *process);

/*
 * The command line, its arguments divided by spaces and cut at size - 1 bytes. 0; -ENOENT when it has none (a kernel
 * thread, a process that is gone, or another one behind the same pid) or -errno.
 */
int identity_cmdline(const struct process *process, char *out, size_t size);

/* The executable of the process with this pid that began at start. 0; -ENOENT when it has none, or is gone; or -errno. */
int identity_exe(uint32_t pid, uint64_t start, char *out, size_t size);

/*
 * The container in a cgroup path, as Docker, containerd, CRI-O, Podman, LXC and
 * systemd-nspawn name theirs: points into path and sets *length; NULL: none. Pure.
 */
const char *identity_container(const char *path, size_t *length);

#define _cleanup_identity_ _cleanup_(identity_free)

#endif
