/* SPDX-License-Identifier: GPL-2.0 */
/* Answers about the past. */
#include "user/past.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include "user/explain.h"
#include "user/line.h"
#include "user/sink_text.h"

#define HOLDERS_TOLD 64		/* of one port in text, and denials; JSON and CSV have them all */

/* ---- one lifetime at one moment ---- */

/* Of what lasted when its recorder went, nobody told the end. */
static bool end_unknown(const struct past *p)
{
	return p->end_unknown || (p->lasts && !p->runs);
}

static uint64_t moment_of(const struct past *p, const struct moment *asked)
{
	return p->since > asked->first ? p->since : asked->first;
}

static const char *state_at(const struct past *p, uint64_t moment)
{
	if (p->flags & PW_F_KERNEL)
		return "kernel";
	if (p->tw_at && moment >= p->tw_at)
		return "time_wait";
	if (p->closed_at && moment >= p->closed_at)
		return "orphan";
	if (p->remote.family)
		return "connected";
	return p->listened ? "listen" : "bound";
}

/* Rounded up; -1: not in TIME_WAIT, or it did not run its time, so that nobody knows how much of it was left. */
static int64_t seconds_left(const struct past *p, uint64_t moment)
{
	if (!p->tw_at || moment < p->tw_at || p->cause != CAUSE_TIME_WAIT || p->end_unknown || moment > p->until)
		return -1;
	return (int64_t)((p->until - moment + 999999999) / 1000000000);
}

/* ---- JSON ---- */

static void put_ends(struct js *js, const struct past *p)
{
	char text[ADDR_TEXT];

	js_str(js, "proto", proto_name(p->proto));
	js_str(js, "family", p->addr.family == AF_INET6 ? "ipv6" : "ipv4");
	js_str(js, "addr", addr_text(&p->addr, text));
	js_uint(js, "port", p->port);
	js_str(js, "remote_addr", p->remote.family ? addr_text(&p->remote, text) : NULL);
	if (p->remote.family)
		js_uint(js, "remote_port", p->remote_port);
	else
		js_null(js, "remote_port");
	js_uint(js, "netns", p->netns);
	js_id(js, "cookie", p->cookie);
	js_uint(js, "generation", p->generation);
	js_str(js, "boot", p->boot);
}

static void put_origin(struct js *js, const struct past *p)
{
	if (p->flags & PW_F_EPHEMERAL_UNKNOWN)
		js_null(js, "ephemeral");
	else
		js_bool(js, "ephemeral", p->flags & PW_F_EPHEMERAL);
	js_str(js, "how", how_name(p->how));
	js_bool(js, "accepted", false);
}

/* Of one that lasts, how and after how long it ended is still to come. */
static void put_end(struct js *js, const struct past *p)
{
	bool ended = !p->lasts && p->cause != CAUSE_NONE;

	js_str(js, "cause", ended ? cause_name(p->cause) : NULL);
	js_str(js, "errno", ended ? error_name(p->error) : NULL);
	js_span(js, "held_ns", ended ? p->held_ns : UNKNOWN_NS);
	js_span(js, "open_ns", p->closed_at || ended ? p->open_ns : UNKNOWN_NS);
	js_span(js, "time_wait_ns", ended ? p->tw_ns : UNKNOWN_NS);
	js_bool(js, "exact", p->exact);
	js_bool(js, "began_before", p->began_before);
	js_bool(js, "end_unknown", end_unknown(p));
	if (p->holder)
		js_uint(js, "holder_pid", p->holder->pid);
	else
		js_null(js, "holder_pid");
	js_str(js, "holder_comm", p->holder ? p->holder->comm : NULL);
}

static int json_holder(const struct past_answers *a, const struct question *q, const struct past *p, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	uint64_t moment = moment_of(p, &q->time);
	int64_t left = seconds_left(p, moment);

	js_str(&js, "event", "holder");
	js_time(&js, "time", moment);
	js_str(&js, "state", state_at(p, moment));
	js_time(&js, "since", p->since);
	if (p->runs)
		js_null(&js, "until");
	else
		js_time(&js, "until", p->until);
	js_str(&js, "source", "history");
	about_put_process(&js, p->owner);
	put_ends(&js, p);
	put_origin(&js, p);
	if (left < 0)
		js_null(&js, "seconds_left");
	else
		js_int(&js, "seconds_left", left);
	put_end(&js, p);
	if (a->about.format == FORMAT_CSV) {
		js_time(&js, "asked_since", q->time.first);
		js_time(&js, "asked_until", q->time.last);
	}
	return about_line(&a->about, &js, out);
}

static int json_denied(const struct past_answers *a, const struct question *q, const struct past_denial *d,
		       struct buf *out)
{
	_cleanup_js_ struct js js = js_object();
	char text[ADDR_TEXT];

	js_str(&js, "event", "denied");
	js_time(&js, "time", d->time);
	js_time(&js, "until", d->until);
	js_uint(&js, "count", d->count);
	js_str(&js, "source", "history");
	about_put_process(&js, d->owner);
	js_str(&js, "proto", proto_name(d->proto));
	js_str(&js, "family", d->addr.family == AF_INET6 ? "ipv6" : "ipv4");
	js_str(&js, "addr", addr_text(&d->addr, text));
	js_uint(&js, "port", d->port);
	js_uint(&js, "netns", d->netns);
	js_str(&js, "call", how_name(d->how));
	js_str(&js, "errno", error_name(d->error));
	js_str(&js, "cause", denial_name(d->cause));
	js_str(&js, "remote_addr", d->remote.family ? addr_text(&d->remote, text) : NULL);
	if (d->remote.family)
		js_uint(&js, "remote_port", d->remote_port);
	else
		js_null(&js, "remote_port");
	/* What holders, range and advice there were, if any were noted. */
	if (d->detail)
		(void)!js_members(&js, d->detail);
	if (a->about.format == FORMAT_CSV) {
		js_time(&js, "asked_since", q->time.first);
		js_time(&js, "asked_until", q->time.last);
	}
	return about_line(&a->about, &js, out);
}

/* Of what the recorder was told to leave out it is not blind: that is no answer to the question. */
static const char *blind_name(const struct blind *blind)
{
	return blind->elsewhere || blind->denied ? "scope" : "blind";
}

void past_put_blind(struct js *js, const struct blind *blind)
{
	js_str(js, "event", blind_name(blind));
	if (blind->since)
		js_time(js, "since", blind->since);
	else
		js_null(js, "since");
	if (blind->until == UINT64_MAX)
		js_null(js, "until");
	else
		js_time(js, "until", blind->until);
	js_uint(js, "lost", blind->lost);
	js_str(js, "reason", blind->reason);
}

static int json_blind(const struct past_answers *a, const struct question *q, uint8_t proto, const struct blind *blind,
		      struct buf *out)
{
	_cleanup_js_ struct js js = js_object();

	past_put_blind(&js, blind);
	if (q->first == q->last) {
		js_uint(&js, "port", q->first);
	} else {
		js_uint(&js, "first", q->first);
		js_uint(&js, "last", q->last);
	}
	js_str(&js, "proto", proto_name(proto));
	if (a->about.format == FORMAT_CSV) {
		js_time(&js, "asked_since", q->time.first);
		js_time(&js, "asked_until", q->time.last);
	}
	return about_line(&a->about, &js, out);
}

/* ---- text ---- */

static void text_line(struct buf *out, const char *words)
{
	buf_printf(out, "             %s", words);
}

static void text_since(const struct past *p, struct buf *out)
{
	text_line(out, p->began_before ? "since before " : "since ");
	about_text_time(p->since, out);
}

static void text_until(const struct past *p, struct buf *out)
{
	const char *error = error_name(p->error);
	char text[SPAN_TEXT];

	if (p->runs) {
		buf_adds(out, ", held still\n");
		return;
	}
	buf_adds(out, end_unknown(p) ? " until at least " : " until ");
	about_text_time(p->until, out);
	if (end_unknown(p)) {
		buf_adds(out, ": its end was not recorded\n");
		return;
	}
	if (p->held_ns != UNKNOWN_NS)
		buf_printf(out, " (%s)", span_text(p->held_ns, text));
	buf_printf(out, ": %s", cause_name(p->cause));
	if (error)
		buf_printf(out, " %s", error);
	buf_adds(out, p->exact ? "\n" : " (approximate)\n");
}

static void text_owner(const struct past *p, struct buf *out)
{
	if (p->owner) {
		about_text_process("", p->owner, out);
	} else {
		text_line(out, p->flags & PW_F_KERNEL ? "no process: a socket of the kernel's own\n"
						       : "who took it is not known\n");
	}
	if (!p->holder)
		return;
	text_line(out, "closed by pid ");
	buf_printf(out, "%u ", p->holder->pid);
	buf_add_escaped(out, p->holder->comm, strlen(p->holder->comm));
	buf_addc(out, '\n');
}

static void text_holder(const struct past_answers *a, const struct question *q, const struct past *p, struct buf *out)
{
	uint64_t moment = moment_of(p, &q->time);
	int64_t left = seconds_left(p, moment);
	char text[ENDPOINT_TEXT];

	about_label(out, state_at(p, moment));
	buf_adds(out, endpoint_text(&p->addr, p->port, text));
	if (p->remote.family)
		buf_printf(out, " to %s", endpoint_text(&p->remote, p->remote_port, text));
	if (left >= 0)
		buf_printf(out, ", %" PRId64 " s left", left);
	if (p->netns != a->about.netns)
		buf_printf(out, ", netns %u", p->netns);
	buf_addc(out, '\n');
	text_since(p, out);
	text_until(p, out);
	text_owner(p, out);
}

static void text_denied(const struct past_answers *a, const struct past_denial *d, struct buf *out)
{
	const char *call = how_name(d->how), *error = error_name(d->error), *cause = denial_name(d->cause);
	char text[ENDPOINT_TEXT];

	about_label(out, "denied");
	buf_adds(out, endpoint_text(&d->addr, d->port, text));
	if (d->remote.family)
		buf_printf(out, " to %s", endpoint_text(&d->remote, d->remote_port, text));
	buf_printf(out, ": %s %s %s", call ? call : "-", error ? error : "-", cause ? cause : "-");
	if (d->netns != a->about.netns)
		buf_printf(out, ", netns %u", d->netns);
	buf_addc(out, '\n');
	text_line(out, d->count > 1 ? "from " : "at ");
	about_text_time(d->time, out);
	if (d->count > 1) {
		buf_adds(out, " until ");
		about_text_time(d->until, out);
		buf_printf(out, ", %" PRIu64 " times", d->count);
	}
	buf_addc(out, '\n');
	if (d->owner)
		about_text_process("", d->owner, out);
	else
		text_line(out, "who called is not known\n");
}

void past_text_blind(const struct blind *blind, struct buf *out)
{
	bool open_end = blind->until == UINT64_MAX;

	about_label(out, blind_name(blind));
	if (blind->since) {
		buf_adds(out, "from ");
		about_text_time(blind->since, out);
		buf_adds(out, open_end ? " on" : " ");
	}
	if (!open_end) {
		buf_adds(out, "until ");
		about_text_time(blind->until, out);
	} else if (!blind->since) {
		buf_adds(out, "at all times");
	}
	buf_printf(out, ": %s", blind->reason);
	if (blind->lost)
		buf_printf(out, ", %" PRIu64 " records lost", blind->lost);
	buf_addc(out, '\n');
}

static void text_asked(const struct moment *asked, struct buf *out)
{
	about_label(out, "asked");
	about_text_time(asked->first, out);
	if (asked->last / 1000000 != asked->first / 1000000) {
		buf_adds(out, " to ");
		about_text_time(asked->last, out);
	}
	buf_addc(out, '\n');
}

/* ---- the answer ---- */

struct telling {
	struct past_answers *answers;
	const struct question *question;
	struct buf *out;
	int error;		/* of the output; what ended the reading */
	uint8_t proto;
	uint16_t port;		/* told last; 0: none */
	struct port_set ports;	/* told */
	size_t port_count;
	size_t holders;		/* told, of this port */
	size_t denials;
	bool blind;
	bool elsewhere;		/* other namespaces were not recorded */
	uint64_t blind_to;	/* up to here, without a break, nothing is known */
};

static bool in_text(const struct telling *t)
{
	return t->answers->about.format == FORMAT_TEXT;
}

static void text_more(struct telling *t)
{
	if (!in_text(t) || t->holders <= HOLDERS_TOLD)
		return;
	about_label(t->out, "and");
	buf_printf(t->out, "%zu lifetimes more (--json lists them)\n", t->holders - HOLDERS_TOLD);
}

static void text_more_denials(struct telling *t)
{
	if (!in_text(t) || t->denials <= HOLDERS_TOLD)
		return;
	about_label(t->out, "and");
	buf_printf(t->out, "%zu denied calls more (--json lists them)\n", t->denials - HOLDERS_TOLD);
}

static int tell_port(struct telling *t, uint16_t port)
{
	int r;

	text_more(t);
	r = about_port(&t->answers->about, port, t->proto, NULL, &t->question->time, t->out);
	if (in_text(t))
		text_asked(&t->question->time, t->out);
	t->port = port;
	t->port_count += !port_set_has(&t->ports, port);
	port_set_add(&t->ports, port);
	t->holders = 0;
	return r;
}

static int on_past(void *arg, const struct past *p)
{
	struct telling *t = arg;
	int r = p->port == t->port ? 0 : tell_port(t, p->port);

	t->holders++;
	if (!r && !in_text(t))
		r = json_holder(t->answers, t->question, p, t->out);
	else if (!r && t->holders <= HOLDERS_TOLD)
		text_holder(t->answers, t->question, p, t->out);
	t->error = r ? r : about_pass_on(&t->answers->about, t->out);
	return t->error;
}

static int on_denied(void *arg, const struct past_denial *d)
{
	struct telling *t = arg;
	bool first = !t->denials++ && !t->port_count && t->question->first == t->question->last;
	int r = first ? tell_port(t, d->port) : 0;

	if (!r && !in_text(t))
		r = json_denied(t->answers, t->question, d, t->out);
	else if (!r && t->denials <= HOLDERS_TOLD)
		text_denied(t->answers, d, t->out);
	t->error = r ? r : about_pass_on(&t->answers->about, t->out);
	return t->error;
}

static int on_blind(void *arg, const struct blind *blind)
{
	struct telling *t = arg;
	int r = 0;

	/* Who had the port is answered; that another namespace has that number too is what nobody asked. */
	if (blind->elsewhere && t->holders && t->question->first == t->question->last)
		return 0;
	t->blind |= !blind->denied && !blind->elsewhere;
	t->elsewhere |= blind->elsewhere;
	if (!blind->partly && blind->since <= t->blind_to && blind->until >= t->blind_to)
		t->blind_to = blind->until == UINT64_MAX ? UINT64_MAX : blind->until + 1;
	if (in_text(t))
		past_text_blind(blind, t->out);
	else
		r = json_blind(t->answers, t->question, t->proto, blind, t->out);
	t->error = r ? r : about_pass_on(&t->answers->about, t->out);
	return t->error;
}

static void text_nobody(const struct telling *t)
{
	about_label(t->out, "held by");
	if (!t->blind)
		buf_adds(t->out, t->elsewhere ? "nobody in what was recorded\n" : "nobody\n");
	else if (t->blind_to > t->question->time.last)
		buf_adds(t->out, "not known: nothing was recorded then\n");
	else
		buf_adds(t->out, "nobody that was recorded; not all was\n");
}

static int failed(struct telling *t, int r)
{
	if (!t->error)
		t->answers->why = history_why(t->answers->history);
	return r;
}

static int tell_range(const struct telling *t)
{
	return about_range(&t->answers->about, t->question, t->proto, t->port_count, t->out);
}

/* What was not recorded, and that there was nobody. */
static int tell_blind(struct telling *t, const struct history_query *query)
{
	int r = history_blind(t->answers->history, query, on_blind, t);

	if (r)
		return failed(t, r);
	if (in_text(t) && !t->holders && (t->blind || query->first == query->last))
		text_nobody(t);
	return 0;
}

/* What is behind the holders. */
static int tell_rest(struct telling *t, const struct history_query *query)
{
	bool range = query->first != query->last;
	int r;

	text_more(t);
	r = history_denied(t->answers->history, query, on_denied, t);
	if (r)
		return failed(t, r);
	text_more_denials(t);
	if (!t->port_count && question_may_be_silent(t->question, t->proto))
		return 0;
	if (range)
		r = tell_range(t);
	else if (!t->port_count)
		r = tell_port(t, query->first);
	if (!r)
		r = tell_blind(t, query);
	return r ? r : about_pass_on(&t->answers->about, t->out);
}

static int find_all(struct telling *t, const struct history_query *query)
{
	struct history_query some = *query;
	int r = 0;

	for (unsigned int from = query->first; from <= query->last && !r; from = some.last + 1U) {
		some.first = (uint16_t)from;
		some.last = query->last - from < HISTORY_SORTED ? query->last : (uint16_t)(from + HISTORY_SORTED - 1);
		r = history_find(t->answers->history, &some, on_past, t);
	}
	return r;
}

static int answer_proto(struct past_answers *a, const struct question *q, uint8_t proto, struct buf *out)
{
	struct telling telling = { .answers = a, .question = q, .out = out, .proto = proto, .blind_to = q->time.first };
	const struct history_query query = {
		.since = q->time.first, .until = q->time.last, .first = q->first, .last = q->last,
		.protos = question_proto_bit(proto), .netns = a->netns, .netns_count = a->netns_count,
	};
	int r = find_all(&telling, &query);

	return r ? failed(&telling, r) : tell_rest(&telling, &query);
}

int past_answer(struct past_answers *a, const struct question *q, struct buf *out)
{
	int r = 0;

	a->why = NULL;
	for (size_t i = 0; i < QUESTION_PROTOS && !r; i++)
		if (q->protos & question_proto_bit(question_protos[i]))
			r = answer_proto(a, q, question_protos[i], out);
	return r;
}
