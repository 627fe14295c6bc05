/* For loops that the compiler turns into vector code. Every x86-64 has SSE2, which is what a wheel may be
 * compiled for; most have AVX2, with twice as wide vectors: a WIDE function exists for both, and the dynamic
 * linker chooses once. Results are the same to the last bit: -std=c11 forbids the compiler to contract a
 * product and a sum, and to reorder sums. Elsewhere it is an ordinary function: arm64's NEON needs no choice,
 * and ThreadSanitizer does not survive one. */
#pragma once

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
