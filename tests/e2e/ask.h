/* SPDX-License-Identifier: GPL-2.0 */
/* Questions to portwake, and what its JSON lines say. What is missing, or of another type, fails the test. */
#ifndef E2E_ASK_H
#define E2E_ASK_H

#include <jansson.h>

#include "tests/e2e/case.h"

#define WITHIN (20 * SECOND)

/* `portwake who ARGS...`; ask() waits for its end, which must be good. */
struct run *start_who(const char *const *args, void (*before_exec)(void *arg), void *arg);
struct run *ask(const char *const *args);

json_t *rows_of(const struct run *run);
/* The same in the stage's namespace alone: the lines, or the text. */
json_t *ask_json(const struct stage *stage, const char *question);
const char *ask_text(const struct stage *stage, const char *question);
void assert_says(const char *text, const char *words);

/* A field; "" for what is no string. */
const char *str(const json_t *row, const char *name);
int64_t num(const json_t *row, const char *name);
void assert_null_field(const json_t *row, const char *name);

/* The holders among the lines, in their order; the first line of an event; the one holder that there must be. */
json_t *holders_in(const json_t *rows);
const json_t *first_row(const json_t *rows, const char *event);
const json_t *only_holder(const json_t *rows);
bool has_process(const json_t *holder, pid_t pid);

#endif
