/* Samples between samples. See fraction.c. */
#pragma once

#include <stdint.h>

enum {
    FRACTION_TAPS = 32,
    FRACTION_AHEAD =
        FRACTION_TAPS / 2, /* what a sample between needs of those after it, its own place counted */
    FRACTION_BEHIND = FRACTION_TAPS - FRACTION_AHEAD - 1,
};

/* Control, before the first use. */
void fraction_init(void);

/* Writes count samples: the first one lies `at` behind in[FRACTION_BEHIND], each next one `step` further; in
 * units of 2^-32 sample. `at` is below one sample. */
void fraction_run(int16_t *out, uint32_t count, const float *in, uint64_t at, uint64_t step);
