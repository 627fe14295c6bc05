/* What a customer has sent to be played. See playback.c. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "hop.h"
#include "port.h"

enum { CARRIED_RATES = 6 };

typedef struct item item;

typedef struct {
    /* Control's own. */
    item *oldest, *newest;
    uint64_t end_ns;                   /* of all that was ever queued */
    uint64_t cleared_ns;               /* of what was before the last clear, obeyed or not yet */
    uint64_t end_bytes, cleared_bytes; /* the same, of memory */
    resampler *resamplers[CARRIED_RATES];
    /* Shared. */
    _Atomic(item *) current; /* what is being played, or was last; written by the tick */
    _Atomic(item *) clears;  /* not yet obeyed, the newest first */
    _Atomic uint64_t played_ns;
    hop waited; /* written by the tick: of what found nothing queued, from its coming to its begin */
    /* The tick's own. */
    size_t at;         /* bytes of current that were played */
    resampler *active; /* the resampler of the audio played last, if it had one */
    uint32_t tail;     /* samples that are still within it */
} playback;

int playback_init(playback *q);
void playback_free(playback *q);

/* Control; results as in engine.h. */
int playback_play(playback *q, const void *audio, size_t size, int codec, uint32_t rate_hz, int64_t came_ns);
int playback_clear(playback *q, int64_t mark);
int playback_checkpoint(playback *q, int64_t mark);
uint32_t playback_queued_ms(playback *q);

/* The index of a rate that streams carry, or -1. */
int playback_rate_index(uint32_t rate_hz);

/* Tick: fills p's frame, tells p's EVENT_PLAYED and EVENT_CLEARED. */
void playback_yield(playback *q, port *p);
