/* SPDX-License-Identifier: GPL-2.0 */
/* The command table: names to commands. */
#ifndef PORTWAKE_USER_CLI_H
#define PORTWAKE_USER_CLI_H

/* Runs what argv asks for and returns its exit status. */
int cli(int argc, char **argv);

#endif
