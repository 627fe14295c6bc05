/* Frames in the codecs of a stream, and base64. See codec.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine.h"

static inline size_t codec_sample_bytes(int codec) {
    return codec == CODEC_L16 ? 2 : 1;
}

void codec_encode(int codec, void *out, const int16_t *in, size_t count);
void codec_decode(int codec, int16_t *out, const void *in, size_t count);

static inline size_t base64_size(size_t size) {
    return (size + 2) / 3 * 4;
}

/* Writes base64_size(size) characters, padded, no terminating zero. */
void base64_encode(char *out, const uint8_t *in, size_t size);

/* How many bytes the text means; -1: it is not what base64_encode writes. Out has room for the text, and may
 * be it. */
ssize_t base64_decode(uint8_t *out, const uint8_t *in, size_t size);
