/* A buffer of samples between two clocks. See elastic.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int16_t *samples;
    uint32_t mask;           /* size - 1; the size is a power of two */
    uint32_t written, taken; /* since the beginning, modulo 2^32 */
    uint32_t limit;
    uint32_t margin;
    uint32_t lowest, ticks; /* of the depth, since the window began; its age */
    uint32_t low;           /* the last window's */
    uint32_t unused, calm;  /* of the depth, since the last underrun or step down; ticks since then */
    bool bent;
    uint64_t at,
        step; /* of the next sample to be given behind `taken`, and of each beyond the one before; 2^-32 */
} elastic;

bool elastic_init(elastic *e, uint32_t limit); /* false: out of memory */
void elastic_free(elastic *e);

static inline uint32_t elastic_depth(const elastic *e) {
    return e->written - e->taken;
}

/* Returns how many of the oldest samples were lost to the limit. */
uint32_t elastic_put(elastic *e, const int16_t *samples, uint32_t count);

/* How many samples can be had now. */
uint32_t elastic_ready(const elastic *e);

/* Gives the next samples, without taking them; there must be as many. */
void elastic_peek(const elastic *e, int16_t *out, uint32_t count);
void elastic_skip(elastic *e, uint32_t count); /* takes them */
void elastic_clear(elastic *e);

/* There was nothing for so many samples when they were needed: a larger margin is left from now on, if any
 * would have helped. */
void elastic_ran_out(elastic *e, uint32_t missing);

/* Once a tick, before what is due is taken: returns how many surplus samples were cut out. */
uint32_t elastic_settle(elastic *e, uint32_t due);

/* After settling: the writer's clock is so much faster than the reader's, 1e-6 being a ppm. From 5 ppm on,
 * samples are made longer or shorter by it, here... */
void elastic_follow(elastic *e, double drift);

/* ...and here by the inverse: `other` holds what comes from the clock that reads here. */
void elastic_mirror(elastic *e, const elastic *other);
