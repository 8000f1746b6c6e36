/* SPDX-License-Identifier: GPL-2.0 */
/* Outputs that must stay as they are: each is a file beside this one. UPDATE=1 writes them anew. */
#ifndef PORTWAKE_TESTS_GOLDEN_H
#define PORTWAKE_TESTS_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/buf.h"

#define GOLDEN_MAX (1 << 20)

/* Fails the test, and shows a diff, unless tests/golden/NAME has just this text. Run from the root of the project. */
void golden_check(const char *name, const struct buf *text);

/* Columns that a terminal shows of the UTF-8 text[0..len), without wide and combining characters. */
size_t golden_columns(const char *text, size_t len);

/* lines.c: every kind of line, as text and as JSON. */
void text_lines(void **state);
void json_lines(void **state);
void text_lines_fit(void **state);

/* who.c: answers about made-up holders. */
void who_text(void **state);
void who_json(void **state);
void who_csv(void **state);

/* program.c: what the program says of itself, and to wrong usage. PORTWAKE is its path. */
void help(void **state);
void stats_help(void **state);
void record_help(void **state);
void who_help(void **state);
void help_fits(void **state);
void version(void **state);
void usage_errors(void **state);

#endif
