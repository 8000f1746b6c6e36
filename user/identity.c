/* SPDX-License-Identifier: GPL-2.0 */
/* pid to executable, cgroup, container. */
#include "user/identity.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "user/cgroup.h"
#include "user/map.h"
#include "user/mem.h"

#define IDLE_MAX 4096		/* processes kept that nothing refers to */
#define EXES_MAX 4096		/* executables told, of processes not yet seen as owners */
#define PATHS_MAX 4096		/* cgroup paths */

struct identity {
	int cgroup_root;
	struct identity_ask ask;
	struct map processes;		/* key -> struct process */
	struct map exes;		/* exe_key() -> char * */
	struct map paths;		/* cgroup id -> char * */
	struct process *idle_first, *idle_last;
	size_t idle_count;
};

/* A collision costs a second struct process, never a wrong one: see matches(). */
static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

static uint64_t exe_key(const struct event_process *p)
{
	return mix(mix(p->start, p->pid), p->exec_id);
}

static uint64_t process_key(const struct event_process *p)
{
	uint64_t comm[PW_COMM / sizeof(uint64_t)] = { 0 };

	memcpy(comm, p->comm, strnlen(p->comm, sizeof(comm)));
	return mix(mix(mix(mix(exe_key(p), p->uid), p->cgroup), comm[0]), comm[1]);
}

static bool matches(const struct process *known, const struct event_process *p)
{
	return known->pid == p->pid && known->start == p->start && known->exec_id == p->exec_id &&
	       known->uid == p->uid && known->cgroup_id == p->cgroup && !strcmp(known->comm, p->comm);
}

/* ---- cgroup and container ---- */

static void forget_strings(struct map *map)
{
	void *text;

	for (size_t pos = 0; map_next(map, &pos, NULL, &text);)
		pw_free(text);
	map_done(map);
}

/* A full table starts again: the living ones are soon back in it. */
static void remember(struct map *map, size_t max, uint64_t key, char *text)
{
	char *old;

	if (map_count(map) >= max)
		forget_strings(map);
	old = map_get(map, key);
	if (map_put(map, key, text))
		pw_free(text);
	else
		pw_free(old);
}

static const char *path_of_cgroup(struct identity *identity, uint64_t id)
{
	char path[4096];
	char *known = map_get(&identity->paths, id);
	char *copy;

	if (known || !id || identity->ask.cgroup(identity->ask.arg, id, path, sizeof(path)))
		return known;
	copy = pw_strdup(path);
	if (copy)
		remember(&identity->paths, PATHS_MAX, id, copy);
	return map_get(&identity->paths, id);
}

static size_t hex_run(const char *text)
{
	size_t length = 0;

	while (isxdigit((unsigned char)text[length]))
		length++;
	return length;
}

const char *identity_container(const char *path, size_t *length)
{
	static const char *const named[] = { "/lxc.payload.", "/lxc/", "/machine.slice/machine-" };

	for (const char *at = path; *at; at++) {
		size_t run = hex_run(at);

		if (run == 64 && (at == path || !isalnum((unsigned char)at[-1]))) {
			*length = run;
			return at;
		}
		at += run > 1 ? run - 1 : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		const char *at = strstr(path, named[i]);

		if (!at)
			continue;
		at += strlen(named[i]);
		*length = strcspn(at, "/");
		if (*length > 6 && !strncmp(at + *length - 6, ".scope", 6))
			*length -= 6;
		return *length ? at : NULL;
	}
	return NULL;
}

/* ---- executables ---- */

void identity_learn(struct identity *identity, const struct event *event)
{
	char *exe;

	if (!event->exe)
		return;
	exe = pw_strndup(event->exe, event->exe_length);
	if (exe)
		remember(&identity->exes, EXES_MAX, exe_key(&event->process), exe);
}

/* Start of a process by /proc, in clock ticks; 0 when it is gone. Field 22 of proc(5)'s stat, counted behind the last ')'. */
static uint64_t start_ticks(uint32_t pid)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], line[1024];
	unsigned long long ticks = 0;
	const char *at;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return 0;
	at = strrchr(line, ')');
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			  &ticks) != 1)
		return 0;
	return ticks;
}

/* The pid may be another's by now: only its own start proves it. */
static bool is_still(uint32_t pid, uint64_t start)
{
	uint64_t tick = 1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK);

	return start_ticks(pid) == start / tick;
}

int identity_exe(uint32_t pid, uint64_t start, char *out, size_t size)
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/%u/exe", pid);
	length = readlink(link, out, size);
	if (length < 0)
		return -errno;
	if ((size_t)length >= size)
		return -ENAMETOOLONG;
	out[length] = '\0';
	return length && is_still(pid, start) ? 0 : -ENOENT;
}

static int ask_exe(void *arg _unused, uint32_t pid, uint64_t start, char *out, size_t size)
{
	return identity_exe(pid, start, out, size);
}

static int ask_cgroup(void *arg, uint64_t id, char *out, size_t size)
{
	struct identity *identity = arg;

	return identity->cgroup_root < 0 ? -ENOENT : cgroup_path(identity->cgroup_root, id, out, size);
}

static char *exe_of(struct identity *identity, const struct event_process *p)
{
	const char *told = map_get(&identity->exes, exe_key(p));
	char path[4096];

	if (told)
		return pw_strdup(told);
	return identity->ask.exe(identity->ask.arg, p->pid, p->start, path, sizeof(path)) ? NULL : pw_strdup(path);
}

int identity_cmdline(const struct process *process, char *out, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%u/cmdline", process->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, out, size - 1);
	if (length < 0)
		return -errno;
	while (length && !out[length - 1])
		length--;
	out[length] = '\0';
	for (ssize_t i = 0; i < length; i++)
		out[i] = out[i] ? out[i] : ' ';
	return length && is_still(process->pid, process->start) ? 0 : -ENOENT;
}

/* ---- processes ---- */

static void free_process(struct process *process)
{
	pw_free(process->exe);
	pw_free(process->cgroup);
	pw_free(process->container);
	pw_free(process);
}

static void idle_unlink(struct identity *identity, struct process *process)
{
	*(process->idle_prev ? &process->idle_prev->idle_next : &identity->idle_first) = process->idle_next;
	*(process->idle_next ? &process->idle_next->idle_prev : &identity->idle_last) = process->idle_prev;
	process->idle_next = process->idle_prev = NULL;
	identity->idle_count--;
}

static void idle_append(struct identity *identity, struct process *process)
{
	process->idle_prev = identity->idle_last;
	*(identity->idle_last ? &identity->idle_last->idle_next : &identity->idle_first) = process;
	identity->idle_last = process;
	identity->idle_count++;
}

static struct process *process_of(struct identity *identity, const struct event *event)
{
	const struct event_process *p = &event->process;
	struct process *process = pw_calloc(1, sizeof(*process));
	const char *path, *container;
	size_t length;

	if (!process)
		return NULL;
	process->key = process_key(p);
	process->pid = p->pid;
	process->uid = p->uid;
	process->exec_id = p->exec_id;
	process->start = p->start;
	process->cgroup_id = p->cgroup;
	memcpy(process->comm, p->comm, sizeof(process->comm));
	process->exe = exe_of(identity, p);
	path = path_of_cgroup(identity, p->cgroup);
	if (!path)
		return process;
	process->cgroup = pw_strdup(path);
	container = identity_container(path, &length);
	if (container)
		process->container = pw_strndup(container, length);
	return process;
}

struct process *identity_ref(struct process *process)
{
	if (process)
		process->refs++;
	return process;
}

static struct process *intern(struct identity *identity, struct process *process)
{
	if (map_get(&identity->processes, process->key) || map_put(&identity->processes, process->key, process))
		process->key = 0;	/* a stranger has its place, or there is no memory: it lives by its references alone */
	return identity_ref(process);
}

struct process *identity_owner(struct identity *identity, const struct event *event)
{
	struct process *process;

	if (!event->process.pid || event->flags & PW_F_KERNEL)
		return NULL;
	process = map_get(&identity->processes, process_key(&event->process));
	if (process && matches(process, &event->process)) {
		if (!process->refs)
			idle_unlink(identity, process);
		return identity_ref(process);
	}
	process = process_of(identity, event);
	return process ? intern(identity, process) : NULL;
}

void identity_put(struct identity *identity, struct process *process)
{
	if (!process || --process->refs)
		return;
	if (!process->key) {
		free_process(process);
		return;
	}
	idle_append(identity, process);
	if (identity->idle_count <= IDLE_MAX)
		return;
	process = identity->idle_first;
	idle_unlink(identity, process);
	map_del(&identity->processes, process->key);
	free_process(process);
}

struct identity *identity_new(int cgroup_root)
{
	struct identity *identity = pw_calloc(1, sizeof(*identity));

	if (!identity)
		return NULL;
	identity->cgroup_root = cgroup_root;
	identity->ask = (struct identity_ask){ ask_exe, ask_cgroup, identity };
	return identity;
}

void identity_ask_of(struct identity *identity, const struct identity_ask *ask)
{
	identity->ask = *ask;
}

void identity_free(struct identity **identity)
{
	struct identity *i = *identity;
	void *process;

	if (!i)
		return;
	for (size_t pos = 0; map_next(&i->processes, &pos, NULL, &process);)
		free_process(process);
	map_done(&i->processes);
	forget_strings(&i->exes);
	forget_strings(&i->paths);
	pw_free(i);
	*identity = NULL;
}
