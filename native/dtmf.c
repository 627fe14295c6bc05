/* The keys of a telephone, found in what a port yields.
 *
 * What it does: tells one EVENT_DTMF for each press.
 *
 * How it works: libspandsp's detector, with its own limits.
 *
 * How to use it: see engine.h. */

#include <spandsp.h>
#include <stdlib.h>

#include "port.h"

typedef struct {
    effect base;
    dtmf_rx_state_t *receiver;
} dtmf;

static void dtmf_yielded(effect *x, port *p) {
    dtmf *d = (dtmf *)x;
    char digits[16];
    dtmf_rx(d->receiver, p->frame, FRAME_SAMPLES);
    size_t found = dtmf_rx_get(d->receiver, digits, (int)sizeof digits - 1);
    for (size_t i = 0; i < found; i++)
        engine_tell(p->engine, EVENT_DTMF, p, digits[i]);
}

static void dtmf_destroy(effect *x) {
    dtmf_rx_free(((dtmf *)x)->receiver);
    free(x);
}

int port_detect_dtmf(port *p, bool on) {
    if (!on)
        return engine_effect(p, PLACE_DTMF, NULL);
    dtmf *d = calloc(1, sizeof *d);
    if (!d || !(d->receiver = dtmf_rx_init(NULL, NULL, NULL))) {
        free(d);
        errno = ENOMEM;
        return -1;
    }
    d->base = (effect){.yielded = dtmf_yielded, .destroy = dtmf_destroy};
    return engine_effect(p, PLACE_DTMF, &d->base);
}
