/* What a tick computes of one frame. See frame.c. */
#pragma once

#include "port.h"

/* What a sink with these inputs hears, saturated; either in out or in a frame that stands until the next
 * tick. */
const int16_t *mix(const connection *inputs, int16_t *out);

void meter_note(meter *m, const int16_t *frame, uint64_t tick);
uint16_t meter_peak(const meter *m); /* of the last second; any thread */
