/* SPDX-License-Identifier: GPL-2.0 */
/* portwake probes: the ladder as this kernel climbs it. */
#include "user/cmd.h"

#include <string.h>
#include <sys/utsname.h>

#include "user/buf.h"
#include "user/json.h"
#include "user/log.h"

#define TEXT_MAX (1u << 20)

static void on_event(void *arg, const struct event *event)
{
	(void)arg;
	(void)event;
}

static void json_hook(const struct probe_hook *hook, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();

	js_str(&js, "event", "hook");
	js_str(&js, "hook", hook->name);
	js_str(&js, "watches", hook->watches);
	js_str(&js, "rung", hook->rung);
	js_bool(&js, "exact", !strcmp(hook->exact, "exact"));
	js_str(&js, "approximate", strcmp(hook->exact, "exact") ? hook->exact : NULL);
	js_str(&js, "cost", hook->cost);
	js_str(&js, "passed_over", hook->passed[0] ? hook->passed : NULL);
	(void)!js_line(&js, out);
}

static void text_hook(const struct probe_hook *hook, struct buf *out)
{
	buf_printf(out, "%-14s %-11s %s\n", hook->name, hook->rung ? hook->rung : "none", hook->watches);
	buf_printf(out, "  %-12s %s\n", "fidelity", hook->exact);
	buf_printf(out, "  %-12s %s\n", "paid for by", hook->cost);
	if (hook->passed[0])
		buf_printf(out, "  %-12s %s\n", "passed over", hook->passed);
}

static void json_kernel(const struct utsname *kernel, struct buf *out)
{
	_cleanup_js_ struct js js = js_object();

	js_str(&js, "event", "kernel");
	js_str(&js, "release", kernel->release);
	js_str(&js, "machine", kernel->machine);
	js_bool(&js, "btf", !access("/sys/kernel/btf/vmlinux", R_OK));
	js_bool(&js, "cgroup2", true);
	js_uint(&js, "uid", geteuid());
	(void)!js_line(&js, out);
}

static int print_hooks(const struct options *options, struct probe *probe)
{
	_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
	const struct probe_hook *hooks;
	size_t count = probe_hooks(probe, &hooks);
	struct utsname kernel;

	uname(&kernel);
	if (options->json)
		json_kernel(&kernel, &out);
	else
		buf_printf(&out, "kernel %s %s, BTF, cgroup v2, uid %u\n\n", kernel.release, kernel.machine, geteuid());
	for (size_t i = 0; i < count; i++)
		(options->json ? json_hook : text_hook)(&hooks[i], &out);
	return print_all(&out);
}

int cmd_probes(const struct options *options)
{
	_cleanup_tracing_ struct tracing tracing = TRACING_INIT;
	_cleanup_probe_ struct probe *probe = NULL;
	char why[512] = "";
	int r = tracing_set(&tracing, options);

	if (r)
		return r;
	r = probe_open(&tracing.run.probe, on_event, NULL, &probe, why, sizeof(why));
	if (r) {
		log_error("cannot trace here: %s", why);
		return STATUS_CANNOT;
	}
	return print_hooks(options, probe);
}
