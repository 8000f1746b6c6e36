/* SPDX-License-Identifier: GPL-2.0 */
/* The ephemeral range of a network namespace. */
#include "user/range.h"

#include <fcntl.h>
#include <string.h>

#include "user/mem.h"

static int read_port(const char **at, unsigned long *out)
{
	char *end;

	if (**at < '0' || **at > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoul(*at, &end, 10);
	*at = end;
	return errno || *out >= NUM_PORTS ? -EINVAL : 0;
}

/* The kernel's own form of a list: num_port_list()'s, but that it may be empty and hold port 0. */
static int parse_list(const char *text, struct port_set *out)
{
	unsigned long first, last;

	if (*text == '\n' || !*text)
		return 0;
	for (;; text++) {
		if (read_port(&text, &first))
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text++;
			if (read_port(&text, &last) || last < first)
				return -EINVAL;
		}
		for (unsigned long port = first; port <= last; port++)
			port_set_add(out, (uint16_t)port);
		if (*text != ',')
			return *text && strcmp(text, "\n") != 0 ? -EINVAL : 0;
	}
}

int range_parse(const char *text, const char *reserved, struct range *out)
{
	struct range range = { .known = true };
	unsigned long low, high;

	if (read_port(&text, &low) || (*text != '\t' && *text != ' '))
		return -EINVAL;
	text++;
	if (read_port(&text, &high) || high < low || (*text && strcmp(text, "\n") != 0))
		return -EINVAL;
	if (parse_list(reserved, &range.reserved))
		return -EINVAL;
	range.low = (uint16_t)low;
	range.high = (uint16_t)high;
	*out = range;
	return 0;
}

/* proc_do_large_bitmap() gives all it has to the first read() and nothing to a second: no stdio here. */
static int read_setting(const char *name, char *text, size_t size)
{
	char path[96];
	_cleanup_close_ int fd = -1;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : read(fd, text, size - 1);
	if (got < 0)
		return -errno;
	text[got] = '\0';
	return 0;
}

/* One number; other when the kernel lacks it. */
static unsigned long read_number(const char *name, unsigned long other)
{
	const char *at;
	char text[32] = "";
	unsigned long number;

	if (read_setting(name, text, sizeof(text)))
		return other;
	at = text;
	return read_port(&at, &number) ? other : number;
}

int range_read(struct range *out)
{
	_cleanup_(freep) char *reserved = pw_calloc(1, RANGE_LIST_MAX);
	char range[64] = "";
	int r = reserved ? 0 : -ENOMEM;

	*out = (struct range){ 0 };
	if (!r)
		r = read_setting("ip_local_port_range", range, sizeof(range));
	if (!r)
		r = read_setting("ip_local_reserved_ports", reserved, RANGE_LIST_MAX);
	if (!r)
		r = range_parse(range, reserved, out);
	if (r)
		return r;
	out->unprivileged_start = (uint32_t)read_number("ip_unprivileged_port_start", 1024);
	out->tw_reuse = (uint8_t)read_number("tcp_tw_reuse", 0);
	return 0;
}

unsigned int range_size(const struct range *range)
{
	return range->known ? range->high - range->low + 1u : 0;
}

unsigned int range_usable_count(const struct range *range)
{
	unsigned int count = 0;

	for (unsigned int port = range->low; port <= range->high; port++)
		count += range_usable(range, (uint16_t)port);
	return count;
}

unsigned int range_reserved_count(const struct range *range)
{
	return range_size(range) - range_usable_count(range);
}

int range_list(const struct port_set *ports, struct buf *out)
{
	const char *comma = "";

	for (unsigned int first = 0, last; first < NUM_PORTS; first = last + 1) {
		last = first;
		if (!port_set_has(ports, (uint16_t)first))
			continue;
		while (last + 1 < NUM_PORTS && port_set_has(ports, (uint16_t)(last + 1)))
			last++;
		if (last > first)
			buf_printf(out, "%s%u-%u", comma, first, last);
		else
			buf_printf(out, "%s%u", comma, first);
		comma = ",";
	}
	return buf_error(out);
}

int range_reserve(const struct range *range, const struct port_set *more, struct buf *out)
{
	struct port_set all = range->reserved;

	for (size_t i = 0; i < ARRAY_SIZE(all.bits); i++)
		all.bits[i] |= more->bits[i];
	return range_list(&all, out);
}
