/* A few tones, each by its power and phase in a sliding window. See bank.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BANK_TONES = 8, BANK_BLOCKS = 10, BANK_BLOCK_SAMPLES = 40 };

/* A number for each tone, in the vectors of gcc and clang: whether loops over so few numbers are turned into
 * vector code is chance. */
typedef float each_tone __attribute__((vector_size(4 * BANK_TONES), aligned(4)));
typedef struct {
    each_tone cosines, sines;
} bank_waves;
typedef struct {
    each_tone re, im;
} bank_parts;

typedef struct {
    /* The last window: each tone's mean square, and that of all there is. power is re^2 + im^2, their phase
     * is against a wave that begins with the window. */
    each_tone power, re, im;
    float total;

    int block, blocks, at;
    bank_waves wave[BANK_BLOCK_SAMPLES / 2]; /* from the middle of a block on */
    bank_waves turn[BANK_BLOCKS];            /* of that middle within the window, weighted */
    float weight[BANK_BLOCKS];
    bank_parts parts[BANK_BLOCKS]; /* of the last blocks, a ring */
    float energies[BANK_BLOCKS];
} bank;

/* A window of blocks times block samples; block is a multiple of four. Tones of 0 Hz are none. */
void bank_init(bank *b, const float hz[BANK_TONES], int block, int blocks);

void bank_put(bank *b, const int16_t *samples); /* one block */
void bank_look(bank *b);                        /* at the window that ends with it */
