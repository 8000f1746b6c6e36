/* SPDX-License-Identifier: GPL-2.0 */
/* The recorder's side of the socket, and the fork. */
#include "user/broker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "user/broker_serve.h"
#include "user/budget.h"
#include "user/clock.h"
#include "user/mem.h"

#define PATIENCE_MS 10000	/* for an answer that is needed: nobody gives the service manager a sign of life meanwhile, */
#define PATIENCE_SNAPSHOT_MS 20000	/* nor for a snapshot, of sockets by the million maybe */
#define PATIENCE_SIGNAL_MS 2000	/* for a signal's having been sent: who sent it to us waits */
#define PATIENCE_NAME_MS 100	/* for an answer that can be done without */
#define PATIENCE_HURRY_MS 2000	/* for any, once a signal tells us to end */
#define PATIENCE_END_MS 1000	/* for its end */
#define SLICE_MS 100		/* between looks for a signal */
#define PUMP_MS 10		/* while a snapshot is taken */
#define BUDGET_NS 500000000	/* of questions for names at once; it fills up again, */
#define BUDGET_SHARE 4		/* by one part in so many of the time that passes */

struct broker {
	pid_t pid;
	int socket;
	int lifeline;			/* a pipe's end: with it, closed by whatever, the kernel ends the broker */
	uint32_t number;		/* of the last question */
	const struct probe *probe;
	struct budget budget;
	struct broker_question question;
	struct broker_answer answer;	/* the last one */
	size_t payload;			/* bytes of it behind its head */
	struct store_files files;	/* that came with it */
};

/* ---- asking ---- */

static void take_files(struct broker *b, struct msghdr *message)
{
	struct cmsghdr *head = CMSG_FIRSTHDR(message);
	int fds[3];

	if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(fds)))
		return;
	memcpy(fds, CMSG_DATA(head), sizeof(fds));
	store_files_close(&b->files);
	b->files = (struct store_files){ fds[0], fds[1], fds[2] };
}

/* -EAGAIN: nothing is there. */
static int receive(struct broker *b)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control;
	struct iovec part = { &b->answer, sizeof(b->answer) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space),
	};
	ssize_t got = recvmsg(b->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0)
		return errno == ECONNRESET ? -EOWNERDEAD : -errno;
	if ((size_t)got < BROKER_HEAD)
		return -EOWNERDEAD;
	b->payload = (size_t)got - BROKER_HEAD;
	take_files(b, &message);
	return 0;
}

/* Told to end: the signal is blocked, and waits until the loop reads it, once this question is done. */
static bool is_hurried(void)
{
	sigset_t pending;

	return !sigpending(&pending) && (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT));
}

/* A machine that sleeps is not waited for: this clock stands still meanwhile. */
static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* When patience ends. */
struct deadline {
	int64_t at_ms;
	bool hurried;
};

static int left_ms(struct deadline *d)
{
	int64_t now = now_ms(), hurry = now + PATIENCE_HURRY_MS;

	if (!d->hurried && is_hurried()) {
		d->hurried = true;
		d->at_ms = hurry < d->at_ms ? hurry : d->at_ms;
	}
	return now < d->at_ms ? (int)(d->at_ms - now) : 0;
}

/* Until the next answer to the last question; those to questions given up are passed over. taker: NULL, or pumps meanwhile. */
static int await(struct broker *b, int patience_ms, const struct view_taker *taker)
{
	struct deadline deadline = { .at_ms = now_ms() + patience_ms };
	struct pollfd fd = { .fd = b->socket, .events = POLLIN };
	int slice = taker ? PUMP_MS : SLICE_MS;

	for (;;) {
		int r = receive(b), left;

		if (!r && b->answer.number == b->number)
			return 0;
		if (r && r != -EAGAIN && r != -EINTR)
			return r;
		if (!r)
			continue;
		left = left_ms(&deadline);
		if (!left)
			return -ETIMEDOUT;
		poll(&fd, 1, left < slice ? left : slice);
		r = taker ? taker->pump(taker->arg) : 0;
		if (r)
			return r;
	}
}

static int put(struct broker *b, enum broker_ask ask, size_t count)
{
	size_t size = broker_question_size(ask, (uint32_t)count);

	b->question.ask = ask;
	b->question.count = (uint32_t)count;
	b->question.number = ++b->number;
	if (send(b->socket, &b->question, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? -EOWNERDEAD : errno == EAGAIN ? -ETIMEDOUT : -errno;
}

/* One question, one answer: what went wrong, here or there. */
static int ask(struct broker *b, enum broker_ask what, size_t count, int patience_ms)
{
	int r = put(b, what, count);

	if (!r)
		r = await(b, patience_ms, NULL);
	return r ? r : b->answer.error;
}

/* ---- as a view ---- */

static int look(void *arg, struct pw_look *looks, size_t count)
{
	struct broker *b = arg;
	int r = 0;

	for (size_t at = 0; at < count && !r; at += PW_LOOKS) {
		size_t part = count - at < PW_LOOKS ? count - at : PW_LOOKS;

		memcpy(b->question.looks, looks + at, part * sizeof(*looks));
		r = ask(b, BROKER_LOOK, part, PATIENCE_MS);
		if (!r)
			memcpy(looks + at, b->answer.looks, part * sizeof(*looks));
	}
	return r;
}

static int losses(void *arg, struct probe_loss *out)
{
	struct broker *b = arg;
	/* Asked again soon: one that hangs, on a mount maybe, must not keep the ring from being read. */
	int r = ask(b, BROKER_LOSSES, 0, PATIENCE_NAME_MS);

	if (!r)
		*out = b->answer.loss;
	out->malformed = probe_malformed(b->probe);
	return r;
}

/* One message at a time: what the rows lead to may be questions of its own. */
static int fetch_rows(struct broker *b, const struct view_taker *taker)
{
	struct event *rows = pw_calloc(BROKER_ROWS_MAX, sizeof(*rows));
	uint64_t from = 0;
	int r = rows ? 0 : -ENOMEM;
	size_t count = 1;

	while (!r && count) {
		b->question.from = from;
		r = ask(b, BROKER_ROWS, 0, PATIENCE_MS);
		count = r ? 0 : b->payload / sizeof(*rows);
		memcpy(rows, b->answer.rows, count * sizeof(*rows));
		for (size_t i = 0; i < count; i++)
			taker->row(taker->arg, &rows[i]);
		from += count;
		if (!r)
			r = taker->pump(taker->arg);
	}
	pw_free(rows);
	return r;
}

static int snapshot(void *arg, const struct view_taker *taker)
{
	struct broker *b = arg;
	int r = put(b, BROKER_SNAPSHOT, 0);

	if (!r)
		r = await(b, PATIENCE_SNAPSHOT_MS, taker);
	if (!r)
		r = b->answer.error;
	return r ? r : fetch_rows(b, taker);
}

static int range(void *arg, struct view_place place, struct range *out)
{
	struct broker *b = arg;
	int r;

	b->question.place = place;
	r = ask(b, BROKER_RANGE, 0, PATIENCE_MS);
	if (r)
		*out = (struct range){ 0 };
	else
		*out = b->answer.range;
	return r;
}

static int dump(void *arg, struct view_place place, const struct diag_query *query, diag_row_fn on_row, void *row_arg)
{
	struct broker *b = arg;
	int r;

	b->question.dump.place = place;
	b->question.dump.query = *query;
	r = ask(b, BROKER_DUMP, 0, PATIENCE_MS);
	while (!r) {
		for (size_t i = 0; i < b->payload / sizeof(struct diag_row); i++)
			on_row(row_arg, &b->answer.bound[i]);
		if (!b->answer.more)
			break;
		r = await(b, PATIENCE_MS, NULL);
	}
	return r;
}

static void find(void *arg, const uint32_t *inodes, size_t count, struct event_process *out)
{
	struct broker *b = arg;

	count = count < PROCFD_MAX ? count : PROCFD_MAX;
	memcpy(b->question.inodes, inodes, count * sizeof(*inodes));
	if (ask(b, BROKER_FIND, count, PATIENCE_MS))
		memset(out, 0, count * sizeof(*out));
	else
		memcpy(out, b->answer.found, count * sizeof(*out));
}

static int send_signal(void *arg, int sig)
{
	struct broker *b = arg;

	b->question.signal = (uint64_t)sig;
	return ask(b, BROKER_SIGNAL, 0, PATIENCE_SIGNAL_MS);
}

static int fd_of(void *arg)
{
	struct broker *b = arg;

	return b->socket;
}

/* Answers that came too late, or its end. */
static int check(void *arg)
{
	struct broker *b = arg;
	int r;

	do
		r = receive(b);
	while (!r);
	return r == -EAGAIN || r == -EINTR ? 0 : r;
}

struct view broker_view(struct broker *b)
{
	static const struct view_ops ops = {
		.look = look, .losses = losses, .snapshot = snapshot, .range = range, .dump = dump, .find = find,
		.signal = send_signal, .fd = fd_of, .check = check,
	};

	return (struct view){ &ops, b };
}

/* ---- names ---- */

static int ask_text(struct broker *b, enum broker_ask what, char *out, size_t size)
{
	uint64_t now = now_boottime();
	int r;

	if (!budget_allows(&b->budget, now))
		return -EBUSY;
	r = ask(b, what, 0, PATIENCE_NAME_MS);
	budget_spend(&b->budget, now, now_boottime());
	if (!r && b->payload >= size)
		r = -ENAMETOOLONG;
	if (r)
		return r;
	memcpy(out, b->answer.text, b->payload);
	out[b->payload] = '\0';
	return 0;
}

static int ask_exe(void *arg, uint32_t pid, uint64_t start, char *out, size_t size)
{
	struct broker *b = arg;

	b->question.process.pid = pid;
	b->question.process.start = start;
	return ask_text(b, BROKER_EXE, out, size);
}

static int ask_cgroup(void *arg, uint64_t id, char *out, size_t size)
{
	struct broker *b = arg;

	b->question.cgroup = id;
	return ask_text(b, BROKER_CGROUP, out, size);
}

struct identity_ask broker_identity(struct broker *b)
{
	return (struct identity_ask){ ask_exe, ask_cgroup, b };
}

/* ---- files ---- */

bool broker_file_is(struct broker *b, uint64_t dev, uint64_t ino)
{
	b->question.file.dev = dev;
	b->question.file.ino = ino;
	/* No answer is no news: a mount that hangs is the broker's trouble, not the ring's. */
	return ask(b, BROKER_FILE_IS, 0, PATIENCE_NAME_MS) != -ENOENT;
}

int broker_files(struct broker *b, struct store_files *out, char *why, size_t why_size)
{
	int r = ask(b, BROKER_FILES, 0, PATIENCE_MS);

	if (!r && b->files.db < 0)
		r = -EMFILE;
	if (r && b->payload)
		snprintf(why, why_size, "%.*s", (int)b->payload, b->answer.text);
	else if (r)
		snprintf(why, why_size, "the database's files cannot be had of the broker: %s", strerror(-r));
	if (r)
		return r;
	*out = b->files;
	b->files = STORE_FILES_INIT;
	return 0;
}

bool broker_left(struct broker *b, char *out, size_t size)
{
	int r = ask(b, BROKER_LEFT, 0, PATIENCE_MS);

	if (!r)
		snprintf(out, size, "%.*s", (int)b->payload, b->answer.text);
	return !r;
}

/* ---- beginning and end ---- */

static void become_broker(const struct broker_options *o, int socket, int lifeline) __attribute__((noreturn));

/*
 * SIGKILL once nobody holds the other end of the pipe: also to a broker that is stopped or hangs, which sees no end of its
 * socket. The signal of a parent's death (PR_SET_PDEATHSIG) does not come: the recorder may not send one to root.
 */
static void tie_to(int lifeline)
{
	if (fcntl(lifeline, F_SETOWN, getpid()) < 0 || fcntl(lifeline, F_SETSIG, SIGKILL) < 0 ||
	    fcntl(lifeline, F_SETFL, O_ASYNC) < 0)
		_exit(1);
}

/* Its first message says how it came up. */
static void become_broker(const struct broker_options *o, int socket, int lifeline)
{
	struct broker_serve serve = {
		.socket = socket, .probe = o->probe, .filter = o->filter, .dbfile = o->dbfile,
		.cgroup_root = o->cgroup_root, .command = -1,
	};
	struct broker_answer *first = pw_calloc(1, sizeof(*first));

	if (!first)
		_exit(1);
	tie_to(lifeline);
	if (o->command)
		serve.command = (int)syscall(SYS_pidfd_open, o->command, 0);
	first->error = privilege_keep_some(o->command, first->text, sizeof(first->text));
	if (send(socket, first, BROKER_HEAD + (first->error ? strlen(first->text) : 0), MSG_NOSIGNAL) < 0 || first->error)
		_exit(1);
	_exit(broker_serve(&serve) ? 1 : 0);
}

static int fork_broker(struct broker *b, const struct broker_options *options)
{
	_cleanup_close_ int socket = -1, lifeline = -1;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	b->socket = ends[0];
	socket = ends[1];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	lifeline = ends[0];
	b->lifeline = ends[1];
	b->pid = fork();
	r = b->pid < 0 ? -errno : 0;
	if (!b->pid) {
		close(b->socket);
		close(b->lifeline);
		become_broker(options, socket, lifeline);
	}
	return r;
}

int broker_start(const struct broker_options *options, struct broker **out, char *why, size_t why_size)
{
	_cleanup_broker_ struct broker *b = pw_calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->socket = b->lifeline = -1;
	b->files = STORE_FILES_INIT;
	b->probe = options->probe;
	b->budget = (struct budget){
		.left = BUDGET_NS, .most = BUDGET_NS, .at = now_boottime(), .share = BUDGET_SHARE,
	};
	r = fork_broker(b, options);
	if (!r)
		r = await(b, PATIENCE_MS, NULL);
	if (r)
		snprintf(why, why_size, "the broker cannot be started: %s", strerror(-r));
	else if (b->answer.error)
		snprintf(why, why_size, "%.*s", (int)b->payload, b->answer.text);
	if (!r)
		r = b->answer.error;
	if (!r)
		*out = TAKE_PTR(b);
	return r;
}

static bool has_ended(pid_t pid, int patience_ms)
{
	struct timespec wait = { .tv_nsec = 1000000 };

	for (int i = 0; i < patience_ms; i++) {
		if (waitpid(pid, NULL, WNOHANG))
			return true;
		nanosleep(&wait, NULL);
	}
	return false;
}

void broker_free(struct broker **broker)
{
	struct broker *b = *broker;

	if (!b)
		return;
	close_fd(&b->socket);
	if (b->pid > 0 && !has_ended(b->pid, PATIENCE_END_MS)) {
		close_fd(&b->lifeline);
		has_ended(b->pid, PATIENCE_END_MS);
	}
	close_fd(&b->lifeline);
	store_files_close(&b->files);
	pw_free(b);
	*broker = NULL;
}

pid_t broker_pid(const struct broker *b)
{
	return b->pid;
}
