/* SPDX-License-Identifier: GPL-2.0 */
/* portwake stats: lifetimes added up over a stretch of time, from now on or from the history. */
#include "user/cmd.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "user/clock.h"
#include "user/json.h"
#include "user/line.h"
#include "user/log.h"
#include "user/output.h"
#include "user/past.h"
#include "user/sink_text.h"
#include "user/stats.h"
#include "user/stats_past.h"

#define TEXT_MAX (64u << 20)

struct counting {
	struct stats *stats;
	struct identity *identity;
	uint64_t gaps, lost;
	uint64_t not_counted;
};

static struct process *on_ref(void *arg, struct process *process)
{
	(void)arg;
	return identity_ref(process);
}

static void on_put(void *arg, struct process *process)
{
	struct counting *counting = arg;

	identity_put(counting->identity, process);
}

static void on_process(const struct process *process, uint32_t *pid, uint64_t *start, const char **container)
{
	*pid = process->pid;
	*start = process->start;
	*container = process->container;
}

static const struct stats_ops stats_ops = { .ref = on_ref, .put = on_put, .process = on_process };

static void on_change(void *arg, const struct change *change, int64_t offset)
{
	struct counting *counting = arg;

	(void)offset;
	if (change->gap) {
		counting->gaps++;
		counting->lost += change->gap->lost;
	} else if (stats_change(counting->stats, change)) {
		counting->not_counted++;
	}
}

static void on_held(void *arg, const struct lifetime *lifetime, uint64_t now)
{
	struct counting *counting = arg;

	if (stats_held(counting->stats, lifetime, now))
		counting->not_counted++;
}

static const struct sink_ops stats_sink = { .change = on_change, .held = on_held };

/* ---- JSON and CSV ---- */

static const char *const columns[] = {
	"event", "by", "other", "proto", "netns", "port", "remote_addr", "remote_port", "container", "pid", "comm", "exe",
	"lifetimes", "now", "held_ns", "shortest_ns", "median_ns", "p99_ns", "longest_ns", "reuse_shortest_ns",
	"reuse_median_ns", "last_pid", "last_comm", "last_exe", "denials", "since", "until", "lost", "reason",
};

static int put_line(const struct options *o, const struct js *js, struct buf *out)
{
	return o->json ? js_line(js, out) : js_csv(js, columns, ARRAY_SIZE(columns), out);
}

static void put_key(struct js *js, const struct stats_row *row, enum stats_by by)
{
	char text[ADDR_TEXT];

	if (row->other) {
		js_bool(js, "other", true);
		return;
	}
	if (by == STATS_BY_PORT || by == STATS_BY_DESTINATION) {
		js_str(js, "proto", proto_name(row->proto));
		if (row->netns)
			js_uint(js, "netns", row->netns);
		else
			js_null(js, "netns");
	}
	if (by == STATS_BY_PORT)
		js_uint(js, "port", row->port);
	if (by == STATS_BY_DESTINATION) {
		js_str(js, "remote_addr", row->remote.family ? addr_text(&row->remote, text) : NULL);
		if (row->remote.family)
			js_uint(js, "remote_port", row->port);
		else
			js_null(js, "remote_port");
	}
	if (by == STATS_BY_CONTAINER)
		js_str(js, "container", row->container);
}

static void put_owner(struct js *js, const struct process *owner, const char *pid, const char *comm, const char *exe)
{
	if (owner)
		js_uint(js, pid, owner->pid);
	else
		js_null(js, pid);
	js_str(js, comm, owner ? owner->comm : NULL);
	js_str(js, exe, owner ? owner->exe : NULL);
}

static void put_percentiles(struct js *js, const struct hist *held)
{
	static const char *const names[] = { "shortest_ns", "median_ns", "p99_ns", "longest_ns" };
	uint64_t values[] = { held->min, hist_percentile(held, 0.5), hist_percentile(held, 0.99), held->max };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (held->count)
			js_uint(js, names[i], values[i]);
		else
			js_null(js, names[i]);
	}
}

static void put_gaps(struct js *js, const struct hist *gaps)
{
	if (gaps->count) {
		js_uint(js, "reuse_shortest_ns", gaps->min);
		js_uint(js, "reuse_median_ns", hist_percentile(gaps, 0.5));
	} else {
		js_null(js, "reuse_shortest_ns");
		js_null(js, "reuse_median_ns");
	}
}

static void json_row(const struct stats_row *row, const struct options *o, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	enum stats_by by = o->by;

	js_str(&js, "event", "stats");
	js_str(&js, "by", stats_by_name(by));
	put_key(&js, row, by);
	if (by == STATS_BY_PROCESS)
		put_owner(&js, row->pid ? row->last_owner : NULL, "pid", "comm", "exe");
	js_uint(&js, "lifetimes", row->lifetimes);
	js_uint(&js, "now", row->now);
	js_uint(&js, "held_ns", row->held_ns);
	put_percentiles(&js, &row->held);
	put_gaps(&js, &row->gaps);
	if (by != STATS_BY_PROCESS)
		put_owner(&js, row->last_owner, "last_pid", "last_comm", "last_exe");
	js_uint(&js, "denials", row->denials);
	(void)!put_line(o, &js, out);
}

/* ---- text ---- */

static void text_key(const struct stats_row *row, enum stats_by by, struct buf *out)
{
	char text[ENDPOINT_TEXT];

	if (row->other)
		buf_adds(out, "(all others)");
	else if (by == STATS_BY_PORT)
		buf_printf(out, "%u/%s", row->port, proto_name(row->proto));
	else if (by == STATS_BY_DESTINATION && row->remote.family)
		buf_printf(out, "%s/%s", endpoint_text(&row->remote, row->port, text), proto_name(row->proto));
	else if (by == STATS_BY_CONTAINER && row->container)
		buf_add_escaped(out, row->container, strnlen(row->container, 12));
	else if (by == STATS_BY_PROCESS && row->pid)
		buf_printf(out, "%u", row->pid);
	else
		buf_adds(out, "-");
}

static void text_cell(struct buf *out, bool known, uint64_t ns)
{
	char text[SPAN_TEXT];

	buf_printf(out, " %9s", known ? span_text(ns, text) : "-");
}

static void text_row(const struct stats_row *row, const struct options *o, struct buf *out)
{
	const struct hist *held = &row->held;
	enum stats_by by = o->by;
	size_t start = out->len;

	text_key(row, by, out);
	buf_pad(out, start, 24);
	buf_printf(out, " %9" PRIu64 " %6" PRIu64, row->lifetimes, row->now);
	buf_printf(out, " %6" PRIu64, row->denials);
	text_cell(out, true, row->held_ns);
	text_cell(out, held->count, held->min);
	text_cell(out, held->count, hist_percentile(held, 0.5));
	text_cell(out, held->count, hist_percentile(held, 0.99));
	text_cell(out, held->count, held->max);
	if (by == STATS_BY_PORT)
		text_cell(out, row->gaps.count, hist_percentile(&row->gaps, 0.5));
	buf_addc(out, ' ');
	if (row->last_owner)
		buf_add_escaped(out, row->last_owner->comm, strlen(row->last_owner->comm));
	else
		buf_adds(out, "-");
	buf_addc(out, '\n');
}

static void text_head(enum stats_by by, struct buf *out)
{
	static const char *const keys[STATS_BY_END] = { "PORT", "PID", "DESTINATION", "CONTAINER" };

	buf_printf(out, "%-24s %9s %6s %6s %9s %9s %9s %9s %9s%s %s\n", keys[by], "LIFETIMES", "NOW", "DENIED", "HELD", "SHORTEST",
		   "MEDIAN", "P99", "LONGEST", by == STATS_BY_PORT ? "     REUSE" : "",
		   by == STATS_BY_PROCESS ? "COMM" : "LAST");
}

/* ---- output ---- */

/* Waits for a slow reader, until a signal says not to: -EINTR. */
static int write_all(const struct buf *out)
{
	struct stat st;
	bool regular = !fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode);
	_cleanup_close_ int own = regular ? -1 : output_reopen(STDOUT_FILENO);
	struct pollfd fd = { .fd = own >= 0 ? own : STDOUT_FILENO, .events = POLLOUT };

	for (size_t at = 0; at < out->len;) {
		size_t rest = out->len - at;
		ssize_t done;

		if (!regular && !poll(&fd, 1, 100)) {
			if (run_interrupted())
				return -EINTR;
			continue;
		}
		done = write(fd.fd, out->data + at, regular || own >= 0 || rest < PIPE_BUF ? rest : PIPE_BUF);
		if (done < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		at += done > 0 ? (size_t)done : 0;
	}
	return 0;
}

static int format_rows(struct stats *stats, const struct options *options, struct buf *out)
{
	const struct stats_row *const *rows;
	size_t count;
	int r = stats_rows(stats, options->sort, &rows, &count);

	if (r)
		return r;
	if (options->format == FORMAT_TEXT)
		text_head(options->by, out);
	else if (options->format == FORMAT_CSV)
		(void)!js_csv_head(columns, ARRAY_SIZE(columns), out);
	for (size_t i = 0; i < count; i++)
		(options->format == FORMAT_TEXT ? text_row : json_row)(rows[i], options, out);
	return buf_error(out);
}

static int print_rows(struct stats *stats, const struct options *options)
{
	_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
	int r = format_rows(stats, options, &out);

	return r ? r : write_all(&out);
}

/* ---- from the history ---- */

struct blinds {
	const struct options *options;
	struct buf *out;
};

static int on_blind(void *arg, const struct blind *blind)
{
	struct blinds *blinds = arg;
	_cleanup_js_ struct js js = js_object();

	if (blinds->options->format == FORMAT_TEXT) {
		past_text_blind(blind, blinds->out);
	} else {
		past_put_blind(&js, blind);
		(void)!put_line(blinds->options, &js, blinds->out);
	}
	return buf_error(blinds->out);
}

/* STATUS_DONE, or logged. Done with *history: a slow reader of ours keeps nobody from it. */
static int count_past(struct stats_past *past, struct history **history)
{
	_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
	struct blinds blinds = { past->options, &out };
	int r = stats_past_count(past);

	if (past->not_counted)
		log_warn("no memory to count %" PRIu64 " lifetimes", past->not_counted);
	if (!r)
		r = format_rows(past->stats, past->options, &out);
	if (!r)
		r = stats_past_blind(past, on_blind, &blinds);
	if (!r) {
		history_free(history);
		return print_all(&out);
	}
	log_error("%s", buf_error(&out) || r == -ENOMEM ? strerror(-r) : history_why(past->history));
	return STATUS_FAILED;
}

static int stats_of_past(const struct options *options)
{
	_cleanup_history_ struct history *history = NULL;
	_cleanup_crowd_ struct crowd crowd = { { 0 } };
	_cleanup_stats_ struct stats *stats = stats_new(options->by, &past_stats_ops, &crowd);
	struct stats_past past = { .stats = stats, .crowd = &crowd, .options = options, .now = now_realtime() };
	char why[512] = "";

	if (!stats) {
		log_error("no memory");
		return STATUS_FAILED;
	}
	if (history_open(options->db ? options->db : HISTORY_DB, &history, why, sizeof(why))) {
		log_error("%s", why);
		return STATUS_FAILED;
	}
	past.history = history;
	return count_past(&past, &history);
}

/* ---- the command ---- */

static int stats_from_now(const struct options *options)
{
	_cleanup_tracing_ struct tracing tracing = TRACING_INIT;
	_cleanup_stats_ struct stats *stats = NULL;
	struct counting counting = { 0 };
	struct run_result result;
	int r = tracing_set(&tracing, options);

	if (r)
		return r;
	stats = stats_new(options->by, &stats_ops, &counting);
	if (!stats) {
		log_error("no memory");
		return STATUS_FAILED;
	}
	counting.stats = stats;
	counting.identity = tracing.identity;
	tracing.run.sink = (struct sink){ &stats_sink, &counting };
	r = run(&tracing.run, &result);
	if (!r && counting.gaps)
		log_warn("%" PRIu64 " gaps with %" PRIu64 " records lost: the numbers are too low", counting.gaps,
			 counting.lost);
	if (!r && counting.not_counted)
		log_warn("no memory to count %" PRIu64 " lifetimes", counting.not_counted);
	if (!r)
		r = print_rows(stats, options);
	return tracing_report(options, &result, r);
}

int cmd_stats(const struct options *options)
{
	return options->since ? stats_of_past(options) : stats_from_now(options);
}
