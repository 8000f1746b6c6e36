/* SPDX-License-Identifier: GPL-2.0 */
/* Which process has a socket open, by /proc/PID/fd: slow, and for what was open before or is kept from the tracer. */
#ifndef PORTWAKE_USER_PROCFD_H
#define PORTWAKE_USER_PROCFD_H

#include <stddef.h>
#include <stdint.h>

#include "user/event.h"

#define PROCFD_MAX 16

/*
 * The process of each of these socket inodes (0: not sought), at most PROCFD_MAX
 * of them; pid 0 where there is none in view. Of several, one. Its start is that
 * of /proc, to the clock tick, and its cgroup is not told.
 */
void procfd_find(const uint32_t *inodes, size_t count, struct event_process *out);

#endif
