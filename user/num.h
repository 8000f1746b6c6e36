/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one strict parser of what users type: decimal digits, nothing before and nothing behind, no sign, no space.
 * Every function returns 0, -EINVAL (not of this form) or -ERANGE (of this form, but out of bounds), and
 * touches *out only when it returns 0.
 */
#ifndef PORTWAKE_USER_NUM_H
#define PORTWAKE_USER_NUM_H

#include <stdbool.h>
#include <stdint.h>

#include "user/base.h"

#define NUM_PORTS 65536

struct port_set {
	uint64_t bits[NUM_PORTS / 64];
};

static inline bool port_set_has(const struct port_set *set, uint16_t port)
{
	return set->bits[port / 64] >> (port % 64) & 1;
}

static inline void port_set_add(struct port_set *set, uint16_t port)
{
	set->bits[port / 64] |= 1ULL << (port % 64);
}

int num_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* "80", "1,5-9,60000-61000": ports 1 to 65535; a range runs upward. */
int num_port_list(const char *text, struct port_set *out);

/* Bytes: "4096", "64K", "8M", "1G" (powers of 1024; small letters too). */
int num_size(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* A length of time in nanoseconds: "5", "1.5", "250ms", "30s", "2m", "1h", "7d", up to nine decimals; no unit is s. */
int num_seconds(const char *text, uint64_t *out);

/* "tcp", "tcp,udp,udplite" to a mask of enum pw_proto (bpf/event.h). */
int num_proto_list(const char *text, unsigned int *out);

#endif
