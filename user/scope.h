/* SPDX-License-Identifier: GPL-2.0 */
/* What a recording is restricted to, as words: those of store_options.filter. */
#ifndef PORTWAKE_USER_SCOPE_H
#define PORTWAKE_USER_SCOPE_H

#include "user/options.h"

/* *out NULL: to nothing. 0, -ENOMEM, or -ENOBUFS for more than SCHEMA_FILTER_MAX. The caller frees it. */
int scope_text(const struct options *options, char **out);

#endif
