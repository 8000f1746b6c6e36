/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is said to a human: one line on stderr a call, "portwake: ...", with control characters escaped whatever
 * the arguments held. Only commands and the loop log; the core returns -errno.
 */
#ifndef PORTWAKE_USER_LOG_H
#define PORTWAKE_USER_LOG_H

#include <stdarg.h>

#include "user/base.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_NOTE,		/* the default: this and all above is shown */
	LOG_LEVEL_DEBUG,	/* with -v */
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/*
 * One write(2), so that lines of several processes do not mix; a trailing newline of the message is dropped and
 * a message too long for a line is cut. errno is left alone.
 */
void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);
void log_linev(enum log_level level, const char *fmt, va_list args) _printf_(2, 0);

#define log_error(...)	log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_note(...)	log_line(LOG_LEVEL_NOTE, __VA_ARGS__)
#define log_debug(...)	log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
