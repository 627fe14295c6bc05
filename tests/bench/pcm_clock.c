/* A modem's PCM clock that waits for nobody.
 *
 * What it does: writes a chunk of sound to a file descriptor every chunk_ns, reads what comes there, and
 * notes when.
 *
 * How it works: a thread for each modem, real-time where that is permitted, above the engine's
 * (native/clock.c): a modem is another machine. A read wakes it, so that what was heard has the time of its
 * writing.
 *
 * How to use it: fill a take, start it with the time of its first chunk, stop it; then its figures may be
 * read. All times are of CLOCK_MONOTONIC. */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

enum { PRIORITY = 30, MOST_WAIT_NS = 10 * 1000 * 1000 };

typedef struct {
    int fd;
    const uint8_t *sound;
    int64_t chunk_bytes, chunk_ns;
    int64_t chunks, *sent_ns; /* of each chunk; -1: the host did not take it */
    int64_t sent;             /* chunks */
    uint8_t *heard;
    int64_t most_heard, heard_bytes;
    int64_t most_reads, reads, *read_ns, *read_bytes;

    int64_t due_ns;
    pthread_t thread;
    atomic_bool stop;
} take;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void say(take *t) {
    const uint8_t *chunk = t->sound + t->sent * t->chunk_bytes;
    int64_t at = now_ns();
    ssize_t done = write(t->fd, chunk, (size_t)t->chunk_bytes);
    t->sent_ns[t->sent++] = done == t->chunk_bytes ? at : -1;
    t->due_ns += t->chunk_ns;
}

static void hear(take *t) {
    ssize_t got = read(t->fd, t->heard + t->heard_bytes, (size_t)(t->most_heard - t->heard_bytes));
    if (got <= 0 || t->reads == t->most_reads)
        return;
    t->read_ns[t->reads] = now_ns();
    t->read_bytes[t->reads++] = got;
    t->heard_bytes += got;
}

static void *run(void *argument) {
    take *t = argument;
    struct sched_param priority = {.sched_priority = PRIORITY};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    while (!atomic_load(&t->stop)) {
        int64_t left = t->due_ns - now_ns();
        if (left <= 0 && t->sent < t->chunks) {
            say(t);
            continue;
        }
        struct timespec most = {.tv_nsec = left > 0 && left < MOST_WAIT_NS ? left : MOST_WAIT_NS};
        struct pollfd came = {.fd = t->fd, .events = POLLIN};
        if (ppoll(&came, 1, &most, NULL) <= 0)
            continue;
        if (came.revents & POLLIN)
            hear(t);
        else
            nanosleep(&most, NULL); /* nobody has the other end open */
    }
    return NULL;
}

int take_start(take *t) {
    return pthread_create(&t->thread, NULL, run, t);
}

void take_stop(take *t) {
    atomic_store(&t->stop, 1);
    pthread_join(t->thread, NULL);
}
