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

/* ---- symbols ---- */

#define NAME_WORDS 16
#define NAME_AT (-4 * NAME_WORDS - 8)	/* on the stack, below the address */
#define INSN(code_, dst, src, off_, imm_) \
	{ .code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_), .imm = (imm_) }

/* bpf_kallsyms_lookup_name() of a name that lies on the stack, the answer into the context. */
static const struct bpf_insn look_up[] = {
	INSN(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -8, 0),
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0),
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0, 0),
	INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, 0, NAME_AT),
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 4 * NAME_WORDS),
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 0),
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_4, BPF_REG_10, 0, 0),
	INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_4, 0, 0, -8),
	INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_kallsyms_lookup_name),
	INSN(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_1, BPF_REG_10, -8, 0),
	INSN(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_6, BPF_REG_1, 0, 0),
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0),
	INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
};

/* Has the kernel look it up, from 5.16 on: no line for each symbol is written and read. 0: not told. */
static uint64_t ask_symbol(const char *name)
{
	struct bpf_insn program[NAME_WORDS + ARRAY_SIZE(look_up)];
	struct bpf_prog_load_opts opts = { .sz = sizeof(opts), .prog_flags = BPF_F_SLEEPABLE };
	int32_t words[NAME_WORDS] = { 0 };
	uint64_t address = 0;
	struct bpf_test_run_opts run = { .sz = sizeof(run), .ctx_in = &address, .ctx_size_in = sizeof(address) };
	_cleanup_close_ int fd = -1;

	if (strlen(name) >= sizeof(words))
		return 0;
	memcpy(words, name, strlen(name));
	for (int i = 0; i < NAME_WORDS; i++)
		program[i] = (struct bpf_insn)INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0,
						   (int16_t)(NAME_AT + 4 * i), words[i]);
	memcpy(program + NAME_WORDS, look_up, sizeof(look_up));
	fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "portwake_ask", "GPL", program, ARRAY_SIZE(program), &opts);
	return fd < 0 || bpf_prog_test_run_opts(fd, &run) ? 0 : address;
}

/* Is this line "ffffffff81000000 T name", of a module with "\t[module]" behind it, of this name? */
static bool is_line_of(const char *line, const char *name)
{
	const char *word = strchr(line, ' ');

	if (!word || !word[1] || word[2] != ' ')
		return false;
	word += 3;
	return strcspn(word, "\t\n") == strlen(name) && !strncmp(word, name, strlen(name));
}

static uint64_t read_symbol(const char *name)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/kallsyms", "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (is_line_of(line, name))
			return strtoull(line, NULL, 16);
	return 0;
}

uint64_t kernel_symbol(const char *name)
{
	uint64_t address = ask_symbol(name);

	return address ? address : read_symbol(name);
}
