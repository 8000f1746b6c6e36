/* SPDX-License-Identifier: GPL-2.0 */
/* The work: calls over loopback, one thread, one CPU; and a web server with its client. */
#include "tests/bench/cost/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TCP_PORT 7000
#define UDP_PORT 7001
#define WEB_PORT 7002
#define BATCH 64
#define SLICES 20
#define PER_ADDRESS 50000
#define DESTINATIONS 200

static int server, sender, connected, router;

void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in at(uint32_t host, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl((127U << 24) + host),
	};
}

static int bound(int type, uint16_t port)
{
	struct sockaddr_in address = at(1, port);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (port == TCP_PORT)
		address.sin_addr.s_addr = INADDR_ANY;
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("bind");
	return fd;
}

/* To another address with each, so that no TIME_WAIT is in the way of a port. */
static void tcp_connect(int *near, int *far)
{
	static uint32_t host;
	struct sockaddr_in address = at(1 + host++ % DESTINATIONS, TCP_PORT);

	*near = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(*near, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	*far = accept(server, NULL, NULL);
	if (*far < 0)
		die("accept");
}

static void tcp_reset(void)
{
	struct linger now = { 1, 0 };
	int near, far;

	tcp_connect(&near, &far);
	setsockopt(near, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(near);
	close(far);
}

static void tcp_wait(void)
{
	int near, far;

	tcp_connect(&near, &far);
	close(near);
	close(far);
}

static void tcp_bind(void)
{
	close(bound(SOCK_STREAM, 0));
}

static void udp_bind(void)
{
	close(bound(SOCK_DGRAM, 0));
}

static void send_to(int fd)
{
	struct sockaddr_in address = at(1, UDP_PORT);

	if (sendto(fd, "", 1, 0, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("sendto");
}

static void udp_sendto_close(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	send_to(fd);
	close(fd);
}

static void udp_send(void)
{
	if (send(connected, "", 1, 0) < 0)
		die("send");
}

static void udp_sendto(void)
{
	send_to(sender);
}

/* Asks the kernel which way a packet to 127.0.0.1 would take. */
static void look_up_route(void)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg route;
		struct rtattr to;
		struct in_addr address;
	} ask = {
		.head = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST },
		.route = { .rtm_family = AF_INET, .rtm_dst_len = 32 },
		.to = { .rta_len = RTA_LENGTH(sizeof(struct in_addr)), .rta_type = RTA_DST },
		.address = { htonl(INADDR_LOOPBACK) },
	};
	char answer[1024];

	if (send(router, &ask, sizeof(ask), 0) < 0 || recv(router, answer, sizeof(answer), 0) < (ssize_t)sizeof(ask.head) ||
	    ((struct nlmsghdr *)answer)->nlmsg_type != RTM_NEWROUTE)
		die("a route look-up");
}

static void get_ppid(void)
{
	syscall(SYS_getppid);
}

const struct load loads[LOADS] = {
	{ "tcp-reset", "TCP connect, accept, close with a reset", tcp_reset },
	{ "tcp-wait", "TCP connect, accept, close to a TIME_WAIT", tcp_wait },
	{ "tcp-bind", "TCP bind to port 0, close", tcp_bind },
	{ "udp-bind", "UDP bind to port 0, close", udp_bind },
	{ "udp-sendto-close", "UDP socket, sendto, close", udp_sendto_close },
	{ "udp-send", "UDP send on one connected socket", udp_send },
	{ "udp-sendto", "UDP sendto on one unconnected socket", udp_sendto },
	{ "route", "a route look-up, by netlink", look_up_route },
	{ "getppid", "getppid()", get_ppid },
	{ "nginx", "nginx under wrk, Connection: close", NULL },
};

/* ---- the place ---- */

static void loopback_up(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		die("loopback");
	close(fd);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

void load_enter(int cpu)
{
	struct sockaddr_in address = at(1, UDP_PORT);
	int least = 1, receiver;

	if (unshare(CLONE_NEWNET) < 0)
		die("a network namespace of its own (as root?)");
	loopback_up();
	write_text("/proc/sys/net/ipv4/tcp_max_tw_buckets", "1000000");
	stay_on(cpu);
	server = bound(SOCK_STREAM, TCP_PORT);
	listen(server, 128);
	/* Full at once: what is sent then is sent and dropped, and nobody needs to read. */
	receiver = bound(SOCK_DGRAM, UDP_PORT);
	setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	connected = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	router = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (connect(connected, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
}

/* ---- a web server ---- */

static const char nginx_conf[] =
	"daemon off; master_process off; pid nginx.pid; error_log stderr crit;\n"
	"events { worker_connections 512; }\n"
	"http { access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t;\n"
	"scgi_temp_path t; server { listen 127.0.0.1:7002; location / { return 200 'well'; } } }\n";

static pid_t spawn(const char *command, int cpu)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stay_on(cpu);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* ns a request, in wall time; 0: not measured. */
static double load_nginx(unsigned int ms)
{
	char dir[] = "/tmp/bench-nginx.XXXXXX", path[64], command[200], line[200];
	double rate = 0;
	pid_t nginx;
	FILE *wrk;

	if (!mkdtemp(dir))
		die("mkdtemp");
	snprintf(path, sizeof(path), "%s/conf", dir);
	write_text(path, nginx_conf);
	snprintf(command, sizeof(command), "exec nginx -p %s -c %s 2>/dev/null", dir, path);
	nginx = spawn(command, 0);
	usleep(200000);
	snprintf(command, sizeof(command), "wrk -t1 -c8 -d%us -H 'Connection: close' http://127.0.0.1:%d/ 2>&1",
		 ms < 1000 ? 1 : ms / 1000, WEB_PORT);
	wrk = popen(command, "re");
	while (wrk && fgets(line, sizeof(line), wrk))
		sscanf(line, "Requests/sec: %lf", &rate);
	if (wrk)
		pclose(wrk);
	kill(nginx, SIGTERM);
	waitpid(nginx, NULL, 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command))
		die(dir);
	return rate > 0 ? 1e9 / rate : 0;
}

/* ---- running ---- */

static double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double run_slice(const struct load *load, double ns)
{
	double start = cpu_ns(), taken = 0, count = 0;

	while (taken < ns) {
		for (int i = 0; i < BATCH; i++)
			load->once();
		count += BATCH;
		taken = cpu_ns() - start;
	}
	return taken / count;
}

static int by_size(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

double load_run(const struct load *load, unsigned int ms)
{
	double ns[SLICES];

	if (!load->once)
		return load_nginx(ms);
	for (int i = 0; i < BATCH; i++)
		load->once();
	for (int i = 0; i < SLICES; i++)
		ns[i] = run_slice(load, ms * 1e6 / SLICES);
	qsort(ns, SLICES, sizeof(*ns), by_size);
	/* Where instructions are counted, the least is the one without an interrupt. */
	return getenv("ADDED") ? ns[0] : ns[SLICES / 2];
}

void load_hold(unsigned int first, unsigned int end)
{
	struct rlimit limit = { end - first + 64, end - first + 64 };

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("RLIMIT_NOFILE");
	for (unsigned int i = first; i < end; i++) {
		struct sockaddr_in address = at(2 + i / PER_ADDRESS, (uint16_t)(10000 + i % PER_ADDRESS));
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			die("a socket to hold");
	}
}
