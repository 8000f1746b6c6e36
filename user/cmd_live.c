/* SPDX-License-Identifier: GPL-2.0 */
/* portwake live: the stream of events. */
#include "user/cmd.h"

#include <inttypes.h>

#include "user/log.h"
#include "user/output.h"
#include "user/sink_json.h"
#include "user/sink_text.h"

/* Lines in waiting for a slow reader: 18 MB at most, and 43,000 lifetimes of three lines. */
#define LINES_MAX 131072
#define PATIENCE_MS 3000

struct live {
	struct output *output;
	const struct options *options;
};

/* With --listeners: what never listened is not shown; with --denied: no lifetime is. */
static bool is_shown(const struct live *live, const struct change *change)
{
	if (live->options->denied && change->lifetime)
		return false;
	if (live->options->listeners && change->denied && !live->options->denied)
		return false;
	return !live->options->listeners || !change->lifetime || change->lifetime->listening ||
	       change->lifetime->listened;
}

static void on_change(void *arg, const struct change *change, int64_t offset)
{
	struct live *live = arg;

	if (is_shown(live, change))
		output_change(live->output, change, offset);
}

static int on_flush(void *arg)
{
	struct live *live = arg;

	return output_flush(live->output);
}

static int on_fd(void *arg)
{
	(void)arg;
	return STDOUT_FILENO;
}

static const struct sink_ops live_sink = { .change = on_change, .flush = on_flush, .fd = on_fd };

static bool interrupted(void *arg)
{
	(void)arg;
	return run_interrupted();
}

static int finish(struct live *live)
{
	int r = output_finish(live->output, PATIENCE_MS, interrupted, NULL);

	if (!r && output_lost(live->output))
		log_warn("%" PRIu64 " lines lost: the reader of stdout was too slow", output_lost(live->output));
	return r;
}

int cmd_live(const struct options *options)
{
	_cleanup_tracing_ struct tracing tracing = TRACING_INIT;
	_cleanup_output_ struct output *output = NULL;
	struct live live = { .options = options };
	struct output_options out = { .fd = STDOUT_FILENO, .max_lines = LINES_MAX };
	struct sink_text text = { .colour = isatty(STDOUT_FILENO) };
	struct run_result result;
	int r = tracing_set(&tracing, options);

	if (r)
		return r;
	text.annotations = tracing.annotations;
	out.format = options->json ? sink_json_format : sink_text_format;
	out.format_arg = options->json ? (void *)tracing.annotations : &text;
	out.identity = tracing.identity;
	r = output_new(&out, &output);
	if (r) {
		log_error("no memory");
		return STATUS_FAILED;
	}
	live.output = output;
	tracing.run.sink = (struct sink){ &live_sink, &live };
	r = run(&tracing.run, &result);
	if (!r)
		r = finish(&live);
	return tracing_report(options, &result, r);
}
