/* SPDX-License-Identifier: GPL-2.0 */
/* What a history knows of the present. */
#include "user/recall.h"

#include <fcntl.h>
#include <string.h>

#include "user/mem.h"

#define BOOT_TEXT 64

static size_t size_of(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* In one block, to be freed at once. NULL without memory. */
static struct past_process *copy_owner(const struct past_process *from)
{
	const char *texts[] = { from->comm, from->exe, from->cgroup, from->container, from->cmdline };
	struct past_process *p;
	size_t size = sizeof(*p);
	char *at;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		size += size_of(texts[i]);
	p = pw_calloc(1, size);
	if (!p)
		return NULL;
	at = (char *)(p + 1);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		size = size_of(texts[i]);
		if (size)
			texts[i] = memcpy(at, texts[i], size);
		at += size;
	}
	*p = (struct past_process){
		.pid = from->pid, .uid = from->uid, .start = from->start, .comm = texts[0], .exe = texts[1], .cgroup = texts[2],
		.container = texts[3], .cmdline = texts[4],
	};
	return p;
}

static void free_recalled(struct recalled *r)
{
	if (r)
		pw_free(r->owner);
	pw_free(r);
}

static int add(struct recall *recall, const struct past *p)
{
	struct recalled *r = pw_calloc(1, sizeof(*r)), *old = map_get(&recall->by_cookie, p->cookie);

	if (!r)
		return -ENOMEM;
	*r = (struct recalled){
		.since = p->since, .generation = p->generation, .port = p->port, .how = p->how,
		.began_before = p->began_before, .owner = p->owner ? copy_owner(p->owner) : NULL,
	};
	if ((p->owner && !r->owner) || map_put(&recall->by_cookie, p->cookie, r)) {
		free_recalled(r);
		return -ENOMEM;
	}
	free_recalled(old);
	return 0;
}

static int on_past(void *arg, const struct past *p)
{
	struct recall *recall = arg;

	return p->runs && p->boot && !strcmp(p->boot, recall->boot) ? add(recall, p) : 0;
}

static int read_boot(char out[BOOT_TEXT])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, out, BOOT_TEXT - 1);

	if (got < 0)
		return -errno;
	out[got] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

int recall_take(struct recall *recall, struct history *history, uint16_t first, uint16_t last, unsigned int protos,
		uint64_t now)
{
	const struct history_query query = {
		.since = now, .until = now, .first = first, .last = last, .protos = protos,
	};
	char boot[BOOT_TEXT];
	int r = read_boot(boot);

	if (r)
		return r;
	recall->boot = boot;
	r = history_find(history, &query, on_past, recall);
	recall->boot = NULL;
	return r;
}

const struct recalled *recall_find(const struct recall *recall, const struct holder *h)
{
	const struct recalled *r = map_get(&recall->by_cookie, h->cookie);

	return r && r->port == h->port ? r : NULL;
}

void recall_done(struct recall *recall)
{
	void *r;

	for (size_t pos = 0; map_next(&recall->by_cookie, &pos, NULL, &r);)
		free_recalled(r);
	map_done(&recall->by_cookie);
}
