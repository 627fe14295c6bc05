/* Sound by the frame, from and to the program.
 *
 * What it does: yields what was pushed, and keeps what it is given to be pulled.
 *
 * How it works: two rings of about a second. A push that does not fit is refused whole; a frame that is not
 * pulled in time is lost, and counted. What was pushed is yielded a frame a tick, a rest that is no whole
 * frame waits for more: there is no jitter buffer in between.
 *
 * How to use it: see engine.h. */

#include "port.h"
#include "ring.h"

enum { RING_SAMPLES = 8192 /* a power of two, 51 frames */ };

typedef struct {
    port base;
    ring in, out;
    counter dropped;
} frames;

static void frames_yield(port *base) {
    frames *f = (frames *)base;
    if (!ring_take(&f->in, base->frame, FRAME_SAMPLES))
        memset(base->frame, 0, sizeof base->frame);
}

static void frames_take(port *base, const int16_t *frame) {
    frames *f = (frames *)base;
    if (!ring_put(&f->out, frame, FRAME_SAMPLES))
        count(&f->dropped, 1);
    else
        engine_wake(base->engine);
}

static void frames_destroy(port *base) {
    frames *f = (frames *)base;
    ring_free(&f->in);
    ring_free(&f->out);
    free(f);
}

port *frames_create(engine *e) {
    static const port_kind kind = {.yield = frames_yield, .take = frames_take, .destroy = frames_destroy};
    frames *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    bool ready = ring_init(&f->in, RING_SAMPLES);
    if (!ring_init(&f->out, RING_SAMPLES) || !ready) {
        frames_destroy(&f->base);
        errno = ENOMEM;
        return NULL;
    }
    return engine_add(e, &f->base, &kind);
}

bool frames_push(port *p, const int16_t *samples, size_t count) {
    return count <= RING_SAMPLES && ring_put(&((frames *)p)->in, samples, (uint32_t)count);
}

bool frames_pull(port *p, int16_t *out) {
    return ring_take(&((frames *)p)->out, out, FRAME_SAMPLES);
}

uint64_t frames_dropped(const port *p) {
    return counted(&((const frames *)p)->dropped);
}
