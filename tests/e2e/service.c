/* SPDX-License-Identifier: GPL-2.0 */
/* The recorder as a service: what it may still do, who may ask, how much room and memory it takes, clocks that are set. */
#define _GNU_SOURCE
#include "tests/e2e/told.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/ask.h"
#include "tests/e2e/crowd.h"

#define PAUSE 700
#define NOBODY 65534
#define READERS 4
#define MAX_SIZE (16U << 20)
#define MANY 100000
#define MANY_PROCESSES 8
#define MOST_KIB (64L * 1024)
#define SHADOW_KIB (1L << 30)	/* only a sanitizer's shadow is that large */
#define HOUR (3600 * SECOND)

static struct crowd drip = { .pause_us = PAUSE };

static void end_drip(struct stage *stage)
{
	stage->work.truth->stop = true;
	stage_join(stage);
}

/* ---- privilege ---- */

/* The words behind NAME: in /proc/PID/status. */
static const char *status_of(pid_t pid, const char *name)
{
	static char line[256];
	size_t len = strlen(name);
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, len) == 0 && line[len] == ':') {
			fclose(f);
			line[strcspn(line, "\n")] = '\0';
			return line + len + 2;
		}
	}
	fclose(f);
	fail_msg("no %s in %s", name, path);
	return "";
}

static void assert_ids(pid_t pid, const char *name, unsigned id)
{
	char want[80];

	snprintf(want, sizeof(want), "%u\t%u\t%u\t%u", id, id, id, id);
	assert_string_equal(status_of(pid, name), want);
}

static uint64_t capabilities(pid_t pid, const char *set)
{
	return strtoull(status_of(pid, set), NULL, 16);
}

static void assert_powerless(pid_t pid, const struct passwd *user)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };

	assert_ids(pid, "Uid", user->pw_uid);
	assert_ids(pid, "Gid", user->pw_gid);
	for (size_t i = 0; i < COUNT_OF(sets); i++)
		assert_int_equal(capabilities(pid, sets[i]), 0);
	assert_string_equal(status_of(pid, "NoNewPrivs"), "1");
	assert_string_equal(status_of(pid, "Seccomp"), "2");
	assert_null(strpbrk(status_of(pid, "Groups"), "0123456789"));
}

static void assert_no_more_than_told(const char *db, const struct passwd *user)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	char path[PATH_ROOM + 80];
	struct stat st;

	for (size_t i = 0; i < COUNT_OF(tails); i++) {
		snprintf(path, sizeof(path), "%s%s", db, tails[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0640);
		assert_int_equal(st.st_gid, user->pw_gid);
		assert_true(st.st_uid == user->pw_uid || st.st_uid == 0);
	}
}

/* In a directory that it cannot enter itself. */
static void gives_up_privilege(void **state)
{
	const char *dir = scratch_dir(), *db = scratch_path(dir, "history.db");
	struct stage *stage = stage_new("privilege");
	const struct passwd *user;
	struct run *run;
	pid_t broker;

	(void)state;
	assert_int_equal(chmod(dir, 0700), 0);
	run = record_on(stage, db, NULL);
	user = getpwnam("portwake");
	assert_non_null(user);
	assert_powerless(run->pid, user);
	broker = record_broker(run);
	assert_true(broker > 0);
	assert_string_equal(status_of(broker, "NoNewPrivs"), "1");
	assert_string_equal(status_of(broker, "Seccomp"), "2");
	assert_true(capabilities(broker, "CapEff") != 0);
	assert_int_equal(capabilities(broker, "CapEff") & 1ULL << 16, 0); /* CAP_SYS_MODULE */
	assert_int_equal(capabilities(broker, "CapEff") & 1ULL << 22, 0); /* CAP_SYS_BOOT */
	assert_int_equal(capabilities(broker, "CapEff"), capabilities(broker, "CapBnd"));
	assert_no_more_than_told(db, user);
	/* And it goes on tracing, for longer than what was in the ring. */
	stage->work.arg = &drip;
	stage_start(stage, drip_work);
	run_sleep(1500);
	end_drip(stage);
	assert_powerless(run->pid, user);
	assert_recorded(stage, db);
	record_end(run);
	assert_int_not_equal(kill(broker, 0), 0);
}

static gid_t group_to_have;

static void become_nobody(void *more)
{
	if (setgroups(more ? 1 : 0, &group_to_have) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		_exit(98);
}

static struct run *ask_as_nobody(const char *db, bool in_group)
{
	const char *const args[] = { "7801-7802", "--since", "-1h", "--json", "--db", db, NULL };

	return start_who(args, become_nobody, in_group ? &group_to_have : NULL);
}

static void assert_member_can(const char *db)
{
	struct run *run = ask_as_nobody(db, true);

	if (run_wait(run, WITHIN))
		fail_msg("a member of the group cannot ask: %s", run->talk);
	assert_says(run->partial, "\"port\":7801");
	assert_says(run->partial, "\"holder\"");
	run_free(&run);
	run = ask_as_nobody(db, false);
	assert_int_equal(run_wait(run, WITHIN), 1);
	assert_says(run->talk, db);
	assert_says(run->talk, "group");
	assert_string_equal(run->partial, "");
	run_free(&run);
}

static void one_socket(struct work *w)
{
	struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_TCP);

	ws_bind(&s, 7801);
	ws_close(&s);
}

/* Beside a recorder, after its clean end, and after it was killed. */
static void group_may_ask(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = stage_new("group");
	struct run *run = record_on(stage, db, NULL);
	const struct group *group = getgrnam("portwake");

	(void)state;
	assert_non_null(group);
	group_to_have = group->gr_gid;
	stage_run(stage, one_socket);
	assert_recorded(stage, db);
	assert_member_can(db);
	record_end(run);
	run_free(&run);
	assert_member_can(db);
	run = record_on(stage, db, NULL);
	run_sleep(300);
	record_kill(run);
	assert_member_can(db);
	/* Root has looked with sqlite3, which tidies up. */
	assert_integrity(db);
	assert_member_can(db);
}

/* ---- readers ---- */

static void __attribute__((noreturn)) read_for_ever(const char *db, const char *inode)
{
	const char *const argv[] = { run_program(), "who", "1-65535", "--since", "-1h", "--json", "--db", db, "--netns",
				     inode, NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, STDOUT_FILENO);
	for (;;) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			execv(argv[0], (char *const *)argv);
			_exit(98);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			_exit(97);
	}
}

static void readers_and_churn(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct flood *flood = flood_new(0);
	struct stage *stage = stage_new("readers");
	struct run *run = record_on(stage, db, NULL);
	pid_t reader[READERS];
	struct past *past;

	(void)state;
	for (int i = 0; i < READERS; i++) {
		reader[i] = fork();
		if (reader[i] == 0)
			read_for_ever(db, stage_number(stage));
	}
	stage->work.arg = flood;
	stage_start(stage, flood_work);
	run_sleep(3000);
	flood->stop = true;
	stage_join(stage);
	for (int i = 0; i < READERS; i++) {
		int status = 0;

		assert_int_equal(waitpid(reader[i], &status, WNOHANG), 0);
		kill(reader[i], SIGKILL);
		waitpid(reader[i], &status, 0);
	}
	run_sleep(1500 * (int)slow());
	record_end(run);
	past = past_since(stage, db, stage->work.truth->since);
	print_message("  %llu made, %zu recorded\n", (unsigned long long)flood->made, past->count);
	assert_no_blind(past);
	assert_int_equal(past->count, flood->made);
	past_free(&past, 1);
	flood_free(&flood);
	assert_integrity(db);
}

/* ---- room ---- */

struct watch {
	const char *db;
	uint64_t most;
	int64_t until;
};

static bool watched_enough(void *arg)
{
	struct watch *watch = arg;
	uint64_t size = db_size(watch->db);

	watch->most = size > watch->most ? size : watch->most;
	return now_ns() > watch->until;
}

static void keeps_to_its_size(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct watch watch = { .db = db };
	struct flood *flood = flood_new(0);
	struct stage *stage = stage_new("size");
	struct run *run = record_on(stage, db, ARGS("--max-size", "16M"));
	struct past *past;
	int64_t kept;

	(void)state;
	stage->work.arg = flood;
	stage_start(stage, flood_work);
	watch.until = now_ns() + 8 * SECOND;
	run_until(watched_enough, &watch, 60 * SECOND);
	flood->stop = true;
	stage_join(stage);
	record_end(run);
	kept = db_int(db, "SELECT count(*) FROM lifetimes");
	print_message("  %llu made, %lld kept, at most %.2f MiB\n", (unsigned long long)flood->made, (long long)kept,
		      (double)watch.most / (1 << 20));
	assert_integrity(db);
	assert_true(watch.most <= MAX_SIZE + MAX_SIZE / 10);
	assert_true((uint64_t)kept < flood->made);
	/* And it is made use of: half of it at least. */
	assert_true(db_size(db) > MAX_SIZE / 2);
	/* What is gone is not "nobody". */
	past = past_ask(stage, db, ARGS("7801/udp", "--since", "-1h"));
	assert_true(past->blind_count > 0);
	past_free(&past, 1);
	flood_free(&flood);
}

/* ---- a minute, which passes while the other tests run ---- */

static struct {
	char dir[PATH_ROOM], db[PATH_ROOM + 16];
	struct stage *stage;
	struct run *run;
	int64_t began;		/* when nothing more came; 0: it could not be recorded */
} minute;

/* What comes and goes is to be forgotten; what stays is not. */
static void drip_and_stay(struct work *w)
{
	struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_TCP);

	ws_bind(&s, 7803);
	drip_work(w);
	work_step(w);
}

void forget_begin(void)
{
	case_begin("a minute to keep");
	if (!scratch_make(minute.dir))
		return;
	snprintf(minute.db, sizeof(minute.db), "%s/history.db", minute.dir);
	minute.stage = stage_new("a minute to keep");
	minute.stage->keep = KEEP_ALWAYS;
	minute.stage->work.arg = &drip;
	minute.run = record_start(minute.stage, minute.db, ARGS("--keep", "60s"));
	minute.run->lasting = true;
	if (!record_await_ready(minute.run)) {
		run_print_talk(minute.run);
		return;
	}
	stage_start(minute.stage, drip_and_stay);
	run_sleep(1500);
	minute.stage->work.truth->stop = true;
	stage_await_step(minute.stage);
	minute.began = now_ns();
}

static bool has_forgotten(void *arg)
{
	(void)arg;
	return now_ns() > minute.began + 65 * SECOND && db_int(minute.db, "SELECT count(*) FROM lifetimes") == 1;
}

static void end_minute(void)
{
	minute.run->lasting = false;
	record_end(minute.run);
	assert_integrity(minute.db);
	stage_go(minute.stage);
	stage_join(minute.stage);
	stage_free(&minute.stage);
	scratch_remove(minute.dir);
}

static void forgets_in_time(void **state)
{
	const struct life *stays;
	struct past *past;

	(void)state;
	assert_true(minute.began > 0);
	stays = &minute.stage->work.truth->life[0];
	if (!run_until(has_forgotten, NULL, 90 * SECOND))
		fail_msg("%lld lifetimes of %u are kept", (long long)db_int(minute.db, "SELECT count(*) FROM lifetimes"),
			 minute.stage->work.truth->lives);
	past = past_since(minute.stage, minute.db, minute.stage->work.truth->since);
	assert_int_equal(past->count, 1);
	assert_true(past->rows[0].cookie == stays->cookie && past->rows[0].pid == stays->pid);
	assert_int_equal(past->rows[0].until, FOR_EVER);
	/* What is gone is not "nobody". */
	assert_true(past->blind_count > 0 && past->blind[0].until > minute.began - SECOND);
	past_free(&past, 1);
	assert_int_equal(db_int(minute.db, "SELECT count(*) FROM process"), 1);
	end_minute();
}

/* ---- memory ---- */

static void hold_share(struct work *w, void *arg)
{
	const int *pipes = arg;
	unsigned share = MANY / MANY_PROCESSES, first = (unsigned)pipes[4] * share;
	struct sockaddr_in in = { .sin_family = AF_INET };
	char c;

	(void)w;
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ .rlim_cur = share + 64, .rlim_max = share + 64 });
	close(pipes[3]);
	for (unsigned i = first; i < first + share; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i / 50000);
		in.sin_port = htons((uint16_t)(10000 + i % 50000));
		if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
			work_die("bind");
	}
	if (write(pipes[1], "o", 1) != 1 || read(pipes[2], &c, 1) != 0)
		work_die("pipe");
}

static void hundred_thousand(struct work *w)
{
	pid_t pid[MANY_PROCESSES];
	int pipes[5];
	char c;

	if (pipe2(pipes, O_CLOEXEC) < 0 || pipe2(pipes + 2, O_CLOEXEC) < 0)
		work_die("pipe");
	for (int i = 0; i < MANY_PROCESSES; i++) {
		pipes[4] = i;
		pid[i] = work_spawn(w, hold_share, pipes);
	}
	close(pipes[1]);
	for (int i = 0; i < MANY_PROCESSES; i++) {
		if (read(pipes[0], &c, 1) != 1)
			work_die("a process has ended early");
	}
	work_step(w);
	close(pipes[3]);
	for (int i = 0; i < MANY_PROCESSES; i++)
		work_reap(w, pid[i]);
}

static void assert_small(const struct run *run, const char *when, bool shadow)
{
	struct run broker = { .pid = record_broker(run) };
	long peak = run_status_kib(run, "VmHWM"), now = run_status_kib(run, "VmRSS"), other = run_status_kib(&broker, "VmRSS");

	print_message("  %s: %ld KiB, at most %ld, broker %ld%s\n", when, now, peak, other,
		      shadow ? "; a sanitizer's: not judged" : "");
	assert_true(now > 0 && (shadow || (now < MOST_KIB && other < MOST_KIB)));
}

static void sockets_take_little_memory(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	struct stage *stage = stage_new("memory");
	struct run *run = record_on(stage, db, NULL);
	bool shadow = run_status_kib(run, "VmPeak") > SHADOW_KIB;

	(void)state;
	stage_start(stage, hundred_thousand);
	stage_await_step(stage);
	run_sleep(2500 * (int)slow());
	assert_int_equal(db_int(db, "SELECT count(*) FROM lifetimes"), MANY);
	assert_small(run, "taken while it records", shadow);
	record_end(run);
	run_free(&run);
	run = record_on(stage, db, NULL);
	run_sleep(1500 * (int)slow());
	assert_small(run, "there when it begins", shadow);
	stage_go(stage);
	stage_join(stage);
	run_sleep(1500 * (int)slow());
	record_end(run);
	assert_int_equal(db_int(db, "SELECT count(*) FROM lifetimes"), MANY);
	assert_integrity(db);
}

/* ---- the clock ---- */

static void set_clock(int64_t by)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += by / SECOND;
	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		skip_because("the clock cannot be set here: %s", strerror(errno));
}

static void briefly(struct work *w)
{
	struct wsock s = ws_open_as(w, FAM_V4, IPPROTO_TCP);

	ws_bind(&s, 7801);
	usleep(300000);
	ws_close(&s);
}

/* Held across a step of the clock: its two ends are by the clock as it stood then. */
static void across_step(struct work *w)
{
	struct wsock s = ws_open_as(w, FAM_V6, IPPROTO_UDP);

	ws_bind(&s, 7802);
	work_step(w);
	ws_close(&s);
}

static size_t holders_at(const struct stage *stage, const char *db, const char *port, int64_t time)
{
	char text[40];
	struct past *past = past_ask(stage, db, ARGS(port, "--at", time_text(time, text)));
	size_t count = past->count;

	past_free(&past, 1);
	return count;
}

static void clock_is_set(void **state)
{
	const char *db = scratch_path(scratch_dir(), "history.db");
	int64_t first, ahead, second, middle = 150 * MS;
	struct stage *stage;
	struct run *run;

	(void)state;
	if (!getenv("E2E_GUEST"))
		skip_because("the clock of this machine is not ours to set: run it in a guest");
	stage = stage_new("clock");
	run = record_on(stage, db, NULL);
	run_sleep(1000);
	first = now_ns();
	stage_run(stage, briefly);
	stage_start(stage, across_step);
	stage_await_step(stage);
	run_sleep(1500);
	set_clock(HOUR);
	run_sleep(1500 * (int)slow());
	ahead = now_ns();
	stage_go(stage);
	stage_join(stage);
	/* Back to where the first one was, about: that time is there twice. */
	set_clock(-(now_ns() - first));
	run_sleep(1500 * (int)slow());
	second = now_ns();
	stage_run(stage, briefly);
	run_sleep(1500 * (int)slow());
	assert_int_equal(holders_at(stage, db, "7801/tcp", first + middle), 1);
	assert_int_equal(holders_at(stage, db, "7801/tcp", second + middle), 1);
	/* What is still to come is not asked for. */
	set_clock(2 * HOUR);
	assert_int_equal(holders_at(stage, db, "7801/tcp", ahead), 0);
	assert_int_equal(holders_at(stage, db, "7802/udp", ahead - 500 * MS), 1);
	record_end(run);
	assert_int_equal(holders_at(stage, db, "7801/tcp", first + middle), 1);
	assert_int_equal(db_int(db, "SELECT count(*) FROM lifetimes"), 3);
	assert_integrity(db);
}

static const struct plain list[] = {
	{ "service/gives_up_privilege", gives_up_privilege },
	{ "service/group_may_ask", group_may_ask },
	{ "service/readers_and_churn", readers_and_churn },
	{ "service/keeps_to_its_size", keeps_to_its_size },
	{ "service/sockets_take_little_memory", sockets_take_little_memory },
	{ "service/clock_is_set", clock_is_set },
};

const struct plain_list service_tests = { list, COUNT_OF(list) };

static const struct plain last[] = {
	{ "service/forgets_in_time", forgets_in_time },
};

const struct plain_list forget_tests = { last, COUNT_OF(last) };
