/* SPDX-License-Identifier: GPL-2.0 */
/* Allocation with a seam for tests. */
#include "user/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool (*hook)(size_t size);

static bool refused(size_t count, size_t size)
{
	size_t total;

	return __builtin_mul_overflow(count, size, &total) || (hook && hook(total));
}

void mem_fail_hook(bool (*fails)(size_t size))
{
	hook = fails;
}

void *pw_calloc(size_t count, size_t size)
{
	if (refused(count, size))
		return NULL;
	return calloc(count, size);
}

void *pw_reallocarray(void *block, size_t count, size_t size)
{
	if (refused(count, size))
		return NULL;
	return realloc(block, count * size);
}

char *pw_strndup(const char *text, size_t len)
{
	if (refused(len + 1, 1))
		return NULL;
	return strndup(text, len);
}

char *pw_strdup(const char *text)
{
	return pw_strndup(text, strlen(text));
}

void pw_free(void *block)
{
	free(block);
}
