/* What a tick computes of one frame. See frame.c. */
#pragma once

#include "port.h"

/* What a sink with these inputs hears, saturated; either in out or in a frame that stands until the next
 * tick. */
const int16_t *mix(connection *inputs, int16_t *out);

/* A conference's part of the tick, between what its parties yield and what they hear: its sum, and as its
 * frame the same saturated. */
void mix_conference(port *conference);

/* Returns frame, silence, or in out (which may be frame) what is between them. */
const int16_t *gate_pass(gate *g, const int16_t *frame, int16_t *out);

void meter_note(meter *m, const int16_t *frame, uint64_t tick);
uint16_t meter_peak(const meter *m); /* of the last second; any thread */
