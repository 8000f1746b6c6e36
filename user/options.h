/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a command line can say, as a table: the parser, --help and the man page
 * are made from it.
 */
#ifndef PORTWAKE_USER_OPTIONS_H
#define PORTWAKE_USER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/event.h"
#include "user/clock.h"
#include "user/num.h"
#include "user/stats.h"

#define OPTIONS_FILES 16

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV };

struct options {
	bool json;
	bool listeners;
	bool denied;
	bool no_denied;
	bool by_port;
	bool watch;
	bool help;
	struct pw_settings settings;	/* the filters that act in the kernel */
	struct port_set ports;
	uint64_t duration_ns;
	uint32_t ring_size;
	const char *cgroup;		/* NULL: any */
	const char *files[OPTIONS_FILES];	/* --ports */
	size_t file_count;
	const char *rungs[OPTIONS_FILES];	/* --rung */
	size_t rung_count;
	enum stats_by by;
	enum stats_sort sort;
	const char *db;			/* --db; NULL: HISTORY_DB */
	uint64_t keep_ns, max_size;	/* record: --keep, --max-size; 0: no bound */
	struct moment at;		/* last 0: not given */
	uint64_t since, until;		/* ns since 1970; 0: not given */
	uint64_t now;			/* what times before now go by; 0: none was given */
	enum format format;
	char *const *command;		/* NULL: none */
	char **words;			/* what is no option, of a command that takes such */
	size_t word_count;
};

/* The commands, for `option.commands`. */
enum command_bit {
	FOR_LIVE = 1,
	FOR_STATS = 2,
	FOR_PROBES = 4,
	FOR_POOL = 8,
	FOR_AUDIT = 16,
	FOR_WHO = 32,
	FOR_RECORD = 64,
	FOR_TRACING = FOR_LIVE | FOR_STATS | FOR_RECORD,
	FOR_ALL = FOR_TRACING | FOR_PROBES | FOR_POOL | FOR_AUDIT | FOR_WHO,
};

struct option_row {
	const char *name;		/* without "--" */
	char letter;			/* 0: none */
	const char *value;		/* what it takes, for help; NULL: nothing; "[...]": a number, or nothing */
	const char *help;
	unsigned int commands;		/* enum command_bit */
	/* 0, or -EINVAL with the reason in why ("not a port: ..."). value points into argv; NULL when it is left out. */
	int (*set)(struct options *options, const char *value, char *why, size_t size);
};

extern const struct option_row option_rows[];
extern const size_t option_count;

/*
 * Parses argv[1..argc) for a command. 0, or -EINVAL with one line in why that
 * names the option. What stands behind "--" becomes options->command, where
 * the command takes one.
 */
int options_parse(struct options *options, unsigned int command, int argc, char **argv, char *why, size_t size);

#endif
