/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ports that are known for something: data/ports.tsv, which is part of the program, and the user's own files of
 * the same form. Columns, divided by one tab each:
 *
 *	first	last	proto	name	confidence	source
 *
 * proto is tcp, udp, udplite or sctp; confidence is registered (IANA), documented (by its project or vendor),
 * legacy (documented, older releases) or reported (port databases only); source may be left out. Empty lines and
 * lines that begin with # are skipped. In a file of the user, confidence none silences: the ports of that row are
 * no longer flagged.
 *
 * A row may flag a port (mark whoever listens there) or only explain it: one that spans more than
 * ANNOTATE_FLAG_SPAN ports would mark every other ephemeral port, so it never flags.
 */
#ifndef PORTWAKE_USER_ANNOTATE_H
#define PORTWAKE_USER_ANNOTATE_H

#include <stdbool.h>
#include <stdint.h>

#include "user/base.h"
#include "user/buf.h"

#define ANNOTATE_FLAG_SPAN	100
#define ANNOTATE_USER_DIR	"/etc/portwake/ports.d"

enum annotate_confidence {
	ANNOTATE_REGISTERED,
	ANNOTATE_DOCUMENTED,
	ANNOTATE_LEGACY,
	ANNOTATE_REPORTED,
	ANNOTATE_NONE,
};

struct annotate_row {
	uint16_t first, last;
	uint8_t proto;		/* IPPROTO_* */
	uint8_t confidence;	/* enum annotate_confidence */
	uint16_t layer;		/* 0 is the shipped table, each file of the user's is one more */
	uint32_t line;
	const char *name;	/* "xsan: Apple Xsan Filesystem Access"; belongs to the table, as does source */
	const char *source;	/* "" when the row names none */
};

/* Where and why: "FILE:LINE: reason", or "FILE: reason". */
struct annotate_error {
	char text[512];
};

struct annotate_table;

/* The shipped rows. 0 or -ENOMEM; annotate_free() releases them. */
int annotate_new(struct annotate_table **out);
void annotate_free(struct annotate_table **table);

#define _cleanup_annotate_ _cleanup_(annotate_free)

/*
 * Add rows of the user's, over all that were loaded before. 0; -EINVAL (a bad line), -EFBIG, -ENOMEM or what
 * reading gave, with error filled in and nothing of that file in the table. text need not outlive the call. A
 * directory gives its *.tsv in the order of their names, up to the first bad one; one that does not exist is an
 * empty one.
 */
int annotate_load_text(struct annotate_table *table, const char *file, const char *text, size_t len,
		       struct annotate_error *error);
int annotate_load_file(struct annotate_table *table, const char *path, struct annotate_error *error);
int annotate_load_dir(struct annotate_table *table, const char *dir, struct annotate_error *error);

/*
 * The row that flags this port, or NULL. The file loaded last wins, then the narrower row, then the better
 * confidence, then the earlier line; when the winner is a `none`, of whatever width, nothing flags.
 */
const struct annotate_row *annotate_find(const struct annotate_table *table, uint8_t proto, uint16_t port);

/*
 * Every row that covers this port, wide ones too and silenced ones too, in the order in which they win, without the
 * `none` rows. Fills rows[0..max) and returns how many there are, which may be more than max.
 */
size_t annotate_explain(const struct annotate_table *table, uint8_t proto, uint16_t port,
			const struct annotate_row **rows, size_t max);

/* "60420: listed for Apple Xsan Filesystem Access, unregistered, any program may use it". Returns buf_error(out). */
int annotate_sentence(const struct annotate_row *row, uint16_t port, struct buf *out);

const char *annotate_confidence_name(enum annotate_confidence confidence);

#endif
