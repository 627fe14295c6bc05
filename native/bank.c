/* A bank of tone filters for the detectors of keys and of call-progress tones.
 *
 * What it does: measures up to eight tones, and all that sounds beside them, in a window of some 20 to 50 ms
 * that moves on by a few milliseconds.
 *
 * How it works: sound is taken in short blocks. Each block is correlated with all tones at once, four to an
 * instruction: no tone waits for its own last sample, as it does in Goertzel's recursion. The window is a
 * weighted sum of the last blocks, each turned by the phase that the tone has come to by then. The weights
 * are Hann's, block by block: what is two or more of the window's lines away, one line being the window's
 * inverse, is at least 31 dB down.
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
    for (int tone = 0; tone < BANK_TONES; tone++) {
        double step = 2 * pi * hz[tone] / RATE_HZ, audible = hz[tone] > 0;
        for (int i = 0; i < block; i++) {
            b->wave[i].each[tone] = (float)(audible * cos(step * i));
            b->wave[i].each[tone + BANK_TONES] = (float)(audible * -sin(step * i));
        }
        for (int i = 0; i < blocks; i++) {
            b->turn[i].each[tone] = (float)(sqrt(2) * b->weight[i] * cos(step * i * block));
            b->turn[i].each[tone + BANK_TONES] = (float)(sqrt(2) * b->weight[i] * -sin(step * i * block));
        }
    }
}

void bank_put(bank *b, const int16_t *samples) {
    /* Two sums of each, so that an addition need not wait for the one before. */
    four even[BANK_FOURS] = {0}, odd[BANK_FOURS] = {0}, energy = {0};
    for (int i = 0; i < b->block; i += 2)
        for (int k = 0; k < BANK_FOURS; k++) {
            even[k] += (float)samples[i] * b->wave[i].fours[k];
            odd[k] += (float)samples[i + 1] * b->wave[i + 1].fours[k];
        }
    for (int i = 0; i < b->block; i += 4) {
        four next = {samples[i], samples[i + 1], samples[i + 2], samples[i + 3]};
        energy += next * next;
    }
    for (int k = 0; k < BANK_FOURS; k++)
        b->parts[b->at].fours[k] = even[k] + odd[k];
    b->energies[b->at] = energy[0] + energy[1] + energy[2] + energy[3];
    b->at = b->at + 1 < b->blocks ? b->at + 1 : 0;
}

WIDE void bank_look(bank *b) {
    float re[BANK_TONES] = {0}, im[BANK_TONES] = {0};
    b->total = 0;
    for (int i = 0; i < b->blocks; i++) {
        int from = b->at + i < b->blocks ? b->at + i : b->at + i - b->blocks;
        const float *part = b->parts[from].each, *turn = b->turn[i].each;
        b->total += b->weight[i] * b->energies[from];
        for (int k = 0; k < BANK_TONES; k++) {
            re[k] += part[k] * turn[k] - part[k + BANK_TONES] * turn[k + BANK_TONES];
            im[k] += part[k] * turn[k + BANK_TONES] + part[k + BANK_TONES] * turn[k];
        }
    }
    memcpy(b->re, re, sizeof re);
    memcpy(b->im, im, sizeof im);
}
