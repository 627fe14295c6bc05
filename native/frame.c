/* The arithmetic of a frame.
 *
 * What it does: sums what a sink is connected to, and keeps the peaks of a port.
 *
 * How it works: loops without branches, which the compiler turns into vector code. A float holds the sum of
 * 512 samples exactly, so at unity gain the result is exact, too. One source at unity gain, the usual case,
 * is not even copied.
 *
 * How to use it: see frame.h. */

#include "frame.h"

const int16_t *mix(const connection *inputs, int16_t *out) {
    static const int16_t silence[FRAME_SAMPLES];
    if (!inputs)
        return silence;
    if (!inputs->next && inputs->gain == 1.0f)
        return inputs->source->frame;
    float sum[FRAME_SAMPLES] = {0};
    for (const connection *c = inputs; c; c = c->next)
        for (int i = 0; i < FRAME_SAMPLES; i++)
            sum[i] += c->gain * c->source->frame[i];
    /* 1.5 * 2^23: adding it leaves no room for a fraction, which rounds. SSE2 has no vector lrintf. */
    const float integers_only = 12582912.0f;
    for (int i = 0; i < FRAME_SAMPLES; i++) {
        float s = sum[i] > 32767.0f ? 32767.0f : sum[i];
        s = s < -32768.0f ? -32768.0f : s;
        out[i] = (int16_t)(s + integers_only - integers_only);
    }
    return out;
}

void meter_note(meter *m, const int16_t *frame, uint64_t tick) {
    int16_t peak = 0;
    for (int i = 0; i < FRAME_SAMPLES; i++) {
        int16_t magnitude = frame[i] ^ (frame[i] >> 15); /* one's complement: -32768 has no opposite */
        peak = magnitude > peak ? magnitude : peak;
    }
    _Atomic uint16_t *span = &m->spans[tick / PEAK_SPAN_TICKS % PEAK_SPANS];
    uint16_t before = tick % PEAK_SPAN_TICKS ? atomic_load_explicit(span, memory_order_relaxed) : 0;
    atomic_store_explicit(span, peak > before ? (uint16_t)peak : before, memory_order_relaxed);
}

uint16_t meter_peak(const meter *m) {
    uint16_t peak = 0;
    for (int i = 0; i < PEAK_SPANS; i++) {
        uint16_t span = atomic_load_explicit(&m->spans[i], memory_order_relaxed);
        peak = span > peak ? span : peak;
    }
    return peak;
}
