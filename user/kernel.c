/* SPDX-License-Identifier: GPL-2.0 */
/* Questions to the running kernel. */
#include "user/kernel.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>

#include "user/base.h"

static void btf_freep(struct btf **btf)
{
	btf__free(*btf);
	*btf = NULL;
}

#define _cleanup_btf_ _cleanup_(btf_freep)

static int compare_names(const void *left, const void *right)
{
	const struct kernel_function *a = left, *b = right;

	return strcmp(a->name, b->name);
}

/* Of the types from `first` on; those found get their own id, or the one given. */
static void find_functions(const struct btf *btf, uint32_t first, struct kernel_function *functions, size_t count,
			   uint32_t id_instead)
{
	uint32_t end = btf__type_cnt(btf);

	for (uint32_t id = first; id < end; id++) {
		const struct btf_type *type = btf__type_by_id(btf, id);
		struct kernel_function wanted = { 0 }, *found;

		if (BTF_INFO_KIND(type->info) != BTF_KIND_FUNC)
			continue;
		wanted.name = btf__name_by_offset(btf, type->name_off);
		found = bsearch(&wanted, functions, count, sizeof(*functions), compare_names);
		if (found && !found->id)
			found->id = id_instead ? id_instead : id;
	}
}

int kernel_functions(struct kernel_function *functions, size_t count)
{
	_cleanup_btf_ struct btf *vmlinux = btf__load_vmlinux_btf(), *ipv6 = NULL;

	if (!vmlinux)
		return -errno;
	find_functions(vmlinux, 1, functions, count, 0);
	/* The one module that ports are taken in. */
	if (access("/sys/kernel/btf/ipv6", R_OK))
		return 0;
	ipv6 = btf__load_module_btf("ipv6", vmlinux);
	if (ipv6)
		find_functions(ipv6, btf__type_cnt(vmlinux), functions, count, KERNEL_IN_MODULE);
	return 0;
}

int kernel_try_fentry(uint32_t function_id)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_prog_load_opts opts = {
		.sz = sizeof(opts), .expected_attach_type = BPF_TRACE_FENTRY, .attach_btf_id = function_id,
	};
	_cleanup_close_ int program = bpf_prog_load(BPF_PROG_TYPE_TRACING, "portwake_ask", "GPL", nothing,
						    ARRAY_SIZE(nothing), &opts);
	_cleanup_close_ int link = -1;

	if (program < 0)
		return -errno;
	link = bpf_raw_tracepoint_open(NULL, program);
	return link < 0 ? -errno : 0;
}

bool kernel_has_kprobes(void)
{
	return !access("/sys/bus/event_source/devices/kprobe/type", R_OK);
}

uint64_t kernel_symbol(const char *name)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/kallsyms", "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		char *end, *word;
		unsigned long long address = strtoull(line, &end, 16);

		/* "ffffffff81000000 T name", and of a module "\t[module]" behind it. */
		if (end[0] != ' ' || !end[1] || end[2] != ' ')
			continue;
		word = end + 3;
		word[strcspn(word, "\t\n")] = '\0';
		if (!strcmp(word, name))
			return address;
	}
	return 0;
}
