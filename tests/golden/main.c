/* SPDX-License-Identifier: GPL-2.0 */
/* Golden outputs: the table of tests, and the comparison. */
#include "tests/golden/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void path_of(const char *name, char path[200])
{
	snprintf(path, 200, "tests/golden/%s", name);
}

static void update(const char *path, const struct buf *text)
{
	_cleanup_fclose_ FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(buf_text(text), 1, text->len, file), text->len);
}

/* Reads up to GOLDEN_MAX bytes. */
static void read_golden(const char *path, struct buf *out)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char part[4096];
	size_t got;

	if (!file)
		fail_msg("%s is not there: run this from the root of the project, with UPDATE=1 if it is new", path);
	while ((got = fread(part, 1, sizeof(part), file)) > 0)
		buf_add(out, part, got);
	assert_int_equal(buf_error(out), 0);
}

static void show_difference(const char *path, const struct buf *text)
{
	char command[300];
	FILE *diff;

	snprintf(command, sizeof(command), "diff -u '%s' - | sed 's/^/# /'", path);
	fflush(stdout);
	diff = popen(command, "we");
	if (!diff)
		return;
	fwrite(buf_text(text), 1, text->len, diff);
	pclose(diff);
}

void golden_check(const char *name, const struct buf *text)
{
	_cleanup_buf_ struct buf golden = BUF_INIT(GOLDEN_MAX);
	const char *wish = getenv("UPDATE");
	char path[200];

	assert_int_equal(buf_error(text), 0);
	path_of(name, path);
	if (wish && !strcmp(wish, "1")) {
		update(path, text);
		return;
	}
	read_golden(path, &golden);
	if (golden.len == text->len && !memcmp(buf_text(&golden), buf_text(text), text->len))
		return;
	show_difference(path, text);
	fail_msg("%s is not what comes out (UPDATE=1 writes it anew)", path);
}

size_t golden_columns(const char *text, size_t len)
{
	size_t columns = 0;

	/* All but the bytes that continue a character. */
	for (size_t i = 0; i < len; i++)
		columns += ((unsigned char)text[i] & 0xc0) != 0x80;
	return columns;
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(text_lines),
	cmocka_unit_test(json_lines),
	cmocka_unit_test(text_lines_fit),
	cmocka_unit_test(help),
	cmocka_unit_test(stats_help),
	cmocka_unit_test(record_help),
	cmocka_unit_test(who_help),
	cmocka_unit_test(who_text),
	cmocka_unit_test(who_json),
	cmocka_unit_test(who_csv),
	cmocka_unit_test(help_fits),
	cmocka_unit_test(version),
	cmocka_unit_test(usage_errors),
};

int main(int argc, char **argv)
{
	setenv("TZ", "UTC", 1);
	tzset();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
