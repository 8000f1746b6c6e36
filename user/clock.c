/* SPDX-License-Identifier: GPL-2.0 */
/* Reading and writing time. */
#include "user/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_SEC	1000000000ULL
#define READS		16

static uint64_t now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t now_boottime(void)
{
	return now(CLOCK_BOOTTIME);
}

uint64_t now_realtime(void)
{
	return now(CLOCK_REALTIME);
}

int64_t clock_offset(void)
{
	uint64_t tightest = UINT64_MAX;
	int64_t offset = 0;

	for (int i = 0; i < READS; i++) {
		uint64_t before = now_boottime(), wall = now_realtime(), after = now_boottime();

		if (after - before >= tightest)
			continue;
		tightest = after - before;
		offset = (int64_t)(wall - before - tightest / 2);
	}
	return offset;
}

static char *put(char *at, uint64_t value, int width, char behind)
{
	for (int i = width - 1; i >= 0; i--) {
		at[i] = (char)('0' + value % 10);
		value /= 10;
	}
	at[width] = behind;
	return at + width + 1;
}

/* By hand: this is written once a record, and snprintf() costs more than the rest of the line. */
char *clock_format(uint64_t realtime_ns, char out[CLOCK_TEXT_SIZE])
{
	time_t seconds = (time_t)(realtime_ns / NSEC_PER_SEC);
	char *at = out;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	at = put(at, (uint64_t)tm.tm_year + 1900, 4, '-');
	at = put(at, (uint64_t)tm.tm_mon + 1, 2, '-');
	at = put(at, (uint64_t)tm.tm_mday, 2, 'T');
	at = put(at, (uint64_t)tm.tm_hour, 2, ':');
	at = put(at, (uint64_t)tm.tm_min, 2, ':');
	at = put(at, (uint64_t)tm.tm_sec, 2, '.');
	at = put(at, realtime_ns % NSEC_PER_SEC, 9, 'Z');
	*at = '\0';
	return out;
}

/* Reads exactly `width` digits from *at. -1: they are not there, or out of bounds. */
static int part(const char **at, int width, int min, int max)
{
	int value = 0;

	for (int i = 0; i < width; i++, (*at)++) {
		if (**at < '0' || **at > '9')
			return -1;
		value = value * 10 + (**at - '0');
	}
	return value < min || value > max ? -1 : value;
}

static bool skip(const char **at, const char *any_of)
{
	if (!**at || !strchr(any_of, **at))
		return false;
	(*at)++;
	return true;
}

static bool parse_day(const char **at, struct tm *tm)
{
	tm->tm_year = part(at, 4, 1970, 2261) - 1900;
	if (tm->tm_year < 0 || !skip(at, "-"))
		return false;
	tm->tm_mon = part(at, 2, 1, 12) - 1;
	if (tm->tm_mon < 0 || !skip(at, "-"))
		return false;
	tm->tm_mday = part(at, 2, 1, 31);
	return tm->tm_mday > 0;
}

static bool parse_clock(const char **at, struct tm *tm)
{
	tm->tm_hour = part(at, 2, 0, 23);
	if (tm->tm_hour < 0 || !skip(at, ":"))
		return false;
	tm->tm_min = part(at, 2, 0, 59);
	if (tm->tm_min < 0 || !skip(at, ":"))
		return false;
	tm->tm_sec = part(at, 2, 0, 59);
	return tm->tm_sec >= 0;
}

static bool parse_fraction(const char **at, uint64_t *ns)
{
	uint64_t unit = NSEC_PER_SEC / 10;
	const char *start;

	*ns = 0;
	if (!skip(at, "."))
		return true;
	for (start = *at; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
		*ns += unit * (uint64_t)(**at - '0');
	return *at > start && *at - start <= 9;
}

/* Seconds east of UTC. */
static bool parse_zone(const char **at, long *east)
{
	bool west = **at == '-';
	int hours, minutes;

	*east = 0;
	if (skip(at, "Z"))
		return true;
	if (!skip(at, "+-"))
		return false;
	hours = part(at, 2, 0, 23);
	if (hours < 0 || !skip(at, ":"))
		return false;
	minutes = part(at, 2, 0, 59);
	*east = (west ? -60L : 60L) * (hours * 60 + minutes);
	return minutes >= 0;
}

int clock_parse(const char *text, uint64_t *out)
{
	struct tm tm = { .tm_isdst = -1 };
	int day;
	uint64_t ns;
	time_t seconds;
	long east = 0;

	if (!parse_day(&text, &tm) || !skip(&text, "Tt ") || !parse_clock(&text, &tm) || !parse_fraction(&text, &ns))
		return -EINVAL;
	day = tm.tm_mday;
	if (!*text)
		seconds = mktime(&tm);
	else if (parse_zone(&text, &east) && !*text)
		seconds = timegm(&tm) - east;
	else
		return -EINVAL;
	/* The 31st of a shorter month was carried over. */
	if (seconds < 0 || tm.tm_mday != day)
		return -EINVAL;
	*out = (uint64_t)seconds * NSEC_PER_SEC + ns;
	return 0;
}
