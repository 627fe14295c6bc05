/* What a line adds to a voice, taken away: its echo, its noise, its wrong level.
 *
 * What it does: changes what a port yields. The echo canceller takes out what the port was given and brings
 * back - an analog line's hybrid returns our own voice at -10 to -20 dB; the processor suppresses steady
 * noise and brings speech to one level.
 *
 * How it works: both are libspeexdsp's, in frames of a tick; neither allocates once it is made. The canceller
 * hears what the port is given at the end of a tick, and looks for it in what the port yields from the next
 * tick on: its tail begins there, and covers the device's own delay as well as the line's.
 *
 * How to use it: see engine.h. */

#include <speex/speex_echo.h>
#include <speex/speex_preprocess.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

/* ---- echo ---- */

typedef struct {
    effect base;
    SpeexEchoState *state;
    int16_t given[FRAME_SAMPLES]; /* in the last tick */
} echo;

static void echo_yielded(effect *x, port *p) {
    echo *e = (echo *)x;
    int16_t clean[FRAME_SAMPLES];
    speex_echo_cancellation(e->state, p->frame, e->given, clean);
    memcpy(p->frame, clean, sizeof clean);
}

static void echo_given(effect *x, const int16_t *frame) {
    memcpy(((echo *)x)->given, frame, sizeof((echo *)x)->given);
}

static void echo_destroy(effect *x) {
    speex_echo_state_destroy(((echo *)x)->state);
    free(x);
}

int port_cancel_echo(port *p, uint32_t tail_ms) {
    if (tail_ms == 0)
        return engine_effect(p, PLACE_ECHO, NULL);
    if (tail_ms > MOST_TAIL_MS || !p->kind->yield || !p->kind->take) {
        errno = EINVAL;
        return -1;
    }
    echo *e = calloc(1, sizeof *e);
    if (!e || !(e->state = speex_echo_state_init(FRAME_SAMPLES, (int)tail_ms * RATE_HZ / 1000))) {
        free(e);
        errno = ENOMEM;
        return -1;
    }
    int rate_hz = RATE_HZ;
    speex_echo_ctl(e->state, SPEEX_ECHO_SET_SAMPLING_RATE, &rate_hz);
    e->base = (effect){.yielded = echo_yielded, .given = echo_given, .destroy = echo_destroy};
    return engine_effect(p, PLACE_ECHO, &e->base);
}

/* ---- noise and level ---- */

/* What brings speech to -23 dB of a sine of full scale, -20 dBm0, a talker's usual level on a line (ITU-T
 * P.56, G.223 Note 1). libspeexdsp measures loudness, not level: four voices came within 2 dB of it. */
static const float target_level = 6900.0f;
/* A quiet talker is 20 dB below; what needs more is no talker. */
static const int most_gain_db = 20;

typedef struct {
    effect base;
    SpeexPreprocessState *state;
} processor;

static void processor_yielded(effect *x, port *p) {
    speex_preprocess_run(((processor *)x)->state, p->frame);
}

static void processor_destroy(effect *x) {
    speex_preprocess_state_destroy(((processor *)x)->state);
    free(x);
}

int port_process(port *p, bool agc, bool denoise) {
    if (!agc && !denoise)
        return engine_effect(p, PLACE_PROCESS, NULL);
    if (p->sum) {
        errno = EINVAL;
        return -1;
    }
    processor *r = calloc(1, sizeof *r);
    if (!r || !(r->state = speex_preprocess_state_init(FRAME_SAMPLES, RATE_HZ))) {
        free(r);
        errno = ENOMEM;
        return -1;
    }
    int on[] = {denoise, agc}, gain_db = most_gain_db;
    float level = target_level;
    speex_preprocess_ctl(r->state, SPEEX_PREPROCESS_SET_DENOISE, &on[0]);
    speex_preprocess_ctl(r->state, SPEEX_PREPROCESS_SET_AGC, &on[1]);
    speex_preprocess_ctl(r->state, SPEEX_PREPROCESS_SET_AGC_LEVEL, &level);
    speex_preprocess_ctl(r->state, SPEEX_PREPROCESS_SET_AGC_MAX_GAIN, &gain_db);
    r->base = (effect){.yielded = processor_yielded, .destroy = processor_destroy};
    return engine_effect(p, PLACE_PROCESS, &r->base);
}
