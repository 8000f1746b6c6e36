/* SPDX-License-Identifier: GPL-2.0 */
/* portwake who: who has a port, or had it. */
#include "user/cmd.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include "user/clock.h"
#include "user/holders.h"
#include "user/line.h"
#include "user/log.h"
#include "user/map.h"
#include "user/mem.h"
#include "user/netns.h"
#include "user/past.h"
#include "user/range.h"
#include "user/who.h"

#define OUT_MAX (16u << 20)	/* one holder with all its processes */
#define OUT_READY (1u << 16)
#define LINE_SIZE 256
#define BATCH 1024		/* lines of stdin that are answered from one look */
#define CMDLINE_SIZE 4096
#define CMDLINES_MAX 65536

struct who {
	const struct options *options;
	struct tracing *tracing;
	bool can_look;		/* tracing is set */
	struct history *history;	/* NULL: not tried yet, or why not */
	bool tried, told;	/* to open it; why not, if it could not be */
	char why[512];
	struct moment asked;	/* of questions that name no time; last 0: now */
	struct range range;
	uint32_t netns;
	uint64_t time;		/* of the look; ns since 1970 */
	bool in_view[PW_FILTER];	/* of options->settings.netns */
	struct map cmdlines;	/* struct process -> char *; "" none */
	struct buf out;
	unsigned int line;	/* of stdin */
	bool lines;		/* questions are lines of stdin: one that cannot be answered leaves the others */
	bool bad;		/* there was such a line */
	bool cannot_look;	/* these lines about now are such */
};

/* ---- what answers ask back ---- */

static void forget_cmdlines(struct map *cmdlines)
{
	void *text;

	for (size_t pos = 0; map_next(cmdlines, &pos, NULL, &text);)
		pw_free(text);
	map_done(cmdlines);
}

/* A worker has as many sockets as connections, and one command line. */
static const char *on_cmdline(void *arg, const struct process *process)
{
	struct who *who = arg;
	char text[CMDLINE_SIZE], *known = map_get(&who->cmdlines, (uintptr_t)process);

	if (!known) {
		if (identity_cmdline(process, text, sizeof(text)))
			text[0] = '\0';
		if (map_count(&who->cmdlines) >= CMDLINES_MAX)
			forget_cmdlines(&who->cmdlines);
		known = pw_strdup(text);
		if (!known)
			return NULL;
		if (map_put(&who->cmdlines, (uintptr_t)process, known)) {
			pw_free(known);
			return NULL;
		}
	}
	return *known ? known : NULL;
}

static const char *on_service(void *arg, uint16_t port, uint8_t proto)
{
	const struct servent *service = getservbyport(htons(port), proto_name(proto));

	(void)arg;
	return service ? service->s_name : NULL;
}

static int write_out(struct buf *out)
{
	bool done = fwrite(buf_text(out), 1, out->len, stdout) == out->len && !fflush(stdout);

	buf_reset(out);
	return done ? 0 : -errno;
}

static int on_flush(void *arg, struct buf *out)
{
	(void)arg;
	return out->len < OUT_READY ? 0 : write_out(out);
}

static int fail(int r)
{
	log_error("%s: %s", r == -ENOMEM || r == -ENOBUFS ? "the answer" : "stdout", strerror(-r));
	return STATUS_FAILED;
}

/* ---- where answers come from ---- */

static int on_netns(void *arg, uint32_t inode)
{
	struct who *who = arg;

	who->netns = inode;
	(void)!range_read(&who->range);
	for (uint32_t i = 0; i < who->options->settings.netns_count; i++)
		who->in_view[i] |= who->options->settings.netns[i] == inode;
	return 0;
}

static int find_own_range(struct who *who)
{
	struct stat st;

	if (stat("/proc/self/ns/net", &st) < 0)
		return -errno;
	return on_netns(who, (uint32_t)st.st_ino);
}

/* The namespace that is asked about; of several, and of none, our own. -ENOENT: one asked about is not in view. */
static int find_range(struct who *who)
{
	const struct pw_settings *s = &who->options->settings;
	int r = s->netns_count ? netns_walk(s->netns, s->netns_count, on_netns, who) : 0;

	for (uint32_t i = 0; i < s->netns_count && !r; i++)
		r = who->in_view[i] ? 0 : -ENOENT;
	return r || s->netns_count == 1 ? r : find_own_range(who);
}

/* Tracing's ground, which takes root; once, and for questions about now only. */
static int prepare_look(struct who *who)
{
	int r;

	if (who->can_look)
		return STATUS_DONE;
	r = tracing_set(who->tracing, who->options);
	if (r)
		return r;
	r = find_range(who);
	if (r == -ENOENT) {
		log_error("--netns: %s network namespace is not in view: no process and no mount here shows it",
			  who->options->settings.netns_count > 1 ? "one such" : "that");
		return STATUS_USAGE;
	}
	if (r)
		log_warn("the ephemeral range cannot be read: %s", strerror(-r));
	who->can_look = true;
	return STATUS_DONE;
}

static bool has_history(struct who *who)
{
	const char *db = who->options->db ? who->options->db : HISTORY_DB;

	if (!who->tried)
		(void)!history_open(db, &who->history, who->why, sizeof(who->why));
	who->tried = true;
	return who->history;
}

/* The file alone: a namespace of the past need not be there, so the range is always our own. */
static int prepare_past(struct who *who)
{
	int r = tracing_annotate(who->tracing, who->options);

	if (r)
		return r;
	if (!who->can_look)
		(void)!find_own_range(who);
	if (has_history(who))
		return STATUS_DONE;
	if (!who->told)
		log_error("%s", who->why);
	who->told = who->bad = true;
	return who->lines ? STATUS_DONE : STATUS_FAILED;
}

/* What the history adds to a look: nothing where there is none, which is told only of one that was named. */
static void recall(struct who *who, const struct question *questions, size_t count, struct recall *recall)
{
	if (!has_history(who) && who->options->db && !who->told) {
		log_warn("since when and by whom is not told: %s", who->why);
		who->told = true;
	}
	for (size_t i = 0; i < count && who->history; i++) {
		const struct question *q = &questions[i];

		if (!question_is_past(q) &&
		    recall_take(recall, who->history, q->first, q->last, q->protos, now_realtime()))
			return;
	}
}

/* ---- answers ---- */

static struct about about_of(struct who *who)
{
	return (struct about){
		.format = who->options->format, .annotations = who->tracing->annotations, .range = &who->range,
		.netns = who->netns, .service = on_service, .flush = on_flush, .arg = who,
	};
}

static int answer_past(struct who *who, const struct question *question)
{
	struct past_answers answers = {
		.about = about_of(who), .history = who->history,
		.netns = who->options->settings.netns, .netns_count = who->options->settings.netns_count,
	};
	int r = past_answer(&answers, question, &who->out);

	if (!answers.why)
		return r ? fail(r) : STATUS_DONE;
	log_error("%s", answers.why);
	return STATUS_FAILED;
}

static int answer_one(struct who *who, const struct answers *now, const struct question *question)
{
	int r;

	if (question_is_past(question))
		return who->history ? answer_past(who, question) : STATUS_DONE;
	if (who->cannot_look)
		return STATUS_DONE;
	r = answer(now, question, &who->out);
	return r ? fail(r) : STATUS_DONE;
}

static int answer_all(struct who *who, const struct holders *holders, const struct question *questions, size_t count)
{
	_cleanup_recall_ struct recall recalled = { .boot = NULL };
	struct answers answers = { .about = about_of(who), .time = who->time, .cmdline = on_cmdline, .recall = &recalled };
	int r = answers_index(&answers, holders);
	int status = r ? fail(r) : STATUS_DONE;

	if (holders->count)
		recall(who, questions, count, &recalled);
	for (size_t i = 0; i < count && !status; i++)
		status = answer_one(who, &answers, &questions[i]);
	r = status ? 0 : write_out(&who->out);
	pw_free(answers.by_port);
	/* They go by the processes of this look. */
	forget_cmdlines(&who->cmdlines);
	return r ? fail(r) : status;
}

/* What is there to look at now; nothing when all ask for the past. */
static int look(struct who *who, struct port_set *ports, unsigned int protos, struct holders *holders)
{
	struct probe_options filter = who->tracing->run.probe;
	char why[512] = "";

	filter.ports = ports;
	filter.settings.protos = protos;
	if (!protos || !holders_take(holders, &filter, who->tracing->identity, why, sizeof(why)))
		return STATUS_DONE;
	log_error("cannot look here: %s", why);
	return STATUS_CANNOT;
}

/* Of lines, those about now alone fail where nobody may look; those about the past need the file. */
static int look_for(struct who *who, struct port_set *ports, unsigned int protos, struct holders *holders)
{
	int status = protos ? prepare_look(who) : STATUS_DONE;

	who->time = now_boottime() + (uint64_t)clock_offset();
	if (!status)
		status = look(who, ports, protos, holders);
	who->cannot_look = who->lines && status == STATUS_CANNOT;
	who->bad |= who->cannot_look;
	return who->cannot_look ? STATUS_DONE : status;
}

static int look_and_answer(struct who *who, const struct question *questions, size_t count)
{
	_cleanup_holders_ struct holders holders = HOLDERS_INIT;
	struct port_set ports = { { 0 } };
	unsigned int protos = 0;
	bool past = false;
	int status;

	for (size_t i = 0; i < count; i++) {
		question_widen(&questions[i], &ports, &protos);
		past |= question_is_past(&questions[i]);
	}
	status = look_for(who, &ports, protos, &holders);
	if (!status && past)
		status = prepare_past(who);
	return status ? status : answer_all(who, &holders, questions, count);
}

/* ---- questions on the command line ---- */

static int parse_words(const struct who *who, struct question *questions)
{
	const struct options *o = who->options;
	char why[300];

	for (size_t i = 0; i < o->word_count; i++) {
		if (!strcmp(o->words[i], "-")) {
			snprintf(why, sizeof(why), "'-' (lines of stdin) stands alone");
		} else if (!question_parse(o->words[i], o->settings.protos, &questions[i], why, sizeof(why))) {
			questions[i].time = who->asked;
			continue;
		}
		log_error("%s", why);
		return STATUS_USAGE;
	}
	return STATUS_DONE;
}

/* ---- questions on stdin ---- */

struct input {
	char data[16384];
	size_t length, at;
	bool ended;
	bool cut;		/* the last line was longer than fits */
};

/* Is there another line without waiting? The rest of half a one may be long in coming. */
static bool line_is_there(const struct input *in)
{
	return memchr(in->data + in->at, '\n', in->length - in->at);
}

static int fill(struct input *in)
{
	ssize_t got;

	do
		got = read(STDIN_FILENO, in->data, sizeof(in->data));
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	in->length = (size_t)got;
	in->at = 0;
	in->ended = !got;
	return 0;
}

/* 1: a line, cut at its bound; 0: no more; or -errno. */
static int next_line(struct input *in, char line[LINE_SIZE])
{
	size_t used = 0;
	bool any = false;

	in->cut = false;
	for (;;) {
		char c;
		int r = in->at == in->length && !in->ended ? fill(in) : 0;

		if (r)
			return r;
		if (in->ended)
			break;
		c = in->data[in->at++];
		any = true;
		if (c == '\n')
			break;
		if (used < LINE_SIZE - 1)
			line[used++] = c ? c : '?';
		else
			in->cut = true;
	}
	line[used] = '\0';
	return any;
}

static void take_line(struct who *who, const char *line, bool cut, struct question *questions, size_t *count)
{
	struct question *question = &questions[*count];
	char why[300];

	who->line++;
	if (cut) {
		snprintf(why, sizeof(why), "the line is longer than %d bytes", LINE_SIZE - 1);
	} else if (!question_parse_line(line, who->options->settings.protos, now_realtime(), question, why, sizeof(why))) {
		if (!question_is_past(question))
			question->time = who->asked;
		++*count;
		return;
	}
	log_error("stdin:%u: %s", who->line, why);
	who->bad = true;
}

/* What is there now, or what comes first, is answered from one look. */
static int ask_batch(struct who *who, struct input *in, struct question questions[BATCH])
{
	char line[LINE_SIZE];
	size_t count = 0;
	int r = 1;

	while (r > 0 && count < BATCH && (!count || line_is_there(in))) {
		r = next_line(in, line);
		if (r > 0)
			take_line(who, line, in->cut, questions, &count);
	}
	if (r < 0) {
		log_error("stdin: %s", strerror(-r));
		return STATUS_FAILED;
	}
	return count ? look_and_answer(who, questions, count) : STATUS_DONE;
}

static int ask_lines(struct who *who)
{
	_cleanup_free_ struct question *questions = pw_calloc(BATCH, sizeof(*questions));
	struct input in = { .length = 0 };
	int status = STATUS_DONE;

	if (!questions)
		return fail(-ENOMEM);
	while (!status && !in.ended) {
		status = ask_batch(who, &in, questions);
		/* The next line may be long in coming: it is answered by what is written then, and keeps no recorder waiting. */
		history_free(&who->history);
		who->tried = false;
	}
	return status ? status : who->bad ? STATUS_FAILED : STATUS_DONE;
}

/* ---- the command ---- */

/* What --at, or --since and --until, ask for. */
static struct moment asked_time(const struct options *o)
{
	if (!o->since)
		return o->at;
	return (struct moment){ o->since, o->until ? o->until : now_realtime() };
}

static int answer_words(struct who *who)
{
	_cleanup_free_ struct question *questions = pw_calloc(who->options->word_count, sizeof(*questions));
	int r = questions ? parse_words(who, questions) : fail(-ENOMEM);

	return r ? r : look_and_answer(who, questions, who->options->word_count);
}

int cmd_who(const struct options *options)
{
	_cleanup_tracing_ struct tracing tracing = TRACING_INIT;
	struct who who = { .options = options, .tracing = &tracing, .out = BUF_INIT(OUT_MAX), .asked = asked_time(options) };
	int r;

	if (!options->word_count) {
		log_error("which port? as in: portwake who 443 53/udp 8000-8099, or - for lines of stdin");
		return STATUS_USAGE;
	}
	(void)!about_head(options->format, &who.out);
	who.lines = options->word_count == 1 && !strcmp(options->words[0], "-");
	r = who.lines ? ask_lines(&who) : answer_words(&who);
	/* Without a line there was no answer, and CSV still has its head. */
	if (!r && write_out(&who.out))
		r = fail(-errno);
	history_free(&who.history);
	buf_done(&who.out);
	return r;
}
