/* What a lane may ask of a stream beyond engine.h; control only. See stream.c. */
#pragma once

#include "port.h"

void stream_skip(port *p); /* what the stream heard so far is forgotten, and not counted as dropped */

/* As stream_play, but counts what was queued and not what was refused: who is refused tries again. */
int stream_offer(port *p, const void *audio, size_t size, int codec, uint32_t rate_hz);
