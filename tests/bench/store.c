/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bench-store [LIFETIMES] [DIRECTORY]: what recording costs from a change to the disk, without the kernel side:
 * lifetimes a second, CPU of all threads, bytes on disk, beside a bare INSERT loop of the same rows. Medians of a few
 * rounds; fails below 100,000 lifetimes a second or above 100 bytes a lifetime.
 *
 * bench-store --fill FILE LIFETIMES --span SECONDS: makes a history of so many lifetimes that end now, for questions.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "user/clock.h"
#include "user/num.h"
#include "user/store.h"

#define LIFETIMES	1000000
#define ROUNDS		5
#define PROCESSES	1000
#define WAITING_MAX	90000
#define RATE_MIN	100000.0
#define BYTES_MAX	100.0
#define COLUMNS		11

static struct process processes[PROCESSES];
static uint64_t random_state = 1;

static uint64_t draw(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench-store: %s: %s\n", what, why);
	exit(1);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double seconds(void)
{
	return (double)now_boottime() / 1e9;
}

static void make_processes(void)
{
	for (uint32_t i = 0; i < PROCESSES; i++) {
		struct process *p = &processes[i];

		*p = (struct process){ .pid = 1000 + i, .uid = 1000 + i % 7, .start = 1000000000ULL * (i + 1) };
		snprintf(p->comm, sizeof(p->comm), "worker-%u", i % 50);
		if (asprintf(&p->exe, "/usr/lib/service-%u/worker", i % 50) < 0 ||
		    asprintf(&p->cgroup, "/system.slice/service-%u.service", i % 50) < 0)
			die("processes", "no memory");
	}
}

/* A socket as busy machines have them: mostly outgoing TCP, some UDP, some IPv6. */
static void make_lifetime(struct lifetime *l, uint64_t cookie, uint64_t since)
{
	uint64_t dice = draw();
	uint32_t remote = htonl(0x0a000000 | (uint32_t)(dice >> 32 & 63));

	*l = (struct lifetime){
		.cookie = cookie, .generation = 1, .netns = 4026531840U, .since = since, .seen = since,
		.port = (uint16_t)(32768 + dice % 28232), .remote_port = dice >> 40 & 1 ? 443 : 5432,
		.proto = dice >> 41 & 7 ? IPPROTO_TCP : IPPROTO_UDP, .how = PW_HOW_CONNECT, .flags = PW_F_EPHEMERAL,
		.owner = &processes[(dice >> 44 & 1023) % PROCESSES], .holds = HOLD_SOCK,
	};
	l->addr.family = l->remote.family = dice >> 56 & 15 ? AF_INET : AF_INET6;
	l->addr.bytes[0] = 10;
	l->addr.bytes[15] = l->addr.family == AF_INET6;
	memcpy(l->remote.bytes, &remote, sizeof(remote));
}

static void tell(struct store *store, struct lifetime *l, enum what what, uint64_t time, int64_t offset)
{
	struct change change = { .what = what, .time = time, .exact = true, .lifetime = l, .cause = CAUSE_CLOSE };

	store_change(store, &change, offset);
}

static void tick(struct store *store, uint64_t now, int64_t offset)
{
	char why[256];
	struct store_totals totals;

	if (store_tick(store, NULL, now, now, offset, why, sizeof(why)))
		die("storage", why);
	store_totals(store, &totals);
	while (totals.waiting > WAITING_MAX) {
		usleep(200);
		store_totals(store, &totals);
	}
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

static void remove_all(const char *path)
{
	char name[4200];

	unlink(path);
	snprintf(name, sizeof(name), "%s-wal", path);
	unlink(name);
	snprintf(name, sizeof(name), "%s-shm", path);
	unlink(name);
}

static struct store *begin(const char *path, uint64_t now, int64_t offset)
{
	struct store_options options = { .path = path, .files = { -1, -1, -1 }, .now = now, .offset = offset };
	struct change ready = { .what = WHAT_READY, .time = now };
	struct store *store = NULL;
	char why[256];

	remove_all(path);
	if (store_create(path, why, sizeof(why)) || store_open(&options, &store, why, sizeof(why)))
		die("open", why);
	store_change(store, &ready, offset);
	return store;
}

/* span: nanoseconds over which they end. */
static void feed(struct store *store, uint64_t count, uint64_t start, uint64_t span, int64_t offset)
{
	double step = (double)span / (double)count;
	uint64_t ticked = start;
	struct lifetime l;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t until = start + (uint64_t)(step * (double)i);
		/* Most are short; one in a hundred lasts up to an hour. */
		uint64_t held = draw() % (i % 100 ? 50000000ULL : 3600000000000ULL);

		make_lifetime(&l, 1000 + i, until > held + 1 ? until - held : 1);
		tell(store, &l, WHAT_ALLOCATE, l.since, offset);
		if (l.proto == IPPROTO_TCP)
			l.closed_at = until - held % 5000;
		tell(store, &l, WHAT_RELEASE, until, offset);
		/* As often as time asks for it, but not for a handful in a long history. */
		if (until - ticked >= 400000000ULL && i % 16384 == 0) {
			tick(store, until, offset);
			ticked = until;
		} else if (i % 4096 == 0) {
			tick(store, ticked, offset);
		}
	}
}

/* ---- the bare loop ---- */

struct cell {
	int64_t number;
	int type;
	unsigned char bytes[18];
};

static struct cell *read_rows(const char *path, size_t *count)
{
	sqlite3 *db;
	sqlite3_stmt *s;
	struct cell *cells = calloc(*count * COLUMNS, sizeof(*cells));
	size_t n = 0;

	if (!cells || sqlite3_open(path, &db) || sqlite3_prepare_v2(db, "SELECT * FROM lifetime", -1, &s, NULL))
		die("rows", "cannot be read back");
	while (n < *count && sqlite3_step(s) == SQLITE_ROW) {
		for (int c = 0; c < COLUMNS; c++) {
			struct cell *cell = &cells[n * COLUMNS + (size_t)c];

			cell->type = sqlite3_column_type(s, c);
			if (cell->type == SQLITE_BLOB)
				memcpy(cell->bytes, sqlite3_column_blob(s, c), sizeof(cell->bytes));
			else
				cell->number = sqlite3_column_int64(s, c);
		}
		n++;
	}
	sqlite3_finalize(s);
	sqlite3_close(db);
	*count = n;
	return cells;
}

static void run_sql(sqlite3 *db, const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL))
		die(text, sqlite3_errmsg(db));
}

static void bind_row(sqlite3_stmt *s, const struct cell *row)
{
	for (int c = 0; c < COLUMNS; c++) {
		if (row[c].type == SQLITE_NULL)
			sqlite3_bind_null(s, c + 1);
		else if (row[c].type == SQLITE_BLOB)
			sqlite3_bind_blob(s, c + 1, row[c].bytes, sizeof(row[c].bytes), SQLITE_STATIC);
		else
			sqlite3_bind_int64(s, c + 1, row[c].number);
	}
}

/* As anybody would write it: WAL, a prepared statement, a transaction every 100,000 rows. Rows a second. */
static double bare(const char *path, const struct cell *cells, size_t count, double *cpu)
{
	sqlite3 *db;
	sqlite3_stmt *s;
	double began, cpu_began;

	remove_all(path);
	if (sqlite3_open(path, &db))
		die(path, "cannot be made");
	run_sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE lifetime(id INTEGER PRIMARY KEY, "
		    "a, b, c, d, e, f, g, h, i, j)");
	sqlite3_prepare_v2(db, "INSERT INTO lifetime VALUES(?,?,?,?,?,?,?,?,?,?,?)", -1, &s, NULL);
	began = seconds();
	cpu_began = cpu_seconds();
	for (size_t i = 0; i < count; i++) {
		if (i % 100000 == 0)
			run_sql(db, i ? "COMMIT; BEGIN" : "BEGIN");
		bind_row(s, &cells[i * COLUMNS]);
		if (sqlite3_step(s) != SQLITE_DONE)
			die(path, sqlite3_errmsg(db));
		sqlite3_reset(s);
	}
	run_sql(db, "COMMIT");
	*cpu = (cpu_seconds() - cpu_began) / (double)count * 1e6;
	began = seconds() - began;
	sqlite3_finalize(s);
	sqlite3_close(db);
	remove_all(path);
	return (double)count / began;
}

/* ---- rounds ---- */

struct figures {
	double rate, cpu, bytes, bare_rate, bare_cpu;
};

static struct figures measure(const char *path, const char *other, uint64_t count)
{
	uint64_t now = now_boottime();
	int64_t offset = clock_offset();
	struct store *store = begin(path, now, offset);
	double began = seconds(), cpu = cpu_seconds();
	struct figures figures = { 0 };
	size_t rows = count;
	struct cell *cells;

	/* 100,000 a second by the lifetimes' own time. */
	feed(store, count, now, count * 10000, offset);
	store_close(&store, 60000000000ULL);
	figures.rate = (double)count / (seconds() - began);
	figures.cpu = (cpu_seconds() - cpu) / (double)count * 1e6;
	figures.bytes = (double)file_size(path) / (double)count;
	cells = read_rows(path, &rows);
	figures.bare_rate = bare(other, cells, rows, &figures.bare_cpu);
	free(cells);
	remove_all(path);
	return figures;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

static int rounds(const char *directory, uint64_t count)
{
	double rate[ROUNDS], cpu[ROUNDS], bytes[ROUNDS], bare_rate[ROUNDS], bare_cpu[ROUNDS];
	char path[4096], other[4096];

	snprintf(path, sizeof(path), "%s/portwake-bench-%d.db", directory, getpid());
	snprintf(other, sizeof(other), "%s/portwake-bench-bare-%d.db", directory, getpid());
	for (int i = 0; i < ROUNDS; i++) {
		struct figures f = measure(path, other, count);

		rate[i] = f.rate;
		cpu[i] = f.cpu;
		bytes[i] = f.bytes;
		bare_rate[i] = f.bare_rate;
		bare_cpu[i] = f.bare_cpu;
	}
	printf("store: %llu lifetimes, medians of %d rounds, SQLite %s\n", (unsigned long long)count, ROUNDS, sqlite3_libversion());
	printf("  lifetimes/s          %10.0f\n", median(rate, ROUNDS));
	printf("  bare INSERTs/s       %10.0f  ratio %.2f\n", median(bare_rate, ROUNDS), median(rate, ROUNDS) / median(bare_rate, ROUNDS));
	printf("  CPU us/lifetime      %10.2f  all threads, making them included\n", median(cpu, ROUNDS));
	printf("  CPU us/bare INSERT   %10.2f\n", median(bare_cpu, ROUNDS));
	printf("  bytes/lifetime       %10.1f  everything in the file\n", median(bytes, ROUNDS));
	if (median(rate, ROUNDS) < RATE_MIN || median(bytes, ROUNDS) > BYTES_MAX) {
		printf("store: FAILED: at least %.0f lifetimes/s and at most %.0f bytes were wanted\n", RATE_MIN, BYTES_MAX);
		return 1;
	}
	return 0;
}

static int fill(const char *path, uint64_t count, uint64_t span)
{
	uint64_t start = now_boottime() + 3600000000000ULL;
	int64_t offset = (int64_t)now_realtime() - (int64_t)(start + span);
	struct store *store = begin(path, start, offset);

	feed(store, count, start, span, offset);
	store_close(&store, 600000000000ULL);
	printf("%s: %llu lifetimes over %llu s, %.1f bytes each\n", path, (unsigned long long)count,
	       (unsigned long long)(span / 1000000000), (double)file_size(path) / (double)count);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t count = LIFETIMES, span;

	make_processes();
	if (argc == 6 && !strcmp(argv[1], "--fill") && !strcmp(argv[4], "--span") &&
	    !num_u64(argv[3], 1, 1000000000, &count) && !num_seconds(argv[5], &span))
		return fill(argv[2], count, span);
	if (argc > 3 || (argc > 1 && num_u64(argv[1], 1000, 100000000, &count))) {
		fprintf(stderr, "usage: bench-store [LIFETIMES] [DIRECTORY] | --fill FILE LIFETIMES --span SECONDS\n");
		return 2;
	}
	return rounds(argc > 2 ? argv[2] : ".", count);
}
