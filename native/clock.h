/* A real-time thread on a grid of 20 ms. See clock.c. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

typedef struct {
    void (*tick)(void *owner);
    /* LOOK_FAR: whether there are devices, or the others are not asked. LOOK_AFTER: how much later the ticks
     * are to come from now on, in ns. */
    int64_t (*look)(void *owner, int when);
    void *owner;
    pthread_t thread;
    bool running;      /* control's own knowledge */
    uint32_t unlooked; /* ticks; the thread's own */
    atomic_bool stop;
    atomic_bool realtime;
    _Atomic uint64_t skipped;
    _Atomic uint32_t worst_late_us;
} media_clock;

int clock_start(media_clock *c); /* 0, or -1 and errno; EBUSY when it runs */
void clock_stop(media_clock *c); /* waits for the thread; nothing when it does not run */
