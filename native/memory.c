/* Sound from memory and to memory.
 *
 * What it does: a player yields samples that it was given; a recorder keeps what its two sinks hear, as
 * pairs.
 *
 * How it works: the player copies its samples when it is made. The recorder's sinks are twins, which the
 * engine adds and ticks together, left before right: the left one keeps its frame until the right one's
 * comes, then the pairs go to a ring of ten seconds. A reader that is later than that loses the newest frame,
 * both channels of it: what was recorded stays as it was.
 *
 * How to use it: see engine.h. */

#include <stdlib.h>
#include <string.h>

#include "port.h"

typedef struct {
    port base;
    size_t size, at;
    bool loop, finished;
    int16_t samples[];
} player;

static void player_yield(port *base) {
    player *p = (player *)base;
    size_t filled = 0;
    while (filled < FRAME_SAMPLES) {
        if (p->at == p->size && p->loop)
            p->at = 0;
        size_t n = p->size - p->at, room = FRAME_SAMPLES - filled;
        if (n == 0)
            break;
        if (n > room)
            n = room;
        memcpy(base->frame + filled, p->samples + p->at, 2 * n);
        filled += n;
        p->at += n;
    }
    memset(base->frame + filled, 0, 2 * (FRAME_SAMPLES - filled));
    if (p->at == p->size && !p->loop && !p->finished) {
        p->finished = true;
        engine_tell(base->engine, EVENT_FINISHED, base, 0);
    }
}

static void player_destroy(port *base) {
    free(base);
}

port *player_create(engine *e, const int16_t *samples, size_t count, bool loop) {
    static const port_kind kind = {.yield = player_yield, .destroy = player_destroy};
    player *p = calloc(1, sizeof *p + 2 * count);
    if (!p)
        return NULL;
    p->size = count;
    p->loop = loop;
    memcpy(p->samples, samples, 2 * count);
    return engine_add(e, &p->base, &kind);
}

enum { RING_FRAMES = 500, LEAST_PAGE = 4096 };

typedef struct recorder {
    port left, right;
    int16_t held[FRAME_SAMPLES];
    counter dropped;
    /* In pairs since the beginning; the tick writes, the reader reads. */
    _Atomic uint64_t written, read;
    int16_t ring[RING_FRAMES * FRAME_SAMPLES][2];
} recorder;

static const size_t ring_pairs = RING_FRAMES * FRAME_SAMPLES;

static void recorder_take(port *base, const int16_t *frame) {
    if (base->twin) {
        memcpy(((recorder *)base)->held, frame, 2 * FRAME_SAMPLES);
        return;
    }
    recorder *r = (recorder *)((char *)base - offsetof(recorder, right));
    uint64_t written = atomic_load_explicit(&r->written, memory_order_relaxed);
    if (written - atomic_load_explicit(&r->read, memory_order_acquire) > ring_pairs - FRAME_SAMPLES) {
        count(&r->dropped, 1);
        return;
    }
    int16_t(*pairs)[2] = &r->ring[written % ring_pairs]; /* the ring is whole frames long */
    for (int i = 0; i < FRAME_SAMPLES; i++) {
        pairs[i][0] = r->held[i];
        pairs[i][1] = frame[i];
    }
    atomic_store_explicit(&r->written, written + FRAME_SAMPLES, memory_order_release);
}

static void recorder_destroy(port *base) {
    free(base);
}

port *recorder_create(engine *e) {
    static const port_kind kind = {.take = recorder_take, .destroy = recorder_destroy};
    recorder *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    /* A page's first use is a fault in the kernel: it is not to be the tick's. */
    for (size_t at = 0; at < sizeof *r; at += LEAST_PAGE)
        ((volatile char *)r)[at] = 0;
    r->left.twin = &r->right;
    return engine_add(e, &r->left, &kind);
}

port *recorder_right(port *left) {
    return left->twin;
}

size_t recorder_waiting(const port *left) {
    const recorder *r = (const recorder *)left;
    uint64_t written = atomic_load_explicit(&r->written, memory_order_acquire);
    return written - atomic_load_explicit(&r->read, memory_order_relaxed);
}

size_t recorder_read(port *left, int16_t *out, size_t pairs) {
    recorder *r = (recorder *)left;
    uint64_t read = atomic_load_explicit(&r->read, memory_order_relaxed);
    size_t waiting = recorder_waiting(left), at = read % ring_pairs;
    size_t n = pairs < waiting ? pairs : waiting;
    size_t first = n < ring_pairs - at ? n : ring_pairs - at;
    memcpy(out, r->ring[at], first * sizeof r->ring[0]);
    memcpy(out + 2 * first, r->ring[0], (n - first) * sizeof r->ring[0]);
    atomic_store_explicit(&r->read, read + n, memory_order_release);
    return n;
}

uint64_t recorder_dropped_frames(const port *left) {
    return counted(&((const recorder *)left)->dropped);
}
