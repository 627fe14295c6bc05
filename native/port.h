/* What the engine knows of a port, and what a port may ask of the engine. Each kind of port has a file of its
 * own, and begins with `port base`. */
#pragma once

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

/* A figure that one thread counts up and any may read: no locked instruction is needed. */
typedef _Atomic uint64_t counter;

static inline uint64_t counted(const counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void count(counter *c, uint64_t n) {
    atomic_store_explicit(c, counted(c) + n, memory_order_relaxed);
}

typedef struct {
    void (*yield)(port *p); /* fills p->frame; NULL: makes no sound */
    void (*take)(port *p,
                 const int16_t *frame); /* the frame is its own only for the call; NULL: hears nothing */
    void (*destroy)(port *p);           /* control, when the tick knows it no more */
    int (*device)(
        const port *p); /* tick: what becomes readable when a chunk comes; -1: none comes. NULL: -1 */
} port_kind;

/* The largest sample in each 200 ms of the last second, and of all. */
enum { PEAK_SPANS = 5, PEAK_SPAN_TICKS = 10 };

typedef struct {
    _Atomic uint16_t spans[PEAK_SPANS];
    _Atomic uint16_t most;
} meter;

typedef struct connection {
    struct connection *next;
    port *source;
    float gain;     /* where it is, or is going */
    float from, to; /* in this tick's frame */
    uint32_t ramp;  /* frames until it is there */
    bool heard;
    /* The source is a conference: what the sink says in it itself. NULL: nothing. */
    const struct connection *own;
} connection;

/* What works on the sound of one port beside the matrix: finds something in it, or changes it. Control makes
 * and destroys it, the tick runs it. A file with one begins it with `effect base`. */
typedef struct effect effect;
struct effect {
    void (*yielded)(effect *x, port *p);            /* p->frame is new, and may be changed */
    void (*given)(effect *x, const int16_t *frame); /* PLACE_ECHO only: what the port is given to take */
    void (*destroy)(effect *x);
};

/* A port has at most one in each place; they are run in this order. */
enum {
    PLACE_ECHO,
    PLACE_DTMF,
    PLACE_PROGRESS,
    PLACE_CALLER_ID,
    PLACE_ACTIVITY,
    PLACE_PROCESS,
    EFFECT_PLACES
};

/* Lets a frame through, or not; opens and closes within one frame. */
typedef struct {
    atomic_bool shut; /* written by control */
    bool was_shut;
} gate;

/* See inlet.h. */
typedef struct inlet inlet;

struct port {
    const port_kind *kind;
    engine *engine;
    inlet *inlets[2]; /* where its sound passes from one clock to another; NULL: it has no other clock */
    port *twin;       /* comes and goes in the same tick; owned by this one */
    uint32_t id;
    struct caller_id *caller_id; /* control's own: the newest in its place */
    _Atomic float level;         /* of the effect that measures it */
    atomic_bool voice;
    /* Below: the tick's own. */
    connection *inputs;
    effect *effects[EFFECT_PLACES];
    meter yielded, given;
    gate mouth, ears;
    bool seen;    /* its chunk, in this tick's look */
    int32_t *sum; /* a conference's: of what all its parties say; NULL for every other kind */
    int16_t frame[FRAME_SAMPLES];
};

/* Control: sets up the base of a port that is complete otherwise, and hands it to the tick. On failure the
 * port is destroyed; NULL, errno. */
port *engine_add(engine *e, port *p, const port_kind *kind);

/* Control: puts an effect (NULL: none) in its place, and frees what was there when the tick has let it go. On
 * failure the effect is destroyed; -1, errno. */
int engine_effect(port *p, int place, effect *x);

/* Tick: tells an event; wakes the control thread at the end of this tick. */
void engine_tell(engine *e, uint32_t kind, const port *p, int64_t value);
void engine_wake(engine *e);

/* Tick: a stream has made a message; wakes who sends it at the end of this tick. */
void engine_made(engine *e);

/* Control: whose thread is woken for that in place of control, by made_fd, an eventfd that lives as long as
 * the engine; NULL: nobody's. EBUSY: another's is. */
int engine_divert(engine *e, lanes *to);
int engine_made_fd(const engine *e);
