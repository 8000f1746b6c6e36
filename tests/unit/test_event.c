/* SPDX-License-Identifier: GPL-2.0 */
/* Records of the wire: what each becomes, what is refused, and that no bytes whatever do harm. */
#include "user/event.h"

#include <netinet/in.h>

#include "tests/unit/unit.h"

static struct pw_head head(uint8_t kind, size_t size)
{
	return (struct pw_head){
		.kind = kind, .error = ECONNREFUSED, .size = (uint16_t)size, .port = 40000, .flags = PW_F_EPHEMERAL | PW_F_LOCKED,
		.state = STATE_LISTEN, .time = 123456789012345, .cookie = 0x123456789abcdef0,
	};
}

static struct pw_sock sock(void)
{
	struct pw_sock wire = {
		.head = head(PW_SOCK, PW_SOCK_V4), .sk = 11, .start = 13, .cgroup = 14, .pid = 15,
		.uid = 16, .exec_id = 17, .netns = 4026531840u, .remote_port = 443, .proto = IPPROTO_TCP,
		.family = AF_INET, .how = PW_HOW_CONNECT, .comm = "sixteen-or-more",
		.v4 = { .addr = { 127, 0, 0, 1 }, .remote = { 93, 184, 216, 34 } },
	};

	return wire;
}

static struct pw_sock sock_v6(void)
{
	struct pw_sock wire = sock();

	wire.head.size = sizeof(wire);
	wire.family = AF_INET6;
	for (size_t i = 0; i < 16; i++) {
		wire.v6.addr[i] = (uint8_t)(0x20 + i);
		wire.v6.remote[i] = (uint8_t)(0x40 + i);
	}
	return wire;
}

static struct pw_row row(void)
{
	struct pw_row wire = {
		.sock = sock(), .bucket = 12, .by_connect = 1, .traits = PW_T_REUSE | PW_T_DEAD, .bound_dev = 18, .sock_uid = 19,
	};

	wire.sock.head.flags |= PW_F_ROW;
	wire.sock.head.size = sizeof(wire);
	return wire;
}

/* From memory of just that size, so that a sanitizer sees a read past its end. */
static int decode(const void *data, size_t size, struct event *out)
{
	void *copy = malloc(size ? size : 1);
	int r;

	memcpy(copy, data, size);
	r = event_decode(copy, size, out);
	if (!r && out->exe)
		assert_true(out->exe >= (char *)copy && out->exe + out->exe_length <= (char *)copy + size);
	free(copy);
	return r;
}

static void check_head(const struct event *e, enum pw_kind kind)
{
	assert_int_equal(e->kind, kind);
	assert_int_equal(e->port, 40000);
	assert_int_equal(e->flags, PW_F_EPHEMERAL | PW_F_LOCKED);
	assert_int_equal(e->state, STATE_LISTEN);
	assert_int_equal(e->time, 123456789012345);
	assert_int_equal(e->cookie, 0x123456789abcdef0);
}

static void check_sock(const struct event *e)
{
	assert_int_equal(e->sk, 11);
	assert_int_equal(e->process.start, 13);
	assert_int_equal(e->process.cgroup, 14);
	assert_int_equal(e->process.pid, 15);
	assert_int_equal(e->process.uid, 16);
	assert_int_equal(e->process.exec_id, 17);
	assert_string_equal(e->process.comm, "sixteen-or-more");
	assert_int_equal(e->netns, 4026531840u);
	assert_int_equal(e->proto, IPPROTO_TCP);
	assert_int_equal(e->how, PW_HOW_CONNECT);
	assert_int_equal(e->error, ECONNREFUSED);
	assert_false(e->accepted);
	assert_int_equal(e->addr.family, AF_INET);
	assert_memory_equal(e->addr.bytes, "\x7f\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(e->remote.family, AF_INET);
	assert_memory_equal(e->remote.bytes, "\x5d\xb8\xd8\x22\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(e->remote_port, 443);
}

static void socket_record(void **state)
{
	struct pw_sock wire = sock();
	struct event e;

	(void)state;
	assert_int_equal(decode(&wire, PW_SOCK_V4, &e), 0);
	check_head(&e, PW_SOCK);
	check_sock(&e);
	assert_int_equal(e.bucket, 0);
	assert_int_equal(e.traits, 0);
}

static void row_record(void **state)
{
	struct pw_row wire = row();
	struct event e;

	(void)state;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	assert_int_equal(e.flags, PW_F_EPHEMERAL | PW_F_LOCKED | PW_F_ROW);
	check_sock(&e);
	assert_int_equal(e.bucket, 12);
	assert_true(e.by_connect);
	assert_int_equal(e.traits, PW_T_REUSE | PW_T_DEAD);
	assert_int_equal(e.bound_dev, 18);
	assert_int_equal(e.sock_uid, 19);
}

/* What is behind an IPv4 address, where there is something, must not make two of one. */
static void ipv4_address_is_four_bytes(void **state)
{
	struct pw_row wire = row();
	struct event e;

	(void)state;
	memset((char *)&wire.sock + PW_SOCK_V4, 0xaa, sizeof(wire.sock) - PW_SOCK_V4);
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	check_sock(&e);
}

static void ipv6_address_is_sixteen(void **state)
{
	struct pw_sock wire = sock_v6();
	struct event e;

	(void)state;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	assert_int_equal(e.addr.family, AF_INET6);
	assert_memory_equal(e.addr.bytes, wire.v6.addr, 16);
	assert_int_equal(e.remote.family, AF_INET6);
	assert_memory_equal(e.remote.bytes, wire.v6.remote, 16);
}

static void mapped_address_is_ipv4(void **state)
{
	static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 9 };
	struct pw_sock wire = sock_v6();
	struct event e;

	(void)state;
	memcpy(wire.v6.addr, mapped, 16);
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	assert_int_equal(e.addr.family, AF_INET);
	assert_memory_equal(e.addr.bytes, "\x7f\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

/* An address without a port is what an earlier connection left. */
static void no_remote_port_is_no_remote_end(void **state)
{
	struct pw_sock wire = sock();
	struct event e;

	(void)state;
	wire.remote_port = 0;
	assert_int_equal(decode(&wire, PW_SOCK_V4, &e), 0);
	assert_int_equal(e.remote.family, 0);
	assert_int_equal(e.remote_port, 0);
}

static void name_without_end_is_ended(void **state)
{
	struct pw_sock wire = sock();
	struct pw_close closed = { .head = head(PW_CLOSE, sizeof(closed)), .pid = 7 };
	struct event e;

	(void)state;
	memset(wire.comm, 'x', sizeof(wire.comm));
	assert_int_equal(decode(&wire, PW_SOCK_V4, &e), 0);
	assert_string_equal(e.process.comm, "xxxxxxxxxxxxxxx");
	memset(closed.comm, 'y', sizeof(closed.comm));
	assert_int_equal(decode(&closed, sizeof(closed), &e), 0);
	assert_string_equal(e.process.comm, "yyyyyyyyyyyyyyy");
}

static void denied_record(void **state)
{
	struct pw_row wire = row();
	struct event e;

	(void)state;
	wire.sock.head.kind = PW_DENIED;
	wire.sock.head.flags = 0;
	wire.sock.head.port = 0;
	wire.sock.head.cookie = 0;
	wire.sock.head.error = EADDRNOTAVAIL;
	wire.traits = PW_T_REUSE | PW_T_V6ONLY;
	wire.bound_dev = 3;
	wire.sock_uid = 65534;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	assert_int_equal(e.kind, PW_DENIED);
	assert_int_equal(e.port, 0);
	assert_int_equal(e.cookie, 0);
	assert_int_equal(e.error, EADDRNOTAVAIL);
	assert_int_equal(e.how, PW_HOW_CONNECT);
	assert_int_equal(e.remote_port, 443);
	assert_int_equal(e.traits, PW_T_REUSE | PW_T_V6ONLY);
	assert_int_equal(e.bound_dev, 3);
	assert_int_equal(e.sock_uid, 65534);
	assert_int_equal(e.process.pid, 15);
	wire.sock.head.error = 0;
	assert_int_equal(decode(&wire, sizeof(wire), &e), -EBADMSG);
	wire.sock.head.error = EACCES;
	wire.sock.how = PW_HOW_NONE;
	assert_int_equal(decode(&wire, sizeof(wire), &e), -EBADMSG);
}

static void free_record(void **state)
{
	struct pw_head wire = head(PW_FREE, sizeof(wire));
	struct event e;

	(void)state;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	check_head(&e, PW_FREE);
	assert_int_equal(e.error, ECONNREFUSED);
	assert_int_equal(e.process.pid, 0);
}

static void close_record(void **state)
{
	struct pw_close wire = { .head = head(PW_CLOSE, sizeof(wire)), .pid = 77, .comm = "closer" };
	struct event e;

	(void)state;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	check_head(&e, PW_CLOSE);
	assert_int_equal(e.process.pid, 77);
	assert_string_equal(e.process.comm, "closer");
}

static void time_wait_records(void **state)
{
	struct pw_tw wire = { .head = head(PW_TW_START, sizeof(wire)), .tw = 0xffff888012345678 };
	struct event e;

	(void)state;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	check_head(&e, PW_TW_START);
	assert_int_equal(e.tw, 0xffff888012345678);
	wire.head.kind = PW_TW_END;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	check_head(&e, PW_TW_END);
	assert_int_equal(e.tw, 0xffff888012345678);
}

static void process_record(void **state)
{
	static const char path[] = "/usr/bin/python3.11";
	struct pw_process wire = { .head = head(PW_PROCESS, sizeof(wire)), .start = 5, .pid = 6, .exec_id = 7 };
	struct event e;

	(void)state;
	wire.path_at = PW_PATH - sizeof(path);
	memcpy(wire.path + wire.path_at, path, sizeof(path));
	assert_int_equal(event_decode(&wire, sizeof(wire), &e), 0);
	check_head(&e, PW_PROCESS);
	assert_int_equal(e.process.start, 5);
	assert_int_equal(e.process.pid, 6);
	assert_int_equal(e.process.exec_id, 7);
	assert_int_equal(e.exe_length, strlen(path));
	assert_memory_equal(e.exe, path, strlen(path));
	wire.path_at = PW_PATH;
	assert_int_equal(event_decode(&wire, sizeof(wire), &e), 0);
	assert_null(e.exe);
	wire.path_at = 0;
	assert_int_equal(decode(&wire, sizeof(wire), &e), 0);
	assert_int_equal(e.exe_length, PW_PATH - 1);
}

/* ---- refused ---- */

#define REFUSED(change)									\
	do {										\
		struct pw_sock wire = sock();						\
		struct event e;								\
											\
		assert_int_equal(decode(&wire, PW_SOCK_V4, &e), 0);			\
		change;									\
		assert_int_equal(decode(&wire, PW_SOCK_V4, &e), -EBADMSG);		\
	} while (0)

static void field_out_of_its_range_is_refused(void **state)
{
	(void)state;
	REFUSED(wire.family = AF_UNIX);
	REFUSED(wire.family = AF_INET6);
	REFUSED(wire.head.flags |= PW_F_ROW);
	REFUSED(wire.family = 0);
	REFUSED(wire.proto = IPPROTO_SCTP);
	REFUSED(wire.proto = IPPROTO_ICMP);
	REFUSED(wire.how = PW_HOW_END);
	REFUSED(wire.head.port = 0);
	REFUSED(wire.head.cookie = 0);
	REFUSED(wire.head.kind = PW_NONE);
	REFUSED(wire.head.kind = PW_KIND_END);
	REFUSED(wire.head.kind = 0xff);
	REFUSED(wire.head.kind = PW_CLOSE);
	REFUSED(wire.head.size--);
	REFUSED(wire.head.size = 0);
}

static void process_out_of_its_range_is_refused(void **state)
{
	struct pw_process wire = { .head = head(PW_PROCESS, sizeof(wire)), .pid = 6, .path_at = PW_PATH + 1 };
	struct event e;

	(void)state;
	assert_int_equal(decode(&wire, sizeof(wire), &e), -EBADMSG);
	wire.path_at = UINT32_MAX;
	assert_int_equal(decode(&wire, sizeof(wire), &e), -EBADMSG);
	wire.path_at = PW_PATH;
	wire.pid = 0;
	assert_int_equal(decode(&wire, sizeof(wire), &e), -EBADMSG);
}

static const size_t sizes[] = {
	[PW_SOCK] = sizeof(struct pw_sock), [PW_FREE] = sizeof(struct pw_head), [PW_CLOSE] = sizeof(struct pw_close),
	[PW_TW_START] = sizeof(struct pw_tw), [PW_TW_END] = sizeof(struct pw_tw),
	[PW_PROCESS] = sizeof(struct pw_process), [PW_DENIED] = sizeof(struct pw_row),
};

union wire {
	struct pw_head head;
	struct pw_sock sock;
	struct pw_row row;
	struct pw_process process;
	struct pw_tw tw;
	unsigned char bytes[2048];
};

/* Each kind in each size up to well beyond its own: only its own passes, whatever the record says of itself. */
static void size_of_another_kind_is_refused(void **state)
{
	static union wire wire;
	struct event e;

	(void)state;
	for (uint8_t kind = PW_SOCK; kind < PW_KIND_END; kind++) {
		for (size_t size = 0; size <= sizes[kind] + 16; size++) {
			wire.head = head(kind, size);
			if (kind != PW_SOCK && kind != PW_PROCESS && kind != PW_DENIED && size == sizes[kind])
				assert_int_equal(decode(&wire, size, &e), 0);
			else
				assert_int_equal(decode(&wire, size, &e), -EBADMSG);
			wire.head = head(kind, sizes[kind]);
			if (size != sizes[kind])
				assert_int_equal(decode(&wire, size, &e), -EBADMSG);
		}
	}
}

/* ---- random ---- */

static void randomize(uint64_t *state, void *data, size_t size)
{
	unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(unit_random(state) >> 32);
}

/* What is let through keeps its promises. */
static void check_promises(const struct event *e)
{
	assert_true(e->kind > PW_NONE && e->kind < PW_KIND_END);
	assert_non_null(memchr(e->process.comm, '\0', PW_COMM));
	if (e->kind == PW_SOCK) {
		assert_true(e->port && e->cookie && e->how < PW_HOW_END);
		assert_true(e->addr.family == AF_INET || e->addr.family == AF_INET6);
		assert_true(!e->remote.family == !e->remote_port);
	}
	if (e->kind == PW_DENIED)
		assert_true(e->error && e->how > PW_HOW_NONE && e->how < PW_HOW_END);
	if (e->kind == PW_TW_END)
		assert_true(e->ended < PW_ENDED_END);
	if (e->kind == PW_PROCESS)
		assert_true(e->process.pid && e->exe_length < PW_PATH);
}

static void random_bytes_do_no_harm(void **state)
{
	unsigned char bytes[1200];
	uint64_t random = 1;
	struct event e;

	(void)state;
	for (size_t round = 0; round < 20; round++) {
		for (size_t size = 0; size <= sizeof(bytes); size++) {
			randomize(&random, bytes, size);
			if (!decode(bytes, size, &e))
				check_promises(&e);
		}
	}
}

/* Random insides behind a head that is right: these get past the first checks. */
static void random_records_do_no_harm(void **state)
{
	static union wire wire;
	size_t passed[PW_KIND_END] = { 0 };
	uint64_t random = 2;
	struct event e;

	(void)state;
	for (size_t round = 0; round < 30000; round++) {
		uint8_t kind = (uint8_t)(PW_SOCK + unit_random(&random) % (PW_KIND_END - PW_SOCK));

		randomize(&random, &wire, kind == PW_PROCESS ? sizeof(struct pw_process) - PW_PATH : sizes[kind]);
		wire.head.kind = kind;
		wire.head.size = (uint16_t)sizes[kind];
		if ((kind == PW_SOCK || kind == PW_DENIED) && round % 2) {
			wire.sock.family = wire.sock.family % 2 ? AF_INET : AF_INET6;
			wire.sock.proto = wire.sock.proto % 2 ? IPPROTO_TCP : IPPROTO_UDP;
			wire.sock.how %= PW_HOW_END + 1;
		}
		if (kind == PW_PROCESS)
			wire.process.path_at %= PW_PATH + 10;
		if (kind == PW_TW_START || kind == PW_TW_END)
			wire.tw.ended %= PW_ENDED_END + 1;
		if (decode(&wire, sizes[kind], &e))
			continue;
		check_promises(&e);
		passed[kind]++;
	}
	for (size_t kind = PW_SOCK; kind < PW_KIND_END; kind++)
		assert_true(passed[kind] > 100);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(socket_record),
	cmocka_unit_test(row_record),
	cmocka_unit_test(ipv4_address_is_four_bytes),
	cmocka_unit_test(ipv6_address_is_sixteen),
	cmocka_unit_test(mapped_address_is_ipv4),
	cmocka_unit_test(no_remote_port_is_no_remote_end),
	cmocka_unit_test(name_without_end_is_ended),
	cmocka_unit_test(denied_record),
	cmocka_unit_test(free_record),
	cmocka_unit_test(close_record),
	cmocka_unit_test(time_wait_records),
	cmocka_unit_test(process_record),
	cmocka_unit_test(field_out_of_its_range_is_refused),
	cmocka_unit_test(process_out_of_its_range_is_refused),
	cmocka_unit_test(size_of_another_kind_is_refused),
	cmocka_unit_test(random_bytes_do_no_harm),
	cmocka_unit_test(random_records_do_no_harm),
};

UNIT_MAIN(tests)
