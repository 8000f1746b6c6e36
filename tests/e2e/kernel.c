/* SPDX-License-Identifier: GPL-2.0 */
/* What portwake asks of the kernel, and what it leaves there: nothing. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STARTS 20
#define CHURNERS 2
#define GONE_WITHIN (20 * SECOND)
#define KPROBES_ENABLED "/sys/kernel/debug/kprobes/enabled"

/* Programs, maps and links that the kernel has now. */
struct objects {
	unsigned programs, maps, links;
};

static unsigned count_ids(enum bpf_cmd next)
{
	union bpf_attr attr;
	unsigned count = 0;

	memset(&attr, 0, sizeof(attr));
	while (!syscall(SYS_bpf, next, &attr, sizeof(attr))) {
		attr.start_id = attr.next_id;
		count++;
	}
	assert_int_equal(errno, ENOENT);
	return count;
}

static struct objects count_objects(void)
{
	return (struct objects){ count_ids(BPF_PROG_GET_NEXT_ID), count_ids(BPF_MAP_GET_NEXT_ID),
				 count_ids(BPF_LINK_GET_NEXT_ID) };
}

/* The kernel takes some of them down after a grace period. */
static bool back_to(void *arg)
{
	const struct objects *before = arg;
	struct objects now = count_objects();

	return now.programs <= before->programs && now.maps <= before->maps && now.links <= before->links;
}

static int open_one(struct work *w, int type)
{
	int fd = socket(fam_domain(w->fam), type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		work_die("socket");
	return fd;
}

/* One connection, closed by a reset, and one datagram: without a truth, which would grow for as long as this goes on. */
static void churn_once(struct work *w, int listener, const struct sockaddr_storage *addr, socklen_t size)
{
	static const struct linger reset = { .l_onoff = 1 };
	int tcp = open_one(w, SOCK_STREAM), udp = open_one(w, SOCK_DGRAM), accepted;

	if (sendto(udp, "", 0, 0, (const struct sockaddr *)addr, size) < 0)
		work_die("sendto");
	if (connect(tcp, (const struct sockaddr *)addr, size) < 0)
		work_die("connect");
	accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	setsockopt(tcp, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(tcp);
	close(accepted);
	close(udp);
}

static void churn(struct work *w)
{
	int listener = open_one(w, SOCK_STREAM);
	struct sockaddr_storage addr;
	socklen_t size = addr_make(&addr, w->fam, AT_LOOP, 7501);

	if (bind(listener, (struct sockaddr *)&addr, size) < 0 || listen(listener, 8) < 0)
		work_die("listen");
	/* With a breath: an emulated processor at full churn lets no tracer start in a bearable time. */
	while (!w->truth->stop) {
		churn_once(w, listener, &addr, size);
		usleep(5000);
	}
	close(listener);
}

static void start_and_stop(struct stage *stage)
{
	/* The churn is not of interest here, and would fill our memory. */
	struct run *run = live_on(stage, ARGS("--listeners"));

	run_sleep(50);
	assert_ends_well(run, SIGINT);
	run_free(&run);
}

static void nothing_remains(void **state)
{
	struct objects before = count_objects(), after;
	struct stage *stage[CHURNERS];

	(void)state;
	for (size_t i = 0; i < CHURNERS; i++) {
		stage[i] = stage_new("churn beside starts");
		stage[i]->work.fam = i ? FAM_V6 : FAM_V4;
		stage_start(stage[i], churn);
	}
	for (int i = 0; i < STARTS; i++)
		start_and_stop(stage[i % CHURNERS]);
	for (size_t i = 0; i < CHURNERS; i++)
		stage[i]->work.truth->stop = true;
	for (size_t i = 0; i < CHURNERS; i++)
		stage_join(stage[i]);
	if (run_until(back_to, &before, GONE_WITHIN))
		return;
	after = count_objects();
	fail_msg("%d starts leave %u programs, %u maps, %u links, where there were %u, %u, %u", STARTS, after.programs,
		 after.maps, after.links, before.programs, before.maps, before.links);
}

static void write_enabled(const char *text)
{
	int fd = open(KPROBES_ENABLED, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		skip_because("no %s: %s", KPROBES_ENABLED, strerror(errno));
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/*
 * Kprobes that attach and never run: the canary is not told of what it does, and the base steps in. Without what tells
 * of denials, which tells of the end of a UDP connect() as well.
 */
static void disarmed_kprobes(void **state)
{
	struct run *run;

	int status;

	(void)state;
	if (!getenv("E2E_GUEST"))
		skip_because("all kprobes of the machine would stand still: in guests only");
	write_enabled("0");
	run = run_start(&(struct run_options){ .args = ARGS("probes", "--rung", "kprobe", "--no-denied"), .text = true });
	status = run ? run_wait(run, 30 * SECOND) : -1;
	write_enabled("1");
	assert_int_equal(status, 0);
	if (!run->partial || !strstr(run->partial, "kprobe missed a hand-over to TIME_WAIT") ||
	    !strstr(run->partial, "kprobe missed a UDP connect()") || !strstr(run->partial, "tcp-release    tracepoint"))
		fail_msg("kprobes were believed: %s", run->partial ? run->partial : "no output");
}

static const struct plain list[] = {
	{ "kernel/nothing_remains", nothing_remains },
	{ "kernel/disarmed_kprobes", disarmed_kprobes },
};

const struct plain_list kernel_tests = { list, COUNT_OF(list) };
