/* SPDX-License-Identifier: GPL-2.0 */
/* A service manager is told, by a path or an abstract name. */
#include "user/notify.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static int manager(const struct sockaddr_un *name, size_t length)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
			 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char got[600] = "";

	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), strlen(text));
	assert_string_equal(got, text);
}

/* That it is ready is told, however long the path is; and no half of a character. */
static void expect_cut(int fd, const struct notify *notify)
{
	static const char start[] = "READY=1\nSTATUS=Recording to /";
	char path[1201] = "", got[600];

	for (size_t i = 0; i < 600; i++)
		memcpy(path + 2 * i, "\xc3\xbc", 2);
	for (size_t odd = 0; odd < 2; odd++) {
		ssize_t length;

		memset(got, 0, sizeof(got));
		notify_send(notify, "%s%s%s", start, odd ? "x" : "", path);
		length = recv(fd, got, sizeof(got) - 1, 0);
		assert_true(length > 500 && length < 512);
		assert_memory_equal(got, start, sizeof(start) - 1);
		assert_int_equal((length - (ssize_t)(sizeof(start) - 1 + odd)) % 2, 0);
	}
}

static void tell(int fd, const char *address)
{
	_cleanup_notify_ struct notify notify = NOTIFY_INIT;

	assert_int_equal(notify_open(&notify, address, "30000000"), 0);
	assert_true(notify.watchdog);
	notify_send(&notify, "READY=1\nSTATUS=%d sockets", 7);
	expect(fd, "READY=1\nSTATUS=7 sockets");
	expect_cut(fd, &notify);
	close(fd);
	/* Nobody listens any more. */
	notify_send(&notify, "STOPPING=1");
}

static void by_path(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/portwake-notify-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	strcpy(name.sun_path, path);
	tell(manager(&name, strlen(path) + 1), path);
	unlink(path);
	rmdir(dir);
}

static void by_abstract_name(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	char address[64];
	int length = snprintf(address, sizeof(address), "@portwake-notify-%d", getpid());

	(void)state;
	memcpy(name.sun_path, address, (size_t)length);
	name.sun_path[0] = '\0';
	tell(manager(&name, (size_t)length), address);
}

static void by_none(void **state)
{
	struct notify notify;
	char longer[200];

	(void)state;
	assert_int_equal(notify_open(&notify, NULL, "1000000"), 0);
	assert_int_equal(notify.fd, -1);
	assert_false(notify.watchdog);
	notify_send(&notify, "READY=1");
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(notify_open(&notify, longer, NULL), -EINVAL);
	assert_int_equal(notify_open(&notify, "relative", NULL), -EINVAL);
	assert_int_equal(notify_open(&notify, "", NULL), -EINVAL);
	assert_int_equal(notify_open(&notify, "/nowhere/socket", NULL), -ENOENT);
	assert_int_equal(notify.fd, -1);
}

static void watchdog(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	_cleanup_notify_ struct notify notify = NOTIFY_INIT;
	char address[64];
	int length = snprintf(address, sizeof(address), "@portwake-watchdog-%d", getpid());
	_cleanup_close_ int fd = -1;

	(void)state;
	memcpy(name.sun_path, address, (size_t)length);
	name.sun_path[0] = '\0';
	fd = manager(&name, (size_t)length);
	assert_int_equal(notify_open(&notify, address, NULL), 0);
	assert_false(notify.watchdog);
	notify_close(&notify);
	assert_int_equal(notify_open(&notify, address, "soon"), 0);
	assert_false(notify.watchdog);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(by_path),
	cmocka_unit_test(by_abstract_name),
	cmocka_unit_test(by_none),
	cmocka_unit_test(watchdog),
};

UNIT_MAIN(tests)
