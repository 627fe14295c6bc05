/* G.711 and base64.
 *
 * What it does: turns 16-bit samples into A-law and mu-law bytes and back, bytes into base64 text and back.
 *
 * How it works: there are neither branches nor tables, so that the compiler can do eight samples at once on
 * any CPU with SSE2 or NEON, and sixteen with AVX2. A shift by a different count for each lane would be many
 * instructions, a minimum or a maximum is one, so the curves are put together from these. Encoding: a
 * segment's code is its slope's line, code(m) = (m >> k) + 16 k in segment k. These lines form a convex
 * curve: the right segment's is the lowest of all of them. Decoding: the level over the code's number is a
 * line with a kink between one segment and the next, where the slope doubles; a kink at k adds max(m, k) - k,
 * as often as the slope grows there.
 *
 * A sample exactly on a decision value, which G.711 leaves open, falls as in the code of ITU-T G.191: up when
 * positive, towards zero when negative (the magnitude is the one's complement).
 *
 * How to use it: the buffers must not overlap. */

#include "codec.h"

#include <string.h>

#include "vector.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "L16 on the wire is the memory's own byte order");

static inline int16_t lower(int16_t a, int16_t b) {
    return a < b ? a : b;
}

static inline int16_t upper(int16_t a, int16_t b) {
    return a > b ? a : b;
}

WIDE void alaw_encode(uint8_t *restrict out, const int16_t *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int16_t sign = in[i] >> 15;
        int16_t m = (int16_t)(in[i] ^ sign) >> 4; /* 0 ... 2047; segments 0 and 1 have the same slope */
        int16_t code = m;
        code = lower(code, (m >> 1) + 16);
        code = lower(code, (m >> 2) + 32);
        code = lower(code, (m >> 3) + 48);
        code = lower(code, (m >> 4) + 64);
        code = lower(code, (m >> 5) + 80);
        code = lower(code, (m >> 6) + 96);
        /* G.711 2.2: even bits inverted; bit 8 is 1 for positive. */
        out[i] = (uint8_t)(code ^ 0xD5 ^ (sign & 0x80));
    }
}

WIDE void ulaw_encode(uint8_t *restrict out, const int16_t *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int16_t sign = in[i] >> 15;
        /* 14 bits; 33 moves the segments' ends to powers of two; 8158 and more are the last interval. */
        int16_t m = lower(((int16_t)(in[i] ^ sign) >> 2) + 33, 8191);
        int16_t code = (m >> 1) - 16;
        code = lower(code, m >> 2);
        code = lower(code, (m >> 3) + 16);
        code = lower(code, (m >> 4) + 32);
        code = lower(code, (m >> 5) + 48);
        code = lower(code, (m >> 6) + 64);
        code = lower(code, (m >> 7) + 80);
        code = lower(code, (m >> 8) + 96);
        out[i] = (uint8_t)(code ^ 0xFF ^ (sign & 0x80));
    }
}

enum { ALL_KINKS = 63 + 2 * (95 + 2 * (127 + 2 * (159 + 2 * (191 + 2 * 223)))) };

/* Kinks lie halfway between two codes, therefore twice the number; the constant is the sum of all the kinks'
 * own -k, plus where the line begins. */
WIDE void alaw_decode(int16_t *restrict out, const uint8_t *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t code = in[i] ^ 0xD5;
        int16_t sign = (int8_t)code >> 7;
        int16_t m = 2 * (code & 127);
        uint16_t level = 2 * upper(m, 223);
        level = 2 * (level + upper(m, 191));
        level = 2 * (level + upper(m, 159));
        level = 2 * (level + upper(m, 127));
        level = 2 * (level + upper(m, 95));
        level = 8 * (level + upper(m, 63) + m) + 8 - 8 * ALL_KINKS;
        out[i] = (int16_t)((level ^ sign) - sign);
    }
}

WIDE void ulaw_decode(int16_t *restrict out, const uint8_t *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t code = in[i] ^ 0xFF;
        int16_t sign = (int8_t)code >> 7;
        int16_t m = 2 * (code & 127);
        uint16_t level = 2 * upper(m, 223);
        level = 2 * (level + upper(m, 191));
        level = 2 * (level + upper(m, 159));
        level = 2 * (level + upper(m, 127));
        level = 2 * (level + upper(m, 95));
        level = 2 * (level + upper(m, 63));
        level = 4 * (level + upper(m, 31) + m) - 4 * (31 + 2 * ALL_KINKS);
        out[i] = (int16_t)((level ^ sign) - sign);
    }
}

void codec_encode(int codec, void *out, const int16_t *in, size_t count) {
    switch (codec) {
    case CODEC_PCMA:
        alaw_encode(out, in, count);
        break;
    case CODEC_PCMU:
        ulaw_encode(out, in, count);
        break;
    default:
        memcpy(out, in, 2 * count);
    }
}

void codec_decode(int codec, int16_t *out, const void *in, size_t count) {
    switch (codec) {
    case CODEC_PCMA:
        alaw_decode(out, in, count);
        break;
    case CODEC_PCMU:
        ulaw_decode(out, in, count);
        break;
    default:
        memcpy(out, in, 2 * count);
    }
}

void base64_encode(char *restrict out, const uint8_t *restrict in, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; size >= 3; size -= 3, in += 3, out += 4) {
        uint32_t group = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        out[0] = digits[group >> 18];
        out[1] = digits[group >> 12 & 63];
        out[2] = digits[group >> 6 & 63];
        out[3] = digits[group & 63];
    }
    if (size == 0)
        return;
    uint32_t group = (uint32_t)in[0] << 16 | (size == 2 ? (uint32_t)in[1] << 8 : 0);
    out[0] = digits[group >> 18];
    out[1] = digits[group >> 12 & 63];
    out[2] = size == 2 ? digits[group >> 6 & 63] : '=';
    out[3] = '=';
}

enum { NO_DIGIT = 64 };

static inline uint8_t sextet(uint8_t c) {
    uint8_t value = c == '/' ? 63 : NO_DIGIT;
    value = c == '+' ? 62 : value;
    value = c >= '0' && c <= '9' ? c - '0' + 52 : value;
    value = c >= 'a' && c <= 'z' ? c - 'a' + 26 : value;
    return c >= 'A' && c <= 'Z' ? c - 'A' : value;
}

ssize_t base64_decode(uint8_t *out, const uint8_t *in, size_t size) {
    if (size % 4)
        return -1;
    size_t padding = size && in[size - 1] == '=' ? 1 + (in[size - 2] == '=') : 0;
    size_t digits = size - padding, bytes = size / 4 * 3 - padding;
    uint8_t seen = 0;
    for (size_t i = 0; i < digits; i++) {
        out[i] = sextet(in[i]);
        seen |= out[i];
    }
    memset(out + digits, 0, padding);
    const uint8_t *group = out;
    for (size_t i = 0; i < size; i += 4, group += 4, out += 3) {
        uint8_t a = group[0], b = group[1], c = group[2], d = group[3];
        out[0] = (uint8_t)(a << 2 | b >> 4);
        out[1] = (uint8_t)(b << 4 | c >> 2);
        out[2] = (uint8_t)(c << 6 | d);
    }
    /* RFC 4648 3.5: bits of the last digit that mean nothing are zero. */
    for (size_t i = 0; i < padding; i++)
        seen |= *--out ? NO_DIGIT : 0;
    return seen & NO_DIGIT ? -1 : (ssize_t)bytes;
}
