/* A modem's audio tty, from the host's end or from the device's.
 *
 * What it does: 16-bit little-endian samples at 8000 Hz, both ways, over any non-blocking file descriptor.
 *
 * How it works: a tick reads all that is there. Reads end anywhere, also in the middle of a sample: the odd
 * byte waits for its other half. Samples wait in an elastic buffer (elastic.c) and leave it a frame a tick;
 * while it has none, the port is silent.
 *
 * FOLLOW: the device's stream is the clock, its bytes are our leave to send as many. A device that is sent
 * more than it plays buffers the rest and keeps it as delay for the whole call, so nothing is sent unasked:
 * what has no leave yet waits, at most 60 ms, then the oldest is lost. Leave that was not used lapses beyond
 * two of the device's chunks, and all of it while +QPCMV: 0 holds the port. Before the device's first byte
 * there is nobody to hear, and nothing is kept.
 *
 * CLOCK: our ticks are the clock. Whenever they have made chunk_bytes, these are sent: 640 bytes, every other
 * tick, is what an EC25 does. What the host sends may wait up to a second, as in a device's memory.
 *
 * Stale bytes of the last call wait in a tty that was opened anew, and are heard as noise in the next one:
 * the first tick reads them and throws them away. An error or the end of the file is told once.
 *
 * How to use it: see engine.h. */

#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "elastic.h"
#include "port.h"

enum {
    FRAME_BYTES = 2 * FRAME_SAMPLES,
    READ_BYTES = 4096, /* what a tty holds */
    MOST_READS = 64,   /* a tick must end, whatever the other side writes */
    MOST_CHUNK_BYTES = 8192,
    FOLLOW_LIMIT = RATE_HZ / 5,
    CLOCK_LIMIT = RATE_HZ,
    SEND_LIMIT = 3 * FRAME_SAMPLES,
};

typedef struct {
    port base;
    int fd;
    bool is_tty;
    int pace;
    uint32_t chunk_bytes;
    atomic_bool held;

    bool fresh; /* nothing was read yet: what comes first is stale */
    bool heard; /* the device has sent something since */
    bool dry;   /* what it sent has run out */
    bool failed;

    elastic in;
    bool in_is_odd;
    uint8_t in_half; /* the first byte of a sample whose other one has not come */

    elastic out;
    bool out_is_odd;
    uint8_t out_half; /* the second byte of a sample whose first one was sent */
    uint32_t leave;   /* bytes that may be sent */
    uint32_t made;    /* CLOCK: bytes of the chunk that is being made */

    counter received, sent, underruns, concealed, overruns, slips, dropped_in, dropped_out;
    _Atomic uint32_t depth;
} pcm;

static void fail(pcm *p, int error) {
    p->failed = true;
    engine_tell(p->base.engine, EVENT_FAILED, &p->base, error);
}

static void grant(pcm *p, size_t bytes) {
    uint32_t most = 2 * (p->chunk_bytes > FRAME_BYTES ? p->chunk_bytes : FRAME_BYTES);
    p->leave = p->leave + bytes < most ? p->leave + (uint32_t)bytes : most;
}

/* A tty set to VMIN 0 answers "nothing yet" like the end of a file; only poll tells a hang-up from it. */
static bool ended(const pcm *p) {
    struct pollfd state = {.fd = p->fd, .events = POLLIN};
    return !p->is_tty || (poll(&state, 1, 0) == 1 && state.revents & (POLLHUP | POLLERR | POLLNVAL));
}

/* Returns how many samples found the buffer full. */
static uint32_t receive(pcm *p) {
    uint32_t lost = 0;
    for (int i = 0; i < MOST_READS; i++) {
        int16_t samples[READ_BYTES / 2 + 1];
        uint8_t *bytes = (uint8_t *)samples;
        bytes[0] = p->in_half;
        ssize_t got = read(p->fd, bytes + p->in_is_odd, READ_BYTES);
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            fail(p, errno);
        else if (got == 0 && ended(p))
            fail(p, 0);
        if (got <= 0)
            break;
        size_t size = (size_t)got + p->in_is_odd;
        p->in_is_odd = size % 2;
        p->in_half = bytes[size - 1];
        if (p->fresh)
            continue;
        p->heard = true;
        count(&p->received, (uint64_t)got);
        if (p->pace == PACE_FOLLOW)
            grant(p, (size_t)got);
        lost += elastic_put(&p->in, samples, (uint32_t)size / 2);
    }
    return lost;
}

static void conceal(pcm *p) {
    memset(p->base.frame, 0, sizeof p->base.frame);
    if (!p->heard || p->failed)
        return;
    if (!p->dry) {
        count(&p->underruns, 1);
        elastic_ran_out(&p->in);
    }
    p->dry = true;
    count(&p->concealed, 1);
}

static void pcm_yield(port *base) {
    pcm *p = (pcm *)base;
    uint32_t lost = p->failed ? 0 : receive(p);
    p->fresh = false;
    if (lost) {
        count(&p->overruns, 1);
        count(&p->dropped_in, lost);
    }
    if (elastic_depth(&p->in) >= FRAME_SAMPLES) {
        elastic_peek(&p->in, base->frame, FRAME_SAMPLES);
        elastic_skip(&p->in, FRAME_SAMPLES);
        p->dry = false;
    } else {
        conceal(p);
    }
    bool flows = p->heard && !p->dry && p->pace == PACE_FOLLOW;
    uint32_t slipped = flows ? elastic_settle(&p->in) : 0;
    if (slipped) {
        count(&p->slips, 1);
        count(&p->dropped_in, slipped);
    }
    atomic_store_explicit(&p->depth, elastic_depth(&p->in), memory_order_relaxed);
}

/* Sends what waits and has leave. A short write may end within a sample: its second byte goes first next
 * time. */
static void transmit(pcm *p) {
    if (p->leave < 2)
        return;
    int16_t samples[1 + MOST_CHUNK_BYTES]; /* the first one's place is for the odd byte */
    uint8_t *second_bytes = (uint8_t *)samples + 1;
    uint32_t waiting = elastic_depth(&p->out), allowed = (p->leave - p->out_is_odd) / 2;
    uint32_t n = waiting < allowed ? waiting : allowed;
    elastic_peek(&p->out, samples + 1, n);
    second_bytes[0] = p->out_half;
    size_t size = 2 * n + p->out_is_odd;
    if (size == 0)
        return;
    ssize_t done = write(p->fd, second_bytes + !p->out_is_odd, size);
    if (done < 0 && errno != EAGAIN && errno != EINTR)
        fail(p, errno);
    if (done <= 0)
        return;
    p->leave -= (uint32_t)done;
    count(&p->sent, (uint64_t)done);
    uint32_t bytes = (uint32_t)done - p->out_is_odd;
    p->out_is_odd = bytes % 2;
    if (p->out_is_odd)
        p->out_half = second_bytes[bytes + 1];
    elastic_skip(&p->out, (bytes + 1) / 2);
}

static void pcm_take(port *base, const int16_t *frame) {
    pcm *p = (pcm *)base;
    if (p->failed || (p->pace == PACE_FOLLOW && !p->heard))
        return;
    if (atomic_load_explicit(&p->held, memory_order_relaxed)) {
        count(&p->dropped_out, elastic_depth(&p->out) + FRAME_SAMPLES);
        elastic_skip(&p->out, elastic_depth(&p->out));
        p->leave = 0;
        return;
    }
    count(&p->dropped_out, elastic_put(&p->out, frame, FRAME_SAMPLES));
    if (p->pace == PACE_CLOCK) {
        p->made += FRAME_BYTES;
        grant(p, p->made - p->made % p->chunk_bytes);
        p->made %= p->chunk_bytes;
    }
    transmit(p);
    count(&p->dropped_out, elastic_settle(&p->out));
}

static void pcm_destroy(port *base) {
    pcm *p = (pcm *)base;
    elastic_free(&p->in);
    elastic_free(&p->out);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
}

port *pcm_create(engine *e, int fd, int pace, uint32_t chunk_bytes) {
    static const port_kind kind = {.yield = pcm_yield, .take = pcm_take, .destroy = pcm_destroy};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return NULL;
    if (!(flags & O_NONBLOCK) || chunk_bytes % 2 || chunk_bytes < 2 || chunk_bytes > MOST_CHUNK_BYTES) {
        errno = EINVAL;
        return NULL;
    }
    pcm *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    p->is_tty = isatty(fd);
    p->pace = pace;
    p->chunk_bytes = chunk_bytes;
    p->fresh = true;
    bool ready = elastic_init(&p->in, pace == PACE_FOLLOW ? FOLLOW_LIMIT : CLOCK_LIMIT);
    /* A chunk being made and one that could not be sent yet. */
    uint32_t send_limit = pace == PACE_CLOCK && chunk_bytes > SEND_LIMIT ? chunk_bytes : SEND_LIMIT;
    ready = elastic_init(&p->out, send_limit) && ready;
    if (!ready || p->fd < 0) {
        int error = errno;
        pcm_destroy(&p->base);
        errno = error;
        return NULL;
    }
    return engine_add(e, &p->base, &kind);
}

void pcm_hold(port *base, bool on) {
    atomic_store_explicit(&((pcm *)base)->held, on, memory_order_relaxed);
}

void pcm_read_stats(const port *base, pcm_stats *out) {
    const pcm *p = (const pcm *)base;
    *out = (pcm_stats){
        .received_bytes = counted(&p->received),
        .sent_bytes = counted(&p->sent),
        .underruns = counted(&p->underruns),
        .concealed = counted(&p->concealed),
        .overruns = counted(&p->overruns),
        .slips = counted(&p->slips),
        .dropped_downlink = counted(&p->dropped_in),
        .dropped_uplink = counted(&p->dropped_out),
        .depth_samples = atomic_load_explicit(&p->depth, memory_order_relaxed),
    };
}
