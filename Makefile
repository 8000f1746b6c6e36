# SPDX-License-Identifier: GPL-2.0
# portwake: `make help` lists the targets.

O	?= build
V	?= 0
CLANG	?= clang
LLVM_STRIP ?= llvm-strip
PREFIX	?= /usr/local
# Debian keeps bpftool in /usr/sbin, which the PATH of a plain user lacks.
BPFTOOL	?= $(or $(shell PATH="$$PATH:/usr/sbin:/sbin" command -v bpftool),bpftool)
HOST_ARCH := $(shell uname -m)
ARCH	?= $(HOST_ARCH)
CACHE	?= $(or $(XDG_CACHE_HOME),/var/cache)/portwake

# For another architecture: Debian's cross compiler, and the libraries that scripts/fetch-sysroot unpacks.
ifneq ($(ARCH),$(HOST_ARCH))
CROSS	:= $(ARCH)-linux-gnu-
SYSROOT	:= $(CACHE)/sysroot-$(ARCH)
LIBRARIES := $(addsuffix /$(ARCH)-linux-gnu,$(SYSROOT)/lib $(SYSROOT)/usr/lib)
endif
ifeq ($(origin CC),default)
CC	:= $(CROSS)gcc
endif
ifeq ($(origin AR),default)
AR	:= $(CROSS)ar
endif
Q	:= $(if $(filter 1,$(V)),,@)
say	 = $(if $(filter 1,$(V)),:,printf '  %-8s %s\n') $(1) $(2)

BPF_ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(ARCH)))

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	    -Wpointer-arith -Wvla -Wwrite-strings -Wformat=2 -Wundef -Werror
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

CFLAGS	?= -O2 -g
# Empty, as a `#define _GNU_SOURCE` in a file is: the two may meet.
CPPFLAGS += -D_GNU_SOURCE= -iquote . -iquote $(O)
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARNINGS) $(SYSROOT:%=--sysroot=%) $(if $(SANITIZE),$(SANITIZERS))
ALL_LDFLAGS = $(LDFLAGS) $(if $(SANITIZE),$(SANITIZERS))
LDLIBS	+= -lbpf -ljansson -lmnl -lsqlite3 -lcap -lseccomp -pthread
# pid, start time and the like are compared across the boundary: -mcpu=v3 has 32-bit compares and is known to
# every kernel from 5.15 on.
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) -D__VMLINUX_H__ -iquote . -I vmlinux \
	      -Wall -Wextra -Wno-unused-parameter -Werror

SRCS	?= $(sort $(wildcard user/*.c))
OBJS	:= $(SRCS:%.c=$(O)/%.o)
LIB	:= $(O)/libportwake.a
SKEL	:= $(O)/portwake.skel.h
UNIT	:= $(patsubst %.c,$(O)/%,$(sort $(wildcard tests/unit/test_*.c)))
UNIT_OBJS := $(patsubst %.c,$(O)/%.o,$(filter-out tests/unit/test_%,$(sort $(wildcard tests/unit/*.c))))
E2E_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/e2e/*.c)))
GOLDEN_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/golden/*.c)))
E2E	:= $(if $(E2E_OBJS),$(O)/e2e)
GOLDEN	:= $(if $(GOLDEN_OBJS),$(O)/golden)
BENCH	:= $(patsubst tests/bench/%.c,$(O)/bench-%,$(sort $(wildcard tests/bench/*.c)))
COST_OBJS := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/bench/cost/*.c)))
TIDY	:= $(SRCS:%.c=$(O)/lint/%.tidy)

# The parts of `make check`, in this order; golden and e2e once their sources are there. The guests run beside them.
PARTS	:= layers unit $(if $(GOLDEN),golden) $(if $(E2E),e2e) asan lint counts -- kernels

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY: $(UNIT:=.o) $(UNIT_OBJS) $(BENCH:$(O)/bench-%=$(O)/tests/bench/%.o)
.PHONY: all arm64 tests run check check-layers check-unit check-golden check-e2e check-asan check-lint check-counts check-kernels bench \
	lint-tidy vmlinux install uninstall clean help

all: $(O)/portwake			## build the program: $(O)/portwake (the default; O=build, CC=, V=1)

# A build with other flags or another compiler in the same place is a new build.
FLAGS	:= $(CC) $(CLANG) $(CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LDLIBS) $(BPF_CFLAGS)
ifneq ($(filter-out clean help run check check-layers vmlinux uninstall,$(or $(MAKECMDGOALS),all)),)
ifneq ($(strip $(file <$(O)/flags)),$(strip $(FLAGS)))
$(shell mkdir -p $(O))
$(file >$(O)/flags,$(FLAGS))
endif
endif
$(O)/flags: ;

$(O)/portwake.bpf.o: bpf/portwake.bpf.c $(O)/flags
	@$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c -o $@ $<
	$(Q)$(LLVM_STRIP) -g $@

$(SKEL): $(O)/portwake.bpf.o
	@$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name portwake_bpf >$@

$(O)/%.o: %.c $(O)/flags | $(SKEL)
	@$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The table of ports is part of the program: .incbin, which no compiler reports as a dependency.
$(O)/user/annotate.o: data/ports.tsv
# So are the history's.
$(O)/user/store_file.o: data/schema.sql

$(LIB): $(filter-out $(O)/user/main.o,$(OBJS))
	@$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/portwake: $(OBJS)
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJS) $(LDLIBS)

ARM64	:= ARCH=aarch64 CC=aarch64-linux-gnu-gcc O=$(O)/arm64

arm64:					## build the program for arm64: $(O)/arm64/portwake, on any machine
	$(Q)scripts/install-deps arm64
	$(Q)CACHE='$(CACHE)' scripts/fetch-sysroot
	$(Q)$(MAKE) --no-print-directory $(ARM64) all

tests: $(UNIT) $(GOLDEN) $(E2E)		## build every test program

# A static function that nobody calls is a test left out of its table.
$(O)/tests/%.o: ALL_CFLAGS += -Werror=unused-function

$(O)/tests/unit/%: $(O)/tests/unit/%.o $(UNIT_OBJS) $(LIB)
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(UNIT_OBJS) $(LIB) -lcmocka $(LDLIBS) -lm

$(O)/golden: $(GOLDEN_OBJS) $(LIB)
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(GOLDEN_OBJS) $(LIB) -lcmocka $(LDLIBS)

$(O)/e2e: $(E2E_OBJS)
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -pthread -o $@ $^ -lcmocka -ljansson -lsqlite3

# Stdout is the tracer's alone.
run: 					## install what a build needs, build, trace live (as root; ARGS='--json')
	$(Q)scripts/install-deps build
	$(Q)$(MAKE) --no-print-directory all >&2
	$(Q)scripts/give-back $(O)
	$(Q)$(O)/portwake live $(ARGS)

check:					## install what tests need, build, run every test (as root)
	$(Q)scripts/install-deps check
	$(Q)$(MAKE) --no-print-directory -j"$$(nproc)" all tests
	$(Q)MAKE='$(MAKE)' scripts/check $(O) $(PARTS); status=$$?; scripts/give-back $(O); exit $$status

check-layers:				## hold the order of the modules (scripts/check-layers)
	$(Q)scripts/run-tests layers -- scripts/check-layers

check-unit: $(UNIT)			## unit tests
	$(Q)scripts/run-tests unit -- $(UNIT)

check-golden: all $(GOLDEN)		## golden outputs (UPDATE=1 writes them anew)
	$(Q)PORTWAKE=$(abspath $(O)/portwake) scripts/run-tests golden -- $(GOLDEN)

check-e2e: all $(E2E)			## end to end, on this kernel; UDP again without denials, whose hooks it shares (as root)
	$(Q)PORTWAKE=$(abspath $(O)/portwake) scripts/run-tests e2e -- $(E2E)
	$(Q)E2E_NO_DENIED=1 PORTWAKE=$(abspath $(O)/portwake) scripts/run-tests e2e -- '$(E2E) udp/* udplite/*'

$(O)/bench-%: $(O)/tests/bench/%.o $(LIB)
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(LIB) $(LDLIBS)

$(O)/bench-cost: $(COST_OBJS)
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lbpf

# Not a part of `make check`: what it measures is worth nothing while anything else runs.
bench:					## what it costs, beside other tools, to docs/bench.md (as root; ROUNDS=7 WORK=tcp-reset,...)
	$(Q)scripts/install-deps bench
	$(Q)$(MAKE) --no-print-directory all $(BENCH) $(O)/bench-guest.cpio
	$(Q)O='$(O)' CACHE='$(CACHE)' scripts/bench $(BENCH)

$(O)/guest-init: tests/kernel/init.c $(O)/flags
	@$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -static -o $@ $<

$(O)/guest.cpio: $(O)/guest-init $(O)/portwake $(E2E) scripts/pack-guest
	@$(call say,CPIO,$@)
	$(Q)CC='$(CC)' LIBRARIES='$(LIBRARIES)' scripts/pack-guest $@ $(O)/guest-init $(O)/portwake $(E2E)

$(O)/bench-guest.cpio: $(O)/guest-init $(O)/portwake $(O)/bench-cost scripts/pack-guest
	@$(call say,CPIO,$@)
	$(Q)scripts/pack-guest $@ $(O)/guest-init $(O)/portwake $(O)/bench-cost /bin/sh

# Downloads kernels, once, to $(CACHE).
check-kernels:				## end to end, in emulated guests (KERNELS=KERNEL[:CONDITION[:TEST]], REFRESH=1, JOBS=3)
	$(Q)scripts/install-deps kernels
	$(Q)$(MAKE) --no-print-directory $(O)/guest.cpio arm64
	$(Q)$(MAKE) --no-print-directory $(ARM64) $(O)/arm64/guest.cpio
	$(Q)O='$(O)' scripts/run-tests kernels -- scripts/check-kernels

check-asan: $(E2E) $(GOLDEN)		## unit, golden and end-to-end tests under ASan and UBSan
	$(Q)$(MAKE) --no-print-directory O=$(O)/asan SANITIZE=1 -j"$$(nproc)" all tests
	$(Q)LABEL=asan- $(MAKE) --no-print-directory O=$(O)/asan SANITIZE=1 check-unit $(if $(GOLDEN),check-golden)
	$(Q)$(if $(E2E),PORTWAKE=$(abspath $(O)/asan/portwake) E2E_SLOW=3 LABEL=asan- scripts/run-tests e2e -- $(E2E))

check-lint: 				## clang-tidy and cppcheck
	$(Q)MAKE='$(MAKE)' O='$(O)' scripts/run-tests lint -- scripts/lint

check-counts: $(O)/bench-tracker $(O)/portwake.bpf.o	## instructions a record and a hook, beside those kept (UPDATE=1 writes them anew)
	$(Q)CC='$(CC)' CLANG='$(CLANG)' O='$(O)' scripts/run-tests counts -- scripts/check-counts

$(O)/lint/%.tidy: %.c $(O)/flags .clang-tidy $(wildcard user/*.h bpf/event.h) | $(SKEL)
	@$(call say,TIDY,$<)
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet $< -- $(CPPFLAGS) -std=gnu11 >$@.log 2>&1 || { cat $@.log; exit 1; }
	$(Q)mv $@.log $@

lint-tidy: $(TIDY)

vmlinux:				## write vmlinux/vmlinux.h anew from a kernel's BTF (BTF=FILE)
	$(Q)mkdir -p $(O)
	$(Q)scripts/gen-vmlinux $(BTF) >$(O)/vmlinux.h
	$(Q)cp $(O)/vmlinux.h vmlinux/vmlinux.h

UNIT_DIR := $(DESTDIR)$(PREFIX)/lib/systemd/system
SYSUSERS_DIR := $(DESTDIR)$(PREFIX)/lib/sysusers.d

install: all				## install the program and its unit (PREFIX=/usr/local, DESTDIR=)
	$(Q)install -D -m 755 $(O)/portwake $(DESTDIR)$(PREFIX)/sbin/portwake
	$(Q)install -D -m 644 data/portwake.sysusers $(SYSUSERS_DIR)/portwake.conf
	$(Q)install -D -m 644 data/portwake.service $(UNIT_DIR)/portwake.service
	$(Q)sed -i 's|/usr/local/sbin/|$(PREFIX)/sbin/|' $(UNIT_DIR)/portwake.service

uninstall:				## remove it again
	$(Q)rm -f $(DESTDIR)$(PREFIX)/sbin/portwake $(SYSUSERS_DIR)/portwake.conf $(UNIT_DIR)/portwake.service

clean:					## remove $(O)
	$(Q)rm -rf $(O)

help:					## this list
	@awk -F '\t+## ' '/^[a-z][a-z0-9-]*:.*\t## / { sub(/:.*/, "", $$1); printf "  %-14s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))

-include $(OBJS:.o=.d) $(O)/portwake.bpf.d $(BENCH:$(O)/bench-%=$(O)/tests/bench/%.d) $(COST_OBJS:.o=.d) $(UNIT:=.d) $(UNIT_OBJS:.o=.d) $(E2E_OBJS:.o=.d) $(GOLDEN_OBJS:.o=.d)
