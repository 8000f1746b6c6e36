/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who holds what a call was denied: the tracker's lifetimes at that moment,
 * their sockets' options by a look at the kernel, and where the tracker knows
 * nobody (accepted sockets, those that a filter keeps away) a sock_diag dump of
 * that port in that namespace. What costs time has a budget, so that a program
 * that tries again 10,000 times a second does not stall the tracer: beyond it
 * holders may be missing, the denial itself never.
 */
#ifndef PORTWAKE_USER_DENIAL_H
#define PORTWAKE_USER_DENIAL_H

#include "user/explain.h"
#include "user/identity.h"
#include "user/lifetime.h"
#include "user/view.h"

struct denials;

#define EXPLANATIONS_MAX 4096

struct denials_options {
	struct tracker *tracker;	/* both borrowed */
	struct identity *identity;
	struct view view;
	bool filtered;			/* by owner or by port: the tracker does not know everybody */
};

/* NULL without memory. */
struct denials *denials_new(const struct denials_options *options);
void denials_free(struct denials **denials);

/*
 * A reference to why, now; NULL without memory, or when a slow reader keeps
 * EXPLANATIONS_MAX others alive; it may outlive denials_free(). changes: a number that grows
 * with each change of the tracker; while it stands still, a call that is tried
 * again shares its explanation.
 */
struct explanation *denials_explain(struct denials *denials, const struct event *denied, uint64_t changes);

/* Records were lost: from now on the tracker may lack sockets that allocated. */
void denials_doubt(struct denials *denials);

#define _cleanup_denials_ _cleanup_(denials_free)

#endif
