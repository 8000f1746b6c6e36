/* SPDX-License-Identifier: GPL-2.0 */
/* Network namespaces: finding one by what a user types, and walking all that can be seen. */
#ifndef PORTWAKE_USER_NETNS_H
#define PORTWAKE_USER_NETNS_H

#include <stdbool.h>
#include <stdint.h>

#include "user/base.h"

/* A name in /run/netns, a path, or an inode number (taken as it is). 0, or -errno: -ENOENT when there is none, -EINVAL when
 * it is something else. */
int netns_resolve(const char *text, uint32_t *inode);

/*
 * Calls visit() in each network namespace in view: of this process, of every
 * process in /proc, and those mounted somewhere. wanted (count entries; count
 * 0: all) restricts it. Comes back to the one it began in. 0 or -errno; what
 * visit() returns other than 0 ends the walk and is returned.
 */
int netns_walk(const uint32_t *wanted, size_t count, int (*visit)(void *arg, uint32_t inode), void *arg);

/*
 * A path by which the namespace can be entered, as nsenter --net= takes it, of bytes that mean nothing to a shell. 0,
 * -ENOENT (none is in view) or -errno.
 */
int netns_path(uint32_t inode, char *path, size_t size);

/* The same in one, which the process with this pid (0: none) is probably in. What visit() returned; 0 when it is not in view. */
int netns_visit(uint32_t inode, uint32_t pid, int (*visit)(void *arg, uint32_t inode), void *arg);

#endif
