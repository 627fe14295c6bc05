/* Where the ticks stand among their devices' chunks. See phase.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t looks;
    bool close, soon, late; /* what came, in the looks since the last verdict */
} phase;

/* After each tick that looked. How much later the ticks are to come from now on, in ns. */
int64_t phase_verdict(phase *p);
