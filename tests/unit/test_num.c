/* SPDX-License-Identifier: GPL-2.0 */
/* The strict parser: every form, every bound, and that failure touches nothing. */
#include "user/num.h"

#include "bpf/event.h"
#include "tests/unit/unit.h"

#define UNTOUCHED 0xdeadbeefdeadbeefULL
#define SEC 1000000000ULL

typedef int (*parser)(const char *text, uint64_t *out);

struct number_case {
	const char *text;
	int r;
	uint64_t value;
};

static void run(parser parse, const struct number_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t out = UNTOUCHED;
		int r = parse(cases[i].text, &out);

		if (r != cases[i].r || out != (r ? UNTOUCHED : cases[i].value))
			fail_msg("\"%s\": %d, %lu", cases[i].text, r, (unsigned long)out);
	}
}

static int any_u64(const char *text, uint64_t *out)
{
	return num_u64(text, 0, UINT64_MAX, out);
}

static int ten_to_twenty(const char *text, uint64_t *out)
{
	return num_u64(text, 10, 20, out);
}

static int size_of_ring(const char *text, uint64_t *out)
{
	return num_size(text, 4096, 1ULL << 40, out);
}

static int any_size(const char *text, uint64_t *out)
{
	return num_size(text, 0, UINT64_MAX, out);
}

static const char *const malformed[] = {
	"", " ", "-", "-1", "+1", " 1", "1 ", "1\n", "0x10", "1e3", "one", "1_000", "1,000", "\xd9\xa1", "--1",
};

static void malformed_numbers(void **state)
{
	static const parser parsers[] = { any_u64, any_size, num_seconds };

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(parsers); p++) {
		for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
			const struct number_case c = { malformed[i], -EINVAL, 0 };

			run(parsers[p], &c, 1);
		}
	}
}

static void whole_numbers(void **state)
{
	static const struct number_case any[] = {
		{ "0", 0, 0 }, { "007", 0, 7 }, { "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 }, { "99999999999999999999999", -ERANGE, 0 },
		{ "99999999999999999999999x", -EINVAL, 0 }, { "1.5", -EINVAL, 0 },
	};
	static const struct number_case bounded[] = {
		{ "9", -ERANGE, 0 }, { "10", 0, 10 }, { "20", 0, 20 }, { "21", -ERANGE, 0 },
	};

	(void)state;
	run(any_u64, any, ARRAY_SIZE(any));
	run(ten_to_twenty, bounded, ARRAY_SIZE(bounded));
}

static void sizes(void **state)
{
	static const struct number_case any[] = {
		{ "0", 0, 0 }, { "4096", 0, 4096 }, { "64K", 0, 65536 }, { "64k", 0, 65536 }, { "8M", 0, 8 << 20 },
		{ "2g", 0, 2ULL << 30 }, { "17179869183G", 0, 17179869183ULL << 30 },
		{ "17179869184G", -ERANGE, 0 }, { "99999999999999999999K", -ERANGE, 0 }, { "64KB", -EINVAL, 0 },
		{ "K", -EINVAL, 0 }, { "64T", -EINVAL, 0 }, { "1.5M", -EINVAL, 0 }, { "64\x0b", -EINVAL, 0 },
	};
	static const struct number_case bounded[] = {
		{ "4095", -ERANGE, 0 }, { "4K", 0, 4096 }, { "1024G", 0, 1ULL << 40 }, { "1025G", -ERANGE, 0 },
	};

	(void)state;
	run(any_size, any, ARRAY_SIZE(any));
	run(size_of_ring, bounded, ARRAY_SIZE(bounded));
}

static void seconds(void **state)
{
	static const struct number_case cases[] = {
		{ "0", 0, 0 }, { "5", 0, 5 * SEC }, { "5s", 0, 5 * SEC }, { "1.5", 0, 3 * SEC / 2 },
		{ "0.000000001", 0, 1 }, { "1.000000001s", 0, SEC + 1 }, { "250ms", 0, SEC / 4 },
		{ "1.5ms", 0, 1500000 }, { "2m", 0, 120 * SEC }, { "1h", 0, 3600 * SEC }, { "1.5h", 0, 5400 * SEC },
		{ "0.999999999h", 0, 3599999996400ULL }, { "5124095h", 0, 18446742000 * SEC },
		{ "5124096h", -ERANGE, 0 }, { "18446744073", 0, 18446744073 * SEC }, { "18446744074", -ERANGE, 0 },
		{ "99999999999999999999", -ERANGE, 0 }, { "1.", -EINVAL, 0 }, { ".5", -EINVAL, 0 },
		{ "1.0000000001", -EINVAL, 0 }, { "1.-5", -EINVAL, 0 }, { "1.5.5", -EINVAL, 0 },
		{ "7d", 0, 604800 * SEC }, { "1w", -EINVAL, 0 }, { "1hs", -EINVAL, 0 }, { "1S", -EINVAL, 0 }, { "5 s", -EINVAL, 0 },
	};

	(void)state;
	run(num_seconds, cases, ARRAY_SIZE(cases));
}

/* The set has exactly these ports. */
static void check_ports(const char *text, const uint16_t *ports, size_t n)
{
	static struct port_set set;
	size_t count = 0;

	memset(&set, 0xff, sizeof(set));
	assert_int_equal(num_port_list(text, &set), 0);
	for (size_t i = 0; i < n; i++)
		assert_true(port_set_has(&set, ports[i]));
	for (unsigned int p = 0; p < NUM_PORTS; p++)
		count += port_set_has(&set, (uint16_t)p);
	assert_int_equal(count, n);
}

static void port_lists(void **state)
{
	(void)state;
	check_ports("80", (uint16_t[]){ 80 }, 1);
	check_ports("1,5-9", (uint16_t[]){ 1, 5, 6, 7, 8, 9 }, 6);
	check_ports("63-65,64,65535", (uint16_t[]){ 63, 64, 65, 65535 }, 4);
	check_ports("7-7", (uint16_t[]){ 7 }, 1);
}

static void all_ports(void **state)
{
	static struct port_set set;

	(void)state;
	assert_int_equal(num_port_list("1-65535", &set), 0);
	assert_false(port_set_has(&set, 0));
	for (unsigned int p = 1; p < NUM_PORTS; p++)
		assert_true(port_set_has(&set, (uint16_t)p));
}

static void bad_port_lists(void **state)
{
	static const struct {
		const char *text;
		int r;
	} cases[] = {
		{ "", -EINVAL }, { ",", -EINVAL }, { "1,", -EINVAL }, { ",1", -EINVAL }, { "1,,2", -EINVAL },
		{ "9-5", -EINVAL }, { "5-", -EINVAL }, { "-5", -EINVAL }, { "1-2-3", -EINVAL }, { "1 ,2", -EINVAL },
		{ "http", -EINVAL }, { "80/tcp", -EINVAL }, { "0", -ERANGE }, { "65536", -ERANGE },
		{ "70000", -ERANGE }, { "1-70000", -ERANGE }, { "99999999999999999999", -ERANGE },
	};
	static struct port_set set, before;

	(void)state;
	memset(&before, 0x5a, sizeof(before));
	set = before;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = num_port_list(cases[i].text, &set);

		if (r != cases[i].r)
			fail_msg("\"%s\": %d", cases[i].text, r);
		assert_memory_equal(&set, &before, sizeof(set));
	}
}

static void protocols(void **state)
{
	static const char *const bad[] = { "", "icmp", "tcp,", ",tcp", "tcp,,udp", "tcp udp", "udplit", "6" };
	unsigned int mask = 99;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(num_proto_list(bad[i], &mask), -EINVAL);
		assert_int_equal(mask, 99);
	}
	assert_int_equal(num_proto_list("tcp", &mask), 0);
	assert_int_equal(mask, PW_PROTO_TCP);
	assert_int_equal(num_proto_list("UDP,udplite", &mask), 0);
	assert_int_equal(mask, PW_PROTO_UDP | PW_PROTO_UDPLITE);
	assert_int_equal(num_proto_list("tcp,udp,tcp", &mask), 0);
	assert_int_equal(mask, PW_PROTO_TCP | PW_PROTO_UDP);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(malformed_numbers),
	cmocka_unit_test(whole_numbers),
	cmocka_unit_test(sizes),
	cmocka_unit_test(seconds),
	cmocka_unit_test(port_lists),
	cmocka_unit_test(all_ports),
	cmocka_unit_test(bad_port_lists),
	cmocka_unit_test(protocols),
};

UNIT_MAIN(tests)
