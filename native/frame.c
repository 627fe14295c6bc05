/* The arithmetic of a frame.
 *
 * What it does: sums what a sink is connected to, and keeps the peaks of a port.
 *
 * How it works: loops without branches, which the compiler turns into vector code. A float holds the sum of
 * 512 samples exactly, so at unity gain the result is exact, too. One source at unity gain, the usual case,
 * is not even copied.
 *
 * A conference is summed once a tick, and each of its parties hears that sum without its own contribution.
 * For this to be exact a contribution is a whole number, of 16 bits after its gain: it can be computed again
 * when it is to be taken out. So 250 parties cost 250 sums, not 250 times 249.
 *
 * How to use it: see frame.h. */

#include "frame.h"

#include <string.h>

#include "vector.h"

static const int16_t silence[FRAME_SAMPLES];

INLINED int16_t saturated(int32_t s) {
    s = s > INT16_MAX ? INT16_MAX : s;
    return (int16_t)(s < INT16_MIN ? INT16_MIN : s);
}

static bool unity(const connection *c) {
    return c->from == 1.0f && c->to == 1.0f;
}

/* The gain within this tick's frame. */
static void advance(connection *c) {
    c->heard = true;
    c->from = c->to;
    if (c->ramp)
        c->to = --c->ramp ? c->to + (c->gain - c->to) / (float)(c->ramp + 1) : c->gain;
}

/* What a party contributes to a conference; either in out or in the party's own frame. */
INLINED const int16_t *contribution(const connection *c, int16_t *out) {
    const int16_t *frame = c->source->frame;
    if (unity(c))
        return frame;
    float step = (c->to - c->from) / FRAME_SAMPLES;
    for (int i = 0; i < FRAME_SAMPLES; i++)
        out[i] = rounded((c->from + step * (float)(i + 1)) * frame[i]);
    return out;
}

WIDE void mix_conference(port *conference) {
    int32_t *restrict sum = conference->sum;
    memset(sum, 0, FRAME_SAMPLES * sizeof *sum);
    for (connection *c = conference->inputs; c; c = c->next) {
        int16_t scaled[FRAME_SAMPLES];
        advance(c);
        const int16_t *said = contribution(c, scaled);
        for (int i = 0; i < FRAME_SAMPLES; i++)
            sum[i] += said[i];
    }
    for (int i = 0; i < FRAME_SAMPLES; i++)
        conference->frame[i] = saturated(sum[i]);
}

INLINED void add(const connection *c, float *restrict sum) {
    int16_t scaled[FRAME_SAMPLES];
    const int16_t *frame = c->source->frame;
    float step = (c->to - c->from) / FRAME_SAMPLES;
    if (c->source->sum) {
        const int16_t *own = c->own ? contribution(c->own, scaled) : silence;
        for (int i = 0; i < FRAME_SAMPLES; i++)
            sum[i] += (c->from + step * (float)(i + 1)) * (float)(c->source->sum[i] - own[i]);
    } else {
        for (int i = 0; i < FRAME_SAMPLES; i++)
            sum[i] += (c->from + step * (float)(i + 1)) * frame[i];
    }
}

/* A conference at unity gain, in which the sink itself talks. */
WIDE static void hear_others(const connection *c, int16_t *restrict out) {
    int16_t scaled[FRAME_SAMPLES];
    const int16_t *own = contribution(c->own, scaled);
    for (int i = 0; i < FRAME_SAMPLES; i++)
        out[i] = saturated(c->source->sum[i] - own[i]);
}

WIDE static void hear_all(const connection *inputs, int16_t *restrict out) {
    float sum[FRAME_SAMPLES] = {0};
    for (const connection *c = inputs; c; c = c->next)
        add(c, sum);
    for (int i = 0; i < FRAME_SAMPLES; i++)
        out[i] = rounded(sum[i]);
}

const int16_t *mix(connection *inputs, int16_t *out) {
    if (!inputs)
        return silence;
    for (connection *c = inputs; c; c = c->next)
        advance(c);
    bool alone = !inputs->next && unity(inputs);
    if (alone && !inputs->own)
        return inputs->source->frame;
    if (alone)
        hear_others(inputs, out);
    else
        hear_all(inputs, out);
    return out;
}

const int16_t *gate_pass(gate *g, const int16_t *frame, int16_t *out) {
    bool shut = atomic_load_explicit(&g->shut, memory_order_relaxed), was_shut = g->was_shut;
    g->was_shut = shut;
    if (shut && was_shut)
        return silence;
    if (shut == was_shut)
        return frame;
    for (int i = 0; i < FRAME_SAMPLES; i++)
        out[i] = (int16_t)(frame[i] * (shut ? FRAME_SAMPLES - 1 - i : i + 1) / FRAME_SAMPLES);
    return out;
}

/* The lowest in one's complement: -32768 has no opposite. */
WIDE static uint16_t peak_of(const int16_t *frame) {
    int16_t highest = 0, lowest = 0;
    for (int i = 0; i < FRAME_SAMPLES; i++) {
        highest = frame[i] > highest ? frame[i] : highest;
        lowest = frame[i] < lowest ? frame[i] : lowest;
    }
    return (uint16_t)(highest > ~lowest ? highest : ~lowest);
}

void meter_note(meter *m, const int16_t *frame, uint64_t tick) {
    uint16_t peak = peak_of(frame);
    _Atomic uint16_t *span = &m->spans[tick / PEAK_SPAN_TICKS % PEAK_SPANS];
    uint16_t before = tick % PEAK_SPAN_TICKS ? atomic_load_explicit(span, memory_order_relaxed) : 0;
    atomic_store_explicit(span, peak > before ? peak : before, memory_order_relaxed);
    if (peak > atomic_load_explicit(&m->most, memory_order_relaxed))
        atomic_store_explicit(&m->most, peak, memory_order_relaxed);
}

uint16_t meter_peak(const meter *m) {
    uint16_t peak = 0;
    for (int i = 0; i < PEAK_SPANS; i++) {
        uint16_t span = atomic_load_explicit(&m->spans[i], memory_order_relaxed);
        peak = span > peak ? span : peak;
    }
    return peak;
}
