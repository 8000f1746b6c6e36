/* SPDX-License-Identifier: GPL-2.0 */
/* Text lines: columns, lengths of time, hostile names, colours, failures. Every kind of line as a whole is in tests/golden. */
#include "user/sink_text.h"

#include <time.h>

#include "tests/unit/events.h"
#include "tests/unit/unit.h"
#include "user/line.h"

/* 2023-11-14T22:13:20.123456789Z */
#define TIME 1700000000123456789u

static struct process owner = { .pid = 4711, .uid = 1000, .comm = "curl" };

static struct line plain(enum what what)
{
	struct line line = {
		.what = (uint8_t)what, .time = TIME, .cookie = 7, .generation = 1, .owner = &owner, .netns = TEST_NETNS,
		.port = 40123, .remote_port = 443, .proto = IPPROTO_TCP, .how = PW_HOW_CONNECT, .exact = true,
		.flags = PW_F_EPHEMERAL, .addr = ev_addr("192.0.2.1"), .remote = ev_addr("93.184.216.34"),
		.held_ns = 1500000000, .open_ns = 1000000000, .time_wait_ns = UNKNOWN_NS, .cause = CAUSE_CLOSE,
	};

	/* Of the same memory as the times. */
	if (what == WHAT_DENIED) {
		line.explanation = NULL;
		line.sock_uid = line.bound_dev = line.traits = 0;
	}
	return line;
}

static struct annotate_table *annotations;
static struct buf text;

/* The text of a line, without head; valid until the next call. */
static const char *text_of(const struct line *line, bool colour)
{
	struct sink_text sink = { .annotations = annotations, .headed = true, .colour = colour };

	buf_reset(&text);
	sink_text_format(&sink, line, &text);
	assert_int_equal(buf_error(&text), 0);
	return buf_text(&text);
}

static int setup(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	text = BUF_INIT(100000);
	return annotate_new(&annotations);
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&text);
	annotate_free(&annotations);
	return 0;
}

/* ---- lengths of time ---- */

static void lengths_of_time(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} rows[] = {
		{ 0, "0us" }, { 999, "0us" }, { 1000, "1us" }, { 999999, "999us" },
		{ 1000000, "1.0ms" }, { 12345678, "12.3ms" }, { 999999999, "999.9ms" },
		{ 1000000000, "1.000s" }, { 59999999999, "59.999s" }, { 599999999999, "599.999s" },
		{ 600000000000, "0h10m" }, { 3600000000000, "1h00m" }, { 86400000000000, "24h00m" },
		{ 172799999999999, "47h59m" }, { 172800000000000, "2d00h" }, { UINT64_MAX, "213503d23h" },
	};
	char span[SPAN_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(span_text(rows[i].ns, span), rows[i].text);
}

/* ---- columns ---- */

static void columns_stand_below_the_head(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(10000);
	struct sink_text sink = { .annotations = annotations };
	struct line line = plain(WHAT_ALLOCATE);
	const char *head, *row;
	size_t first;

	(void)state;
	sink_text_format(&sink, &line, &out);
	head = buf_text(&out);
	row = strchr(head, '\n') + 1;
	assert_int_equal(strncmp(head, "TIME ", 5), 0);
	assert_int_equal(strstr(head, "EVENT") - head, strstr(row, "allocate") - row);
	assert_int_equal(strstr(head, "PRO") - head, strstr(row, "tcp") - row);
	assert_int_equal(strstr(head, "LOCAL") - head, strstr(row, "192.0.2.1:40123") - row);
	assert_int_equal(strstr(head, "PID") - head, strstr(row, "4711") - row);
	assert_int_equal(strstr(head, "COMM") - head, strstr(row, "curl") - row);
	assert_int_equal(strstr(head, "DETAIL") - head, strstr(row, "connect 93") - row);
	/* Once only. */
	first = out.len;
	sink_text_format(&sink, &line, &out);
	assert_null(strstr(out.data + first, "TIME "));
}

static void wide_columns_do_not_run_together(void **state)
{
	struct process wide = { .pid = 4194304, .comm = "fifteen-letters" };
	struct line line = plain(WHAT_ALLOCATE);

	(void)state;
	line.owner = &wide;
	line.proto = IPPROTO_UDPLITE;
	line.addr = line.remote = ev_addr("2001:db8:1111:2222:3333:4444:5555:6666");
	line.port = line.remote_port = 65535;
	assert_string_equal(text_of(&line, false),
			    "22:13:20.123 allocate  udplite [2001:db8:1111:2222:3333:4444:5555:6666]:65535 4194304 "
			    "fifteen-letters connect [2001:db8:1111:2222:3333:4444:5555:6666]:65535\n");
}

/* ---- hostile names ---- */

static size_t lines_in(const char *at)
{
	size_t count = 0;

	for (; *at; at++)
		count += *at == '\n';
	return count;
}

/* Every name of two bytes, in both places where a name stands: one line, and nothing that a terminal obeys. */
static void names_cannot_disturb_the_terminal(void **state)
{
	struct process hostile = { .pid = 1 };
	struct line line = plain(WHAT_CLOSE);

	(void)state;
	line.owner = &hostile;
	line.holder_pid = 2;
	for (unsigned int i = 1; i < 0x10000; i += 7) {
		const char *told;

		hostile.comm[0] = line.holder_comm[0] = (char)(i >> 8);
		hostile.comm[1] = line.holder_comm[1] = (char)i;
		told = text_of(&line, false);
		assert_int_equal(lines_in(told), 1);
		for (const unsigned char *at = (const unsigned char *)told; *at; at++)
			if ((*at < 0x20 && *at != '\n') || *at == 0x7f)
				fail_msg("name %04x lets %02x through", i, *at);
	}
}

static void escape_sequence_is_shown(void **state)
{
	struct process hostile = { .pid = 1, .comm = "\033]0;x\a\033[2J\n" };
	struct line line = plain(WHAT_LISTEN);

	(void)state;
	line.owner = &hostile;
	assert_non_null(strstr(text_of(&line, false), "\\x1b]0;x\\x07\\x1b[2J\\x0a"));
}

/* ---- what is told of what ---- */

static void unknown_and_kernel_owners(void **state)
{
	struct line line = plain(WHAT_ALLOCATE);

	(void)state;
	line.owner = NULL;
	assert_non_null(strstr(text_of(&line, false), " -       (unknown) "));
	line.flags |= PW_F_KERNEL;
	assert_non_null(strstr(text_of(&line, false), " -       (kernel) "));
}

static bool ends_with(const char *told, const char *end)
{
	size_t length = strlen(told), tail = strlen(end);

	return length >= tail && !strcmp(told + length - tail, end);
}

static void approximate_is_said(void **state)
{
	(void)state;
	for (enum what what = WHAT_PRESENT; what < WHAT_GAP; what++) {
		struct line line = plain(what);

		assert_null(strstr(text_of(&line, false), "approximate"));
		line.exact = false;
		assert_true(ends_with(text_of(&line, false), " (approximate)\n"));
	}
}

static void no_line_ends_in_spaces(void **state)
{
	(void)state;
	for (enum what what = WHAT_READY; what < WHAT_END; what++) {
		struct line line = plain(what);

		line.remote = (struct event_addr){ 0 };
		if (what == WHAT_GAP)
			line.reason = "ring";
		assert_null(strstr(text_of(&line, false), " \n"));
	}
}

static bool is_marked(struct line line)
{
	return strstr(text_of(&line, false), "  ! 60420: ");
}

static void listener_on_a_known_port_is_marked(void **state)
{
	struct line line = plain(WHAT_LISTEN);

	(void)state;
	line.port = 60420;
	line.remote = (struct event_addr){ 0 };
	assert_true(is_marked(line));
	line.what = WHAT_PRESENT;
	assert_false(is_marked(line));
	line.listening = true;
	assert_true(is_marked(line));
	line.what = WHAT_RELEASE;
	assert_false(is_marked(line));
	line.what = WHAT_ALLOCATE;
	line.flags = 0;
	assert_false(is_marked(line));
	/* It merely passes by. */
	line.remote = ev_addr("93.184.216.34");
	assert_false(is_marked(line));
	line.what = WHAT_LISTEN;
	line.port = 60421;
	assert_false(is_marked(line));
}

/* ---- colours ---- */

/* Without what a terminal does not show. */
static void strip(const char *from, char *out)
{
	while (*from) {
		if (*from == '\033')
			from = strchr(from, 'm') + 1;
		else
			*out++ = *from++;
	}
	*out = '\0';
}

static void colours_change_no_text(void **state)
{
	static char plain_text[1000], stripped[1000];

	(void)state;
	for (enum what what = WHAT_READY; what < WHAT_END; what++) {
		struct line line = plain(what);

		if (what == WHAT_GAP)
			line.reason = "ring";
		strcpy(plain_text, text_of(&line, false));
		assert_null(strchr(plain_text, '\033'));
		strip(text_of(&line, true), stripped);
		assert_string_equal(stripped, plain_text);
	}
}

static void denied_lists_holders_and_advice(void **state)
{
	struct rival held = { .owner = &owner, .port = 40123, .state = RIVAL_LISTEN, .left_ns = UNKNOWN_NS,
			      .addr = ev_addr("::1") };
	struct explanation why = { .cause = DENIAL_CONFLICT, .rivals = &held, .rival_count = 1, .rival_total = 3,
				   .advice = (char[]){ "say this\nsysctl -w a=b\n" } };
	struct line line = plain(WHAT_DENIED);
	const char *said;

	(void)state;
	line.explanation = &why;
	line.error = EADDRINUSE;
	line.how = PW_HOW_BIND;
	said = text_of(&line, false);
	assert_non_null(strstr(said, "bind EADDRINUSE conflict"));
	assert_non_null(strstr(said, ": listen [::1]:40123\n"));
	assert_non_null(strstr(said, "\n  held by 2 more\n"));
	assert_non_null(strstr(said, "\n  - say this\n"));
	assert_non_null(strstr(said, "\n  # sysctl -w a=b\n"));
}

static void release_has_a_colour(void **state)
{
	struct line line = plain(WHAT_RELEASE);

	(void)state;
	assert_non_null(strstr(text_of(&line, true), "\033["));
}

/* ---- failures ---- */

/* A line that does not fit is an error, wherever it breaks off. */
static void check_failures(const struct line *line)
{
	size_t length = strlen(text_of(line, false));

	for (size_t max = 0; max < length; max++) {
		_cleanup_buf_ struct buf out = BUF_INIT(max);
		struct sink_text sink = { .annotations = annotations, .headed = true };

		sink_text_format(&sink, line, &out);
		if (buf_error(&out) != -ENOBUFS)
			fail_msg("a line of %zu bytes goes into %zu", length, max);
	}
}

static void failure_sticks(void **state)
{
	struct line line = plain(WHAT_LISTEN);

	(void)state;
	check_failures(&line);
	line.port = 60420;
	check_failures(&line);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(lengths_of_time),
	TEST(columns_stand_below_the_head),
	TEST(wide_columns_do_not_run_together),
	TEST(names_cannot_disturb_the_terminal),
	TEST(escape_sequence_is_shown),
	TEST(unknown_and_kernel_owners),
	TEST(approximate_is_said),
	TEST(no_line_ends_in_spaces),
	TEST(listener_on_a_known_port_is_marked),
	TEST(colours_change_no_text),
	TEST(denied_lists_holders_and_advice),
	TEST(release_has_a_colour),
	TEST(failure_sticks),
};

UNIT_MAIN(tests)
