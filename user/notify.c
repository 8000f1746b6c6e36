/* SPDX-License-Identifier: GPL-2.0 */
/* Words to the service manager. */
#include "user/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "user/num.h"

static int connect_to(const char *address)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	size_t length = strlen(address);

	if (!length || length >= sizeof(to.sun_path) || (*address != '/' && *address != '@'))
		return -EINVAL;
	memcpy(to.sun_path, address, length);
	if (*address == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* Of an abstract name the length ends it, of a path a NUL. */
	if (fd < 0 || connect(fd, (struct sockaddr *)&to,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*address == '/'))) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int notify_open(struct notify *notify, const char *address, const char *watchdog)
{
	uint64_t microseconds;
	int fd = address ? connect_to(address) : -1;

	*notify = NOTIFY_INIT;
	if (!address)
		return 0;
	if (fd < 0)
		return fd;
	notify->fd = fd;
	notify->watchdog = watchdog && !num_u64(watchdog, 1, UINT64_MAX, &microseconds);
	return 0;
}

void notify_close(struct notify *notify)
{
	close_fd(&notify->fd);
}

/* In front of a character, not in it: what is no UTF-8 is not shown. */
static size_t cut(const char *text, size_t length)
{
	while (length && ((unsigned char)text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

void notify_send(const struct notify *notify, const char *fmt, ...)
{
	char text[512];
	va_list args;
	int length;

	if (notify->fd < 0)
		return;
	va_start(args, fmt);
	length = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (length > 0)
		send(notify->fd, text, (size_t)length < sizeof(text) ? (size_t)length : cut(text, sizeof(text) - 2),
		     MSG_DONTWAIT | MSG_NOSIGNAL);
}
