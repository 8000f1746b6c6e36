/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The cgroup v2 hierarchy: its root to attach to, and a cgroup's path by its
 * id. It is reached by fsopen(2) and fsmount(2): a mount of our own that no
 * mount table shows, so it works where /sys/fs/cgroup was never mounted, is
 * version 1, or is hidden by the /sys of an `ip netns exec` shell.
 */
#ifndef PORTWAKE_USER_CGROUP_H
#define PORTWAKE_USER_CGROUP_H

#include <stddef.h>
#include <stdint.h>

#include "user/base.h"

/* A descriptor of the root as this cgroup namespace sees it, or -errno. */
int cgroup_open_root(void);

/* The path below the root of the cgroup with this id, "/" for the root itself. 0 or -errno (-ESTALE: it is gone). */
int cgroup_path(int root, uint64_t id, char *out, size_t size);

/* The id of the cgroup at path: absolute in a mounted hierarchy, or below the root. 0 or -errno. */
int cgroup_id(int root, const char *path, uint64_t *out);

#endif
