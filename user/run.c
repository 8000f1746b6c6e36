/* SPDX-License-Identifier: GPL-2.0 */
/* Ring to tracker to sink, and what a timer does beside it. */
#include "user/run.h"

#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "user/child.h"
#include "user/clock.h"
#include "user/denial.h"
#include "user/lifetime.h"
#include "user/log.h"
#include "user/merge.h"

#define TICK_NS 50000000ULL		/* what is below the ring's wake-up mark is fetched so often */
#define LOSS_TICKS 4			/* the counters of loss are read every so many ticks, */
#define LOSS_TRIES 50			/* at the end, where the answer takes long: 5 s */
#define SINK_TICKS 10			/* the sink is told so often that time passes */
#define LOOK_TICKS 20			/* the objects without a hook of their own are looked at every so many, */
#define LOOK_ALL_TICKS 1200		/* and all of them */
#define BATCH_BYTES 524288		/* of a ring, that one probe_consume() empties at least: 16384 of the smallest records */
#define MMAP_THRESHOLD 131072
#define COMMAND_WAITS 100		/* of 20 ms each, between telling the command to end and making it, and after */
#define FLUSH_CHANGES 1024		/* changes after which the sink is flushed, within a batch too */
#define REST_FACTOR 5			/* after a snapshot, none for so many times its own length */
#define GAP_MAX_NS 1000000000ULL	/* a loss that goes on is told in pieces of this length */

struct run {
	const struct run_options *options;
	struct run_result *result;
	struct probe_options filter;	/* the options' own, and the command's descent */
	struct probe *probe;
	struct tracker *tracker;
	struct denials *denials;
	struct view_direct direct;
	struct merge merge;		/* and through whose eyes it looks */
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
	struct child child;		/* the command */
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

static void feed(void *arg, const struct event *event)
{
	struct run *run = arg;

	if (event->kind == PW_DENIED)
		tell_denied(run, event);
	else if (tracker_feed(run->tracker, event))
		run->no_memory++;
}

static void on_event(void *arg, const struct event *event)
{
	struct run *run = arg;

	if (event->kind == PW_PROCESS)
		identity_learn(run->options->identity, event);
	else if (!merge_keep(&run->merge, event))
		feed(run, event);
}

/* All that is there; of a ring that fills as fast as it is read, a good part. */
static int consume(void *arg)
{
	struct run *run = arg;
	uint32_t size = run->filter.ring_size ? run->filter.ring_size : PROBE_RING_DEFAULT;
	int r = -EAGAIN;

	for (uint32_t i = 0; i < size / BATCH_BYTES + 16 && r == -EAGAIN && !run->broken; i++)
		r = probe_consume(run->probe);
	if (run->broken)
		return run->broken;
	return r < 0 && r != -EAGAIN ? r : 0;
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

/* Reads the counters: 1 while they rise, 0, or -errno: then what is known stands still. */
static int losses_rise(struct run *run, uint64_t now, bool ending)
{
	struct probe_loss loss = run->loss;
	uint64_t before = run->gap.lost;
	int r = -ETIMEDOUT;

	for (int i = 0; r == -ETIMEDOUT && i < (ending ? LOSS_TRIES : 1); i++)
		r = run->merge.view.ops->losses(run->merge.view.arg, &loss);
	if (r)
		return r;
	add_loss(run, run->loss.ring, loss.ring, "ring");
	add_loss(run, run->loss.recursion, loss.recursion, "recursion");
	add_loss(run, run->loss.map, loss.map, "map");
	add_loss(run, run->loss.malformed, loss.malformed, "malformed");
	add_loss(run, run->no_memory_told, run->no_memory, "memory");
	run->gap.lost_allocations += loss.ring_allocations - run->loss.ring_allocations;
	run->loss = loss;
	run->no_memory_told = run->no_memory;
	if (run->gap.lost != before)
		return 1;
	run->clean_at = now;
	return 0;
}

static int take_snapshot(struct run *run)
{
	uint64_t began = now_boottime();
	int r = merge_snapshot(&run->merge);

	run->snapshot_ns = now_boottime() - began;
	return r ? r : run->broken;
}

static void tell_gap(struct run *run, uint64_t now)
{
	struct gap gap = run->gap;
	struct change change = { .what = WHAT_GAP, .time = now, .gap = &gap, .exact = true };

	gap.until = now;
	run->gap = (struct gap){ 0 };
	run->clean_at = now;
	on_change(run, &change);
}

/* At the world, after a gap: what was released in it ends as unknown. */
static int look_anew(struct run *run)
{
	int r = take_snapshot(run);

	return r ? r : merge_look(&run->merge, MERGE_ALL, true);
}

static int watch_losses(struct run *run, bool ending)
{
	uint64_t now = now_boottime(), sure = run->clean_at;
	int rising = losses_rise(run, now, ending), r;

	if (!run->gap.lost || (rising < 0 && !ending))
		return 0;
	if (!ending && ((rising && now - run->gap.since < GAP_MAX_NS) || now - run->gap_closed < REST_FACTOR * run->snapshot_ns))
		return 0;
	tell_gap(run, now);
	/* Who does not even say how much was lost is not waited for. */
	r = rising < 0 ? rising : look_anew(run);
	if (rising < 0)
		run->clean_at = sure;
	run->gap_closed = now_boottime();
	return r;
}

/* ---- the command ---- */

static int signal_command(struct run *run, int sig)
{
	const struct view *view = &run->merge.view;

	if (view->ops && view->ops->signal)
		return view->ops->signal(view->arg, sig);
	return kill(run->child.pid, sig) < 0 ? -errno : 0;
}

/* We are the reaper of the command's orphans, so that descent can be seen: all that end come here. */
static void reap(struct run *run)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != run->child.pid)
			continue;
		run->result->command_status = child_status(status);
		run->child.pid = 0;
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
		} else if (info.ssi_signo == SIGHUP) {
			run->options->sink.ops->reload(run->options->sink.arg, tracker_first(run->tracker),
							 run->clean_at);
		} else if (run->child.pid > 0 && !run->result->signalled) {
			/* The terminal has told the command already. */
			if (info.ssi_code != SI_KERNEL)
				signal_command(run, (int)info.ssi_signo);
			run->result->signalled = true;
		} else {
			run->stop = true;
		}
	}
}

static void tick_sink(struct run *run)
{
	const struct sink *sink = &run->options->sink;

	if (sink->ops->tick)
		sink->ops->tick(sink->arg, tracker_first(run->tracker), now_boottime(), run->clean_at,
				run->offset);
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
	if (!r && run->ticks % SINK_TICKS == 0) {
		run->offset = clock_offset();
		tick_sink(run);
	}
	if (!r && run->ticks % LOOK_TICKS == 0)
		r = merge_look(&run->merge, run->ticks % LOOK_ALL_TICKS ? MERGE_HOOKLESS : MERGE_ALL, false);
	if (run->options->duration_ns && now_boottime() - run->ready_at >= run->options->duration_ns)
		run->stop = true;
	return r;
}

static int turn(struct run *run)
{
	const struct view *view = &run->merge.view;
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
		else if (view->ops->fd && events[i].data.fd == view->ops->fd(view->arg))
			r = view->ops->check(view->arg);
	}
	return r ? r : flush(run);
}

static void tell_end(struct run *run, uint64_t now, bool in_order)
{
	const struct sink *sink = &run->options->sink;

	for (struct lifetime *l = tracker_first(run->tracker); in_order && sink->ops->held && l; l = l->all_next)
		sink->ops->held(sink->arg, l, now);
	if (sink->ops->end)
		sink->ops->end(sink->arg, tracker_first(run->tracker), now);
}

static int loop(struct run *run)
{
	uint64_t end;
	int r = 0;

	while (!r && !run->stop)
		r = turn(run);
	end = now_boottime();
	run->result->elapsed_ns = end - run->ready_at;
	/* What the ring has is told, also when no more will come. */
	if (!r || r == -EOWNERDEAD || r == -ETIMEDOUT) {
		int rest = consume(run);

		r = r ? r : rest;
	}
	if (!r)
		r = watch_losses(run, true);
	/* What comes while the last of the ring is read may be missed; and what was lost since the counters were read. */
	tell_end(run, run->clean_at < end ? run->clean_at : end, !r);
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
	if (run->options->sink.ops->reload)
		sigaddset(&mask, SIGHUP);
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
		r = child_start(&run->child, run->options->command, &run->inherited);
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

/* From here on whoever traces may have less privilege than it took to begin. */
static int settle_in(struct run *run)
{
	const struct run_options *o = run->options;
	struct run_attached attached = { .probe = run->probe, .filter = &run->filter, .command = run->child.pid };
	int r = 0;

	run->direct = (struct view_direct){ run->probe, &run->filter };
	attached.view = view_of(&run->direct);
	if (o->attached)
		r = o->attached(o->arg, &attached, run->result->why, sizeof(run->result->why));
	run->merge = (struct merge){
		.view = attached.view, .by_owner = probe_by_owner(&run->filter.settings),
		.consume = consume, .feed = feed, .arg = run,
	};
	return r || !attached.view.ops->fd ? r : watch(run, attached.view.ops->fd(attached.view.arg), EPOLLIN);
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
	r = settle_in(run);
	if (r)
		return r;
	run->tracker = tracker_new(&tracker_ops, run);
	run->denials = denials_new(&(struct denials_options){
		.tracker = run->tracker, .view = run->merge.view, .identity = run->options->identity,
		.filtered = probe_by_owner(&run->filter.settings) || run->filter.ports,
	});
	if (!run->tracker || !run->denials)
		return -ENOMEM;
	run->merge.tracker = run->tracker;
	run->offset = clock_offset();
	run->clean_at = now_boottime();
	tracker_starting(run->tracker, true);
	r = take_snapshot(run);
	tracker_starting(run->tracker, false);
	/* What ended while some hooks were attached and others not yet. */
	if (!r)
		r = merge_look(&run->merge, MERGE_ALL, true);
	if (r)
		return r;
	run->ready_at = ready.time = now_boottime();
	run->merge.ready = true;
	on_change(run, &ready);
	r = child_go(&run->child);
	if (r)
		log_warn("the command could not be started: %s", strerror(-r));
	r = flush(run);
	malloc_trim(0);
	return r;
}

/* We end first: the command is told to, then made to, as timeout(1) does. Without whom signals go by, it cannot be. */
static void end_command(struct run *run)
{
	struct timespec wait = { .tv_nsec = 20000000 };
	bool begun = run->child.gate < 0;
	int failed = 0;

	/* One that has not begun ends by itself, once nobody has that pipe's end. */
	close_fd(&run->child.gate);
	for (int i = 0; run->child.pid > 0 && !failed && i < 2 * COMMAND_WAITS; i++) {
		if (i == 0 && begun)
			signal_command(run, SIGTERM);
		else if (i == 0 || i == COMMAND_WAITS)
			failed = signal_command(run, SIGKILL);
		nanosleep(&wait, NULL);
		reap(run);
	}
	if (run->child.pid > 0 && begun)
		log_warn("%s, process %d, could not be ended: it runs on", run->options->command[0], run->child.pid);
}

static void end(struct run *run)
{
	end_command(run);
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
		.options = options, .result = result, .epoll = -1, .timer = -1, .signals = -1, .child = CHILD_INIT,
	};
	int r;

	/* What is large and short-lived is given back at once: by itself the threshold would follow the largest. */
	mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
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
