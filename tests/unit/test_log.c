/* SPDX-License-Identifier: GPL-2.0 */
/* Lines on stderr, caught by a pipe. */
#include "user/log.h"

#include <fcntl.h>

#include "tests/unit/unit.h"

static int caught = -1, saved = -1;

static int catch_stderr(void **state)
{
	int fds[2];

	(void)state;
	if (pipe2(fds, O_CLOEXEC) < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		return -1;
	saved = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	caught = fds[0];
	return 0;
}

static int release_stderr(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	close_fd(&saved);
	close_fd(&caught);
	log_set_level(LOG_LEVEL_NOTE);
	return 0;
}

static void expect(const char *expected)
{
	char text[16384];
	ssize_t n = read(caught, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	assert_string_equal(text, expected);
}

static void one_line_with_our_name(void **state)
{
	(void)state;
	log_error("cannot open %s: %s", "/x", "no such file");
	expect("portwake: cannot open /x: no such file\n");
	log_warn("%d%%", 5);
	expect("portwake: 5%\n");
	log_note("libbpf: load\n\n");
	expect("portwake: libbpf: load\n");
}

static void controls_are_escaped(void **state)
{
	(void)state;
	log_error("name %s", "\x1b[2Ja\nportwake: b");
	expect("portwake: name \\x1b[2Ja\\x0aportwake: b\n");
}

static void debug_shows_at_its_level_only(void **state)
{
	(void)state;
	log_debug("hidden");
	expect("");
	log_set_level(LOG_LEVEL_DEBUG);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	log_debug("shown");
	expect("portwake: shown\n");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("hidden");
	log_note("hidden");
	expect("");
	log_error("shown");
	expect("portwake: shown\n");
}

static void long_message_is_cut(void **state)
{
	char text[10000], line[16384];
	ssize_t n;

	(void)state;
	memset(text, '\x01', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_error("%s", text);
	n = read(caught, line, sizeof(line));
	assert_true(n > 2000 && n < 9000);
	assert_int_equal(line[n - 1], '\n');
	assert_int_equal(line[n - 2], '1');
}

static void errno_is_kept_and_shown(void **state)
{
	(void)state;
	errno = ENOENT;
	log_error("open: %m");
	assert_int_equal(errno, ENOENT);
	expect("portwake: open: No such file or directory\n");
}

static void closed_stderr_is_survived(void **state)
{
	(void)state;
	close(STDERR_FILENO);
	errno = ENOENT;
	log_error("nobody hears");
	assert_int_equal(errno, ENOENT);
}

#define CAUGHT(test) cmocka_unit_test_setup_teardown(test, catch_stderr, release_stderr)

static const struct CMUnitTest tests[] = {
	CAUGHT(one_line_with_our_name),
	CAUGHT(controls_are_escaped),
	CAUGHT(debug_shows_at_its_level_only),
	CAUGHT(long_message_is_cut),
	CAUGHT(errno_is_kept_and_shown),
	CAUGHT(closed_stderr_is_survived),
};

UNIT_MAIN(tests)
