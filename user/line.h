/* SPDX-License-Identifier: GPL-2.0 */
/* Words that every form of a line uses alike. Pure. */
#ifndef PORTWAKE_USER_LINE_H
#define PORTWAKE_USER_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "user/output.h"

/* An address, with its NUL; and one with brackets, colon and port. */
#define ADDR_TEXT 46
#define ENDPOINT_TEXT (ADDR_TEXT + 8)

/* "127.0.0.1", "::1"; "" for family 0. Returns out. */
char *addr_text(const struct event_addr *addr, char out[ADDR_TEXT]);

/* "127.0.0.1:80", "[::1]:80". Returns out. */
char *endpoint_text(const struct event_addr *addr, uint16_t port, char out[ENDPOINT_TEXT]);

/* "tcp", "udp", "udplite"; NULL for others. */
const char *proto_name(uint8_t proto);

/* What a lifetime is in: "listen", "connected", "bound", "time_wait". */
const char *line_state(const struct line *line);

/* "ECONNREFUSED"; NULL for 0 and for what has no name. */
const char *error_name(uint32_t error);

/* Did another process than the owner do this? */
bool line_by_another(const struct line *line);

#endif
