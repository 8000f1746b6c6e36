/* SPDX-License-Identifier: GPL-2.0 */
/*
 * portwake audit: services of the test's own on fixed and on chosen ports, and the line it says helps: it does, and
 * the kernel keeps off the ports.
 */
#define _GNU_SOURCE
#include "tests/e2e/room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVER 7001
#define LINE "sysctl -w net.ipv4.ip_local_reserved_ports="

static json_t *ask(const struct room *room, int status)
{
	return room_ask(room, status, ARGS("audit", "--json", "--netns", room->stage->inode));
}

static void assert_clean(const struct room *room)
{
	json_t *row = ask(room, 0);

	assert_int_equal(room_int(row, "at_risk"), 0);
	assert_int_equal(json_array_size(room_get(row, "ports")), 0);
	assert_true(json_is_null(room_get(row, "sysctl")));
	json_decref(row);
}

static const json_t *port_of(const json_t *row, const char *proto, uint16_t port)
{
	const json_t *ports = room_get(row, "ports");
	size_t i;
	json_t *one;

	json_array_foreach(ports, i, one) {
		if (room_int(one, "port") == port && !strcmp(room_text(one, "proto"), proto))
			return one;
	}
	fail_msg("nothing about %u/%s", port, proto);
	return NULL;
}

/* What stands behind the "=" of the one line to paste. */
static const char *reserve_line(const json_t *row)
{
	const char *line = room_text(row, "sysctl");

	if (strncmp(line, LINE, strlen(LINE)) != 0)
		fail_msg("not to be pasted: %s", line);
	return line + strlen(LINE);
}

static void check_service(const json_t *row, const char *proto, uint16_t port)
{
	const json_t *one = port_of(row, proto, port);
	const json_t *service = room_get(one, "service");

	assert_string_equal(room_text(one, "kind"), "listener");
	assert_true(json_is_true(room_get(one, "at_risk")));
	assert_int_equal(room_int(one, "services"), 1);
	assert_int_equal(room_int(one, "passers_by"), 0);
	assert_int_equal(room_int(service, "pid"), getpid());
	assert_string_equal(room_text(service, "state"), strcmp(proto, "udp") ? "listen" : "bound");
}

/* The kernel chooses for bind(0), connect() and send until it has nothing left: exactly the ports that are free. */
static void assert_kernel_keeps_off(struct room *room, const int *services)
{
	int listener = room_listener(room, SERVER), accepted, fd, n = 0;

	room_close(room, services[0]);
	room_close(room, services[1]);
	for (; (fd = room_bind(room, SOCK_DGRAM, 0)) >= 0; n++)
		assert_true(room_port(fd) >= 20002);
	assert_int_equal(n, 2);
	for (n = 0; (fd = room_join(room, listener, &accepted)) >= 0; n++)
		assert_true(room_port(fd) >= 20002);
	assert_int_equal(n, 2);
	assert_int_equal(room_bind(room, SOCK_STREAM, 0), -EADDRINUSE);
}

static void put_right(enum fam fam)
{
	struct room *room = room_new(fam, "20000 20003", "80,90-95");
	int services[] = { room_listener(room, 20000), room_bind(room, SOCK_DGRAM, 20001) };
	json_t *row = ask(room, 1);
	char text[100];

	assert_int_equal(room_int(row, "at_risk"), 2);
	assert_int_equal(json_array_size(room_get(row, "ports")), 2);
	assert_int_equal(room_int(row, "range_reserved"), 0);
	check_service(row, "tcp", 20000);
	check_service(row, "udp", 20001);
	assert_string_equal(reserve_line(row), "80,90-95,20000-20001");
	room_write(room, "ip_local_reserved_ports", reserve_line(row));
	room_read(room, "ip_local_reserved_ports", text, sizeof(text));
	assert_string_equal(text, reserve_line(row));
	json_decref(row);
	assert_clean(room);
	assert_kernel_keeps_off(room, services);
	room_free(&room);
}

static void audit_line_puts_it_right_ipv4(void **state)
{
	(void)state;
	put_right(FAM_V4);
}

static void audit_line_puts_it_right_ipv6(void **state)
{
	(void)state;
	put_right(FAM_V6);
}

/* Without the line the kernel does take the port of a service that restarts: the risk is one. */
static void audit_risk_is_real(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20000", "");
	int service = room_listener(room, 20000), accepted, listener = room_listener(room, SERVER);

	(void)state;
	json_decref(ask(room, 1));
	room_close(room, service);
	assert_int_equal(room_port(room_join(room, listener, &accepted)), 20000);
	assert_int_equal(room_bind(room, SOCK_STREAM, 20000), -EADDRINUSE);
	room_free(&room);
}

/* Ports that the kernel chose, ports outside, a service that is reserved, clients: nothing is at risk. */
static void audit_leaves_the_rest_alone(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20019", "20005");
	int listener, accepted, fd;

	(void)state;
	listener = room_listener(room, SERVER);
	/* A client that asked for its number is no service. */
	fd = room_bind(room, SOCK_STREAM, 20010);
	assert_int_equal(room_connect(room, fd, SERVER), 0);
	room_accept(room, listener);
	fd = room_bind(room, SOCK_DGRAM, 20011);
	assert_int_equal(room_connect(room, fd, 9), 0);
	room_listener(room, 0);
	room_bind(room, SOCK_DGRAM, 0);
	room_listener(room, 20005);
	assert_true(room_bind(room, SOCK_DGRAM, 20005) >= 0);
	assert_true(room_join(room, listener, &accepted) >= 0);
	room_time_wait(room, listener);
	assert_clean(room);
	room_free(&room);
}

static void check_passer(const json_t *row, const char *kind, bool at_risk)
{
	const json_t *one = port_of(row, "tcp", 60420), *passer = room_get(one, "passer_by");

	assert_string_equal(room_text(one, "kind"), kind);
	assert_int_equal(json_is_true(room_get(one, "at_risk")), at_risk);
	assert_int_equal(room_int(one, "services"), 0);
	assert_true(json_is_null(room_get(one, "service")));
	assert_int_equal(room_int(one, "passers_by"), 1);
	assert_int_equal(room_int(passer, "pid"), getpid());
	assert_int_equal(room_int(passer, "remote_port"), SERVER);
	assert_int_equal(room_int(row, "at_risk"), at_risk);
}

/* An outgoing connection on the port of a service: a note, and a risk where the user says that it is his. */
static void passer_by(enum fam fam)
{
	struct room *room = room_new(fam, "60420 60420", "");
	int listener = room_listener(room, SERVER), accepted, fd;
	char path[] = "/tmp/portwake-ports-XXXXXX";
	json_t *row;

	assert_int_equal(room_port(room_join(room, listener, &accepted)), 60420);
	row = ask(room, 0);
	check_passer(row, "passer_by", false);
	json_decref(row);
	fd = mkstemp(path);
	assert_true(fd >= 0 && dprintf(fd, "60420\t60420\ttcp\tour own\tdocumented\n") > 0);
	close(fd);
	row = room_ask(room, 1, ARGS("audit", "--json", "--netns", room->stage->inode, "--ports", path));
	unlink(path);
	check_passer(row, "taken", true);
	assert_string_equal(reserve_line(row), "60420");
	assert_string_equal(room_text(room_get(port_of(row, "tcp", 60420), "annotation"), "name"), "our own");
	json_decref(row);
	room_free(&room);
}

static void audit_names_who_sits_there_ipv4(void **state)
{
	(void)state;
	passer_by(FAM_V4);
}

static void audit_names_who_sits_there_ipv6(void **state)
{
	(void)state;
	passer_by(FAM_V6);
}

static void audit_nodeports(void **state)
{
	struct room *room = room_new(FAM_V4, "32000 33000", "80");
	char name[16];
	json_t *row;

	(void)state;
	row = ask(room, 0);
	assert_int_equal(room_int(room_get(row, "nodeports"), "in_range"), 768);
	assert_true(json_is_false(room_get(room_get(row, "nodeports"), "kubernetes")));
	json_decref(row);
	room_listener(room, SERVER);
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, "kubelet");
	row = ask(room, 1);
	prctl(PR_SET_NAME, name);
	assert_true(json_is_true(room_get(room_get(row, "nodeports"), "kubernetes")));
	assert_int_equal(room_int(row, "at_risk"), 1);
	assert_string_equal(reserve_line(row), "80,30000-32767");
	room_write(room, "ip_local_reserved_ports", reserve_line(row));
	json_decref(row);
	assert_clean(room);
	room_free(&room);
}

static void serve(struct work *w)
{
	work_step(w);
}

/* Of a namespace that is not ours the line leads into it. */
static void audit_of_another_namespace(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20003", "");
	struct run *run;
	char path[300], *end;
	struct stat st;
	json_t *row;
	const char *line;

	(void)state;
	room_listener(room, 20000);
	stage_start(room->stage, serve);
	stage_await_step(room->stage);
	run = run_start(&(struct run_options){ .text = true,
					       .args = ARGS("audit", "--json", "-n", room->stage->inode) });
	assert_int_equal(run_wait(run, 20 * SECOND), 1);
	row = json_loads(run->partial, 0, NULL);
	line = room_text(row, "sysctl");
	assert_int_equal(sscanf(line, "nsenter --net=%299s", path), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_ino, room->stage->ns.inode);
	end = strstr(line, LINE);
	assert_true(end && !strcmp(end + strlen(LINE), "20000"));
	json_decref(row);
	stage_go(room->stage);
	room_free(&room);
}

static void audit_in_words(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20003", "90");
	struct run *run;

	(void)state;
	room_listener(room, 20000);
	run = run_start(&(struct run_options){ .text = true, .before_exec = stage_enter, .arg = room->stage,
					       .args = ARGS("audit", "-n", room->stage->inode) });
	assert_int_equal(run_wait(run, 20 * SECOND), 1);
	assert_non_null(strstr(run->partial, "AT RISK 20000/tcp"));
	/* A line of its own. */
	assert_non_null(strstr(run->partial, "\n" LINE "90,20000\n"));
	room_free(&room);
}

/* No "nothing": it was not looked at. */
static void audit_without_a_range(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20003", "");
	struct run *run;

	(void)state;
	room_listener(room, 20000);
	run = run_start(&(struct run_options){ .text = true, .before_exec = room_enter_blind, .arg = room->stage,
					       .args = ARGS("audit", "-n", room->stage->inode) });
	assert_int_equal(run_wait(run, 20 * SECOND), 1);
	assert_int_equal(run->partial_len, 0);
	assert_non_null(strstr(run->talk, "cannot be read"));
	room_free(&room);
}

/* On an annotated port what asked for it is a service, listening or not. */
static void audit_service_that_does_not_listen(void **state)
{
	struct room *room = room_new(FAM_V6, "60420 60421", "");
	const json_t *one;
	json_t *row;

	(void)state;
	assert_true(room_bind(room, SOCK_STREAM, 60420) >= 0 && room_bind(room, SOCK_STREAM, 60421) >= 0);
	row = ask(room, 1);
	assert_int_equal(json_array_size(room_get(row, "ports")), 1);
	one = port_of(row, "tcp", 60420);
	assert_string_equal(room_text(one, "kind"), "service");
	assert_int_equal(room_int(one, "services"), 1);
	assert_int_equal(room_int(room_get(one, "service"), "pid"), getpid());
	assert_string_equal(room_text(room_get(one, "service"), "state"), "bound");
	assert_string_equal(reserve_line(row), "60420");
	json_decref(row);
	room_free(&room);
}

/* Three to as many destinations share the port: the first is named, all are counted. */
static void audit_counts_passers_by(void **state)
{
	struct room *room = room_new(FAM_V4, "60420 60420", "");
	int accepted;
	json_t *row;

	(void)state;
	for (uint16_t i = 0; i < 3; i++)
		assert_int_equal(room_port(room_join(room, room_listener(room, SERVER + i), &accepted)), 60420);
	row = ask(room, 0);
	assert_int_equal(room_int(port_of(row, "tcp", 60420), "passers_by"), 3);
	json_decref(row);
	room_free(&room);
}

static void audit_shows_no_control_character(void **state)
{
	struct room *room = room_new(FAM_V4, "20000 20003", "");
	struct run *run;

	(void)state;
	room_listener(room, 20000);
	run = room_ask_by_evil(room, 1, ARGS("audit", "-n", room->stage->inode));
	run_free(&run);
	room_free(&room);
}

static const struct plain list[] = {
	{ "audit_line_puts_it_right_ipv4", audit_line_puts_it_right_ipv4 },
	{ "audit_line_puts_it_right_ipv6", audit_line_puts_it_right_ipv6 },
	{ "audit_risk_is_real", audit_risk_is_real },
	{ "audit_leaves_the_rest_alone", audit_leaves_the_rest_alone },
	{ "audit_names_who_sits_there_ipv4", audit_names_who_sits_there_ipv4 },
	{ "audit_names_who_sits_there_ipv6", audit_names_who_sits_there_ipv6 },
	{ "audit_nodeports", audit_nodeports },
	{ "audit_of_another_namespace", audit_of_another_namespace },
	{ "audit_service_that_does_not_listen", audit_service_that_does_not_listen },
	{ "audit_counts_passers_by", audit_counts_passers_by },
	{ "audit_shows_no_control_character", audit_shows_no_control_character },
	{ "audit_without_a_range", audit_without_a_range },
	{ "audit_in_words", audit_in_words },
};

const struct plain_list audit_tests = { list, COUNT_OF(list) };
