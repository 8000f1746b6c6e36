/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The files of the database, for a recorder that may neither make them nor
 * reach their directory: made by root, given away, and opened as descriptors
 * that a path is not needed for. What lies there is never written to, and links
 * are not followed: the directory may be the recorder's own.
 */
#ifndef PORTWAKE_USER_DBFILE_H
#define PORTWAKE_USER_DBFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/base.h"
#include "user/privilege.h"
#include "user/store.h"

#define STORE_FILES_INIT ((struct store_files){ -1, -1, -1 })

struct dbfile {
	char path[PATH_MAX];		/* absolute */
	struct privilege_user user;	/* whose the files are */
	void *image;			/* an empty database, */
	size_t image_size;		/* this long */
};

/*
 * path NULL: HISTORY_DB, whose directory is made. Touches nothing else. 0, or -errno with why; dbfile_done() in any
 * case.
 */
int dbfile_init(struct dbfile *file, const char *path, const struct privilege_user *user, char *why, size_t why_size);
void dbfile_done(struct dbfile *file);

/* Makes what is not there, and opens all three. 0, or -errno with why. */
int dbfile_open(const struct dbfile *file, struct store_files *out, char *why, size_t why_size);

/*
 * Once nobody writes to the database that was there before: a log that it has left behind (-left), and that is not empty, by
 * its path; false: there is none. Those that are empty are removed.
 */
bool dbfile_left(const struct dbfile *file, char *out, size_t size);

/* Does the path lead to this very file? */
bool dbfile_is(const struct dbfile *file, uint64_t dev, uint64_t ino);

void store_files_close(struct store_files *files);

#define _cleanup_dbfile_ _cleanup_(dbfile_done)

#endif
