/* SPDX-License-Identifier: GPL-2.0 */
/* The ends of a hold: a close, and the functions that give a port back, for every rung that can stand on them. */
#ifndef PORTWAKE_BPF_RELEASE_H
#define PORTWAKE_BPF_RELEASE_H

#include "bpf/record.h"

/* A TCP socket came to CLOSE: its port is back, over to a TIME_WAIT, or kept because it was asked for by number. */
static __always_inline void observe_tcp_close(const struct sock *sk, __u64 cookie, __u8 left, __u8 error)
{
	struct inet_timewait_sock *tw = NULL;
	__u8 held;

	held = read_bucket(sk) ? PW_F_HELD : 0;
	if (left == TCP_FIN_WAIT2 || left == TCP_CLOSING)
		tw = find_time_wait(sk, cookie);
	if (tw)
		record_tw(PW_TW_START, tw, cookie, held, 0);
	else if (!held || left == TCP_LISTEN)
		record_free(error, cookie, read_stale_port(sk), left, held);
}

static __always_inline bool accepted_in_passing(const struct sock *sk, __u16 proto)
{
	return proto == IPPROTO_TCP && !read_cookie(sk) && field(struct sock, sk, __sk_common.skc_state) == TCP_ESTABLISHED;
}

/* May this port, of which nothing was said, be the socket's own? No accepted socket is in these states with one. */
static __always_inline bool late_port(const struct look *look)
{
	__u8 state = look->common.sk.skc_state;

	if (look->proto != IPPROTO_TCP)
		return true;
	return state == TCP_CLOSE || state == TCP_SYN_SENT || state == TCP_LISTEN || look->flags & PW_F_LOCKED;
}

/* Is its port one to be told of late? Reads three fields; the rest is looked at only of a port that was never told. */
static __always_inline bool is_unsaid(struct look *look, struct sock *sk, __u16 proto)
{
	look->cookie = read_cookie(sk);
	look->port = read_held(sk, proto);
	look->common.sk.skc_state = field(struct sock, sk, __sk_common.skc_state);
	if (!look->port || by_owner() || already_said(look->cookie, look->port))
		return false;
	look_at(look, sk, proto, PW_HOW_NONE);
	look->cookie = look->common.sk.skc_cookie.counter;
	return late_port(look);
}

/*
 * The last descriptor of a socket is closed. A macro like observe(); sk_ is the
 * plain pointer, of an MPTCP socket its first subflow: then outer_ is
 * IPPROTO_MPTCP, and ctx has another cookie, which is not the subflow's.
 */
#define observe_release(ctx, sk_, proto_, outer_)                                                         \
	({                                                                                        \
		struct look end_;                                                                 \
		if (!accepted_in_passing(sk_, proto_)) {                                          \
			if (is_unsaid(&end_, sk_, proto_)) {                                      \
				end_.flags |= PW_F_LATE;                                          \
				end_.stranger = !is_armed(sk_, end_.cookie);                      \
				if (end_.cookie || outer_ == IPPROTO_TCP || proto_ != IPPROTO_TCP) \
					observe(ctx, &end_);                                      \
			}                                                                         \
			if (end_.cookie)                                                          \
				record_close(end_.cookie, proto_, end_.port, end_.common.sk.skc_state); \
		}                                                                                 \
	})

/* ---- the functions that end a port's hold, for every rung that can stand on them ---- */

static __always_inline int observe_put_port(const struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		record_free(BPF_CORE_READ(sk, sk_err), cookie, BPF_CORE_READ(sk, __sk_common.skc_num),
			    BPF_CORE_READ(sk, __sk_common.skc_state), 0);
	return 0;
}

/* A listener stops; its port, when it was asked for by number, stays. */
static __always_inline int observe_listen_stop(const struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie && read_bucket(sk))
		record_free(BPF_CORE_READ(sk, sk_err), cookie, BPF_CORE_READ(sk, __sk_common.skc_num), TCP_LISTEN, PW_F_HELD);
	return 0;
}

/* The socket gives its own hold up just after, in inet_put_port(). */
static __always_inline int observe_hashdance(const struct inet_timewait_sock *tw, const struct sock *sk)
{
	__u64 cookie = read_cookie(sk);

	if (cookie)
		record_tw(PW_TW_START, tw, cookie, PW_F_HELD, 0);
	return 0;
}

static __always_inline int observe_time_wait_end(const struct sock *sk)
{
	const struct inet_timewait_sock *tw = (const void *)sk;
	__u64 cookie = read_cookie(sk);
	__u32 ended = PW_ENDED_EARLY;

	if (!cookie)
		return 0;
	if (!read_net_count(BPF_CORE_READ(sk, __sk_common.skc_net.net)))
		ended = PW_ENDED_NETNS;
	else if ((__s64)(bpf_jiffies64() - BPF_CORE_READ(tw, tw_timer.expires)) >= 0)
		ended = PW_ENDED_EXPIRED;
	record_tw(PW_TW_END, tw, cookie, 0, ended);
	return 0;
}

#endif
