/* SPDX-License-Identifier: GPL-2.0 */
/* Questions in, answers out, one after the other. */
#include "user/broker_serve.h"

#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "user/cgroup.h"
#include "user/identity.h"
#include "user/mem.h"
#include "user/snapshot.h"

struct server {
	const struct broker_serve *options;
	struct view_direct direct;
	struct view view;
	struct snapshot snapshot;	/* taken, and not yet had */
	struct broker_question question;
	struct broker_answer answer;
	struct store_files files;	/* to go with the answer */
	int error;			/* of sending */
};

/* ---- what a question must be ---- */

size_t broker_question_size(uint32_t ask, uint32_t count)
{
	static const struct {
		size_t size, each;
		uint32_t max;
	} sizes[BROKER_ASKS] = {
#define PART(field) (sizeof(((struct broker_question *)0)->field))
		[BROKER_LOOK] = { 0, sizeof(struct pw_look), PW_LOOKS },
		[BROKER_LOSSES] = { 0, 0, 0 },
		[BROKER_SNAPSHOT] = { 0, 0, 0 },
		[BROKER_ROWS] = { PART(from), 0, 0 },
		[BROKER_RANGE] = { PART(place), 0, 0 },
		[BROKER_DUMP] = { PART(dump), 0, 0 },
		[BROKER_FIND] = { 0, sizeof(uint32_t), PROCFD_MAX },
		[BROKER_EXE] = { PART(process), 0, 0 },
		[BROKER_CGROUP] = { PART(cgroup), 0, 0 },
		[BROKER_SIGNAL] = { PART(signal), 0, 0 },
		[BROKER_FILE_IS] = { PART(file), 0, 0 },
		[BROKER_FILES] = { 0, 0, 0 },
		[BROKER_LEFT] = { 0, 0, 0 },
#undef PART
	};

	if (ask >= BROKER_ASKS || count > sizes[ask].max)
		return 0;
	return offsetof(struct broker_question, looks) + sizes[ask].size + count * sizes[ask].each;
}

/* An address of no known object is of no use but to learn what memory holds there. */
static bool are_sound(const struct pw_look *looks, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!looks[i].cookie || (looks[i].net && !looks[i].net_cookie))
			return false;
	}
	return true;
}

static bool is_sound(const struct broker_question *q, size_t size)
{
	const struct diag_query *query = &q->dump.query;

	if (size < offsetof(struct broker_question, looks) || size != broker_question_size(q->ask, q->count))
		return false;
	if (q->ask == BROKER_LOOK)
		return are_sound(q->looks, q->count);
	if (q->ask == BROKER_DUMP)
		return query->proto == IPPROTO_TCP || query->proto == IPPROTO_UDP || query->proto == IPPROTO_UDPLITE;
	if (q->ask == BROKER_SIGNAL)
		return q->signal == SIGINT || q->signal == SIGTERM || q->signal == SIGKILL;
	return true;
}

/* ---- answering ---- */

static void attach_files(struct msghdr *message, char *space, size_t size, const struct store_files *files)
{
	int fds[] = { files->db, files->wal, files->shm };
	struct cmsghdr *head;

	if (files->db < 0)
		return;
	message->msg_control = space;
	message->msg_controllen = size;
	head = CMSG_FIRSTHDR(message);
	*head = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fds)),
	};
	memcpy(CMSG_DATA(head), fds, sizeof(fds));
}

static void send_answer(struct server *s, int error, size_t payload)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control = { 0 };
	struct iovec part = { &s->answer, BROKER_HEAD + payload };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	s->answer.number = s->question.number;
	s->answer.error = error;
	attach_files(&message, control.space, sizeof(control.space), &s->files);
	if (!s->error && sendmsg(s->options->socket, &message, MSG_NOSIGNAL) < 0)
		s->error = -errno;
	s->answer.count = s->answer.more = 0;
}

/* Is there still somebody to answer? Asked in the middle of what takes long. */
static int pump(void *arg)
{
	struct server *s = arg;
	char none;

	return recv(s->options->socket, &none, 1, MSG_PEEK | MSG_DONTWAIT) ? 0 : -EPIPE;
}

static void answer_snapshot(struct server *s)
{
	int r;

	snapshot_done(&s->snapshot);
	r = snapshot_take(&s->snapshot, s->options->probe, s->options->filter, pump, s);
	s->answer.count = (uint32_t)s->snapshot.count;
	send_answer(s, r, 0);
}

static void answer_rows(struct server *s)
{
	size_t from = s->question.from, count = 0;

	if (from < s->snapshot.count)
		count = s->snapshot.count - from < BROKER_ROWS_MAX ? s->snapshot.count - from : BROKER_ROWS_MAX;
	for (size_t i = 0; i < count; i++) {
		s->answer.rows[i] = s->snapshot.rows[from + i];
		s->answer.rows[i].exe = NULL;
	}
	if (!count)
		snapshot_done(&s->snapshot);
	s->answer.count = (uint32_t)count;
	send_answer(s, 0, count * sizeof(struct event));
}

static void send_bound(struct server *s, bool more)
{
	s->answer.more = more;
	send_answer(s, 0, s->answer.count * sizeof(struct diag_row));
}

static void on_bound(void *arg, const struct diag_row *row)
{
	struct server *s = arg;

	s->answer.bound[s->answer.count++] = *row;
	if (s->answer.count == BROKER_BOUND_MAX)
		send_bound(s, true);
}

static void answer_dump(struct server *s)
{
	struct diag_query query = s->question.dump.query;
	int r = s->view.ops->dump(s->view.arg, s->question.dump.place, &query, on_bound, s);

	if (r)
		s->answer.count = 0;
	if (r)
		send_answer(s, r, 0);
	else
		send_bound(s, false);
}

static void answer_text(struct server *s, int r)
{
	size_t length = r ? 0 : strnlen(s->answer.text, sizeof(s->answer.text));

	s->answer.count = (uint32_t)length;
	send_answer(s, r, length);
}

static void answer_exe(struct server *s)
{
	const struct broker_question *q = &s->question;

	answer_text(s, identity_exe(q->process.pid, q->process.start, s->answer.text, sizeof(s->answer.text)));
}

static void answer_cgroup(struct server *s)
{
	answer_text(s, s->options->cgroup_root < 0 ? -ENOENT :
		    cgroup_path(s->options->cgroup_root, s->question.cgroup, s->answer.text, sizeof(s->answer.text)));
}

static void answer_look(struct server *s)
{
	uint32_t count = s->question.count;
	int r = probe_look(s->options->probe, s->question.looks, count);

	memcpy(s->answer.looks, s->question.looks, count * sizeof(struct pw_look));
	s->answer.count = count;
	send_answer(s, r, count * sizeof(struct pw_look));
}

static void answer_losses(struct server *s)
{
	int r = probe_losses(s->options->probe, &s->answer.loss);

	send_answer(s, r, sizeof(s->answer.loss));
}

static void answer_range(struct server *s)
{
	int r = s->view.ops->range(s->view.arg, s->question.place, &s->answer.range);

	send_answer(s, r, sizeof(s->answer.range));
}

static void answer_find(struct server *s)
{
	s->answer.count = s->question.count;
	procfd_find(s->question.inodes, s->question.count, s->answer.found);
	send_answer(s, 0, s->question.count * sizeof(struct event_process));
}

/* By a pidfd: the number may be another's by now. */
static void answer_signal(struct server *s)
{
	bool sent = s->options->command >= 0 &&
		    !syscall(SYS_pidfd_send_signal, s->options->command, (int)s->question.signal, NULL, 0);

	send_answer(s, sent ? 0 : -ESRCH, 0);
}

static void answer_file_is(struct server *s)
{
	const struct broker_question *q = &s->question;

	send_answer(s, dbfile_is(s->options->dbfile, q->file.dev, q->file.ino) ? 0 : -ENOENT, 0);
}

static void answer_files(struct server *s)
{
	int r = dbfile_open(s->options->dbfile, &s->files, s->answer.text, sizeof(s->answer.text));
	size_t length = r ? strnlen(s->answer.text, sizeof(s->answer.text)) : 0;

	s->answer.count = (uint32_t)length;
	send_answer(s, r, length);
	store_files_close(&s->files);
}

static void answer_left(struct server *s)
{
	bool left = dbfile_left(s->options->dbfile, s->answer.text, sizeof(s->answer.text));

	answer_text(s, left ? 0 : -ENOENT);
}

static void (*const answers[BROKER_ASKS])(struct server *s) = {
	[BROKER_LOOK] = answer_look,
	[BROKER_LOSSES] = answer_losses,
	[BROKER_SNAPSHOT] = answer_snapshot,
	[BROKER_ROWS] = answer_rows,
	[BROKER_RANGE] = answer_range,
	[BROKER_DUMP] = answer_dump,
	[BROKER_FIND] = answer_find,
	[BROKER_EXE] = answer_exe,
	[BROKER_CGROUP] = answer_cgroup,
	[BROKER_SIGNAL] = answer_signal,
	[BROKER_FILE_IS] = answer_file_is,
	[BROKER_FILES] = answer_files,
	[BROKER_LEFT] = answer_left,
};

static int serve(struct server *s)
{
	while (!s->error) {
		/* MSG_TRUNC: the length of the message, not of what fits. */
		ssize_t got = recv(s->options->socket, &s->question, sizeof(s->question), MSG_TRUNC);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		if (!is_sound(&s->question, (size_t)got))
			return -EPROTO;
		answers[s->question.ask](s);
	}
	return s->error;
}

int broker_serve(const struct broker_serve *options)
{
	struct server *s = pw_calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->options = options;
	s->files = STORE_FILES_INIT;
	s->direct = (struct view_direct){ options->probe, options->filter };
	s->view = view_of(&s->direct);
	r = serve(s);
	snapshot_done(&s->snapshot);
	pw_free(s);
	return r;
}
