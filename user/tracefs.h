/* SPDX-License-Identifier: GPL-2.0 */
/* Events of tracefs, whether that is mounted or not. */
#ifndef PORTWAKE_USER_TRACEFS_H
#define PORTWAKE_USER_TRACEFS_H

/*
 * A perf event of "syscalls/sys_exit_bind" and the like, for a BPF program to be
 * attached to: a descriptor, or -errno. Where tracefs is not mounted, a mount
 * of our own is made that nobody else sees and that is gone again on return.
 */
int tracefs_open_event(const char *name);

#endif
