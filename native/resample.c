/* Resampling between two fixed rates.
 *
 * What it does: 8000 Hz to any rate of a stream or a device, and back, in blocks of any size. Up to 0.425 of
 * the lower rate (3400 Hz) sound passes unchanged; from its half on, images and aliases are 77 dB down. It
 * comes out 32 samples of the lower rate (4 ms) later.
 *
 * How it works: a polyphase filter. In thought, up - 1 zeros are put behind each sample, a low-pass at the
 * resulting rate smooths them, and every down-th sample is kept. An output sits at one of `up` phases between
 * two inputs, where only every up-th tap of the low-pass meets a sample: these taps are one row of a table,
 * and an output is one row times the latest inputs. The low-pass is a sinc in a Kaiser window; as each row
 * is scaled to the sum of one, a steady level has no ripple at all.
 *
 * A product of rows is summed in eight lanes, so that it is the same plain loop for SSE2, AVX2 and NEON, and
 * gives the same bits on each. Tables are made once for a pair of rates, are shared by all that need it, and
 * stay: there are as many as rates in use, of 150 KiB at most for those of streams.
 *
 * How to use it: see engine.h. */

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "vector.h"

enum {
    SPAN = 64,         /* of the low-pass, in samples of the lower rate: 8 ms */
    MOST_PHASES = 640, /* 44100 Hz needs 441, 11025 Hz too; above are only rates that nothing has */
};

typedef struct table {
    struct table *next;
    uint32_t up, down;
    uint32_t taps;
    float rows[]; /* one for each phase, the tap for the oldest sample first */
} table;

struct resampler {
    const table *table;
    uint32_t phase;    /* of the next output */
    uint32_t at, held; /* in the window: where the next output's samples begin, and what is there */
    uint32_t capacity;
    float window[];
};

/* ---- the low-pass ---- */

/* Modified Bessel function of order zero, by its power series. */
static double bessel(double x) {
    double sum = 1, term = 1;
    for (int k = 1; term > 1e-12 * sum; k++) {
        term *= x * x / (4.0 * k * k);
        sum += term;
    }
    return sum;
}

/* Kaiser: what 64 samples allow is 77 dB with a transition of 0.075 of the rate, here 3400 to 4000 Hz. */
static double low_pass(uint32_t tap, uint32_t taps, uint32_t widest) {
    const double beta = 0.1102 * (77 - 8.7), cutoff = 0.4625 / widest;
    double t = tap - (taps - 1) / 2.0, edge = 2 * t / taps, angle = 2 * acos(-1) * cutoff * t;
    return (t == 0 ? 1 : sin(angle) / angle) * bessel(beta * sqrt(1 - edge * edge));
}

static table *make_table(uint32_t up, uint32_t down) {
    uint32_t widest = up > down ? up : down, all = SPAN * widest;
    uint32_t taps = ((all + up - 1) / up + LANES - 1) / LANES * LANES;
    table *t = calloc(1, sizeof *t + sizeof(float) * up * taps);
    if (!t)
        return NULL;
    *t = (table){.up = up, .down = down, .taps = taps};
    for (uint32_t phase = 0; phase < up; phase++) {
        float *row = t->rows + phase * taps, *place = row + taps;
        double sum = 0;
        for (uint32_t tap = phase; tap < all; tap += up) {
            *--place = (float)low_pass(tap, all, widest);
            sum += *place;
        }
        for (uint32_t i = 0; i < taps; i++)
            row[i] /= (float)sum;
    }
    return t;
}

static const table *find_table(uint32_t up, uint32_t down) {
    static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    static table *tables;
    pthread_mutex_lock(&turn);
    table *t = tables;
    while (t && (t->up != up || t->down != down))
        t = t->next;
    if (!t && (t = make_table(up, down))) {
        t->next = tables;
        tables = t;
    }
    pthread_mutex_unlock(&turn);
    return t;
}

/* ---- control ---- */

static uint32_t common_divisor(uint32_t a, uint32_t b) {
    return b ? common_divisor(b, a % b) : a;
}

resampler *resampler_create(uint32_t from_hz, uint32_t to_hz) {
    uint32_t common = common_divisor(from_hz, to_hz);
    if (!from_hz || !to_hz || from_hz / common > MOST_PHASES || to_hz / common > MOST_PHASES) {
        errno = EINVAL;
        return NULL;
    }
    const table *t = find_table(to_hz / common, from_hz / common);
    uint32_t block = from_hz * TICK_MS / 1000 + 1;
    resampler *r = t ? calloc(1, sizeof *r + sizeof(float) * (t->taps + block)) : NULL;
    if (!r) {
        errno = ENOMEM;
        return NULL;
    }
    r->table = t;
    r->capacity = t->taps + block;
    resampler_clear(r);
    return r;
}

void resampler_destroy(resampler *r) {
    free(r);
}

void resampler_clear(resampler *r) {
    r->phase = r->at = 0;
    r->held = r->table->taps - 1;
    memset(r->window, 0, sizeof(float) * r->held);
}

uint32_t resampler_delay(const resampler *r) {
    uint32_t up = r->table->up, down = r->table->down;
    return up > down ? (SPAN / 2 * up + down - 1) / down : SPAN / 2;
}

/* ---- tick ---- */

/* Writes as many outputs as the window has samples for; returns how many. */
WIDE static uint32_t filter(resampler *r, int16_t *out, uint32_t room) {
    const table *t = r->table;
    const uint32_t whole = t->down / t->up, part = t->down % t->up;
    uint32_t made = 0, at = r->at, phase = r->phase;
    for (; made < room && at + t->taps <= r->held; made++) {
        out[made] = rounded(product(t->rows + phase * t->taps, r->window + at, t->taps));
        at += whole;
        phase += part;
        if (phase >= t->up) {
            phase -= t->up;
            at++;
        }
    }
    r->at = at;
    r->phase = phase;
    return made;
}

/* How many more samples the window must have for that many outputs, when the next one's are at its begin. */
static uint64_t needed(const resampler *r, uint32_t outputs) {
    const table *t = r->table;
    return (r->phase + (uint64_t)(outputs - 1) * t->down) / t->up + t->taps - r->held;
}

/* How many more it may have: with the last one's come those that make no other output. So what is as long as
 * the outputs is taken whole. */
static uint64_t missing(const resampler *r, uint32_t outputs) {
    uint64_t least = needed(r, outputs), too_many = needed(r, outputs + 1);
    return too_many > least ? too_many - 1 : least;
}

uint32_t resampler_run(resampler *r, int16_t *out, uint32_t room, const int16_t *in, uint32_t *count) {
    uint32_t made = 0, taken = 0;
    while (made < room) {
        r->held -= r->at;
        memmove(r->window, r->window + r->at, sizeof(float) * r->held);
        r->at = 0;
        uint64_t wanted = missing(r, room - made);
        uint32_t space = r->capacity - r->held, left = *count - taken;
        uint32_t n = left < space ? left : space;
        if (wanted < n)
            n = (uint32_t)wanted;
        if (n == 0 && wanted > 0)
            break;
        for (uint32_t i = 0; i < n; i++)
            r->window[r->held + i] = in[taken + i];
        r->held += n;
        taken += n;
        made += filter(r, out + made, room - made);
    }
    *count = taken;
    return made;
}
