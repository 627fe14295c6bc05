/* The messages of a server's that are known to be audio; one thread at a time for each. See pattern.c. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "port.h"

enum { PATTERNS = 4, PATTERN_BYTES = 1024 };

typedef struct {
    size_t before, after; /* bytes */
    int codec;
    uint32_t rate_hz;
    char text[PATTERN_BYTES];
} pattern;

typedef struct {
    unsigned learned;
    pattern list[PATTERNS];
} patterns;

void patterns_learn(patterns *all,
                    const lane_pattern *p); /* in the oldest one's place; not one that is too long */

/* The one that a message has; NULL: none. */
const pattern *patterns_find(const patterns *all, const uint8_t *text, size_t size);

/* The audio of a message that has it, how many bytes; -1: it is not base64. Out has room for the message. */
ssize_t pattern_audio(const pattern *p, uint8_t *out, const uint8_t *text, size_t size);
