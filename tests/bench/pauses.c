/* When the machine ran nobody.
 *
 * What it does: notes how long a real-time thread on each core was kept from running.
 *
 * How it works: below the bench's modems, above the engine (native/clock.c), it asks to be woken every
 * millisecond. What it misses everybody misses: a virtual machine whose host has other work, or a core that
 * the kernel keeps.
 *
 * How to use it: watch_start, watch_stop, then its figures may be read. All times are of CLOCK_MONOTONIC. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { PRIORITY = 25, PERIOD_NS = 1000 * 1000 };

typedef struct {
    int core;
    int64_t least_ns;
    int64_t most, count, *from_ns, *until_ns;

    pthread_t thread;
    atomic_bool stop;
} watch;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *run(void *argument) {
    watch *w = argument;
    struct sched_param priority = {.sched_priority = PRIORITY};
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(w->core, &cores);
    pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    int64_t due = now_ns();
    while (!atomic_load(&w->stop)) {
        due += PERIOD_NS;
        struct timespec t = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        int64_t now = now_ns();
        if (now - due < w->least_ns)
            continue;
        if (w->count < w->most) {
            w->from_ns[w->count] = due;
            w->until_ns[w->count++] = now;
        }
        due = now;
    }
    return NULL;
}

int watch_start(watch *w) {
    return pthread_create(&w->thread, NULL, run, w);
}

void watch_stop(watch *w) {
    atomic_store(&w->stop, 1);
    pthread_join(w->thread, NULL);
}
