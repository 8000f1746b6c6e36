/* SPDX-License-Identifier: GPL-2.0 */
/* Foreign text (process names, paths, arguments) made harmless for a terminal and readable as one line. */
#ifndef PORTWAKE_USER_ESCAPE_H
#define PORTWAKE_USER_ESCAPE_H

#include <stddef.h>

/* The longest that one byte of input can become: "\xHH"; and one character of it, which has up to 4 bytes. */
#define ESCAPE_MAX	4
#define ESCAPE_PIECE	(4 * ESCAPE_MAX)

/*
 * Writes text[0..len) to out[0..size), always terminated (size > 0). Printable ASCII and printable UTF-8 stand
 * as they are; a backslash becomes "\\"; control characters (C0, DEL, C1), the invisible ones that reorder or
 * break a line (U+200E..F, U+2028..E, U+2066..9, U+FEFF) and bytes that are no UTF-8 become "\xHH" byte by
 * byte. Returns the length written; what does not fit is cut off at a whole character. A buffer of
 * ESCAPE_MAX * len + 1 bytes always suffices.
 */
size_t escape_text(char *out, size_t size, const char *text, size_t len);

/*
 * The first character of text[0..len), len > 0: puts what it becomes into piece, not terminated, and returns the
 * length of that; *used says how many bytes of text it took.
 */
size_t escape_next(char piece[ESCAPE_PIECE], const char *text, size_t len, size_t *used);

/* Length of the valid UTF-8 sequence at text[0..len), or 0 when there is none. Overlong forms, surrogates and
 * code points past U+10FFFF are invalid. */
size_t escape_utf8_len(const char *text, size_t len);

#endif
