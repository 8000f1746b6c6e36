/* SPDX-License-Identifier: GPL-2.0 */
/* The broker's side: what it answers, and that it ends at whatever is no question. */
#include "user/broker_serve.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

struct peer {
	int socket;
	pid_t pid;
	struct broker_question question;
	struct broker_answer answer;
	size_t payload;
};

/* Without a probe: what needs none. Its exit status is minus what broker_serve() returned. */
static struct peer *start(const struct dbfile *dbfile)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int ends[2];

	assert_non_null(peer);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	peer->pid = fork();
	if (!peer->pid) {
		struct broker_serve serve = { .socket = ends[1], .dbfile = dbfile, .cgroup_root = -1, .command = -1 };

		close(ends[0]);
		_exit(-broker_serve(&serve));
	}
	close(ends[1]);
	peer->socket = ends[0];
	return peer;
}

static int finish(struct peer *peer)
{
	int status;

	close(peer->socket);
	assert_int_equal(waitpid(peer->pid, &status, 0), peer->pid);
	free(peer);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

/* False: it has ended. */
static bool ask_bytes(struct peer *peer, size_t size)
{
	ssize_t got;

	peer->question.number++;
	assert_int_equal(send(peer->socket, &peer->question, size, MSG_NOSIGNAL), size);
	got = recv(peer->socket, &peer->answer, sizeof(peer->answer), 0);
	if (got <= 0)
		return false;
	assert_true((size_t)got >= BROKER_HEAD);
	assert_int_equal(peer->answer.number, peer->question.number);
	peer->payload = (size_t)got - BROKER_HEAD;
	return true;
}

static int ask(struct peer *peer, enum broker_ask what, uint32_t count)
{
	peer->question.ask = what;
	peer->question.count = count;
	assert_true(ask_bytes(peer, broker_question_size(what, count)));
	return peer->answer.error;
}

static void sizes(void **state)
{
	(void)state;
	for (uint32_t what = 0; what < BROKER_ASKS; what++) {
		assert_true(broker_question_size(what, 0) >= offsetof(struct broker_question, looks));
		assert_true(broker_question_size(what, 0) <= sizeof(struct broker_question));
		assert_int_equal(broker_question_size(what, UINT32_MAX), 0);
	}
	assert_int_equal(broker_question_size(BROKER_ASKS, 0), 0);
	assert_int_equal(broker_question_size(UINT32_MAX, 0), 0);
	assert_int_equal(broker_question_size(BROKER_LOOK, PW_LOOKS), sizeof(struct broker_question));
	assert_int_equal(broker_question_size(BROKER_LOOK, PW_LOOKS + 1), 0);
	assert_int_equal(broker_question_size(BROKER_FIND, PROCFD_MAX + 1), 0);
	assert_int_equal(broker_question_size(BROKER_ROWS, 1), 0);
}

static void ends_at(uint32_t what, uint32_t count, size_t size)
{
	struct peer *peer = start(NULL);

	peer->question.ask = what;
	peer->question.count = count;
	assert_false(ask_bytes(peer, size));
	assert_int_equal(finish(peer), -EPROTO);
}

static void ends_at_nonsense(void **state)
{
	size_t head = offsetof(struct broker_question, looks);

	(void)state;
	ends_at(BROKER_ASKS, 0, head);
	ends_at(UINT32_MAX, 0, head);
	ends_at(BROKER_LOSSES, 1, head);
	ends_at(BROKER_LOSSES, 0, head + 1);
	ends_at(BROKER_LOSSES, 0, head - 1);
	ends_at(BROKER_LOSSES, 0, 1);
	ends_at(BROKER_LOOK, PW_LOOKS + 1, sizeof(struct broker_question));
	ends_at(BROKER_LOOK, PW_LOOKS, sizeof(struct broker_question) - 1);
	ends_at(BROKER_FIND, PROCFD_MAX + 1, head + (PROCFD_MAX + 1) * sizeof(uint32_t));
	ends_at(BROKER_EXE, 0, head);
	/* Of no protocol; of no signal that it may send. */
	ends_at(BROKER_DUMP, 0, broker_question_size(BROKER_DUMP, 0));
	ends_at(BROKER_SIGNAL, 0, broker_question_size(BROKER_SIGNAL, 0));
}

static void ends_at_look(struct pw_look look)
{
	struct peer *peer = start(NULL);

	peer->question.ask = BROKER_LOOK;
	peer->question.count = 1;
	peer->question.looks[0] = look;
	assert_false(ask_bytes(peer, broker_question_size(BROKER_LOOK, 1)));
	assert_int_equal(finish(peer), -EPROTO);
}

/* By cookies of 0 it would tell what memory holds wherever it is clear. */
static void ends_at_no_object(void **state)
{
	(void)state;
	ends_at_look((struct pw_look){ .sk = 0xffff888000000000, .port = 80 });
	ends_at_look((struct pw_look){ .sk = 0xffff888000000000, .cookie = 1, .net = 0xffff888000000000, .port = 80 });
}

static void ends_with_its_peer(void **state)
{
	(void)state;
	assert_int_equal(finish(start(NULL)), 0);
}

/* In clock ticks, field 22 of proc(5)'s stat; the name has no blank here. */
static uint64_t own_start(void)
{
	unsigned long long ticks = 0;
	FILE *file = fopen("/proc/self/stat", "re");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
				"%*d %llu", &ticks), 1);
	fclose(file);
	return ticks * (1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void tells_an_executable(void **state)
{
	struct peer *peer = start(NULL);
	char own[4096] = "";

	(void)state;
	assert_true(readlink("/proc/self/exe", own, sizeof(own) - 1) > 0);
	peer->question.process.pid = (uint32_t)getpid();
	peer->question.process.start = own_start();
	assert_int_equal(ask(peer, BROKER_EXE, 0), 0);
	assert_int_equal(peer->payload, strlen(own));
	assert_memory_equal(peer->answer.text, own, strlen(own));
	/* The same pid, another process. */
	peer->question.process.start += 5000000000ULL;
	assert_int_equal(ask(peer, BROKER_EXE, 0), -ENOENT);
	assert_int_equal(peer->payload, 0);
	assert_int_equal(finish(peer), 0);
}

static void finds_a_socket(void **state)
{
	struct peer *peer = start(NULL);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct stat st;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	peer->question.inodes[0] = 0;
	peer->question.inodes[1] = (uint32_t)st.st_ino;
	assert_int_equal(ask(peer, BROKER_FIND, 2), 0);
	assert_int_equal(peer->payload, 2 * sizeof(struct event_process));
	assert_int_equal(peer->answer.found[0].pid, 0);
	assert_int_equal(peer->answer.found[1].pid, getpid());
	close(fd);
	assert_int_equal(finish(peer), 0);
}

static void knows_the_file(void **state)
{
	struct dbfile dbfile = { .path = "/etc/passwd" };
	struct peer *peer;
	struct stat st;

	(void)state;
	assert_int_equal(lstat("/etc/passwd", &st), 0);
	peer = start(&dbfile);
	peer->question.file.dev = st.st_dev;
	peer->question.file.ino = st.st_ino;
	assert_int_equal(ask(peer, BROKER_FILE_IS, 0), 0);
	peer->question.file.ino++;
	assert_int_equal(ask(peer, BROKER_FILE_IS, 0), -ENOENT);
	assert_int_equal(finish(peer), 0);
}

static void without_what_it_takes(void **state)
{
	struct peer *peer = start(NULL);

	(void)state;
	peer->question.cgroup = 1;
	assert_int_equal(ask(peer, BROKER_CGROUP, 0), -ENOENT);
	peer->question.signal = SIGTERM;
	assert_int_equal(ask(peer, BROKER_SIGNAL, 0), -ESRCH);
	/* No snapshot was taken. */
	peer->question.from = UINT64_MAX;
	assert_int_equal(ask(peer, BROKER_ROWS, 0), 0);
	assert_int_equal(peer->answer.count, 0);
	assert_int_equal(finish(peer), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(sizes),
	cmocka_unit_test(ends_at_nonsense),
	cmocka_unit_test(ends_at_no_object),
	cmocka_unit_test(ends_with_its_peer),
	cmocka_unit_test(tells_an_executable),
	cmocka_unit_test(finds_a_socket),
	cmocka_unit_test(knows_the_file),
	cmocka_unit_test(without_what_it_takes),
};

UNIT_MAIN(tests)
