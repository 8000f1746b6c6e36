/* SPDX-License-Identifier: GPL-2.0 */
/* The canary hears what was told, and only that; and what it sings is what it expects to hear. */
#include "user/canary.h"

#include "tests/unit/unit.h"

#define COOKIE 77

static struct event told(enum pw_kind kind, enum pw_how how, uint8_t flags)
{
	return (struct event){ .kind = kind, .how = how, .flags = flags, .cookie = COOKIE };
}

static struct proof proof(enum pw_kind kind, enum pw_how how, bool held)
{
	return (struct proof){ .hook = "h", .what = "w", .cookie = COOKIE, .kind = kind, .how = how, .held = held };
}

static bool is_told(struct proof wanted, struct event event)
{
	struct canary canary = CANARY_INIT;

	canary_expect(&canary, &wanted);
	assert_string_equal(canary_missed(&canary, "h"), "w");
	assert_null(canary_missed(&canary, "another"));
	canary_hear(&canary, &event);
	return !canary_missed(&canary, "h");
}

static void takes_the_statement_it_waits_for(void **state)
{
	(void)state;
	assert_true(is_told(proof(PW_SOCK, PW_HOW_BIND, false), told(PW_SOCK, PW_HOW_BIND, 0)));
	assert_true(is_told(proof(PW_CLOSE, 0, false), told(PW_CLOSE, 0, PW_F_HELD)));
	assert_true(is_told(proof(PW_FREE, 0, false), told(PW_FREE, 0, 0)));
	assert_true(is_told(proof(PW_FREE, 0, true), told(PW_FREE, 0, PW_F_HELD)));
	assert_true(is_told(proof(PW_TW_START, 0, false), told(PW_TW_START, 0, PW_F_HELD)));
	assert_true(is_told(proof(PW_TW_END, 0, false), told(PW_TW_END, 0, 0)));
}

static void takes_no_other(void **state)
{
	struct event stranger = told(PW_CLOSE, 0, 0);

	(void)state;
	stranger.cookie++;
	assert_false(is_told(proof(PW_CLOSE, 0, false), stranger));
	assert_false(is_told(proof(PW_SOCK, PW_HOW_CONNECT, false), told(PW_SOCK, PW_HOW_SEND, 0)));
	assert_false(is_told(proof(PW_FREE, 0, false), told(PW_FREE, 0, PW_F_HELD)));
	assert_false(is_told(proof(PW_FREE, 0, true), told(PW_FREE, 0, 0)));
	assert_false(is_told(proof(PW_FREE, 0, false), told(PW_CLOSE, 0, 0)));
}

/* Where namespaces may be made: what is expected of each hook, and that the thread comes home. */
static void sings_for_every_hook(void **state)
{
	static const char *const hooks[] = { "tcp-release", "time-wait-end", "close", "bind", "tcp-open", "udp-connect",
					     "udp-send" };
	struct canary canary = CANARY_INIT;
	int r = canary_enter(&canary);

	(void)state;
	if (r == -EPERM)
		skip();
	assert_int_equal(r, 0);
	assert_int_equal(canary_sing(&canary), 0);
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
		assert_non_null(canary_missed(&canary, hooks[i]));
	assert_in_range(canary.count, 12, CANARY_PROOFS - 1);
	/* Its numbers are free again. */
	assert_int_equal(canary_sing(&canary), 0);
	assert_int_equal(canary_leave(&canary), 0);
	assert_int_equal(canary.home, -1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(takes_the_statement_it_waits_for),
	cmocka_unit_test(takes_no_other),
	cmocka_unit_test(sings_for_every_hook),
};

UNIT_MAIN(tests)
