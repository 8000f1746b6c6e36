/* SPDX-License-Identifier: GPL-2.0 */
/* Questions to the kernel that the tests run on. */
#include "user/kernel.h"

#include "tests/unit/unit.h"

#include "user/base.h"

static void functions_are_found_by_name(void **state)
{
	struct kernel_function functions[] = { { "inet_put_port", 0 }, { "inet_put_portx", 0 }, { "tcp_set_state", 0 } };

	(void)state;
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		skip();
	assert_int_equal(kernel_functions(functions, ARRAY_SIZE(functions)), 0);
	assert_int_not_equal(functions[0].id, 0);
	assert_int_equal(functions[1].id, 0);
	assert_int_not_equal(functions[2].id, 0);
	assert_int_not_equal(functions[0].id, functions[2].id);
}

static void a_type_that_is_no_function_is_refused(void **state)
{
	(void)state;
	assert_true(kernel_try_fentry(UINT32_MAX) < 0);
}

static void symbols_are_whole_words(void **state)
{
	(void)state;
	assert_true(kernel_symbol("inet_put_por") == 0);
	if (geteuid())
		skip();
	assert_true(kernel_symbol("inet_put_port") != 0);
}

/* As its own lines have it, told apart by fscanf() here. */
static void a_symbol_has_the_address_of_kallsyms(void **state)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/kallsyms", "re");
	unsigned long long address = 0;
	char name[256] = "";

	(void)state;
	if (geteuid() || !file)
		skip();
	while (strcmp(name, "inet_put_port") != 0 && fscanf(file, "%llx %*c %255s%*[^\n]", &address, name) > 0)
		;
	assert_string_equal(name, "inet_put_port");
	assert_int_equal(kernel_symbol(name), address);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(functions_are_found_by_name),
	cmocka_unit_test(a_type_that_is_no_function_is_refused),
	cmocka_unit_test(symbols_are_whole_words),
	cmocka_unit_test(a_symbol_has_the_address_of_kallsyms),
};

UNIT_MAIN(tests)
