/* What it does: holds as few samples as the jitter of its two sides allows, for days, without knowing either
 * clock.
 *
 * How it works: there is no fill level to be reached: a frame is taken as soon as it is there. When there is
 * none, the frame of silence played in its place delays all that follows by as much: that is the margin, made
 * by the first lateness, exactly as large as it was.
 *   - The depth after each tick's taking is what was not needed in that tick. Its lowest value in a second is
 * surplus: delay for nothing, from a burst after a hiccup, or from a clock that runs faster. It is cut out in
 * one slip, where the cut samples are silent, after another second wherever it is. Less than 10 ms is left
 * alone: at 200 ppm that is one slip in 50 s.
 *   - A margin is spared from this: one frame more for each underrun, at most 100 ms. It shrinks by what was
 * never touched in 30 s, at most 10 ms at a time, so that rare jitter keeps its margin and a single hiccup
 * does not.
 *   - The limit stands above all: beyond it the oldest samples are lost.
 *
 * How to use it: put what comes; each tick peek and skip what is due, or say elastic_ran_out; then
 * elastic_settle. */

#include "elastic.h"

#include <stdlib.h>
#include <string.h>

enum {
    FRAME = 160,
    WINDOW_TICKS = 50,
    LEAST_SLIP = FRAME / 2,
    MARGIN_STEP = FRAME,
    MARGIN_MOST = 5 * FRAME,
    CALM_TICKS = 30 * 50,
    CALM_STEP = FRAME / 2,
    QUIET = 256, /* -42 dB of full scale */
};

static void begin_window(elastic *e) {
    e->lowest = UINT32_MAX;
    e->ticks = 0;
}

bool elastic_init(elastic *e, uint32_t limit) {
    uint32_t size = 1;
    while (size < limit)
        size *= 2;
    *e = (elastic){.samples = malloc(size * sizeof *e->samples), .mask = size - 1, .limit = limit};
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

void elastic_peek(const elastic *e, int16_t *out, uint32_t count) {
    uint32_t at = e->taken & e->mask, first = e->mask + 1 - at;
    if (first > count)
        first = count;
    memcpy(out, e->samples + at, first * sizeof *out);
    memcpy(out + first, e->samples, (count - first) * sizeof *out);
}

void elastic_ran_out(elastic *e) {
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

static void relax(elastic *e) {
    uint32_t step = e->unused < CALM_STEP ? e->unused : CALM_STEP;
    e->margin -= step < e->margin ? step : e->margin;
    e->unused = UINT32_MAX;
    e->calm = 0;
}

uint32_t elastic_settle(elastic *e) {
    uint32_t depth = elastic_depth(e);
    if (depth < e->unused)
        e->unused = depth;
    if (++e->calm >= CALM_TICKS)
        relax(e);
    if (depth < e->lowest)
        e->lowest = depth;
    if (++e->ticks < WINDOW_TICKS)
        return 0;
    uint32_t surplus = e->lowest > e->margin ? e->lowest - e->margin : 0;
    if (surplus < LEAST_SLIP) {
        begin_window(e);
        return 0;
    }
    if (e->ticks < 2 * WINDOW_TICKS && !quiet(e, surplus))
        return 0;
    e->taken += surplus;
    if (e->unused != UINT32_MAX)
        e->unused -= surplus < e->unused ? surplus : e->unused;
    begin_window(e);
    return surplus;
}
