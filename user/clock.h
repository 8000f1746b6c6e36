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

/* A time as it was written, which is as long as its last digit says: 12:03 a minute, 12:03:07.5 a tenth of a second. */
struct moment {
	uint64_t first, last;	/* both are part of it; ns since 1970; equal for an instant */
};

#define CLOCK_MOMENTS "2026-11-20T12:03:07Z, 2026-11-20 12:03:07 or 12:03 (local time), -5m, @1795176187"

/*
 * What people write for a time that has been, after 1970, with up to nine decimals:
 *
 *	2026-11-20T12:03:07.5Z, 2026-11-20T13:03:07+01:00	RFC 3339
 *	2026-11-20 12:03:07.5, 2026-11-20T12:03, 2026-11-20	local time, as TZ has it
 *	12:03, 12:03:07						of today
 *	-5m, 90s, -2h, 7d, 1w					before now: an instant
 *	@1795176187.25						since 1970
 *
 * now: ns since 1970; what is written ends there at the latest. 0, or -EINVAL with *out untouched and why[] naming
 * the text and the remedy: it is none of these, it is still to come, or a local time that the clock had twice or
 * never, having been put back or forward.
 */
int clock_moment(const char *text, uint64_t now, struct moment *out, char *why, size_t size);

#endif
