/* SPDX-License-Identifier: GPL-2.0 */
/* User, capabilities, system calls. */
#include "user/privilege.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "user/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static int failed(const char *what, int error, char *why, size_t size)
{
	snprintf(why, size, "privilege cannot be given up: %s: %s", what, strerror(error));
	return -error;
}

/* ---- the user ---- */

static int find_user(struct privilege_user *out)
{
	const struct passwd *user = getpwnam(PRIVILEGE_USER);

	if (!user)
		return -ENOENT;
	*out = (struct privilege_user){ user->pw_uid, user->pw_gid };
	return 0;
}

/* useradd's own words would be a second complaint. */
static int run_useradd(void)
{
	static const char *const places[] = { "/usr/sbin/useradd", "/sbin/useradd" };
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		for (size_t i = 0; i < ARRAY_SIZE(places); i++)
			execl(places[i], "useradd", "--system", "--user-group", "--no-create-home", "--home-dir",
			      "/nonexistent", "--shell", "/usr/sbin/nologin", PRIVILEGE_USER, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -ECHILD;
}

int privilege_user(struct privilege_user *out, bool *made, char *why, size_t why_size)
{
	int r = find_user(out);

	*made = false;
	if (r) {
		run_useradd();
		r = find_user(out);
		*made = !r;
	}
	if (r) {
		snprintf(why, why_size, "there is no user " PRIVILEGE_USER " to record as, and none could be made: "
			 "useradd --system --no-create-home --shell /usr/sbin/nologin " PRIVILEGE_USER);
		return r;
	}
	if (out->uid && out->gid)
		return 0;
	snprintf(why, why_size, "the user " PRIVILEGE_USER " is root, or of root's group: give it ids of its own");
	return -EINVAL;
}

/* ---- descriptors ---- */

/* Each of our own is closed by an exec: what is not came over one. */
static int close_inherited(void)
{
	_cleanup_closedir_ DIR *fds = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!fds)
		return -errno;
	while ((entry = readdir(fds))) {
		int fd = atoi(entry->d_name), flags = fcntl(fd, F_GETFD);

		if (fd > STDERR_FILENO && flags >= 0 && !(flags & FD_CLOEXEC))
			close(fd);
	}
	return 0;
}

int privilege_let_go(char *why, size_t why_size)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int r;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return failed("/dev/null", errno, why, why_size);
	r = close_inherited();
	return r ? failed("/proc/self/fd", -r, why, why_size) : 0;
}

/* ---- capabilities ---- */

/* Empties the bounding set but for these: what an execve() could give back. */
static int bound(const cap_value_t *kept, size_t count)
{
	for (cap_value_t cap = 0; cap_get_bound(cap) >= 0; cap++) {
		bool keep = false;

		for (size_t i = 0; i < count; i++)
			keep = keep || kept[i] == cap;
		if (!keep && cap_get_bound(cap) > 0 && cap_drop_bound(cap))
			return -errno;
	}
	return 0;
}

/* Those of kept that we have: a container's root may lack some. */
static int hold(const cap_value_t *kept, size_t count)
{
	cap_t had = cap_get_proc(), caps = cap_init();
	int r = had && caps ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < count; i++) {
		cap_flag_value_t has = CAP_CLEAR;

		cap_get_flag(had, kept[i], CAP_PERMITTED, &has);
		if (has == CAP_SET && (cap_set_flag(caps, CAP_PERMITTED, 1, &kept[i], CAP_SET) ||
				       cap_set_flag(caps, CAP_EFFECTIVE, 1, &kept[i], CAP_SET)))
			r = -errno;
	}
	if (!r && cap_set_proc(caps))
		r = -errno;
	cap_free(had);
	cap_free(caps);
	return r;
}

/* ---- system calls ---- */

/* Of every process of ours: memory, threads, clocks, descriptors that are open. */
static const int calls_common[] = {
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64),
	SCMP_SYS(close), SCMP_SYS(lseek), SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statx), SCMP_SYS(fstatfs), SCMP_SYS(open), SCMP_SYS(openat),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
	SCMP_SYS(getdents64), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(sendto), SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
	SCMP_SYS(futex), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrandom),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getcwd), SCMP_SYS(membarrier),
	/* abort(): of the process itself, by the permissions of kill(2). */
	SCMP_SYS(tgkill),
};

/* Of the recorder: its loop, and what SQLite does to a file. */
static const int calls_record[] = {
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(rt_sigpending), SCMP_SYS(wait4), SCMP_SYS(waitid), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
	SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(flock), SCMP_SYS(unlink), SCMP_SYS(unlinkat),
	SCMP_SYS(statfs),
};

/* Of the broker: other namespaces, BPF objects, cgroups by their id, the database's files. */
static const int calls_broker[] = {
	SCMP_SYS(bpf), SCMP_SYS(setns), SCMP_SYS(open_by_handle_at), SCMP_SYS(ioctl), SCMP_SYS(bind),
	SCMP_SYS(getsockname), SCMP_SYS(setsockopt), SCMP_SYS(pidfd_send_signal), SCMP_SYS(fchown),
	SCMP_SYS(fsync), SCMP_SYS(fchmod), SCMP_SYS(unlinkat), SCMP_SYS(unlink), SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
};

struct filter {
	scmp_filter_ctx ctx;
	int error;
};

static void allow(struct filter *f, const int *calls, size_t count)
{
	for (size_t i = 0; i < count && !f->error; i++)
		f->error = seccomp_rule_add(f->ctx, SCMP_ACT_ALLOW, calls[i], 0);
}

static void allow_masked(struct filter *f, int call, unsigned int arg, uint64_t mask, uint64_t value)
{
	if (!f->error)
		f->error = seccomp_rule_add(f->ctx, SCMP_ACT_ALLOW, call, 1,
					    SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value));
}

/* Memory that is never run, threads but no processes, and prctl() for their names alone. */
static void allow_partly(struct filter *f)
{
	allow_masked(f, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
	allow_masked(f, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
	allow_masked(f, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
	allow_masked(f, SCMP_SYS(prctl), 0, UINT64_MAX, PR_SET_NAME);
	/* Of itself, to be read: glibc asks for the size of a thread's stack. */
	allow_masked(f, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0);
	/* Its flags lie in memory, where no filter can see them: glibc then takes clone(). */
	if (!f->error)
		f->error = seccomp_rule_add(f->ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int restrict_calls(const int *calls, size_t count, bool netlink)
{
	struct filter f = { .ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM)) };

	if (!f.ctx)
		return -ENOMEM;
	/* A call by another table (32 bit, x32) is none of ours. */
	f.error = seccomp_attr_set(f.ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	allow(&f, calls_common, ARRAY_SIZE(calls_common));
	allow(&f, calls, count);
	allow_partly(&f);
	if (netlink)
		allow_masked(&f, SCMP_SYS(socket), 0, UINT64_MAX, AF_NETLINK);
	if (!f.error)
		f.error = seccomp_load(f.ctx);
	seccomp_release(f.ctx);
	return f.error;
}

/* ---- all together ---- */

static bool dropped;

#ifdef SANITIZED
/* The leak checker attaches to us as a debugger does, which is what we do not allow any more. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return dropped;
}
#endif

/* No core with what the program has read, and no debugger of the same user. Limits are a courtesy: none is fatal. */
static int harden(char *why, size_t size)
{
	struct rlimit none = { 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return failed("no_new_privs", errno, why, size);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return failed("PR_SET_DUMPABLE", errno, why, size);
	dropped = true;
	return 0;
}

static int become(const struct privilege_user *user, char *why, size_t size)
{
	if (setgroups(0, NULL))
		return failed("setgroups()", errno, why, size);
	if (setresgid(user->gid, user->gid, user->gid))
		return failed("setresgid()", errno, why, size);
	if (setresuid(user->uid, user->uid, user->uid))
		return failed("setresuid()", errno, why, size);
	return 0;
}

int privilege_drop(const struct privilege_user *user, char *why, size_t why_size)
{
	int r = bound(NULL, 0);

	if (r)
		return failed("the bounding set", -r, why, why_size);
	r = become(user, why, why_size);
	if (r)
		return r;
	r = hold(NULL, 0);
	if (r)
		return failed("capabilities", -r, why, why_size);
	r = harden(why, why_size);
	if (r)
		return r;
	r = restrict_calls(calls_record, ARRAY_SIZE(calls_record), false);
	return r ? failed("seccomp", -r, why, why_size) : 0;
}

int privilege_keep_some(bool may_kill, char *why, size_t why_size)
{
	static const cap_value_t kept[] = {
		CAP_SYS_ADMIN,		/* setns(2), and BPF with it */
		CAP_SYS_PTRACE,		/* /proc/PID/exe, ns/net, fd of any process */
		CAP_DAC_READ_SEARCH,	/* open_by_handle_at(2): cgroups by their id */
		CAP_DAC_OVERRIDE,	/* the database's files, in a directory that is the recorder's, */
		CAP_CHOWN,		/* which are given to it */
		CAP_KILL,
	};
	size_t count = ARRAY_SIZE(kept) - !may_kill;
	int r = bound(kept, count);

	if (!r)
		r = hold(kept, count);
	if (r)
		return failed("capabilities", -r, why, why_size);
	r = harden(why, why_size);
	if (r)
		return r;
	r = restrict_calls(calls_broker, ARRAY_SIZE(calls_broker), true);
	return r ? failed("seccomp", -r, why, why_size) : 0;
}
