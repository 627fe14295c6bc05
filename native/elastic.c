/* What it does: holds as few samples as the jitter of its two sides allows, for days, without knowing either
 * clock.
 *
 * How it works: there is no fill level to be reached: a frame is taken as soon as it is there. When there is
 * none, the frame that is played in its place delays all that follows by as much: that is the margin, made
 * by the first lateness, exactly as large as it was.
 *   - The depth after each tick's taking is what was not needed in that tick. Its lowest value in a second is
 * surplus: delay for nothing, from a burst after a hiccup, or from a clock that runs faster. It is cut out in
 * one slip, where the cut samples are silent, after another second wherever it is. Less than 10 ms is left
 * alone: at 200 ppm that is one slip in 50 s.
 *   - A margin is spared from this: one frame more for each underrun, at most 100 ms, and none for one that
 * lasted longer. It shrinks by what was never touched in 30 s, at most 10 ms at a time, so that rare jitter
 * keeps its margin and a single hiccup does not.
 *   - The limit stands above all: beyond it the oldest samples are lost.
 *   - A jump within what is stored is a cross-fade of 5 ms.
 *
 * Clocks that are known to be apart need no jumps: samples are then taken a few millionths faster or slower
 * than they are given, and what lies between two of them is computed (fraction.c); until then they are passed
 * on as they came. What is held is a band, not a level: chunks of a fixed size that drift against the ticks
 * come a tick earlier or later at once, and only then, so that the depth seen at the ticks is a saw of one
 * frame where the true delay is constant. Within the band the measured drift alone decides, outside of it the
 * way back is added.
 *
 * How to use it: put what comes; each tick elastic_settle, elastic_follow or elastic_mirror, then peek and
 * skip what is due; or say elastic_ran_out. */

#include "elastic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "fraction.h"

enum {
    FRAME = FRAME_SAMPLES,
    WINDOW_TICKS = 50,
    LEAST_SLIP = FRAME / 2,
    MARGIN_STEP = FRAME,
    MARGIN_MOST = 5 * FRAME,
    CALM_TICKS = 30 * 50,
    CALM_STEP = FRAME / 2,
    QUIET = 256, /* -42 dB of full scale */
    FADE = 40,
    BAND = FRAME,
    LEAST_BENT = FRACTION_AHEAD + 24,    /* the band's bottom; what a step of the saw may be wrong by */
    KEPT = LEAST_BENT + FRACTION_BEHIND, /* of what was taken */
};

static const uint64_t one = (uint64_t)1 << 32;

/* Less is left to slips: 5 ppm are a frame in more than an hour. Nobody hears the most, a sixtieth of a
 * semitone. */
static const double least_drift = 5e-6, most_bend = 1000e-6;
/* Seconds in which a deviation from the band shrinks to a third. */
static const double way_back_s = 10;

static void begin_window(elastic *e) {
    e->lowest = UINT32_MAX;
    e->ticks = 0;
}

bool elastic_init(elastic *e, uint32_t limit) {
    uint32_t size = 1;
    while (size < limit + KEPT)
        size *= 2;
    fraction_init();
    *e =
        (elastic){.samples = calloc(size, sizeof *e->samples), .mask = size - 1, .limit = limit, .step = one};
    e->unused = UINT32_MAX;
    begin_window(e);
    return e->samples != NULL;
}

void elastic_free(elastic *e) {
    free(e->samples);
}

uint32_t elastic_put(elastic *e, const int16_t *samples, uint32_t count) {
    uint32_t lost = 0;
    if (count > e->limit) {
        lost = count - e->limit;
        samples += lost;
        count = e->limit;
    }
    uint32_t held = e->limit - count;
    if (elastic_depth(e) > held) {
        lost += elastic_depth(e) - held;
        e->taken = e->written - held;
    }
    uint32_t at = e->written & e->mask, first = e->mask + 1 - at;
    if (first > count)
        first = count;
    memcpy(e->samples + at, samples, first * sizeof *samples);
    memcpy(e->samples, samples + first, (count - first) * sizeof *samples);
    e->written += count;
    return lost;
}

uint32_t elastic_ready(const elastic *e) {
    uint32_t depth = elastic_depth(e);
    if (!e->bent)
        return depth;
    if (depth <= FRACTION_AHEAD)
        return 0;
    return (uint32_t)((((uint64_t)(depth - FRACTION_AHEAD) << 32) - e->at + e->step - 1) / e->step);
}

static void copy(const elastic *e, int16_t *out, uint32_t from, uint32_t count) {
    uint32_t at = from & e->mask, first = e->mask + 1 - at;
    if (first > count)
        first = count;
    memcpy(out, e->samples + at, first * sizeof *out);
    memcpy(out + first, e->samples, (count - first) * sizeof *out);
}

static void peek_bent(const elastic *e, int16_t *out, uint32_t count) {
    enum { MOST = FRAME + FRAME / 2 }; /* far more than most_bend needs */
    uint64_t at = e->at;
    uint32_t from = e->taken;
    while (count) {
        int16_t samples[MOST];
        float window[MOST];
        uint32_t n = count < FRAME ? count : FRAME;
        uint32_t span = (uint32_t)((at + (n - 1) * e->step) >> 32) + FRACTION_TAPS;
        copy(e, samples, from - FRACTION_BEHIND, span);
        for (uint32_t i = 0; i < span; i++)
            window[i] = samples[i];
        fraction_run(out, n, window, at, e->step);
        at += n * e->step;
        from += (uint32_t)(at >> 32);
        at %= one;
        out += n;
        count -= n;
    }
}

void elastic_peek(const elastic *e, int16_t *out, uint32_t count) {
    if (e->bent)
        peek_bent(e, out, count);
    else
        copy(e, out, e->taken, count);
}

void elastic_skip(elastic *e, uint32_t count) {
    e->at += count * e->step;
    e->taken += (uint32_t)(e->at >> 32);
    e->at %= one;
}

void elastic_clear(elastic *e) {
    e->taken = e->written;
}

void elastic_ran_out(elastic *e, uint32_t missing) {
    if (missing <= MARGIN_MOST)
        e->margin = e->margin + MARGIN_STEP < MARGIN_MOST ? e->margin + MARGIN_STEP : MARGIN_MOST;
    e->unused = UINT32_MAX;
    e->calm = 0;
    begin_window(e);
}

static bool quiet(const elastic *e, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (abs(e->samples[(e->taken + i) & e->mask]) >= QUIET)
            return false;
    return true;
}

/* Goes on `by` samples later. What is between is cut out, or given once more when it is negative. */
static void jump(elastic *e, int32_t by) {
    for (int32_t i = -FRACTION_BEHIND; i < FADE; i++) {
        int16_t old = e->samples[(e->taken + (uint32_t)i) & e->mask];
        int16_t *new = &e->samples[(e->taken + (uint32_t)(i + by)) & e->mask];
        *new = (int16_t)(i < 0 ? old : old + (*new - old) * i / FADE);
    }
    e->taken += (uint32_t)by;
}

/* What must not be called surplus, beside the margin. */
static uint32_t reserve(const elastic *e) {
    return e->bent ? LEAST_BENT + BAND : 0;
}

static uint32_t above(uint32_t depth, uint32_t floor) {
    return depth > floor ? depth - floor : 0;
}

static void relax(elastic *e) {
    uint32_t unused = above(e->unused, reserve(e)), step = unused < CALM_STEP ? unused : CALM_STEP;
    e->margin -= step < e->margin ? step : e->margin;
    e->unused = UINT32_MAX;
    e->calm = 0;
}

uint32_t elastic_settle(elastic *e, uint32_t due) {
    uint32_t depth = above(elastic_depth(e), due);
    if (depth < e->unused)
        e->unused = depth;
    if (++e->calm >= CALM_TICKS)
        relax(e);
    if (depth < e->lowest)
        e->lowest = depth;
    if (++e->ticks < WINDOW_TICKS)
        return 0;
    e->low = e->lowest;
    uint32_t surplus = above(e->lowest, e->margin + reserve(e));
    if (surplus < LEAST_SLIP) {
        begin_window(e);
        return 0;
    }
    if (e->ticks < 2 * WINDOW_TICKS && !quiet(e, surplus))
        return 0;
    jump(e, (int32_t)surplus);
    e->low -= surplus;
    if (e->unused != UINT32_MAX)
        e->unused = above(e->unused, surplus);
    begin_window(e);
    return surplus;
}

/* What the drift has cost until now was no jitter: the band has its own margin for it. */
static void bend(elastic *e) {
    jump(e, -LEAST_BENT);
    e->low += LEAST_BENT;
    e->margin = 0;
    e->bent = true;
}

void elastic_follow(elastic *e, double drift) {
    if (!e->bent && fabs(drift) < least_drift)
        return;
    if (!e->bent)
        bend(e);
    uint32_t bottom = LEAST_BENT + e->margin;
    double off = (double)above(e->low, bottom + BAND) - above(bottom, e->low);
    double speed = drift + off / way_back_s / RATE_HZ;
    speed = fmin(fmax(speed, -most_bend), most_bend);
    e->step = (uint64_t)((1 + speed) * (double)one);
}

void elastic_mirror(elastic *e, const elastic *other) {
    if (!other->bent)
        return;
    if (!e->bent)
        bend(e);
    e->step = (uint64_t)((double)one * (double)one / (double)other->step);
}
