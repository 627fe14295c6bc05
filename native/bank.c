/* A bank of tone filters for the detectors of keys and of call-progress tones.
 *
 * What it does: measures up to eight tones, and all that sounds beside them, in a window of some 20 to 50 ms
 * that moves on by a few milliseconds.
 *
 * How it works: sound is taken in short blocks. Each block is correlated with all tones at once, so that no
 * tone waits for its own last sample, as it does in Goertzel's recursion. Seen from the middle of a block a
 * cosine is even and a sine is odd, so the block is folded there first: the sums of two samples each go with
 * the cosines, their differences with the sines, which is half of the products. The window is a weighted sum
 * of the last blocks, each turned by the phase that the tone has come to by then. The weights are Hann's,
 * block by block: what is two or more of the window's lines away, one line being the window's inverse, is at
 * least 31 dB down.
 *
 * How to use it: bank_init; bank_put each block, and bank_look whenever a result is wanted. */

#include "bank.h"

#include <math.h>
#include <string.h>

#include "engine.h"
#include "vector.h"

static const double pi = 3.14159265358979323846;

void bank_init(bank *b, const float hz[BANK_TONES], int block, int blocks) {
    *b = (bank){.block = block, .blocks = blocks};
    double sum = 0;
    for (int i = 0; i < blocks; i++)
        sum += pow(sin(pi * (i + 0.5) / blocks), 2) * block;
    for (int i = 0; i < blocks; i++)
        b->weight[i] = (float)(pow(sin(pi * (i + 0.5) / blocks), 2) / sum);
    double middle = (block - 1) / 2.0;
    for (int tone = 0; tone < BANK_TONES; tone++) {
        double step = 2 * pi * hz[tone] / RATE_HZ, audible = hz[tone] > 0;
        for (int i = 0; i < block / 2; i++) {
            b->wave[i].cosines[tone] = (float)(audible * cos(step * (i + 0.5)));
            b->wave[i].sines[tone] = (float)(audible * -sin(step * (i + 0.5)));
        }
        for (int i = 0; i < blocks; i++) {
            b->turn[i].cosines[tone] = (float)(sqrt(2) * b->weight[i] * cos(step * (i * block + middle)));
            b->turn[i].sines[tone] = (float)(sqrt(2) * b->weight[i] * -sin(step * (i * block + middle)));
        }
    }
}

/* Each sample after the middle, and the one as far before it: their sums and differences. */
INLINED void fold(float *sums, float *differences, const int16_t *middle, int half) {
    for (int i = 0; i < half; i += 4) {
        /* The last four may be some of those before once more. */
        int from = i < half - 4 ? i : half - 4;
        four after = four_of(middle + from), back = four_of(middle - from - 4);
        four before = {back[3], back[2], back[1], back[0]};
        four sum = after + before, difference = after - before;
        memcpy(sums + from, &sum, sizeof sum);
        memcpy(differences + from, &difference, sizeof difference);
    }
}

WIDE void bank_put(bank *b, const int16_t *samples) {
    float sums[BANK_BLOCK_SAMPLES / 2], differences[BANK_BLOCK_SAMPLES / 2];
    int half = b->block / 2;
    fold(sums, differences, samples + half, half);
    /* Two sums of each, so that an addition need not wait for the one before. */
    bank_parts even = {0}, odd = {0};
    for (int i = 0; i < half; i += 2) {
        even.re += sums[i] * b->wave[i].cosines;
        even.im += differences[i] * b->wave[i].sines;
        odd.re += sums[i + 1] * b->wave[i + 1].cosines;
        odd.im += differences[i + 1] * b->wave[i + 1].sines;
    }
    b->parts[b->at] = (bank_parts){even.re + odd.re, even.im + odd.im};
    b->energies[b->at] = energy(samples, b->block);
    b->at = b->at + 1 < b->blocks ? b->at + 1 : 0;
}

WIDE void bank_look(bank *b) {
    each_tone re = {0}, im = {0};
    float total = 0;
    for (int i = 0; i < b->blocks; i++) {
        int from = b->at + i < b->blocks ? b->at + i : b->at + i - b->blocks;
        bank_parts part = b->parts[from];
        bank_waves turn = b->turn[i];
        total += b->weight[i] * b->energies[from];
        re += part.re * turn.cosines - part.im * turn.sines;
        im += part.re * turn.sines + part.im * turn.cosines;
    }
    b->power = re * re + im * im;
    b->re = re;
    b->im = im;
    b->total = total;
}
