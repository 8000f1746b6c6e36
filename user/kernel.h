/* SPDX-License-Identifier: GPL-2.0 */
/* What this kernel offers to the better rungs, asked at little cost before anything of ours is loaded. */
#ifndef PORTWAKE_USER_KERNEL_H
#define PORTWAKE_USER_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel_function {
	const char *name;	/* asked for; sorted by it, no two alike */
	uint32_t id;		/* in the BTF of vmlinux; KERNEL_IN_MODULE; 0: this kernel has no such function */
};

#define KERNEL_IN_MODULE UINT32_MAX

/* Fills in the ids from BTF, in which pahole lists functions that can be traced. 0 or -errno. */
int kernel_functions(struct kernel_function *functions, size_t count);

/* Loads an empty program and attaches it to the entry of a function of vmlinux. 0, or what the kernel answered. */
int kernel_try_fentry(uint32_t function_id);

/* Is the kprobe PMU there (CONFIG_KPROBE_EVENTS)? */
bool kernel_has_kprobes(void);

/* The address of a symbol in /proc/kallsyms; 0: not there, or hidden (kernel.kptr_restrict). */
uint64_t kernel_symbol(const char *name);

#endif
