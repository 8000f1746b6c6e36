/* SPDX-License-Identifier: GPL-2.0 */
/* portwake record as a service: what it may and may not, its two processes, its files. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pwd.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define WITHIN (20 * SECOND)
#define LINKS_MAX 64

/* A recorder with a database of its own, in a directory that none but root can enter. */
struct recording {
	char dir[64], db[80];
	struct run *run;
	pid_t broker;
};

static void write_line(const char *path, const char *line)
{
	FILE *file = fopen(path, "ae");

	assert_non_null(file);
	fputs(line, file);
	assert_int_equal(fclose(file), 0);
}

/* A guest has no useradd(8): there the test is the administrator. */
static void need_user(void)
{
	if (getpwnam("portwake") || !getenv("E2E_GUEST"))
		return;
	write_line("/etc/passwd", "portwake:x:999:999::/:/bin/false\n");
	write_line("/etc/group", "portwake:x:999:\n");
}

static void make_dir(struct recording *r)
{
	snprintf(r->dir, sizeof(r->dir), "/tmp/portwake-e2e-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->db, sizeof(r->db), "%s/history.db", r->dir);
}

static bool is_ready(void *arg)
{
	const struct run *run = arg;

	return run->out < 0 || run_has(run, KIND_READY);
}

/* The first of its children that lives, but for that one. */
static pid_t other_child_of(pid_t pid, pid_t but)
{
	char path[64];
	int child = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "re");
	assert_non_null(file);
	do {
		if (fscanf(file, "%d", &child) != 1)
			child = 0;
	} while (child && child == but);
	fclose(file);
	return child;
}

static pid_t child_of(pid_t pid)
{
	return other_child_of(pid, 0);
}

static void start(struct recording *r, const char *const *more, const struct run_options *options)
{
	struct run_options o = *options;
	const char *args[24] = { "record", "--json", "--db", r->db };
	size_t count = 4;

	for (; more && *more; more++)
		args[count++] = *more;
	need_user();
	o.args = args;
	r->run = run_start(&o);
	if (!run_until(is_ready, r->run, WITHIN) || !run_has(r->run, KIND_READY))
		fail_msg("not ready; stderr: %s", r->run->talk);
	r->broker = child_of(r->run->pid);
	assert_true(r->broker > 0);
}

static void begin(struct recording *r, const char *const *more)
{
	make_dir(r);
	start(r, more, &(struct run_options){ 0 });
}

static void remove_dir(const struct recording *r)
{
	char path[400];
	DIR *dir = opendir(r->dir);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", r->dir, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	assert_int_equal(rmdir(r->dir), 0);
}

static void end(struct recording *r, int status)
{
	int got = run_stop(r->run, SIGTERM);

	if (got != status || r->run->bad)
		fail_msg("exit status %d; %s: %s; stderr: %s", got, r->run->why, r->run->bad_line, r->run->talk);
	run_free(&r->run);
	remove_dir(r);
}

/* ---- what the processes may ---- */

/* A line of /proc/PID/status, without its name and blanks around. */
static char *status_of(pid_t pid, const char *field, char out[200])
{
	char path[64], line[200];
	size_t length = strlen(field);
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	*out = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, field, length) != 0 || line[length] != ':')
			continue;
		line[strcspn(line, "\n")] = '\0';
		strcpy(out, line + length + 1 + strspn(line + length + 1, " \t"));
		for (size_t n = strlen(out); n && out[n - 1] == ' '; n--)
			out[n - 1] = '\0';
	}
	fclose(file);
	return out;
}

static void assert_status(pid_t pid, const char *field, const char *wanted)
{
	char got[200];

	if (strcmp(status_of(pid, field, got), wanted) != 0)
		fail_msg("%s of process %d is '%s', not '%s'", field, pid, got, wanted);
}

static void assert_four_ids(pid_t pid, const char *field, unsigned id)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "%u\t%u\t%u\t%u", id, id, id, id);
	assert_status(pid, field, wanted);
}

static void assert_powerless(pid_t pid)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	const struct passwd *user = getpwnam("portwake");

	assert_non_null(user);
	assert_true(user->pw_uid != 0 && user->pw_gid != 0);
	assert_four_ids(pid, "Uid", user->pw_uid);
	assert_four_ids(pid, "Gid", user->pw_gid);
	assert_status(pid, "Groups", "");
	for (size_t i = 0; i < COUNT_OF(sets); i++)
		assert_status(pid, sets[i], "0000000000000000");
	assert_status(pid, "NoNewPrivs", "1");
	assert_status(pid, "Seccomp", "2");
}

/* Every thread, by its own number. */
static void each_thread(pid_t pid, void (*check)(pid_t tid))
{
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			check(atoi(entry->d_name));
	}
	closedir(dir);
}

static unsigned count_links(pid_t pid, const char *prefix)
{
	char path[64], link[128];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		link[length > 0 ? length : 0] = '\0';
		count += !strncmp(link, prefix, strlen(prefix));
	}
	closedir(dir);
	return count;
}

/* The ring's counters and its data. */
#define RING_MAPPINGS 2

static unsigned count_mappings(pid_t pid, const char *name)
{
	char path[64], line[512];
	unsigned count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		count += strstr(line, name) != NULL;
	fclose(file);
	return count;
}

/* CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN. */
#define BROKER_CAPS "0000000000280007"

static void recorder_is_powerless(void **state)
{
	struct recording r;

	(void)state;
	begin(&r, NULL);
	each_thread(r.run->pid, assert_powerless);
	assert_int_equal(count_links(r.run->pid, "anon_inode:bpf"), 1);
	assert_int_equal(count_mappings(r.run->pid, "bpf-map"), RING_MAPPINGS);
	assert_int_equal(count_links(r.run->pid, "anon_inode:[perf_event]"), 0);
	assert_int_equal(count_links(r.run->pid, "anon_inode:btf"), 0);
	assert_four_ids(r.broker, "Uid", 0);
	assert_status(r.broker, "CapPrm", BROKER_CAPS);
	assert_status(r.broker, "CapEff", BROKER_CAPS);
	assert_status(r.broker, "CapBnd", BROKER_CAPS);
	assert_status(r.broker, "NoNewPrivs", "1");
	assert_status(r.broker, "Seccomp", "2");
	end(&r, 0);
}

#define LEFT_FD 8

/* As a shell does by `exec 8<FILE`, and by <FILE. */
static void leave_open(void *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	/* It may be that very number. */
	if (dup2(fd, STDIN_FILENO) < 0 || dup2(STDIN_FILENO, LEFT_FD) < 0)
		_exit(99);
}

static void assert_stdin_is_null(pid_t pid)
{
	char path[64], link[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/fd/0", pid);
	assert_true(readlink(path, link, sizeof(link) - 1) > 0);
	assert_string_equal(link, "/dev/null");
}

/* But the command, to which it was left. */
static void keeps_nothing_that_was_left_open(void **state)
{
	char secret[] = "/etc/passwd";
	struct recording r;
	pid_t command;

	(void)state;
	make_dir(&r);
	start(&r, ARGS("--", "/bin/sleep", "1000"), &(struct run_options){ .before_exec = leave_open, .arg = secret });
	command = r.broker;
	r.broker = other_child_of(r.run->pid, command);
	assert_int_equal(count_links(command, secret), 2);
	assert_int_equal(count_links(r.run->pid, secret), 0);
	assert_int_equal(count_links(r.broker, secret), 0);
	assert_stdin_is_null(r.run->pid);
	assert_stdin_is_null(r.broker);
	end(&r, 128 + SIGTERM);
}

/* ---- what it sees without privilege ---- */

#define OLD_PORT 8101		/* and the next three: taken before it began */
#define NEW_PORT 8111		/* and the next three: by the same process, after */
#define EXEC_PORT 8121		/* by a program that begins later */
#define TAKEN_PORT 8131

static void take_four(struct work *w, struct wsock out[4], uint16_t port)
{
	static const struct {
		enum fam fam;
		int proto;
	} kinds[4] = {
		{ FAM_V4, IPPROTO_TCP }, { FAM_V6, IPPROTO_TCP }, { FAM_V4, IPPROTO_UDP }, { FAM_V6, IPPROTO_UDP },
	};

	for (unsigned i = 0; i < 4; i++) {
		out[i] = ws_open_as(w, kinds[i].fam, kinds[i].proto);
		ws_bind(&out[i], (uint16_t)(port + i));
	}
}

static void old_and_new(struct work *w)
{
	struct wsock old[4], new[4];
	pid_t pid;

	w->before = true;
	take_four(w, old, OLD_PORT);
	w->before = false;
	work_step(w);
	take_four(w, new, NEW_PORT);
	pid = fork();
	if (!pid) {
		execl(self_path(), "e2e", "--role", "touch", "8121", (char *)NULL);
		_exit(127);
	}
	work_reap(w, pid);
	for (unsigned i = 0; i < 4; i++) {
		ws_close(&old[i]);
		ws_close(&new[i]);
	}
}

/* The rows that one statement gives, and its first row's columns as text. */
static unsigned ask(const struct recording *r, const char *sql, char out[4][8192])
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	unsigned rows = 0;

	if (sqlite3_open_v2(r->db, &db, SQLITE_OPEN_READONLY, NULL) || sqlite3_prepare_v2(db, sql, -1, &st, NULL))
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	for (; sqlite3_step(st) == SQLITE_ROW; rows++) {
		for (int i = 0; !rows && i < sqlite3_column_count(st); i++) {
			const char *text = (const char *)sqlite3_column_text(st, i);

			snprintf(out[i], 8192, "%s", text ? text : "NULL");
		}
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return rows;
}

static void expect_owner(const struct recording *r, unsigned port, const char *pid, const char *before)
{
	static char got[4][8192];
	char sql[200];

	snprintf(sql, sizeof(sql), "SELECT pid, exe, began_before, cause FROM lifetimes WHERE port = %u", port);
	assert_int_equal(ask(r, sql, got), 1);
	if (strcmp(got[0], pid) && *pid)
		fail_msg("port %u is process %s's, not %s's", port, got[0], pid);
	if (strcmp(got[1], self_path()))
		fail_msg("port %u is of %s, not of %s", port, got[1], self_path());
	assert_string_equal(got[2], before);
	assert_string_equal(got[3], "close");
}

static void sees_without_privilege(void **state)
{
	struct stage *stage = stage_new("without privilege");
	struct recording r;
	char pid[16];

	(void)state;
	stage_start(stage, old_and_new);
	snprintf(pid, sizeof(pid), "%d", stage->pid);
	stage_await_step(stage);
	begin(&r, ARGS("--netns", stage->inode));
	stage_go(stage);
	stage_join(stage);
	run_sleep(200);
	assert_int_equal(run_stop(r.run, SIGTERM), 0);
	for (unsigned i = 0; i < 4; i++) {
		expect_owner(&r, OLD_PORT + i, pid, "1");
		expect_owner(&r, NEW_PORT + i, pid, "0");
	}
	expect_owner(&r, EXEC_PORT, "", "0");
	run_free(&r.run);
	remove_dir(&r);
}

/* Two processes: the one that holds the port is not traced. */
static void denied_by_a_stranger(struct work *w)
{
	struct wsock held = ws_open_as(w, FAM_V6, IPPROTO_TCP), wants = ws_open_as(w, FAM_V6, IPPROTO_TCP);
	pid_t pid;

	work_step(w);
	work_name("holder");
	ws_bind(&held, TAKEN_PORT);
	ws_listen(&held);
	pid = fork();
	if (!pid) {
		work_name("wants");
		_exit(ws_try_bind(&wants, AT_LOOP, TAKEN_PORT) == -EADDRINUSE ? 0 : WORK_BROKEN);
	}
	work_reap(w, pid);
	/* It is asked for when the record is read, a twentieth of a second later. */
	usleep(500000 * slow());
	ws_close(&held);
}

static void explains_without_privilege(void **state)
{
	static char got[4][8192];
	struct stage *stage = stage_new("a denial without privilege");
	struct recording r;
	char holder[32];

	(void)state;
	stage_start(stage, denied_by_a_stranger);
	snprintf(holder, sizeof(holder), "\"pid\":%d,", stage->pid);
	stage_await_step(stage);
	begin(&r, ARGS("--netns", stage->inode, "--comm", "wants"));
	stage_go(stage);
	stage_join(stage);
	run_sleep(200);
	assert_int_equal(run_stop(r.run, SIGTERM), 0);
	assert_int_equal(ask(&r, "SELECT comm, cause, port, detail FROM denials", got), 1);
	assert_string_equal(got[0], "wants");
	assert_string_equal(got[1], "conflict");
	assert_string_equal(got[2], "8131");
	if (!strstr(got[3], holder))
		fail_msg("the holder is not %s: %s", holder, got[3]);
	run_free(&r.run);
	remove_dir(&r);
}

/* ---- files ---- */

static void assert_file(const struct recording *r, const char *suffix, struct stat *st)
{
	const struct passwd *user = getpwnam("portwake");
	char path[100];

	snprintf(path, sizeof(path), "%s%s", r->db, suffix);
	if (stat(path, st) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	assert_true(S_ISREG(st->st_mode));
	assert_int_equal(st->st_mode & 07777, 0640);
	assert_int_equal(st->st_uid, user->pw_uid);
	assert_int_equal(st->st_gid, user->pw_gid);
}

static void files_are_the_users(void **state)
{
	struct recording r;
	struct stat st;

	(void)state;
	begin(&r, NULL);
	assert_file(&r, "", &st);
	assert_file(&r, "-wal", &st);
	assert_file(&r, "-shm", &st);
	assert_int_equal(stat(r.dir, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	end(&r, 0);
}

struct elsewhere {
	const struct recording *recording;
	ino_t before;
};

static bool is_another(void *arg)
{
	const struct elsewhere *e = arg;
	struct stat st;

	return !stat(e->recording->db, &st) && st.st_ino != e->before &&
	       strstr(e->recording->run->talk, "another file");
}

static void expect_another(struct recording *r, ino_t before)
{
	struct elsewhere e = { r, before };
	struct stat st;

	if (!run_until(is_another, &e, WITHIN))
		fail_msg("no new %s; stderr: %s", r->db, r->run->talk);
	assert_file(r, "", &st);
	each_thread(r->run->pid, assert_powerless);
}

static void removed_file_is_made_again(void **state)
{
	struct recording r;
	struct stat st;

	(void)state;
	begin(&r, NULL);
	assert_file(&r, "", &st);
	assert_int_equal(unlink(r.db), 0);
	expect_another(&r, st.st_ino);
	end(&r, 0);
}

#define BRIEF_PORT 8141		/* taken and given back before the move, */
#define HELD_PORT 8142		/* held through it, */
#define LATE_PORT 8143		/* and taken after */

static void before_and_after(struct work *w)
{
	struct wsock brief = ws_open_as(w, FAM_V6, IPPROTO_UDP), held = ws_open_as(w, FAM_V4, IPPROTO_TCP);
	struct wsock late = ws_open_as(w, FAM_V4, IPPROTO_UDP);

	work_step(w);
	ws_bind(&brief, BRIEF_PORT);
	ws_close(&brief);
	ws_bind(&held, HELD_PORT);
	work_step(w);
	ws_bind(&late, LATE_PORT);
	ws_close(&held);
	ws_close(&late);
}

/* The ports of a database's lifetimes, "8141 8142", and whether it is whole. */
static void expect_all_ports(const struct recording *r, const char *ports)
{
	static char got[4][8192];

	assert_int_equal(ask(r, "SELECT group_concat(port, ' ') FROM (SELECT port FROM lifetimes ORDER BY port)", got), 1);
	if (strcmp(got[0], ports) != 0)
		fail_msg("%s has ports %s, not %s", r->db, got[0], ports);
	assert_int_equal(ask(r, "PRAGMA integrity_check", got), 1);
	assert_string_equal(got[0], "ok");
}

/* The same of one that was recorded to its end. */
static void expect_ports(const struct recording *r, const char *ports)
{
	static char got[4][8192];

	expect_all_ports(r, ports);
	assert_int_equal(ask(r, "SELECT ended_in_order FROM sessions", got), 1);
	assert_string_equal(got[0], "1");
}

/* Where the log of a database that was moved without it is kept; valid until the next call. */
static const char *left_of(const struct recording *r)
{
	static char path[100];

	snprintf(path, sizeof(path), "%s-left", r->db);
	return path;
}

/* A recorder, and where its database is to go. */
static void begin_beside_work(struct stage *stage, struct recording *r, struct recording *old)
{
	stage_start(stage, before_and_after);
	stage_await_step(stage);
	begin(r, ARGS("--netns", stage->inode));
	*old = *r;
	snprintf(old->db, sizeof(old->db), "%s/old.db", r->dir);
}

static void move_away(struct recording *r, const struct recording *old)
{
	struct stat st;

	assert_file(r, "", &st);
	assert_int_equal(rename(r->db, old->db), 0);
	assert_int_equal(kill(r->run->pid, SIGHUP), 0);
	expect_another(r, st.st_ino);
}

/* As it was told to. */
static void put_log_back(const struct recording *r, const struct recording *old)
{
	char wal[100];

	snprintf(wal, sizeof(wal), "%s-wal", old->db);
	if (!strstr(r->run->talk, left_of(r)))
		fail_msg("no word of the log: %s", r->run->talk);
	assert_int_equal(rename(left_of(r), wal), 0);
}

static void moved_file_is_left_at_sighup(void **state)
{
	struct stage *stage = stage_new("a database that moves");
	struct recording r, old;

	(void)state;
	begin_beside_work(stage, &r, &old);
	stage_go(stage);
	stage_await_step(stage);
	run_sleep(200);
	move_away(&r, &old);
	/* Nothing has moved now: nothing is done. */
	assert_int_equal(kill(r.run->pid, SIGHUP), 0);
	stage_go(stage);
	stage_join(stage);
	run_sleep(300);
	assert_int_equal(run_stop(r.run, SIGTERM), 0);
	expect_ports(&old, "8141 8142");
	expect_ports(&r, "8142 8143");
	/* Its log was empty in the end: nothing of it is left. */
	assert_null(strstr(r.run->talk, "write-ahead log"));
	assert_int_equal(access(left_of(&r), F_OK), -1);
	run_free(&r.run);
	remove_dir(&r);
}

/* A reader holds what is in the log; so it stays in there, and the log is what was not moved. */
static void log_that_a_reader_holds_is_kept(void **state)
{
	struct stage *stage = stage_new("a database that moves under a reader");
	struct recording r, old;
	sqlite3 *reader = NULL;

	(void)state;
	begin_beside_work(stage, &r, &old);
	assert_int_equal(sqlite3_open_v2(r.db, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM held", NULL, NULL, NULL), SQLITE_OK);
	stage_go(stage);
	stage_await_step(stage);
	run_sleep(200);
	move_away(&r, &old);
	stage_go(stage);
	stage_join(stage);
	run_sleep(300);
	assert_int_equal(run_stop(r.run, SIGTERM), 0);
	sqlite3_close(reader);
	put_log_back(&r, &old);
	expect_ports(&old, "8141 8142");
	expect_ports(&r, "8142 8143");
	run_free(&r.run);
	remove_dir(&r);
}

static bool is_gone(void *arg)
{
	return kill(*(pid_t *)arg, 0) < 0 && errno == ESRCH;
}

/* Killed, and moved without its log before the next one begins. */
static void log_of_a_recorder_that_was_killed_is_kept(void **state)
{
	struct stage *stage = stage_new("a database that moves without its log");
	struct recording r, old;

	(void)state;
	begin_beside_work(stage, &r, &old);
	stage_go(stage);
	stage_await_step(stage);
	run_sleep(1000);
	assert_int_equal(kill(r.run->pid, SIGKILL), 0);
	assert_int_equal(run_wait(r.run, WITHIN), 128 + SIGKILL);
	assert_true(run_until(is_gone, &r.broker, WITHIN));
	run_free(&r.run);
	assert_int_equal(rename(r.db, old.db), 0);
	start(&r, ARGS("--netns", stage->inode), &(struct run_options){ 0 });
	stage_go(stage);
	stage_join(stage);
	run_sleep(300);
	assert_int_equal(run_stop(r.run, SIGTERM), 0);
	put_log_back(&r, &old);
	expect_all_ports(&old, "8141 8142");
	expect_ports(&r, "8142 8143");
	run_free(&r.run);
	remove_dir(&r);
}

/* ---- ends ---- */

/* The numbers of the links behind a process's descriptors. */
static size_t links_of(pid_t pid, uint32_t ids[LINKS_MAX])
{
	char path[400], line[128];
	struct dirent *entry;
	size_t count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, entry->d_name);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file) && count < LINKS_MAX)
			count += sscanf(line, "link_id: %u", &ids[count]) == 1;
		if (file)
			fclose(file);
	}
	closedir(dir);
	return count;
}

static bool link_lives(uint32_t id)
{
	union bpf_attr attr = { .link_id = id };
	int fd = (int)syscall(SYS_bpf, BPF_LINK_GET_FD_BY_ID, &attr, sizeof(attr));

	if (fd < 0 && errno != ENOENT)
		fail_msg("link %u: %s", id, strerror(errno));
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

struct links {
	uint32_t ids[LINKS_MAX];
	size_t count;
};

static bool all_unlinked(void *arg)
{
	const struct links *links = arg;

	for (size_t i = 0; i < links->count; i++) {
		if (link_lives(links->ids[i]))
			return false;
	}
	return true;
}

static void nothing_outlives_the_recorder(void **state)
{
	struct recording r;
	struct links links;

	(void)state;
	begin(&r, NULL);
	links.count = links_of(r.broker, links.ids);
	assert_true(links.count > 0);
	assert_false(all_unlinked(&links));
	assert_int_equal(kill(r.run->pid, SIGKILL), 0);
	assert_int_equal(run_wait(r.run, WITHIN), 128 + SIGKILL);
	assert_true(run_until(is_gone, &r.broker, WITHIN));
	assert_true(run_until(all_unlinked, &links, WITHIN));
	run_free(&r.run);
	remove_dir(&r);
}

/* Stopped, it sees no end of its socket. */
static void hung_broker_does_not_outlive_the_recorder(void **state)
{
	struct recording r;

	(void)state;
	begin(&r, NULL);
	assert_int_equal(kill(r.broker, SIGSTOP), 0);
	assert_int_equal(kill(r.run->pid, SIGKILL), 0);
	assert_int_equal(run_wait(r.run, WITHIN), 128 + SIGKILL);
	assert_true(run_until(is_gone, &r.broker, WITHIN));
	run_free(&r.run);
	remove_dir(&r);
}

/* Nor is it waited for: the manager may be told that something is amiss, but not have to kill. */
static void ends_beside_a_hung_broker(void **state)
{
	struct recording r;

	(void)state;
	begin(&r, NULL);
	assert_int_equal(kill(r.broker, SIGSTOP), 0);
	assert_int_equal(kill(r.run->pid, SIGTERM), 0);
	assert_true(run_wait(r.run, WITHIN) >= 0);
	assert_true(strstr(r.run->talk, "written to"));
	assert_true(run_until(is_gone, &r.broker, WITHIN));
	run_free(&r.run);
	remove_dir(&r);
}

#define WAITS_PORT 8144

/* A TIME_WAIT's end has no hook on each rung: it is looked at every second. */
static void time_wait(struct work *w)
{
	struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_TCP);

	work_step(w);
	ws_bind(&s, WAITS_PORT);
	ws_connect_ok(&s, WAITS_PORT);
	ws_close_waits(&s);
	work_step(w);
}

/* In the middle of a question that it cannot go on without. */
static void says_that_its_broker_hangs(void **state)
{
	struct stage *stage = stage_new("a question to a broker that hangs");
	struct recording r;

	(void)state;
	stage_start(stage, time_wait);
	stage_await_step(stage);
	begin(&r, ARGS("--netns", stage->inode));
	stage_go(stage);
	stage_await_step(stage);
	run_sleep(300);
	assert_int_equal(kill(r.broker, SIGSTOP), 0);
	run_sleep(1500);
	assert_int_equal(kill(r.run->pid, SIGTERM), 0);
	assert_int_equal(run_wait(r.run, WITHIN), 1);
	if (!strstr(r.run->talk, "does not answer") || strstr(r.run->talk, "no memory"))
		fail_msg("no word of a broker that hangs: %s", r.run->talk);
	expect_all_ports(&r, "8144");
	stage_go(stage);
	stage_join(stage);
	run_free(&r.run);
	remove_dir(&r);
}

static void ends_with_its_broker(void **state)
{
	struct recording r;
	char number[24];

	(void)state;
	begin(&r, NULL);
	snprintf(number, sizeof(number), "%d", r.broker);
	assert_int_equal(kill(r.broker, SIGKILL), 0);
	assert_int_equal(run_wait(r.run, WITHIN), 1);
	if (!strstr(r.run->talk, "broker") || !strstr(r.run->talk, number))
		fail_msg("no word of broker %s: %s", number, r.run->talk);
	run_free(&r.run);
	remove_dir(&r);
}

/* What began a moment before, and lasts, is written all the same. */
static void young_ones_outlive_the_broker(void **state)
{
	struct stage *stage = stage_new("young when the broker dies");
	struct recording r;

	(void)state;
	stage_start(stage, before_and_after);
	stage_await_step(stage);
	begin(&r, ARGS("--netns", stage->inode));
	run_sleep(1000);
	stage_go(stage);
	stage_await_step(stage);
	assert_int_equal(kill(r.broker, SIGKILL), 0);
	assert_int_equal(run_wait(r.run, WITHIN), 1);
	expect_all_ports(&r, "8141 8142");
	stage_go(stage);
	stage_join(stage);
	run_free(&r.run);
	remove_dir(&r);
}

/* As on a mount that hangs: the ring is read on, and what it has is written. */
static void hung_broker_stops_no_writing(void **state)
{
	static char got[4][8192];
	struct stage *stage = stage_new("a broker that hangs");
	struct recording r;

	(void)state;
	stage_start(stage, before_and_after);
	stage_await_step(stage);
	begin(&r, ARGS("--netns", stage->inode));
	assert_int_equal(kill(r.broker, SIGSTOP), 0);
	stage_go(stage);
	stage_await_step(stage);
	run_sleep(1500 * (int)slow());
	assert_int_equal(ask(&r, "SELECT pid FROM lifetimes WHERE port = 8141", got), 1);
	assert_int_equal(kill(r.broker, SIGCONT), 0);
	run_sleep(1500 * (int)slow());
	expect_all_ports(&r, "8141 8142");
	stage_go(stage);
	stage_join(stage);
	end(&r, 0);
}

static void command_ends_it(void **state)
{
	struct recording r;

	(void)state;
	make_dir(&r);
	need_user();
	r.run = run_start(&(struct run_options){ .args = ARGS("record", "--json", "--db", r.db, "--", self_path(),
							      "--role", "exit", "7") });
	assert_int_equal(run_wait(r.run, WITHIN), 7);
	assert_true(run_has(r.run, KIND_READY));
	run_free(&r.run);
	remove_dir(&r);
}

/* What it started as root, it may not send a signal to itself any more. */
static void command_is_ended(void **state)
{
	struct recording r;

	(void)state;
	make_dir(&r);
	start(&r, ARGS("--", "/bin/sleep", "1000"), &(struct run_options){ 0 });
	end(&r, 128 + SIGTERM);
}

static bool is_told_of_broker(void *arg)
{
	const struct run *run = arg;

	return strstr(run->talk, "is gone, and with it every hook");
}

/* Nobody is left that may end it. */
static void command_outlives_the_broker(void **state)
{
	char words[40];
	pid_t command, broker;
	struct recording r;

	(void)state;
	make_dir(&r);
	start(&r, ARGS("--", "/bin/sleep", "1000"), &(struct run_options){ 0 });
	command = r.broker;
	broker = other_child_of(r.run->pid, command);
	assert_int_equal(kill(broker, SIGKILL), 0);
	snprintf(words, sizeof(words), "process %d, could not be ended", command);
	if (!run_until(is_told_of_broker, r.run, WITHIN) || !strstr(r.run->talk, words))
		fail_msg("no word of command %d and broker %d: %s", command, broker, r.run->talk);
	/* It has our stderr: that ends with it. */
	assert_int_equal(kill(command, SIGKILL), 0);
	assert_int_equal(run_wait(r.run, WITHIN), 1);
	run_free(&r.run);
	remove_dir(&r);
}

/* ---- a service manager ---- */

static int manager_socket(struct sockaddr_un *name, socklen_t *length)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*length = sizeof(sa_family_t);
	/* Autobind: an abstract name that nobody else has. */
	assert_int_equal(bind(fd, (struct sockaddr *)name, *length), 0);
	*length = sizeof(*name);
	assert_int_equal(getsockname(fd, (struct sockaddr *)name, length), 0);
	return fd;
}

static void set_manager(void *arg)
{
	setenv("NOTIFY_SOCKET", arg, 1);
	setenv("WATCHDOG_USEC", "4000000", 1);
}

struct told {
	int fd;
	char text[4096];
	const char *word;
};

static bool is_told(void *arg)
{
	struct told *told = arg;
	size_t used = strlen(told->text);
	ssize_t got;

	while ((got = recv(told->fd, told->text + used, sizeof(told->text) - used - 2, 0)) > 0) {
		used += (size_t)got;
		told->text[used++] = '\n';
		told->text[used] = '\0';
	}
	return strstr(told->text, told->word);
}

static void expect_told(struct told *told, const char *word)
{
	told->word = word;
	if (!run_until(is_told, told, WITHIN))
		fail_msg("the manager was not told %s, but: %s", word, told->text);
}

static void tells_its_manager(void **state)
{
	struct recording r;
	struct sockaddr_un name;
	struct told told = { 0 };
	char address[120];
	socklen_t length;

	(void)state;
	told.fd = manager_socket(&name, &length);
	snprintf(address, sizeof(address), "@%.*s", (int)(length - sizeof(sa_family_t) - 1), name.sun_path + 1);
	make_dir(&r);
	start(&r, NULL, &(struct run_options){ .before_exec = set_manager, .arg = address });
	expect_told(&told, "READY=1\n");
	assert_null(strstr(told.text, "STOPPING"));
	expect_told(&told, "WATCHDOG=1\n");
	told.text[0] = '\0';
	assert_int_equal(kill(r.run->pid, SIGHUP), 0);
	expect_told(&told, "RELOADING=1\nMONOTONIC_USEC=");
	expect_told(&told, "\nREADY=1\n");
	end(&r, 0);
	expect_told(&told, "STOPPING=1\n");
	close(told.fd);
}

/* ---- refusals ---- */

static void assert_refused(const char *const *args, int status, const char *words)
{
	struct run *run;
	int got;

	need_user();
	run = run_start(&(struct run_options){ .args = args, .text = true });
	got = run_wait(run, WITHIN);
	if (got != status || !strstr(run->talk, words))
		fail_msg("exit status %d, not %d with '%s': %s", got, status, words, run->talk);
	if (strchr(run->talk, '\n') != run->talk + strlen(run->talk) - 1)
		fail_msg("not one line: %s", run->talk);
	run_free(&run);
}

static void bad_usage(void **state)
{
	(void)state;
	assert_refused(ARGS("record", "--keep", "soon"), 2, "--keep: 'soon'");
	assert_refused(ARGS("record", "--keep", "0"), 2, "--keep: '0'");
	assert_refused(ARGS("record", "--keep", "-7d"), 2, "--keep: '-7d'");
	assert_refused(ARGS("record", "--keep", "7"), 2, "--keep: '7' has no unit");
	assert_refused(ARGS("record", "--keep", "7w"), 2, "--keep: '7w'");
	assert_refused(ARGS("record", "--keep"), 2, "--keep needs a value");
	assert_refused(ARGS("record", "--max-size", "1K"), 2, "--max-size: '1K'");
	assert_refused(ARGS("record", "--max-size", "2X"), 2, "--max-size: '2X'");
	assert_refused(ARGS("record", "--max-size", "99999999999G"), 2, "--max-size: '99999999999G'");
	assert_refused(ARGS("record", "--db", ""), 2, "--db: the path is empty");
	assert_refused(ARGS("record", "--listeners"), 2, "--listeners");
	assert_refused(ARGS("live", "--keep", "7d"), 2, "--keep");
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void assert_untouched(const char *path, const char *text)
{
	char got[64] = "";
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	assert_int_equal(fread(got, 1, sizeof(got) - 1, file), strlen(text));
	assert_string_equal(got, text);
	fclose(file);
}

static void strange_files(void **state)
{
	struct recording r;
	char other[100], deep[100];

	(void)state;
	make_dir(&r);
	snprintf(other, sizeof(other), "%s/other", r.dir);
	snprintf(deep, sizeof(deep), "%s/none/history.db", r.dir);
	assert_refused(ARGS("record", "--db", r.dir), 1, "not a regular file");
	assert_refused(ARGS("record", "--db", deep), 1, "No such file or directory");
	/* Somebody else's file, and a link to one. */
	write_file(other, "precious");
	assert_refused(ARGS("record", "--db", other), 1, "belongs to user 0");
	assert_int_equal(symlink(other, r.db), 0);
	assert_refused(ARGS("record", "--db", r.db), 1, "not a regular file");
	assert_untouched(other, "precious");
	remove_dir(&r);
}

static void become_nobody(void *arg)
{
	(void)arg;
	if (setgid(65534) || setuid(65534))
		_exit(99);
}

static void takes_root(void **state)
{
	struct run *run;

	(void)state;
	run = run_start(&(struct run_options){ .args = ARGS("record", "--db", "/tmp/portwake-e2e.db"), .text = true,
					       .before_exec = become_nobody });
	if (run_wait(run, WITHIN) != 3 || !strstr(run->talk, "root"))
		fail_msg("not status 3 with a word of root: %s", run->talk);
	run_free(&run);
}

static const struct plain list[] = {
	{ "record/recorder_is_powerless", recorder_is_powerless },
	{ "record/keeps_nothing_that_was_left_open", keeps_nothing_that_was_left_open },
	{ "record/sees_without_privilege", sees_without_privilege },
	{ "record/explains_without_privilege", explains_without_privilege },
	{ "record/files_are_the_users", files_are_the_users },
	{ "record/removed_file_is_made_again", removed_file_is_made_again },
	{ "record/moved_file_is_left_at_sighup", moved_file_is_left_at_sighup },
	{ "record/log_that_a_reader_holds_is_kept", log_that_a_reader_holds_is_kept },
	{ "record/log_of_a_recorder_that_was_killed_is_kept", log_of_a_recorder_that_was_killed_is_kept },
	{ "record/nothing_outlives_the_recorder", nothing_outlives_the_recorder },
	{ "record/hung_broker_does_not_outlive_the_recorder", hung_broker_does_not_outlive_the_recorder },
	{ "record/ends_beside_a_hung_broker", ends_beside_a_hung_broker },
	{ "record/says_that_its_broker_hangs", says_that_its_broker_hangs },
	{ "record/ends_with_its_broker", ends_with_its_broker },
	{ "record/young_ones_outlive_the_broker", young_ones_outlive_the_broker },
	{ "record/hung_broker_stops_no_writing", hung_broker_stops_no_writing },
	{ "record/command_ends_it", command_ends_it },
	{ "record/command_is_ended", command_is_ended },
	{ "record/command_outlives_the_broker", command_outlives_the_broker },
	{ "record/tells_its_manager", tells_its_manager },
	{ "record/bad_usage", bad_usage },
	{ "record/strange_files", strange_files },
	{ "record/takes_root", takes_root },
};

const struct plain_list record_tests = { list, COUNT_OF(list) };
