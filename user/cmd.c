/* SPDX-License-Identifier: GPL-2.0 */
/* What commands share: the ground that tracing stands on and its last words; a look at who holds ports now. */
#include "user/cmd.h"

#include <inttypes.h>
#include <string.h>

#include "user/cgroup.h"
#include "user/clock.h"
#include "user/log.h"
#include "user/mem.h"
#include "user/netns.h"

int tracing_annotate(struct tracing *tracing, const struct options *options)
{
	struct annotate_error error;
	int r;

	if (tracing->annotations)
		return STATUS_DONE;
	r = annotate_new(&tracing->annotations);
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
	int status = tracing_annotate(tracing, options);

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

/* ---- a look without a tracer ---- */

static int add_netns(void *arg, uint32_t inode)
{
	struct scene *scene = arg;
	struct scene_netns *netns = pw_reallocarray(scene->netns, scene->count + 1, sizeof(*netns));
	int r;

	if (!netns)
		return -ENOMEM;
	scene->netns = netns;
	netns += scene->count++;
	*netns = (struct scene_netns){ .netns = inode };
	r = range_read(&netns->range);
	if (r && r != -ENOMEM)
		log_warn("the ephemeral range of netns %u, in /proc/sys/net/ipv4, cannot be read: %s", inode,
			 strerror(-r));
	return r == -ENOMEM ? r : 0;
}

static int compare_netns(const void *left, const void *right)
{
	const struct scene_netns *a = left, *b = right;

	return a->netns < b->netns ? -1 : a->netns > b->netns;
}

/* Both are in the order of the inodes. Of a namespace that only a descriptor keeps, sockets are seen, no settings. */
static void hand_out(struct scene *scene)
{
	const struct holders *h = &scene->holders;
	size_t row = 0;

	for (size_t i = 0; i < scene->count; i++) {
		struct scene_netns *netns = &scene->netns[i];

		for (; row < h->count && h->rows[row].netns < netns->netns; row++)
			scene->strays++;
		netns->rows = h->rows + row;
		for (; row < h->count && h->rows[row].netns == netns->netns; row++)
			netns->count++;
	}
	scene->strays += h->count - row;
}

void scene_warn(const struct scene *scene)
{
	if (scene->strays)
		log_warn("%zu sockets are in network namespaces that no path leads to: not counted", scene->strays);
}

bool scene_known(const struct scene *scene)
{
	for (size_t i = 0; i < scene->count; i++)
		if (!scene->netns[i].range.known)
			return false;
	return true;
}

/* --netns by number takes any: one that nothing leads to would be answered by silence. */
static int check_netns(const struct scene *scene, const struct pw_settings *settings)
{
	for (uint32_t i = 0; i < settings->netns_count; i++) {
		struct scene_netns wanted = { .netns = settings->netns[i] };

		if (scene->count && bsearch(&wanted, scene->netns, scene->count, sizeof(wanted), compare_netns))
			continue;
		log_error("--netns: no process is in network namespace %u and it is mounted nowhere: give one of "
			  "`lsns -t net`", wanted.netns);
		return STATUS_USAGE;
	}
	return STATUS_DONE;
}

int scene_take(struct scene *scene, const struct tracing *tracing)
{
	const struct probe_options *probe = &tracing->run.probe;
	char why[512] = "";
	int r;

	*scene = SCENE_INIT;
	scene->time = now_boottime();
	r = holders_take(&scene->holders, probe, tracing->identity, why, sizeof(why));
	if (r) {
		log_error("cannot look here: %s", why);
		return STATUS_CANNOT;
	}
	r = netns_walk(probe->settings.netns, probe->settings.netns_count, add_netns, scene);
	if (r) {
		log_error("network namespaces cannot be walked: %s", strerror(-r));
		return STATUS_FAILED;
	}
	if (scene->count)
		qsort(scene->netns, scene->count, sizeof(*scene->netns), compare_netns);
	hand_out(scene);
	return check_netns(scene, &probe->settings);
}

void scene_done(struct scene *scene)
{
	holders_done(&scene->holders);
	pw_free(scene->netns);
	*scene = SCENE_INIT;
}

int print_all(const struct buf *out)
{
	int r = buf_error(out);

	/* Without stdio, which would try again at the end what a signal cut short. */
	for (size_t at = 0; !r && at < out->len;) {
		ssize_t done = write(STDOUT_FILENO, out->data + at, out->len - at);

		if (done < 0)
			r = -errno;
		else
			at += (size_t)done;
	}
	if (!r || r == -EINTR)
		return STATUS_DONE;
	log_error("stdout: %s", strerror(-r));
	return STATUS_FAILED;
}
