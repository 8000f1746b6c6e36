/* SPDX-License-Identifier: GPL-2.0 */
/* Changes to lines to a descriptor. */
#include "user/output.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "user/mem.h"

#define TEXT_SOFT (64 * 1024)		/* made into text ahead of the descriptor */
#define TEXT_HARD (256 * 1024)
#define WRITE_PIPE 4096			/* POLLOUT of a pipe promises room for so much (pipe(7), PIPE_BUF) */
#define FIRST_LINES 256

struct output {
	struct output_options options;
	struct buf text;
	struct line *lines;		/* a ring of `size` */
	size_t size, first, count;
	bool regular;			/* a file: never blocks, and poll() says nothing of it */
	int own;			/* output_reopen()'s, or -1: the one borrowed, asked before each write */
	struct line ready;		/* WHAT_READY that found no room: it is not lost, only late; what 0 is WHAT_READY */
	bool ready_waits;
	struct line gap;		/* being gathered; lost 0: none */
	uint64_t lost;
};

/* ---- lines ---- */

static uint64_t span(uint64_t from, uint64_t to)
{
	if (!from)
		return UNKNOWN_NS;
	return to > from ? to - from : 0;
}

static void line_of_lifetime(const struct change *change, struct line *out)
{
	const struct lifetime *l = change->lifetime;

	out->cookie = l->cookie;
	out->generation = l->generation;
	out->owner = l->owner;
	out->netns = l->netns;
	out->port = l->port;
	out->remote_port = l->remote_port;
	out->proto = l->proto;
	out->how = l->how;
	out->flags = l->flags;
	out->addr = l->addr;
	out->remote = l->remote;
	out->listening = l->listening;
	out->time_wait = l->holds == HOLD_TW;
	out->error = change->what == WHAT_RELEASE ? l->error : 0;
	out->held_ns = span(l->since, change->time);
	out->open_ns = l->closed_at ? span(l->since, l->closed_at) : out->held_ns;
	out->time_wait_ns = span(l->tw_at, change->time);
	out->holder_pid = change->holder_pid;
	memcpy(out->holder_comm, change->holder_comm, sizeof(out->holder_comm));
}

static void line_of_denied(const struct change *change, struct line *out)
{
	const struct event *e = change->denied;

	out->cookie = e->cookie;
	out->owner = change->denied_owner;
	out->explanation = change->explanation;
	out->netns = e->netns;
	out->port = e->port;
	out->remote_port = e->remote_port;
	out->proto = e->proto;
	out->how = (uint8_t)e->how;
	out->flags = e->flags;
	out->addr = e->addr;
	out->remote = e->remote;
	out->error = e->error;
	out->traits = e->traits;
	out->sock_uid = e->sock_uid;
	out->bound_dev = e->bound_dev;
}

void line_of(const struct change *change, int64_t offset, struct line *out)
{
	memset(out, 0, sizeof(*out));
	out->what = change->what;
	out->cause = change->cause;
	out->exact = change->exact;
	out->time = change->time + (uint64_t)offset;
	if (change->lifetime)
		line_of_lifetime(change, out);
	if (change->denied)
		line_of_denied(change, out);
	if (change->gap) {
		out->time = change->gap->since + (uint64_t)offset;
		out->until = change->gap->until + (uint64_t)offset;
		out->lost = change->gap->lost;
		out->lost_allocations = change->gap->lost_allocations;
		out->reason = change->gap->reason;
	}
}

/* ---- queue ---- */

static int grow(struct output *o)
{
	size_t size = o->size ? o->size * 2 : FIRST_LINES;
	struct line *lines;

	if (o->size >= o->options.max_lines)
		return -ENOBUFS;
	lines = pw_calloc(size, sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	/* Growing happens when it is full: the row begins at `first` and wraps once. */
	if (o->lines) {
		memcpy(lines, o->lines + o->first, (o->size - o->first) * sizeof(*lines));
		memcpy(lines + o->size - o->first, o->lines, o->first * sizeof(*lines));
	}
	pw_free(o->lines);
	o->lines = lines;
	o->size = size;
	o->first = 0;
	return 0;
}

static void push(struct output *o, const struct line *line)
{
	o->lines[(o->first + o->count++) % o->size] = *line;
	identity_ref(line->owner);
	if (line->what == WHAT_DENIED)
		explanation_ref(line->explanation);
}

static void drop(struct output *o, struct line *line)
{
	identity_put(o->options.identity, line->owner);
	if (line->what == WHAT_DENIED)
		explanation_put(line->explanation);
}

static void note_lost(struct output *o, const struct line *line)
{
	struct line *gap = &o->gap;
	bool is_gap = line->what == WHAT_GAP;

	if (!gap->lost)
		*gap = (struct line){ .what = WHAT_GAP, .time = line->time, .reason = "output" };
	/* A gap line that is lost passes on what it told. */
	gap->lost += is_gap ? line->lost : 1;
	gap->lost_allocations += is_gap ? line->lost_allocations : line->what == WHAT_ALLOCATE;
	gap->until = is_gap ? line->until : line->time;
	o->lost += is_gap ? 0 : 1;
}

/* The gathered gap takes its place in the row as soon as there is room for it and some more. */
static void settle_gap(struct output *o)
{
	if ((!o->gap.lost && !o->ready_waits) || o->count > o->size - o->size / 8)
		return;
	if (o->gap.lost)
		push(o, &o->gap);
	o->gap.lost = 0;
	if (o->ready_waits)
		push(o, &o->ready);
	o->ready_waits = false;
}

static void add_line(struct output *o, const struct line *line)
{
	settle_gap(o);
	if (!o->gap.lost && !o->ready_waits && (o->count < o->size || !grow(o))) {
		push(o, line);
	} else if (line->what == WHAT_READY) {
		o->ready_waits = true;
		o->ready = *line;
	} else {
		note_lost(o, line);
	}
}

void output_change(struct output *o, const struct change *change, int64_t offset)
{
	struct line line;

	line_of(change, offset, &line);
	if (!o->count && !o->gap.lost && o->text.len < TEXT_SOFT)
		o->options.format(o->options.format_arg, &line, &o->text);
	else
		add_line(o, &line);
}

static void fill_text(struct output *o)
{
	while (o->count && o->text.len < TEXT_SOFT) {
		struct line *line = &o->lines[o->first];

		o->options.format(o->options.format_arg, line, &o->text);
		drop(o, line);
		o->first = (o->first + 1) % o->size;
		o->count--;
	}
	settle_gap(o);
}

/* ---- writing ---- */

int output_reopen(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static int fd_of(const struct output *o)
{
	return o->own >= 0 ? o->own : o->options.fd;
}

static bool writable(const struct output *o, int timeout_ms)
{
	struct pollfd fd = { .fd = fd_of(o), .events = POLLOUT };

	return o->regular || poll(&fd, 1, timeout_ms) > 0;
}

/* One write; 0, -EAGAIN or another -errno. */
static int write_some(struct output *o)
{
	bool whole = o->regular || o->own >= 0 || o->text.len < WRITE_PIPE;
	ssize_t done = write(fd_of(o), o->text.data, whole ? o->text.len : WRITE_PIPE);

	if (done < 0)
		return errno == EINTR ? 0 : -errno;
	buf_consume(&o->text, (size_t)done);
	return 0;
}

int output_flush(struct output *o)
{
	int r = 0;

	for (;;) {
		fill_text(o);
		if (!o->text.len)
			return o->text.error;
		if (!writable(o, 0))
			return -EAGAIN;
		r = write_some(o);
		if (r)
			return r;
	}
}

static void give_up(struct output *o)
{
	/* Lines already made into text, one of them perhaps written in part. */
	for (size_t i = 0; i < o->text.len; i++)
		o->lost += o->text.data[i] == '\n';
	while (o->count) {
		note_lost(o, &o->lines[o->first]);
		drop(o, &o->lines[o->first]);
		o->first = (o->first + 1) % o->size;
		o->count--;
	}
}

int output_finish(struct output *o, int patience_ms, bool (*stop)(void *arg), void *arg)
{
	int waited = 0;

	for (;;) {
		int r = output_flush(o);

		if (r != -EAGAIN)
			return r;
		if (stop(arg) || waited >= patience_ms)
			break;
		waited = writable(o, 100) ? 0 : waited + 100;
	}
	give_up(o);
	return 0;
}

/* ---- the whole ---- */

int output_new(const struct output_options *options, struct output **out)
{
	struct output *o = pw_calloc(1, sizeof(*o));
	struct stat st;

	if (!o)
		return -ENOMEM;
	o->options = *options;
	o->text = BUF_INIT(TEXT_HARD);
	o->regular = !fstat(options->fd, &st) && S_ISREG(st.st_mode);
	o->own = o->regular ? -1 : output_reopen(options->fd);
	if (grow(o)) {
		close_fd(&o->own);
		pw_free(o);
		return -ENOMEM;
	}
	*out = o;
	return 0;
}

void output_free(struct output **output)
{
	struct output *o = *output;

	if (!o)
		return;
	for (size_t i = 0; i < o->count; i++)
		drop(o, &o->lines[(o->first + i) % o->size]);
	close_fd(&o->own);
	buf_done(&o->text);
	pw_free(o->lines);
	pw_free(o);
	*output = NULL;
}

uint64_t output_lost(const struct output *o)
{
	return o->lost;
}
