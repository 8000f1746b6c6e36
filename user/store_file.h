/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The database as a file: opened, possibly by descriptors alone; locked against
 * a second recorder; made or brought forward to this version's tables. SQLite's
 * errors as words with a remedy.
 */
#ifndef PORTWAKE_USER_STORE_FILE_H
#define PORTWAKE_USER_STORE_FILE_H

#include <stdint.h>

#include "user/base.h"

/* Descriptors (O_PATH is enough) of the database and what SQLite keeps beside it; -1: by path. */
struct store_files {
	int db, wal, shm;
};

struct sqlite3;
struct store_file;

/* Makes an empty database where there is none. 0, -EEXIST, or -errno with why. */
int store_file_create(const char *path, char *why, size_t why_size);

/*
 * For writing. files: doubled. 0, or -errno with one line in why[]: -EBUSY another recorder
 * writes to it, -EBADMSG damaged or none of ours, -EPROTONOSUPPORT of a newer version.
 */
int store_file_open(const char *path, const struct store_files *files, struct store_file **out, char *why,
		    size_t why_size);
void store_file_free(struct store_file **file);

/* The connection, to be used by one thread at a time. */
struct sqlite3 *store_file_db(struct store_file *file);

/* Closes and opens the connection, keeping the lock: after errors that stick to it. 0 or -errno with why. */
int store_file_again(struct store_file *file, char *why, size_t why_size);

/* The connection's last error as -errno, and in words, with its remedy, in why[]. */
int store_file_error(struct store_file *file, char *why, size_t why_size);

/* Bytes of pages that the write-ahead log held after the last commit. */
uint64_t store_file_wal(const struct store_file *file);

#define _cleanup_store_file_ _cleanup_(store_file_free)

#endif
