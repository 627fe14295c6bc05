/* A sound card's port: what its thread (card.c) captures and plays.
 *
 * What it does: one channel of 16 bits at any rate, both ways, at the device's own pace.
 *
 * How it works: the card's thread resamples to and from 8000 Hz, so that between it and the tick there are
 * plain rings of our samples. Each side's clock is its own: who reads a ring puts what is there into an
 * elastic buffer (inlet.c) and takes a frame from that whenever it needs one - the tick every 20 ms, the
 * card's thread whenever it has played the last.
 *
 * The card may outlive the port, when objects are dropped in an unlucky order or its driver hangs, so what
 * its thread touches is a block of its own, the line, which both hold. A line whose port is gone plays
 * silence.
 *
 * How to use it: see engine.h. */

#include <stdlib.h>
#include <string.h>

#include "inlet.h"
#include "port.h"
#include "ring.h"

enum {
    RING_SAMPLES = 8192, /* a power of two, a second: for a thread that was kept from running */
    LIMIT = RATE_HZ / 5,
};

typedef struct device_line line;

struct device_line {
    atomic_int holders;
    atomic_bool opened, finished, abandoned;
    ring captured, said;
    counter captured_samples, played_samples, input_xruns, output_xruns, dropped;
    /* The card's thread's own. */
    resampler *down, *up; /* NULL at 8000 Hz */
    inlet out;
    int16_t frame[FRAME_SAMPLES];
    uint32_t at; /* in the frame: what was played */
};

typedef struct {
    port base;
    line *line;
    bool failed;
    inlet in;
    counter dropped;
} device;

void device_hold(line *l) {
    atomic_fetch_add(&l->holders, 1);
}

void device_release(line *l) {
    if (atomic_fetch_sub(&l->holders, 1) > 1)
        return;
    ring_free(&l->captured);
    ring_free(&l->said);
    resampler_destroy(l->down);
    resampler_destroy(l->up);
    inlet_free(&l->out);
    free(l);
}

/* ---- the card's thread ---- */

static void keep(line *l, const int16_t *samples, uint32_t n) {
    count(&l->captured_samples, n);
    if (!ring_put(&l->captured, samples, n))
        count(&l->dropped, n);
}

static void hear(line *l, const int16_t *in, uint32_t n) {
    if (!l->down) {
        keep(l, in, n);
        return;
    }
    int16_t frame[FRAME_SAMPLES];
    uint32_t taken = 0, made = FRAME_SAMPLES;
    while (taken < n || made == FRAME_SAMPLES) {
        uint32_t some = n - taken;
        made = resampler_run(l->down, frame, FRAME_SAMPLES, in + taken, &some);
        taken += some;
        keep(l, frame, made);
    }
}

static void next_frame(line *l) {
    while (ring_take(&l->said, l->frame, FRAME_SAMPLES))
        inlet_put(&l->out, l->frame, FRAME_SAMPLES);
    inlet_yield(&l->out, l->frame);
    count(&l->played_samples, FRAME_SAMPLES);
    l->at = 0;
}

static void say(line *l, int16_t *out, uint32_t n) {
    for (uint32_t made = 0; made < n;) {
        if (l->at == FRAME_SAMPLES)
            next_frame(l);
        uint32_t some = FRAME_SAMPLES - l->at, room = n - made;
        if (l->up) {
            made += resampler_run(l->up, out + made, room, l->frame + l->at, &some);
        } else {
            some = some < room ? some : room;
            memcpy(out + made, l->frame + l->at, some * sizeof *out);
            made += some;
        }
        l->at += some;
    }
}

bool device_wanted(const line *l) {
    return !atomic_load_explicit(&l->abandoned, memory_order_relaxed);
}

void device_call(line *l, const int16_t *in, int16_t *out, uint32_t n) {
    bool wanted = device_wanted(l);
    if (in && wanted)
        hear(l, in, n);
    if (out && wanted)
        say(l, out, n);
    else if (out)
        memset(out, 0, n * sizeof *out);
}

void device_xrun(line *l, bool playing) {
    count(playing ? &l->output_xruns : &l->input_xruns, 1);
}

void device_finish(line *l) {
    atomic_store_explicit(&l->finished, true, memory_order_relaxed);
}

/* ---- tick ---- */

static void device_yield(port *base) {
    device *d = (device *)base;
    int16_t samples[RING_SAMPLES];
    uint32_t waiting = ring_waiting(&d->line->captured);
    if (waiting && ring_take(&d->line->captured, samples, waiting))
        inlet_put(&d->in, samples, waiting);
    if (!d->failed && atomic_load_explicit(&d->line->finished, memory_order_relaxed)) {
        d->failed = true;
        engine_tell(base->engine, EVENT_FAILED, base, ENODEV);
    }
    d->in.live = d->in.live && !d->failed;
    inlet_yield(&d->in, base->frame);
}

static void device_take(port *base, const int16_t *frame) {
    device *d = (device *)base;
    bool plays = atomic_load_explicit(&d->line->opened, memory_order_relaxed) && !d->failed;
    if (plays && !ring_put(&d->line->said, frame, FRAME_SAMPLES))
        count(&d->dropped, FRAME_SAMPLES);
}

/* ---- control ---- */

static void device_destroy(port *base) {
    device *d = (device *)base;
    inlet_free(&d->in);
    if (d->line) {
        atomic_store_explicit(&d->line->abandoned, true, memory_order_relaxed);
        device_release(d->line);
    }
    free(d);
}

static bool prepare(line *l, uint32_t rate_hz) {
    if (rate_hz != RATE_HZ) {
        l->down = resampler_create(rate_hz, RATE_HZ);
        l->up = l->down ? resampler_create(RATE_HZ, rate_hz) : NULL;
        if (!l->up)
            return false;
    }
    return ring_init(&l->captured, RING_SAMPLES) && ring_init(&l->said, RING_SAMPLES) &&
           inlet_init(&l->out, LIMIT, true);
}

port *device_create(engine *e, uint32_t rate_hz) {
    static const port_kind kind = {.yield = device_yield, .take = device_take, .destroy = device_destroy};
    device *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->line = calloc(1, sizeof *d->line);
    if (d->line) {
        d->base.inlets[0] = &d->in;
        d->base.inlets[1] = &d->line->out;
        atomic_store(&d->line->holders, 1);
        d->line->at = FRAME_SAMPLES;
    }
    if (!d->line || !prepare(d->line, rate_hz) || !inlet_init(&d->in, LIMIT, true)) {
        int error = errno;
        device_destroy(&d->base);
        errno = error;
        return NULL;
    }
    return engine_add(e, &d->base, &kind);
}

device_line *device_open(port *p) {
    line *l = ((device *)p)->line;
    device_hold(l);
    atomic_store_explicit(&l->opened, true, memory_order_relaxed);
    return l;
}

void device_read_stats(const port *p, device_stats *out) {
    const device *d = (const device *)p;
    const line *l = d->line;
    *out = (device_stats){
        .captured_samples = counted(&l->captured_samples),
        .played_samples = counted(&l->played_samples),
        .input_xruns = counted(&l->input_xruns),
        .output_xruns = counted(&l->output_xruns),
        .dropped_downlink = counted(&l->dropped),
        .dropped_uplink = counted(&d->dropped),
    };
    inlet_read_stats(&d->in, &out->downlink);
    inlet_read_stats(&l->out, &out->uplink);
}
