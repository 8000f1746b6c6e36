/* SPDX-License-Identifier: GPL-2.0 */
/* What a recording is restricted to: every word, the longest list, and what cannot be said for want of memory. */
#include "user/scope.h"

#include <errno.h>

#include "tests/unit/unit.h"
#include "user/range.h"
#include "user/schema.h"

static void expect(const struct options *options, const char *expected)
{
	char *text = (char *)"untouched";

	assert_int_equal(scope_text(options, &text), 0);
	if (!expected)
		assert_null(text);
	else
		assert_string_equal(text, expected);
	pw_free(text);
}

static void in_words(void **state)
{
	char *command[] = { (char *)"my app", (char *)"-v", NULL };
	struct options options = {
		.settings = { .netns = { 7, 8 }, .netns_count = 2, .pid = { 12 }, .pid_count = 1, .comm = "a b" },
		.by_port = true, .cgroup = "/x.slice", .command = command, .no_denied = true,
	};

	(void)state;
	port_set_add(&options.ports, 80);
	port_set_add(&options.ports, 100);
	port_set_add(&options.ports, 101);
	options.settings.protos = PW_PROTO_TCP | PW_PROTO_UDPLITE;
	expect(&options, "netns=7,8 port=80,100-101 proto=tcp,udplite pid=12 comm=a_b cgroup=/x.slice command=my_app denied=no");
	expect(&(struct options){ .no_denied = true }, "denied=no");
	expect(&(struct options){ .json = true }, NULL);
}

static void every_other_port(struct options *options)
{
	*options = (struct options){ .by_port = true };
	for (unsigned int port = 1; port < NUM_PORTS; port += 2)
		port_set_add(&options->ports, (uint16_t)port);
}

static void longest_list_and_arguments_fit(void **state)
{
	static char longest[131072];
	char *command[] = { longest, NULL }, *text = NULL;
	struct options options;

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	every_other_port(&options);
	options.cgroup = longest;
	options.command = command;
	options.no_denied = true;
	assert_int_equal(scope_text(&options, &text), 0);
	assert_in_range(strlen(text), 2 * (sizeof(longest) - 1), SCHEMA_FILTER_MAX);
	assert_string_equal(text + strlen(text) - strlen(" denied=no"), " denied=no");
	pw_free(text);
}

/* Never as if there were none. */
static void without_memory_is_told(void **state)
{
	struct options options;
	int r = -ENOMEM;

	(void)state;
	every_other_port(&options);
	for (size_t n = 0; r; n++) {
		char *text = NULL;

		assert_in_range(n, 0, 1000);
		unit_fail_after(n);
		r = scope_text(&options, &text);
		unit_fail_never();
		assert_true(r == -ENOMEM ? !text : !r && text && !strncmp(text, "port=1,3,5,", 11));
		pw_free(text);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(in_words),
	cmocka_unit_test(longest_list_and_arguments_fit),
	cmocka_unit_test(without_memory_is_told),
};

UNIT_MAIN(tests)
