/* SPDX-License-Identifier: GPL-2.0 */
/* Ring to tracker to sink, and what a timer does beside it. */
#include "user/run.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "user/clock.h"
#include "user/denial.h"
#include "user/lifetime.h"
#include "user/log.h"
#include "user/mem.h"
#include "user/netns.h"
#include "user/snapshot.h"

#define TICK_NS 50000000ULL		/* what is below the ring's wake-up mark is fetched so often */
#define LOSS_TICKS 4			/* the counters of loss are read every so many ticks, */
#define LOOK_TICKS 20			/* the objects without a hook of their own are looked at every so many, */
#define LOOK_ALL_TICKS 1200		/* and all of them */
#define CONSUME_BATCHES 32
#define COMMAND_WAITS 100		/* of 20 ms each, between telling the command to end and making it */
#define SETTLE_NS 2000000
#define FLUSH_CHANGES 1024		/* changes after which the sink is flushed, within a batch too */
#define REST_FACTOR 5			/* after a snapshot, none for so many times its own length */
#define GAP_MAX_NS 1000000000ULL	/* a loss that goes on is told in pieces of this length */
#define TW_LENGTH_NS 58000000000ULL	/* TCP_TIMEWAIT_LEN, less what a timer may be early */

/* Events kept while the snapshot is read; it says what was before them. */
struct early {
	struct event *events;
	size_t count, size;
	int error;
};

struct run {
	const struct run_options *options;
	struct run_result *result;
	struct probe_options filter;	/* the options' own, and the command's descent */
	struct probe *probe;
	struct tracker *tracker;
	struct denials *denials;
	struct early *early;		/* not NULL: gather, do not feed */
	int epoll, timer, signals;
	int64_t offset;			/* clock_offset() */
	uint64_t ready_at;
	uint64_t ticks;
	struct probe_loss loss;		/* totals as last read */
	uint64_t denied;		/* of the changes, those that are no change of the tracker */
	uint64_t no_memory, no_memory_told;
	uint64_t clean_at;		/* when the counters last stood still */
	struct gap gap;			/* being gathered; lost 0: none */
	sigset_t inherited;		/* the mask that the command gets back */
	pid_t command;
	int command_gate;		/* the command begins when this pipe closes */
	uint64_t snapshot_ns;		/* how long the last snapshot took, */
	uint64_t gap_closed;		/* and when the one after the last gap was done */
	size_t unflushed;		/* changes since the sink was flushed */
	int broken;			/* what flushing in between returned; 0: nothing */
	bool stop;
	bool blocked;			/* the sink waits for its descriptor */
};

/* ---- tracker's way out ---- */

static int watch(struct run *run, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Waits for the sink's descriptor only while that has something to take. */
static int flush(struct run *run)
{
	const struct sink *sink = &run->options->sink;
	int r = sink->ops->flush ? sink->ops->flush(sink->arg) : 0;
	int fd = sink->ops->fd ? sink->ops->fd(sink->arg) : -1;
	bool blocked = r == -EAGAIN && fd >= 0;

	run->unflushed = 0;
	if (blocked != run->blocked) {
		run->blocked = blocked;
		if (blocked)
			watch(run, fd, EPOLLOUT);
		else
			epoll_ctl(run->epoll, EPOLL_CTL_DEL, fd, NULL);
	}
	return r == -EAGAIN ? 0 : r;
}

static void on_change(void *arg, const struct change *change)
{
	struct run *run = arg;

	run->result->events++;
	run->options->sink.ops->change(run->options->sink.arg, change, run->offset);
	/* A burst must not look like a slow reader. */
	if (++run->unflushed >= FLUSH_CHANGES && !run->broken)
		run->broken = flush(run);
}

static struct process *on_owner(void *arg, const struct event *event)
{
	struct run *run = arg;

	return identity_owner(run->options->identity, event);
}

static void on_put(void *arg, struct process *process)
{
	struct run *run = arg;

	identity_put(run->options->identity, process);
}

static const struct tracker_ops tracker_ops = { .emit = on_change, .owner = on_owner, .put = on_put };

/* ---- ring's way in ---- */

/* A call that was denied changes no lifetime: it is told at once, with those that there are. */
static void tell_denied(struct run *run, const struct event *event)
{
	struct change change = { .what = WHAT_DENIED, .exact = true, .time = event->time, .denied = event };

	change.denied_owner = on_owner(run, event);
	change.explanation = denials_explain(run->denials, event, run->result->events - run->denied);
	run->denied++;
	on_change(run, &change);
	explanation_put(change.explanation);
	on_put(run, change.denied_owner);
}

static void feed(struct run *run, const struct event *event)
{
	if (event->kind == PW_DENIED)
		tell_denied(run, event);
	else if (tracker_feed(run->tracker, event))
		run->no_memory++;
}

static void keep_early(struct early *early, const struct event *event)
{
	if (early->count == early->size) {
		size_t size = early->size ? early->size * 2 : 4096;
		struct event *events = pw_reallocarray(early->events, size, sizeof(*events));

		if (!events) {
			early->error = -ENOMEM;
			return;
		}
		early->events = events;
		early->size = size;
	}
	early->events[early->count++] = *event;
}

static void on_event(void *arg, const struct event *event)
{
	struct run *run = arg;

	if (event->kind == PW_PROCESS)
		identity_learn(run->options->identity, event);
	else if (run->early)
		keep_early(run->early, event);
	else
		feed(run, event);
}

/* All that is there; of a ring that fills as fast as it is read, a good part. */
static int consume(struct run *run)
{
	int r = -EAGAIN;

	for (int i = 0; i < CONSUME_BATCHES && r == -EAGAIN && !run->broken; i++)
		r = probe_consume(run->probe);
	if (run->broken)
		return run->broken;
	return r < 0 && r != -EAGAIN ? r : 0;
}

/* ---- looks at what no hook tells ---- */

typedef bool (*choose_fn)(const struct lifetime *lifetime);

static bool choose_all(const struct lifetime *lifetime)
{
	return (lifetime->holds & HOLD_TW && lifetime->tw) || (lifetime->holds & HOLD_SOCK && lifetime->sk);
}

/* A TIME_WAIT that does not expire (reset, purged), a kernel socket's end, a datagram socket that only disconnects. */
static bool choose_hookless(const struct lifetime *lifetime)
{
	if (!choose_all(lifetime))
		return false;
	if (lifetime->holds & HOLD_TW || lifetime->flags & PW_F_KERNEL)
		return true;
	return lifetime->proto != IPPROTO_TCP && lifetime->remote.family && !(lifetime->flags & PW_F_LOCKED);
}

struct asked {
	uint64_t cookie;
	uint32_t generation;
	enum hold hold;
};

static void ask_one(struct run *run, const struct lifetime *l, enum hold hold, struct pw_look *look,
		    struct asked *asked)
{
	*asked = (struct asked){ l->cookie, l->generation, hold };
	*look = (struct pw_look){
		.sk = hold == HOLD_TW ? l->tw : l->sk, .cookie = l->cookie, .port = l->port, .proto = l->proto,
		.tw = hold == HOLD_TW,
	};
	if (hold == HOLD_TW)
		tracker_net(run->tracker, l->netns, look);
}

/* Both holds of a lifetime that has two. */
static size_t ask(struct run *run, choose_fn choose, struct pw_look *looks, struct asked *asked)
{
	size_t count = 0;

	for (struct lifetime *l = tracker_first(run->tracker); l; l = l->all_next) {
		if (!choose(l))
			continue;
		if (l->holds & HOLD_TW && l->tw) {
			ask_one(run, l, HOLD_TW, &looks[count], &asked[count]);
			count++;
		}
		if (l->holds & HOLD_SOCK && l->sk) {
			ask_one(run, l, HOLD_SOCK, &looks[count], &asked[count]);
			count++;
		}
	}
	return count;
}

static enum cause cause_of_look(const struct lifetime *l, enum hold hold, bool after_loss, uint64_t now)
{
	if (after_loss)
		return CAUSE_UNKNOWN;
	if (hold == HOLD_TW)
		return l->tw_at && now - l->tw_at >= TW_LENGTH_NS ? CAUSE_TIME_WAIT : CAUSE_UNKNOWN;
	if (l->flags & PW_F_KERNEL)
		return CAUSE_CLOSE;
	return choose_hookless(l) ? CAUSE_DISCONNECT : CAUSE_UNKNOWN;
}

static void settle_looks(struct run *run, const struct pw_look *looks, const struct asked *asked, size_t count,
			 bool after_loss)
{
	uint64_t now = now_boottime();

	for (size_t i = 0; i < count; i++) {
		struct lifetime *l;
		enum cause cause;

		if (looks[i].held)
			continue;
		l = tracker_find(run->tracker, asked[i].cookie, asked[i].generation);
		if (!l)
			continue;
		cause = cause_of_look(l, asked[i].hold, after_loss, now);
		if (cause == CAUSE_UNKNOWN && looks[i].netns_gone)
			cause = CAUSE_NETNS;
		tracker_lost(run->tracker, l, asked[i].hold, cause, now);
	}
}

static bool any_gone(struct run *run, const struct pw_look *looks, const struct asked *asked, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!looks[i].held && tracker_find(run->tracker, asked[i].cookie, asked[i].generation))
			return true;
	return false;
}

/* Asks the kernel; then takes in what it said meanwhile; what still seems held is settled by the answers. */
static int look(struct run *run, choose_fn choose, bool after_loss)
{
	size_t room = 2 * tracker_count(run->tracker) + 1, count;
	_cleanup_free_ struct pw_look *looks = calloc(room, sizeof(*looks));
	_cleanup_free_ struct asked *asked = calloc(room, sizeof(*asked));
	int r;

	if (!looks || !asked)
		return -ENOMEM;
	count = ask(run, choose, looks, asked);
	r = count ? probe_look(run->probe, looks, count) : 0;
	if (!r && count)
		r = consume(run);
	/* What ended just then may wait behind a record that another CPU is still writing. */
	if (!r && any_gone(run, looks, asked, count)) {
		nanosleep(&(struct timespec){ .tv_nsec = SETTLE_NS }, NULL);
		r = consume(run);
	}
	if (!r)
		settle_looks(run, looks, asked, count, after_loss);
	return r;
}

/* ---- snapshot and merge ---- */

static int compare_early(const void *left, const void *right)
{
	const struct event *a = *(const struct event *const *)left, *b = *(const struct event *const *)right;

	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

/*
 * Did the live stream tell of this row's port before the row? A send tells of
 * any unconnected socket, old ones too: then the row is the better witness.
 */
static const struct event *const *first_early(const struct event *const *sorted, size_t count,
					      const struct event *row)
{
	const struct event *const *found = bsearch(&row, sorted, count, sizeof(*sorted), compare_early);

	while (found && found > sorted && found[-1]->cookie == row->cookie)
		found--;
	return found;
}

static bool told_before(const struct event *const *sorted, size_t count, const struct event *row)
{
	const struct event *const *found = first_early(sorted, count, row);

	for (; found && found < sorted + count && (*found)->cookie == row->cookie; found++)
		if ((*found)->kind == PW_SOCK && (*found)->port == row->port && (*found)->how != PW_HOW_SEND &&
		    !((*found)->flags & (PW_F_UPDATE | PW_F_LATE)) && (*found)->time < row->time)
			return true;
	return false;
}

/* Did it end while the snapshot was read? Then the live stream tells the rest. */
static bool ends_early(const struct event *const *sorted, size_t count, const struct event *row)
{
	const struct event *const *found = first_early(sorted, count, row);

	for (; found && found < sorted + count && (*found)->cookie == row->cookie; found++)
		if ((*found)->kind != PW_SOCK && (*found)->kind != PW_DENIED && (*found)->time > row->time)
			return true;
	return false;
}

/* Rows of sockets not known yet are looked at once more: one may have been read while its release was under way. */
static int still_there(struct run *run, const struct snapshot *s, struct pw_look *looks)
{
	for (size_t i = 0; i < s->count; i++)
		looks[i] = (struct pw_look){
			.sk = s->rows[i].sk, .cookie = s->rows[i].cookie, .port = s->rows[i].port,
			.proto = s->rows[i].proto, .tw = s->rows[i].state == STATE_TIME_WAIT,
		};
	return probe_look(run->probe, looks, s->count);
}

static bool is_news(struct run *run, const struct event *row, bool held, const struct event *const *sorted,
		    size_t count)
{
	bool known = tracker_knows(run->tracker, row->cookie);
	bool by_owner = probe_by_owner(&run->filter.settings);

	/* Accepted, perhaps: it may be shown as there at the start, and is never an allocation. */
	if (!known && snapshot_doubtful(row) && (run->ready_at || by_owner))
		return false;
	if (!known && !held && row->sk && !ends_early(sorted, count, row))
		return false;
	return !told_before(sorted, count, row);
}

static int merge(struct run *run, const struct snapshot *s, const struct early *early)
{
	_cleanup_free_ struct pw_look *looks = calloc(s->count + 1, sizeof(*looks));
	_cleanup_free_ const struct event **sorted = calloc(early->count + 1, sizeof(*sorted));
	int r;

	if (!looks || !sorted)
		return -ENOMEM;
	for (size_t i = 0; i < early->count; i++)
		sorted[i] = &early->events[i];
	if (early->count)
		qsort(sorted, early->count, sizeof(*sorted), compare_early);
	r = still_there(run, s, looks);
	if (r)
		return r;
	for (size_t i = 0; i < s->count; i++)
		if (is_news(run, &s->rows[i], looks[i].held, sorted, early->count))
			feed(run, &s->rows[i]);
	for (size_t i = 0; i < early->count; i++)
		feed(run, &early->events[i]);
	return 0;
}

static int pump(void *arg)
{
	return consume(arg);
}

static int take_snapshot(struct run *run)
{
	uint64_t began = now_boottime();
	_cleanup_snapshot_ struct snapshot snapshot = SNAPSHOT_INIT;
	struct early early = { 0 };
	int r;

	run->early = &early;
	r = snapshot_take(&snapshot, run->probe, &run->filter, pump, run);
	if (!r)
		r = consume(run);
	run->early = NULL;
	if (!r)
		r = early.error ? early.error : merge(run, &snapshot, &early);
	pw_free(early.events);
	run->snapshot_ns = now_boottime() - began;
	return r ? r : run->broken;
}

/* ---- loss ---- */

static void add_loss(struct run *run, uint64_t before, uint64_t now, const char *reason)
{
	if (now <= before)
		return;
	denials_doubt(run->denials);
	if (!run->gap.lost) {
		run->gap.since = run->clean_at;
		run->gap.reason = reason;
	}
	run->gap.lost += now - before;
	run->result->lost += now - before;
}

/* Reads the counters; true while they rise. */
static bool losses_rise(struct run *run, uint64_t now)
{
	struct probe_loss loss = run->loss;
	uint64_t before = run->gap.lost;

	if (probe_losses(run->probe, &loss))
		return false;
	add_loss(run, run->loss.ring, loss.ring, "ring");
	add_loss(run, run->loss.recursion, loss.recursion, "recursion");
	add_loss(run, run->loss.map, loss.map, "map");
	add_loss(run, run->loss.malformed, loss.malformed, "malformed");
	add_loss(run, run->no_memory_told, run->no_memory, "memory");
	run->gap.lost_allocations += loss.ring_allocations - run->loss.ring_allocations;
	run->loss = loss;
	run->no_memory_told = run->no_memory;
	if (run->gap.lost != before)
		return true;
	run->clean_at = now;
	return false;
}

/* Tells the gap, then looks at the world anew: what was released in it ends as unknown. */
static int close_gap(struct run *run, uint64_t now)
{
	struct gap gap = run->gap;
	struct change change = { .what = WHAT_GAP, .time = now, .gap = &gap, .exact = true };
	int r;

	gap.until = now;
	run->gap = (struct gap){ 0 };
	run->clean_at = now;
	on_change(run, &change);
	r = take_snapshot(run);
	return r ? r : look(run, choose_all, true);
}

static int watch_losses(struct run *run, bool ending)
{
	uint64_t now = now_boottime();
	bool rising = losses_rise(run, now);
	int r;

	if (!run->gap.lost)
		return 0;
	if (!ending && ((rising && now - run->gap.since < GAP_MAX_NS) || now - run->gap_closed < REST_FACTOR * run->snapshot_ns))
		return 0;
	r = close_gap(run, now);
	run->gap_closed = now_boottime();
	return r;
}

/* ---- the command ---- */

static int start_command(struct run *run)
{
	int gate[2];
	char go;

	if (pipe2(gate, O_CLOEXEC) < 0)
		return -errno;
	run->command = fork();
	if (run->command < 0)
		return -errno;
	if (!run->command) {
		sigprocmask(SIG_SETMASK, &run->inherited, NULL);
		signal(SIGPIPE, SIG_DFL);
		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(1);
		/* Our stdout is for data alone. */
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(run->options->command[0], run->options->command);
		log_error("%s: %s", run->options->command[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	close(gate[0]);
	run->command_gate = gate[1];
	return 0;
}

static void open_gate(struct run *run)
{
	if (run->command_gate >= 0 && write(run->command_gate, "", 1) != 1)
		log_warn("the command could not be started: %s", strerror(errno));
	close_fd(&run->command_gate);
}

/* We are the reaper of the command's orphans, so that descent can be seen: all that end come here. */
static void reap(struct run *run)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != run->command)
			continue;
		run->result->command_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		run->command = 0;
		run->stop = true;
	}
}

/* ---- the loop ---- */

static void on_signal(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD) {
			reap(run);
		} else if (run->command > 0 && !run->result->signalled) {
			/* The terminal has told the command already. */
			if (info.ssi_code != SI_KERNEL)
				kill(run->command, (int)info.ssi_signo);
			run->result->signalled = true;
		} else {
			run->stop = true;
		}
	}
}

static int on_tick(struct run *run)
{
	uint64_t expirations;
	int r;

	if (read(run->timer, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return -errno;
	run->ticks++;
	r = consume(run);
	if (!r && run->ticks % LOSS_TICKS == 0)
		r = watch_losses(run, false);
	if (!r && run->ticks % LOOK_TICKS == 0) {
		run->offset = clock_offset();
		r = run->ticks % LOOK_ALL_TICKS ? look(run, choose_hookless, false) : look(run, choose_all, false);
	}
	if (run->options->duration_ns && now_boottime() - run->ready_at >= run->options->duration_ns)
		run->stop = true;
	return r;
}

static int turn(struct run *run)
{
	struct epoll_event events[8];
	int count = epoll_wait(run->epoll, events, ARRAY_SIZE(events), -1);
	int r = 0;

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count && !r; i++) {
		if (events[i].data.fd == run->signals)
			on_signal(run);
		else if (events[i].data.fd == run->timer)
			r = on_tick(run);
		else if (events[i].data.fd == probe_fd(run->probe))
			r = consume(run);
	}
	return r ? r : flush(run);
}

static void tell_held(struct run *run)
{
	const struct sink *sink = &run->options->sink;
	uint64_t now = now_boottime();

	for (struct lifetime *l = tracker_first(run->tracker); sink->ops->held && l; l = l->all_next)
		sink->ops->held(sink->arg, l, now);
}

static int loop(struct run *run)
{
	int r = 0;

	while (!r && !run->stop)
		r = turn(run);
	run->result->elapsed_ns = now_boottime() - run->ready_at;
	if (!r)
		r = consume(run);
	if (!r)
		r = watch_losses(run, true);
	if (!r)
		tell_held(run);
	return r ? r : flush(run);
}

/* ---- beginning ---- */

static int open_descriptors(struct run *run)
{
	struct itimerspec every = { .it_interval = { .tv_nsec = TICK_NS }, .it_value = { .tv_nsec = TICK_NS } };
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &run->inherited);
	signal(SIGPIPE, SIG_IGN);
	/* Inherited as ignored, it would never tell that the command has ended. */
	signal(SIGCHLD, SIG_DFL);
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	run->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->epoll < 0 || run->timer < 0 || run->signals < 0 || timerfd_settime(run->timer, 0, &every, NULL) < 0)
		return -errno;
	r = watch(run, run->timer, EPOLLIN);
	return r ? r : watch(run, run->signals, EPOLLIN);
}

static int open_probe(struct run *run)
{
	int r;

	run->filter = run->options->probe;
	if (run->options->command) {
		run->filter.settings.descendants = true;
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		r = start_command(run);
		if (r)
			return r;
	}
	r = probe_open(&run->filter, on_event, run, &run->probe, run->result->why, sizeof(run->result->why));
	return r ? r : watch(run, probe_fd(run->probe), EPOLLIN | EPOLLET);
}

static void name_rungs(struct run *run)
{
	const struct probe_hook *hooks;
	size_t count = probe_hooks(run->probe, &hooks), used = 0, size = sizeof(run->result->rungs);

	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(run->result->rungs + used, size - used, "%s%s %s", i ? ", " : "",
					 hooks[i].name, hooks[i].rung ? hooks[i].rung : "none");
}

static int begin(struct run *run)
{
	struct change ready = { .what = WHAT_READY, .exact = true };
	int r = open_descriptors(run);

	if (!r)
		r = open_probe(run);
	if (r)
		return r;
	name_rungs(run);
	run->tracker = tracker_new(&tracker_ops, run);
	run->denials = denials_new(&(struct denials_options){
		.tracker = run->tracker, .probe = run->probe, .identity = run->options->identity,
		.filtered = probe_by_owner(&run->filter.settings) || run->filter.ports,
	});
	if (!run->tracker || !run->denials)
		return -ENOMEM;
	run->offset = clock_offset();
	run->clean_at = now_boottime();
	tracker_starting(run->tracker, true);
	r = take_snapshot(run);
	tracker_starting(run->tracker, false);
	/* What ended while some hooks were attached and others not yet. */
	if (!r)
		r = look(run, choose_all, true);
	if (r)
		return r;
	run->ready_at = ready.time = now_boottime();
	on_change(run, &ready);
	open_gate(run);
	return flush(run);
}

/* We end first: the command is told to, then made to, as timeout(1) does. */
static void end_command(struct run *run)
{
	struct timespec wait = { .tv_nsec = 20000000 };
	bool begun = run->command_gate < 0;

	for (int i = 0; run->command > 0; i++) {
		if (i == 0 || i == COMMAND_WAITS)
			kill(run->command, begun && i == 0 ? SIGTERM : SIGKILL);
		nanosleep(&wait, NULL);
		reap(run);
	}
}

static void end(struct run *run)
{
	end_command(run);
	close_fd(&run->command_gate);
	denials_free(&run->denials);
	tracker_free(&run->tracker);
	probe_free(&run->probe);
	close_fd(&run->epoll);
	close_fd(&run->timer);
	close_fd(&run->signals);
}

int run(const struct run_options *options, struct run_result *result)
{
	struct run run = {
		.options = options, .result = result, .epoll = -1, .timer = -1, .signals = -1, .command_gate = -1,
	};
	int r;

	*result = (struct run_result){ 0 };
	r = begin(&run);
	if (!r)
		r = loop(&run);
	if (r && !result->why[0])
		snprintf(result->why, sizeof(result->why), "%s", strerror(-r));
	end(&run);
	return r;
}

bool run_interrupted(void)
{
	struct timespec none = { 0 };
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	return sigtimedwait(&mask, NULL, &none) > 0;
}
