/* Samples between samples, for sound that is to last a few millionths longer or shorter.
 *
 * What it does: gives the level of a sampled sound at any time. A tone of 1000 Hz keeps 65 dB of distance to
 * what is not that tone, one of 3400 Hz 54 dB. On a sample it gives that sample, to the last bit.
 *
 * How it works: a sinc in a Blackman window around the time asked for, in a table of 1024 rows, one for each
 * fraction of a sample: neighbours in time use the same row, as a clock that is 200 ppm off stays in one for
 * five samples.
 *
 * How to use it: as elastic.c does. */

#include "fraction.h"

#include <math.h>
#include <pthread.h>

#include "vector.h"

enum { ROW_BITS = 10, ROWS = 1 << ROW_BITS };

static float rows[ROWS][FRACTION_TAPS];

static const double pi = 3.14159265358979323846;

/* t: from the time asked for, in samples. */
static double tap(double t) {
    const double turn = 2 * pi * t / FRACTION_TAPS;
    double window = 0.42 + 0.5 * cos(turn) + 0.08 * cos(2 * turn);
    return t == 0 ? 1 : window * sin(pi * t) / (pi * t);
}

static void fill_rows(void) {
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        for (int i = 0; i < FRACTION_TAPS; i++)
            sum += tap(i - FRACTION_BEHIND - (double)row / ROWS);
        for (int i = 0; i < FRACTION_TAPS; i++)
            rows[row][i] = (float)(tap(i - FRACTION_BEHIND - (double)row / ROWS) / sum);
    }
}

void fraction_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_rows);
}

WIDE void fraction_run(int16_t *out, uint32_t count, const float *in, uint64_t at, uint64_t step) {
    for (uint32_t i = 0; i < count; i++, at += step) {
        const float *row = rows[(uint32_t)at >> (32 - ROW_BITS)];
        out[i] = rounded(product(row, in + (at >> 32), FRACTION_TAPS));
    }
}
