/* Who calls, as an analog line tells it before the first ring or after it.
 *
 * What it does: receives caller-id messages - Bell 202 (Telcordia GR-30), V.23 or keys (ETSI EN 300 659) - in
 * what a port yields, tells one EVENT_CALLER_ID for each whose checksum is right, and keeps the last four for
 * control to take. Makes the sound of one, too.
 *
 * How it works: libspandsp's ADSI receiver. It calls back within the tick, and what it brings is copied into
 * a ring with one writer and one reader. What a message says is Python's to read (callerid.py).
 *
 * How to use it: see engine.h. */

#include <spandsp.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

enum { MESSAGES = 4 /* a power of two */ };

typedef struct {
    int size;
    uint8_t bytes[CALLER_ID_BYTES];
} message;

typedef struct caller_id {
    effect base;
    adsi_rx_state_t *receiver;
    port *port;
    message messages[MESSAGES];
    _Atomic uint32_t written, read;
} caller_id;

static void keep(void *owner, const uint8_t *bytes, int size) {
    caller_id *c = owner;
    uint32_t written = atomic_load_explicit(&c->written, memory_order_relaxed);
    bool full = written - atomic_load_explicit(&c->read, memory_order_acquire) == MESSAGES;
    if (full || size <= 0 || size > CALLER_ID_BYTES)
        return;
    message *m = &c->messages[written % MESSAGES];
    m->size = size;
    memcpy(m->bytes, bytes, (size_t)size);
    atomic_store_explicit(&c->written, written + 1, memory_order_release);
    engine_tell(c->port->engine, EVENT_CALLER_ID, c->port, 0);
}

static void caller_id_yielded(effect *x, port *p) {
    caller_id *c = (caller_id *)x;
    c->port = p;
    adsi_rx(c->receiver, p->frame, FRAME_SAMPLES);
}

static void caller_id_destroy(effect *x) {
    adsi_rx_free(((caller_id *)x)->receiver);
    free(x);
}

static int standard(int kind) {
    static const int standards[] = {
        [CALLER_ID_BELL202] = ADSI_STANDARD_CLASS,
        [CALLER_ID_V23] = ADSI_STANDARD_CLIP,
        [CALLER_ID_KEYS] = ADSI_STANDARD_CLIP_DTMF,
    };
    return standards[kind];
}

int port_detect_caller_id(port *p, int kind) {
    p->caller_id = NULL;
    if (kind == CALLER_ID_NONE)
        return engine_effect(p, PLACE_CALLER_ID, NULL);
    caller_id *c = calloc(1, sizeof *c);
    if (!c || !(c->receiver = adsi_rx_init(NULL, standard(kind), keep, c))) {
        free(c);
        errno = ENOMEM;
        return -1;
    }
    c->base = (effect){.yielded = caller_id_yielded, .destroy = caller_id_destroy};
    if (engine_effect(p, PLACE_CALLER_ID, &c->base) < 0)
        return -1;
    p->caller_id = c;
    return 0;
}

int port_take_caller_id(port *p, uint8_t *out) {
    caller_id *c = p->caller_id;
    if (!c)
        return 0;
    uint32_t read = atomic_load_explicit(&c->read, memory_order_relaxed);
    if (read == atomic_load_explicit(&c->written, memory_order_acquire))
        return 0;
    const message *m = &c->messages[read % MESSAGES];
    int size = m->size;
    memcpy(out, m->bytes, (size_t)size);
    atomic_store_explicit(&c->read, read + 1, memory_order_release);
    return size;
}

size_t caller_id_make(int kind, const uint8_t *bytes, size_t size, int16_t *out, size_t capacity) {
    adsi_tx_state_t *sender = adsi_tx_init(NULL, standard(kind));
    if (!sender)
        return 0;
    size_t made = 0;
    if (adsi_tx_put_message(sender, bytes, (int)size) > 0)
        made = (size_t)adsi_tx(sender, out, (int)capacity);
    adsi_tx_free(sender);
    return made;
}
