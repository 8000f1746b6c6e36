/* SPDX-License-Identifier: GPL-2.0 */
/* Text columns. */
#include "user/sink_text.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "user/line.h"

enum column { AT_EVENT = 13, AT_PROTO = 23, AT_LOCAL = 27, AT_PID = 49, AT_COMM = 57, AT_DETAIL = 73 };

static const char *const colours[WHAT_END] = {
	[WHAT_ALLOCATE] = "\033[32m", [WHAT_LISTEN] = "\033[36m", [WHAT_TIME_WAIT] = "\033[33m",
	[WHAT_RELEASE] = "\033[2m", [WHAT_GAP] = "\033[31m", [WHAT_PRESENT] = "\033[34m",
	[WHAT_DENIED] = "\033[31m",
};

char *span_text(uint64_t ns, char out[SPAN_TEXT])
{
	uint64_t seconds = ns / 1000000000;

	if (ns < 1000000)
		snprintf(out, SPAN_TEXT, "%" PRIu64 "us", ns / 1000);
	else if (seconds < 1)
		snprintf(out, SPAN_TEXT, "%" PRIu64 ".%" PRIu64 "ms", ns / 1000000, ns / 100000 % 10);
	else if (seconds < 600)
		snprintf(out, SPAN_TEXT, "%" PRIu64 ".%03" PRIu64 "s", seconds, ns / 1000000 % 1000);
	else if (seconds < 172800)
		snprintf(out, SPAN_TEXT, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
	else
		snprintf(out, SPAN_TEXT, "%" PRIu64 "d%02" PRIu64 "h", seconds / 86400, seconds / 3600 % 24);
	return out;
}

static void put_clock(struct buf *out, uint64_t time)
{
	time_t seconds = (time_t)(time / 1000000000);
	struct tm tm;

	localtime_r(&seconds, &tm);
	buf_printf(out, "%02d:%02d:%02d.%03u", tm.tm_hour, tm.tm_min, tm.tm_sec,
		   (unsigned int)(time / 1000000 % 1000));
}

/* One space at least, so that a wide column never runs into the next. */
static void to_column(struct buf *out, size_t start, size_t column)
{
	buf_addc(out, ' ');
	buf_pad(out, start, column);
}

static void put_head(struct buf *out)
{
	size_t start = out->len;

	buf_adds(out, "TIME");
	to_column(out, start, AT_EVENT);
	buf_adds(out, "EVENT");
	to_column(out, start, AT_PROTO);
	buf_adds(out, "PRO");
	to_column(out, start, AT_LOCAL);
	buf_adds(out, "LOCAL");
	to_column(out, start, AT_PID);
	buf_adds(out, "PID");
	to_column(out, start, AT_COMM);
	buf_adds(out, "COMM");
	to_column(out, start, AT_DETAIL);
	buf_adds(out, "DETAIL\n");
}

static void put_owner(struct buf *out, size_t start, const struct line *line)
{
	const struct process *p = line->owner;

	to_column(out, start, AT_PID);
	if (p)
		buf_printf(out, "%u", p->pid);
	else
		buf_addc(out, '-');
	to_column(out, start, AT_COMM);
	if (p)
		buf_add_escaped(out, p->comm, strlen(p->comm));
	else
		buf_adds(out, line->flags & PW_F_KERNEL ? "(kernel)" : "(unknown)");
	to_column(out, start, AT_DETAIL);
}

static void put_remote(struct buf *out, const struct line *line)
{
	char text[ENDPOINT_TEXT];

	if (line->remote.family)
		buf_printf(out, " %s", endpoint_text(&line->remote, line->remote_port, text));
}

static void put_release(struct buf *out, const struct line *line)
{
	const char *error = error_name(line->error);
	char text[SPAN_TEXT];

	buf_adds(out, cause_name(line->cause));
	if (line->held_ns != UNKNOWN_NS)
		buf_printf(out, " after %s", span_text(line->held_ns, text));
	if (error)
		buf_printf(out, " %s", error);
}

static void put_detail(struct buf *out, const struct line *line)
{
	switch ((enum what)line->what) {
	case WHAT_ALLOCATE:
		buf_adds(out, how_name(line->how) ? how_name(line->how) : "found");
		put_remote(out, line);
		if (!line->remote.family && line->flags & PW_F_EPHEMERAL)
			buf_adds(out, " ephemeral");
		break;
	case WHAT_PRESENT:
		if (line->time_wait || !line->remote.family)
			buf_adds(out, line_state(line));
		else
			buf_adds(out, "to");
		put_remote(out, line);
		break;
	case WHAT_TIME_WAIT:
		buf_adds(out, "to");
		put_remote(out, line);
		break;
	case WHAT_LISTEN:
	case WHAT_CLOSE:
		if (line_by_another(line)) {
			buf_printf(out, "by %u ", line->holder_pid);
			buf_add_escaped(out, line->holder_comm, strlen(line->holder_comm));
		}
		break;
	case WHAT_RELEASE:
		put_release(out, line);
		break;
	case WHAT_DENIED:
		buf_printf(out, "%s %s %s", how_name(line->how), error_name(line->error) ? error_name(line->error) : "?",
			   line->explanation ? denial_name(line->explanation->cause) : "(why is not told: no memory, or a slow reader)");
		if (line->remote.family)
			buf_adds(out, " to");
		put_remote(out, line);
		break;
	case WHAT_READY:
	case WHAT_GAP:
	case WHAT_END:
		break;
	}
	/* "found" says that already. */
	if (!line->exact && (line->what != WHAT_ALLOCATE || how_name(line->how)))
		buf_adds(out, out->len && out->data[out->len - 1] != ' ' ? " (approximate)" : "(approximate)");
}

static void put_process(struct buf *out, const struct process *p, bool kernel)
{
	if (!p) {
		buf_adds(out, kernel ? "the kernel" : "(unknown)");
		return;
	}
	buf_printf(out, "%u ", p->pid);
	buf_add_escaped(out, p->comm, strlen(p->comm));
}

static void put_rival(struct buf *out, const struct rival *rival)
{
	char text[ENDPOINT_TEXT], left[SPAN_TEXT];

	buf_printf(out, "  held by ");
	put_process(out, rival->owner, rival->kernel);
	buf_printf(out, ": %s%s %s", rival->accepted ? "accepted, " : "", rival_state_name(rival->state),
		   endpoint_text(&rival->addr, rival->port, text));
	if (rival->remote.family)
		buf_printf(out, " to %s", endpoint_text(&rival->remote, rival->remote_port, text));
	if (rival->left_ns != UNKNOWN_NS)
		buf_printf(out, ", %s left", span_text(rival->left_ns, left));
	buf_addc(out, '\n');
}

static void put_usage(struct buf *out, const struct usage *u)
{
	char text[ENDPOINT_TEXT];

	buf_printf(out, "  range %u-%u: %u ports, %u reserved, %u held by %u sockets", u->low, u->high, u->size,
		   u->reserved, u->held, u->sockets);
	if (u->time_waits)
		buf_printf(out, ", %u of them in TIME_WAIT", u->time_waits);
	if (u->top) {
		buf_printf(out, "; most (%u) by ", u->top_sockets);
		put_process(out, u->top, false);
	}
	if (u->top_remote.family)
		buf_printf(out, "; most (%u) to %s", u->top_remote_sockets,
			   endpoint_text(&u->top_remote, u->top_remote_port, text));
	buf_addc(out, '\n');
}

static void put_explanation(struct buf *out, const struct explanation *e)
{
	for (size_t i = 0; i < e->rival_count; i++)
		put_rival(out, &e->rivals[i]);
	if (e->rival_total > e->rival_count)
		buf_printf(out, "  held by %zu more\n", e->rival_total - e->rival_count);
	if (e->usage.known)
		put_usage(out, &e->usage);
	for (const char *at = e->advice, *end; (end = strchr(at, '\n')); at = end + 1)
		buf_printf(out, "  %s %.*s\n", !strncmp(at, "sysctl", 6) ? "#" : "-", (int)(end - at), at);
}

static void put_event(const struct sink_text *text, struct buf *out, size_t *start, const struct line *line)
{
	const char *colour = text->colour ? colours[line->what] : NULL;

	put_clock(out, line->what == WHAT_GAP ? line->until : line->time);
	to_column(out, *start, AT_EVENT);
	if (colour)
		buf_adds(out, colour);
	buf_adds(out, what_name(line->what));
	if (colour) {
		buf_adds(out, "\033[0m");
		/* What the terminal does not show takes no columns. */
		*start += strlen(colour) + strlen("\033[0m");
	}
}

static void put_gap(struct buf *out, const struct line *line)
{
	buf_printf(out, " %" PRIu64 " lost (%s) since ", line->lost, line->reason);
	put_clock(out, line->time);
	buf_adds(out, ": what happened in that time is not known\n");
}

/* A listener on a known port is marked, with the reason; whoever merely passes by is not. */
static void put_warning(const struct sink_text *text, struct buf *out, const struct line *line)
{
	const struct annotate_row *row = annotate_find(text->annotations, line->proto, line->port);
	bool tcp = line->proto == IPPROTO_TCP;
	/* A datagram socket does not listen; one that waits on a number it asked for is its like. */
	bool waits = !tcp && !line->remote.family && line->flags & PW_F_LOCKED &&
		     (line->what == WHAT_ALLOCATE || line->what == WHAT_PRESENT);
	bool listens = line->what == WHAT_LISTEN || (line->what == WHAT_PRESENT && line->listening);

	if (!row || !(waits || listens))
		return;
	buf_adds(out, "  ! ");
	annotate_sentence(row, line->port, out);
	buf_addc(out, '\n');
}

void sink_text_format(void *arg, const struct line *line, struct buf *out)
{
	struct sink_text *text = arg;
	char endpoint[ENDPOINT_TEXT];
	size_t start;

	if (!text->headed) {
		put_head(out);
		text->headed = true;
	}
	start = out->len;
	put_event(text, out, &start, line);
	if (line->what == WHAT_GAP) {
		put_gap(out, line);
		return;
	}
	if (line->what == WHAT_READY) {
		buf_addc(out, '\n');
		return;
	}
	to_column(out, start, AT_PROTO);
	buf_adds(out, proto_name(line->proto));
	to_column(out, start, AT_LOCAL);
	buf_adds(out, endpoint_text(&line->addr, line->port, endpoint));
	put_owner(out, start, line);
	put_detail(out, line);
	/* Not after a failure, which buf_truncate() would forget. */
	while (!buf_error(out) && out->len > start && out->data[out->len - 1] == ' ')
		buf_truncate(out, out->len - 1);
	buf_addc(out, '\n');
	put_warning(text, out, line);
	if (line->what == WHAT_DENIED && line->explanation)
		put_explanation(out, line->explanation);
}
