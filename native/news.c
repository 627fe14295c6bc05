/* The tick's news.
 *
 * What it does: carries events from the tick to control, and wakes whoever has something to do after a tick.
 *
 * How it works: events are a ring of fixed size: the tick must not wait for a reader, so a full ring loses
 * events, and counts them. However many a tick tells, control is woken once, by an eventfd.
 *
 * How to use it: see news.h. */

#include "news.h"

#include <sys/eventfd.h>
#include <unistd.h>

int news_open(news *n) {
    n->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    n->made_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (n->fd >= 0 && n->made_fd >= 0)
        return 0;
    int error = errno;
    news_close(n);
    errno = error;
    return -1;
}

void news_close(news *n) {
    if (n->fd >= 0)
        close(n->fd);
    if (n->made_fd >= 0)
        close(n->made_fd);
}

void news_tell(news *n, event told) {
    uint32_t written = atomic_load_explicit(&n->written, memory_order_relaxed);
    n->some = true;
    if (written - atomic_load_explicit(&n->read, memory_order_acquire) == EVENTS) {
        count(&n->lost, 1);
        return;
    }
    n->events[written % EVENTS] = told;
    atomic_store_explicit(&n->written, written + 1, memory_order_release);
}

/* A write fails only when nobody has read it 2^64 times. */
void news_send(news *n) {
    bool diverted = atomic_load_explicit(&n->diverted, memory_order_relaxed);
    if (n->made && diverted)
        (void)!eventfd_write(n->made_fd, 1);
    if (n->some || (n->made && !diverted))
        (void)!eventfd_write(n->fd, 1);
    n->some = n->made = false;
}

int news_take(news *n, event *out, int capacity) {
    eventfd_t ignored;
    (void)!eventfd_read(n->fd, &ignored); /* before looking, so that what comes later is told again */
    uint32_t read = atomic_load_explicit(&n->read, memory_order_relaxed);
    uint32_t written = atomic_load_explicit(&n->written, memory_order_acquire);
    int taken = 0;
    while (read != written && taken < capacity)
        out[taken++] = n->events[read++ % EVENTS];
    atomic_store_explicit(&n->read, read, memory_order_release);
    return taken;
}
