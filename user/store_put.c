/* SPDX-License-Identifier: GPL-2.0 */
/* Rows to tables: values, chunks, the tail. */
#include "user/store_put.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "user/schema.h"
#include "user/sql.h"

enum {
	ADD_TEXT, ADD_ENDPOINT, ADD_PROCESS, ADD_CHUNK, SET_CHUNK, ADD_LIFETIME, ADD_TAIL, ADD_DENIAL, STATEMENTS
};

_Static_assert(STATEMENTS == PUT_STATEMENTS, "room for every statement");

static const char *const texts[STATEMENTS] = {
	[ADD_TEXT] = "INSERT INTO text VALUES(?, ?)",
	[ADD_ENDPOINT] = "INSERT INTO endpoint VALUES(?, ?, ?, ?)",
	[ADD_PROCESS] = "INSERT INTO process VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_CHUNK] = "INSERT INTO chunk VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[SET_CHUNK] = ("UPDATE chunk SET since = ?2, until = ?3, lifetimes = ?4, denials = ?5, text = ?6, endpoint = ?7, "
		       "process = ?8 WHERE id = ?1"),
	[ADD_LIFETIME] = "INSERT INTO lifetime VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_TAIL] = "INSERT INTO tail VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_DENIAL] = "INSERT INTO denial VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
};

int put_prepare(struct put *p, struct sqlite3 *db)
{
	return sql_prepare(db, texts, STATEMENTS, p->statements);
}

void put_finish(struct put *p)
{
	sql_finish(p->statements, STATEMENTS);
}

/* ---- values that rows share ---- */

/* 0: NULL. *number is 0 for text NULL. */
static int put_text(struct put *p, const char *text, uint32_t *number)
{
	sqlite3_stmt *s = p->statements[ADD_TEXT];
	bool fresh;

	*number = 0;
	if (!text)
		return 0;
	*number = dict_number(&p->texts, text, strlen(text), &fresh);
	if (!*number)
		return -ENOMEM;
	if (!fresh)
		return 0;
	sqlite3_bind_int64(s, 1, *number);
	sqlite3_bind_text(s, 2, text, -1, SQLITE_STATIC);
	return sql_run(s);
}

struct endpoint {
	uint32_t netns;
	uint8_t proto, family;
	uint8_t bytes[16];
	uint8_t pad[2];
};

static int add_endpoint(struct put *p, uint32_t number, const struct endpoint *endpoint)
{
	sqlite3_stmt *s = p->statements[ADD_ENDPOINT];
	char text[INET6_ADDRSTRLEN];

	sqlite3_bind_int64(s, 1, number);
	sqlite3_bind_int64(s, 2, endpoint->netns);
	sqlite3_bind_int64(s, 3, endpoint->proto);
	if (endpoint->family && inet_ntop(endpoint->family, endpoint->bytes, text, sizeof(text)))
		sqlite3_bind_text(s, 4, text, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(s, 4);
	return sql_run(s);
}

static size_t addr_size(const struct event_addr *addr)
{
	return addr->family == AF_INET ? 4 : addr->family == AF_INET6 ? 16 : 0;
}

int put_endpoint(struct put *p, const struct row *row, uint32_t *number)
{
	struct endpoint endpoint = { .netns = row->netns, .proto = row->proto, .family = row->addr.family };
	bool fresh;

	memcpy(endpoint.bytes, row->addr.bytes, addr_size(&row->addr));
	*number = dict_number(&p->endpoints, &endpoint, sizeof(endpoint), &fresh);
	if (!*number)
		return -ENOMEM;
	return fresh ? add_endpoint(p, *number, &endpoint) : 0;
}

int put_process(struct put *p, const struct row *row)
{
	const struct row_process *who = row->person;
	const char *const strings[] = { who->exe, who->cgroup, who->container, who->cmdline };
	sqlite3_stmt *s = p->statements[ADD_PROCESS];
	uint32_t number;

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (put_text(p, strings[i], &number))
			return -EIO;
		sql_bind_nonzero(s, 7 + (int)i, number);
	}
	sqlite3_bind_int64(s, 1, row->process);
	sqlite3_bind_int64(s, 2, who->pid);
	sql_bind_nonzero(s, 3, who->start);
	sqlite3_bind_int64(s, 4, who->exec_id);
	sqlite3_bind_int64(s, 5, who->uid);
	sqlite3_bind_text(s, 6, who->comm, -1, SQLITE_STATIC);
	return sql_run(s);
}

/* IPv4 in six bytes, with the sign that makes it so. */
void put_bind_remote(sqlite3_stmt *s, int at, const struct row *row)
{
	uint8_t bytes[18];
	uint32_t addr;

	if (!row->remote.family) {
		sqlite3_bind_null(s, at);
	} else if (row->remote.family == AF_INET) {
		memcpy(&addr, row->remote.bytes, sizeof(addr));
		sqlite3_bind_int64(s, at, (int64_t)(int32_t)ntohl(addr) * 65536 + row->remote_port);
	} else {
		memcpy(bytes, row->remote.bytes, 16);
		bytes[16] = (uint8_t)(row->remote_port >> 8);
		bytes[17] = (uint8_t)row->remote_port;
		sqlite3_bind_blob(s, at, bytes, sizeof(bytes), SQLITE_TRANSIENT);
	}
}

/* ---- chunks ---- */

void put_begin(struct put *p, struct filling *c, uint64_t time)
{
	*c = (struct filling){
		.id = p->state.next_chunk++, .origin = (int64_t)time, .since = (int64_t)time, .until = (int64_t)time,
		.began = time, .text = p->state.text_floor, .endpoint = p->endpoints.floor, .process = p->state.process_floor,
		.fresh = true,
	};
}

int put_chunk(struct put *p, struct filling *c)
{
	if (!c->id)
		return 0;
	if (!c->fresh)
		return SQL_RUN(p->statements[SET_CHUNK], c->id, c->since, c->until, c->lifetimes, c->denials, c->text,
			       c->endpoint, c->process);
	c->fresh = false;
	return SQL_RUN(p->statements[ADD_CHUNK], c->id, p->session, c->origin, c->since, c->until, c->lifetimes, c->denials,
		       c->text, c->endpoint, c->process);
}

static void span_chunk(struct filling *c, const struct span *span)
{
	if ((int64_t)span->since < c->since)
		c->since = (int64_t)span->since;
	if ((int64_t)span->until > c->until)
		c->until = (int64_t)span->until;
	c->lifetimes++;
}

uint32_t put_bits(const struct row *row, uint32_t bits)
{
	uint32_t generation = row->generation ? row->generation - 1 : 0;

	return bits | (generation < 512 ? generation << SCHEMA_GENERATION_SHIFT : 511U << SCHEMA_GENERATION_SHIFT);
}

/* ended to holder, which `lifetime` and `tail` have alike, from column 2 on. */
static int bind_lifetime(struct put *p, sqlite3_stmt *s, const struct filling *c, const struct row *row,
			 const struct span *span)
{
	uint32_t endpoint;

	if (put_endpoint(p, row, &endpoint))
		return -EIO;
	sqlite3_bind_int64(s, 2, (int64_t)span->until - c->origin);
	sqlite3_bind_int64(s, 3, (int64_t)(span->until - span->since));
	if (span->closed_at)
		sqlite3_bind_int64(s, 4, (int64_t)(span->until - span->closed_at));
	else
		sqlite3_bind_null(s, 4);
	if (span->tw_at)
		sqlite3_bind_int64(s, 5, (int64_t)(span->until - span->tw_at));
	else
		sqlite3_bind_null(s, 5);
	sqlite3_bind_int64(s, 6, (int64_t)row->cookie);
	sql_bind_nonzero(s, 7, span->process);
	sqlite3_bind_int64(s, 8, endpoint);
	put_bind_remote(s, 9, row);
	sqlite3_bind_int64(s, 10, put_bits(row, span->bits));
	sql_bind_nonzero(s, 11, span->holder);
	return 0;
}

int put_tail(struct put *p, const struct row *row, const struct span *span)
{
	struct filling *c = &p->state.tail;
	sqlite3_stmt *s = p->statements[ADD_TAIL];
	int r;

	if (!c->id)
		put_begin(p, c, span->until);
	r = bind_lifetime(p, s, c, row, span);
	if (r)
		return r;
	sqlite3_bind_int64(s, 1, schema_id(c->id, 0, c->in_tail++));
	sqlite3_bind_int64(s, 12, row->port);
	put_lower(&c->process, span->process ? span->process : c->process);
	put_lower(&c->process, span->holder ? span->holder : c->process);
	span_chunk(c, span);
	return sql_run(s);
}

int put_lifetime(struct put *p, struct filling *c, const struct row *row, uint32_t number)
{
	sqlite3_stmt *s = p->statements[ADD_LIFETIME];
	struct span span = span_of(row);

	if (bind_lifetime(p, s, c, row, &span))
		return -EIO;
	sqlite3_bind_int64(s, 1, schema_id(c->id, row->port, number));
	span_chunk(c, &span);
	return sql_run(s);
}

/* ---- denials ---- */

int put_denial(struct put *p, const struct row *row)
{
	struct filling *c = &p->state.tail;
	sqlite3_stmt *s = p->statements[ADD_DENIAL];
	uint32_t endpoint, detail;

	if (!c->id)
		put_begin(p, c, row->since);
	if (put_endpoint(p, row, &endpoint) || put_text(p, row->detail, &detail))
		return -EIO;
	sqlite3_bind_int64(s, 1, c->id << SCHEMA_CHUNK_SHIFT | c->denials++);
	sqlite3_bind_int64(s, 2, (int64_t)row->since);
	sqlite3_bind_int64(s, 3, (int64_t)row->until);
	sqlite3_bind_int64(s, 4, row->count);
	sql_bind_nonzero(s, 5, row->process);
	sqlite3_bind_int64(s, 6, endpoint);
	sqlite3_bind_int64(s, 7, row->port);
	put_bind_remote(s, 8, row);
	sqlite3_bind_int64(s, 9, row->how);
	sqlite3_bind_int64(s, 10, row->bits);
	sqlite3_bind_int64(s, 11, row->cause);
	sqlite3_bind_int64(s, 12, row->traits);
	sql_bind_nonzero(s, 13, detail);
	put_lower(&c->since, (int64_t)row->since);
	if ((int64_t)row->until > c->until)
		c->until = (int64_t)row->until;
	p->denials += row->count;
	return sql_run(s);
}
