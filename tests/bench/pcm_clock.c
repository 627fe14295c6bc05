/* A modem's PCM clock that waits for nobody.
 *
 * What it does: writes a chunk of sound to a tty's master every chunk_ns, reads what comes there, and notes
 * when; and when each chunk could be read at the tty itself.
 *
 * How it works: a thread for each modem, real-time where that is permitted, above the engine's
 * (native/clock.c): a modem is another machine. Between the two ends of a pty a worker of the kernel's
 * carries the bytes, which is no real-time thread and may be late; so the tty is watched, too, and never
 * read.
 *
 * How to use it: fill a take, start it with the time of its first chunk, stop it; then its figures may be
 * read. All times are of CLOCK_MONOTONIC. */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { PRIORITY = 30, MOST_WAIT_MS = 10 };

typedef struct {
    int fd, tty; /* tty: -1: nobody has it open */
    const uint8_t *sound;
    int64_t chunk_bytes, chunk_ns;
    int64_t chunks, *sent_ns,
        *landed_ns;       /* of each chunk; -1: the host did not take it, 0: it did not land */
    int64_t sent, landed; /* chunks */
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
    ssize_t got;
    while (t->reads < t->most_reads &&
           (got = read(t->fd, t->heard + t->heard_bytes, (size_t)(t->most_heard - t->heard_bytes))) > 0) {
        t->read_ns[t->reads] = now_ns();
        t->read_bytes[t->reads++] = got;
        t->heard_bytes += got;
    }
}

static void land(take *t) {
    int64_t at = now_ns();
    while (t->landed < t->sent)
        t->landed_ns[t->landed++] = at;
}

/* Edges only: the tty's input is the host's to read. */
static int watch(const take *t) {
    int all = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event master = {.events = EPOLLIN | EPOLLET, .data.fd = t->fd};
    struct epoll_event tty = {.events = EPOLLIN | EPOLLET, .data.fd = t->tty};
    epoll_ctl(all, EPOLL_CTL_ADD, t->fd, &master);
    epoll_ctl(all, EPOLL_CTL_ADD, t->tty, &tty);
    return all;
}

static void *run(void *argument) {
    take *t = argument;
    struct sched_param priority = {.sched_priority = PRIORITY};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    int all = watch(t);
    while (!atomic_load(&t->stop)) {
        int64_t left = t->due_ns - now_ns();
        if (left <= 0 && t->sent < t->chunks) {
            say(t);
            continue;
        }
        int64_t most_ns = MOST_WAIT_MS * 1000000;
        struct timespec most = {.tv_nsec = left > 0 && left < most_ns ? left : most_ns};
        struct epoll_event came[2];
        int n = epoll_pwait2(all, came, 2, &most, NULL);
        for (int i = 0; i < n; i++)
            if (came[i].data.fd == t->tty)
                land(t);
            else
                hear(t);
    }
    close(all);
    return NULL;
}

int take_start(take *t) {
    return pthread_create(&t->thread, NULL, run, t);
}

void take_stop(take *t) {
    atomic_store(&t->stop, 1);
    pthread_join(t->thread, NULL);
}
