/* The engine's own thread.
 *
 * What it does: calls tick() every 20 ms.
 *
 * How it works: on an absolute grid of CLOCK_MONOTONIC, so that lateness never adds up. A thread that was
 * kept from running makes up for at most ten ticks, one after the other: what the ports' buffers can absorb.
 * Being later than that is a machine that was stopped; the grid starts anew and the ticks in between are
 * counted as skipped. It is a clock of its own, so the grid may be moved a little: see phase.c.
 *
 * How to use it: set tick, look and owner, clock_start, clock_stop; may be started again. */

#define _POSIX_C_SOURCE 200809L
#include "clock.h"

#include <errno.h>
#include <time.h>

#include "realtime.h"

enum {
    TICK_NS = 20 * 1000 * 1000,
    MAX_LATE_TICKS = 10,
    LOOK_TICKS = 3,
    /* Above every ordinary thread, below the kernel's interrupt threads (50), which bring the audio. */
    PRIORITY = 20,
};

static void sleep_until(int64_t due) {
    struct timespec t = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static void note_late(media_clock *c, int64_t late) {
    if (late / 1000 > atomic_load(&c->worst_late_us))
        atomic_store(&c->worst_late_us, late / 1000 < UINT32_MAX ? (uint32_t)(late / 1000) : UINT32_MAX);
}

/* Whether this tick has a look: not if it would be late for that. */
static bool looks(media_clock *c, int64_t due) {
    if (++c->unlooked < LOOK_TICKS || now_ns() > due + LOOK_FAR)
        return false;
    c->unlooked = 0;
    sleep_until(due + LOOK_FAR);
    if (!c->look(c->owner, LOOK_FAR))
        return false;
    sleep_until(due + LOOK_NEAR);
    c->look(c->owner, LOOK_NEAR);
    return true;
}

static void *run(void *argument) {
    media_clock *c = argument;
    atomic_store(&c->realtime, realtime_begin("branchline-rt", PRIORITY));
    int64_t due = now_ns();
    while (!atomic_load(&c->stop)) {
        due += TICK_NS;
        bool looking = looks(c, due);
        sleep_until(due);
        int64_t late = now_ns() - due;
        note_late(c, late);
        if (late > (int64_t)MAX_LATE_TICKS * TICK_NS) {
            atomic_fetch_add(&c->skipped, late / TICK_NS);
            due += late / TICK_NS * TICK_NS;
        }
        if (looking)
            c->look(c->owner, LOOK_DUE);
        c->tick(c->owner);
        if (looking) {
            sleep_until(due + LOOK_AFTER);
            due += c->look(c->owner, LOOK_AFTER);
        }
    }
    return NULL;
}

int clock_start(media_clock *c) {
    if (c->running) {
        errno = EBUSY;
        return -1;
    }
    atomic_store(&c->stop, false);
    c->running = realtime_start(&c->thread, run, c) == 0;
    return c->running ? 0 : -1;
}

void clock_stop(media_clock *c) {
    if (!c->running)
        return;
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    c->running = false;
}
