/* SPDX-License-Identifier: GPL-2.0 */
/* Questions about the past, over what portwake record has written of a known workload: by root, by members of the group. */
#define _GNU_SOURCE
#include "tests/e2e/ask.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PORT 7821		/* held for a while, by a socket of each variant */
#define HELD_PORT 7831		/* held to the end */
#define STRANGER 54321		/* a user and a group that nobody has */
#define HOLD_US 50000
#define DENIALS 3

static const struct variant {
	enum fam fam;
	int proto;
	const char *name;
} variants[] = {
	{ FAM_V4, IPPROTO_TCP, "tcp" }, { FAM_V6, IPPROTO_TCP, "tcp" },
	{ FAM_V4, IPPROTO_UDP, "udp" }, { FAM_V6, IPPROTO_UDP, "udp" },
};

#define VARIANTS COUNT_OF(variants)

struct past {
	struct stage *stage;
	struct run *recorder;
	char dir[64], db[80];
};

/* ---- the workload ---- */

static struct wsock bound(struct work *w, size_t variant, uint16_t port)
{
	struct wsock s = ws_open_as(w, variants[variant].fam, variants[variant].proto);

	ws_bind(&s, port);
	return s;
}

/* What another socket holds; -EADDRINUSE, and the truth has nothing of it. */
static void be_denied(struct work *w, size_t variant, uint16_t port)
{
	struct wsock s = ws_open_as(w, variants[variant].fam, variants[variant].proto);

	for (int i = 0; i < DENIALS; i++)
		if (ws_try_bind(&s, AT_LOOP, port) != -EADDRINUSE)
			_exit(1);
	close(s.fd);
}

/* The first lives of the truth are those of FIRST_PORT, the next those of HELD_PORT. */
static void hold_ports(struct work *w)
{
	struct wsock first[VARIANTS], held[VARIANTS];

	work_step(w);
	/* A while of which it is known that nobody held them. */
	usleep(HOLD_US);
	for (size_t i = 0; i < VARIANTS; i++)
		first[i] = bound(w, i, (uint16_t)(FIRST_PORT + i));
	usleep(HOLD_US);
	for (size_t i = 0; i < VARIANTS; i++)
		ws_close(&first[i]);
	for (size_t i = 0; i < VARIANTS; i++)
		held[i] = bound(w, i, (uint16_t)(HELD_PORT + i));
	for (size_t i = 0; i < VARIANTS; i++)
		be_denied(w, i, (uint16_t)(HELD_PORT + i));
	usleep(HOLD_US);
	work_step(w);
	for (size_t i = 0; i < VARIANTS; i++)
		ws_close(&held[i]);
}

static const struct happening *what_happened(const struct past *p, size_t life, enum kind kind)
{
	const struct truth *truth = p->stage->work.truth;

	for (uint32_t i = 0; i < truth->happenings; i++)
		if (truth->happening[i].life == life && truth->happening[i].kind == kind)
			return &truth->happening[i];
	fail_msg("the workload's truth lacks an event of life %zu", life);
	return NULL;
}

/* ---- the recorder ---- */

static bool is_ready(void *arg)
{
	const struct run *run = arg;

	return run->out < 0 || run_has(run, KIND_READY);
}

static void start_recorder(struct past *p)
{
	const char *args[] = { "record", "--json", "--db", p->db, "--netns", p->stage->inode, NULL };

	p->recorder = run_start(&(struct run_options){ .args = args });
	if (!run_until(is_ready, p->recorder, WITHIN) || !run_has(p->recorder, KIND_READY))
		fail_msg("the recorder is not ready: %s", p->recorder->talk);
}

/* The workload has done all but close what it holds. */
static struct past set_up(void)
{
	struct past p = { .stage = stage_new("past") };

	snprintf(p.dir, sizeof(p.dir), "/tmp/portwake-past-XXXXXX");
	assert_non_null(mkdtemp(p.dir));
	assert_int_equal(chmod(p.dir, 0755), 0);
	snprintf(p.db, sizeof(p.db), "%s/history.db", p.dir);
	stage_start(p.stage, hold_ports);
	stage_await_step(p.stage);
	start_recorder(&p);
	stage_go(p.stage);
	stage_await_step(p.stage);
	return p;
}

static void stop_recorder(struct past *p, int signal)
{
	int status = run_stop(p->recorder, signal);

	if (status != (signal == SIGKILL ? 128 + SIGKILL : 0))
		fail_msg("the recorder's exit status is %d: %s", status, p->recorder->talk);
	p->recorder = NULL;
}

static void tear_down(struct past *p)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char path[100];

	if (p->recorder)
		stop_recorder(p, SIGTERM);
	stage_go(p->stage);
	stage_join(p->stage);
	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		snprintf(path, sizeof(path), "%s%s", p->db, ends[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
	run_kill_strays();
}

/* ---- questions ---- */

static const char *instant(int64_t ns, char out[40])
{
	snprintf(out, 40, "@%lld.%09lld", (long long)(ns / SECOND), (long long)(ns % SECOND));
	return out;
}

static struct run *ask_at(const struct past *p, const char *form, uint16_t port, int64_t time, void (*as)(void *arg))
{
	char at[40], question[16];
	struct run *run;

	snprintf(question, sizeof(question), "%u", port);
	run = start_who(ARGS(form, "--db", p->db, "--netns", p->stage->inode, "--at", instant(time, at), question), as, NULL);
	(void)run_wait(run, WITHIN);
	return run;
}

static json_t *rows_at(const struct past *p, uint16_t port, int64_t time)
{
	struct run *run = ask_at(p, "--json", port, time, NULL);
	json_t *rows;

	if (run->status)
		fail_msg("who --at: %s", run->talk);
	rows = rows_of(run);
	/* There are many questions, and only so many children are listened to. */
	run_free(&run);
	return rows;
}

static bool has_event(const json_t *rows, const char *event)
{
	size_t i;
	const json_t *row;

	json_array_foreach(rows, i, row)
		if (!strcmp(str(row, "event"), event))
			return true;
	return false;
}

static bool has_blind(const json_t *rows)
{
	return has_event(rows, "blind");
}

struct asked {
	const struct past *past;
	int64_t time;
};

static bool is_written(void *arg)
{
	const struct asked *asked = arg;

	return !has_blind(rows_at(asked->past, HELD_PORT, asked->time));
}

/* Until this time is in the file. */
static void await_written(const struct past *p, int64_t time)
{
	struct asked asked = { p, time };

	if (!run_until(is_written, &asked, WITHIN))
		fail_msg("what happened is not written");
}

static int64_t realtime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

static void assert_nobody(const struct past *p, uint16_t port, int64_t time)
{
	json_t *rows = rows_at(p, port, time);

	assert_int_equal(json_array_size(holders_in(rows)), 0);
	assert_false(has_blind(rows));
}

/* A time of the answer lies where the workload says, give or take what the clocks differ by. */
static void assert_time(const json_t *holder, const char *name, const struct happening *h)
{
	struct tm tm = { 0 };
	const char *text = str(holder, name), *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t time;

	if (!rest)
		fail_msg("%s is no time: '%s'", name, text);
	time = timegm(&tm) * SECOND + (int64_t)(strtod(rest, NULL) * 1e9);
	if (time < h->t0 - 5 * MS || time > h->t1 + 5 * MS)
		fail_msg("%s: %s is %lld us from the truth", name, text, (long long)((time - h->t0) / 1000));
}

static void assert_lifetime(const struct past *p, const json_t *holder, size_t life)
{
	const struct variant *v = &variants[life % VARIANTS];
	const struct life *truth = &p->stage->work.truth->life[life];
	char cookie[24];

	snprintf(cookie, sizeof(cookie), "%llu", (unsigned long long)truth->cookie);
	assert_string_equal(str(holder, "cookie"), cookie);
	assert_string_equal(str(holder, "source"), "history");
	assert_string_equal(str(holder, "state"), "bound");
	assert_string_equal(str(holder, "proto"), v->name);
	assert_string_equal(str(holder, "family"), v->fam == FAM_V6 ? "ipv6" : "ipv4");
	assert_string_equal(str(holder, "addr"), truth->addr[0]);
	assert_string_equal(str(holder, "comm"), "e2e-work");
	assert_string_equal(str(holder, "exe"), self_path());
	assert_string_equal(str(holder, "how"), "bind");
	assert_int_equal(num(holder, "pid"), p->stage->pid);
	assert_int_equal(num(holder, "uid"), 0);
	assert_int_equal(num(holder, "port"), truth->port);
	assert_int_equal(num(holder, "netns"), p->stage->ns.inode);
	assert_true(json_is_false(json_object_get(holder, "ephemeral")));
	assert_true(json_is_false(json_object_get(holder, "began_before")));
	assert_time(holder, "since", what_happened(p, life, KIND_ALLOCATE));
}

static void ended_lifetimes_are_as_they_were(const struct past *p)
{
	for (size_t i = 0; i < VARIANTS; i++) {
		const struct happening *took = what_happened(p, i, KIND_ALLOCATE), *gave = what_happened(p, i, KIND_RELEASE);
		uint16_t port = (uint16_t)(FIRST_PORT + i);
		const json_t *holder = only_holder(rows_at(p, port, (took->t1 + gave->t0) / 2));

		assert_lifetime(p, holder, i);
		assert_time(holder, "until", gave);
		assert_string_equal(str(holder, "cause"), "close");
		assert_true(json_is_false(json_object_get(holder, "end_unknown")));
		assert_in_range(num(holder, "held_ns"), HOLD_US * 1000, gave->t1 - took->t0);
		assert_nobody(p, port, took->t0 - 10 * MS);
		assert_nobody(p, port, gave->t1 + 10 * MS);
	}
}

/* running: null is the end of what is held, as long as a recorder says so. */
static void held_ones_last(const struct past *p, int64_t time, bool running)
{
	for (size_t i = 0; i < VARIANTS; i++) {
		const json_t *holder = only_holder(rows_at(p, (uint16_t)(HELD_PORT + i), time));

		assert_lifetime(p, holder, VARIANTS + i);
		assert_null_field(holder, "cause");
		assert_int_equal(json_is_true(json_object_get(holder, "end_unknown")), !running);
		if (running)
			assert_null_field(holder, "until");
		else
			assert_true(*str(holder, "until"));
	}
}

static void beside_a_recorder_and_after_it(void **state)
{
	static const int ends[] = { SIGTERM, SIGKILL };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		struct past p = set_up();
		int64_t then = realtime();

		await_written(&p, then);
		ended_lifetimes_are_as_they_were(&p);
		held_ones_last(&p, then, true);
		stop_recorder(&p, ends[i]);
		ended_lifetimes_are_as_they_were(&p);
		held_ones_last(&p, then, false);
		tear_down(&p);
	}
}

/* Before the recording, and after it, nobody knows: that never looks like "nobody". */
static void what_was_not_recorded_is_said(void **state)
{
	int64_t before = realtime();
	struct past p = set_up();
	json_t *rows = rows_at(&p, FIRST_PORT, before);
	struct run *run;

	(void)state;
	assert_true(has_blind(rows));
	assert_int_equal(json_array_size(holders_in(rows)), 0);
	run = ask_at(&p, "--format=text", FIRST_PORT, before, NULL);
	assert_says(run->partial, "  held by    not known");
	assert_null(strstr(run->partial, "nobody"));
	stop_recorder(&p, SIGTERM);
	run_sleep(20);
	rows = rows_at(&p, FIRST_PORT, realtime());
	assert_true(has_blind(rows));
	assert_int_equal(json_array_size(holders_in(rows)), 0);
	run = ask_at(&p, "--format=csv", FIRST_PORT, before, NULL);
	assert_says(run->partial, "\nblind,");
	tear_down(&p);
}

/* ---- who may ask ---- */

static void become(gid_t group)
{
	if (setgroups(1, &group) < 0 || setresgid(STRANGER, STRANGER, STRANGER) < 0 ||
	    setresuid(STRANGER, STRANGER, STRANGER) < 0)
		_exit(98);
}

static void as_member(void *arg)
{
	const struct group *group = getgrnam("portwake");

	(void)arg;
	become(group ? group->gr_gid : STRANGER);
}

static void as_stranger(void *arg)
{
	(void)arg;
	become(STRANGER);
}

static void members_may_ask_and_strangers_not(const struct past *p, int64_t time)
{
	struct run *run = ask_at(p, "--json", HELD_PORT, time, as_member);

	if (run->status)
		fail_msg("a member of the group is refused: %s", run->talk);
	assert_string_equal(run->talk, "");
	assert_lifetime(p, only_holder(rows_of(run)), VARIANTS);
	run_free(&run);
	run = ask_at(p, "--json", HELD_PORT, time, as_stranger);
	assert_int_equal(WEXITSTATUS(run->status), 1);
	assert_string_equal(run->partial, "");
	assert_says(run->talk, p->db);
	assert_says(run->talk, "group portwake");
	/* One line. */
	assert_ptr_equal(strchr(run->talk, '\n'), run->talk + run->talk_len - 1);
	run_free(&run);
}

static void rights(void **state)
{
	static const int ends[] = { SIGTERM, SIGKILL };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		struct past p = set_up();
		int64_t then = realtime();

		await_written(&p, then);
		members_may_ask_and_strangers_not(&p, then);
		stop_recorder(&p, ends[i]);
		members_may_ask_and_strangers_not(&p, then);
		tear_down(&p);
	}
}

/* ---- lines, the present, sums ---- */

static void from_file(void *fd)
{
	if (dup2(*(int *)fd, STDIN_FILENO) < 0)
		_exit(98);
	as_member(NULL);
}

/* A firewall's log: a port and a time. */
static void lines_of_a_log(void **state)
{
	struct past p = set_up();
	char path[] = "/tmp/portwake-lines-XXXXXX", at[40];
	int fd = mkstemp(path);
	struct run *run;
	json_t *rows;

	(void)state;
	assert_true(fd >= 0 && !unlink(path));
	await_written(&p, realtime());
	for (size_t i = 0; i < VARIANTS; i++)
		dprintf(fd, "%zu/%s %s\n", FIRST_PORT + i, variants[i].name,
			instant(what_happened(&p, i, KIND_ALLOCATE)->t1 + HOLD_US * 500, at));
	/* A line without a time has that of --at. */
	dprintf(fd, "%d/tcp\n", HELD_PORT);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	run = start_who(ARGS("--json", "--db", p.db, "--netns", p.stage->inode, "--at", "-0s", "-"), from_file, &fd);
	assert_int_equal(run_wait(run, WITHIN), 0);
	close(fd);
	rows = holders_in(rows_of(run));
	assert_true(json_array_size(rows) >= VARIANTS);
	for (size_t i = 0; i < VARIANTS; i++)
		assert_lifetime(&p, json_array_get(rows, i), i);
	tear_down(&p);
}

/* A line about now, where nobody may look, leaves those about the past. */
static void lines_where_nobody_may_look(void **state)
{
	struct past p = set_up();
	const struct happening *took, *gave;
	char path[] = "/tmp/portwake-lines-XXXXXX", at[40];
	int fd = mkstemp(path);
	struct run *run;
	json_t *rows;

	(void)state;
	assert_true(fd >= 0 && !unlink(path));
	await_written(&p, realtime());
	took = what_happened(&p, 0, KIND_ALLOCATE);
	gave = what_happened(&p, 0, KIND_RELEASE);
	dprintf(fd, "%d/tcp\n%d/tcp %s\n", HELD_PORT, FIRST_PORT, instant((took->t1 + gave->t0) / 2, at));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	run = start_who(ARGS("--json", "--db", p.db, "--netns", p.stage->inode, "-"), from_file, &fd);
	assert_int_equal(run_wait(run, WITHIN), 1);
	close(fd);
	assert_says(run->talk, "run it as root");
	rows = rows_of(run);
	/* Nothing of the other: no port that nobody holds. */
	assert_int_equal(num(json_array_get(rows, 0), "port"), FIRST_PORT);
	assert_lifetime(&p, only_holder(rows), 0);
	tear_down(&p);
}

/* ---- readers that stand still ---- */

struct standing {
	const struct past *past;
	const struct run *run;
	long call;		/* it is in, on this descriptor: */
	int fd;
};

static bool stands(const struct standing *s)
{
	char path[64], text[128] = "";
	long call = -1;
	int fd, at;

	snprintf(path, sizeof(path), "/proc/%d/syscall", s->run->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	(void)!read(fd, text, sizeof(text) - 1);
	close(fd);
	return sscanf(text, "%ld %i", &call, &at) == 2 && call == s->call && at == s->fd;
}

static bool has_open(const struct run *run, const char *name)
{
	char path[64], target[256];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", run->pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		found |= length > 0 && !strncmp(target, name, strlen(name));
	}
	closedir(dir);
	return found;
}

static bool stands_without_the_history(void *arg)
{
	const struct standing *s = arg;

	return stands(s) && !has_open(s->run, s->past->db);
}

/* One that waits for its next line keeps no recorder waiting, and its next answer is not the old one. */
static void between_lines(void **state)
{
	struct past p = set_up();
	struct standing standing = { .past = &p, .call = SYS_read, .fd = STDIN_FILENO };
	char line[80], at[40];
	int ends[2], length;
	int64_t later;

	(void)state;
	await_written(&p, realtime());
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	standing.run = start_who(ARGS("--json", "--db", p.db, "--netns", p.stage->inode, "-"), from_file, &ends[0]);
	close(ends[0]);
	length = snprintf(line, sizeof(line), "%d/tcp %s\n", HELD_PORT, instant(realtime(), at));
	assert_int_equal(write(ends[1], line, (size_t)length), length);
	if (!run_until(stands_without_the_history, &standing, WITHIN))
		fail_msg("it has the history open between lines");
	later = realtime();
	await_written(&p, later);
	length = snprintf(line, sizeof(line), "%d/tcp %s\n", HELD_PORT + 9, instant(later, at));
	assert_int_equal(write(ends[1], line, (size_t)length), length);
	close(ends[1]);
	assert_int_equal(run_wait((struct run *)standing.run, WITHIN), 0);
	/* The first was asked too soon to know; the second not. */
	assert_null(strstr(strstr(standing.run->partial, "\"port\":7840"), "\"blind\""));
	tear_down(&p);
}

static void full_pipe(int ends[2])
{
	static const char bytes[4096];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(ends[1], bytes, sizeof(bytes)) > 0)
		;
	assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
}

/* Sums that nobody takes away. */
static void sums_for_a_pager(void **state)
{
	struct past p = set_up();
	struct standing standing = { .past = &p, .call = SYS_write, .fd = STDOUT_FILENO };
	struct run *run;
	int ends[2];

	(void)state;
	await_written(&p, realtime());
	full_pipe(ends);
	run = run_start(&(struct run_options){ .stdout_fd = ends[1],
			.args = ARGS("stats", "--since", "10m", "--db", p.db, "--netns", p.stage->inode) });
	standing.run = run;
	if (!run_until(stands_without_the_history, &standing, WITHIN))
		fail_msg("it has the history open while nobody reads: %s", run->talk);
	close(ends[0]);
	close(ends[1]);
	(void)run_stop(run, SIGKILL);
	tear_down(&p);
}

static void the_present_since_when(void **state)
{
	struct past p = set_up();

	(void)state;
	await_written(&p, realtime());
	for (size_t i = 0; i < VARIANTS; i++) {
		char question[16];
		const json_t *holder, *creator;

		snprintf(question, sizeof(question), "%zu", HELD_PORT + i);
		holder = only_holder(rows_of(ask(ARGS("--json", "--db", p.db, "--netns", p.stage->inode, question))));
		creator = json_object_get(holder, "creator");
		assert_string_equal(str(holder, "source"), "live");
		assert_time(holder, "since", what_happened(&p, VARIANTS + i, KIND_ALLOCATE));
		assert_int_equal(num(holder, "generation"), 1);
		assert_string_equal(str(holder, "how"), "bind");
		assert_true(json_is_object(creator));
		assert_int_equal(num(creator, "pid"), p.stage->pid);
	}
	/* Not by the word of one that is gone. */
	stop_recorder(&p, SIGKILL);
	assert_null_field(only_holder(rows_of(ask(ARGS("--json", "--db", p.db, "--netns", p.stage->inode, "7831/tcp")))),
			  "since");
	tear_down(&p);
}

static void sums(void **state)
{
	struct past p = set_up();
	int64_t then = realtime();
	struct run *run;
	json_t *rows;
	char at[40];

	(void)state;
	await_written(&p, then);
	run = run_start(&(struct run_options){ .text = true, .before_exec = as_member,
			.args = ARGS("stats", "--json", "--since", "10m", "--until", instant(then, at), "--sort", "key", "--db", p.db,
				     "--port", "7821-7839", "--netns", p.stage->inode) });
	assert_int_equal(run_wait(run, WITHIN), 0);
	rows = rows_of(run);
	/* Before the recorder ran. */
	assert_true(has_blind(rows));
	for (size_t i = 0; i < 2 * VARIANTS; i++) {
		const json_t *row = json_array_get(rows, i);
		bool held = i >= VARIANTS;

		assert_string_equal(str(row, "event"), "stats");
		assert_int_equal(num(row, "port"), held ? HELD_PORT + i - VARIANTS : FIRST_PORT + i);
		assert_string_equal(str(row, "proto"), variants[i % VARIANTS].name);
		assert_int_equal(num(row, "lifetimes"), 1);
		assert_int_equal(num(row, "now"), held);
		assert_true(num(row, "held_ns") >= HOLD_US * 1000);
		assert_int_equal(num(row, "last_pid"), p.stage->pid);
		assert_int_equal(num(row, "denials"), held ? DENIALS : 0);
		if (held)
			assert_null_field(row, "median_ns");
		else
			assert_int_equal(num(row, "longest_ns"), num(row, "held_ns"));
	}
	tear_down(&p);
}

/* Rows of one moment, which others of another may stand between. */
static void assert_denied(const struct past *p, const json_t *rows, size_t variant)
{
	uint64_t count = 0;
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		if (strcmp(str(row, "event"), "denied"))
			continue;
		assert_int_equal(num(row, "port"), HELD_PORT + variant);
		assert_int_equal(num(row, "pid"), p->stage->pid);
		assert_int_equal(num(row, "netns"), p->stage->ns.inode);
		assert_string_equal(str(row, "proto"), variants[variant].name);
		assert_string_equal(str(row, "family"), variants[variant].fam == FAM_V6 ? "ipv6" : "ipv4");
		assert_string_equal(str(row, "call"), "bind");
		assert_string_equal(str(row, "errno"), "EADDRINUSE");
		assert_string_equal(str(row, "cause"), "conflict");
		assert_int_equal(num(json_array_get(json_object_get(row, "holders"), 0), "pid"), p->stage->pid);
		count += (uint64_t)num(row, "count");
	}
	assert_int_equal(count, DENIALS);
}

static void denied_calls(void **state)
{
	struct past p = set_up();
	int64_t then = realtime();
	char question[16], until[40];

	(void)state;
	await_written(&p, then);
	for (size_t i = 0; i < VARIANTS; i++) {
		snprintf(question, sizeof(question), "%zu/%s", HELD_PORT + i, variants[i].name);
		assert_denied(&p, rows_of(ask(ARGS("--json", "--db", p.db, "--netns", p.stage->inode, "--since", "10m", "--until",
						   instant(then, until), question))), i);
	}
	tear_down(&p);
}

/* Of one namespace: that is told where nobody was found and no other was asked for; of another nobody knows. */
static void one_namespace(void **state)
{
	struct past p = set_up();
	const struct happening *took, *gave;
	char at[40];
	json_t *rows;

	(void)state;
	await_written(&p, realtime());
	took = what_happened(&p, 0, KIND_ALLOCATE);
	gave = what_happened(&p, 0, KIND_RELEASE);
	(void)instant((took->t1 + gave->t0) / 2, at);
	rows = rows_of(ask(ARGS("--json", "--db", p.db, "--at", at, "7821/tcp")));
	assert_int_equal(json_array_size(holders_in(rows)), 1);
	assert_false(has_blind(rows) || has_event(rows, "scope"));
	rows = rows_of(ask(ARGS("--json", "--db", p.db, "--at", at, "7829/tcp")));
	assert_int_equal(json_array_size(holders_in(rows)), 0);
	assert_true(has_event(rows, "scope") && !has_blind(rows));
	rows = rows_of(ask(ARGS("--json", "--db", p.db, "--at", at, "--netns", p.stage->inode, "7829/tcp")));
	assert_false(has_blind(rows) || has_event(rows, "scope"));
	assert_true(has_blind(rows_of(ask(ARGS("--json", "--db", p.db, "--at", at, "--netns", "1", "7829/tcp")))));
	tear_down(&p);
}

static const struct plain list[] = {
	{ "past/lifetimes", beside_a_recorder_and_after_it },
	{ "past/blind", what_was_not_recorded_is_said },
	{ "past/rights", rights },
	{ "past/lines", lines_of_a_log },
	{ "past/lines_without_a_look", lines_where_nobody_may_look },
	{ "past/between_lines", between_lines },
	{ "past/pager", sums_for_a_pager },
	{ "past/present", the_present_since_when },
	{ "past/stats", sums },
	{ "past/denied", denied_calls },
	{ "past/namespace", one_namespace },
};

const struct plain_list past_tests = { list, COUNT_OF(list) };
