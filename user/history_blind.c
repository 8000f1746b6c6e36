/* SPDX-License-Identifier: GPL-2.0 */
/* What a history cannot speak for: nobody recorded, records were lost, a filter left them out, or they are kept no longer. */
#include "user/history.h"

#include <string.h>

#include "user/history_db.h"
#include "user/mem.h"
#include "user/num.h"

#define SET_BACK_NS 1000000000ULL	/* less is drift */

struct blinds {
	struct blind *list;
	size_t count, size;
	uint64_t since, until;		/* what was asked */
};

/* From since on, up to but without until; a moment where both are one. */
static int put_blind(struct blinds *blinds, const struct blind *blind)
{
	uint64_t since = blind->since, until = blind->until;
	struct blind *list;

	if (since > until || since > blinds->until || until < blinds->since || (until == blinds->since && since < until))
		return 0;
	list = history_db_grow(blinds->list, blinds->count, &blinds->size, sizeof(*list));
	if (!list)
		return -ENOMEM;
	blinds->list = list;
	list[blinds->count++] = *blind;
	return 0;
}

/* The same: nobody recorded. */
static int add_blind(struct blinds *blinds, uint64_t since, uint64_t until, const char *reason)
{
	return put_blind(blinds, &(struct blind){ .since = since, .until = until, .reason = reason });
}

static uint64_t session_wall(const struct history *h, const struct session *session, int64_t time)
{
	return walls_time(&h->walls, session->boot_number, time);
}

/* Does every word of the list lie among these? Both as users type them. */
static bool all_ports_in(const struct history_query *query, const char *list)
{
	struct port_set set = { 0 };

	if (num_port_list(list, &set))
		return false;
	for (unsigned int port = query->first; port <= query->last; port++)
		if (!port_set_has(&set, (uint16_t)port))
			return false;
	return true;
}

static bool has_netns(const char *list, uint32_t netns)
{
	for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strtoul(at, NULL, 10) == netns)
			return true;
	return false;
}

static bool all_netns_in(const struct history_query *query, const char *list)
{
	for (uint32_t i = 0; i < query->netns_count; i++)
		if (!has_netns(list, query->netns[i]))
			return false;
	return query->netns_count;
}

/* Does nothing of the list? */
static bool no_port_in(const struct history_query *query, const char *list)
{
	struct port_set set = { 0 };

	if (num_port_list(list, &set))
		return false;
	for (unsigned int port = query->first; port <= query->last; port++)
		if (port_set_has(&set, (uint16_t)port))
			return false;
	return true;
}

static bool no_netns_in(const struct history_query *query, const char *list)
{
	for (uint32_t i = 0; i < query->netns_count; i++)
		if (has_netns(list, query->netns[i]))
			return false;
	return query->netns_count;
}

/* What a question asks for, of what a recording is restricted to: all of it is there, some, or nothing. */
enum passes { PASSES_ALL, PASSES_SOME, PASSES_NONE };

static enum passes passes(bool all, bool none)
{
	return all ? PASSES_ALL : none ? PASSES_NONE : PASSES_SOME;
}

static enum passes word_passes(const struct history_query *query, const char *word)
{
	unsigned int protos;

	if (!strncmp(word, "port=", 5))
		return passes(all_ports_in(query, word + 5), no_port_in(query, word + 5));
	if (!strncmp(word, "netns=", 6))
		return passes(all_netns_in(query, word + 6), no_netns_in(query, word + 6));
	if (strncmp(word, "proto=", 6) != 0 || num_proto_list(word + 6, &protos))
		return PASSES_SOME;
	return passes(query->protos && !(query->protos & ~protos), query->protos && !(query->protos & protos));
}

/* False: all that is asked for is recorded. */
static bool blinds_to(const struct history_query *query, char *filter, struct blind *blind)
{
	enum passes most = PASSES_ALL;
	bool others = false;
	char *rest = NULL;

	for (char *word = strtok_r(filter, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		enum passes one = word_passes(query, word);

		if (one > most)
			most = one;
		others |= one != PASSES_ALL && strncmp(word, "netns=", 6) != 0;
	}
	blind->partly = most == PASSES_SOME;
	blind->elsewhere = blind->partly && !others && !query->netns_count;
	return most != PASSES_ALL;
}

/* From a recorder's start to its end. */
static int put_session(const struct history *h, struct blinds *blinds, const struct session *s, struct blind *blind)
{
	blind->since = session_wall(h, s, s->started);
	blind->until = session_wall(h, s, history_db_known_until(s));
	return put_blind(blinds, blind);
}

static int blind_to_filter(struct history *h, struct blinds *blinds, const struct history_query *query)
{
	int r = 0;

	for (size_t i = 0; i < h->session_count && !r; i++) {
		const struct session *s = &h->sessions[i];
		_cleanup_free_ char *filter = s->filter ? pw_strdup(s->filter) : NULL;
		struct blind blind = { .reason = s->only };

		if (s->filter && !filter)
			return -ENOMEM;
		if (filter && blinds_to(query, filter, &blind))
			r = put_session(h, blinds, s, &blind);
		if (!r && s->no_denied)
			r = put_session(h, blinds, s, &(struct blind){
				.reason = "denied calls were not recorded", .partly = true, .denied = true,
			});
	}
	return r;
}

static int64_t ready_at(const struct session *s)
{
	return s->ready == INT64_MAX ? history_db_known_until(s) : s->ready;
}

/* Retention goes by age: what a session forgot, those before it forgot too. */
static int blind_before(struct history *h, struct blinds *blinds, size_t *first)
{
	const struct session *s;
	int64_t kept;

	*first = h->session_count;
	while (*first && !h->sessions[*first - 1].forgotten)
		(*first)--;
	if (!*first) {
		*first = 1;
		s = &h->sessions[0];
		return add_blind(blinds, 0, session_wall(h, s, ready_at(s)), "not recorded yet");
	}
	s = &h->sessions[*first - 1];
	kept = s->forgotten >= ready_at(s) ? s->forgotten + 1 : ready_at(s);
	return add_blind(blinds, 0, session_wall(h, s, kept), "no longer kept");
}

/*
 * From the last word of the one before, by the old offset, until this one is ready, by the new one. A clock that was set
 * back meanwhile showed more: what passed by the new offset alone, or by the old one alone. Of two boots it is known how
 * long the later one had run.
 */
static struct blind between(const struct history *h, const struct session *before, const struct session *s)
{
	bool same_boot = s->boot_number == before->boot_number;
	int64_t last = history_db_known_until(before), ready = ready_at(s);
	uint64_t since = session_wall(h, before, last), until = session_wall(h, s, ready);
	uint64_t by_new = until - (uint64_t)(same_boot ? ready - last : ready);
	uint64_t by_old = since + (uint64_t)(same_boot ? ready - last : 0);

	return (struct blind){
		.since = by_new < since ? by_new : since, .until = by_old > until ? by_old : until,
		.reason = "the recorder did not run",
		/* Some of it stands in the sessions beside it. */
		.partly = by_new + SET_BACK_NS < since,
	};
}

static int blind_between(struct history *h, struct blinds *blinds, size_t first)
{
	int r = 0;

	for (size_t i = first; i < h->session_count && !r; i++) {
		const struct blind blind = between(h, &h->sessions[i - 1], &h->sessions[i]);

		r = put_blind(blinds, &blind);
	}
	return r;
}

static int blind_after(struct history *h, struct blinds *blinds)
{
	const struct session *last = &h->sessions[h->session_count - 1];

	return add_blind(blinds, session_wall(h, last, last->last), UINT64_MAX,
			 last->runs ? "not written yet" : "the recorder does not run");
}

/* Wall times that never were. */
static int blind_to_steps(struct history *h, struct blinds *blinds)
{
	int r = 0;

	for (size_t i = 1; i < h->walls.count && !r; i++) {
		const struct wall_span *a = &h->walls.spans[i - 1], *b = a + 1;

		if (a->session == b->session && b->offset > a->offset)
			r = add_blind(blinds, (uint64_t)(b->since + a->offset), (uint64_t)(b->since + b->offset),
				      "the clock was set forward");
	}
	return r;
}

/* Reasons are few: kept for as long as the history. */
static const char *reason_name(const char *reason)
{
	static const char *const names[] = { "ring", "recursion", "map", "malformed", "memory", "output", "storage" };

	for (size_t i = 0; reason && i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], reason))
			return names[i];
	return "records were lost";
}

static int blind_to_gaps(struct history *h, struct blinds *blinds)
{
	sqlite3_stmt *s = NULL;
	int step = SQLITE_DONE, r = 0;

	if (sqlite3_prepare_v2(h->db, "SELECT session, since, until, lost, reason FROM gap", -1, &s, NULL))
		return history_db_error(h);
	while (!r && (step = sqlite3_step(s)) == SQLITE_ROW) {
		const struct session *session = &h->sessions[history_db_session(h, sqlite3_column_int64(s, 0))];
		const struct blind blind = {
			.since = session_wall(h, session, sqlite3_column_int64(s, 1)),
			.until = session_wall(h, session, sqlite3_column_int64(s, 2)),
			.lost = (uint64_t)sqlite3_column_int64(s, 3), .partly = true,
			.reason = reason_name((const char *)sqlite3_column_text(s, 4)),
		};

		r = put_blind(blinds, &blind);
	}
	if (!r && step != SQLITE_DONE)
		r = history_db_error(h);
	sqlite3_finalize(s);
	return r;
}

static int by_time(const void *left, const void *right)
{
	const struct blind *a = left, *b = right;

	if (a->since != b->since)
		return a->since < b->since ? -1 : 1;
	return a->until < b->until ? -1 : a->until > b->until;
}

static int gather_blinds(struct history *h, struct blinds *blinds, const struct history_query *query)
{
	size_t first;
	int r;

	if (!h->session_count)
		return add_blind(blinds, 0, UINT64_MAX, "not recorded yet");
	r = blind_to_filter(h, blinds, query);
	if (!r)
		r = blind_before(h, blinds, &first);
	if (!r)
		r = blind_between(h, blinds, first);
	if (!r)
		r = blind_to_steps(h, blinds);
	if (!r)
		r = blind_to_gaps(h, blinds);
	return r ? r : blind_after(h, blinds);
}

int history_blind(struct history *h, const struct history_query *query,
		  int (*on_blind)(void *arg, const struct blind *blind), void *arg)
{
	struct blinds blinds = { .since = query->since, .until = query->until };
	int r = gather_blinds(h, &blinds, query);

	if (r == -ENOMEM)
		r = history_db_no_memory(h);
	if (!r && blinds.count)
		qsort(blinds.list, blinds.count, sizeof(*blinds.list), by_time);
	for (size_t i = 0; i < blinds.count && !r; i++)
		r = on_blind(arg, &blinds.list[i]);
	pw_free(blinds.list);
	return r;
}
