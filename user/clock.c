/* SPDX-License-Identifier: GPL-2.0 */
/* Reading and writing time. */
#include "user/clock.h"

#include <stdarg.h>
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

/* To the minute or to the second. */
static bool parse_clock(const char **at, struct tm *tm, uint64_t *width)
{
	*width = 60 * NSEC_PER_SEC;
	tm->tm_hour = part(at, 2, 0, 23);
	if (tm->tm_hour < 0 || !skip(at, ":"))
		return false;
	tm->tm_min = part(at, 2, 0, 59);
	if (tm->tm_min < 0)
		return false;
	if (!skip(at, ":"))
		return true;
	*width = NSEC_PER_SEC;
	tm->tm_sec = part(at, 2, 0, 59);
	return tm->tm_sec >= 0;
}

/* Behind whole seconds. */
static bool parse_fraction(const char **at, uint64_t *ns, uint64_t *width)
{
	const char *start;

	*ns = 0;
	if (*width != NSEC_PER_SEC || !skip(at, "."))
		return true;
	for (start = *at; **at >= '0' && **at <= '9' && *at - start < 9; (*at)++) {
		*width /= 10;
		*ns += *width * (uint64_t)(**at - '0');
	}
	return *at > start;
}

/* Seconds east of UTC. */
static bool parse_zone(const char **at, long *east)
{
	bool west = **at == '-';
	int hours, minutes;

	*east = 0;
	if (skip(at, "Zz"))
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

static int refuse(char *why, size_t size, const char *fmt, ...) _printf_(3, 4);

static int refuse(char *why, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, size, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* ---- local time ---- */

static bool same_clock(const struct tm *a, const struct tm *b)
{
	return a->tm_year == b->tm_year && a->tm_mon == b->tm_mon && a->tm_mday == b->tm_mday &&
	       a->tm_hour == b->tm_hour && a->tm_min == b->tm_min && a->tm_sec == b->tm_sec;
}

static long offset_at(time_t seconds)
{
	struct tm tm = { .tm_gmtoff = 0 };

	localtime_r(&seconds, &tm);
	return tm.tm_gmtoff;
}

/* The offsets of the day before and of the day after: what clocks went by, however they were changed in between. */
struct offsets {
	long before, after;
};

static struct offsets offsets_around(time_t utc)
{
	return (struct offsets){ offset_at(utc - 86400), offset_at(utc + 86400) };
}

/* How often a clock on the wall showed this: 0 to 2 times, and when. utc: the same reading in UTC. */
static int when_shown(time_t utc, struct offsets offsets, time_t found[2])
{
	struct tm wanted, tm;
	int count = 0;

	gmtime_r(&utc, &wanted);
	for (int i = 0; i < 2; i++) {
		time_t seconds = utc - (i ? offsets.after : offsets.before);

		if ((i && offsets.after == offsets.before) || !localtime_r(&seconds, &tm) || !same_clock(&tm, &wanted))
			continue;
		found[count++] = seconds;
	}
	return count;
}

/* "2026-10-25T02:30:00+01:00" */
#define ZONED 32

static char *with_zone(time_t utc, long east, char out[ZONED])
{
	struct tm tm;
	size_t used = strftime(out, ZONED, "%Y-%m-%dT%H:%M:%S", gmtime_r(&utc, &tm));

	snprintf(out + used, ZONED - used, "%c%02ld:%02ld", east < 0 ? '-' : '+', labs(east) / 3600, labs(east) / 60 % 60);
	return out;
}

static int to_local(const char *text, time_t utc, time_t *out, char *why, size_t size)
{
	struct offsets offsets = offsets_around(utc);
	char first[ZONED], second[ZONED];
	time_t found[2];
	int count = when_shown(utc, offsets, found);

	with_zone(utc, offsets.before, first);
	with_zone(utc, offsets.after, second);
	if (!count)
		return refuse(why, size, "'%s' never was: clocks were put forward then; write the zone, as in %s or %s", text,
			      first, second);
	if (count > 1)
		return refuse(why, size, "'%s' was twice: clocks were put back then; write the zone, as in %s or %s", text,
			      first, second);
	*out = found[0];
	return 0;
}

/* ---- times as they are written ---- */

struct written {
	struct tm tm;
	uint64_t ns, width;	/* of the second; how long it is as a whole; a day's own is its zone's */
	bool day, clock, zone;	/* what of it is there */
	long east;
};

static bool read_written(const char *at, struct written *w)
{
	const char *start = at;

	*w = (struct written){ 0 };
	w->day = parse_day(&at, &w->tm);
	if (!w->day) {
		at = start;
		w->tm = (struct tm){ 0 };
	}
	if (w->day && !*at)
		return true;
	w->clock = (!w->day || skip(&at, "Tt ")) && parse_clock(&at, &w->tm, &w->width) &&
		   parse_fraction(&at, &w->ns, &w->width);
	if (!w->clock || !*at)
		return w->clock;
	w->zone = w->day && parse_zone(&at, &w->east);
	return w->zone && !*at;
}

static void set_today(struct tm *tm, uint64_t now)
{
	time_t seconds = (time_t)(now / NSEC_PER_SEC);
	struct tm today;

	localtime_r(&seconds, &today);
	tm->tm_year = today.tm_year;
	tm->tm_mon = today.tm_mon;
	tm->tm_mday = today.tm_mday;
}

/* The reading as if it were UTC's; -1 for one that no calendar has. */
static time_t as_utc(const struct tm *tm)
{
	struct tm copy = *tm;
	time_t utc = timegm(&copy);

	/* The 31st of a shorter month was carried over. */
	return copy.tm_mday == tm->tm_mday ? utc : -1;
}

/* The first second of that time that went by another offset than its begin. */
static time_t changed_in(time_t from, time_t to)
{
	long before = offset_at(from);

	while (to - from > 1) {
		time_t middle = from + (to - from) / 2;

		if (offset_at(middle) == before)
			from = middle;
		else
			to = middle;
	}
	return to;
}

/* When a clock on the wall first showed this, or a later time. */
static time_t first_from(time_t utc)
{
	struct offsets offsets = offsets_around(utc);
	time_t change;

	if (offsets.before == offsets.after)
		return utc - offsets.before;
	change = changed_in(utc - 86400, utc + 86400);
	if (utc - offsets.before < change)
		return utc - offsets.before;
	return utc - offsets.after > change ? utc - offsets.after : change;
}

/* From when on it showed nothing before this. */
static time_t no_more_before(time_t utc)
{
	struct offsets offsets = offsets_around(utc);
	time_t change;

	if (offsets.before == offsets.after)
		return utc - offsets.before;
	change = changed_in(utc - 86400, utc + 86400);
	if (utc - offsets.after > change)
		return utc - offsets.after;
	return utc - offsets.before < change ? utc - offsets.before : change;
}

/* From the first moment that has its date to the last: its midnight may never have been, or twice. */
static int day_of(const char *text, time_t utc, struct moment *out, char *why, size_t size)
{
	time_t begins = first_from(utc), ends = no_more_before(utc + 86400);

	if (ends <= begins)
		return refuse(why, size, "'%s' never was: clocks were put forward by that whole day", text);
	if (begins < 0)
		return refuse(why, size, "'%s' is before 1970", text);
	out->first = (uint64_t)begins * NSEC_PER_SEC;
	out->last = (uint64_t)ends * NSEC_PER_SEC - 1;
	return 0;
}

static int moment_of(const char *text, struct written *w, uint64_t now, struct moment *out, char *why, size_t size)
{
	time_t utc, seconds = 0;

	if (!w->day)
		set_today(&w->tm, now);
	utc = as_utc(&w->tm);
	if (utc == -1)
		return refuse(why, size, "'%s' is a day that no calendar has", text);
	if (!w->clock)
		return day_of(text, utc, out, why, size);
	if (w->zone)
		seconds = utc - w->east;
	else if (to_local(text, utc, &seconds, why, size))
		return -EINVAL;
	if (seconds < 0)
		return refuse(why, size, "'%s' is before 1970", text);
	out->first = (uint64_t)seconds * NSEC_PER_SEC + w->ns;
	out->last = out->first + w->width - 1;
	return 0;
}

/* ---- numbers ---- */

/* Up to 10 digits: seconds till the year 2286, and more days than there were. */
static bool number(const char **at, uint64_t *value)
{
	const char *start = *at;

	for (*value = 0; **at >= '0' && **at <= '9' && *at - start < 10; (*at)++)
		*value = *value * 10 + (uint64_t)(**at - '0');
	return *at > start;
}

static bool read_epoch(const char *at, struct moment *out)
{
	uint64_t seconds, ns, width = NSEC_PER_SEC;

	if (!number(&at, &seconds) || !parse_fraction(&at, &ns, &width) || *at)
		return false;
	out->first = seconds * NSEC_PER_SEC + ns;
	out->last = out->first + width - 1;
	return true;
}

/* Nanoseconds of "5m", "-5m". */
static bool read_span(const char *at, uint64_t *ns)
{
	static const char units[] = "smhdw";
	static const uint64_t seconds[] = { 1, 60, 3600, 86400, 604800 };
	const char *unit;
	uint64_t count;

	skip(&at, "-");
	if (!number(&at, &count) || !*at || at[1])
		return false;
	unit = strchr(units, *at);
	return unit && !__builtin_mul_overflow(count, seconds[unit - units] * NSEC_PER_SEC, ns);
}

/* ---- the whole ---- */

static int read_moment(const char *text, uint64_t now, struct moment *out, char *why, size_t size)
{
	struct written written;
	uint64_t ago;

	if (*text == '@' && read_epoch(text + 1, out))
		return 0;
	if (read_span(text, &ago)) {
		if (ago > now)
			return refuse(why, size, "'%s' is before 1970", text);
		out->first = out->last = now - ago;
		return 0;
	}
	if (!read_written(text, &written))
		return refuse(why, size, "'%s' is not a time; as in " CLOCK_MOMENTS, text);
	if (moment_of(text, &written, now, out, why, size))
		return -EINVAL;
	if (out->first > now && !written.day)
		return refuse(why, size, "'%s' is still to come today; for another day write its date, as in 2026-11-20 %s",
			      text, text);
	return 0;
}

int clock_moment(const char *text, uint64_t now, struct moment *out, char *why, size_t size)
{
	struct moment read = { 0, 0 };

	tzset();
	if (read_moment(text, now, &read, why, size))
		return -EINVAL;
	if (read.first > now)
		return refuse(why, size, "'%s' is still to come: only what has been can be asked for", text);
	/* Of 1970 at the earliest: 0 is no time. */
	*out = (struct moment){ read.first, read.last > now ? now : read.last ? read.last : 1 };
	return 0;
}
