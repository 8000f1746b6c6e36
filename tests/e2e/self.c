/* SPDX-License-Identifier: GPL-2.0 */
/* The comparison itself: it accepts the truth, and nothing that differs from it. */
#define _GNU_SOURCE
#include "tests/e2e/case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NETNS 4026530000ULL
#define START (1700000000 * SECOND)
#define LINES 9

/* Two lifetimes of one socket and one of another, as a workload would have logged them. */
static struct truth *make_truth(void)
{
	struct truth *t = truth_new(NETNS);
	struct life life = { .netns = NETNS, .cookie = 7, .generation = 1, .proto = IPPROTO_TCP, .how = HOW_CONNECT,
			     .ephemeral = true, .remote_due = true, .port = 40000, .remote_port = { 80 }, .pid = 100,
			     .uid = 1000, .comm = "curl", .exe = "/usr/bin/curl", .addr = { "127.0.0.1" }, .remote_addr = { "127.0.0.1" } };
	struct happening h = { .actor = 100 };
	static const struct {
		uint32_t life;
		enum kind kind;
	} order[LINES] = {
		{ 0, KIND_ALLOCATE }, { 0, KIND_CLOSE }, { 0, KIND_TIME_WAIT }, { 0, KIND_RELEASE },
		{ 1, KIND_ALLOCATE }, { 1, KIND_RELEASE }, { 2, KIND_ALLOCATE }, { 2, KIND_LISTEN },
		{ 2, KIND_CLOSE },
	};

	t->since = START;
	truth_life(t, &life);
	life.generation = 2;
	truth_life(t, &life);
	life = (struct life){ .netns = NETNS, .proto = IPPROTO_UDP, .how = HOW_BIND, .port = 53, .pid = 200,
			      .addr = { "::1" } };
	truth_life(t, &life);
	for (int i = 0; i < LINES; i++) {
		h.life = order[i].life;
		h.kind = order[i].kind;
		h.t0 = START + i * SECOND;
		h.t1 = h.t0 + MS;
		h.actor = h.life == 2 ? 300 : h.kind == KIND_TIME_WAIT ? 0 : 100;
		h.cause = h.life ? CAUSE_RESET : CAUSE_TIME_WAIT;
		strcpy(h.err, h.life ? "ECONNRESET" : "");
		truth_add(t, &h);
	}
	t->happening[6].actor = 200;
	return t;
}

#define OWNER "\"pid\":100,\"comm\":\"curl\",\"uid\":1000,\"exe\":\"/usr/bin/curl\",\"container\":null,\"cgroup\":null,"
#define OTHER "\"pid\":200,\"comm\":\"named\",\"uid\":0,\"exe\":null,\"container\":null,\"cgroup\":null,"
#define PLACE "\"proto\":\"tcp\",\"family\":\"ipv4\",\"addr\":\"127.0.0.1\",\"port\":40000,\"netns\":4026530000," \
	"\"remote_addr\":\"127.0.0.1\",\"remote_port\":80,\"annotation\":null,\"exact\":true,"
#define THERE "\"proto\":\"udp\",\"family\":\"ipv6\",\"addr\":\"::1\",\"port\":53,\"netns\":4026530000," \
	"\"remote_addr\":null,\"remote_port\":null,\"annotation\":null,\"exact\":true,"
#define NOBODY "\"holder_pid\":null,\"holder_comm\":null,"
#define BY_300 "\"holder_pid\":300,\"holder_comm\":\"x\","
#define AT(n) "\"time\":\"2023-11-14T22:13:2" n ".000500000Z\","
#define FIRST "\"cookie\":\"7\",\"generation\":1"
#define SECOND_LIFE "\"cookie\":\"7\",\"generation\":2"
#define THIRD "\"cookie\":\"9\",\"generation\":1"

static const char *const stream[LINES] = {
	"{\"event\":\"allocate\"," AT("0") OWNER PLACE NOBODY "\"how\":\"connect\",\"ephemeral\":true," FIRST "}",
	"{\"event\":\"close\"," AT("1") OWNER PLACE NOBODY FIRST "}",
	"{\"event\":\"time_wait\"," AT("2") OWNER PLACE NOBODY FIRST "}",
	"{\"event\":\"release\"," AT("3") OWNER PLACE NOBODY "\"cause\":\"time_wait\",\"errno\":null," FIRST
	",\"held_ns\":3000000000,\"open_ns\":1000000000,\"time_wait_ns\":1000000000}",
	"{\"event\":\"allocate\"," AT("4") OWNER PLACE NOBODY "\"how\":\"connect\",\"ephemeral\":true," SECOND_LIFE "}",
	"{\"event\":\"release\"," AT("5") OWNER PLACE NOBODY "\"cause\":\"reset\",\"errno\":\"ECONNRESET\"," SECOND_LIFE
	",\"held_ns\":1000000000,\"open_ns\":null,\"time_wait_ns\":null}",
	"{\"event\":\"allocate\"," AT("6") OTHER THERE NOBODY "\"how\":\"bind\",\"ephemeral\":false," THIRD "}",
	"{\"event\":\"listen\"," AT("7") OTHER THERE BY_300 THIRD "}",
	"{\"event\":\"close\"," AT("8") OTHER THERE BY_300 THIRD "}",
};

/* The differences when line `at` has `from` replaced by `to` (from NULL: `to` times the line itself). */
static unsigned differences(int at, const char *from, const char *to)
{
	struct truth *truth = make_truth();
	struct run run = { 0 };
	struct seen seen[2 * LINES];
	char line[1024], why[200];
	unsigned n, refused = 0;

	run.seen = seen;
	for (int i = 0; i < LINES; i++) {
		const char *hit = i == at && from ? strstr(stream[i], from) : NULL;
		int times = i == at && !from ? atoi(to) : 1;

		assert_true(i != at || !from || hit);
		if (hit)
			snprintf(line, sizeof(line), "%.*s%s%s", (int)(hit - stream[i]), stream[i], to,
				 hit + strlen(from));
		else
			snprintf(line, sizeof(line), "%s", stream[i]);
		while (times--) {
			if (seen_parse(line, strlen(line), &seen[run.count], why, sizeof(why)))
				refused++;
			else
				run.count++;
		}
	}
	n = truth_differs(truth, &run, false, false) + stream_breaks_rules(&run, false) + refused;
	while (run.count)
		seen_clear(&seen[--run.count]);
	truth_free(&truth);
	return n;
}

static const struct {
	int line;
	const char *from, *to;
} lies[] = {
	{ 0, NULL, "0" }, { 0, NULL, "2" }, { 3, NULL, "0" }, { 3, NULL, "2" }, { 7, NULL, "0" }, { 8, NULL, "2" },
	{ 0, "\"pid\":100", "\"pid\":101" }, { 0, "\"pid\":100", "\"pid\":null" }, { 3, "curl", "swapper/0" },
	{ 0, "/usr/bin", "/bin" },
	{ 1, "\"uid\":1000", "\"uid\":0" }, { 0, ":40000", ":40001" }, { 0, "127.0.0.1", "127.0.0.2" },
	{ 0, "\"remote_port\":80", "\"remote_port\":81" }, { 0, "connect", "bind" },
	{ 0, "\"ephemeral\":true", "\"ephemeral\":false" }, { 0, ":20.0005", ":20.0105" }, { 0, ":20.0005", ":19.9905" },
	{ 2, "time_wait", "close" }, { 3, "\"cause\":\"time_wait\"", "\"cause\":\"close\"" },
	{ 3, "\"errno\":null", "\"errno\":\"ETIMEDOUT\"" }, { 3, ":23.0005", ":23.2005" },
	{ 3, "\"held_ns\":3000000000", "\"held_ns\":1000000000" }, { 3, "\"exact\":true", "\"exact\":false" },
	{ 3, "\"open_ns\":1000000000", "\"open_ns\":3000000000" },
	{ 3, "\"time_wait_ns\":1000000000", "\"time_wait_ns\":null" },
	{ 4, "\"generation\":2", "\"generation\":1" }, { 4, "\"generation\":2", "\"generation\":3" },
	{ 4, "\"cookie\":\"7\"", "\"cookie\":\"8\"" }, { 4, "\"cookie\":\"7\"", "\"cookie\":\"0\"" },
	{ 5, "ECONNRESET", "ECONNREFUSED" }, { 6, "ipv6", "ipv4" }, { 6, "\"port\":53", "\"port\":54" },
	{ 6, "udp", "tcp" }, { 6, "4026530000", "4026530001" }, { 7, "\"holder_pid\":300", "\"holder_pid\":null" },
	{ 7, "listen", "allocate" }, { 8, "\"holder_pid\":300", "\"holder_pid\":200" },
	{ 8, "\"comm\":\"named\",", "" }, { 8, "\"port\":53", "\"port\":\"53\"" }, { 8, "Z\"", "+00:00\"" },
	{ 8, "close", "closed" }, { 8, "}", "" },
};

static void comparison_tells(void **state)
{
	(void)state;
	assert_int_equal(differences(-1, NULL, NULL), 0);
	for (size_t i = 0; i < COUNT_OF(lies); i++) {
		if (!differences(lies[i].line, lies[i].from, lies[i].to))
			fail_msg("accepted: line %d with %s in place of %s", lies[i].line, lies[i].to,
				 lies[i].from ? lies[i].from : "once");
	}
}

static const struct plain list[] = {
	{ "self/comparison_tells", comparison_tells },
};

const struct plain_list self_tests = { list, COUNT_OF(list) };
