/* SPDX-License-Identifier: GPL-2.0 */
/* Lines as JSON: one object a line, with the fields of docs/events.md. */
#ifndef PORTWAKE_USER_SINK_JSON_H
#define PORTWAKE_USER_SINK_JSON_H

#include "user/annotate.h"
#include "user/output.h"

/* A line_format_fn; arg is the const struct annotate_table *. */
void sink_json_format(void *annotations, const struct line *line, struct buf *out);

#endif
