/* What it does: keeps what came from another clock in an elastic buffer (elastic.c), gives a frame of it
 * every 20 ms, corrects the drift between the two (drift.c), and counts what happened to it.
 *
 * How it works: while there is no whole frame, what was heard last goes on: libspandsp repeats its last pitch
 * period, which fades to silence within 50 ms, and leads over to what comes next. What has not begun, or has
 * ended, is silent without being counted.
 *
 * libspandsp is given its whole history at once, when it is needed: given frame by frame it turns it round
 * with a memcpy onto itself, and costs something while nothing is missing.
 *
 * How to use it: inlet_put what came, as often as it comes; then inlet_yield, once every 20 ms. */

#include "inlet.h"

#include <string.h>

enum {
    FADED_FRAMES = 3, /* plc_fillin gives silence only */
    MOST_DRY = 1000,
};

bool inlet_init(inlet *in, uint32_t limit, bool corrects) {
    in->corrects = corrects;
    atomic_init(&in->conceals, corrects);
    plc_init(&in->filler);
    return elastic_init(&in->buffer, limit);
}

void inlet_free(inlet *in) {
    elastic_free(&in->buffer);
}

void inlet_put(inlet *in, const int16_t *samples, uint32_t count) {
    in->live = true;
    in->lost += elastic_put(&in->buffer, samples, count);
    drift_receive(&in->drift, count);
}

static void conceal(inlet *in, int16_t *frame) {
    memset(frame, 0, 2 * FRAME_SAMPLES);
    if (!in->live)
        return;
    if (in->dry == 0)
        count(&in->underruns, 1);
    if (in->dry < FADED_FRAMES && atomic_load_explicit(&in->conceals, memory_order_relaxed)) {
        if (in->dry == 0)
            plc_rx(&in->filler, in->past + 2 * FRAME_SAMPLES - PLC_HISTORY_LEN, PLC_HISTORY_LEN);
        plc_fillin(&in->filler, frame, FRAME_SAMPLES);
    }
    in->dry += in->dry < MOST_DRY;
    count(&in->concealed, 1);
}

static void correct(inlet *in) {
    uint32_t surplus = elastic_settle(&in->buffer, FRAME_SAMPLES);
    if (surplus) {
        count(&in->slipped, 1);
        count(&in->dropped, surplus);
    }
    elastic_follow(&in->buffer, drift_measured(&in->drift));
}

static void play(inlet *in, int16_t *frame) {
    if (in->dry)
        elastic_ran_out(&in->buffer, in->dry * FRAME_SAMPLES);
    if (in->corrects && in->live)
        correct(in);
    elastic_peek(&in->buffer, frame, FRAME_SAMPLES);
    elastic_skip(&in->buffer, FRAME_SAMPLES);
    if (in->dry && atomic_load_explicit(&in->conceals, memory_order_relaxed))
        plc_rx(&in->filler, frame, FRAME_SAMPLES);
    in->dry = 0;
    memcpy(in->past, in->past + FRAME_SAMPLES, 2 * FRAME_SAMPLES);
    memcpy(in->past + FRAME_SAMPLES, frame, 2 * FRAME_SAMPLES);
}

void inlet_yield(inlet *in, int16_t *frame) {
    if (in->lost) {
        count(&in->overruns, 1);
        count(&in->dropped, in->lost);
        in->lost = 0;
    }
    drift_tick(&in->drift);
    if (elastic_ready(&in->buffer) >= FRAME_SAMPLES)
        play(in, frame);
    else
        conceal(in, frame);
    atomic_store_explicit(&in->depth, elastic_depth(&in->buffer), memory_order_relaxed);
    atomic_store_explicit(&in->drift_ppm, (float)(1e6 * drift_measured(&in->drift)), memory_order_relaxed);
}

int port_conceal(port *p, bool on) {
    if (!p->inlets[0]) {
        errno = EINVAL;
        return -1;
    }
    for (size_t i = 0; i < sizeof p->inlets / sizeof *p->inlets; i++)
        if (p->inlets[i])
            atomic_store_explicit(&p->inlets[i]->conceals, on, memory_order_relaxed);
    return 0;
}

void inlet_read_stats(const inlet *in, inlet_stats *out) {
    *out = (inlet_stats){
        .underruns = counted(&in->underruns),
        .concealed = counted(&in->concealed),
        .overruns = counted(&in->overruns),
        .slips = counted(&in->slipped),
        .dropped = counted(&in->dropped),
        .depth_samples = atomic_load_explicit(&in->depth, memory_order_relaxed),
        .drift_ppm = atomic_load_explicit(&in->drift_ppm, memory_order_relaxed),
    };
}
