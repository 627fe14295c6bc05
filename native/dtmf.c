/* The keys of a telephone (ITU-T Q.23), found in what a port yields.
 *
 * What it does: tells one EVENT_DTMF for each press, within the limits of Q.24; docs/dtmf.md has what they
 * are and how well they are met.
 *
 * How it works: every 5 ms it looks at a window of 20 ms (bank.c). The strongest row and the strongest column
 * may be a key's if they are loud enough, neither is too much louder than the other, they are nearly all that
 * sounds, and each turned, since the look before, as its frequency lets it: a phase tells a frequency much
 * better than the power in a neighbouring filter would, in so short a time.
 *
 * Five such looks in a row are a key, if with all of them together it is as pure and as exact as speech is
 * not. A tone of 40 ms has seven, one of 23 ms four. The same key counts again when its own two tones were
 * gone for seven looks, which a pause of 40 ms has and an interruption of 30 ms has not.
 *
 * How to use it: see engine.h. */

#include <math.h>
#include <stdlib.h>

#include "bank.h"
#include "port.h"

enum {
    BLOCK = 20, /* 2.5 ms */
    BLOCKS = 8,
    BLOCKS_A_LOOK = 2,
    PRESENT_LOOKS = 5,
    GONE_LOOKS = 7,
};

static const double pi = 3.14159265358979323846;
static const float tones_hz[BANK_TONES] = {697, 770, 852, 941, 1209, 1336, 1477, 1633};

/* In one look, and in a run of them. Q.24 has a frequency that is off by 1.5 % accepted, by 3.5 % refused. */
static const double tolerance = 0.032, run_tolerance = 0.02;
/* The share of the two tones in all that sounds. Noise 10 dB below leaves 0.91; what speech came to is 0.83.
 */
static const float purity = 0.75f, run_purity = 0.86f;
/* The last look against the run's mean: a voice swells, a key is there at once. */
static const float most_swell = 1.5f;
/* Column against row: Q.24 has +4 to -8 dB accepted; with a weak one's noise, more. */
static const float most_twist = 4.5f, least_twist = 0.063f;
/* Both together, as a mean square: -42 dBm0, where a sine of full scale is +3.14 dBm0 (G.711, table 5). */
static const float quietest = 16447.0f;
/* Of a press's loudest look: 7 dB less is a tone that is gone. */
static const float gone = 0.2f;

/* What a tone turned beyond its nominal frequency in 5 ms, as a vector. */
typedef struct {
    float along, across;
} turn;

typedef struct {
    float tones, all; /* powers */
    turn row, column;
} evidence;

typedef struct {
    effect base;
    bank bank;
    each_tone past_re, past_im;                     /* in the look before */
    turn step[BANK_TONES];                          /* of a tone of the nominal frequency, in a look */
    float least[BANK_TONES], run_least[BANK_TONES]; /* cosines of what it may turn more or less */

    int key, looks; /* seen in so many looks in a row; -1: none */
    evidence run;   /* of these */

    int pressed;       /* told, and not gone yet; -1: none */
    float row, column; /* its powers, at their loudest */
    int missing;       /* looks without it */
} dtmf;

static int strongest(const bank *b, int from) {
    int best = from;
    for (int i = from + 1; i < from + 4; i++)
        if (b->power[i] > b->power[best])
            best = i;
    return best;
}

static turn turned(const dtmf *d, int tone) {
    float re = d->bank.re[tone], im = d->bank.im[tone], re0 = d->past_re[tone], im0 = d->past_im[tone];
    float turn_re = re * re0 + im * im0, turn_im = im * re0 - re * im0;
    turn step = d->step[tone];
    return (turn){.along = turn_re * step.along + turn_im * step.across,
                  .across = turn_im * step.along - turn_re * step.across};
}

static bool within(turn t, float least) {
    return t.along > 0 && t.along * t.along >= least * least * (t.along * t.along + t.across * t.across);
}

/* A tone beside the middle of its filter seems weaker: in Hann's window of 20 ms its power falls as the
 * cosine of what it turns in 5 ms does, to a tenth within 40 Hz. */
static float true_power(const dtmf *d, int tone, turn t) {
    return d->bank.power[tone] * sqrtf(1 + t.across * t.across / (t.along * t.along));
}

/* The key that may sound in this window, or -1. */
static int find_key(const dtmf *d, evidence *e) {
    int row = strongest(&d->bank, 0), column = strongest(&d->bank, 4);
    e->row = turned(d, row);
    e->column = turned(d, column);
    if (!within(e->row, d->least[row]) || !within(e->column, d->least[column]))
        return -1;
    float low = true_power(d, row, e->row), high = true_power(d, column, e->column);
    e->tones = low + high;
    e->all = d->bank.total;
    bool may_be = e->tones >= quietest && e->tones >= purity * e->all && high <= most_twist * low &&
                  high >= least_twist * low;
    return may_be ? 4 * row + column - 4 : -1;
}

static void join(evidence *run, const evidence *e) {
    run->tones += e->tones;
    run->all += e->all;
    run->row.along += e->row.along;
    run->row.across += e->row.across;
    run->column.along += e->column.along;
    run->column.across += e->column.across;
}

static bool convincing(const dtmf *d, const evidence *last) {
    return d->looks >= PRESENT_LOOKS && d->run.tones >= run_purity * d->run.all &&
           last->tones * (float)d->looks <= most_swell * d->run.tones &&
           within(d->run.row, d->run_least[d->key / 4]) &&
           within(d->run.column, d->run_least[4 + d->key % 4]);
}

static void press(dtmf *d, port *p) {
    d->pressed = d->key;
    d->row = d->column = 0;
    engine_tell(p->engine, EVENT_DTMF, p, "123A456B789C*0#D"[d->key]);
}

static void follow_press(dtmf *d) {
    float row = d->bank.power[d->pressed / 4], column = d->bank.power[4 + d->pressed % 4];
    d->row = row > d->row ? row : d->row;
    d->column = column > d->column ? column : d->column;
    d->missing = row >= gone * d->row && column >= gone * d->column ? 0 : d->missing + 1;
    if (d->missing == GONE_LOOKS)
        d->pressed = -1;
}

static void take_look(dtmf *d, port *p) {
    bank_look(&d->bank);
    evidence seen;
    int key = find_key(d, &seen);
    d->past_re = d->bank.re;
    d->past_im = d->bank.im;
    if (key < 0 || key != d->key) {
        d->looks = 0;
        d->run = (evidence){0};
    }
    d->key = key;
    if (key >= 0) {
        d->looks++;
        join(&d->run, &seen);
        if (key != d->pressed && convincing(d, &seen))
            press(d, p);
    }
    if (d->pressed >= 0)
        follow_press(d);
}

static void dtmf_yielded(effect *x, port *p) {
    dtmf *d = (dtmf *)x;
    for (int at = 0; at < FRAME_SAMPLES; at += BLOCKS_A_LOOK * BLOCK) {
        for (int i = 0; i < BLOCKS_A_LOOK; i++)
            bank_put(&d->bank, p->frame + at + i * BLOCK);
        take_look(d, p);
    }
}

static void dtmf_destroy(effect *x) {
    free(x);
}

int port_detect_dtmf(port *p, bool on) {
    if (!on)
        return engine_effect(p, PLACE_DTMF, NULL);
    dtmf *d = calloc(1, sizeof *d);
    if (!d)
        return -1;
    d->base = (effect){.yielded = dtmf_yielded, .destroy = dtmf_destroy};
    d->key = d->pressed = -1;
    bank_init(&d->bank, tones_hz, BLOCK, BLOCKS);
    for (int tone = 0; tone < BANK_TONES; tone++) {
        double step = 2 * pi * tones_hz[tone] * BLOCKS_A_LOOK * BLOCK / RATE_HZ;
        d->step[tone] = (turn){.along = (float)cos(step), .across = (float)sin(step)};
        d->least[tone] = (float)cos(step * tolerance);
        d->run_least[tone] = (float)cos(step * run_tolerance);
    }
    return engine_effect(p, PLACE_DTMF, &d->base);
}
