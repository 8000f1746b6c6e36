/* SPDX-License-Identifier: GPL-2.0 */
/* Known ports: the shipped table, the user's rows over it, and every way a row can be wrong. */
#include "user/annotate.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "tests/unit/unit.h"

static struct annotate_table *fresh(void)
{
	struct annotate_table *table = NULL;

	assert_int_equal(annotate_new(&table), 0);
	return table;
}

static int load(struct annotate_table *table, const char *text, struct annotate_error *error)
{
	return annotate_load_text(table, "mine.tsv", text, strlen(text), error);
}

static void load_well(struct annotate_table *table, const char *text)
{
	struct annotate_error error;

	if (load(table, text, &error) < 0)
		fail_msg("%s", error.text);
}

static const char *flag(const struct annotate_table *table, uint16_t port)
{
	const struct annotate_row *row = annotate_find(table, IPPROTO_TCP, port);

	return row ? row->name : "";
}

static void check_sentence(const struct annotate_row *row, uint16_t port, const char *expected)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1000);

	assert_non_null(row);
	assert_int_equal(annotate_sentence(row, port, &out), 0);
	assert_string_equal(buf_text(&out), expected);
}

static void xsan_ports_are_flagged_and_their_neighbours_not(void **state)
{
	static const uint16_t xsan[] = { 60420, 60202, 60312, 60096, 60587 };
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(xsan); i++) {
		const struct annotate_row *row = annotate_find(table, IPPROTO_TCP, xsan[i]);

		assert_non_null(row);
		assert_string_equal(row->name, "xsan: Apple Xsan Filesystem Access");
		assert_int_equal(row->confidence, ANNOTATE_REPORTED);
		assert_null(annotate_find(table, IPPROTO_UDP, xsan[i]));
	}
	assert_null(annotate_find(table, IPPROTO_TCP, 60421));
	assert_null(annotate_find(table, IPPROTO_TCP, 60419));
}

static void xsan_sentence(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	check_sentence(annotate_find(table, IPPROTO_TCP, 60420), 60420,
		       "60420: listed for Apple Xsan Filesystem Access, unregistered, any program may use it");
}

static void sentence_of_each_confidence(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	load_well(table, "7\t7\ttcp\techo: Echo\tregistered\n8\t8\ttcp\tPlain Name\tregistered\n"
			 "9\t9\ttcp\tRuneScape: the game\tdocumented\n10\t10\ttcp\told: Old\tlegacy\n"
			 "11\t11\ttcp\tempty: \treported\n12\t12\ttcp\tback\\slash\tdocumented\n");
	check_sentence(annotate_find(table, IPPROTO_TCP, 7), 7, "7: registered for Echo (echo)");
	check_sentence(annotate_find(table, IPPROTO_TCP, 8), 8, "8: registered for Plain Name");
	check_sentence(annotate_find(table, IPPROTO_TCP, 9), 9, "9: documented for the game");
	check_sentence(annotate_find(table, IPPROTO_TCP, 10), 10, "10: documented for Old, older releases only");
	check_sentence(annotate_find(table, IPPROTO_TCP, 11), 11,
		       "11: listed for empty: , unregistered, any program may use it");
	check_sentence(annotate_find(table, IPPROTO_TCP, 12), 12, "12: documented for back\\\\slash");
}

static void sentence_says_when_the_buffer_is_full(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct buf out = BUF_INIT(20);

	(void)state;
	assert_int_equal(annotate_sentence(annotate_find(table, IPPROTO_TCP, 60420), 60420, &out), -ENOBUFS);
	buf_done(&out);
}

static void wide_rows_explain_and_never_flag(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	const struct annotate_row *rows[16];
	size_t n = annotate_explain(table, IPPROTO_TCP, 60421, rows, ARRAY_SIZE(rows));

	(void)state;
	assert_true(n >= 3 && n <= ARRAY_SIZE(rows));
	for (size_t i = 0; i < n; i++)
		assert_true(rows[i]->last - rows[i]->first + 1 > ANNOTATE_FLAG_SPAN);
	assert_null(annotate_find(table, IPPROTO_TCP, 60421));
}

static void the_limit_is_a_hundred_ports(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	load_well(table, "1000\t1099\ttcp\thundred\tdocumented\n2000\t2100\ttcp\tmore\tdocumented\n"
			 "65436\t65535\ttcp\tlast\tdocumented\n1\t100\ttcp\tfirst\tdocumented\n");
	assert_string_equal(flag(table, 999), "");
	assert_string_equal(flag(table, 1000), "hundred");
	assert_string_equal(flag(table, 1099), "hundred");
	assert_string_equal(flag(table, 1100), "");
	assert_string_equal(flag(table, 2000), "");
	assert_string_equal(flag(table, 65535), "last");
	assert_string_equal(flag(table, 1), "first");
	assert_string_equal(flag(table, 100), "first");
	assert_string_equal(flag(table, 0), "");
}

static void explain_lists_the_winner_first(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	const struct annotate_row *rows[16], *first[2];
	size_t n;

	(void)state;
	load_well(table, "60000\t61000\ttcp\tmine, wide\tdocumented\n60420\t60420\ttcp\tmine\tlegacy\n");
	n = annotate_explain(table, IPPROTO_TCP, 60420, rows, ARRAY_SIZE(rows));
	assert_in_range(n, 5, ARRAY_SIZE(rows));
	assert_string_equal(rows[0]->name, "mine");
	assert_string_equal(rows[1]->name, "mine, wide");
	assert_string_equal(rows[2]->name, "xsan: Apple Xsan Filesystem Access");
	assert_ptr_equal(rows[0], annotate_find(table, IPPROTO_TCP, 60420));
	/* A short array gets the same beginning and the same count. */
	assert_int_equal(annotate_explain(table, IPPROTO_TCP, 60420, first, 2), n);
	assert_ptr_equal(first[0], rows[0]);
	assert_ptr_equal(first[1], rows[1]);
	assert_int_equal(annotate_explain(table, IPPROTO_TCP, 60420, NULL, 0), n);
}

static void the_user_adds_and_wins(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	load_well(table, "60421\t60421\ttcp\tmine\tdocumented\tmy wiki\n60420\t60430\ttcp\tblock\treported\n");
	assert_string_equal(flag(table, 60421), "mine");
	assert_string_equal(annotate_find(table, IPPROTO_TCP, 60421)->source, "my wiki");
	assert_string_equal(annotate_find(table, IPPROTO_TCP, 60425)->source, "");
	/* Wider and less certain than the shipped row, but the user's. */
	assert_string_equal(flag(table, 60420), "block");
	assert_int_equal(annotate_find(table, IPPROTO_TCP, 60420)->layer, 1);
	load_well(table, "60420\t60430\ttcp\tlater file\treported\n");
	assert_string_equal(flag(table, 60421), "later file");
}

static void within_a_file_the_narrower_then_the_surer_then_the_earlier_wins(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	load_well(table, "100\t110\ttcp\twide\tregistered\n105\t105\ttcp\tnarrow\treported\n"
			 "106\t106\ttcp\trumour\treported\n106\t106\ttcp\tfact\tregistered\n"
			 "107\t107\ttcp\tone\tlegacy\n107\t107\ttcp\ttwo\tlegacy\n");
	assert_string_equal(flag(table, 104), "wide");
	assert_string_equal(flag(table, 105), "narrow");
	assert_string_equal(flag(table, 106), "fact");
	assert_string_equal(flag(table, 107), "one");
}

static void none_silences(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	const struct annotate_row *rows[16];
	size_t before = annotate_explain(table, IPPROTO_TCP, 60420, NULL, 0), n;

	(void)state;
	load_well(table, "60420\t60420\ttcp\tquiet\tnone\n60202\t60202\tudp\t\tnone\n");
	assert_string_equal(flag(table, 60420), "");
	assert_string_equal(flag(table, 60202), "xsan: Apple Xsan Filesystem Access");
	/* What is silenced is still explained, and `none` explains nothing. */
	n = annotate_explain(table, IPPROTO_TCP, 60420, rows, ARRAY_SIZE(rows));
	assert_int_equal(n, before);
	for (size_t i = 0; i < n; i++)
		assert_int_not_equal(rows[i]->confidence, ANNOTATE_NONE);
	load_well(table, "60420\t60420\ttcp\tback\tdocumented\n");
	assert_string_equal(flag(table, 60420), "back");
}

static void a_wide_none_silences_all_but_narrower_rows_beside_it(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	load_well(table, "60000\t61000\ttcp\tquiet\tnone\n60312\t60312\ttcp\tmine\tdocumented\n");
	assert_string_equal(flag(table, 60420), "");
	assert_string_equal(flag(table, 60096), "");
	assert_string_equal(flag(table, 60312), "mine");
	assert_string_not_equal(flag(table, 32768), "");
}

static void protocols_are_apart(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	load_well(table, "5\t5\tudp\tu\tdocumented\n5\t5\tudplite\tl\tdocumented\n5\t5\tsctp\ts\tdocumented\n");
	assert_null(annotate_find(table, IPPROTO_TCP, 5));
	assert_string_equal(annotate_find(table, IPPROTO_UDP, 5)->name, "u");
	assert_string_equal(annotate_find(table, IPPROTO_UDPLITE, 5)->name, "l");
	assert_string_equal(annotate_find(table, IPPROTO_SCTP, 5)->name, "s");
}

static void comments_and_empty_lines_are_skipped(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	load_well(table, "");
	load_well(table, "\n# a comment\n\n5\t5\ttcp\tno newline at the end\tdocumented\tx");
	assert_string_equal(flag(table, 5), "no newline at the end");
	assert_int_equal(annotate_find(table, IPPROTO_TCP, 5)->line, 4);
}

static void bad_lines_are_named(void **state)
{
	static const struct {
		const char *line, *reason;
	} cases[] = {
		{ "5 5 tcp x documented y", "columns" },
		{ "5\t5\ttcp\tx", "columns" },
		{ "5\t5\ttcp\tx\tdocumented\ty\tz", "columns" },
		{ "0\t5\ttcp\tx\tdocumented\ty", "first port" },
		{ "x\t5\ttcp\tx\tdocumented\ty", "first port" },
		{ "5\t65536\ttcp\tx\tdocumented\ty", "last port" },
		{ "5\t\ttcp\tx\tdocumented\ty", "last port" },
		{ "9\t5\ttcp\tx\tdocumented\ty", "below" },
		{ "5\t5\ticmp\tx\tdocumented\ty", "protocol" },
		{ "5\t5\tTCP\tx\tdocumented\ty", "protocol" },
		{ "5\t5\ttcp\tx\tcertain\ty", "confidence" },
		{ "5\t5\ttcp\t\tdocumented\ty", "name" },
		{ "5\t5\ttcp\tx\x1b[2J\tdocumented\ty", "control character" },
		{ "5\t5\ttcp\tx\tdocumented\ty\r", "control character" },
	};
	_cleanup_annotate_ struct annotate_table *table = fresh();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct annotate_error error = { "" };
		char text[200];

		snprintf(text, sizeof(text), "65535\t65535\ttcp\tgood\tdocumented\ty\n1\t1000\ttcp\twide\tlegacy\n%s\n",
			 cases[i].line);
		assert_int_equal(load(table, text, &error), -EINVAL);
		assert_ptr_equal(strstr(error.text, "mine.tsv:3: "), error.text);
		if (!strstr(error.text, cases[i].reason))
			fail_msg("\"%s\": %s", cases[i].line, error.text);
	}
	/* Nothing of a bad file stays. */
	assert_string_equal(flag(table, 65535), "");
	assert_int_equal(annotate_explain(table, IPPROTO_TCP, 7, NULL, 0), 0);
	assert_string_equal(flag(table, 60420), "xsan: Apple Xsan Filesystem Access");
}

static void binary_file_is_refused(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct annotate_error error;

	(void)state;
	assert_int_equal(annotate_load_text(table, "a.tsv", "\x7f" "ELF\0\1", 6, &error), -EINVAL);
	assert_string_equal(error.text, "a.tsv: not a text file");
}

static void confidences_have_names(void **state)
{
	(void)state;
	assert_string_equal(annotate_confidence_name(ANNOTATE_REGISTERED), "registered");
	assert_string_equal(annotate_confidence_name(ANNOTATE_DOCUMENTED), "documented");
	assert_string_equal(annotate_confidence_name(ANNOTATE_LEGACY), "legacy");
	assert_string_equal(annotate_confidence_name(ANNOTATE_REPORTED), "reported");
	assert_string_equal(annotate_confidence_name(ANNOTATE_NONE), "none");
}

/* Files: a directory of its own for each test. */

static int make_dir(void **state)
{
	char *dir = strdup("/tmp/portwake-annotate-XXXXXX");

	*state = dir;
	return dir && mkdtemp(dir) ? 0 : -1;
}

static void path_in(char out[256], const char *dir, const char *name)
{
	snprintf(out, 256, "%s/%s", dir, name);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	path_in(path, dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "10-a.tsv", "20-b.tsv", "notes.txt", ".hidden.tsv", "dir.tsv" };
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		path_in(path, *state, names[i]);
		remove(path);
	}
	remove(*state);
	free(*state);
	return 0;
}

static void a_directory_is_read_in_order_and_only_its_tsv(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct annotate_error error;

	write_file(*state, "20-b.tsv", "5\t5\ttcp\tsecond\tdocumented\n");
	write_file(*state, "10-a.tsv", "5\t5\ttcp\tfirst\tdocumented\n6\t6\ttcp\tsix\tdocumented\n");
	write_file(*state, "notes.txt", "not a table\n");
	write_file(*state, ".hidden.tsv", "not a table\n");
	assert_int_equal(annotate_load_dir(table, *state, &error), 0);
	assert_string_equal(flag(table, 5), "second");
	assert_string_equal(flag(table, 6), "six");
}

static void a_bad_file_of_a_directory_is_named(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct annotate_error error;
	char expected[300];

	write_file(*state, "10-a.tsv", "5\t5\ttcp\tfirst\tdocumented\n");
	write_file(*state, "20-b.tsv", "\n5\n");
	assert_int_equal(annotate_load_dir(table, *state, &error), -EINVAL);
	snprintf(expected, sizeof(expected), "%s/20-b.tsv:2: ", (char *)*state);
	assert_ptr_equal(strstr(error.text, expected), error.text);
	assert_string_equal(flag(table, 5), "first");
}

static void what_cannot_be_read_is_named(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct annotate_error error;
	char path[256], expected[300];

	path_in(path, *state, "absent.tsv");
	assert_int_equal(annotate_load_file(table, path, &error), -ENOENT);
	snprintf(expected, sizeof(expected), "%s: No such file or directory", path);
	assert_string_equal(error.text, expected);
	path_in(path, *state, "dir.tsv");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(annotate_load_dir(table, *state, &error), -EISDIR);
	write_file(*state, "notes.txt", "");
	path_in(path, *state, "notes.txt");
	assert_int_equal(annotate_load_dir(table, path, &error), -ENOTDIR);
}

static void an_absent_directory_is_empty(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct annotate_error error;
	char path[256];

	path_in(path, *state, "absent");
	assert_int_equal(annotate_load_dir(table, path, &error), 0);
}

static void a_huge_file_is_refused(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct annotate_error error;
	char path[256];

	write_file(*state, "10-a.tsv", "");
	path_in(path, *state, "10-a.tsv");
	assert_int_equal(truncate(path, (16 << 20) + 1), 0);
	assert_int_equal(annotate_load_file(table, path, &error), -EFBIG);
	assert_non_null(strstr(error.text, "10-a.tsv: larger than 16 MiB"));
}

static void no_memory_leaves_the_table_as_it_was(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	struct annotate_table *none = NULL;
	struct annotate_error error;
	char text[8192] = "";
	size_t n = 0;
	int r;

	(void)state;
	for (int i = 0; i < 200; i++)
		sprintf(text + strlen(text), "%d\t%d\ttcp\tmany\tdocumented\n", i + 1, i + 1);
	do {
		unit_fail_after(n++);
		r = load(table, text, &error);
		unit_fail_never();
		assert_true(r == 0 || r == -ENOMEM);
		assert_string_equal(flag(table, 5), r ? "" : "many");
	} while (r < 0 && n < 20);
	assert_int_equal(r, 0);
	assert_true(n > 1);
	for (n = 0, r = -ENOMEM; r < 0 && n < 20; n++) {
		unit_fail_after(n);
		r = annotate_new(&none);
		unit_fail_never();
		assert_true(r == 0 ? none != NULL : none == NULL);
	}
	assert_int_equal(r, 0);
	annotate_free(&none);
	assert_null(none);
	annotate_free(&none);
}

/* Every row of the shipped file, read by other means, is in the table. */
static void the_shipped_file_is_whole(void **state)
{
	_cleanup_annotate_ struct annotate_table *table = fresh();
	_cleanup_fclose_ FILE *f = fopen("data/ports.tsv", "re");
	const struct annotate_row *rows[64];
	size_t checked = 0;
	char line[1024];

	(void)state;
	if (!f)
		fail_msg("data/ports.tsv: run the tests in the root of the source");
	while (fgets(line, sizeof(line), f)) {
		unsigned int first, last;
		char proto[16], name[512];
		bool found = false;
		uint8_t number;
		size_t n;

		if (sscanf(line, "%u\t%u\t%15s\t%511[^\t]", &first, &last, proto, name) != 4)
			continue;
		number = strcmp(proto, "tcp") == 0 ? IPPROTO_TCP : strcmp(proto, "udp") == 0 ? IPPROTO_UDP : IPPROTO_SCTP;
		n = annotate_explain(table, number, (uint16_t)first, rows, ARRAY_SIZE(rows));
		for (size_t i = 0; i < n; i++)
			found |= strcmp(rows[i]->name, name) == 0 && rows[i]->first == first && rows[i]->last == last;
		if (!found)
			fail_msg("missing: %s", line);
		checked++;
	}
	assert_true(checked > 300);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(xsan_ports_are_flagged_and_their_neighbours_not),
	cmocka_unit_test(xsan_sentence),
	cmocka_unit_test(sentence_of_each_confidence),
	cmocka_unit_test(sentence_says_when_the_buffer_is_full),
	cmocka_unit_test(wide_rows_explain_and_never_flag),
	cmocka_unit_test(the_limit_is_a_hundred_ports),
	cmocka_unit_test(explain_lists_the_winner_first),
	cmocka_unit_test(the_user_adds_and_wins),
	cmocka_unit_test(within_a_file_the_narrower_then_the_surer_then_the_earlier_wins),
	cmocka_unit_test(none_silences),
	cmocka_unit_test(a_wide_none_silences_all_but_narrower_rows_beside_it),
	cmocka_unit_test(protocols_are_apart),
	cmocka_unit_test(comments_and_empty_lines_are_skipped),
	cmocka_unit_test(bad_lines_are_named),
	cmocka_unit_test(binary_file_is_refused),
	cmocka_unit_test(confidences_have_names),
	IN_DIR(a_directory_is_read_in_order_and_only_its_tsv),
	IN_DIR(a_bad_file_of_a_directory_is_named),
	IN_DIR(what_cannot_be_read_is_named),
	IN_DIR(an_absent_directory_is_empty),
	IN_DIR(a_huge_file_is_refused),
	cmocka_unit_test(no_memory_leaves_the_table_as_it_was),
	cmocka_unit_test(the_shipped_file_is_whole),
};

UNIT_MAIN(tests)
