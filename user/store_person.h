/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes, told to the writer once and referred to by number, until they are forgotten and told anew: so that the old
 * can go. For the tracer's thread.
 */
#ifndef PORTWAKE_USER_STORE_PERSON_H
#define PORTWAKE_USER_STORE_PERSON_H

#include "user/identity.h"
#include "user/lifetime.h"
#include "user/map.h"
#include "user/store_queue.h"

#define PERSONS_MAX	8192
#define PERSONS_COMMANDS 200			/* processes a tick whose command line is looked up */

struct person {
	struct process *process;	/* a reference; NULL: known by pid and name alone */
	uint32_t number;
};

struct persons {
	struct store_queue *queue;	/* borrowed */
	struct identity *identity;	/* borrowed; NULL: references are not counted */
	struct map numbers;		/* by address of the process, or by pid and name */
	struct map closers;		/* lifetime -> struct person that closed it */
	struct person pool[PERSONS_MAX];
	size_t count;
	uint32_t next, floor;		/* the next number; those below are referred to no more */
	uint64_t since_forgotten;	/* lifetimes since, which the caller counts */
	unsigned int commands_left;	/* which the caller sets */
};

/* Before a change, so that numbers given for it stay good. */
void persons_trim(struct persons *persons);

/* Gives every reference back. */
void persons_forget(struct persons *persons);

/* The number of a process; 0 when it is not known, or there is no room. */
uint32_t persons_number(struct persons *persons, struct process *process);

/* Who closed a lifetime's last descriptor, where that is not its owner; 0: not known. */
void persons_note_closer(struct persons *persons, const struct lifetime *lifetime, uint32_t pid, const char *comm);
uint32_t persons_closer(const struct persons *persons, const struct lifetime *lifetime);
void persons_forget_closer(struct persons *persons, const struct lifetime *lifetime);

#endif
