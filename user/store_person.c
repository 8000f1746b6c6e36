/* SPDX-License-Identifier: GPL-2.0 */
/* Processes, told once. */
#include "user/store_person.h"

#include <string.h>

#include "user/mem.h"

#define PERSONS_AGE	1000000			/* lifetimes for which numbers are remembered */
#define CLOSERS_MAX	16384
#define COMMAND_MAX	512			/* bytes of a command line */

static struct row_process *row_process_of(const char *const strings[4], size_t *out_size)
{
	struct row_process *person;
	size_t size = sizeof(*person);
	char *at;

	for (int i = 0; i < 4; i++)
		size += strings[i] ? strlen(strings[i]) + 1 : 0;
	person = pw_calloc(1, size);
	if (!person)
		return NULL;
	*out_size = size;
	at = (char *)(person + 1);
	for (int i = 0; i < 4; i++) {
		const char **to = i == 0 ? &person->exe : i == 1 ? &person->cgroup : i == 2 ? &person->container : &person->cmdline;

		if (!strings[i])
			continue;
		*to = at;
		at = stpcpy(at, strings[i]) + 1;
	}
	return person;
}

static struct row_process *tell_process(struct persons *p, const struct process *who, size_t *size)
{
	const char *strings[4] = { who->exe, who->cgroup, who->container, NULL };
	char command[COMMAND_MAX];
	struct row_process *person;

	if (p->identity && who->start && p->commands_left) {
		p->commands_left--;
		if (!identity_cmdline(who, command, sizeof(command)))
			strings[3] = command;
	}
	person = row_process_of(strings, size);
	if (!person)
		return NULL;
	person->pid = who->pid;
	person->uid = who->uid;
	person->exec_id = who->exec_id;
	person->start = who->start;
	memcpy(person->comm, who->comm, sizeof(person->comm));
	return person;
}

void persons_forget(struct persons *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->identity)
			identity_put(p->identity, p->pool[i].process);
	map_done(&p->numbers);
	map_done(&p->closers);
	p->count = 0;
	p->since_forgotten = 0;
	p->floor = p->next;
}

static struct person *add_person(struct persons *p, uint64_t key, const struct process *process)
{
	struct segment *segment = store_queue_room(p->queue, 2, p->floor);
	struct person *person = &p->pool[p->count];
	size_t size = 0;
	struct row_process *told = segment ? tell_process(p, process, &size) : NULL;
	struct row *row;

	if (!told)
		return NULL;
	if (map_put(&p->numbers, key, person)) {
		pw_free(told);
		return NULL;
	}
	*person = (struct person){ .number = p->next++ };
	p->count++;
	row = segment_row(segment, ROW_PROCESS);
	row->process = person->number;
	row->person = told;
	segment->extra += (uint32_t)size;
	return person;
}

uint32_t persons_number(struct persons *p, struct process *process)
{
	uint64_t key = (uint64_t)(uintptr_t)process;
	struct person *person;

	if (!process)
		return 0;
	person = map_get(&p->numbers, key);
	if (person)
		return person->number;
	person = add_person(p, key, process);
	if (person && p->identity)
		person->process = identity_ref(process);
	return person ? person->number : 0;
}

/* One known by pid and name alone. No address has the bit that these have. */
static struct person *find_holder(struct persons *p, uint32_t pid, const char *comm)
{
	struct process process = { .pid = pid };
	uint64_t key = 0xcbf29ce484222325ULL ^ pid;

	memcpy(process.comm, comm, sizeof(process.comm));
	for (size_t i = 0; i < sizeof(process.comm); i++)
		key = (key ^ (unsigned char)process.comm[i]) * 0x100000001b3ULL;
	key |= 1ULL << 63;
	return map_get(&p->numbers, key) ?: add_person(p, key, &process);
}

void persons_trim(struct persons *p)
{
	if (p->count + 2 <= PERSONS_MAX && p->since_forgotten < PERSONS_AGE)
		return;
	store_queue_hand_over(p->queue);
	persons_forget(p);
}

void persons_note_closer(struct persons *p, const struct lifetime *l, uint32_t pid, const char *comm)
{
	struct person *person;

	if (!pid || (l->owner && l->owner->pid == pid) || map_count(&p->closers) >= CLOSERS_MAX)
		return;
	person = find_holder(p, pid, comm);
	/* Without memory it stays unknown. */
	if (person)
		(void)!map_put(&p->closers, (uint64_t)(uintptr_t)l, person);
}

uint32_t persons_closer(const struct persons *p, const struct lifetime *l)
{
	const struct person *person = map_count(&p->closers) ? map_get(&p->closers, (uint64_t)(uintptr_t)l) : NULL;

	return person ? person->number : 0;
}

void persons_forget_closer(struct persons *p, const struct lifetime *l)
{
	if (map_count(&p->closers))
		map_del(&p->closers, (uint64_t)(uintptr_t)l);
}
