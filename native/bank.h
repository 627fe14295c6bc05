/* A few tones, each by its power and phase in a sliding window. See bank.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BANK_TONES = 8, BANK_BLOCKS = 10, BANK_BLOCK_SAMPLES = 40 };

/* For each tone a real part, then for each an imaginary one. By fours, in the vectors of gcc and clang:
 * whether loops over so few numbers are turned into vector code is chance. */
typedef float four __attribute__((vector_size(16), aligned(4)));
enum { BANK_FOURS = 2 * BANK_TONES / 4 };
typedef union {
    four fours[BANK_FOURS];
    float each[2 * BANK_TONES];
} bank_lanes;

typedef struct {
    /* The last window: re^2 + im^2 is a tone's mean square, total is that of all there is. The phase is
     * against a wave that begins with the window. */
    float re[BANK_TONES], im[BANK_TONES], total;

    int block, blocks, at;
    bank_lanes wave[BANK_BLOCK_SAMPLES]; /* cosines, sines */
    bank_lanes turn[BANK_BLOCKS];        /* of a block within the window, weighted */
    float weight[BANK_BLOCKS];
    bank_lanes parts[BANK_BLOCKS]; /* of the last blocks, a ring */
    float energies[BANK_BLOCKS];
} bank;

/* A window of blocks times block samples; block is a multiple of four. Tones of 0 Hz are none. */
void bank_init(bank *b, const float hz[BANK_TONES], int block, int blocks);

void bank_put(bank *b, const int16_t *samples); /* one block */
void bank_look(bank *b);                        /* at the window that ends with it */

static inline float bank_power(const bank *b, int tone) {
    return b->re[tone] * b->re[tone] + b->im[tone] * b->im[tone];
}
