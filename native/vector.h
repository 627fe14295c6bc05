/* For loops that the compiler turns into vector code. Every x86-64 has SSE2, which is what a wheel may be
 * compiled for; most have AVX2, with twice as wide vectors: a WIDE function exists for both, and the dynamic
 * linker chooses once. Results are the same to the last bit: -std=c11 forbids the compiler to contract a
 * product and a sum, and to reorder sums. Elsewhere it is an ordinary function: arm64's NEON needs no choice,
 * and ThreadSanitizer does not survive one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("default", "avx2")))
#else
#define WIDE
#endif

/* And saturated. SSE2 has no vector lrintf: adding 1.5 * 2^23 leaves no room for a fraction, which rounds. */
static inline int16_t rounded(float value) {
    const float integers_only = 12582912.0f;
    value = value > 32767.0f ? 32767.0f : value;
    value = value < -32768.0f ? -32768.0f : value;
    return (int16_t)(value + integers_only - integers_only);
}

enum { LANES = 8 /* AVX2's; two of SSE2's or NEON's */ };

/* Of as many pairs, a multiple of LANES. size_t: a 32-bit index might wrap around, for all the compiler
 * knows, and that keeps it from vector code. */
static inline float product(const float *restrict a, const float *restrict b, size_t count) {
    float sum[LANES] = {0};
    for (size_t i = 0; i < count; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            sum[lane] += a[i + lane] * b[i + lane];
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t lane = 0; lane < half; lane++)
            sum[lane] += sum[lane + half];
    return sum[0];
}
