/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel side: one object, one skeleton. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "bpf/probe_fentry.h"
#include "bpf/probe_kprobe.h"
#include "bpf/probe_cgroup.h"
#include "bpf/probe_tracepoint.h"
#include "bpf/probe_syscall.h"
#include "bpf/probe_iter.h"

char LICENSE[] SEC("license") = "GPL";
