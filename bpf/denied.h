/* SPDX-License-Identifier: GPL-2.0 */
/* Calls that were denied a port: what they asked for, as a record. */
#ifndef PORTWAKE_BPF_DENIED_H
#define PORTWAKE_BPF_DENIED_H

#include "bpf/record.h"

/* look: the socket, the call, and the other end where the call names one; port and addr: as asked for. */
struct denied {
	struct look look;
	__u8 addr[16] __attribute__((aligned(8)));
	bool has_addr;
	bool unread;
	__u8 error;
};

/* The head of sockaddr_in and sockaddr_in6. */
struct address {
	__u16 family;
	__be16 port;
	__u32 word;
};

#define ERROR_MAX 255	/* what a record has room for; errnos that programs see end before */

#define ADDRESS_V6 8	/* offset of sin6_addr */
#define ADDRESS_V6_END 24

static __always_inline long read_from(bool user, void *to, __u32 size, const void *from)
{
	return user ? bpf_probe_read_user(to, size, from) : bpf_probe_read_kernel(to, size, from);
}

/*
 * The address that a call gave, in the form that a socket of this family has
 * (IPv4 as mapped in an IPv6 one), and its port; false if it is none of either.
 */
static __always_inline bool read_address(bool user, const void *from, __u32 length, __u16 family, __u8 *out,
					 __u16 *port)
{
	struct address head = {};

	if (length < sizeof(head) || read_from(user, &head, sizeof(head), from))
		return false;
	if (head.family == AF_INET6 && family == AF_INET6 && length >= ADDRESS_V6_END) {
		if (read_from(user, out, 16, from + ADDRESS_V6))
			return false;
	} else if (head.family == AF_INET && family == AF_INET6) {
		__builtin_memcpy(out + 12, &head.word, 4);
		out[10] = out[11] = 0xff;
	} else if (family == AF_INET && (head.family == AF_INET || head.family == AF_UNSPEC)) {
		__builtin_memcpy(out, &head.word, 4);
	} else {
		return false;
	}
	*port = bpf_ntohs(head.port);
	return true;
}

/* The socket of a call that failed; false where it is none of ours. */
static __always_inline bool denied_at(struct denied *denied, struct sock *sk, __u8 how, __s64 result)
{
	__u16 proto;

	if (!sk || BPF_CORE_READ(sk, sk_type) == SOCK_RAW)
		return false;
	proto = BPF_CORE_READ(sk, sk_protocol);
	sk = port_holder(sk, proto);
	if (proto == IPPROTO_MPTCP)
		proto = IPPROTO_TCP;
	if (!sk || !wanted_proto(proto))
		return false;
	look_at(&denied->look, sk, proto, how);
	denied->error = result < -ERROR_MAX ? ERROR_MAX : -result;
	return true;
}

static __always_inline void take_local(struct denied *denied, bool user, const void *from, __u32 length)
{
	__u16 family = denied->look.common.sk.skc_family;

	denied->look.port = 0;
	denied->has_addr = true;
	denied->unread = !read_address(user, from, length, family, denied->addr, &denied->look.port);
}

static __always_inline void take_remote(struct denied *denied, bool user, const void *from, __u32 length)
{
	__u16 family = denied->look.common.sk.skc_family;

	if (read_address(user, from, length, family, denied->look.remote, &denied->look.remote_port))
		denied->look.family = family;
}

#define SOON_NS 1000000

/* Who holds the port is looked up when this is read: soon, but not once for each try of a program that tries on and on. */
static __always_inline void submit_soon(struct pw_row *record)
{
	__u64 now = record->sock.head.time;
	bool call = (__s64)(now - denied_at_ns) > SOON_NS;

	if (call)
		denied_at_ns = now;
	bpf_ringbuf_submit(record, call ? BPF_RB_FORCE_WAKEUP : 0);
}

static __always_inline void record_denied(struct denied *denied)
{
	struct look *look = &denied->look;
	const struct sock *sk = look->sk;
	struct task_struct *task = current_task();
	bool kernel = is_kernel_thread(task) || is_kernel_socket(sk, look->proto);
	struct pw_row *record;

	if (!wanted_socket(look) || (kernel ? by_owner() : !wanted_owner(task)))
		return;
	if (kernel)
		look->flags |= PW_F_KERNEL;
	else
		record_process();
	look->cookie = look->common.sk.skc_cookie.counter;
	record = reserve(PW_DENIED, sizeof(*record));
	if (!record)
		return;
	__builtin_memset((void *)record + sizeof(record->sock.head), 0, sizeof(*record) - sizeof(record->sock.head));
	fill_socket(&record->sock, look);
	record->sock.head.error = denied->error;
	if (denied->has_addr && record->sock.family == AF_INET6)
		__builtin_memcpy(record->sock.v6.addr, denied->addr, 16);
	else if (denied->has_addr)
		__builtin_memcpy(record->sock.v4.addr, denied->addr, 4);
	if (!kernel)
		fill_owner(&record->sock);
	record->traits = read_options(&sk->__sk_common) | (denied->unread ? PW_T_UNREAD : 0);
	record->bound_dev = BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
	record->sock_uid = BPF_CORE_READ(sk, sk_uid.val);
	submit_soon(record);
}

static __always_inline void denied_bind(struct sock *sk, bool user, const void *address, __u32 length, __s64 result)
{
	struct denied denied = {};

	if (!denied_at(&denied, sk, PW_HOW_BIND, result))
		return;
	take_local(&denied, user, address, length);
	record_denied(&denied);
}

/*
 * connect() or a send: for want of a port it fails with EADDRNOTAVAIL in TCP
 * (__inet_hash_connect()), with EAGAIN in UDP (inet_autobind()), which a send
 * also says when it would block, and then the socket has its port.
 */
static __always_inline void denied_way(struct sock *sk, __u8 how, bool user, const void *address, __u32 length,
				       __s64 result)
{
	struct denied denied = {};

	if (!denied_at(&denied, sk, how, result))
		return;
	if (denied.look.proto == IPPROTO_TCP ? result != -EADDRNOTAVAIL : result != -EAGAIN || denied.look.port)
		return;
	/* A send that connects: TCP Fast Open. */
	if (denied.look.proto == IPPROTO_TCP)
		denied.look.how = PW_HOW_CONNECT;
	/* What the route gave stays where the call is seen before its end; nobody asked for it. */
	denied.has_addr = !read_addr_locked(denied.look.sk);
	if (address)
		take_remote(&denied, user, address, length);
	record_denied(&denied);
}

static __always_inline void denied_listen(struct sock *sk, __s64 result)
{
	struct denied denied = {};

	if (!denied_at(&denied, sk, PW_HOW_LISTEN, result))
		return;
	record_denied(&denied);
}

#endif
