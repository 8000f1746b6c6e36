/* SPDX-License-Identifier: GPL-2.0 */
/* Reading and writing time. */
#include "user/clock.h"

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
