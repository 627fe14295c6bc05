/* How long something took, each time, in little memory.
 *
 * What it does: counts durations from microseconds to an hour, and tells their median and the longest.
 *
 * How it works: a bucket for each eighth of an octave, so that the median is known to a sixteenth of itself;
 * below 8 us, for each microsecond. What the buckets hold is what was counted.
 *
 * How to use it: hop_note by whoever measures; hop_read. A hop that is all zeros is empty. */

#include "hop.h"

enum { LOG_PARTS = 3 };

static uint32_t bucket_of(uint32_t us) {
    if (us < HOP_PARTS)
        return us;
    uint32_t octave = 31 - (uint32_t)__builtin_clz(us) - LOG_PARTS;
    return octave * HOP_PARTS + (us >> octave);
}

/* The middle of those that are in it. */
static uint32_t middle_of(uint32_t bucket) {
    if (bucket < 2 * HOP_PARTS)
        return bucket;
    uint32_t octave = bucket / HOP_PARTS - 1, part = bucket % HOP_PARTS;
    return ((HOP_PARTS + part) << octave) + (1u << octave >> 1);
}

static void set_to(_Atomic uint32_t *n, uint32_t to) {
    atomic_store_explicit(n, to, memory_order_relaxed);
}

static uint32_t read_now(const _Atomic uint32_t *n) {
    return atomic_load_explicit(n, memory_order_relaxed);
}

void hop_note(hop *h, int64_t ns) {
    int64_t whole = ns > 0 ? ns / 1000 : 0;
    uint32_t us = whole < UINT32_MAX ? (uint32_t)whole : UINT32_MAX;
    _Atomic uint32_t *bucket = &h->buckets[bucket_of(us)];
    set_to(bucket, read_now(bucket) + 1);
    if (us > read_now(&h->worst_us))
        set_to(&h->worst_us, us);
}

hop_stats hop_read(const hop *h) {
    hop_stats out = {.worst_us = read_now(&h->worst_us)};
    for (uint32_t i = 0; i < HOP_BUCKETS; i++)
        out.count += read_now(&h->buckets[i]);
    uint64_t passed = 0;
    for (uint32_t i = 0; out.count && i < HOP_BUCKETS; i++) {
        passed += read_now(&h->buckets[i]);
        if (2 * passed >= out.count) {
            out.median_us = middle_of(i) < out.worst_us ? middle_of(i) : out.worst_us;
            break;
        }
    }
    return out;
}
