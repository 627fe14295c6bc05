/* How long something took, each time. See hop.c. */
#pragma once

#include <stdint.h>

#include "port.h"

enum { HOP_PARTS = 8 /* of an octave */, HOP_BUCKETS = 30 * HOP_PARTS };

typedef struct {
    _Atomic uint32_t buckets[HOP_BUCKETS];
    _Atomic uint32_t worst_us;
} hop;

void hop_note(hop *h, int64_t ns); /* one thread at a time; less than none is none */
hop_stats hop_read(const hop *h);  /* any thread */
