/* Sound on its way from one clock to another: from a device's to the tick's, or back. See inlet.c. */
#pragma once

#include "elastic.h"
#include "port.h"

typedef struct {
    elastic buffer;
    bool slips; /* surplus delay is cut out */
    bool live;  /* something came, and has not ended */
    bool dry;   /* what came has run out */
    uint32_t lost;
    counter underruns, concealed, overruns, slipped, dropped;
    _Atomic uint32_t depth;
} inlet;

bool inlet_init(inlet *in, uint32_t limit, bool slips); /* false: out of memory */
void inlet_free(inlet *in);

/* Whoever reads: the tick, or a device's callback. */
void inlet_put(inlet *in, const int16_t *samples, uint32_t count);
void inlet_yield(inlet *in, int16_t *frame);

void inlet_read_stats(const inlet *in, inlet_stats *out); /* any thread */
