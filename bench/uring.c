/* The same connections as the floor's, through io_uring: one chain of requests for each.
 *
 * socket, connect, send, recv and close are submitted together and linked; the program wakes up for
 * the last of them. Descriptors live in the ring's own table. Needs liburing (Debian: liburing-dev).
 *
 * usage and output as floor.c
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { SLOTS = 1024, REPLY = 4096 };
enum step { OPEN, CONNECT, SEND, RECEIVE, CLOSE };
static const char request[] = "get churnlab:1\r\n";
static struct sockaddr_in server;
static struct io_uring ring;
static char replies[SLOTS][REPLY];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

static void die(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

static struct io_uring_sqe *request_of(void)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
    if (!entry)
        die("io_uring_get_sqe", EBUSY);
    return entry;
}

/* A chain goes on while its requests succeed, and only its last one, or a failure, reports. */
static void link_up(struct io_uring_sqe *entry, int slot, enum step step)
{
    entry->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    if (step != OPEN)
        entry->flags |= IOSQE_FIXED_FILE;
    entry->user_data = slot * 8 + step;
}

static void start(int slot)
{
    struct io_uring_sqe *entry = request_of();
    io_uring_prep_socket_direct(entry, AF_INET, SOCK_STREAM, 0, slot, 0);
    link_up(entry, slot, OPEN);
    entry = request_of();
    io_uring_prep_connect(entry, slot, (struct sockaddr *)&server, sizeof server);
    link_up(entry, slot, CONNECT);
    entry = request_of();
    io_uring_prep_send(entry, slot, request, sizeof request - 1, 0);
    link_up(entry, slot, SEND);
    entry = request_of();
    io_uring_prep_recv(entry, slot, replies[slot], REPLY, 0);
    link_up(entry, slot, RECEIVE);
    entry = request_of();
    io_uring_prep_close_direct(entry, slot);
    entry->user_data = slot * 8 + CLOSE;
}

int main(int argc, char **argv)
{
    struct io_uring_params settings = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = 16 * SLOTS,
    };
    struct rusage usage;
    long done = 0;
    int in_flight = 0, error;

    if (argc != 5) {
        fprintf(stderr, "usage: uring ADDRESS PORT SECONDS CONCURRENCY\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
        die("address", errno);
    double begin = now(), end = begin + atof(argv[3]);
    int concurrency = atoi(argv[4]);
    if (concurrency < 1 || concurrency > SLOTS)
        die("concurrency", ERANGE);
    if ((error = io_uring_queue_init_params(8 * SLOTS, &ring, &settings)) < 0)
        die("io_uring_queue_init", -error);
    if ((error = io_uring_register_files_sparse(&ring, SLOTS)) < 0)
        die("io_uring_register_files_sparse", -error);
    for (; in_flight < concurrency; in_flight++)
        start(in_flight);
    while (in_flight) {
        struct io_uring_cqe *completion;
        unsigned head, seen = 0;
        if ((error = io_uring_submit_and_wait(&ring, 1)) < 0)
            die("io_uring_submit_and_wait", -error);
        int open = now() < end;
        io_uring_for_each_cqe(&ring, head, completion)
        {
            seen++;
            if (completion->res < 0)
                die("a request", -completion->res);
            if (completion->user_data % 8 != CLOSE)
                continue;
            done++;
            if (open)
                start(completion->user_data / 8);
            else
                in_flight--;
        }
        io_uring_cq_advance(&ring, seen);
    }
    double elapsed = now() - begin;
    getrusage(RUSAGE_SELF, &usage);
    printf("%ld %.6f %.6f %.6f\n", done, elapsed, seconds(usage.ru_utime), seconds(usage.ru_stime));
    return 0;
}
