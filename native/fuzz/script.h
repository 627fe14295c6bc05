/* What libFuzzer gives, read as a script: numbers first, then bytes. At its end every number is 0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint8_t *at, *end;
} script;

static inline uint32_t next_number(script *s, uint32_t most) {
    uint32_t number = 0;
    for (uint32_t reach = most; reach && s->at < s->end; reach >>= 8)
        number = number << 8 | *s->at++;
    return number % (most + 1);
}

/* A copy that ends where its memory ends, so that one byte too far is found; the caller's to free. */
static inline uint8_t *copied(const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size);
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

/* Other than assert, it stays with NDEBUG. */
#define MUST(fact)                                                                                           \
    do {                                                                                                     \
        if (!(fact)) {                                                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact);                               \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
