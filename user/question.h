/* SPDX-License-Identifier: GPL-2.0 */
/* What can be asked of a port: "PORT[-PORT][/PROTO]", and in a line "PORT[/PROTO] [TIME]". Pure. */
#ifndef PORTWAKE_USER_QUESTION_H
#define PORTWAKE_USER_QUESTION_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/event.h"
#include "user/clock.h"
#include "user/num.h"

struct question {
	uint16_t first, last;
	unsigned int protos;	/* enum pw_proto mask, never 0 */
	bool any_proto;		/* none was named: what nobody means may go unsaid */
	struct moment time;	/* last 0: now */
};

static inline bool question_is_past(const struct question *q)
{
	return q->time.last;
}

/*
 * protos: for a question that names none; 0: any. now: ns since 1970. 0, or -EINVAL with why[] naming the text and the
 * remedy.
 */
int question_parse(const char *text, unsigned int protos, struct question *out, char *why, size_t size);
int question_parse_line(const char *line, unsigned int protos, uint64_t now, struct question *out, char *why, size_t size);

/* Those that can be asked about: IPPROTO_*, in the order of the answers. */
#define QUESTION_PROTOS 3
extern const uint8_t question_protos[QUESTION_PROTOS];

/* enum pw_proto */
unsigned int question_proto_bit(uint8_t proto);

/* Hardly anybody means UDP-Lite: where nobody holds it, and it was not named, nothing is said. */
bool question_may_be_silent(const struct question *question, uint8_t proto);

/* Adds its ports and protocols to a filter; of one that asks for the past, nothing. */
void question_widen(const struct question *question, struct port_set *ports, unsigned int *protos);

#endif
