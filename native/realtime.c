/* What it does: starts the engine's threads, and makes the locks that some of them share with Python's.
 *
 * How it works: SCHED_FIFO where the system permits it. A signal is Python's to handle, so the threads
 * inherit a mask that blocks them all. Who holds a lock that a real-time thread waits for has its priority
 * meanwhile, or whatever else is running could keep both from going on.
 *
 * How to use it: realtime_start; in the new thread realtime_begin, before anything else. */

#define _GNU_SOURCE
#include "realtime.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int told(int error) {
    errno = error;
    return error ? -1 : 0;
}

int realtime_start(pthread_t *thread, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return told(error);
}

bool realtime_begin(const char *name, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    pthread_setname_np(pthread_self(), name);
    return pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters) == 0;
}

int realtime_lock_init(pthread_mutex_t *lock) {
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error)
        return told(error);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    error = pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return told(error);
}
