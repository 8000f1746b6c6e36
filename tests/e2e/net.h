/* SPDX-License-Identifier: GPL-2.0 */
/* Network namespaces, addresses, sysctls and sock_diag by plain system calls. Everything returns 0 or -errno. */
#ifndef E2E_NET_H
#define E2E_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* MAPPED: an AF_INET6 socket that speaks IPv4 (::ffff:127.0.0.1). */
enum fam { FAM_V4, FAM_V6, FAM_MAPPED, FAM_COUNT };
enum where { AT_LOOP, AT_ANY };

#define ADDR_TEXT 46

struct netns {
	int fd;		/* keeps it alive; -1 when none */
	uint64_t inode;
};

/* A new namespace with lo up, in which a TIME_WAIT lasts its time; the caller stays where it is. */
int netns_new(struct netns *out);
void netns_close(struct netns *ns);
int netns_enter(const struct netns *ns);
/* Moves the calling process into a namespace like that; its inode in *inode (which may be NULL). */
int netns_unshare(uint64_t *inode);

/* The loopback interface of the caller's namespace. */
int lo_set(bool up);
/* A VXLAN device of the caller's namespace: the kernel opens a UDP socket on the port when it comes up. */
int vxlan_add(const char *name, uint16_t port);
int link_delete(const char *name);

/* Writes a sysctl below /proc/sys/ of the caller's namespace. */
int sysctl_set(const char *name, const char *value);

const char *fam_name(enum fam fam);
int fam_domain(enum fam fam);
socklen_t addr_make(struct sockaddr_storage *out, enum fam fam, enum where where, uint16_t port);
/* The address as portwake is to report it: a v4-mapped one as plain IPv4. */
void addr_text(const struct sockaddr_storage *ss, char out[ADDR_TEXT]);
uint16_t addr_port(const struct sockaddr_storage *ss);

/* SOCK_DESTROY of the one socket with these ends (remote port 0: not connected) and this cookie. */
int sock_destroy(int proto, const struct sockaddr_storage *local, const struct sockaddr_storage *remote,
		 uint64_t cookie);

#endif
