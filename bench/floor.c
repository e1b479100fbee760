/* The floor: the least client there is for the same connection, without any accounting.
 *
 * One loop over epoll: socket, connect, send, epoll_ctl, recv, close, and nothing else. What this
 * needs per connection on one core, any client needs: it is the kernel's own work. Without a rate it
 * keeps CONCURRENCY connections under way; with one it opens them evenly spaced, as many at most.
 *
 * Compiled with -DNAME it does one thing differently, see `bench/ideas.py`.
 *
 * usage: floor ADDRESS PORT SECONDS CONCURRENCY [RATE]
 * prints: connections seconds user_seconds system_seconds, and with a rate the microseconds by which
 *         connections were opened late: median, 99th percentile, maximum
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, REPLY = 65536 };
#ifdef EDGE_TRIGGERED
enum { READABLE = EPOLLIN | EPOLLET };
#else
enum { READABLE = EPOLLIN };
#endif
#ifdef SPIN
#define IDLE(seconds) 0
#else
#define IDLE(seconds) (seconds)
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
enum { LATEST = 1000000 };
static unsigned int late[LATEST + 1]; /* how many connections were opened so many µs late */
static const char request[] = "get churnlab:1\r\n";
static struct sockaddr_in server;
static int epoll_fd;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void set(int fd, int level, int name, const void *value, socklen_t size)
{
    if (setsockopt(fd, level, name, value, size) < 0)
        die("setsockopt");
}

static void set_options(int fd)
{
    int one = 1, zero = 0, microseconds = 50;
    unsigned int ports = 65535u << 16 | 1024;
    struct linger reset = {.l_onoff = 1};
    (void)one, (void)zero, (void)microseconds, (void)ports, (void)reset, (void)fd, (void)set;
#ifdef QUICKACK
    set(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
#endif
#ifdef NO_QUICKACK
    set(fd, IPPROTO_TCP, TCP_QUICKACK, &zero, sizeof zero);
#endif
#ifdef NODELAY
    set(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#endif
#ifdef FASTOPEN_CONNECT
    set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof one);
#endif
#ifdef BUSY_POLL
    set(fd, SOL_SOCKET, SO_BUSY_POLL, &microseconds, sizeof microseconds);
#endif
#ifdef PORT_RANGE
    set(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &ports, sizeof ports);
#endif
#ifdef RESET
    set(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
#endif
}

/* Waits for events, but not beyond `seconds`; a negative number waits for as long as it takes. */
static int wait_for(struct epoll_event *events, double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - t.tv_sec) * 1e9);
    return epoll_pwait2(epoll_fd, events, EVENTS, seconds < 0 ? NULL : &t, NULL);
}

/* Opens one connection; the request follows at once where the handshake is already over. */
static void start(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event event = {.data.fd = fd};
    if (fd < 0)
        die("socket");
    set_options(fd);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        die("connect");
    if (send(fd, request, sizeof request - 1, 0) > 0)
        event.events = READABLE;
    else if (errno == EAGAIN || errno == EINPROGRESS)
        event.events = EPOLLOUT;
    else
        die("send");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void count_lateness(double lateness)
{
    long microseconds = (long)(lateness * 1e6);
    late[microseconds < 0 ? 0 : microseconds > LATEST ? LATEST : microseconds]++;
}

static long latest_of(double share, long total)
{
    long seen = 0, microseconds = 0;
    while (microseconds < LATEST && (seen += late[microseconds]) < share * total)
        microseconds++;
    return microseconds;
}

int main(int argc, char **argv)
{
    static char reply[REPLY];
    struct epoll_event events[EVENTS];
    struct rusage usage;
    long done = 0, started = 0;
    int in_flight = 0;

    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: floor ADDRESS PORT SECONDS CONCURRENCY [RATE]\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
        die("address");
    double begin = now(), end = begin + atof(argv[3]), rate = argc == 6 ? atof(argv[5]) : 0;
    int concurrency = atoi(argv[4]);
    epoll_fd = epoll_create1(0);
    prctl(PR_SET_TIMERSLACK, 1);

    for (;;) {
        double wait = -1;
        int open = now() < end;
        if (!open && !in_flight)
            break;
        for (; open && in_flight < concurrency; in_flight++, started++) {
            if (rate > 0 && (wait = begin + started / rate - now()) > 0)
                break;
            if (rate > 0)
                count_lateness(-wait);
            start();
        }
        if (in_flight == concurrency || !open)
            wait = -1;
        int ready = wait_for(events, IDLE(wait));
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (events[i].events & EPOLLOUT) {
                struct epoll_event event = {.events = READABLE, .data.fd = fd};
                if (send(fd, request, sizeof request - 1, 0) < 0)
                    die("send");
                epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
                continue;
            }
            if (recv(fd, reply, sizeof reply, 0) <= 0)
                die("recv");
            close(fd);
            done++;
#ifdef OPEN_AT_ONCE
            if (open)
                start();
            else
#endif
                in_flight--;
        }
    }
    double elapsed = now() - begin;
    getrusage(RUSAGE_SELF, &usage);
    printf("%ld %.6f %.6f %.6f", done, elapsed, seconds(usage.ru_utime), seconds(usage.ru_stime));
    if (rate > 0)
        printf(" %ld %ld %ld", latest_of(0.5, started), latest_of(0.99, started),
               latest_of(1, started));
    printf("\n");
    return 0;
}
