/* SPDX-License-Identifier: GPL-2.0 */
/* Network namespaces, addresses, sysctls and sock_diag by plain system calls. */
#define _GNU_SOURCE
#include "tests/e2e/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

int lo_set(bool up)
{
	struct ifreq req = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &req) == 0) {
		if (up)
			req.ifr_flags |= IFF_UP | IFF_RUNNING;
		else
			req.ifr_flags &= ~IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &req) < 0)
			err = -errno;
	} else {
		err = -errno;
	}
	close(fd);
	return err;
}

int netns_unshare(uint64_t *inode)
{
	struct stat st;
	int err;

	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	err = lo_set(true);
	if (!err)
		err = sysctl_set("net/ipv4/tcp_tw_reuse", "0");
	/*
	 * On a slow machine a tail loss probe repeats a FIN that was not lost, and the answer to the answer is a
	 * reset that ends a TIME_WAIT (RFC 1337).
	 */
	if (!err)
		err = sysctl_set("net/ipv4/tcp_early_retrans", "0");
	if (err)
		return err;
	if (stat("/proc/self/ns/net", &st) < 0)
		return -errno;
	if (inode)
		*inode = st.st_ino;
	return 0;
}

int netns_new(struct netns *out)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	uint64_t inode = 0;
	int fd = -1, err;

	if (home < 0)
		return -errno;
	err = netns_unshare(&inode);
	if (!err) {
		fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		err = fd < 0 ? -errno : 0;
	}
	if (setns(home, CLONE_NEWNET) < 0 && !err)
		err = -errno;
	close(home);
	if (err)
		return err;
	*out = (struct netns){ .fd = fd, .inode = inode };
	return 0;
}

void netns_close(struct netns *ns)
{
	if (ns->fd >= 0)
		close(ns->fd);
	ns->fd = -1;
}

int netns_enter(const struct netns *ns)
{
	return setns(ns->fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int sysctl_set(const char *name, const char *value)
{
	char path[160];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

const char *fam_name(enum fam fam)
{
	static const char *const names[FAM_COUNT] = { "ipv4", "ipv6", "mapped" };

	return names[fam];
}

int fam_domain(enum fam fam)
{
	return fam == FAM_V4 ? AF_INET : AF_INET6;
}

socklen_t addr_make(struct sockaddr_storage *out, enum fam fam, enum where where, uint16_t port)
{
	memset(out, 0, sizeof(*out));
	if (fam == FAM_V4) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = htonl(where == AT_LOOP ? INADDR_LOOPBACK : INADDR_ANY);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	if (where == AT_LOOP)
		inet_pton(AF_INET6, fam == FAM_V6 ? "::1" : "::ffff:127.0.0.1", &in6->sin6_addr);
	return sizeof(*in6);
}

void addr_text(const struct sockaddr_storage *ss, char out[ADDR_TEXT])
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	if (ss->ss_family == AF_INET)
		inet_ntop(AF_INET, &in->sin_addr, out, ADDR_TEXT);
	else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, ADDR_TEXT);
	else
		inet_ntop(AF_INET6, &in6->sin6_addr, out, ADDR_TEXT);
}

uint16_t addr_port(const struct sockaddr_storage *ss)
{
	if (ss->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)ss)->sin_port);
	return ntohs(((const struct sockaddr_in6 *)ss)->sin6_port);
}

struct destroy_request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

static void diag_addr(__be32 out[4], const struct sockaddr_storage *ss)
{
	if (ss->ss_family == AF_INET)
		out[0] = ((const struct sockaddr_in *)ss)->sin_addr.s_addr;
	else
		memcpy(out, &((const struct sockaddr_in6 *)ss)->sin6_addr, 16);
}

static int netlink_ack(int fd)
{
	union {
		struct nlmsghdr head;
		char raw[4096];
	} answer;
	ssize_t got = recv(fd, &answer, sizeof(answer), 0);
	const struct nlmsgerr *ack;

	if (got < 0)
		return -errno;
	if ((size_t)got < NLMSG_LENGTH(sizeof(*ack)) || answer.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	ack = NLMSG_DATA(&answer.head);
	return ack->error;
}

int sock_destroy(int proto, const struct sockaddr_storage *local, const struct sockaddr_storage *remote,
		 uint64_t cookie)
{
	struct destroy_request req = {
		.head = { .nlmsg_len = sizeof(req), .nlmsg_type = SOCK_DESTROY,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.body = { .sdiag_family = (__u8)local->ss_family, .sdiag_protocol = (__u8)proto, .idiag_states = ~0U },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int err;

	if (fd < 0)
		return -errno;
	diag_addr(req.body.id.idiag_src, local);
	diag_addr(req.body.id.idiag_dst, remote);
	req.body.id.idiag_sport = htons(addr_port(local));
	req.body.id.idiag_dport = htons(addr_port(remote));
	req.body.id.idiag_cookie[0] = (__u32)cookie;
	req.body.id.idiag_cookie[1] = (__u32)(cookie >> 32);
	err = send(fd, &req, sizeof(req), 0) < 0 ? -errno : netlink_ack(fd);
	close(fd);
	return err;
}

struct link_request {
	struct nlmsghdr head;
	struct ifinfomsg body;
	char attributes[256];
};

static struct rtattr *attribute(struct link_request *req, unsigned short type, const void *data, size_t size)
{
	struct rtattr *at = (struct rtattr *)((char *)req + NLMSG_ALIGN(req->head.nlmsg_len));

	at->rta_type = type;
	at->rta_len = (unsigned short)RTA_LENGTH(size);
	if (size)
		memcpy(RTA_DATA(at), data, size);
	req->head.nlmsg_len = NLMSG_ALIGN(req->head.nlmsg_len) + RTA_ALIGN(at->rta_len);
	return at;
}

static void end_nest(struct link_request *req, struct rtattr *nest)
{
	nest->rta_len = (unsigned short)((char *)req + req->head.nlmsg_len - (char *)nest);
}

static int link_ask(struct link_request *req)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int err;

	if (fd < 0)
		return -errno;
	req->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	err = send(fd, req, req->head.nlmsg_len, 0) < 0 ? -errno : netlink_ack(fd);
	close(fd);
	return err;
}

int vxlan_add(const char *name, uint16_t port)
{
	struct link_request req = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(req.body)), .nlmsg_type = RTM_NEWLINK,
			  .nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL },
		.body = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP },
	};
	uint16_t wire_port = htons(port);
	uint32_t id = 42;
	struct rtattr *info, *data;

	attribute(&req, IFLA_IFNAME, name, strlen(name) + 1);
	info = attribute(&req, IFLA_LINKINFO, NULL, 0);
	attribute(&req, IFLA_INFO_KIND, "vxlan", sizeof("vxlan"));
	data = attribute(&req, IFLA_INFO_DATA, NULL, 0);
	attribute(&req, IFLA_VXLAN_ID, &id, sizeof(id));
	attribute(&req, IFLA_VXLAN_PORT, &wire_port, sizeof(wire_port));
	end_nest(&req, data);
	end_nest(&req, info);
	return link_ask(&req);
}

int link_delete(const char *name)
{
	struct link_request req = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(req.body)), .nlmsg_type = RTM_DELLINK },
	};

	attribute(&req, IFLA_IFNAME, name, strlen(name) + 1);
	return link_ask(&req);
}
