/* SPDX-License-Identifier: GPL-2.0 */
/* Workloads for what is to be recorded. */
#define _GNU_SOURCE
#include "tests/e2e/crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/case.h"

#define SLOTS 24
#define KIDS 4
#define FIXED 20000		/* 40 for each process */
#define GROUPS 21000		/* shared by all of them */
#define GROUP_COUNT 12
#define TWO_WAYS 22000		/* 8 for each process */
#define EPHEMERAL "30000 31999"
#define NOBODY_LISTENS 9
#define SOMEWHERE 7999
#define KEPT_FD 900		/* where a child keeps what it does not give up */
#define KID_HOLDS_US 60000

struct slot {
	struct wsock s;
	bool open;
	int accepted;		/* the other end of a TCP connection; -1 */
	struct happening **wait;	/* where the end of its TIME_WAIT is to be noted; NULL: nobody will cut it short */
};

/* A child that goes its own way until it is reaped. */
struct kid {
	pid_t pid;		/* 0: none */
	uint32_t first;		/* no happening of its own is before this one */
};

struct member {
	struct work *work;
	const struct crowd *crowd;
	unsigned number;
	uint64_t random;
	struct wsock server[2][2];	/* by family, two of each */
	struct slot slot[SLOTS];
	struct kid kid[KIDS];
	pid_t last_pid;		/* of a child that has been reaped */
	unsigned born;
	/* Of those of do_two_ways(), by family, port and destination: the end of a TIME_WAIT that another may take over. */
	struct happening *wait[2][8][2];
	int64_t until;
};

static uint32_t draw(struct member *m, uint32_t below)
{
	m->random = m->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(m->random >> 33) % below;
}

/* ---- children ---- */

pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&pid, .set_tid_size = 1,
	};
	long got = syscall(SYS_clone3, &args, sizeof(args));

	return got < 0 ? -errno : (pid_t)got;
}

/* What the child did until it died is over now. */
static void settle(struct truth *truth, const struct kid *kid)
{
	int64_t now = now_ns();

	for (uint32_t i = kid->first; i < truth->happenings; i++) {
		if (truth->happening[i].actor == kid->pid && !truth->happening[i].t1)
			truth->happening[i].t1 = now;
	}
}

static void reap_kid(struct member *m, struct kid *kid, int flags)
{
	int status;

	if (!kid->pid || waitpid(kid->pid, &status, flags) != kid->pid)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	settle(m->work->truth, kid);
	m->last_pid = kid->pid;
	kid->pid = 0;
}

static struct kid *free_kid(struct member *m)
{
	struct kid *free = NULL;

	for (int i = 0; i < KIDS; i++) {
		reap_kid(m, &m->kid[i], WNOHANG);
		if (!m->kid[i].pid)
			free = &m->kid[i];
	}
	return free;
}

/* A copy of a descriptor above those that give_up() closes. */
static int keep(int fd)
{
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, KEPT_FD);

	if (kept < 0)
		work_die("F_DUPFD");
	return kept;
}

/*
 * In a new child: gives up every descriptor but those, and lets the parent go on. Else a socket that the parent closes
 * meanwhile would live on here.
 */
static void give_up(int pipe_end, int *const *kept)
{
	for (; *kept; kept++)
		**kept = keep(**kept);
	pipe_end = keep(pipe_end);
	if (syscall(SYS_close_range, 3, KEPT_FD - 1, 0) < 0 || write(pipe_end, "c", 1) != 1)
		work_die("close_range");
	close(pipe_end);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

#define KEEP(...) ((int *const[]){ __VA_ARGS__, NULL })

/* A child of that pid (0: any) with nothing open but what is kept. As fork(). */
static pid_t spawn(struct member *m, struct kid *kid, pid_t pid, int *const *kept)
{
	int ends[2];
	char c;

	if (pipe2(ends, O_CLOEXEC) < 0)
		work_die("pipe");
	kid->first = m->work->truth->happenings;
	kid->pid = pid ? fork_as(pid) : fork();
	if (kid->pid == 0) {
		give_up(ends[1], kept);
		return 0;
	}
	close(ends[1]);
	if (kid->pid > 0 && read(ends[0], &c, 1) != 1)
		work_die("a child has not begun");
	close(ends[0]);
	if (kid->pid > 0)
		return kid->pid;
	kid->pid = 0;
	return -1;
}

static void linger(struct member *m)
{
	usleep(draw(m, KID_HOLDS_US));
}

/* ---- operations ---- */

static void do_open(struct member *m, struct slot *slot)
{
	slot->s = ws_open_as(m->work, (enum fam)draw(m, 2), draw(m, 2) ? IPPROTO_TCP : IPPROTO_UDP);
	slot->open = true;
	slot->accepted = -1;
	slot->wait = NULL;
}

static bool is_idle(const struct slot *slot)
{
	return slot->s.life < 0 && !slot->s.connected && !slot->s.listening;
}

static void do_bind0(struct member *m, struct slot *slot)
{
	(void)m;
	if (is_idle(slot))
		ws_bind(&slot->s, 0);
}

/* Another socket, or a TIME_WAIT, may have it. */
static void do_bind_fixed(struct member *m, struct slot *slot)
{
	if (is_idle(slot))
		ws_try_bind(&slot->s, draw(m, 2) ? AT_LOOP : AT_ANY, (uint16_t)(FIXED + 40 * m->number + draw(m, 40)));
}

static void do_bind_group(struct member *m, struct slot *slot)
{
	if (!is_idle(slot))
		return;
	ws_option(&slot->s, SOL_SOCKET, SO_REUSEPORT, 1);
	if (ws_try_bind(&slot->s, AT_LOOP, (uint16_t)(GROUPS + draw(m, GROUP_COUNT))))
		return;
	if (is_tcp(slot->s.proto) && draw(m, 2))
		ws_listen(&slot->s);
}

static void do_listen(struct member *m, struct slot *slot)
{
	(void)m;
	/* Those of do_two_ways() would stand in each other's way. */
	if (is_tcp(slot->s.proto) && !slot->s.connected && !slot->s.listening && ws_port(&slot->s) / 1000 != TWO_WAYS / 1000)
		ws_listen(&slot->s);
}

static void join(struct member *m, struct slot *slot, int which)
{
	const struct wsock *server = &m->server[slot->s.fam][which];

	if (ws_connect(&slot->s, ws_port(server)) == 0)
		slot->accepted = ws_accept(server);
}

static void do_connect(struct member *m, struct slot *slot)
{
	if (!is_tcp(slot->s.proto))
		ws_connect_ok(&slot->s, SOMEWHERE);
	else if (is_idle(slot))
		join(m, slot, 0);
}

static void do_refused(struct member *m, struct slot *slot)
{
	(void)m;
	if (is_tcp(slot->s.proto) && is_idle(slot))
		ws_connect(&slot->s, NOBODY_LISTENS);
}

static void do_send(struct member *m, struct slot *slot)
{
	(void)m;
	if (!is_tcp(slot->s.proto))
		ws_send(&slot->s, SOMEWHERE);
}

static void close_first(struct slot *slot)
{
	struct happening *end = ws_close_waits(&slot->s);

	if (slot->wait)
		*slot->wait = end;
	close(slot->accepted);
}

static void do_close(struct member *m, struct slot *slot)
{
	unsigned way = draw(m, 4);

	slot->open = false;
	if (slot->accepted < 0) {
		ws_close(&slot->s);
	} else if (way == 0) {
		close_first(slot);
	} else if (way == 1) {
		ws_close_resets(&slot->s);
		close(slot->accepted);
	} else {
		ws_finish(&slot->s, slot->accepted);
	}
}

static struct slot *closed_slot(struct member *m)
{
	for (int i = 0; i < SLOTS; i++) {
		if (!m->slot[i].open)
			return &m->slot[i];
	}
	return NULL;
}

/* A socket that was bound before it connects takes over the TIME_WAIT of the same two ends (__inet_check_established()). */
static void take_over(struct happening **wait, int64_t t0)
{
	struct happening *end = *wait;

	if (!end)
		return;
	end->t0 = t0;
	end->t1 = now_ns();
	end->cause = CAUSE_REUSE;
	end->optional = end->late = false;
	*wait = NULL;
}

static void bind_shared(struct member *m, struct slot *slot, enum fam fam, unsigned which_port, int which)
{
	uint16_t port = (uint16_t)(TWO_WAYS + 8 * m->number + which_port);
	int64_t t0;

	slot->s = ws_open_as(m->work, fam, IPPROTO_TCP);
	slot->open = true;
	slot->accepted = -1;
	slot->wait = &m->wait[fam][which_port][which];
	ws_option(&slot->s, SOL_SOCKET, SO_REUSEADDR, 1);
	if (ws_try_bind(&slot->s, AT_LOOP, port))
		return;
	t0 = now_ns();
	join(m, slot, which);
	if (slot->s.connected)
		take_over(slot->wait, t0);
}

/* One local port, two sockets, two destinations. */
static void do_two_ways(struct member *m, struct slot *slot)
{
	enum fam fam = (enum fam)draw(m, 2);
	unsigned port = draw(m, 8);
	struct slot *other;

	do_close(m, slot);
	bind_shared(m, slot, fam, port, 0);
	other = closed_slot(m);
	if (other)
		bind_shared(m, other, fam, port, 1);
}

/* The parent has closed its own by then. */
static void __attribute__((noreturn)) hold_and_close(struct member *m, struct wsock *s, int way)
{
	char c;

	if (read(way, &c, 1) != 0)
		work_die("read");
	linger(m);
	ws_close(s);
	_exit(0);
}

/* A child has the descriptor, by fork() or by a message, and closes it last. */
static void hand_over(struct member *m, struct slot *slot, bool pass)
{
	struct kid *kid = free_kid(m);
	int pair[2];
	pid_t pid;

	if (!kid || slot->accepted >= 0 || slot->s.life < 0)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		work_die("socketpair");
	pid = spawn(m, kid, 0, pass ? KEEP(&pair[1]) : KEEP(&pair[1], &slot->s.fd));
	if (pid < 0)
		work_die("fork");
	if (pid == 0) {
		work_name("crowd-heir");
		if (pass)
			ws_take(pair[1], &slot->s);
		hold_and_close(m, &slot->s, pair[1]);
	}
	if (pass)
		ws_pass(pair[0], &slot->s);
	ws_drop(&slot->s);
	slot->open = false;
	close(pair[0]);
	close(pair[1]);
}

static void do_inherit(struct member *m, struct slot *slot)
{
	hand_over(m, slot, false);
}

static void do_pass(struct member *m, struct slot *slot)
{
	hand_over(m, slot, true);
}

/* Two sockets of a child's own, of which it closes one and dies with the other. */
static void live_and_die(struct member *m)
{
	struct wsock tcp = ws_open_as(m->work, (enum fam)draw(m, 2), IPPROTO_TCP);
	struct wsock udp = ws_open_as(m->work, (enum fam)draw(m, 2), IPPROTO_UDP);
	uint16_t port = (uint16_t)(FIXED + 40 * m->number + draw(m, 40));

	if (ws_try_bind(&tcp, AT_LOOP, port) || draw(m, 2))
		ws_listen(&tcp);
	if (draw(m, 2))
		ws_send(&udp, SOMEWHERE);
	else
		ws_bind(&udp, 0);
	linger(m);
	ws_close(&udp);
	linger(m);
	ws_doomed(&tcp);
	if (draw(m, 2))
		kill(getpid(), SIGKILL);
	_exit(0);
}

/* Where it can be, the child has the pid of one before it. */
static void do_die(struct member *m, struct slot *slot)
{
	struct kid *kid = free_kid(m);
	char name[16];
	pid_t pid;

	(void)slot;
	if (!kid)
		return;
	m->born++;
	pid = spawn(m, kid, m->last_pid, KEEP(NULL));
	if (pid < 0)
		pid = spawn(m, kid, 0, KEEP(NULL));
	if (pid == 0) {
		m->random += m->born;
		snprintf(name, sizeof(name), "life-%u-%u", m->number, m->born);
		work_name(name);
		live_and_die(m);
	}
}

static void (*const operations[])(struct member *m, struct slot *slot) = {
	do_bind0, do_bind0, do_bind_fixed, do_bind_fixed, do_bind_group, do_bind_group, do_listen, do_connect, do_connect,
	do_refused, do_send, do_send, do_close, do_close, do_close, do_close, do_close, do_two_ways, do_inherit, do_pass,
	do_die,
};

static void one_more(struct member *m)
{
	struct slot *slot = &m->slot[draw(m, SLOTS)];

	if (slot->open)
		operations[draw(m, COUNT_OF(operations))](m, slot);
	else
		do_open(m, slot);
	usleep(draw(m, 2 * m->crowd->pause_us));
}

static void begin_member(struct member *m)
{
	char name[16];

	snprintf(name, sizeof(name), "crowd-%u", m->number);
	work_name(name);
	for (int fam = 0; fam < 2; fam++) {
		for (int i = 0; i < 2; i++) {
			m->server[fam][i] = ws_open_as(m->work, (enum fam)fam, IPPROTO_TCP);
			ws_bind(&m->server[fam][i], 0);
			ws_listen(&m->server[fam][i]);
		}
	}
}

struct berth {
	const struct crowd *crowd;
	unsigned number;
	int done, leave;	/* pipes: to say that it is done, to wait for the end */
};

static void member_body(struct work *w, void *arg)
{
	static struct member m;
	const struct berth *berth = arg;
	char c;

	m = (struct member){ .work = w, .crowd = berth->crowd, .number = berth->number,
			     .random = berth->crowd->seed * 31 + berth->number, .until = now_ns() + berth->crowd->lasts };
	begin_member(&m);
	while (now_ns() < m.until)
		one_more(&m);
	for (int i = 0; i < SLOTS; i += 2) {
		if (m.slot[i].open)
			do_close(&m, &m.slot[i]);
	}
	for (int i = 0; i < KIDS; i++)
		reap_kid(&m, &m.kid[i], 0);
	if (write(berth->done, "d", 1) != 1 || read(berth->leave, &c, 1) != 0)
		work_die("pipe");
}

void crowd_work(struct work *w)
{
	pid_t pid[CROWD_PROCESSES];
	int done[2], leave[2];
	char c;

	work_sysctl(w, "net/ipv4/ip_local_port_range", EPHEMERAL);
	if (pipe2(done, O_CLOEXEC) < 0 || pipe2(leave, O_CLOEXEC) < 0)
		work_die("pipe");
	for (unsigned i = 0; i < CROWD_PROCESSES; i++) {
		struct berth berth = { .crowd = w->arg, .number = i, .done = done[1], .leave = leave[0] };

		pid[i] = fork();
		if (pid[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(leave[1]);
			member_body(w, &berth);
			_exit(0);
		}
	}
	close(done[1]);
	for (int i = 0; i < CROWD_PROCESSES; i++) {
		if (read(done[0], &c, 1) != 1)
			work_die("a process has ended early");
	}
	work_step(w);
	close(leave[1]);
	for (int i = 0; i < CROWD_PROCESSES; i++)
		work_reap(w, pid[i]);
}

/* ---- plain ones ---- */

void drip_work(struct work *w)
{
	const struct crowd *crowd = w->arg;
	struct wsock held[8];
	unsigned n = 0;

	for (int i = 0; i < 8; i++)
		held[i].life = -1;
	for (; !w->truth->stop; n++) {
		struct wsock *s = &held[n % 8];

		if (s->life >= 0)
			ws_close(s);
		*s = ws_open_as(w, (enum fam)(n & 1), n & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		if (n % 3 == 0 && n & 2)
			ws_send(s, SOMEWHERE);
		else
			ws_bind(s, 0);
		usleep(crowd->pause_us);
	}
	for (int i = 0; i < 8; i++) {
		if (held[i].life >= 0)
			ws_close(&held[i]);
	}
}

struct flood *flood_new(uint64_t count)
{
	struct flood *flood = mmap(NULL, sizeof(*flood), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (flood == MAP_FAILED)
		abort();
	flood->count = count;
	return flood;
}

void flood_free(struct flood **flood)
{
	if (*flood)
		munmap(*flood, sizeof(**flood));
	*flood = NULL;
}

void flood_work(struct work *w)
{
	struct flood *flood = w->arg;
	struct sockaddr_storage ss;
	socklen_t len = addr_make(&ss, FAM_V4, AT_LOOP, 0);

	while (!flood->stop && (!flood->count || flood->made < flood->count)) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0)
			work_die("bind");
		close(fd);
		flood->made++;
	}
}
