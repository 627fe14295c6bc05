/* What a lane may ask of a stream beyond engine.h; control only. See stream.c. */
#pragma once

#include "port.h"

/* A connection is there: what was heard so far is forgotten, and not counted as dropped; unless the stream
 * keeps it. */
void stream_begin(port *p);

void stream_sent(port *p);                  /* the message taken last is the socket's */
void stream_came(port *p, int64_t when_ns); /* what control is about to obey; of now_ns, 0: unknown */

/* As stream_play, but counts what was queued and not what was refused: who is refused tries again. */
int stream_offer(port *p, const void *audio, size_t size, int codec, uint32_t rate_hz, int64_t came_ns);
