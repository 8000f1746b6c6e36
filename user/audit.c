/* SPDX-License-Identifier: GPL-2.0 */
/* Fixed ports at risk. */
#include "user/audit.h"

#include <netinet/in.h>
#include <string.h>

#include "user/mem.h"

const char *audit_kind_name(enum audit_kind kind)
{
	static const char *const names[AUDIT_KINDS] = { "listener", "service", "taken", "passer_by" };

	return kind < AUDIT_KINDS ? names[kind] : NULL;
}

/* By the socket's own state: a listener of the kernel's is one as well. */
static bool is_listener(const struct holder *row)
{
	return row->locked && (row->proto == IPPROTO_TCP ? row->tcp_state == STATE_LISTEN : !row->remote.family);
}

/* Of a TIME_WAIT that connect() did not begin nobody can say who chose the number. */
static bool passes_by(const struct holder *row)
{
	if (row->locked || row->accepted || row->doubtful || row->tcp_state == STATE_LISTEN)
		return false;
	return row->by_connect || row->state != HOLDER_TIME_WAIT;
}

/* rows[0..count): one port of one protocol. False when there is nothing to say of it. */
static bool judge(struct audit_port *port, const struct holder *rows, size_t count)
{
	bool listens = false;

	for (size_t i = 0; i < count; i++) {
		const struct holder *row = &rows[i];
		bool serves = is_listener(row) || (port->annotation && row->locked && !row->accepted);

		if (serves && !port->services++)
			port->service = row;
		if (is_listener(row) && !listens)
			port->service = row;
		listens = listens || is_listener(row);
		if (passes_by(row) && !port->passers++)
			port->passer = row;
	}
	if (port->services) {
		port->kind = listens ? AUDIT_LISTENER : AUDIT_SERVICE;
		return true;
	}
	port->kind = port->annotation && port->annotation->layer ? AUDIT_TAKEN : AUDIT_PASSER_BY;
	return port->annotation && port->passers;
}

static void add(struct audit *audit, const struct audit_port *port)
{
	audit->ports[audit->count++] = *port;
	if (port->kind == AUDIT_PASSER_BY)
		return;
	audit->at_risk++;
	port_set_add(&audit->reserve, port->port);
}

static bool is_kubernetes(const struct process *process)
{
	static const char *const names[] = {
		"kubelet", "kube-proxy", "kubelite", "k3s", "k3s-server", "k3s-agent", "k0s",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(process->comm, names[i]))
			return true;
	return false;
}

static bool has_kubernetes(const struct holder *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t p = 0; p < rows[i].process_count; p++)
			if (is_kubernetes(rows[i].processes[p]))
				return true;
	return false;
}

static void judge_nodeports(struct audit *audit, const struct holder *rows, size_t count, const struct range *range)
{
	for (unsigned int port = AUDIT_NODEPORT_FIRST; port <= AUDIT_NODEPORT_LAST; port++)
		audit->nodeports += range_usable(range, (uint16_t)port);
	audit->kubernetes = has_kubernetes(rows, count);
	if (!audit->nodeports || !audit->kubernetes)
		return;
	audit->at_risk++;
	for (unsigned int port = AUDIT_NODEPORT_FIRST; port <= AUDIT_NODEPORT_LAST; port++)
		port_set_add(&audit->reserve, (uint16_t)port);
}

int audit_take(struct audit *audit, const struct holder *rows, size_t count, const struct range *range,
	       const struct annotate_table *annotations)
{
	*audit = (struct audit){ .ports = pw_calloc(count + 1, sizeof(*audit->ports)) };
	if (!audit->ports)
		return -ENOMEM;
	for (size_t first = 0, last; first < count; first = last) {
		const struct holder *row = &rows[first];
		struct audit_port port = { .proto = row->proto, .port = row->port };

		for (last = first + 1; last < count && rows[last].port == row->port && rows[last].proto == row->proto;)
			last++;
		if (!range_usable(range, row->port))
			continue;
		if (annotations)
			port.annotation = annotate_find(annotations, row->proto, row->port);
		if (judge(&port, row, last - first))
			add(audit, &port);
	}
	judge_nodeports(audit, rows, count, range);
	return 0;
}

void audit_done(struct audit *audit)
{
	pw_free(audit->ports);
	*audit = (struct audit){ 0 };
}
