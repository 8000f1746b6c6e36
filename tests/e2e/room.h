/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A namespace with a small ephemeral range, in which the test itself opens sockets, and what portwake says of it. What
 * fails, fails the test. Sockets are closed with the room.
 */
#ifndef E2E_ROOM_H
#define E2E_ROOM_H

#include "tests/e2e/case.h"

#include <jansson.h>

#define ROOM_SOCKETS 512

struct room {
	struct stage *stage;
	enum fam fam;
	int fds[ROOM_SOCKETS];
	size_t count;
};

/* range: "20000 20019"; reserved: "" for none. No TIME_WAIT is taken over by connect() there. */
struct room *room_new(enum fam fam, const char *range, const char *reserved);
void room_free(struct room **room);
/* For run_start() with the room's stage: a child that is in the room, and where /proc/sys shows nothing. */
void room_enter_blind(void *stage);
/* A file below /proc/sys/net/ipv4 of the room. */
void room_write(const struct room *room, const char *name, const char *text);
void room_read(const struct room *room, const char *name, char *text, size_t size);

int room_socket(struct room *room, int type);
void room_close(struct room *room, int fd);
int room_bind(struct room *room, int type, uint16_t port);	/* loopback; 0: the kernel chooses */
int room_listener(struct room *room, uint16_t port);
uint16_t room_port(int fd);
/* -errno when it could not. */
int room_connect(struct room *room, int fd, uint16_t port);
int room_accept(struct room *room, int listener);
/* A new TCP connection to the listener, and its accepted end in *accepted; -errno when it could not be made. */
int room_join(struct room *room, int listener, int *accepted);
/* A connection that is closed at once, this end first: the port of its TIME_WAIT. */
uint16_t room_time_wait(struct room *room, int listener);

/* Runs portwake in the room, as it must exit with that status: the one line that it says, as JSON. */
json_t *room_ask(const struct room *room, int status, const char *const *args);

/* What portwake says in words in the room, as it must exit with that status, while this process's name is an escape. */
struct run *room_ask_by_evil(const struct room *room, int status, const char *const *args);

/* Members that must be there. */
int64_t room_int(const json_t *object, const char *name);
const json_t *room_get(const json_t *object, const char *name);
const char *room_text(const json_t *object, const char *name);

#endif
