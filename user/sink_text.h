/* SPDX-License-Identifier: GPL-2.0 */
/* Lines as text columns, for people. Process names and paths are escaped: they cannot disturb the terminal. */
#ifndef PORTWAKE_USER_SINK_TEXT_H
#define PORTWAKE_USER_SINK_TEXT_H

#include "user/annotate.h"
#include "user/output.h"

struct sink_text {
	const struct annotate_table *annotations;
	bool colour;
	bool headed;		/* the head of the columns is out */
};

/* A line_format_fn; arg is a struct sink_text *. Times are local. */
void sink_text_format(void *text, const struct line *line, struct buf *out);

/* "950us", "1.234s", "2h05m": a length of time in few columns. Returns out. */
#define SPAN_TEXT 24
char *span_text(uint64_t ns, char out[SPAN_TEXT]);

#endif
