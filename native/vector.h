/* For loops that the compiler turns into vector code. Every x86-64 has SSE2, which is what a wheel may be
 * compiled for; most have AVX2, with twice as wide vectors: a WIDE function exists for both, and the dynamic
 * linker chooses once. Results are the same to the last bit: -std=c11 forbids the compiler to contract a
 * product and a sum, and to reorder sums. Elsewhere it is an ordinary function: arm64's NEON needs no choice,
 * and ThreadSanitizer does not survive one. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("default", "avx2")))
#else
#define WIDE
#endif

/* For what a WIDE function is made of: a function that is left outside of it is not wide. */
#define INLINED static inline __attribute__((always_inline))

/* And saturated. SSE2 has no vector lrintf: adding 1.5 * 2^23 leaves no room for a fraction, which rounds. */
INLINED int16_t rounded(float value) {
    const float integers_only = 12582912.0f;
    value = value > 32767.0f ? 32767.0f : value;
    value = value < -32768.0f ? -32768.0f : value;
    return (int16_t)(value + integers_only - integers_only);
}

enum { LANES = 8 /* AVX2's; two of SSE2's or NEON's */ };

/* In the vectors of gcc and clang: whether loops over so few numbers are turned into vector code is chance,
 * and with gcc 12 on arm64 they were not. */
typedef float four __attribute__((vector_size(16)));
typedef int32_t four_whole __attribute__((vector_size(16)));
typedef int16_t four_samples __attribute__((vector_size(8)));
typedef float eight __attribute__((vector_size(4 * LANES)));

/* Of as many pairs, a multiple of LANES. */
INLINED float product(const float *a, const float *b, size_t count) {
    eight sum = {0}, x, y;
    for (size_t i = 0; i < count; i += LANES) {
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        sum += x * y;
    }
    four half = {sum[0] + sum[4], sum[1] + sum[5], sum[2] + sum[6], sum[3] + sum[7]};
    return (half[0] + half[2]) + (half[1] + half[3]);
}

INLINED four four_of(const int16_t *samples) {
    four_samples packed;
    memcpy(&packed, samples, sizeof packed);
    /* In two steps: gcc 12 makes scalar code of one. */
    return __builtin_convertvector(__builtin_convertvector(packed, four_whole), four);
}

/* The sum of squares; count is a multiple of four. */
INLINED float energy(const int16_t *samples, int count) {
    four sum = {0};
    for (int i = 0; i < count; i += 4) {
        four next = four_of(samples + i);
        sum += next * next;
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}
