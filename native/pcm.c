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

#include <stdlib.h>
#include <string.h>

#include "inlet.h"
#include "port.h"
#include "tty.h"

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
    tty tty;
    int pace;
    uint32_t chunk_bytes;
    atomic_bool held;

    bool fresh; /* nothing was read yet: what comes first is stale */
    bool failed;

    inlet in;
    bool in_is_odd;
    uint8_t in_half; /* the first byte of a sample whose other one has not come */

    elastic out;
    bool out_is_odd;
    uint8_t out_half; /* the second byte of a sample whose first one was sent */
    uint32_t leave;   /* bytes that may be sent */
    uint32_t made;    /* CLOCK: bytes of the chunk that is being made */

    counter received, sent, dropped_out;
    _Atomic uint32_t waiting; /* samples, after a tick */
} pcm;

static void fail(pcm *p, int error) {
    p->failed = true;
    p->in.live = false;
    engine_tell(p->base.engine, EVENT_FAILED, &p->base, error);
}

static void grant(pcm *p, size_t bytes) {
    uint32_t most = 2 * (p->chunk_bytes > FRAME_BYTES ? p->chunk_bytes : FRAME_BYTES);
    p->leave = p->leave + bytes < most ? p->leave + (uint32_t)bytes : most;
}

static void receive(pcm *p) {
    for (int i = 0; i < MOST_READS; i++) {
        int16_t samples[READ_BYTES / 2 + 1];
        uint8_t *bytes = (uint8_t *)samples;
        bytes[0] = p->in_half;
        ptrdiff_t got = tty_read(&p->tty, bytes + p->in_is_odd, READ_BYTES);
        if (got < 0)
            fail(p, errno);
        if (got <= 0)
            break;
        size_t size = (size_t)got + p->in_is_odd;
        p->in_is_odd = size % 2;
        p->in_half = bytes[size - 1];
        if (p->fresh)
            continue;
        count(&p->received, (uint64_t)got);
        if (p->pace == PACE_FOLLOW)
            grant(p, (size_t)got);
        inlet_put(&p->in, samples, (uint32_t)size / 2);
        /* So little was all: asking again would cost as much as this did. */
        if (got < READ_BYTES / 2)
            break;
    }
}

static void pcm_yield(port *base) {
    pcm *p = (pcm *)base;
    if (!p->failed)
        receive(p);
    p->fresh = false;
    inlet_yield(&p->in, base->frame);
}

/* Samples that wait and have leave. */
static uint32_t due(const pcm *p) {
    uint32_t waiting = elastic_ready(&p->out), allowed = (p->leave - p->out_is_odd) / 2;
    return p->leave < 2 ? 0 : waiting < allowed ? waiting : allowed;
}

/* Sends what waits and has leave. A short write may end within a sample: its second byte goes first next
 * time. */
static void transmit(pcm *p) {
    if (p->leave < 2)
        return;
    int16_t samples[1 + MOST_CHUNK_BYTES]; /* the first one's place is for the odd byte */
    uint8_t *second_bytes = (uint8_t *)samples + 1;
    uint32_t n = due(p);
    elastic_peek(&p->out, samples + 1, n);
    second_bytes[0] = p->out_half;
    size_t size = 2 * n + p->out_is_odd;
    if (size == 0)
        return;
    ptrdiff_t done = tty_write(&p->tty, second_bytes + !p->out_is_odd, size);
    if (done < 0)
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
    if (p->failed || (p->pace == PACE_FOLLOW && !p->in.live))
        return;
    if (atomic_load_explicit(&p->held, memory_order_relaxed)) {
        count(&p->dropped_out, elastic_depth(&p->out) + FRAME_SAMPLES);
        elastic_clear(&p->out);
        p->leave = 0;
        return;
    }
    count(&p->dropped_out, elastic_put(&p->out, frame, FRAME_SAMPLES));
    if (p->pace == PACE_CLOCK) {
        p->made += FRAME_BYTES;
        grant(p, p->made - p->made % p->chunk_bytes);
        p->made %= p->chunk_bytes;
    }
    count(&p->dropped_out, elastic_settle(&p->out, due(p)));
    elastic_mirror(&p->out, &p->in.buffer);
    transmit(p);
    atomic_store_explicit(&p->waiting, elastic_depth(&p->out), memory_order_relaxed);
}

static int pcm_device(const port *base) {
    const pcm *p = (const pcm *)base;
    return p->pace == PACE_FOLLOW && p->in.live && !p->failed ? p->tty.fd : -1;
}

static void pcm_destroy(port *base) {
    pcm *p = (pcm *)base;
    inlet_free(&p->in);
    elastic_free(&p->out);
    tty_close(&p->tty);
    free(p);
}

port *pcm_create(engine *e, int fd, int pace, uint32_t chunk_bytes) {
    static const port_kind kind = {
        .yield = pcm_yield, .take = pcm_take, .destroy = pcm_destroy, .device = pcm_device};
    if (chunk_bytes % 2 || chunk_bytes < 2 || chunk_bytes > MOST_CHUNK_BYTES) {
        errno = EINVAL;
        return NULL;
    }
    pcm *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->pace = pace;
    p->chunk_bytes = chunk_bytes;
    p->fresh = true;
    p->base.inlets[0] = &p->in;
    bool follow = pace == PACE_FOLLOW, ready = tty_open(&p->tty, fd);
    ready = ready && inlet_init(&p->in, follow ? FOLLOW_LIMIT : CLOCK_LIMIT, follow);
    /* A chunk being made and one that could not be sent yet. */
    uint32_t send_limit = pace == PACE_CLOCK && chunk_bytes > SEND_LIMIT ? chunk_bytes : SEND_LIMIT;
    if (!ready || !elastic_init(&p->out, send_limit)) {
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
        .dropped_uplink = counted(&p->dropped_out),
        .waiting_samples = atomic_load_explicit(&p->waiting, memory_order_relaxed),
    };
    inlet_read_stats(&p->in, &out->downlink);
}
