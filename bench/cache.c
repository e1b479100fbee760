/* How fast the machine is from moment to moment: steps through memory that fits the shared cache.
 *
 * A chain of pointers through a block of memory, in random order, so that each step waits for the
 * one before. While the block stays in the last-level cache a step takes some 10 ns; when others
 * that share the cache push it out, 100 ns and more. The kernel's work for a connection touches as
 * much memory, and slows down with it.
 *
 * usage: cache KILOBYTES SECONDS
 * prints: nanoseconds a step takes in windows of 10 ms: median, 90th and 99th percentile, maximum
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LINE = 64, STEPS = 2000, WINDOWS = 100000 };
struct link {
    struct link *next;
    char rest[LINE - sizeof(struct link *)];
};
static double windows[WINDOWS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One cycle through all links, in random order (Sattolo's shuffle). */
static struct link *chain(size_t count)
{
    struct link *links = aligned_alloc(LINE, count * LINE);
    size_t *order = malloc(count * sizeof *order);
    if (!links || !order)
        exit(1);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = rand() % i, kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (size_t i = 0; i < count; i++)
        links[order[i]].next = &links[order[(i + 1) % count]];
    free(order);
    return links;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: cache KILOBYTES SECONDS\n");
        return 2;
    }
    struct link *volatile place = chain(atol(argv[1]) * 1024 / LINE);
    double begin = now(), end = begin + atof(argv[2]);
    int count = 0;
    while (begin < end && count < WINDOWS) {
        long steps = 0;
        double t;
        do {
            struct link *at = place;
            for (int i = 0; i < STEPS; i++)
                at = at->next;
            place = at;
            steps += STEPS;
            t = now();
        } while (t - begin < 0.01);
        windows[count++] = (t - begin) / steps * 1e9;
        begin = t;
    }
    if (!count)
        return 1;
    qsort(windows, count, sizeof *windows, ascending);
    printf("%.1f %.1f %.1f %.1f\n", windows[count / 2], windows[count * 9 / 10],
           windows[count * 99 / 100], windows[count - 1]);
    return 0;
}
