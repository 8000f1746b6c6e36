/* SPDX-License-Identifier: GPL-2.0 */
/* portwake who as a child, and its lines. */
#define _GNU_SOURCE
#include "tests/e2e/ask.h"

#include <stdlib.h>
#include <string.h>

struct run *start_who(const char *const *args, void (*before_exec)(void *arg), void *arg)
{
	const char *all[16] = { "who" };

	for (size_t i = 0; args[i]; i++)
		all[i + 1] = args[i];
	return run_start(&(struct run_options){ .args = all, .text = true, .before_exec = before_exec, .arg = arg });
}

struct run *ask(const char *const *args)
{
	struct run *run = start_who(args, NULL, NULL);
	int status = run_wait(run, WITHIN);

	if (status)
		fail_msg("exit status %d: %s", status, run->talk);
	return run;
}

json_t *rows_of(const struct run *run)
{
	json_t *rows = json_array();
	const char *line = run->partial, *stop;

	for (; (stop = strchr(line, '\n')); line = stop + 1) {
		json_t *row = json_loadb(line, (size_t)(stop - line), JSON_REJECT_DUPLICATES, NULL);

		if (!json_is_object(row))
			fail_msg("not a JSON object: %.*s", (int)(stop - line), line);
		json_array_append_new(rows, row);
	}
	assert_string_equal(line, "");
	return rows;
}

/* In the stage's namespace; the answer's lines. */
json_t *ask_json(const struct stage *stage, const char *question)
{
	return rows_of(ask(ARGS("--json", "--netns", stage->inode, question)));
}

const char *ask_text(const struct stage *stage, const char *question)
{
	return ask(ARGS("--netns", stage->inode, question))->partial;
}

void assert_says(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("'%s' is not in: %s", words, text);
}

const char *str(const json_t *row, const char *name)
{
	const json_t *value = json_object_get(row, name);

	if (!value)
		fail_msg("no %s", name);
	return json_is_string(value) ? json_string_value(value) : "";
}

int64_t num(const json_t *row, const char *name)
{
	const json_t *value = json_object_get(row, name);

	if (!json_is_integer(value))
		fail_msg("%s is %s", name, value ? "no number" : "missing");
	return json_integer_value(value);
}

void assert_null_field(const json_t *row, const char *name)
{
	if (!json_is_null(json_object_get(row, name)))
		fail_msg("%s is not null", name);
}

/* The holders among the lines, in their order. */
json_t *holders_in(const json_t *rows)
{
	json_t *holders = json_array(), *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (!strcmp(str(row, "event"), "holder"))
			json_array_append(holders, row);
	return holders;
}

const json_t *first_row(const json_t *rows, const char *event)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (!strcmp(str(row, "event"), event))
			return row;
	fail_msg("no line of event %s", event);
	return NULL;
}

const json_t *only_holder(const json_t *rows)
{
	json_t *holders = holders_in(rows);

	if (json_array_size(holders) != 1)
		fail_msg("%zu holders: %s", json_array_size(holders), json_dumps(rows, 0));
	return json_array_get(holders, 0);
}

bool has_process(const json_t *holder, pid_t pid)
{
	const json_t *process;
	size_t i;

	json_array_foreach(json_object_get(holder, "processes"), i, process)
		if (num(process, "pid") == pid)
			return true;
	return false;
}
