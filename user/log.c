/* SPDX-License-Identifier: GPL-2.0 */
/* Lines for a human, on stderr. */
#include "user/log.h"

#include <string.h>

#include "user/escape.h"

#define PREFIX		"portwake: "
#define MESSAGE_MAX	2048

static enum log_level shown = LOG_LEVEL_NOTE;

void log_set_level(enum log_level level)
{
	shown = level;
}

enum log_level log_get_level(void)
{
	return shown;
}

static size_t message_length(const char *message, int printed)
{
	size_t len = printed < 0 ? 0 : strnlen(message, MESSAGE_MAX);

	while (len > 0 && message[len - 1] == '\n')
		len--;
	return len;
}

void log_linev(enum log_level level, const char *fmt, va_list args)
{
	char line[sizeof(PREFIX) + ESCAPE_MAX * MESSAGE_MAX + 1] = PREFIX;
	size_t prefix = strlen(PREFIX), len;
	char message[MESSAGE_MAX];
	int saved = errno;
	ssize_t written;

	if (level > shown)
		return;
	len = message_length(message, vsnprintf(message, sizeof(message), fmt, args));
	len = prefix + escape_text(line + prefix, sizeof(line) - prefix - 1, message, len);
	line[len++] = '\n';
	/* A closed or full stderr leaves nobody to tell. */
	written = write(STDERR_FILENO, line, len);
	(void)written;
	errno = saved;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_linev(level, fmt, args);
	va_end(args);
}
