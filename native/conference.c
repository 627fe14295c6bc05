/* A conference: one port that many talk to and hear.
 *
 * What it does: gives each party the sum of all others, and who only listens the sum of all.
 *
 * How it works: connections to it and from it are like any others; the engine sums it between what its
 * parties yield and what they hear, so it adds no delay, and takes each party's own contribution out again
 * (frame.c). A conference is not connected to another: its sum would have to wait for the other's.
 *
 * How to use it: see engine.h. */

#include <stdlib.h>

#include "port.h"

typedef struct {
    port base;
    int32_t sum[FRAME_SAMPLES];
} conference;

static void conference_destroy(port *base) {
    free(base);
}

port *conference_create(engine *e) {
    static const port_kind kind = {.destroy = conference_destroy};
    conference *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->base.sum = c->sum;
    return engine_add(e, &c->base, &kind);
}
