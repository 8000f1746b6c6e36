/* SPDX-License-Identifier: GPL-2.0 */
/* portwake audit: fixed ports that the kernel may give to anybody, and the sysctl that keeps them free. */
#include "user/cmd.h"

#include <inttypes.h>
#include <string.h>

#include "user/audit.h"
#include "user/clock.h"
#include "user/json.h"
#include "user/line.h"
#include "user/log.h"
#include "user/netns.h"

#define TEXT_MAX (64u << 20)
#define PATH_SIZE 2100
#define NOTES 3

/* What is to be said of one namespace. */
struct told {
	const struct scene_netns *netns;
	const struct audit *audit;
	const char *time;
	const char *fix;	/* a line to paste; NULL when nothing is at risk */
};

static const struct process *process_of(const struct holder *row)
{
	return row->process_count ? row->processes[0] : NULL;
}

/* In the namespace that we are in, plain; in another one, with the way into it. 0 or -errno. */
static int make_fix(const struct scene_netns *netns, const struct audit *audit, struct buf *fix)
{
	char path[PATH_SIZE];
	uint32_t own = 0;

	if ((netns_resolve("/proc/self/ns/net", &own) || own != netns->netns) &&
	    !netns_path(netns->netns, path, sizeof(path)))
		buf_printf(fix, "nsenter --net=%s ", path);
	buf_adds(fix, "sysctl -w net.ipv4.ip_local_reserved_ports=");
	return range_reserve(&netns->range, &audit->reserve, fix);
}

/* ---- JSON ---- */

static void json_holder(struct js *to, const char *key, const struct holder *row)
{
	_cleanup_js_ struct js js = js_object();
	const struct process *process;
	char text[ADDR_TEXT];

	if (!row) {
		js_null(to, key);
		return;
	}
	process = process_of(row);
	if (process)
		js_uint(&js, "pid", process->pid);
	else
		js_null(&js, "pid");
	js_str(&js, "comm", process ? process->comm : NULL);
	js_str(&js, "exe", process ? process->exe : NULL);
	js_str(&js, "container", process ? process->container : NULL);
	js_str(&js, "state", holder_state_name(row->state));
	js_str(&js, "addr", addr_text(&row->addr, text));
	js_str(&js, "remote_addr", row->remote.family ? addr_text(&row->remote, text) : NULL);
	if (row->remote.family)
		js_uint(&js, "remote_port", row->remote_port);
	else
		js_null(&js, "remote_port");
	js_add(to, key, &js);
}

static void json_annotation(struct js *to, const struct annotate_row *row)
{
	_cleanup_js_ struct js js = js_object();

	if (!row) {
		js_null(to, "annotation");
		return;
	}
	js_str(&js, "name", row->name);
	js_str(&js, "confidence", annotate_confidence_name(row->confidence));
	js_add(to, "annotation", &js);
}

static void json_port(struct js *to, const struct audit_port *port)
{
	_cleanup_js_ struct js js = js_object();

	js_str(&js, "proto", proto_name(port->proto));
	js_uint(&js, "port", port->port);
	js_str(&js, "kind", audit_kind_name(port->kind));
	js_bool(&js, "at_risk", port->kind != AUDIT_PASSER_BY);
	json_annotation(&js, port->annotation);
	js_uint(&js, "services", port->services);
	json_holder(&js, "service", port->service);
	js_uint(&js, "passers_by", port->passers);
	json_holder(&js, "passer_by", port->passer);
	js_add(to, NULL, &js);
}

static int json_netns(const struct told *told, struct buf *out)
{
	_cleanup_js_ struct js js = js_object(), ports = js_array(), nodeports = js_object();
	const struct range *range = &told->netns->range;

	js_str(&js, "event", "audit");
	js_str(&js, "time", told->time);
	js_uint(&js, "netns", told->netns->netns);
	js_uint(&js, "ephemeral_low", range->low);
	js_uint(&js, "ephemeral_high", range->high);
	js_uint(&js, "range_reserved", range_reserved_count(range));
	js_uint(&js, "at_risk", told->audit->at_risk);
	for (size_t i = 0; i < told->audit->count; i++)
		json_port(&ports, &told->audit->ports[i]);
	js_add(&js, "ports", &ports);
	js_uint(&nodeports, "in_range", told->audit->nodeports);
	js_bool(&nodeports, "kubernetes", told->audit->kubernetes);
	js_add(&js, "nodeports", &nodeports);
	js_str(&js, "sysctl", told->fix);
	return js_line(&js, out);
}

/* ---- text ---- */

static void text_holder(const char *what, const struct holder *row, unsigned int count, struct buf *out)
{
	const struct process *process = process_of(row);
	char text[ENDPOINT_TEXT];

	buf_printf(out, "    %s: %s", what, holder_state_name(row->state));
	buf_printf(out, " %s", endpoint_text(&row->addr, row->port, text));
	if (row->remote.family)
		buf_printf(out, " -> %s", endpoint_text(&row->remote, row->remote_port, text));
	if (process) {
		buf_printf(out, ", pid %u ", process->pid);
		buf_add_escaped(out, process->comm, strlen(process->comm));
	} else {
		buf_adds(out, ", no process");
	}
	if (count > 1)
		buf_printf(out, ", and %u more", count - 1);
	buf_addc(out, '\n');
}

static void text_port(const struct audit_port *port, struct buf *out)
{
	buf_printf(out, "  %s %u/%s: ", port->kind == AUDIT_PASSER_BY ? "note" : "AT RISK", port->port,
		   proto_name(port->proto));
	buf_adds(out, port->kind == AUDIT_LISTENER ? "a service listens on a port that the kernel may give to others" :
		      port->kind == AUDIT_SERVICE  ? "a service asked for a port that the kernel may give to others" :
		      port->kind == AUDIT_TAKEN	   ? "the kernel gave the port of a service to another socket" :
						     "the kernel gave it to a passer-by; no service is there");
	buf_addc(out, '\n');
	if (port->annotation) {
		buf_adds(out, "    ");
		annotate_sentence(port->annotation, port->port, out);
		buf_addc(out, '\n');
	}
	if (port->service)
		text_holder("service", port->service, port->services, out);
	if (port->passer)
		text_holder("passer-by", port->passer, port->passers, out);
}

/* A busy machine has somebody passing by on many an annotated port. */
static void text_notes(const struct audit *audit, struct buf *out)
{
	unsigned int notes = 0;

	for (size_t i = 0; i < audit->count; i++)
		if (audit->ports[i].kind == AUDIT_PASSER_BY && ++notes <= NOTES)
			text_port(&audit->ports[i], out);
	if (notes > NOTES)
		buf_printf(out, "  note: %u more annotated ports with a passer-by; --json lists them\n", notes - NOTES);
}

static void text_nodeports(const struct audit *audit, struct buf *out)
{
	if (!audit->nodeports)
		return;
	buf_printf(out, "  %s NodePorts %u-%u: the kernel may choose %u of them%s\n",
		   audit->kubernetes ? "AT RISK" : "note", AUDIT_NODEPORT_FIRST, AUDIT_NODEPORT_LAST, audit->nodeports,
		   audit->kubernetes ? "; Kubernetes runs here" : "; no Kubernetes is seen here");
}

static int text_netns(const struct told *told, struct buf *out)
{
	const struct range *range = &told->netns->range;

	buf_printf(out, "netns %u: range %u-%u, %u reserved: %u at risk\n", told->netns->netns, range->low, range->high,
		   range_reserved_count(range), told->audit->at_risk);
	for (size_t i = 0; i < told->audit->count; i++)
		if (told->audit->ports[i].kind != AUDIT_PASSER_BY)
			text_port(&told->audit->ports[i], out);
	text_nodeports(told->audit, out);
	text_notes(told->audit, out);
	if (told->fix)
		buf_printf(out, "%s\n", told->fix);
	return buf_error(out);
}

/* ---- the command ---- */

static int tell_netns(const struct options *options, const struct scene_netns *netns,
		      const struct annotate_table *annotations, const char *time, struct buf *out, unsigned int *at_risk)
{
	_cleanup_audit_ struct audit audit = { 0 };
	_cleanup_buf_ struct buf fix = BUF_INIT(RANGE_LIST_MAX + PATH_SIZE);
	struct told told = { .netns = netns, .audit = &audit, .time = time };
	int r = audit_take(&audit, netns->rows, netns->count, &netns->range, annotations);

	if (!r && audit.at_risk)
		r = make_fix(netns, &audit, &fix);
	if (r)
		return r;
	if (audit.at_risk)
		told.fix = buf_text(&fix);
	*at_risk += audit.at_risk;
	return (options->json ? json_netns : text_netns)(&told, out);
}

int cmd_audit(const struct options *options)
{
	_cleanup_tracing_ struct tracing tracing = TRACING_INIT;
	_cleanup_scene_ struct scene scene = SCENE_INIT;
	_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
	char time[CLOCK_TEXT_SIZE];
	unsigned int at_risk = 0;
	int r = tracing_set(&tracing, options);

	if (!r)
		r = scene_take(&scene, &tracing);
	if (r)
		return r;
	scene_warn(&scene);
	clock_format(scene.time + (uint64_t)clock_offset(), time);
	for (size_t i = 0; i < scene.count && !r; i++)
		if (scene.netns[i].range.known)
			r = tell_netns(options, &scene.netns[i], tracing.annotations, time, &out, &at_risk);
	if (r) {
		log_error("the ports cannot be told: %s", strerror(-r));
		return STATUS_FAILED;
	}
	r = print_all(&out);
	return r ? r : at_risk || !scene_known(&scene) ? STATUS_FAILED : STATUS_DONE;
}
