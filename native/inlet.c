/* What it does: keeps what came from another clock in an elastic buffer (elastic.c), gives a frame of it
 * every 20 ms, and counts what happened to it.
 *
 * How it works: while there is no whole frame, it gives silence. What has not begun, or has ended, is silent
 * without being counted.
 *
 * How to use it: inlet_put what came, as often as it comes; then inlet_yield, once every 20 ms. */

#include "inlet.h"

#include <string.h>

bool inlet_init(inlet *in, uint32_t limit, bool slips) {
    in->slips = slips;
    return elastic_init(&in->buffer, limit);
}

void inlet_free(inlet *in) {
    elastic_free(&in->buffer);
}

void inlet_put(inlet *in, const int16_t *samples, uint32_t count) {
    in->live = true;
    in->lost += elastic_put(&in->buffer, samples, count);
}

static void conceal(inlet *in, int16_t *frame) {
    memset(frame, 0, 2 * FRAME_SAMPLES);
    if (!in->live)
        return;
    if (!in->dry) {
        count(&in->underruns, 1);
        elastic_ran_out(&in->buffer);
    }
    in->dry = true;
    count(&in->concealed, 1);
}

void inlet_yield(inlet *in, int16_t *frame) {
    if (in->lost) {
        count(&in->overruns, 1);
        count(&in->dropped, in->lost);
        in->lost = 0;
    }
    if (elastic_depth(&in->buffer) >= FRAME_SAMPLES) {
        elastic_peek(&in->buffer, frame, FRAME_SAMPLES);
        elastic_skip(&in->buffer, FRAME_SAMPLES);
        in->dry = false;
    } else {
        conceal(in, frame);
    }
    uint32_t surplus = in->slips && in->live && !in->dry ? elastic_settle(&in->buffer) : 0;
    if (surplus) {
        count(&in->slipped, 1);
        count(&in->dropped, surplus);
    }
    atomic_store_explicit(&in->depth, elastic_depth(&in->buffer), memory_order_relaxed);
}

void inlet_read_stats(const inlet *in, inlet_stats *out) {
    *out = (inlet_stats){
        .underruns = counted(&in->underruns),
        .concealed = counted(&in->concealed),
        .overruns = counted(&in->overruns),
        .slips = counted(&in->slipped),
        .dropped = counted(&in->dropped),
        .depth_samples = atomic_load_explicit(&in->depth, memory_order_relaxed),
    };
}
