/* SPDX-License-Identifier: GPL-2.0 */
/* Sockets of the test itself in a namespace with a small range. */
#define _GNU_SOURCE
#include "tests/e2e/room.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of the room's namespace while it lasts; the test itself stays at home. */
static int enter(const struct room *room)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (home < 0 || netns_enter(&room->stage->ns))
		fail_msg("cannot enter the namespace");
	return home;
}

static void leave(int home)
{
	if (setns(home, CLONE_NEWNET))
		abort();
	close(home);
}

void room_enter_blind(void *stage)
{
	stage_enter(stage);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc/sys", "tmpfs", 0, NULL) < 0)
		_exit(98);
}

struct room *room_new(enum fam fam, const char *range, const char *reserved)
{
	struct room *room = calloc(1, sizeof(*room));

	if (!room)
		abort();
	room->fam = fam;
	room->stage = stage_new("room");
	room_write(room, "ip_local_port_range", range);
	room_write(room, "ip_local_reserved_ports", *reserved ? reserved : "\n");
	room_write(room, "tcp_tw_reuse", "0");
	return room;
}

void room_free(struct room **room)
{
	for (size_t i = 0; i < (*room)->count; i++)
		if ((*room)->fds[i] >= 0)
			close((*room)->fds[i]);
	free(*room);
	*room = NULL;
}

void room_write(const struct room *room, const char *name, const char *text)
{
	char path[96];
	int home = enter(room), r;

	snprintf(path, sizeof(path), "net/ipv4/%s", name);
	r = sysctl_set(path, text);
	leave(home);
	if (r)
		fail_msg("%s = %s: %s", path, text, strerror(-r));
}

void room_read(const struct room *room, const char *name, char *text, size_t size)
{
	char path[96];
	int home = enter(room), fd;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = read(fd, text, size - 1);
	close(fd);
	leave(home);
	if (got < 0)
		fail_msg("%s cannot be read", path);
	text[got] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static int keep(struct room *room, int fd)
{
	if (room->count == ROOM_SOCKETS)
		fail_msg("too many sockets");
	room->fds[room->count++] = fd;
	return fd;
}

int room_socket(struct room *room, int type)
{
	int home = enter(room), fd = socket(fam_domain(room->fam), type | SOCK_CLOEXEC, 0);

	leave(home);
	if (fd < 0)
		fail_msg("socket: %s", strerror(errno));
	return keep(room, fd);
}

void room_close(struct room *room, int fd)
{
	for (size_t i = 0; i < room->count; i++)
		if (room->fds[i] == fd)
			room->fds[i] = -1;
	close(fd);
}

int room_bind(struct room *room, int type, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_make(&ss, room->fam, AT_LOOP, port);
	int fd = room_socket(room, type);

	if (!bind(fd, (struct sockaddr *)&ss, len))
		return fd;
	len = (socklen_t)errno;
	room_close(room, fd);
	return -(int)len;
}

int room_listener(struct room *room, uint16_t port)
{
	int fd = room_bind(room, SOCK_STREAM, port);

	if (fd < 0 || listen(fd, 100))
		fail_msg("cannot listen on %u: %s", port, strerror(fd < 0 ? -fd : errno));
	return fd;
}

uint16_t room_port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	return addr_port(&ss);
}

int room_connect(struct room *room, int fd, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_make(&ss, room->fam, AT_LOOP, port);

	return connect(fd, (struct sockaddr *)&ss, len) ? -errno : 0;
}

int room_accept(struct room *room, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	return keep(room, fd);
}

int room_join(struct room *room, int listener, int *accepted)
{
	int fd = room_socket(room, SOCK_STREAM), r = room_connect(room, fd, room_port(listener));

	if (r) {
		room_close(room, fd);
		return r;
	}
	*accepted = room_accept(room, listener);
	return fd;
}

uint16_t room_time_wait(struct room *room, int listener)
{
	int accepted, fd = room_join(room, listener, &accepted);
	uint16_t port;
	char byte;

	assert_true(fd >= 0);
	port = room_port(fd);
	room_close(room, fd);
	assert_int_equal(read(accepted, &byte, 1), 0);
	room_close(room, accepted);
	return port;
}

json_t *room_ask(const struct room *room, int status, const char *const *args)
{
	struct run *run = run_start(&(struct run_options){ .text = true, .args = args, .before_exec = stage_enter,
							   .arg = room->stage });
	int got = run_wait(run, 20 * SECOND);
	json_t *row = NULL;

	if (got != status)
		fail_msg("exit status %d, not %d; stderr: %s", got, status, run->talk);
	if (run->talk_len)
		fail_msg("stderr: %s", run->talk);
	if (run->partial)
		row = json_loads(run->partial, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(row))
		fail_msg("not one JSON object: %s", run->partial ? run->partial : "");
	if ((uint64_t)room_int(row, "netns") != room->stage->ns.inode)
		fail_msg("of another namespace: %s", run->partial);
	run_free(&run);
	return row;
}

struct run *room_ask_by_evil(const struct room *room, int status, const char *const *args)
{
	char name[16];
	struct run *run;

	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, "e\033[31m\nvil");
	run = run_start(&(struct run_options){ .text = true, .args = args, .before_exec = stage_enter,
					       .arg = room->stage });
	assert_int_equal(run_wait(run, 20 * SECOND), status);
	prctl(PR_SET_NAME, name);
	assert_null(strchr(run->partial, '\033'));
	assert_non_null(strstr(run->partial, "vil\n"));
	assert_null(strstr(run->partial, "\nvil"));
	return run;
}

const json_t *room_get(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		fail_msg("there is no %s", name);
	return value;
}

int64_t room_int(const json_t *object, const char *name)
{
	const json_t *value = room_get(object, name);

	if (!json_is_integer(value))
		fail_msg("%s is no number", name);
	return json_integer_value(value);
}

const char *room_text(const json_t *object, const char *name)
{
	const json_t *value = room_get(object, name);

	if (!json_is_string(value))
		fail_msg("%s is no text", name);
	return json_string_value(value);
}
