/* SPDX-License-Identifier: GPL-2.0 */
/* Denials compared. */
#define _GNU_SOURCE
#include "tests/e2e/wish.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITHIN (10 * SECOND)
#define TOLD_MS 5000
#define WORK_WITHIN (120 * SECOND)

/* ---- the workload's side ---- */

int wish_sock(enum fam fam, int proto)
{
	int fd = socket(fam_domain(fam), (is_tcp(proto) ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, proto);

	if (fd < 0)
		work_die("socket");
	return fd;
}

int wish_own(int fd, enum fam fam, enum where where, uint16_t port)
{
	struct sockaddr_storage at;
	socklen_t len = addr_make(&at, fam, where, port);

	return bind(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
}

int wish_join(int fd, enum fam fam, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, fam, AT_LOOP, port);

	return connect(fd, (struct sockaddr *)&to, len) < 0 ? -errno : 0;
}

int wish_tell(int fd, enum fam fam, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t len = addr_make(&to, fam, AT_LOOP, port);

	return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, len) < 0 ? -errno : 0;
}

void wish_must(int result, const char *what)
{
	if (!result)
		return;
	errno = -result;
	work_die("%s", what);
}

int wish_with(int fd, int option)
{
	int one = 1;

	if (setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one)) < 0)
		work_die("setsockopt");
	return fd;
}

uint16_t wish_port(int fd)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);

	if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		work_die("getsockname");
	return addr_port(&at);
}

int wish_listener(int fd, enum fam fam, enum where where, uint16_t port)
{
	wish_must(wish_own(fd, fam, where, port), "bind");
	if (listen(fd, 16) < 0)
		work_die("listen");
	return fd;
}

/* A call that failed as it should: what is to be told of it. */
struct wish *wish_denied(struct work *w, const char *call, int result, int err, const char *cause, enum fam fam,
			   int proto)
{
	struct wishes *wishes = w->arg;
	struct wish *wish = &wishes->list[wishes->count];

	if (result != -err)
		work_die("%s: %s instead of %s", call, strerrorname_np(-result) ? strerrorname_np(-result) : "success",
			 strerrorname_np(err));
	if (++wishes->count > WISHES)
		work_die("too many");
	*wish = (struct wish){ .call = call, .cause = cause, .err = err, .proto = proto, .fam = fam, .pid = getpid(),
				.at = now_ns() };
	/* Who holds it is looked at when the record is read: nothing changes before that. */
	for (int ms = 0; !wishes->hasty && wishes->told < wishes->count && ms < TOLD_MS; ms++)
		usleep(1000);
	return wish;
}

struct wish *wish_conflict(struct work *w, int fd, enum fam fam, int proto, enum where where, uint16_t port,
			     const char *state)
{
	struct wish *wish = wish_denied(w, "bind", wish_own(fd, fam, where, port), EADDRINUSE, "conflict", fam, proto);
	struct sockaddr_storage at;

	addr_make(&at, fam, where, port);
	addr_text(&at, wish->addr);
	wish->port = port;
	wish->holder = getpid();
	wish->state = state;
	close(fd);
	return wish;
}

/* ---- the test's side ---- */

static const char *word(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static long number(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);

	return json_is_integer(value) ? (long)json_integer_value(value) : -1;
}

static bool says(const json_t *o, const char *part)
{
	const json_t *line;
	size_t i;

	json_array_foreach(json_object_get(o, "advice"), i, line) {
		if (strstr(json_string_value(line), part))
			return true;
	}
	return false;
}

static const char *wrong_holder(const struct wish *w, const json_t *o)
{
	const json_t *holder = json_array_get(json_object_get(o, "holders"), 0);
	const json_t *left = json_object_get(holder, "seconds_left");
	double expected = (double)(w->until - w->at) / 1e9;

	if (!w->holder && !w->state)
		return holder && strcmp(w->cause, "exhausted") != 0 ? "a holder" : NULL;
	if (!holder)
		return "no holder";
	if (number(holder, "pid") != w->holder && !(w->owner_unknown && number(holder, "pid") < 0))
		return "the holder's pid";
	if (w->state && strcmp(word(holder, "state"), w->state) != 0)
		return "the holder's state";
	if (w->holder_remote && number(holder, "remote_port") != w->holder_remote)
		return "the holder's remote_port";
	if (json_is_true(json_object_get(holder, "accepted")) != w->accepted)
		return "accepted";
	if (w->until && (!json_is_number(left) || json_number_value(left) < expected - 2 ||
			 json_number_value(left) > expected + 2))
		return "seconds_left";
	return NULL;
}

static const char *wrong(const struct wish *w, const json_t *o)
{
	if (strcmp(word(o, "call"), w->call) != 0)
		return "call";
	if (strcmp(word(o, "errno"), strerrorname_np(w->err)) != 0)
		return "errno";
	if (strcmp(word(o, "cause"), w->cause) != 0)
		return "cause";
	if (strcmp(word(o, "proto"), proto_name(w->proto)) != 0 ||
	    strcmp(word(o, "family"), w->fam == FAM_V4 ? "ipv4" : "ipv6") != 0)
		return "proto or family";
	if (number(o, "port") != w->port || (*w->addr && strcmp(word(o, "addr"), w->addr) != 0))
		return "addr or port";
	if (number(o, "pid") != w->pid)
		return "pid";
	if (w->remote_port && number(o, "remote_port") != w->remote_port && number(o, "remote_port") >= 0)
		return "remote_port";
	for (size_t i = 0; i < COUNT_OF(w->says) && w->says[i]; i++) {
		if (!says(o, w->says[i]))
			return w->says[i];
	}
	return wrong_holder(w, o);
}

struct told {
	const struct run *run;
	struct wishes *wishes;
	uint64_t netns;
	pid_t pid;		/* of the workload */
	size_t wanted;
};

static const struct seen *nth(const struct told *t, size_t n)
{
	for (size_t i = 0; i < t->run->count; i++) {
		if (t->run->seen[i].kind == KIND_DENIED && t->run->seen[i].netns == t->netns && !n--)
			return &t->run->seen[i];
	}
	return NULL;
}

static bool all_told(void *arg)
{
	const struct told *t = arg;

	return !t->wanted || nth(t, t->wanted - 1);
}

/* Tells the workload how much was seen; true at its end, whatever that is. */
static bool has_ended(void *arg)
{
	struct told *t = arg;
	siginfo_t info = { 0 };

	while (nth(t, t->wishes->told))
		t->wishes->told++;
	return t->wishes->done || (waitid(P_PID, (id_t)t->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid);
}

static void compare(struct told told)
{
	const struct wishes *wishes = told.wishes;
	unsigned differ = 0;

	told.wanted = wishes->count;
	run_until(all_told, &told, WITHIN);
	run_sleep(300);
	for (size_t i = 0; i < wishes->count || nth(&told, i); i++) {
		const struct seen *seen = nth(&told, i);
		json_t *line = seen ? json_loads(seen->line, 0, NULL) : NULL;
		const char *what = i >= wishes->count ? "not wished for" : line ? wrong(&wishes->list[i], line) : "missing";

		if (what && differ++ < 8)
			fprintf(stderr, "  %zu: %s %s %s %u: %s: %s\n", i, i < wishes->count ? wishes->list[i].call : "-",
				i < wishes->count ? wishes->list[i].cause : "-", fam_name(wishes->list[i].fam),
				wishes->list[i].port, what, seen ? seen->line : "(nothing)");
		json_decref(line);
	}
	if (differ)
		fail_msg("%u differences in %zu denials", differ, wishes->count);
}

static void (*work_of)(struct work *work);

static void work_to_the_end(struct work *work)
{
	work_of(work);
	((struct wishes *)work->arg)->done = true;
}

void wish_check(void (*fn)(struct work *work), const char *const *args, bool none)
{
	struct wishes *wishes = mmap(NULL, sizeof(*wishes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct stage *stage = stage_new("denied");
	struct told told = { .wishes = wishes, .netns = stage->ns.inode };
	struct run *run;

	assert_true(wishes != MAP_FAILED);
	wishes->hasty = none;
	stage->work.arg = wishes;
	run = live_on(stage, args);
	told.run = run;
	work_of = fn;
	stage_start(stage, work_to_the_end);
	told.pid = stage->pid;
	run_until(has_ended, &told, WORK_WITHIN);
	stage_join(stage);
	if (none)
		wishes->count = 0;
	compare(told);
	assert_ends_well(run, SIGINT);
	run_free(&run);
	munmap(wishes, sizeof(*wishes));
}
