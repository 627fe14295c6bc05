/* How much faster than the tick's clock a device's clock runs. See drift.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t ahead;      /* samples received beyond those that the ticks account for */
    int64_t peak, last; /* of `ahead`: the largest one of this second; the last second's */
    uint32_t ticks;     /* of this second */
    bool begun;
    uint32_t silent;        /* ticks since something came */
    uint32_t stalled;       /* seconds in which a jump is no drift */
    uint32_t seconds;       /* measured */
    double n, t, tt, y, ty; /* over these, weighted sums: of 1, time, time^2, peak, time * peak */
} drift;

void drift_receive(drift *d, uint32_t samples);
void drift_tick(drift *d); /* once a tick, after what was received */

/* 1e-6 is a ppm; positive: the device is faster; 0 while it is not known yet. */
double drift_measured(const drift *d);
