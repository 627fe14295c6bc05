/* Tones from their description.
 *
 * What it does: a port that yields one frequency or two at once, one of them modulated or not, in any
 * cadence: call-progress tones, keys, a beep.
 *
 * How it works: each frequency is a vector that turns by one step a sample. It is never set back, so that the
 * phase runs on through whatever follows; in double precision a day adds nothing to its length that the ear
 * or a meter would find, and each frame puts even that right. Beside silence a step rises and falls within
 * its own time in 2.5 ms, as an edge would click.
 *
 * How to use it: see engine.h. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"
#include "vector.h"

enum { RAMP_SAMPLES = 20, OSCILLATORS = 3 /* two tones, and the first one's modulation */ };

static const double pi = 3.14159265358979323846;
/* Of a modulated tone's amplitude, up and down. */
static const double modulation = 0.9;
/* Far beyond what saturates. */
static const float most_dbm0 = 20.0f;

typedef struct {
    double re, im, step_re, step_im;
} oscillator;

typedef struct {
    port base;
    oscillator oscillators[OSCILLATORS];
    double amplitude;
    size_t count, at;
    uint64_t passed, length; /* samples of this step; length 0: for ever */
    bool loop, ended, rises, falls;
    tone_step steps[];
} tone;

static bool silent(const tone_step *s) {
    return s->hz == 0 && s->second_hz == 0;
}

static void set_frequency(oscillator *o, double hz) {
    o->step_re = cos(2 * pi * hz / RATE_HZ);
    o->step_im = sin(2 * pi * hz / RATE_HZ);
}

/* Whether there is silence where the step before or after this one would be. */
static bool borders_on_silence(const tone *t, size_t edge, size_t neighbour) {
    return (t->at == edge && !t->loop) || silent(&t->steps[neighbour]);
}

static void enter_step(tone *t) {
    const tone_step *s = &t->steps[t->at];
    size_t last = t->count - 1;
    set_frequency(&t->oscillators[0], s->hz);
    set_frequency(&t->oscillators[1], s->second_hz);
    set_frequency(&t->oscillators[2], s->modulated_hz);
    t->passed = 0;
    t->length = (uint64_t)s->ms * RATE_HZ / 1000;
    t->rises = borders_on_silence(t, 0, t->at ? t->at - 1 : last);
    t->falls = borders_on_silence(t, last, t->at < last ? t->at + 1 : 0);
}

static void next_step(tone *t) {
    if (t->at + 1 < t->count) {
        t->at++;
    } else if (t->loop) {
        t->at = 0;
    } else {
        t->ended = true;
        engine_tell(t->base.engine, EVENT_FINISHED, &t->base, 0);
        return;
    }
    enter_step(t);
}

static double ramp(const tone *t) {
    double gain = 1;
    if (t->rises && t->passed < RAMP_SAMPLES)
        gain = (t->passed + 0.5) / RAMP_SAMPLES;
    if (t->falls && t->length && t->length - t->passed <= RAMP_SAMPLES)
        gain = fmin(gain, (t->length - t->passed - 0.5) / RAMP_SAMPLES);
    return gain;
}

static void turn(oscillator *o) {
    double re = o->re * o->step_re - o->im * o->step_im;
    o->im = o->re * o->step_im + o->im * o->step_re;
    o->re = re;
}

static double sound(tone *t, const tone_step *s) {
    oscillator *o = t->oscillators;
    double first = s->hz > 0 ? o[0].im : 0, second = s->second_hz > 0 ? o[1].im : 0;
    if (s->modulated_hz > 0)
        first *= 1 + modulation * o[2].re;
    for (int i = 0; i < OSCILLATORS; i++)
        turn(&o[i]);
    return ramp(t) * (first + second);
}

static void straighten(oscillator *o) {
    double length = hypot(o->re, o->im);
    o->re /= length;
    o->im /= length;
}

static void tone_yield(port *base) {
    tone *t = (tone *)base;
    for (int i = 0; i < FRAME_SAMPLES; i++) {
        if (!t->ended && t->length && t->passed == t->length)
            next_step(t);
        const tone_step *s = &t->steps[t->at];
        base->frame[i] = t->ended || silent(s) ? 0 : rounded((float)(t->amplitude * sound(t, s)));
        t->passed++;
    }
    for (int i = 0; i < OSCILLATORS; i++)
        straighten(&t->oscillators[i]);
}

static void tone_destroy(port *base) {
    free(base);
}

static bool can_sound(float hz) {
    return hz >= 0 && hz < RATE_HZ / 2;
}

port *tone_create(engine *e, const tone_step *steps, size_t count, bool loop, float level_dbm0) {
    static const port_kind kind = {.yield = tone_yield, .destroy = tone_destroy};
    bool sane = count > 0 && level_dbm0 <= most_dbm0;
    for (size_t i = 0; i < count; i++)
        sane = sane && can_sound(steps[i].hz) && can_sound(steps[i].second_hz) &&
               can_sound(steps[i].modulated_hz) && (steps[i].ms || i == count - 1);
    tone *t = sane ? calloc(1, sizeof *t + count * sizeof *steps) : NULL;
    if (!t) {
        errno = sane ? ENOMEM : EINVAL;
        return NULL;
    }
    memcpy(t->steps, steps, count * sizeof *steps);
    t->count = count;
    t->loop = loop;
    /* A sine of full scale is +3.14 dBm0: G.711, table 5 (A-law). */
    t->amplitude = 32767 * pow(10, (level_dbm0 - 3.14) / 20);
    for (int i = 0; i < OSCILLATORS; i++)
        t->oscillators[i].re = 1;
    enter_step(t);
    return engine_add(e, &t->base, &kind);
}
