/* What the machine takes away: a program that only reads the clock, and notes when it could not.
 *
 * It is busy for a share of every millisecond, pinned to one CPU. Two readings of the clock are some
 * 30 ns apart; where there are more than 20 µs between them, something else had the CPU: another
 * program, an interrupt, or the hypervisor.
 *
 * usage: jitter CPU SECONDS SHARE (of each millisecond, 0 to 1)
 * prints: busy_seconds lost_seconds longest_gap gaps_above_300_µs gaps_above_3_ms
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
    struct timespec t = {.tv_sec = (time_t)when};
    t.tv_nsec = (long)((when - t.tv_sec) * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

int main(int argc, char **argv)
{
    cpu_set_t cpus;
    double busy = 0, lost = 0, longest = 0;
    long above = 0, far_above = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: jitter CPU SECONDS SHARE\n");
        return 2;
    }
    CPU_ZERO(&cpus);
    CPU_SET(atoi(argv[1]), &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) < 0) {
        perror("sched_setaffinity");
        return 1;
    }
    double begin = now(), end = begin + atof(argv[2]), share = atof(argv[3]);
    for (double slot = begin; slot < end; slot += 1e-3) {
        double before = now();
        for (double last = before; last < slot + share * 1e-3;) {
            double t = now(), gap = t - last;
            if (gap > 20e-6) {
                lost += gap;
                above += gap > 300e-6;
                far_above += gap > 3e-3;
                if (gap > longest)
                    longest = gap;
            }
            last = t;
        }
        busy += now() - before;
        if (share < 1)
            sleep_until(slot + 1e-3);
    }
    printf("%.6f %.6f %.6f %ld %ld\n", busy, lost, longest, above, far_above);
    return 0;
}
