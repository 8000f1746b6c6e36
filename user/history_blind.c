/* SPDX-License-Identifier: GPL-2.0 */
/* What a history cannot speak for: nobody recorded, records were lost, a filter left them out, or they are kept no longer. */
#include "user/history.h"

#include <string.h>

#include "user/history_db.h"
#include "user/mem.h"
#include "user/num.h"

struct blinds {
	struct blind *list;
	size_t count, size;
	struct wall_stretch *shown;	/* when some of what is asked for was recorded; by time, none touch */
	size_t shown_count, shown_size;
	uint64_t since, until;		/* what was asked */
};

/* From since on, up to but without until; a moment where both are one. */
static int put_whole(struct blinds *blinds, const struct blind *blind)
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

/* The first of those shown that ends behind it. */
static size_t shown_after(const struct blinds *blinds, uint64_t time)
{
	size_t low = 0, high = blinds->shown_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (blinds->shown[middle].until > time)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* From part->since until from, as it is; from there until to, where some was recorded. */
static int put_split(struct blinds *blinds, struct blind part, uint64_t from, uint64_t to)
{
	int r = 0;

	part.until = from;
	if (part.since < from)
		r = put_whole(blinds, &part);
	part.since = from;
	part.until = to;
	part.partly = true;
	return r ? r : put_whole(blinds, &part);
}

/* The same; it is `partly` where the clock showed that time at another moment too, and somebody recorded then. */
static int put_blind(struct blinds *blinds, const struct blind *blind)
{
	size_t i = blind->partly ? blinds->shown_count : shown_after(blinds, blind->since);
	struct blind rest = *blind;
	bool ended = false;
	int r = 0;

	for (; i < blinds->shown_count && blinds->shown[i].since < blind->until && !r && !ended; i++) {
		const struct wall_stretch *wall = &blinds->shown[i];
		uint64_t from = wall->since > blind->since ? wall->since : blind->since;
		uint64_t to = wall->until < blind->until ? wall->until : blind->until;

		if (to - from < WALL_STEP_NS && (from > blind->since || to < blind->until))
			continue;
		r = put_split(blinds, rest, from, to);
		rest.since = to;
		ended = to == blind->until;
	}
	return r || ended ? r : put_whole(blinds, &rest);
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

/* A stretch of a session's boottime, once for each time that the clock showed then; none before blind->since. */
static int put_stretch(const struct history *h, struct blinds *blinds, const struct session *session, int64_t since,
		       int64_t until, const struct blind *blind)
{
	struct wall_stretch wall;
	int r = 0;

	for (size_t at = 0; !r && walls_next(&h->walls, session->boot_number, since, until, &at, &wall);) {
		struct blind one = *blind;

		if (blind->since && wall.until < blind->since + WALL_STEP_NS)
			continue;
		if (one.since < wall.since)
			one.since = wall.since;
		one.until = wall.until;
		r = put_blind(blinds, &one);
	}
	return r;
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

/* What its filter leaves out of what is asked for. reason NULL: nothing. 0 or -ENOMEM. */
static int filter_of(const struct session *s, const struct history_query *query, struct blind *blind)
{
	_cleanup_free_ char *filter = s->filter ? pw_strdup(s->filter) : NULL;

	*blind = (struct blind){ .reason = NULL };
	if (s->filter && !filter)
		return -ENOMEM;
	if (filter && blinds_to(query, filter, blind))
		blind->reason = s->only;
	return 0;
}

/* From a recorder's start to its end. */
static int put_session(const struct history *h, struct blinds *blinds, const struct session *s, const struct blind *blind)
{
	return put_stretch(h, blinds, s, s->started, history_db_known_until(s), blind);
}

static int blind_to_filter(struct history *h, struct blinds *blinds, const struct history_query *query)
{
	int r = 0;

	for (size_t i = 0; i < h->session_count && !r; i++) {
		const struct session *s = &h->sessions[i];
		struct blind blind;

		r = filter_of(s, query, &blind);
		if (!r && blind.reason)
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

/* From when on what a session recorded is kept. */
static int64_t kept_from(const struct session *s)
{
	return s->forgotten >= ready_at(s) ? s->forgotten + 1 : ready_at(s);
}

/* Retention goes by age: what a session forgot, those before it forgot too. The first that has something left. */
static size_t first_kept(const struct history *h)
{
	size_t first = h->session_count - 1;

	while (first && !h->sessions[first].forgotten)
		first--;
	return first;
}

/* ---- what was recorded ---- */

static int by_begin(const void *left, const void *right)
{
	const struct wall_stretch *a = left, *b = right;

	return a->since < b->since ? -1 : a->since > b->since;
}

static int add_shown(const struct history *h, struct blinds *blinds, const struct session *s)
{
	struct wall_stretch wall, *shown;

	for (size_t at = 0; walls_next(&h->walls, s->boot_number, kept_from(s), s->last, &at, &wall);) {
		shown = history_db_grow(blinds->shown, blinds->shown_count, &blinds->shown_size, sizeof(*shown));
		if (!shown)
			return -ENOMEM;
		blinds->shown = shown;
		shown[blinds->shown_count++] = wall;
	}
	return 0;
}

static void join_shown(struct blinds *blinds)
{
	struct wall_stretch *shown = blinds->shown;
	size_t count = 0;

	if (blinds->shown_count)
		qsort(shown, blinds->shown_count, sizeof(*shown), by_begin);
	for (size_t i = 0; i < blinds->shown_count; i++) {
		if (!count || shown[i].since > shown[count - 1].until)
			shown[count++] = shown[i];
		else if (shown[i].until > shown[count - 1].until)
			shown[count - 1].until = shown[i].until;
	}
	blinds->shown_count = count;
}

static int gather_shown(const struct history *h, struct blinds *blinds, const struct history_query *query)
{
	int r = 0;

	for (size_t i = first_kept(h); i < h->session_count && !r; i++) {
		struct blind left_out;

		r = filter_of(&h->sessions[i], query, &left_out);
		if (!r && (!left_out.reason || left_out.partly))
			r = add_shown(h, blinds, &h->sessions[i]);
	}
	join_shown(blinds);
	return r;
}

/* ---- nobody recorded ---- */

/* Before what is kept; and what the clock showed until then, where that was ahead. */
static int blind_before(const struct history *h, struct blinds *blinds)
{
	size_t first = first_kept(h);
	const struct session *s = &h->sessions[first];
	struct blind blind = {
		.until = session_wall(h, s, kept_from(s)), .reason = s->forgotten ? "no longer kept" : "not recorded yet",
	};
	int r = put_blind(blinds, &blind);

	blind.since = blind.until;
	for (size_t i = 0; i <= first && !r; i++) {
		s = &h->sessions[i];
		r = put_stretch(h, blinds, s, s->started, i < first ? history_db_known_until(s) : kept_from(s), &blind);
	}
	return r;
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
	struct wall_stretch wall;

	if (by_new < since)
		since = by_new;
	if (by_old > until)
		until = by_old;
	for (size_t at = 0; walls_next(&h->walls, s->boot_number, s->started, ready, &at, &wall);) {
		since = wall.since < since ? wall.since : since;
		until = wall.until > until ? wall.until : until;
	}
	return (struct blind){ .since = since, .until = until, .reason = "the recorder did not run" };
}

static int blind_between(const struct history *h, struct blinds *blinds)
{
	int r = 0;

	for (size_t i = first_kept(h) + 1; i < h->session_count && !r; i++) {
		const struct blind blind = between(h, &h->sessions[i - 1], &h->sessions[i]);

		r = put_blind(blinds, &blind);
	}
	return r;
}

static int blind_after(const struct history *h, struct blinds *blinds)
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
			.lost = (uint64_t)sqlite3_column_int64(s, 3), .partly = true,
			.reason = reason_name((const char *)sqlite3_column_text(s, 4)),
		};

		r = put_stretch(h, blinds, session, sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 2), &blind);
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
	int r;

	if (!h->session_count)
		return add_blind(blinds, 0, UINT64_MAX, "not recorded yet");
	r = gather_shown(h, blinds, query);
	if (!r)
		r = blind_to_filter(h, blinds, query);
	if (!r)
		r = blind_before(h, blinds);
	if (!r)
		r = blind_between(h, blinds);
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
	pw_free(blinds.shown);
	return r;
}
