/* Sound on its way from one clock to another: from a device's to the tick's, or back. See inlet.c. */
#pragma once

#include <spandsp.h>

#include "drift.h"
#include "elastic.h"
#include "port.h"

struct inlet {
    elastic buffer;
    bool corrects;        /* delay and drift */
    bool live;            /* something came, and has not ended */
    uint32_t dry;         /* frames since what came has run out */
    atomic_bool conceals; /* written by control */
    drift drift;
    plc_state_t filler;
    int16_t past[2 * FRAME_SAMPLES]; /* what was heard last */
    uint32_t lost;
    counter underruns, concealed, overruns, slipped, dropped;
    _Atomic uint32_t depth;
    _Atomic float drift_ppm;
};

/* false: out of memory. corrects: delay and drift; gaps are concealed, too. */
bool inlet_init(inlet *in, uint32_t limit, bool corrects);
void inlet_free(inlet *in);

/* Whoever reads: the tick, or a device's callback. */
void inlet_put(inlet *in, const int16_t *samples, uint32_t count);
void inlet_yield(inlet *in, int16_t *frame);

void inlet_read_stats(const inlet *in, inlet_stats *out); /* any thread */
