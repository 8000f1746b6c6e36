/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Giving privilege up, for good: user, groups, capabilities, system calls. The
 * one user of libcap and libseccomp. To be called while the process has one
 * thread, which those begun later inherit from.
 */
#ifndef PORTWAKE_USER_PRIVILEGE_H
#define PORTWAKE_USER_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PRIVILEGE_USER "portwake"

struct privilege_user {
	uid_t uid;
	gid_t gid;
};

/*
 * The user that the recorder becomes, and its group. Makes both (useradd --system) where there are none; *made tells.
 * 0, or -errno with one line in why[].
 */
int privilege_user(struct privilege_user *out, bool *made, char *why, size_t why_size);

/*
 * What whoever started the program had open, and left to it: all from 3 on, and stdin, which is /dev/null then. The program's
 * own are known by O_CLOEXEC. 0, or -errno with why.
 */
int privilege_let_go(char *why, size_t why_size);

/*
 * All of it: becomes that user with no supplementary group, no capability in any set nor to be had again, not to be
 * traced or dumped, no system call but those that recording takes: any other returns EPERM. 0, or -errno with why.
 */
int privilege_drop(const struct privilege_user *user, char *why, size_t why_size);

/*
 * All but what a broker answers with: remains root, keeps the capabilities that looking at other processes, network
 * namespaces and the kernel's BPF objects takes, and CAP_KILL if may_kill. The same.
 */
int privilege_keep_some(bool may_kill, char *why, size_t why_size);

#endif
