/* SPDX-License-Identifier: GPL-2.0 */
/* What can be asked of a port: "PORT[-PORT][/PROTO]", and in a line "PORT[/PROTO] [TIME]". Pure. */
#ifndef PORTWAKE_USER_QUESTION_H
#define PORTWAKE_USER_QUESTION_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/event.h"
#include "user/num.h"

struct question {
	uint16_t first, last;
	unsigned int protos;	/* enum pw_proto mask, never 0 */
	bool any_proto;		/* none was named: what nobody means may go unsaid */
	uint64_t time;		/* ns since 1970; 0: now */
};

/* protos: for a question that names none; 0: any. 0, or -EINVAL with why[] naming the text and the remedy. */
int question_parse(const char *text, unsigned int protos, struct question *out, char *why, size_t size);
int question_parse_line(const char *line, unsigned int protos, struct question *out, char *why, size_t size);

/* Adds its ports and protocols to a filter; of one that asks for the past, nothing. */
void question_widen(const struct question *question, struct port_set *ports, unsigned int *protos);

#endif
