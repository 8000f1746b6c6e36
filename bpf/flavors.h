/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Constants of the kernel that BTF does not carry. Struct flavours for fields
 * that moved between kernels belong here too, each with its kernel commit.
 */
#ifndef PORTWAKE_BPF_FLAVORS_H
#define PORTWAKE_BPF_FLAVORS_H

#include "vmlinux.h"

#define AF_UNSPEC 0
#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_UDPLITE 136
#define IPPROTO_MPTCP 262
#define ECONNABORTED 103
#define PF_KTHREAD 0x00200000		/* include/linux/sched.h */
#define SOCK_BINDPORT_LOCK 8		/* include/net/sock.h: the port was asked for by number */

#endif
