/* SPDX-License-Identifier: GPL-2.0 */
/* The table of options: each in every form, what each refuses and how that reads. */
#include "user/options.h"

#include <unistd.h>

#include "tests/unit/unit.h"
#include "user/log.h"

static struct options o;
static char why[512];

/* Arguments behind the command's name, up to NULL. */
#define PARSE(command, ...) parse(command, (char *[]){ arg("portwake"), __VA_ARGS__ __VA_OPT__(,) NULL })
#define LIVE(...) PARSE(FOR_LIVE, __VA_ARGS__)
#define STATS(...) PARSE(FOR_STATS, __VA_ARGS__)
#define POOL(...) PARSE(FOR_POOL, __VA_ARGS__)
#define RECORD(...) PARSE(FOR_RECORD, __VA_ARGS__)

static char *arg(const char *text)
{
	union {
		const char *in;
		char *out;
	} u = { text };

	return u.out;
}

static int parse(unsigned int command, char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	memset(&o, 0, sizeof(o));
	strcpy(why, "nothing said");
	return options_parse(&o, command, argc, argv, why, sizeof(why));
}

#define REFUSED(expected, ...)								\
	do {										\
		assert_int_equal(LIVE(__VA_ARGS__), -EINVAL);				\
		assert_string_equal(why, expected);					\
	} while (0)

static void nothing_is_the_default(void **state)
{
	(void)state;
	assert_int_equal(LIVE(), 0);
	assert_false(o.json || o.listeners || o.denied || o.no_denied || o.by_port || o.help);
	assert_int_equal(o.duration_ns, 0);
	assert_null(o.command);
	assert_null(o.cgroup);
}

static void value_stands_behind_or_beside(void **state)
{
	(void)state;
	assert_int_equal(LIVE(arg("--duration"), arg("5")), 0);
	assert_int_equal(o.duration_ns, 5000000000);
	assert_int_equal(LIVE(arg("--duration=1.5")), 0);
	assert_int_equal(o.duration_ns, 1500000000);
	assert_int_equal(LIVE(arg("-d"), arg("250ms")), 0);
	assert_int_equal(o.duration_ns, 250000000);
	assert_int_equal(LIVE(arg("-d10m")), 0);
	assert_int_equal(o.duration_ns, 600000000000);
}

static void switches(void **state)
{
	(void)state;
	assert_int_equal(LIVE(arg("--json"), arg("-l"), arg("-h")), 0);
	assert_true(o.json && o.listeners && o.help);
	assert_int_equal(LIVE(arg("-j"), arg("--listeners"), arg("--help")), 0);
	assert_true(o.json && o.listeners && o.help);
}

static void denials_alone_or_none(void **state)
{
	(void)state;
	assert_int_equal(LIVE(arg("-D")), 0);
	assert_true(o.denied && !o.no_denied);
	assert_int_equal(LIVE(arg("--denied")), 0);
	assert_true(o.denied);
	assert_int_equal(LIVE(arg("--no-denied")), 0);
	assert_true(o.no_denied && !o.denied);
	assert_int_equal(STATS(arg("--no-denied")), 0);
	assert_int_equal(STATS(arg("--denied")), -EINVAL);
}

static void filters(void **state)
{
	(void)state;
	assert_int_equal(LIVE(arg("--pid"), arg("1,22"), arg("-p333"), arg("--comm=sshd"), arg("--cgroup"), arg("/a/b"),
			      arg("--port"), arg("80,8000-8002"), arg("--proto=udp,tcp"), arg("--netns"), arg("4026531840"),
			      arg("-n4026531841")), 0);
	assert_int_equal(o.settings.pid_count, 3);
	assert_int_equal(o.settings.pid[0], 1);
	assert_int_equal(o.settings.pid[1], 22);
	assert_int_equal(o.settings.pid[2], 333);
	assert_string_equal(o.settings.comm, "sshd");
	assert_string_equal(o.cgroup, "/a/b");
	assert_true(o.by_port);
	assert_true(port_set_has(&o.ports, 80) && port_set_has(&o.ports, 8001) && !port_set_has(&o.ports, 8003));
	assert_int_equal(o.settings.protos, PW_PROTO_TCP | PW_PROTO_UDP);
	assert_int_equal(o.settings.netns_count, 2);
	assert_int_equal(o.settings.netns[1], 4026531841u);
}

static void stats_has_its_own(void **state)
{
	(void)state;
	assert_int_equal(STATS(arg("--by"), arg("destination"), arg("--sort=longest"), arg("--json")), 0);
	assert_int_equal(o.by, STATS_BY_DESTINATION);
	assert_int_equal(o.sort, STATS_LONGEST);
	assert_int_equal(STATS(arg("-bprocess"), arg("-s"), arg("key")), 0);
	assert_int_equal(o.by, STATS_BY_PROCESS);
	assert_int_equal(o.sort, STATS_KEY);
}

static void record_has_its_own(void **state)
{
	(void)state;
	assert_int_equal(RECORD(arg("--db"), arg("/tmp/a"), arg("--keep=7d"), arg("--max-size"), arg("2G")), 0);
	assert_string_equal(o.db, "/tmp/a");
	assert_int_equal(o.keep_ns, 7 * 86400 * 1000000000ULL);
	assert_int_equal(o.max_size, 2ULL << 30);
	assert_int_equal(RECORD(arg("--keep"), arg("1s")), 0);
	assert_int_equal(RECORD(arg("--keep"), arg("0.9s")), -EINVAL);
	/* Days that are meant, and seconds that are said. */
	assert_int_equal(RECORD(arg("--keep"), arg("7")), -EINVAL);
	assert_non_null(strstr(why, "'7' has no unit"));
	assert_int_equal(RECORD(arg("--keep=1.5")), -EINVAL);
	assert_int_equal(RECORD(arg("--max-size"), arg("8M")), 0);
	assert_int_equal(RECORD(arg("--max-size"), arg("8191K")), -EINVAL);
	assert_int_equal(RECORD(arg("--db="), arg("--json")), -EINVAL);
	assert_int_equal(RECORD(arg("--ports"), arg("/tmp/a")), -EINVAL);
	assert_int_equal(STATS(arg("--keep=7d")), -EINVAL);
}

/* A value that may be left out is taken where a number stands, and nothing else is mistaken for it. */
static void watch_with_and_without_a_number(void **state)
{
	(void)state;
	assert_int_equal(POOL(arg("--watch")), 0);
	assert_true(o.watch);
	assert_int_equal(o.duration_ns, 0);
	assert_int_equal(POOL(arg("--watch"), arg("2.5"), arg("--json")), 0);
	assert_int_equal(o.duration_ns, 2500000000);
	assert_true(o.json);
	assert_int_equal(POOL(arg("--watch=3")), 0);
	assert_int_equal(o.duration_ns, 3000000000);
	assert_int_equal(POOL(arg("-w4"), arg("-j")), 0);
	assert_int_equal(o.duration_ns, 4000000000);
	assert_int_equal(POOL(arg("-w"), arg("--netns"), arg("4026531840")), 0);
	assert_true(o.watch);
	assert_int_equal(o.settings.netns_count, 1);
	assert_int_equal(POOL(arg("--watch"), arg("0")), -EINVAL);
	assert_int_equal(POOL(arg("--watch=")), -EINVAL);
	assert_int_equal(POOL(arg("--watch=soon")), -EINVAL);
	assert_string_equal(why, "--watch: 'soon' is not a length of time; as in 5, 1.5, 250ms, 10m, 2h");
	assert_int_equal(POOL(arg("--watch"), arg("soon")), -EINVAL);
	assert_int_equal(LIVE(arg("--watch")), -EINVAL);
	/* Only a number may be left out. */
	assert_int_equal(LIVE(arg("--rung")), -EINVAL);
	assert_string_equal(why, "option --rung needs a value: [HOOK=]RUNG");
}

static void ring_size_is_a_power_of_two(void **state)
{
	(void)state;
	assert_int_equal(LIVE(arg("--ring-size"), arg("64K")), 0);
	assert_int_equal(o.ring_size, 65536);
	assert_int_equal(LIVE(arg("--ring-size=1G")), 0);
	assert_int_equal(o.ring_size, 1 << 30);
	assert_int_equal(LIVE(arg("--ring-size=3M")), -EINVAL);
	assert_int_equal(LIVE(arg("--ring-size=2G")), -EINVAL);
	assert_int_equal(LIVE(arg("--ring-size=1024")), -EINVAL);
	assert_int_equal(LIVE(arg("--ring-size=0")), -EINVAL);
}

static void files_gather(void **state)
{
	char *argv[2 * OPTIONS_FILES + 4] = { arg("portwake") };
	int n = 1;

	(void)state;
	for (int i = 0; i < OPTIONS_FILES; i++) {
		argv[n++] = arg("--ports");
		argv[n++] = arg("mine.tsv");
	}
	assert_int_equal(parse(FOR_LIVE, argv), 0);
	assert_int_equal(o.file_count, OPTIONS_FILES);
	assert_string_equal(o.files[OPTIONS_FILES - 1], "mine.tsv");
	argv[n] = arg("--ports=more.tsv");
	assert_int_equal(parse(FOR_LIVE, argv), -EINVAL);
	assert_string_equal(why, "--ports: more than 16 files");
}

static void command_stands_behind_two_dashes(void **state)
{
	(void)state;
	assert_int_equal(LIVE(arg("--json"), arg("--"), arg("ls"), arg("--duration"), arg("--"), arg("x")), 0);
	assert_true(o.json);
	assert_int_equal(o.duration_ns, 0);
	assert_string_equal(o.command[0], "ls");
	assert_string_equal(o.command[1], "--duration");
	assert_string_equal(o.command[3], "x");
	assert_null(o.command[4]);
	REFUSED("no command behind --", arg("--"));
	assert_int_equal(POOL(arg("--"), arg("ls")), -EINVAL);
	assert_string_equal(why, "this command traces no program: nothing stands behind --");
}

static void verbose_is_of_the_log(void **state)
{
	enum log_level before = log_get_level();

	(void)state;
	assert_int_equal(LIVE(arg("-v")), 0);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	log_set_level(before);
}

/* ---- refused, with words that name the option ---- */

static void unknown_options(void **state)
{
	(void)state;
	REFUSED("unknown option '--frobnicate': --help lists the options", arg("--frobnicate"));
	REFUSED("unknown option '--jso': --help lists the options", arg("--jso"));
	REFUSED("unknown option '--jsonx': --help lists the options", arg("--jsonx"));
	REFUSED("unknown option '-x': --help lists the options", arg("-x"));
	REFUSED("unknown option '-jl': --help lists the options", arg("-jl"));
	REFUSED("unknown option '-': --help lists the options", arg("-"));
	REFUSED("unknown option '--=5': --help lists the options", arg("--=5"));
	REFUSED("unexpected argument 'ls': a command to trace stands behind --", arg("ls"));
	REFUSED("unexpected argument '': a command to trace stands behind --", arg(""));
}

static void options_without_or_with_a_value(void **state)
{
	(void)state;
	REFUSED("option --json takes no value", arg("--json=1"));
	REFUSED("option --json takes no value", arg("--json="));
	REFUSED("option --duration needs a value: SECONDS", arg("--duration"));
	REFUSED("option --port needs a value: N[-M],...", arg("-P"));
}

static void options_of_another_command(void **state)
{
	(void)state;
	REFUSED("option --by does not go with this command", arg("--by"), arg("port"));
	REFUSED("option --sort does not go with this command", arg("-skey"));
	assert_int_equal(STATS(arg("--listeners")), -EINVAL);
	assert_string_equal(why, "option --listeners does not go with this command");
}

static void bad_ports(void **state)
{
	static const char *const bad[] = { "70000", "0", "", "80-", "-80", "90-80", "80,,81", "80,", "http", "80x", " 80" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char expected[200];

		snprintf(expected, sizeof(expected),
			 "--port: '%s' is not a list of ports from 1 to 65535; as in 443 or 80,8000-8999", bad[i]);
		REFUSED(expected, arg("--port"), arg(bad[i]));
	}
	assert_false(o.by_port);
}

static void bad_durations(void **state)
{
	static const char *const bad[] = { "x", "", "0", "0.0", "-1", "5 ", "5y", "1e3", "." };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char expected[200];

		snprintf(expected, sizeof(expected), "--duration: '%s' is not a length of time; as in 5, 1.5, 250ms, 10m, 2h",
			 bad[i]);
		REFUSED(expected, arg("--duration"), arg(bad[i]));
	}
}

static void bad_pids(void **state)
{
	(void)state;
	REFUSED("--pid: '0' is not a process id; as in 1234 or 1234,1235", arg("--pid=0"));
	REFUSED("--pid: 'self' is not a process id; as in 1234 or 1234,1235", arg("--pid=self"));
	REFUSED("--pid: '' is not a process id; as in 1234 or 1234,1235", arg("--pid=12,"));
	REFUSED("--pid: '2147483648' is not a process id; as in 1234 or 1234,1235", arg("--pid=2147483648"));
	REFUSED("--pid: more than 8 processes", arg("--pid=1,2,3,4,5,6,7,8,9"));
	/* Never cut to a shorter number. */
	assert_int_equal(LIVE(arg("--pid=0000000000000000000000000000012345")), -EINVAL);
}

static void bad_names(void **state)
{
	(void)state;
	REFUSED("--comm: '' is not a process name: those have 1 to 15 bytes, as in /proc/PID/comm", arg("--comm="));
	REFUSED("--comm: '0123456789abcdef' is not a process name: those have 1 to 15 bytes, as in /proc/PID/comm",
		arg("--comm=0123456789abcdef"));
	assert_int_equal(LIVE(arg("--comm=0123456789abcde")), 0);
	REFUSED("--cgroup: the path is empty", arg("--cgroup="));
	REFUSED("--proto: 'sctp' is not a list of protocols: tcp, udp, udplite", arg("--proto=sctp"));
	REFUSED("--proto: '' is not a list of protocols: tcp, udp, udplite", arg("--proto="));
	REFUSED("--netns: there is no network namespace 'nowhere': give a name of `ip netns list`, a path like "
		"/proc/PID/ns/net, or an inode number of `lsns -t net`", arg("--netns"), arg("nowhere"));
	REFUSED("--netns: more than 8 network namespaces", arg("-n1"), arg("-n2"), arg("-n3"), arg("-n4"), arg("-n5"),
		arg("-n6"), arg("-n7"), arg("-n8"), arg("-n9"));
}

static void bad_keys(void **state)
{
	(void)state;
	assert_int_equal(STATS(arg("--by=pid")), -EINVAL);
	assert_string_equal(why, "--by: 'pid' is none of port, process, destination, container");
	assert_int_equal(STATS(arg("--sort=")), -EINVAL);
	assert_string_equal(why, "--sort: '' is none of lifetimes, now, held, longest, key");
}

/* A value of any length is told in part, and nothing is written past the end. */
static void long_values_are_cut_in_the_message(void **state)
{
	static char text[100000];
	char small[20];
	char *argv[] = { arg("portwake"), arg("--port"), text, NULL };

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(parse(FOR_LIVE, argv), -EINVAL);
	assert_true(strlen(why) < sizeof(why));
	memset(small, '#', sizeof(small));
	assert_int_equal(options_parse(&o, FOR_LIVE, 3, argv, small, 10), -EINVAL);
	assert_string_equal(small, "--port: '");
	assert_int_equal(small[10], '#');
}

/* ---- the table ---- */

static void table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];

		assert_true(row->name && row->help && row->set && row->commands);
		assert_false(row->commands & ~FOR_ALL);
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(row->name, option_rows[j].name);
			assert_false(row->letter && row->letter == option_rows[j].letter);
		}
	}
}

/* Wherever they stand among the options. */
static void words_gather(void **state)
{
	static const char *const expected[] = { "443", "53/udp", "-" };

	(void)state;
	assert_int_equal(PARSE(FOR_WHO, arg("443"), arg("--proto"), arg("tcp"), arg("53/udp"), arg("-j"), arg("-")), 0);
	assert_true(o.json);
	assert_int_equal(o.settings.protos, PW_PROTO_TCP);
	assert_int_equal(o.word_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(o.words[i], expected[i]);
	assert_int_equal(PARSE(FOR_WHO, arg("-5")), -EINVAL);
	assert_int_equal(PARSE(FOR_WHO, arg("443"), arg("--"), arg("80")), -EINVAL);
	REFUSED("unexpected argument '443': a command to trace stands behind --", arg("443"));
	assert_int_equal(o.word_count, 0);
}

#define WHO(...) PARSE(FOR_WHO, __VA_ARGS__)

static void formats(void **state)
{
	(void)state;
	assert_int_equal(WHO(arg("1")), 0);
	assert_true(o.format == FORMAT_TEXT && !o.json);
	assert_int_equal(WHO(arg("--format"), arg("csv")), 0);
	assert_true(o.format == FORMAT_CSV && !o.json);
	assert_int_equal(STATS(arg("--format=json")), 0);
	assert_true(o.format == FORMAT_JSON && o.json);
	assert_int_equal(WHO(arg("-j")), 0);
	assert_true(o.format == FORMAT_JSON && o.json);
	assert_int_equal(WHO(arg("-j"), arg("--format=text")), 0);
	assert_true(o.format == FORMAT_TEXT && !o.json);
	assert_int_equal(WHO(arg("--format=")), -EINVAL);
}

static void times(void **state)
{
	(void)state;
	assert_int_equal(WHO(arg("1")), 0);
	assert_true(!o.at.last && !o.since && !o.until);
	assert_int_equal(WHO(arg("--at"), arg("@1795176187"), arg("--db"), arg("x.db")), 0);
	assert_int_equal(o.at.first, 1795176187000000000);
	assert_int_equal(o.at.last, 1795176187999999999);
	assert_string_equal(o.db, "x.db");
	assert_int_equal(WHO(arg("--at"), arg("-5m")), 0);
	assert_int_equal(o.at.first, o.at.last);
	assert_int_equal(STATS(arg("-S@1795176187"), arg("-U@1795176188")), 0);
	assert_int_equal(o.since, 1795176187000000000);
	assert_int_equal(o.until, 1795176188999999999);
	/* The same second, up to its end. */
	assert_int_equal(STATS(arg("-S@1795176187"), arg("-U@1795176187")), 0);
	assert_int_equal(STATS(arg("-S@1795176188"), arg("-U@1795176187")), -EINVAL);
	/* One moment in two options. */
	assert_int_equal(STATS(arg("-S-5m"), arg("-U-5m")), 0);
	assert_int_equal(o.since, o.until);
	assert_int_equal(WHO(arg("--since=@0")), 0);
	assert_true(o.since);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(formats),
	cmocka_unit_test(times),
	cmocka_unit_test(words_gather),
	cmocka_unit_test(nothing_is_the_default),
	cmocka_unit_test(value_stands_behind_or_beside),
	cmocka_unit_test(switches),
	cmocka_unit_test(denials_alone_or_none),
	cmocka_unit_test(filters),
	cmocka_unit_test(stats_has_its_own),
	cmocka_unit_test(record_has_its_own),
	cmocka_unit_test(watch_with_and_without_a_number),
	cmocka_unit_test(ring_size_is_a_power_of_two),
	cmocka_unit_test(files_gather),
	cmocka_unit_test(command_stands_behind_two_dashes),
	cmocka_unit_test(verbose_is_of_the_log),
	cmocka_unit_test(unknown_options),
	cmocka_unit_test(options_without_or_with_a_value),
	cmocka_unit_test(options_of_another_command),
	cmocka_unit_test(bad_ports),
	cmocka_unit_test(bad_durations),
	cmocka_unit_test(bad_pids),
	cmocka_unit_test(bad_names),
	cmocka_unit_test(bad_keys),
	cmocka_unit_test(long_values_are_cut_in_the_message),
	cmocka_unit_test(table_is_sound),
};

UNIT_MAIN(tests)
