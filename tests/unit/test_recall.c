/* SPDX-License-Identifier: GPL-2.0 */
/* What a made-up history knows of those who hold ports now. */
#include "user/recall.h"

#include <fcntl.h>

#include "tests/unit/events.h"
#include "tests/unit/fake_history.h"

#define SEC 1000000000ULL
#define NOW (1795176000 * SEC)

static char boot[64];

static const struct past_process nginx = { .pid = 712, .comm = "nginx", .exe = "/usr/sbin/nginx" };

static struct past lasting(uint64_t cookie, uint16_t port)
{
	return (struct past){
		.cookie = cookie, .generation = 3, .netns = TEST_NETNS, .port = port, .proto = IPPROTO_TCP,
		.how = PW_HOW_BIND, .lasts = true, .since = NOW - 100 * SEC, .until = NOW, .owner = &nginx, .boot = boot,
	};
}

static int read_boot(void **state)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0 && read(fd, boot, sizeof(boot) - 1) > 0);
	boot[strcspn(boot, "\n")] = '\0';
	close(fd);
	return 0;
}

static const struct recalled *find(const struct recall *recall, uint64_t cookie, uint16_t port)
{
	const struct holder holder = { .cookie = cookie, .port = port };

	return recall_find(recall, &holder);
}

static void what_lasts_is_known(void **state)
{
	_cleanup_recall_ struct recall recall = { .boot = NULL };
	struct past pasts[] = { lasting(1, 80), lasting(2, 80), lasting(3, 81) };
	struct history history = { .pasts = pasts, .past_count = 3 };
	const struct recalled *r;

	(void)state;
	pasts[1].owner = NULL;
	pasts[1].began_before = true;
	assert_int_equal(recall_take(&recall, &history, 80, 80, PW_PROTO_TCP, NOW), 0);
	r = find(&recall, 1, 80);
	assert_non_null(r);
	assert_int_equal(r->since, NOW - 100 * SEC);
	assert_int_equal(r->generation, 3);
	assert_int_equal(r->how, PW_HOW_BIND);
	assert_string_equal(r->owner->exe, "/usr/sbin/nginx");
	assert_ptr_not_equal(r->owner, &nginx);
	r = find(&recall, 2, 80);
	assert_true(r && r->began_before && !r->owner);
	/* Another port, that was not asked for; and one socket is on one port. */
	assert_null(find(&recall, 3, 81));
	assert_null(find(&recall, 1, 81));
	/* Asked again it is what it was. */
	assert_int_equal(recall_take(&recall, &history, 1, 65535, PW_PROTO_TCP, NOW), 0);
	assert_non_null(find(&recall, 1, 80));
	assert_non_null(find(&recall, 3, 81));
}

static void what_ended_or_is_of_another_boot_is_not(void **state)
{
	_cleanup_recall_ struct recall recall = { .boot = NULL };
	struct past pasts[] = { lasting(1, 80), lasting(2, 80) };
	struct history history = { .pasts = pasts, .past_count = 2 };

	(void)state;
	pasts[0].lasts = false;
	pasts[1].boot = "another";
	assert_int_equal(recall_take(&recall, &history, 80, 80, PW_PROTO_TCP, NOW), 0);
	for (uint64_t cookie = 1; cookie <= 2; cookie++)
		assert_null(find(&recall, cookie, 80));
}

static void failures(void **state)
{
	struct past p = lasting(1, 80);
	struct history history = { .pasts = &p, .past_count = 1, .error = -EBADMSG };
	struct recall broken = { .boot = NULL };
	int r = -ENOMEM;

	(void)state;
	assert_int_equal(recall_take(&broken, &history, 80, 80, PW_PROTO_TCP, NOW), -EBADMSG);
	history.error = 0;
	for (size_t n = 0; r; n++) {
		_cleanup_recall_ struct recall recall = { .boot = NULL };

		unit_fail_after(n);
		r = recall_take(&recall, &history, 80, 80, PW_PROTO_TCP, NOW);
		unit_fail_never();
		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(!r, find(&recall, 1, 80) != NULL);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(what_lasts_is_known),
	cmocka_unit_test(what_ended_or_is_of_another_boot_is_not),
	cmocka_unit_test(failures),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, read_boot, NULL);
}
