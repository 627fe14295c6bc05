/* The turns of all lanes, on a thread of their own.
 *
 * What it does: sends what the streams heard as soon as a tick has made it, and reads what servers sent,
 * however busy Python is.
 *
 * How it works: the tick writes to an eventfd; the thread wakes, lets each lane read and send, and looks once
 * more before the next tick, to find most of what that is to play. So all connections together cost two
 * wake-ups a tick, and no socket wakes anybody. It is real-time where that is permitted, below the tick.
 *
 * The list of lanes has a lock that is held for a whole turn: who changes the list waits for its end, and
 * knows then that a lane which is not in the list is not used any more. Each lane has its own lock against
 * Python's rare messages (lane.c). What a turn has to tell is left at the lane, and the engine's own
 * descriptor wakes Python.
 *
 * How to use it: see engine.h. */

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "lane.h"
#include "port.h"
#include "realtime.h"

/* Below the tick's (clock.c). */
enum { PRIORITY = 15 };

struct lanes {
    pthread_mutex_t lock; /* of the list; control reads it without, as nobody else writes it */
    lane **list;
    int count;

    engine *engine; /* NULL: there is no thread */
    pthread_t thread;
    int look_ms;
    atomic_bool stop;
};

static bool turn_all(lanes *all) {
    bool some = false;
    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < all->count; i++)
        some |= lane_turn(all->list[i]) != 0;
    pthread_mutex_unlock(&all->lock);
    return some;
}

static int count_now(lanes *all) {
    pthread_mutex_lock(&all->lock);
    int count = all->count;
    pthread_mutex_unlock(&all->lock);
    return count;
}

static void *run(void *argument) {
    lanes *all = argument;
    realtime_begin("branchline-net", PRIORITY);
    struct pollfd made = {.fd = engine_made_fd(all->engine), .events = POLLIN};
    while (!atomic_load(&all->stop)) {
        eventfd_t n;
        poll(&made, 1, count_now(all) ? all->look_ms : -1);
        (void)!eventfd_read(made.fd, &n);
        if (turn_all(all))
            (void)!eventfd_write(engine_fd(all->engine), 1);
    }
    return NULL;
}

static void wake(lanes *all) {
    if (all->engine)
        (void)!eventfd_write(engine_made_fd(all->engine), 1);
}

int lanes_add(lanes *all, lane *l) {
    if (*lane_place(l)) {
        errno = EBUSY;
        return -1;
    }
    pthread_mutex_lock(&all->lock);
    lane **list = realloc(all->list, (size_t)(all->count + 1) * sizeof(lane *));
    if (list) {
        list[all->count++] = l;
        all->list = list;
        *lane_place(l) = all;
    }
    pthread_mutex_unlock(&all->lock);
    wake(all);
    return list ? 0 : -1;
}

void lanes_remove(lane *l) {
    lanes *all = *lane_place(l);
    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    int at = 0;
    while (all->list[at] != l)
        at++;
    all->count--;
    memmove(&all->list[at], &all->list[at + 1], (size_t)(all->count - at) * sizeof(lane *));
    *lane_place(l) = NULL;
    pthread_mutex_unlock(&all->lock);
}

int lanes_turn(lanes *all, uint8_t *told) {
    int some = 0;
    if (!all->engine)
        turn_all(all);
    for (int i = 0; i < all->count; i++)
        some |= told[i] = (uint8_t)lane_told(all->list[i]);
    return some;
}

int lanes_start(lanes *all, engine *e, int look_ms) {
    if (all->engine || look_ms < 1) {
        errno = all->engine ? EBUSY : EINVAL;
        return -1;
    }
    if (engine_divert(e, all) < 0)
        return -1;
    all->engine = e;
    all->look_ms = look_ms;
    atomic_store(&all->stop, false);
    if (realtime_start(&all->thread, run, all) == 0)
        return 0;
    all->engine = NULL;
    engine_divert(e, NULL);
    return -1;
}

bool lanes_running(const lanes *all) {
    return all->engine;
}

void lanes_stop(lanes *all) {
    if (!all->engine)
        return;
    engine_divert(all->engine, NULL);
    atomic_store(&all->stop, true);
    wake(all);
    pthread_join(all->thread, NULL);
    all->engine = NULL;
}

lanes *lanes_create(void) {
    lanes *all = calloc(1, sizeof *all);
    if (!all || realtime_lock_init(&all->lock) < 0) {
        free(all);
        return NULL;
    }
    return all;
}

void lanes_destroy(lanes *all) {
    if (!all)
        return;
    lanes_stop(all);
    while (all->count)
        lanes_remove(all->list[0]);
    pthread_mutex_destroy(&all->lock);
    free(all->list);
    free(all);
}
