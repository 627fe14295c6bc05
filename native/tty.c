/* What it does: reads and writes without waiting, and tells "nothing now" from "never again".
 *
 * How it works: a tty set to VMIN 0 answers "nothing yet" like the end of a file; only poll tells a hang-up
 * from it.
 *
 * How to use it: see tty.h. */

#define _POSIX_C_SOURCE 200809L
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

void tty_close(tty *t) {
    if (t->fd >= 0)
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
