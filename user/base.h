/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The words every file of user/ may use: attributes, ownership, sizes.
 *
 * An owner is declared with its _cleanup_*_ attribute and initialised at once (pointers to NULL, descriptors
 * to -1); whoever hands it on says TAKE_PTR() or TAKE_FD().
 */
#ifndef PORTWAKE_USER_BASE_H
#define PORTWAKE_USER_BASE_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PORTWAKE_VERSION "0.1"

#define _cleanup_(fn)		__attribute__((cleanup(fn)))
#define _unused			__attribute__((unused))
#define _printf_(fmt, args)	__attribute__((format(printf, fmt, args)))
#define _nodiscard		__attribute__((warn_unused_result))

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

#define TAKE_PTR(p)		__extension__ ({ __typeof__(p) *_from = &(p); __typeof__(p) _taken = *_from; \
						 *_from = NULL; _taken; })
#define TAKE_FD(fd)		__extension__ ({ int *_from = &(fd); int _taken = *_from; *_from = -1; _taken; })

/* Closes *fd unless it is negative, sets it to -1 and leaves errno alone. */
static inline void close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

static inline void freep(void *pointer_to_pointer)
{
	void **p = pointer_to_pointer;

	free(*p);
	*p = NULL;
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
	*f = NULL;
}

static inline void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
	*dir = NULL;
}

#define _cleanup_free_		_cleanup_(freep)
#define _cleanup_close_		_cleanup_(close_fd)
#define _cleanup_fclose_	_cleanup_(fclosep)
#define _cleanup_closedir_	_cleanup_(closedirp)

#endif
