/* SPDX-License-Identifier: GPL-2.0 */
/*
 * portwake, in the order data takes:
 *
 *	bpf/probe_fentry.h	the functions that take and give back ports: the best rung
 *	bpf/probe_kprobe.h	what of that a kprobe can see
 *	bpf/probe_cgroup.h	the base: the system calls: bind, connect, listen, send, close
 *	bpf/probe_tracepoint.h	what happens later: TCP's end, TIME_WAIT's, route look-ups
 *	bpf/probe_syscall.h	system calls that failed, where there is no better rung
 *	bpf/probe_iter.h	sockets open before; single objects looked at again
 *	bpf/record.h release.h	observe(): does this socket hold a port, may that be news? Is it given back?
 *	bpf/filter.h note.h	whose sockets are wanted; what one hook leaves for a later one
 *	bpf/look.h ring.h	a socket as a probe sees it; onto the ring, or counted
 *	bpf/denied.h		what a call asked for that was denied a port
 *	bpf/read.h maps.h flavors.h	kernel objects to values; every map; what BTF lacks
 *	bpf/event.h		the wire between the two sides
 *
 *	user/climb.c		the ladder (ladder.c) as far as this kernel (kernel.c) bears, proven (canary.c)
 *	user/probe.c		counters of loss, iterators
 *	user/ring.c		the ring, read many records at a time
 *	user/tracefs.c		tracepoints, where tracefs is not mounted too
 *	user/event.c		wire to checked struct
 *	user/snapshot.c		rows of every network namespace in view (netns.c)
 *	user/diag.c		sockets by sock_diag: what iterators do not tell
 *	user/run.c		the loop: ring and rows to tracker, timers, gaps, the traced command (child.c)
 *	user/merge.c		the snapshot into the stream; ends that no hook tells
 *	user/view.c		what the loop needs privilege for
 *	user/lifetime.c		the tracker: statements to lifetimes, kept in little memory (lives.c, index.c)
 *	user/denial.c		who holds what a call was denied (procfd.c: by descriptor), within a budget (budget.h)
 *	user/explain.c		why it was denied, and what would help
 *	user/identity.c		process to executable, cgroup (cgroup.c), container
 *	user/output.c		a bounded queue of lines to stdout
 *	user/sink_text.c sink_json.c line.c	a line as text, as JSON (json.c)
 *	user/detail.c		a denial's details as JSON
 *	user/stats.c hist.c	lifetimes added up (stats_past.c: of the history); histogram of times
 *	user/range.c		the range and the reservations of a network namespace
 *	user/annotate.c		what a port is known for: data/ports.tsv
 *	user/holders.c		who holds ports now, without a tracer
 *	user/question.c		questions about ports
 *	user/who.c past.c about.c	the answers: about now, about the past, and what both say
 *	user/recall.c		what a history knows of those who hold ports now
 *	user/pool.c		what is held of the range, and what is left
 *	user/audit.c		fixed ports that the kernel may give to anybody
 *
 *	user/store.c store_queue.c	changes to rows; the thread that writes them to an SQLite database:
 *	user/scope.c		what they are restricted to
 *	user/store_person.c	processes, told once
 *	user/store_write.c store_put.c store_held.c	a batch; its rows to tables; those that last
 *	user/store_dict.c store_row.h	what rows share by number; a row
 *	user/store_keep.c store_file.c schema.h sql.h	retention; the file, and its tables (data/schema.sql)
 *	user/history.c history_db.c	what was recorded, read back;
 *	user/history_blind.c history_clock.c	what it cannot speak for; the wall clock as it stood
 *	user/dbfile.c		its files, for whoever may not make them
 *	user/broker.c		what a recorder asks of the process that kept some privilege (broker_serve.c, broker_wire.h)
 *	user/privilege.c	giving it up; notify.c: words to a service manager
 *
 *	user/cmd_live.c cmd_record.c cmd_stats.c cmd_who.c cmd_pool.c cmd_audit.c cmd_probes.c	the commands
 *	user/cmd.c		what they share
 *	user/options.c cli.c	options and commands as tables
 *	user/base.h mem.c map.c buf.c escape.c num.c clock.c log.c	the ground
 */
#include <fcntl.h>
#include <stdbool.h>

#include "user/base.h"
#include "user/cli.h"
#include "user/log.h"

/* Descriptors 0 to 2 must be taken, or the next file opened would be written to as stdout. */
static int guard_standard_files(void)
{
	bool stdout_open = fcntl(STDOUT_FILENO, F_GETFD) >= 0;
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
	return stdout_open ? 0 : -EBADF;
}

int main(int argc, char **argv)
{
	if (guard_standard_files()) {
		log_error("stdout is closed: there is nowhere to write to");
		return 1;
	}
	return cli(argc, argv);
}
