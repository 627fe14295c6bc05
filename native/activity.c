/* How loud a port is, and whether somebody speaks there.
 *
 * What it does: keeps the level and the voice activity of what a port yields, for control to read at any
 * time.
 *
 * How it works: the level is the mean square with the 125 ms of a sound level meter's "fast" (IEC 61672-1).
 * The background is the least that was heard: it falls with the sound at once and rises by 3 dB a second, so
 * it finds its way through the pauses of speech. 9 dB above it is voice, and remains so for 300 ms: pauses
 * between words are shorter.
 *
 * How to use it: see engine.h. */

#include <math.h>
#include <stdlib.h>

#include "port.h"
#include "vector.h"

enum { HANGOVER_TICKS = 15 };

/* 1 - exp(-20 / 125) */
static const float weight = 0.148f;
/* 3 dB a second, a frame's share. */
static const float rise = 1.0139f;
static const float above_background = 8.0f;
/* -67 dB of a sine of full scale: below it no line is. */
static const float least_background = 100.0f;

typedef struct {
    effect base;
    float level, background;
    int hangover;
} activity;

static void activity_yielded(effect *x, port *p) {
    activity *a = (activity *)x;
    float now = energy(p->frame, FRAME_SAMPLES) / FRAME_SAMPLES;
    a->level += weight * (now - a->level);
    a->background = fmaxf(fminf(now, a->background * rise), least_background);
    if (now > above_background * a->background)
        a->hangover = HANGOVER_TICKS;
    else if (a->hangover)
        a->hangover--;
    atomic_store_explicit(&p->level, a->level, memory_order_relaxed);
    atomic_store_explicit(&p->voice, a->hangover > 0, memory_order_relaxed);
}

static void activity_destroy(effect *x) {
    free(x);
}

int port_measure(port *p, bool on) {
    if (!on)
        return engine_effect(p, PLACE_ACTIVITY, NULL);
    activity *a = calloc(1, sizeof *a);
    if (!a)
        return -1;
    a->base = (effect){.yielded = activity_yielded, .destroy = activity_destroy};
    a->background = INFINITY;
    return engine_effect(p, PLACE_ACTIVITY, &a->base);
}

void port_read_activity(const port *p, port_activity *out) {
    float level = atomic_load_explicit(&p->level, memory_order_relaxed);
    *out = (port_activity){
        .mean_square = level,
        .voice = atomic_load_explicit(&p->voice, memory_order_relaxed),
    };
}
