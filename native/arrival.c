/* How long ago the kernel had what is read.
 *
 * What it does: reads from a socket, and says when the newest of these bytes came.
 *
 * How it works: the kernel stamps them. To ask for its stamp costs more than a tenth of what playing a frame
 * does, so what comes after a pause is measured, and of a steady stream one frame in eight.
 *
 * How to use it: arrival_begin on a connected socket, then arrival_receive in recv's place. */

#define _GNU_SOURCE
#include "arrival.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "realtime.h"

/* From one that asks to the next; a lane looks twice for each frame. */
enum { LOOKS = 16 };

/* Older than that is no byte that was left unread by us. */
static const int64_t MOST_AGE_NS = INT64_C(10000000000);

static int64_t ns_of(struct timespec t) {
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Now, when the kernel does not say. Its clock is that of the day, which somebody may just have set. */
static int64_t stamp_ns(struct msghdr *m) {
    int64_t now = now_ns(), age = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct timespec came, day;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&came, CMSG_DATA(c), sizeof came);
        clock_gettime(CLOCK_REALTIME, &day);
        age = ns_of(day) - ns_of(came);
    }
    return age > 0 && age < MOST_AGE_NS ? now - age : now;
}

static ssize_t receive_stamped(int fd, void *out, size_t size, int64_t *ns) {
    _Alignas(struct cmsghdr) char told[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {.iov_base = out, .iov_len = size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = told, .msg_controllen = sizeof told};
    ssize_t got = recvmsg(fd, &m, MSG_DONTWAIT);
    if (got > 0)
        *ns = stamp_ns(&m);
    return got;
}

void arrival_begin(arrival *a, int fd) {
    a->looks = LOOKS;
    /* Of use only for a figure. */
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
}

ssize_t arrival_receive(arrival *a, int fd, void *out, size_t size) {
    a->ns = 0;
    if (++a->looks < LOOKS)
        return recv(fd, out, size, MSG_DONTWAIT);
    ssize_t got = receive_stamped(fd, out, size, &a->ns);
    if (got > 0)
        a->looks = 0;
    return got;
}
