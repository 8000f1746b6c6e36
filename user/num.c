/* SPDX-License-Identifier: GPL-2.0 */
/* Strict parsing of numbers. */
#include "user/num.h"

#include <string.h>
#include <strings.h>

#include "bpf/event.h"

#define NSEC_PER_SEC	1000000000ULL

/*
 * Reads digits from *at and leaves *at behind them. -EINVAL without a digit; -ERANGE past 64 bits, with *at behind
 * all digits all the same, so that the caller can tell a bad form first.
 */
static int digits(const char **at, uint64_t *out)
{
	const char *p = *at;
	uint64_t value = 0;
	bool over = false;

	for (; *p >= '0' && *p <= '9'; p++) {
		over |= __builtin_mul_overflow(value, 10, &value);
		over |= __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
	}
	if (p == *at)
		return -EINVAL;
	*at = p;
	*out = value;
	return over ? -ERANGE : 0;
}

static int bounded(int r, uint64_t value, uint64_t min, uint64_t max, uint64_t *out)
{
	if (r < 0)
		return r;
	if (value < min || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

int num_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t value;
	int r = digits(&text, &value);

	if (*text)
		return -EINVAL;
	return bounded(r, value, min, max, out);
}

static int port(const char **at, uint64_t *out)
{
	uint64_t value;
	int r = digits(at, &value);

	return bounded(r, value, 1, NUM_PORTS - 1, out);
}

/* "N" or "N-M". A bad form wins over a number out of bounds only up to where reading stopped. */
static int port_range(const char **at, struct port_set *set)
{
	uint64_t first, last;
	int r = port(at, &first);

	if (r < 0)
		return r;
	last = first;
	if (**at == '-') {
		(*at)++;
		r = port(at, &last);
		if (r < 0)
			return r;
	}
	if (last < first)
		return -EINVAL;
	for (uint64_t p = first; p <= last; p++)
		port_set_add(set, (uint16_t)p);
	return 0;
}

int num_port_list(const char *text, struct port_set *out)
{
	struct port_set set = { { 0 } };

	for (;;) {
		int r = port_range(&text, &set);

		if (r < 0)
			return r;
		if (!*text)
			break;
		if (*text++ != ',')
			return -EINVAL;
	}
	*out = set;
	return 0;
}

int num_size(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	static const char units[] = "KkMmGg";
	uint64_t value;
	int r = digits(&text, &value);

	if (r != -EINVAL && *text) {
		const char *unit = strchr(units, *text);

		if (!unit || text[1])
			return -EINVAL;
		if (r == 0 && __builtin_mul_overflow(value, 1ULL << (10 * ((unit - units) / 2 + 1)), &value))
			r = -ERANGE;
	}
	return bounded(r, value, min, max, out);
}

/* What stands behind the point, in billionths. */
static int fraction(const char **at, uint64_t *out)
{
	const char *start = *at;
	uint64_t value;
	int r = digits(at, &value);

	if (r < 0 || *at - start > 9)
		return -EINVAL;
	for (long n = *at - start; n < 9; n++)
		value *= 10;
	*out = value;
	return 0;
}

/* Nanoseconds of one unit, 0 for an unknown one. */
static uint64_t unit_ns(const char *text)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "", NSEC_PER_SEC }, { "s", NSEC_PER_SEC }, { "ms", NSEC_PER_SEC / 1000 },
		{ "m", 60 * NSEC_PER_SEC }, { "h", 3600 * NSEC_PER_SEC }, { "d", 86400 * NSEC_PER_SEC },
	};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text, units[i].name) == 0)
			return units[i].ns;
	}
	return 0;
}

int num_seconds(const char *text, uint64_t *out)
{
	uint64_t whole, billionths = 0, unit;
	unsigned __int128 ns;
	int r = digits(&text, &whole);

	if (r == -EINVAL)
		return r;
	if (*text == '.') {
		text++;
		if (fraction(&text, &billionths) < 0)
			return -EINVAL;
	}
	unit = unit_ns(text);
	if (!unit)
		return -EINVAL;
	ns = (unsigned __int128)whole * unit + (unsigned __int128)billionths * unit / NSEC_PER_SEC;
	if (r < 0 || ns > UINT64_MAX)
		return -ERANGE;
	*out = (uint64_t)ns;
	return 0;
}

static unsigned int proto_bit(const char *name, size_t len)
{
	static const struct {
		const char *name;
		unsigned int bit;
	} protos[] = { { "tcp", PW_PROTO_TCP }, { "udp", PW_PROTO_UDP }, { "udplite", PW_PROTO_UDPLITE } };

	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (strlen(protos[i].name) == len && strncasecmp(name, protos[i].name, len) == 0)
			return protos[i].bit;
	}
	return 0;
}

int num_proto_list(const char *text, unsigned int *out)
{
	unsigned int mask = 0, bit;

	for (;; text++) {
		size_t len = strcspn(text, ",");

		bit = proto_bit(text, len);
		if (!bit)
			return -EINVAL;
		mask |= bit;
		text += len;
		if (!*text)
			break;
	}
	*out = mask;
	return 0;
}
