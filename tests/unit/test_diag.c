/* SPDX-License-Identifier: GPL-2.0 */
/* sock_diag: what a message decodes to, and dumps of sockets that this test holds itself. */
#include "user/diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/unit.h"

static struct inet_diag_msg message(uint8_t family)
{
	struct inet_diag_msg m = {
		.idiag_family = family, .idiag_state = STATE_ESTABLISHED, .idiag_uid = 1000, .idiag_inode = 77,
		.id = { .idiag_sport = htons(40000), .idiag_dport = htons(443), .idiag_cookie = { 7, 1 } },
	};

	m.id.idiag_src[0] = htonl(0x7f000001);
	m.id.idiag_dst[0] = htonl(0xc0000201);
	return m;
}

static void message_decodes(void **state)
{
	struct inet_diag_msg m = message(AF_INET);
	struct diag_row row;

	(void)state;
	assert_true(diag_decode(&m, &row));
	assert_int_equal(row.cookie, 0x100000007);
	assert_int_equal(row.port, 40000);
	assert_int_equal(row.remote_port, 443);
	assert_int_equal(row.uid, 1000);
	assert_int_equal(row.inode, 77);
	assert_int_equal(row.state, STATE_ESTABLISHED);
	assert_false(row.time_wait);
	assert_int_equal(row.addr.family, AF_INET);
	assert_memory_equal(row.addr.bytes, "\x7f\0\0\1", 4);
	assert_memory_equal(row.remote.bytes, "\xc0\0\2\1", 4);
}

static void bound_one_has_no_remote_end(void **state)
{
	struct inet_diag_msg m = message(AF_INET);
	struct diag_row row;

	(void)state;
	m.idiag_state = 13;
	m.id.idiag_dport = 0;
	assert_true(diag_decode(&m, &row));
	assert_int_equal(row.state, STATE_CLOSE);
	assert_int_equal(row.remote.family, 0);
}

static void time_left_is_a_time_waits(void **state)
{
	struct inet_diag_msg m = message(AF_INET);
	struct diag_row row;

	(void)state;
	m.idiag_expires = 59000;
	m.idiag_timer = 2;
	assert_true(diag_decode(&m, &row));
	assert_false(row.time_wait);
	assert_int_equal(row.expires_ms, 0);
	m.idiag_timer = 3;
	m.idiag_state = STATE_FIN_WAIT2;
	assert_true(diag_decode(&m, &row));
	assert_true(row.time_wait);
	assert_int_equal(row.expires_ms, 59000);
}

static void mapped_address_is_ipv4(void **state)
{
	struct inet_diag_msg m = message(AF_INET6);
	struct diag_row row;

	(void)state;
	memset(m.id.idiag_src, 0, sizeof(m.id.idiag_src));
	m.id.idiag_src[2] = htonl(0xffff);
	m.id.idiag_src[3] = htonl(0x7f000001);
	assert_true(diag_decode(&m, &row));
	assert_int_equal(row.addr.family, AF_INET);
	assert_memory_equal(row.addr.bytes, "\x7f\0\0\1", 4);
	assert_int_equal(row.remote.family, AF_INET6);
}

static void what_holds_nothing_is_refused(void **state)
{
	struct inet_diag_msg m = message(AF_INET);
	struct diag_row row;

	(void)state;
	m.id.idiag_sport = 0;
	assert_false(diag_decode(&m, &row));
	m = message(AF_INET);
	m.id.idiag_cookie[0] = m.id.idiag_cookie[1] = 0;
	assert_false(diag_decode(&m, &row));
	m = message(AF_UNIX);
	assert_false(diag_decode(&m, &row));
}

/* ---- the kernel ---- */

/* Where it is allowed; the tests are right among other people's sockets as well. */
static void go_apart(void)
{
	static bool apart;

	apart = apart || !unshare(CLONE_NEWNET);
}

static int bound(int family, int type, bool listens)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	int fd, r;

	go_apart();
	fd = socket(family, type | SOCK_CLOEXEC, 0);
	r = family == AF_INET ? bind(fd, (struct sockaddr *)&four, sizeof(four))
			      : bind(fd, (struct sockaddr *)&six, sizeof(six));
	assert_int_equal(r, 0);
	if (listens)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 at;
	socklen_t size = sizeof(at);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	return ntohs(at.sin6_port);
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size), 0);
	return cookie;
}

struct found {
	uint64_t cookie;
	size_t rows, hits;
	struct diag_row row;
};

static void on_row(void *arg, const struct diag_row *row)
{
	struct found *found = arg;

	found->rows++;
	if (row->cookie != found->cookie)
		return;
	found->hits++;
	found->row = *row;
}

static struct found seek(int fd, int family, uint8_t proto, uint32_t states, bool by_port)
{
	uint16_t port = port_of(fd);
	struct diag_query query = { .family = (uint8_t)family, .proto = proto, .states = states };
	struct found found = { .cookie = cookie_of(fd) };
	int r;

	if (by_port)
		query.first = query.last = port;
	r = diag_dump(&query, on_row, &found);
	if (r == -ENOENT)
		skip();
	assert_int_equal(r, 0);
	return found;
}

static void dump_finds_what_is_sought(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		_cleanup_close_ int listener = bound(families[i], SOCK_STREAM, true);
		_cleanup_close_ int udp = bound(families[i], SOCK_DGRAM, false);
		struct found found = seek(listener, families[i], IPPROTO_TCP, DIAG_ANY, true);

		assert_int_equal(found.hits, 1);
		assert_int_equal(found.row.state, STATE_LISTEN);
		assert_int_equal(found.row.port, port_of(listener));
		assert_int_equal(found.row.addr.family, families[i]);
		assert_int_equal(seek(listener, families[i], IPPROTO_TCP, 1u << STATE_CLOSE, true).hits, 0);
		assert_int_equal(seek(udp, families[i], IPPROTO_UDP, DIAG_ANY, true).hits, 1);
		assert_int_equal(seek(udp, families[i], IPPROTO_UDP, DIAG_ANY, false).hits, 1);
	}
}

static void port_is_sought_in_the_kernel(void **state)
{
	_cleanup_close_ int one = bound(AF_INET, SOCK_STREAM, true), two = bound(AF_INET, SOCK_STREAM, true);
	struct diag_query query = { AF_INET, IPPROTO_TCP, DIAG_ANY, 1, (uint16_t)(port_of(two) - 1) };
	struct found found = { .cookie = cookie_of(two) };

	(void)state;
	assert_int_equal(seek(one, AF_INET, IPPROTO_TCP, DIAG_ANY, true).hits, 1);
	assert_int_equal(diag_dump(&query, on_row, &found), 0);
	assert_int_equal(found.hits, 0);
	query.last++;
	assert_int_equal(diag_dump(&query, on_row, &found), 0);
	assert_int_equal(found.hits, 1);
	query.first = query.last;
	found = (struct found){ .cookie = cookie_of(two) };
	assert_int_equal(diag_dump(&query, on_row, &found), 0);
	assert_int_equal(found.hits, 1);
	assert_true(found.rows < 3);
}

static void bound_and_no_more_is_found(void **state)
{
	_cleanup_close_ int fd = bound(AF_INET, SOCK_STREAM, false), other = bound(AF_INET, SOCK_STREAM, false);
	struct found found = seek(fd, AF_INET, IPPROTO_TCP, DIAG_BOUND, true);

	(void)state;
	(void)other;
	if (!found.rows)
		skip();
	assert_int_equal(found.rows, 1);
	assert_int_equal(found.hits, 1);
	assert_int_equal(found.row.state, STATE_CLOSE);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(message_decodes),
	cmocka_unit_test(bound_one_has_no_remote_end),
	cmocka_unit_test(time_left_is_a_time_waits),
	cmocka_unit_test(mapped_address_is_ipv4),
	cmocka_unit_test(what_holds_nothing_is_refused),
	cmocka_unit_test(dump_finds_what_is_sought),
	cmocka_unit_test(port_is_sought_in_the_kernel),
	cmocka_unit_test(bound_and_no_more_is_found),
};

UNIT_MAIN(tests)
