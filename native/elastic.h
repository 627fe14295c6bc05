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
    uint32_t unused, calm;  /* of the depth, since the last underrun or step down; ticks since then */
} elastic;

bool elastic_init(elastic *e, uint32_t limit); /* false: out of memory */
void elastic_free(elastic *e);

static inline uint32_t elastic_depth(const elastic *e) {
    return e->written - e->taken;
}

/* Returns how many of the oldest samples were lost to the limit. */
uint32_t elastic_put(elastic *e, const int16_t *samples, uint32_t count);

/* Copies the oldest samples, without taking them; there must be as many. */
void elastic_peek(const elastic *e, int16_t *out, uint32_t count);

static inline void elastic_skip(elastic *e, uint32_t count) {
    e->taken += count;
}

/* The other side had nothing when it was needed: a larger margin is left from now on. */
void elastic_ran_out(elastic *e);

/* Once a tick, after what is due was taken: returns how many surplus samples were cut out. */
uint32_t elastic_settle(elastic *e);
