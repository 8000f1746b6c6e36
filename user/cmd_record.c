/* SPDX-License-Identifier: GPL-2.0 */
/*
 * portwake record: the stream of events into a database.
 *
 * Root makes the database's files and attaches; then it forks the broker, becomes
 * user portwake without any privilege, and only then reads a record or opens the
 * database.
 */
#include "user/cmd.h"

#include <inttypes.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "user/broker.h"
#include "user/clock.h"
#include "user/dbfile.h"
#include "user/log.h"
#include "user/mem.h"
#include "user/notify.h"
#include "user/output.h"
#include "user/privilege.h"
#include "user/scope.h"
#include "user/sink_json.h"
#include "user/sink_text.h"
#include "user/store.h"

#define LINES_MAX 4096			/* of ready and gap, in waiting for the reader of stdout */
#define PATIENCE_MS 3000		/* with that reader */
#define WRITE_PATIENCE_NS 10000000000ULL	/* with the disk, at the end */
#define REOPEN_PATIENCE_NS 2000000000ULL	/* the same, at a change of files: nobody reads the ring */
#define WRITE_WAIT_NS 5000000
#define RING_NS 100000000ULL		/* what the ring may hold that was not read yet */
#define LOST_TICKS 2			/* half seconds between two words of what did not fit */
#define PATH_TICKS 4			/* half seconds between looks whether the path still leads to the file */

struct recorder {
	const struct options *options;
	struct tracing tracing;
	struct dbfile dbfile;
	struct store_files files;
	struct broker *broker;
	struct store *store;
	struct output *output;
	struct notify notify;
	char *filter;
	uint64_t ticks;
	bool ready;
	bool refused;			/* it ended before it began: result.why is not of tracing */
	uint64_t write_by;		/* the disk is waited for until then; 0: the end has not come, */
	bool hurried;			/* and it was hurried by a second signal */
	bool mute;			/* stdout has no reader */
	uint64_t lost_told;		/* of what did not fit while storage failed, */
	uint64_t lost_ticks;		/* and when */
	bool reopen_failed;		/* and that has been told */
};

/* ---- the database ---- */

static int open_store(struct recorder *r, const struct store_files *files, struct store **out, char *why, size_t size)
{
	struct store_options options = {
		.path = r->dbfile.path, .files = *files, .keep_ns = r->options->keep_ns,
		.max_size = r->options->max_size, .filter = r->filter, .identity = r->tracing.identity,
	};

	return store_open(&options, out, why, size);
}

/* To a database that is new to it, all that is held was there before. */
static void retell(struct recorder *r, struct lifetime *newest, int64_t offset)
{
	struct change ready = { .what = WHAT_READY, .exact = true, .time = now_boottime() };

	for (struct lifetime *l = newest; l; l = l->all_next) {
		struct change change = { .what = WHAT_PRESENT, .time = l->since ? l->since : l->seen, .lifetime = l };

		l->stored = false;
		change.exact = !l->inexact;
		store_change(r->store, &change, offset);
	}
	store_change(r->store, &ready, offset);
}

static bool is_same_file(int a, int b)
{
	struct stat one, other;

	return !fstat(a, &one) && !fstat(b, &other) && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static void tell_left(const char *path)
{
	log_warn("%s is the write-ahead log of a database that was moved without it: rename it to NEWNAME-wal beside that, "
		 "or what is in it is missing there", path);
}

/* The path may lead elsewhere now: rotated, removed, another file system. What it leads to is written from here on. */
static int reopen(struct recorder *r, struct lifetime *newest, uint64_t sure, char *why, size_t size)
{
	_cleanup_(store_files_close) struct store_files files = STORE_FILES_INIT;
	struct store *store = NULL;
	struct store_totals totals;
	char left[PATH_MAX];
	uint64_t unwritten, told = now_boottime() - RING_NS;
	int e = broker_files(r->broker, &files, why, size);

	if (e || is_same_file(files.db, r->files.db))
		return e;
	e = open_store(r, &files, &store, why, size);
	if (e)
		return e;
	store_flush(r->store, newest, sure < told ? sure : told, clock_offset());
	store_totals(r->store, &totals);
	unwritten = store_close(&r->store, REOPEN_PATIENCE_NS);
	if (totals.lost || unwritten)
		log_warn("%" PRIu64 " changes could not be written to the file before", totals.lost + unwritten);
	if (broker_left(r->broker, left, sizeof(left)))
		tell_left(left);
	r->store = store;
	r->lost_told = 0;
	store_files_close(&r->files);
	r->files = files;
	files = STORE_FILES_INIT;
	retell(r, newest, clock_offset());
	log_note("recording to %s anew: another file than before", r->dbfile.path);
	return 0;
}

static void try_reopen(struct recorder *r, struct lifetime *newest, uint64_t sure)
{
	char why[512] = "";
	int e = reopen(r, newest, sure, why, sizeof(why));

	if (e && !r->reopen_failed)
		log_error("the database cannot be opened anew: %s; what was open is written on to", why);
	r->reopen_failed = e;
}

/* ---- as a sink ---- */

static void on_change(void *arg, const struct change *change, int64_t offset)
{
	struct recorder *r = arg;

	store_change(r->store, change, offset);
	if (change->what != WHAT_READY && change->what != WHAT_GAP)
		return;
	if (change->what == WHAT_READY) {
		r->ready = true;
		notify_send(&r->notify, "READY=1\nSTATUS=Recording to %s", r->dbfile.path);
	}
	if (!r->mute)
		output_change(r->output, change, offset);
}

/* Where nobody reads what it says, it records all the same. */
static int on_flush(void *arg)
{
	struct recorder *r = arg;
	int e = r->mute ? 0 : output_flush(r->output);

	if (!e || e == -EAGAIN)
		return e;
	r->mute = true;
	log_warn("stdout: %s: gaps are told in the database alone", strerror(-e));
	return 0;
}

static int on_fd(void *arg)
{
	(void)arg;
	return STDOUT_FILENO;
}

/* Removed: no name leads to it. Replaced, moved, under another mount: only the broker can follow the path. */
static bool has_moved(struct recorder *r)
{
	struct stat st;

	if (fstat(r->files.db, &st) < 0 || !st.st_nlink)
		return true;
	return r->ticks % PATH_TICKS == 0 && !broker_file_is(r->broker, st.st_dev, st.st_ino);
}

/* The reason was told when it began to fail. */
static void tell_lost(struct recorder *r)
{
	struct store_totals totals;

	store_totals(r->store, &totals);
	if (totals.lost <= r->lost_told || r->ticks - r->lost_ticks < LOST_TICKS)
		return;
	log_warn("%s: %" PRIu64 " changes did not fit: a gap in the database", r->dbfile.path, totals.lost - r->lost_told);
	r->lost_told = totals.lost;
	r->lost_ticks = r->ticks;
}

static void on_tick(void *arg, struct lifetime *newest, uint64_t now, uint64_t sure, int64_t offset)
{
	struct recorder *r = arg;
	char why[512] = "";

	r->ticks++;
	if (store_tick(r->store, newest, now, sure, offset, why, sizeof(why))) {
		log_warn("%s", why);
		notify_send(&r->notify, "STATUS=%s", why);
	}
	tell_lost(r);
	if (r->notify.watchdog)
		notify_send(&r->notify, "WATCHDOG=1");
	if (has_moved(r) && (!r->reopen_failed || r->ticks % PATH_TICKS == 0))
		try_reopen(r, newest, sure);
}

/* For the disk, at the end: a moment more, unless that has been long or a second signal hurries it. */
static bool may_wait(struct recorder *r)
{
	struct timespec wait = { .tv_nsec = WRITE_WAIT_NS };

	if (r->hurried || now_boottime() >= r->write_by)
		return false;
	nanosleep(&wait, NULL);
	r->hurried = run_interrupted();
	return true;
}

/* While the lifetimes are there still, what has found no room is told when the disk has taken what waits. */
static void on_end(void *arg, struct lifetime *newest, uint64_t now)
{
	struct recorder *r = arg;

	r->write_by = now_boottime() + WRITE_PATIENCE_NS;
	store_flush(r->store, newest, now, clock_offset());
	while (store_is_behind(r->store) && may_wait(r))
		store_flush(r->store, newest, now, clock_offset());
}

static void on_reload(void *arg, struct lifetime *newest, uint64_t sure)
{
	struct recorder *r = arg;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	notify_send(&r->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		    (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	r->reopen_failed = false;
	try_reopen(r, newest, sure);
	notify_send(&r->notify, "READY=1");
}

static const struct sink_ops record_sink = {
	.change = on_change, .flush = on_flush, .fd = on_fd, .tick = on_tick, .end = on_end, .reload = on_reload,
};

/* ---- giving up privilege ---- */

static int start_broker(struct recorder *r, const struct run_attached *attached, char *why, size_t size)
{
	struct broker_options options = {
		.probe = attached->probe, .filter = attached->filter, .dbfile = &r->dbfile,
		.cgroup_root = r->tracing.cgroup_root, .command = attached->command,
	};
	struct identity_ask ask;
	int e = broker_start(&options, &r->broker, why, size);

	if (e)
		return e;
	ask = broker_identity(r->broker);
	identity_ask_of(r->tracing.identity, &ask);
	close_fd(&r->tracing.cgroup_root);
	return 0;
}

static int on_attached(void *arg, struct run_attached *attached, char *why, size_t size)
{
	struct recorder *r = arg;
	int e = privilege_let_go(why, size);

	r->refused = true;
	if (!e)
		e = start_broker(r, attached, why, size);
	if (e)
		return e;
	e = probe_let_go(attached->probe);
	if (e) {
		snprintf(why, size, "/proc/self/fd, where descriptors are to be let go of: %s", strerror(-e));
		return e;
	}
	attached->view = broker_view(r->broker);
	e = privilege_drop(&r->dbfile.user, why, size);
	/* What loading took is not needed any more. */
	malloc_trim(0);
	if (!e)
		e = open_store(r, &r->files, &r->store, why, size);
	r->refused = e;
	if (!e)
		log_note("recording to %s as user " PRIVILEGE_USER "; process %d, its broker %d", r->dbfile.path,
			 getpid(), broker_pid(r->broker));
	return e;
}

/* ---- beginning and end ---- */

static int open_files(struct recorder *r)
{
	struct privilege_user user;
	char why[512] = "", left[PATH_MAX];
	bool made;
	int e = privilege_user(&user, &made, why, sizeof(why));

	if (!e && made)
		log_note("made the user " PRIVILEGE_USER " and its group, to record as");
	if (!e)
		e = dbfile_init(&r->dbfile, r->options->db, &user, why, sizeof(why));
	if (!e)
		e = dbfile_open(&r->dbfile, &r->files, why, sizeof(why));
	if (!e && dbfile_left(&r->dbfile, left, sizeof(left)))
		tell_left(left);
	if (!e)
		return STATUS_DONE;
	log_error("cannot record: %s", why);
	return STATUS_FAILED;
}

static int open_output(struct recorder *r, struct sink_text *text)
{
	struct output_options out = { .fd = STDOUT_FILENO, .max_lines = LINES_MAX };
	const char *address = getenv("NOTIFY_SOCKET");
	int e = notify_open(&r->notify, address, getenv("WATCHDOG_USEC"));

	if (e)
		log_warn("NOTIFY_SOCKET=%s: %s: the service manager is told nothing", address, strerror(-e));
	text->annotations = r->tracing.annotations;
	out.format = r->options->json ? sink_json_format : sink_text_format;
	out.format_arg = r->options->json ? (void *)r->tracing.annotations : text;
	out.identity = r->tracing.identity;
	if (!output_new(&out, &r->output))
		return STATUS_DONE;
	log_error("no memory");
	return STATUS_FAILED;
}

/* Without it what is left out would look like what was not there. */
static int put_scope(struct recorder *r)
{
	int e = scope_text(r->options, &r->filter);

	if (!e)
		return STATUS_DONE;
	log_error("cannot record: what it is restricted to cannot be written down: %s", strerror(-e));
	return STATUS_FAILED;
}

static int begin(struct recorder *r, struct sink_text *text)
{
	int status = tracing_set(&r->tracing, r->options);

	if (status)
		return status;
	if (geteuid()) {
		log_error("cannot trace here: not allowed to load BPF programs: run it as root, as in: sudo portwake record");
		return STATUS_CANNOT;
	}
	status = put_scope(r);
	if (!status)
		status = open_files(r);
	return status ? status : open_output(r, text);
}

static bool interrupted(void *arg)
{
	(void)arg;
	return run_interrupted();
}

static bool is_written(const struct recorder *r, struct store_totals *totals)
{
	store_totals(r->store, totals);
	return !totals->waiting;
}

/* All that the disk takes in the end: the summary tells it. False: some of it is missing in the file. */
static bool finish_store(struct recorder *r)
{
	uint64_t now = now_boottime(), unwritten;
	struct store_totals totals;
	bool behind;

	if (!r->store)
		return true;
	if (!r->write_by) {
		r->write_by = now + WRITE_PATIENCE_NS;
		store_flush(r->store, NULL, now - RING_NS, clock_offset());
	}
	while (!is_written(r, &totals) && may_wait(r))
		;
	now = now_boottime();
	behind = store_is_behind(r->store);
	unwritten = store_close(&r->store, now < r->write_by && !r->hurried ? r->write_by - now : 0);
	log_note("%" PRIu64 " lifetimes and %" PRIu64 " denials written to %s", totals.lifetimes, totals.denials,
		 r->dbfile.path);
	if (totals.lost)
		log_warn("%" PRIu64 " changes did not fit while it could not be written", totals.lost);
	if (unwritten || behind)
		log_error("%" PRIu64 " changes at the end could not be written%s", unwritten,
			  behind ? ", nor where some are missing" : "");
	return !unwritten && !behind;
}

static int report(struct recorder *r, struct run_result *result, int e)
{
	if (e && r->refused) {
		log_error("cannot record: %s", result->why);
		return STATUS_FAILED;
	}
	if (e == -EOWNERDEAD)
		snprintf(result->why, sizeof(result->why), "its broker, process %d, is gone, and with it every hook: "
			 "start portwake again", broker_pid(r->broker));
	if (e == -ETIMEDOUT && r->broker)
		snprintf(result->why, sizeof(result->why), "its broker, process %d, does not answer: see in "
			 "/proc/%d/stack what it waits for, a mount that hangs maybe; then start portwake again",
			 broker_pid(r->broker), broker_pid(r->broker));
	return tracing_report(r->options, result, e);
}

static void clear(struct recorder *r)
{
	store_close(&r->store, 0);
	output_free(&r->output);
	broker_free(&r->broker);
	store_files_close(&r->files);
	dbfile_done(&r->dbfile);
	notify_close(&r->notify);
	tracing_clear(&r->tracing);
	pw_free(r->filter);
}

int cmd_record(const struct options *options)
{
	struct recorder r = {
		.options = options, .tracing = TRACING_INIT, .files = STORE_FILES_INIT, .notify = NOTIFY_INIT,
	};
	struct sink_text text = { .colour = isatty(STDOUT_FILENO) };
	struct run_result result;
	int status = begin(&r, &text), e;
	bool whole;

	if (!status) {
		r.tracing.run.sink = (struct sink){ &record_sink, &r };
		r.tracing.run.attached = on_attached;
		r.tracing.run.arg = &r;
		e = run(&r.tracing.run, &result);
		notify_send(&r.notify, "STOPPING=1");
		whole = finish_store(&r);
		if (!e && !r.mute)
			output_finish(r.output, PATIENCE_MS, interrupted, NULL);
		status = report(&r, &result, e);
		if (!status && !whole)
			status = STATUS_FAILED;
	}
	clear(&r);
	return status;
}
