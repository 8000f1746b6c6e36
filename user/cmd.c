/* SPDX-License-Identifier: GPL-2.0 */
/* What tracing commands share: the ground they stand on, and their last words. */
#include "user/cmd.h"

#include <inttypes.h>
#include <string.h>

#include "user/cgroup.h"
#include "user/log.h"

static int load_annotations(struct tracing *tracing, const struct options *options)
{
	struct annotate_error error;
	int r = annotate_new(&tracing->annotations);

	if (r) {
		log_error("no memory for the table of ports");
		return STATUS_FAILED;
	}
	r = annotate_load_dir(tracing->annotations, ANNOTATE_USER_DIR, &error);
	for (size_t i = 0; !r && i < options->file_count; i++)
		r = annotate_load_file(tracing->annotations, options->files[i], &error);
	if (!r)
		return STATUS_DONE;
	log_error("annotated ports: %s", error.text);
	return STATUS_USAGE;
}

static int find_cgroup(struct tracing *tracing, const struct options *options)
{
	uint64_t id;
	int r;

	tracing->cgroup_root = cgroup_open_root();
	if (tracing->cgroup_root < 0) {
		log_error("cgroup v2 cannot be reached: %s; %s", strerror(-tracing->cgroup_root),
			  geteuid() ? "run it as root, as in: sudo portwake"
				    : "the kernel needs CONFIG_CGROUPS and CONFIG_CGROUP_BPF, and root CAP_SYS_ADMIN");
		return STATUS_CANNOT;
	}
	if (!options->cgroup)
		return STATUS_DONE;
	r = cgroup_id(tracing->cgroup_root, options->cgroup, &id);
	if (!r) {
		tracing->run.probe.settings.cgroup = id;
		return STATUS_DONE;
	}
	log_error("--cgroup: there is no cgroup '%s': %s; give a path below the root, as in /proc/PID/cgroup behind 0::",
		  options->cgroup, strerror(-r));
	return STATUS_USAGE;
}

int tracing_set(struct tracing *tracing, const struct options *options)
{
	int status = load_annotations(tracing, options);

	tracing->run.probe.settings = options->settings;
	if (!status)
		status = find_cgroup(tracing, options);
	if (status)
		return status;
	tracing->identity = identity_new(tracing->cgroup_root);
	if (!tracing->identity) {
		log_error("no memory");
		return STATUS_FAILED;
	}
	tracing->run.probe.cgroup_root = tracing->cgroup_root;
	tracing->run.probe.ports = options->by_port ? &options->ports : NULL;
	tracing->run.probe.ring_size = options->ring_size;
	tracing->run.probe.rungs = options->rungs;
	tracing->run.probe.rung_count = options->rung_count;
	tracing->run.probe.no_denied = options->no_denied;
	tracing->run.identity = tracing->identity;
	tracing->run.duration_ns = options->duration_ns;
	tracing->run.command = options->command;
	return STATUS_DONE;
}

void tracing_clear(struct tracing *tracing)
{
	identity_free(&tracing->identity);
	annotate_free(&tracing->annotations);
	close_fd(&tracing->cgroup_root);
}

/* Where output was refused, the reader is the matter and not the tracer. */
static bool output_broke(int r)
{
	return r == -EPIPE || r == -ENOSPC || r == -EIO || r == -EBADF || r == -EFBIG || r == -EDQUOT;
}

int tracing_report(const struct options *options, const struct run_result *result, int r)
{
	if (output_broke(r)) {
		log_error("stdout: %s%s", strerror(-r),
			  r == -EPIPE ? ": its reader is gone" : r == -ENOSPC ? ": free some space there" : "");
		return STATUS_FAILED;
	}
	if (r && result->rungs[0]) {
		log_error("tracing ended: %s", result->why[0] ? result->why : strerror(-r));
		return STATUS_FAILED;
	}
	if (r) {
		log_error("cannot trace here: %s", result->why[0] ? result->why : strerror(-r));
		return STATUS_CANNOT;
	}
	log_note("%" PRIu64 " events in %.1f s, %" PRIu64 " lost; hooks: %s", result->events,
		 (double)result->elapsed_ns / 1e9, result->lost, result->rungs);
	return options->command ? result->command_status : STATUS_DONE;
}
