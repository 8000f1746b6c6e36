/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fixed ports of a namespace that the kernel may give to anybody: numbers that a service asked for, inside the
 * ephemeral range and not reserved. While the service holds its port it is safe; when it starts anew, an outgoing
 * connection may have it. Pure, over who holds ports now (holders.h), the range and the annotated ports.
 *
 * A port that the kernel chose for its listener is no fixed one, and is not listed.
 */
#ifndef PORTWAKE_USER_AUDIT_H
#define PORTWAKE_USER_AUDIT_H

#include "user/annotate.h"
#include "user/holders.h"
#include "user/range.h"

/* kube-apiserver's --service-node-port-range, where nobody set another. */
#define AUDIT_NODEPORT_FIRST 30000
#define AUDIT_NODEPORT_LAST 32767

enum audit_kind {
	AUDIT_LISTENER,		/* at risk: the listener asked for the number (UDP: bound, not connected) */
	AUDIT_SERVICE,		/* at risk: annotated, and asked for by a socket that does not listen */
	AUDIT_TAKEN,		/* at risk: annotated by the user; no service is there, and somebody passes by */
	AUDIT_PASSER_BY,	/* no risk: the same of the shipped annotations: is that service here at all? */
	AUDIT_KINDS
};

struct audit_port {
	enum audit_kind kind;
	uint8_t proto;
	uint16_t port;
	const struct annotate_row *annotation;	/* NULL: none */
	const struct holder *service;		/* the first of them; NULL: none. All holders are borrowed */
	unsigned int services;
	const struct holder *passer;		/* a socket for which the kernel chose this number; NULL: none */
	unsigned int passers;
};

struct audit {
	struct audit_port *ports;	/* by protocol and port */
	size_t count;
	unsigned int at_risk;		/* of ports[], and one more for the NodePorts */
	unsigned int nodeports;		/* NodePorts that the kernel may choose */
	bool kubernetes;		/* a kubelet or kube-proxy has sockets here, so they are at risk */
	struct port_set reserve;	/* what would put all this right */
};

/*
 * rows[0..count): all of one namespace, sorted as holders_take() sorts. annotations may be NULL. 0 or -ENOMEM;
 * audit_done() releases it.
 */
int audit_take(struct audit *audit, const struct holder *rows, size_t count, const struct range *range,
	       const struct annotate_table *annotations);
void audit_done(struct audit *audit);

const char *audit_kind_name(enum audit_kind kind);

#define _cleanup_audit_ _cleanup_(audit_done)

#endif
