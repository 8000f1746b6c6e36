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
#include <sys/prctl.h>
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
	wish->holders = 1;
	addr_make(&at, fam, AT_LOOP, port);
	addr_text(&at, wish->holder_addr);
	close(fd);
	return wish;
}

void wish_set(const char *name, const char *value)
{
	wish_must(sysctl_set(name, value), name);
}

void wish_apply(struct work *w, const char *name)
{
	struct wishes *wishes = w->arg;
	char command[96], path[96], value[WISH_ADVICE], *at, *end;

	snprintf(command, sizeof(command), "sysctl -w %s=", name);
	at = strstr(wishes->advice, command);
	if (!at)
		work_die("no %s in: %s", command, wishes->advice);
	at += strlen(command);
	end = strchr(at, '\n');
	snprintf(value, sizeof(value), "%.*s", (int)(end - at), at);
	/* As a shell would. */
	if (*value == '"' && value[strlen(value) - 1] == '"') {
		value[strlen(value) - 1] = '\0';
		memmove(value, value + 1, strlen(value));
	}
	snprintf(path, sizeof(path), "%s", name);
	for (char *dot = path; (dot = strchr(dot, '.'));)
		*dot = '/';
	wish_set(path, value);
	usleep(300000);
}

/* ---- another process ---- */

static int keep_one(struct wish_held *k)
{
	int fd = wish_sock(k->fam, k->proto);

	if (k->option)
		wish_with(fd, k->option);
	if (k->device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, k->device, (socklen_t)strlen(k->device)) < 0)
		work_die("SO_BINDTODEVICE");
	if (k->port)
		wish_must(wish_own(fd, k->fam, k->where, k->port), "bind");
	if (k->listens && listen(fd, 16) < 0)
		work_die("listen");
	if (k->to)
		wish_must(wish_join(fd, k->fam, k->to), "connect");
	return fd;
}

static void keep(struct work *w, void *arg)
{
	struct wish_held *k = arg;
	int fd = -1;

	(void)w;
	work_name("keeper");
	if (k->uid && setresuid(k->uid, k->uid, k->uid) < 0)
		work_die("setresuid");
	/* The kernel forgets that with the user. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < k->sockets || i < 1; i++)
		fd = keep_one(k);
	k->kept = wish_port(fd);
	for (;;)
		pause();
}

pid_t wish_keep(struct work *w, struct wish_held *arg)
{
	struct wish_held *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	if (shared == MAP_FAILED)
		work_die("mmap");
	*shared = *arg;
	shared->kept = 0;
	pid = work_spawn(w, keep, shared);
	for (int ms = 0; !shared->kept; ms++) {
		if (ms == TOLD_MS)
			work_die("nothing kept");
		usleep(1000);
	}
	*arg = *shared;
	munmap(shared, sizeof(*shared));
	return pid;
}

void wish_let_go(pid_t pid)
{
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) != pid)
		work_die("waitpid");
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
	if (number(holder, "pid") != w->holder)
		return "the holder's pid";
	if (w->state && strcmp(word(holder, "state"), w->state) != 0)
		return "the holder's state";
	if (w->holder_remote && number(holder, "remote_port") != w->holder_remote)
		return "the holder's remote_port";
	if (*w->holder_addr && strcmp(word(holder, "addr"), w->holder_addr) != 0)
		return "the holder's addr";
	if (w->holders && number(o, "holders_total") != w->holders)
		return "holders_total";
	if (json_is_true(json_object_get(holder, "accepted")) != w->accepted)
		return "accepted";
	if (w->until && (!json_is_number(left) || json_number_value(left) < expected - 2 ||
			 json_number_value(left) > expected + 2))
		return "seconds_left";
	return NULL;
}

/* Of a send the fentry rung does not know. */
static bool wrong_remote(const struct wish *w, const json_t *o)
{
	const char *loop = w->fam == FAM_V4 ? "127.0.0.1" : "::1";

	if (!w->remote_port || (strcmp(w->call, "send") == 0 && json_is_null(json_object_get(o, "remote_port"))))
		return false;
	return number(o, "remote_port") != w->remote_port || strcmp(word(o, "remote_addr"), loop) != 0;
}

static bool wrong_range(const struct wish_range *w, const json_t *o)
{
	return number(o, "low") != w->low || number(o, "high") != w->high || number(o, "size") != w->high - w->low + 1 ||
	       number(o, "reserved") != w->reserved || number(o, "held") != w->held ||
	       number(o, "sockets") != w->sockets || number(o, "time_wait") != w->time_wait ||
	       number(o, "top_pid") != (w->top ? w->top : -1) || number(o, "top_sockets") != w->top_sockets ||
	       number(o, "remote_port") != (w->remote_port ? w->remote_port : -1);
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
	if (wrong_remote(w, o))
		return "remote_addr or remote_port";
	for (size_t i = 0; i < COUNT_OF(w->says) && w->says[i]; i++) {
		if (!says(o, w->says[i]))
			return w->says[i];
	}
	if (w->says_not && says(o, w->says_not))
		return "advice that is none";
	return w->range.high && wrong_range(&w->range, json_object_get(o, "range")) ? "range" : wrong_holder(w, o);
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

static void note_advice(char out[WISH_ADVICE], const char *text)
{
	json_t *o = json_loads(text, 0, NULL);
	const json_t *line;
	size_t i, at = 0;

	*out = '\0';
	json_array_foreach(json_object_get(o, "advice"), i, line) {
		if (at < WISH_ADVICE)
			at += (size_t)snprintf(out + at, WISH_ADVICE - at, "%s\n", json_string_value(line));
	}
	json_decref(o);
}

/* Tells the workload how much was seen; true at its end, whatever that is. */
static bool has_ended(void *arg)
{
	struct told *t = arg;
	siginfo_t info = { 0 };

	for (const struct seen *seen; (seen = nth(t, t->wishes->told)); t->wishes->told++) {
		if (!t->wishes->hasty)
			note_advice(t->wishes->advice, seen->line);
	}
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
