/* Call-progress tones (ITU-T E.180), found in what a port yields by what they are made of and by their
 * cadence.
 *
 * What it does: tells one EVENT_TONE when a country's dial tone, ringback, busy or congestion tone has been
 * heard long enough to be nothing else, and again only after it has ended; EVENT_TONE_END when it has; and
 * EVENT_VOICE when what sounds is none of them.
 *
 * How it works: every 10 ms it looks at a window of 50 ms (bank.c), whose lines are 20 Hz wide. Sound is on
 * where most of it is of the country's frequencies, and not 11 dB below the loudest within 80 ms on either
 * side: so edges stand within 10 ms of where they are, however loud the tone is. What lasts less than 60 ms
 * is neither sound nor pause.
 *
 * Each time that sound stops, the powers of the frequencies, summed up since it began, say which tones it can
 * have been: nearly all of it must be the tone's own frequencies, and there must be some of each. Speech and
 * music fail here. The lengths of the last sounds and pauses are compared with the cadences, and a tone is
 * told as soon as its last pause is long enough: in the second cycle for most of them. What else sounds in a
 * pause must be 6 dB weaker than the tone: words after a beep are no ringback. A tone without a cadence is
 * told after three seconds.
 *
 * A voice has a look's weight for each one that is loud and mostly of other frequencies, and loses a third
 * for each that is not: clicks, and the edges of a tone's sounds, do not sum up. It is told at 300 ms, and
 * again after it has lost all.
 *
 * How to use it: see engine.h. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bank.h"
#include "port.h"

enum {
    BLOCK = 40, /* 5 ms */
    BLOCKS = 10,
    BLOCKS_A_LOOK = 2,
    LOOK_MS = 10,
    AROUND = 8, /* looks on either side of the one that is judged */
    RING = 2 * AROUND,
    SHORTEST = 6, /* looks */
    CONTINUOUS = 3000 / LOOK_MS,
    HISTORY = 16, /* sounds and pauses */
    A_VOICE_LOOK = 3,
    VOICE = A_VOICE_LOOK * 300 / LOOK_MS,
};

/* The two of a tone together, and each, in all that sounds. 1.5 % off and 15 dB of noise leave 0.78. */
static const float purity = 0.7f, least_share = 0.12f;
/* A mean square: -43 dBm0, where a sine of full scale is +3.14 dBm0 (G.711, table 5). */
static const float quietest = 13064.0f;
/* -38 dBm0, of a voice: whispers are louder, and lines' own noise is far below it. */
static const float quietest_voice = 41312.0f;
/* Of the country's frequencies in all that a voice is; and 1 - exp(-10 ms / 100 ms). */
static const float foreign_share = 0.4f, lately = 0.095f;
/* Of the loudest within 80 ms: 11 dB less is off. Modulated by 15 Hz, a tone falls by 10 dB in this window.
 */
static const float off_below = 0.08f;
static const float most_in_pause = 0.25f;
/* Of the country's frequencies in all that sounds, for it to be judged at all. */
static const float on_share = 0.5f;

typedef struct {
    each_tone tones;
    float all;
} powers;

typedef struct {
    uint32_t looks;
    uint32_t tones; /* a bit for each pattern that it may have been part of; 0: a pause */
    float power;
} span;

typedef struct {
    tone_pattern pattern;
    int first, second;                                      /* in the bank; -1: none */
    int below, above;                                       /* the first's side bands */
    uint32_t least[TONE_MOST_STEPS], most[TONE_MOST_STEPS]; /* looks */
} known_tone;

typedef struct {
    effect base;
    bank bank;
    powers ring[RING];
    uint32_t seen; /* looks since the beginning */

    bool on;           /* as it is now */
    uint32_t looks;    /* since when */
    uint32_t against;  /* of these, the last ones that say otherwise */
    powers sum, doubt; /* of the sound that is going on; of the looks that say otherwise */

    span history[HISTORY]; /* a ring, all that has ended */
    uint32_t ended;
    int told; /* the pattern that is going on; -1: none */

    float tonal, all; /* of late: of the country's frequencies, and of all */
    int voice;        /* up to VOICE */
    bool voice_told;

    size_t count;
    known_tone known[TONE_MOST_PATTERNS];
} progress;

static void add(powers *sum, const powers *one) {
    sum->tones += one->tones;
    sum->all += one->all;
}

/* ---- what a sound was ---- */

static bool may_be(const known_tone *k, const powers *sum) {
    float first = sum->tones[k->first], second = k->second < 0 ? 0 : sum->tones[k->second];
    float sides = k->below < 0 ? 0 : sum->tones[k->below] + sum->tones[k->above];
    return first + second + sides >= purity * sum->all && first >= least_share * sum->all &&
           (k->second < 0 || second >= least_share * sum->all);
}

static uint32_t recognise(const progress *g) {
    uint32_t tones = 0;
    for (size_t i = 0; i < g->count; i++)
        tones |= (uint32_t)may_be(&g->known[i], &g->sum) << i;
    return tones;
}

/* ---- cadences ---- */

static bool fits(const known_tone *k, uint32_t step, uint32_t looks) {
    return looks >= k->least[step] && looks <= k->most[step];
}

static void tell_end(progress *g, port *p) {
    if (g->told >= 0)
        engine_tell(p->engine, EVENT_TONE_END, p, g->known[g->told].pattern.kind);
    g->told = -1;
}

static void tell(progress *g, port *p, size_t i) {
    if (g->told == (int)i)
        return;
    tell_end(g, p);
    g->told = (int)i;
    engine_tell(p->engine, EVENT_TONE, p, g->known[i].pattern.kind);
}

static float mean_power(const progress *g) {
    return g->sum.all / (float)g->looks;
}

/* All but the last pause, which is going on, of so many cycles. */
static bool cadence_ended_with(const progress *g, size_t i) {
    const known_tone *k = &g->known[i];
    uint32_t steps = k->pattern.steps, spans = k->pattern.cycles * steps - 1;
    float weakest_sound = INFINITY, loudest_pause = mean_power(g);
    if (g->ended < spans)
        return false;
    for (uint32_t back = 1; back <= spans; back++) {
        const span *s = &g->history[(g->ended - back) % HISTORY];
        uint32_t step = (2 * steps - 1 - back % steps) % steps;
        bool sounds = step % 2 == 0;
        if (!fits(k, step, s->looks) || (sounds && !(s->tones >> i & 1)))
            return false;
        if (sounds)
            weakest_sound = fminf(weakest_sound, s->power);
        else
            loudest_pause = fmaxf(loudest_pause, s->power);
    }
    return loudest_pause <= most_in_pause * weakest_sound;
}

static void during_pause(progress *g, port *p) {
    for (size_t i = 0; i < g->count; i++) {
        const known_tone *k = &g->known[i];
        if (k->pattern.steps > 1 && g->looks == k->least[k->pattern.steps - 1] && cadence_ended_with(g, i))
            tell(g, p, i);
    }
    if (g->told >= 0) {
        const known_tone *k = &g->known[g->told];
        uint32_t longest = 0;
        for (uint32_t step = 1; step < k->pattern.steps; step += 2)
            longest = k->most[step] > longest ? k->most[step] : longest;
        if (g->looks > longest)
            tell_end(g, p);
    }
}

static void during_sound(progress *g, port *p) {
    if (g->looks != CONTINUOUS)
        return;
    uint32_t tones = recognise(g);
    for (size_t i = 0; i < g->count; i++)
        if (g->known[i].pattern.steps == 1 && tones >> i & 1)
            tell(g, p, i);
}

/* ---- sounds and pauses ---- */

static void end_span(progress *g, port *p) {
    span *s = &g->history[g->ended++ % HISTORY];
    *s = (span){.looks = g->looks, .tones = g->on ? recognise(g) : 0, .power = mean_power(g)};
    if (g->on && g->told >= 0 && !(s->tones >> g->told & 1))
        tell_end(g, p);
}

/* A look's share is not enough: two frequencies put each other out, and come back, for tens of ms. */
static void listen_for_voice(progress *g, port *p, float tonal, float all) {
    g->tonal += lately * (tonal - g->tonal);
    g->all += lately * (all - g->all);
    bool foreign = all >= quietest_voice && g->tonal < foreign_share * g->all;
    int sum = g->voice + (foreign ? A_VOICE_LOOK : -1);
    g->voice = sum < 0 ? 0 : sum < VOICE ? sum : VOICE;
    if (g->voice == VOICE && !g->voice_told)
        engine_tell(p->engine, EVENT_VOICE, p, 0);
    g->voice_told = g->voice == VOICE || (g->voice_told && g->voice > 0);
}

static void take_look(progress *g, port *p) {
    bank_look(&g->bank);
    powers *newest = &g->ring[g->seen++ % RING];
    *newest = (powers){.tones = g->bank.power, .all = g->bank.total};
    float loudest = 0;
    for (int i = 0; i < RING; i++)
        loudest = g->ring[i].all > loudest ? g->ring[i].all : loudest;
    const powers *judged = &g->ring[(g->seen - AROUND) % RING];
    float share = 0;
    for (int i = 0; i < BANK_TONES; i++)
        share += judged->tones[i];
    bool on =
        judged->all >= quietest && judged->all >= off_below * loudest && share >= on_share * judged->all;
    listen_for_voice(g, p, share, judged->all);
    g->looks++;
    if (on == g->on) {
        add(&g->sum, &g->doubt);
        add(&g->sum, judged);
        g->doubt = (powers){0};
        g->against = 0;
    } else {
        add(&g->doubt, judged);
        g->against++;
    }
    if (g->against == SHORTEST) {
        g->looks -= SHORTEST;
        end_span(g, p);
        g->on = on;
        g->looks = SHORTEST;
        g->sum = g->doubt;
        g->doubt = (powers){0};
        g->against = 0;
    }
    if (g->against)
        return;
    if (g->on)
        during_sound(g, p);
    else
        during_pause(g, p);
}

static void progress_yielded(effect *x, port *p) {
    progress *g = (progress *)x;
    for (int at = 0; at < FRAME_SAMPLES; at += BLOCKS_A_LOOK * BLOCK) {
        for (int i = 0; i < BLOCKS_A_LOOK; i++)
            bank_put(&g->bank, p->frame + at + i * BLOCK);
        take_look(g, p);
    }
}

static void progress_destroy(effect *x) {
    free(x);
}

/* ---- control ---- */

/* Where a frequency stands in the bank; -1: there is no room for it. */
static int place(float hz[BANK_TONES], float wanted) {
    for (int i = 0; i < BANK_TONES; i++) {
        if (hz[i] == 0)
            hz[i] = wanted;
        if (hz[i] == wanted)
            return i;
    }
    return -1;
}

static bool learn(known_tone *k, const tone_pattern *pattern, float hz[BANK_TONES]) {
    const tone_step *first = &pattern->step[0];
    bool modulated = first->modulated_hz > 0, dual = first->second_hz > 0;
    if (pattern->steps < 1 || pattern->steps > TONE_MOST_STEPS || first->hz <= 0 ||
        pattern->cycles * pattern->steps > HISTORY)
        return false;
    k->pattern = *pattern;
    k->first = place(hz, first->hz);
    k->second = dual ? place(hz, first->second_hz) : -1;
    k->below = modulated ? place(hz, first->hz - first->modulated_hz) : -1;
    k->above = modulated ? place(hz, first->hz + first->modulated_hz) : -1;
    for (uint32_t i = 0; i < pattern->steps; i++) {
        /* E.180 lets exchanges be off by 10 %: 15 %, and one look. */
        uint32_t looks = pattern->step[i].ms / LOOK_MS, tolerance = (looks * 3 + 19) / 20 + 1;
        k->least[i] = looks - tolerance;
        k->most[i] = looks + tolerance;
    }
    return k->first >= 0 && (!dual || k->second >= 0) && (!modulated || (k->below >= 0 && k->above >= 0));
}

int port_detect_tones(port *p, const tone_pattern *patterns, size_t count) {
    if (count == 0)
        return engine_effect(p, PLACE_PROGRESS, NULL);
    progress *g = calloc(1, sizeof *g);
    if (!g)
        return -1;
    g->base = (effect){.yielded = progress_yielded, .destroy = progress_destroy};
    g->told = -1;
    g->count = count;
    float hz[BANK_TONES] = {0};
    bool known = count <= TONE_MOST_PATTERNS;
    for (size_t i = 0; known && i < count; i++)
        known = learn(&g->known[i], &patterns[i], hz);
    if (!known) {
        free(g);
        errno = EINVAL;
        return -1;
    }
    bank_init(&g->bank, hz, BLOCK, BLOCKS);
    return engine_effect(p, PLACE_PROGRESS, &g->base);
}
