/* SPDX-License-Identifier: GPL-2.0 */
/* Command table, help, dispatch. */
#include "user/cli.h"

#include <string.h>

#include "user/cmd.h"
#include "user/log.h"

struct command {
	const char *name;
	const char *help;
	unsigned int bit;
	int (*run)(const struct options *options);
};

/* The first is what runs when no name is given. */
static const struct command commands[] = {
	{ "live", "stream of events: every allocation and release of a local port", FOR_LIVE, cmd_live },
	{ "record", "history: every lifetime into a database, as a service that keeps no privilege", FOR_RECORD, cmd_record },
	{ "stats", "lifetimes by port, process, destination or container", FOR_STATS, cmd_stats },
	{ "who", "who has a port now: PORT[-PORT][/PROTO]..., or - for lines of stdin", FOR_WHO, cmd_who },
	{ "pool", "the ephemeral range: size, reserved, held, left, by namespace and destination", FOR_POOL, cmd_pool },
	{ "audit", "fixed ports at risk, and the sysctl that helps; exit status 1 when there are any", FOR_AUDIT,
	  cmd_audit },
	{ "probes", "where it looks on this kernel, how exactly, and why better places were passed over", FOR_PROBES,
	  cmd_probes },
};

static void print_options(unsigned int bit)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		char left[64], letter[8] = "    ";

		if (!(row->commands & bit))
			continue;
		if (row->letter)
			snprintf(letter, sizeof(letter), "-%c, ", row->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name, row->value ? " " : "",
			 row->value ? row->value : "");
		printf("  %-28s %s\n", left, row->help);
	}
}

static int finish_stdout(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return STATUS_DONE;
	log_error("stdout: %s", strerror(errno));
	return STATUS_FAILED;
}

static int print_help(const struct command *command)
{
	printf("usage: portwake [COMMAND] [OPTION...] [-- PROGRAM ARG...]\n\n"
	       "Traces local ports: which process took one, from when to when, and what became of it.\n"
	       "With -- PROGRAM only that program and its descendants are traced, until it ends.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-10s %s%s\n", commands[i].name, commands[i].help, i ? "" : " (the default)");
	printf("\nOptions of %s:\n\n", command->name);
	print_options(command->bit);
	printf("\nExit status: 0 done; 1 failed; 2 usage; 3 cannot trace here; that of PROGRAM, if there is one.\n");
	return finish_stdout();
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

int cli(int argc, char **argv)
{
	const struct command *command = &commands[0];
	struct options options = { 0 };
	char why[512];

	if (argc > 1 && !strcmp(argv[1], "--version")) {
		printf("portwake " PORTWAKE_VERSION "\n");
		return finish_stdout();
	}
	if (argc > 1 && argv[1][0] != '-') {
		command = find_command(argv[1]);
		if (!command) {
			log_error("unknown command '%s': --help lists the commands", argv[1]);
			return STATUS_USAGE;
		}
		argc--;
		argv++;
	}
	if (options_parse(&options, command->bit, argc, argv, why, sizeof(why))) {
		log_error("%s", why);
		return STATUS_USAGE;
	}
	return options.help ? print_help(command) : command->run(&options);
}
