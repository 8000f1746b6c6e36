/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Clocks, in nanoseconds. Records carry CLOCK_BOOTTIME, as bpf_ktime_get_boot_ns() gives it; what is shown is
 * CLOCK_REALTIME: boottime plus clock_offset().
 */
#ifndef PORTWAKE_USER_CLOCK_H
#define PORTWAKE_USER_CLOCK_H

#include <stdint.h>

#include "user/base.h"

/* "2026-11-20T12:03:07.123456789Z" and a NUL. */
#define CLOCK_TEXT_SIZE 31

uint64_t now_boottime(void);
uint64_t now_realtime(void);

/* CLOCK_REALTIME - CLOCK_BOOTTIME, from the tightest of several bracketed reads: good to well below a microsecond
 * on an idle machine. It changes when the wall clock is set. */
int64_t clock_offset(void);

/* RFC 3339, UTC, of nanoseconds since 1970. Pure. Returns out. */
char *clock_format(uint64_t realtime_ns, char out[CLOCK_TEXT_SIZE]);

/*
 * "2026-11-20T12:03:07.5Z", "2026-11-20T13:03:07+01:00", "2026-11-20 12:03:07" (local time): after 1970 and with up to
 * nine decimals. 0 or -EINVAL, and then *out is untouched.
 */
int clock_parse(const char *text, uint64_t *out);

#endif
