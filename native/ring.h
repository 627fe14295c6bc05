/* A ring of samples with one writer and one reader, each on a thread of its own.
 *
 * How it works: both count samples since the beginning, modulo 2^32; what lies between the counts is the
 * reader's, the rest the writer's. Nobody waits: who finds too little room or too few samples is told so.
 *
 * How to use it: ring_init, then ring_put and ring_take; ring_free when neither is used any more. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int16_t *samples;
    uint32_t size; /* a power of two */
    _Atomic uint32_t written, taken;
} ring;

static inline bool ring_init(ring *r, uint32_t size) {
    r->size = size;
    r->samples = malloc(size * sizeof *r->samples);
    return r->samples != NULL;
}

static inline void ring_free(ring *r) {
    free(r->samples);
}

static inline uint32_t ring_waiting(const ring *r) {
    uint32_t written = atomic_load_explicit(&r->written, memory_order_acquire);
    return written - atomic_load_explicit(&r->taken, memory_order_acquire);
}

/* The samples before the end of the memory; the others are at its beginning. */
static inline uint32_t ring_first(const ring *r, uint32_t at, uint32_t count) {
    uint32_t first = r->size - at % r->size;
    return first < count ? first : count;
}

/* All or nothing; false: there is no room. */
static inline bool ring_put(ring *r, const int16_t *samples, uint32_t count) {
    uint32_t written = atomic_load_explicit(&r->written, memory_order_relaxed);
    if (count > r->size - ring_waiting(r))
        return false;
    uint32_t first = ring_first(r, written, count);
    memcpy(r->samples + written % r->size, samples, first * sizeof *samples);
    memcpy(r->samples, samples + first, (count - first) * sizeof *samples);
    atomic_store_explicit(&r->written, written + count, memory_order_release);
    return true;
}

/* All or nothing; false: there are not as many. */
static inline bool ring_take(ring *r, int16_t *out, uint32_t count) {
    uint32_t taken = atomic_load_explicit(&r->taken, memory_order_relaxed);
    if (count > ring_waiting(r))
        return false;
    uint32_t first = ring_first(r, taken, count);
    memcpy(out, r->samples + taken % r->size, first * sizeof *out);
    memcpy(out + first, r->samples, (count - first) * sizeof *out);
    atomic_store_explicit(&r->taken, taken + count, memory_order_release);
    return true;
}
