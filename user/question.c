/* SPDX-License-Identifier: GPL-2.0 */
/* Questions, as they are typed and as lines of a file have them. */
#include "user/question.h"

#include <netinet/in.h>
#include <string.h>

const uint8_t question_protos[QUESTION_PROTOS] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE };

unsigned int question_proto_bit(uint8_t proto)
{
	return proto == IPPROTO_TCP ? PW_PROTO_TCP : proto == IPPROTO_UDP ? PW_PROTO_UDP : PW_PROTO_UDPLITE;
}

bool question_may_be_silent(const struct question *q, uint8_t proto)
{
	return proto == IPPROTO_UDPLITE && q->any_proto;
}

static int refuse(char *why, size_t size, const char *text, const char *reason)
{
	snprintf(why, size, "'%s' is not PORT[-PORT][/PROTO]: %s", text, reason);
	return -EINVAL;
}

static int parse_ports(char *text, struct question *q)
{
	char *dash = strchr(text, '-');
	uint64_t first, last;

	if (dash)
		*dash++ = '\0';
	if (num_u64(text, 1, NUM_PORTS - 1, &first))
		return -EINVAL;
	last = first;
	if (dash && num_u64(dash, first, NUM_PORTS - 1, &last))
		return -EINVAL;
	q->first = (uint16_t)first;
	q->last = (uint16_t)last;
	return 0;
}

int question_parse(const char *text, unsigned int asked, struct question *out, char *why, size_t size)
{
	struct question q = { .protos = asked, .any_proto = !asked };
	char copy[64], *slash;

	if (strlen(text) >= sizeof(copy))
		return refuse(why, size, text, "it is too long");
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash)
		*slash++ = '\0';
	if (parse_ports(copy, &q))
		return refuse(why, size, text, "a port is a number from 1 to 65535, a range runs upward; "
			      "as in 443, 53/udp, 8000-8099/tcp");
	if (slash && (strchr(slash, ',') || num_proto_list(slash, &q.protos)))
		return refuse(why, size, text, "the protocol is tcp, udp or udplite");
	if (slash)
		q.any_proto = false;
	if (!q.protos)
		q.protos = PW_PROTO_TCP | PW_PROTO_UDP | PW_PROTO_UDPLITE;
	*out = q;
	return 0;
}

int question_parse_line(const char *line, unsigned int asked, uint64_t now, struct question *out, char *why, size_t size)
{
	struct question q;
	char word[64], shown[64];
	size_t length;
	int r;

	line += strspn(line, " \t");
	length = strcspn(line, " \t\r");
	if (!length) {
		snprintf(why, size, "the line is empty; as in 443, 53/udp, or 60420/tcp 2026-11-20T12:03:07Z");
		return -EINVAL;
	}
	snprintf(word, sizeof(word), "%.*s", (int)length, line);
	if (length >= sizeof(word))
		return refuse(why, size, word, "it is too long");
	r = question_parse(word, asked, &q, why, size);
	if (r)
		return r;
	line += length;
	line += strspn(line, " \t\r");
	for (length = strlen(line); length && strchr(" \t\r", line[length - 1]);)
		length--;
	snprintf(shown, sizeof(shown), "%.*s", (int)length, line);
	if (*shown && clock_moment(shown, now, &q.time, why, size))
		return -EINVAL;
	*out = q;
	return 0;
}

void question_widen(const struct question *q, struct port_set *ports, unsigned int *asked)
{
	if (question_is_past(q))
		return;
	for (unsigned int port = q->first; port <= q->last; port++)
		port_set_add(ports, (uint16_t)port);
	*asked |= q->protos;
}
