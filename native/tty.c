/* What it does: reads and writes without waiting, and tells "nothing now" from "never again".
 *
 * How it works: a tty set to VMIN 0 answers "nothing yet" like the end of a file; only poll tells a hang-up
 * from it. The last close of a serial tty waits until the device took what was written, up to Linux'
 * closing_wait of 30 s, which a thread of its own does, as whoever frees a port has calls to attend to.
 *
 * How to use it: see tty.h. */

#define _POSIX_C_SOURCE 200809L
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

bool tty_open(tty *t, int fd) {
    *t = (tty){.fd = -1};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return false;
    if (!(flags & O_NONBLOCK)) {
        errno = EINVAL;
        return false;
    }
    t->is_tty = isatty(fd);
    t->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return t->fd >= 0;
}

static void *close_it(void *fd) {
    close((int)(intptr_t)fd);
    return NULL;
}

void tty_close(tty *t) {
    pthread_t thread;
    if (t->fd < 0)
        return;
    if (t->is_tty && pthread_create(&thread, NULL, close_it, (void *)(intptr_t)t->fd) == 0)
        pthread_detach(thread);
    else
        close(t->fd);
}

static bool hung_up(const tty *t) {
    struct pollfd state = {.fd = t->fd, .events = POLLIN};
    return !t->is_tty || (poll(&state, 1, 0) == 1 && state.revents & (POLLHUP | POLLERR | POLLNVAL));
}

static bool only_now(int error) {
    return error == EAGAIN || error == EINTR;
}

ptrdiff_t tty_read(const tty *t, void *out, size_t size) {
    ptrdiff_t got = read(t->fd, out, size);
    if (got > 0)
        return got;
    if (got < 0)
        return only_now(errno) ? 0 : -1;
    if (!hung_up(t))
        return 0;
    errno = 0;
    return -1;
}

ptrdiff_t tty_write(const tty *t, const void *in, size_t size) {
    ptrdiff_t done = write(t->fd, in, size);
    return done < 0 && only_now(errno) ? 0 : done;
}
