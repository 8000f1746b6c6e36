/* SPDX-License-Identifier: GPL-2.0 */
/* What a service tells its manager (sd_notify(3)), without its library: datagrams to $NOTIFY_SOCKET. */
#ifndef PORTWAKE_USER_NOTIFY_H
#define PORTWAKE_USER_NOTIFY_H

#include <stdbool.h>

#include "user/base.h"

struct notify {
	int fd;			/* -1: nobody is to be told */
	bool watchdog;		/* it wants a sign of life, WATCHDOG=1: one a second is often enough for any of two and more */
};

#define NOTIFY_INIT ((struct notify){ .fd = -1 })

/* address: $NOTIFY_SOCKET, a path or, with @, an abstract name; watchdog: $WATCHDOG_USEC; either NULL: not given. 0 or -errno. */
int notify_open(struct notify *notify, const char *address, const char *watchdog);
void notify_close(struct notify *notify);

/* "READY=1", "STATUS=...": best effort, and never waits. What is too long is cut: words for people are to come last. */
void notify_send(const struct notify *notify, const char *fmt, ...) _printf_(2, 3);

#define _cleanup_notify_ _cleanup_(notify_close)

#endif
