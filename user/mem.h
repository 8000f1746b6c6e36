/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Allocation that a test can make fail. What these return is released by free() (pw_free() is the same).
 */
#ifndef PORTWAKE_USER_MEM_H
#define PORTWAKE_USER_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed; NULL when there is no memory or count * size overflows. */
void *pw_calloc(size_t count, size_t size);

/* As realloc() of count * size bytes: on failure NULL, and the old block stays as it was. Never called with 0. */
void *pw_reallocarray(void *block, size_t count, size_t size);

/* A copy of at most len bytes of text, terminated. */
char *pw_strndup(const char *text, size_t len);
char *pw_strdup(const char *text);

void pw_free(void *block);

/*
 * From now on every allocation above asks fails() first, and is refused when that says true. NULL puts things
 * right again. For tests only.
 */
void mem_fail_hook(bool (*fails)(size_t size));

#endif
