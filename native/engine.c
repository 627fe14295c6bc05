/* The tick, and what control orders of it.
 *
 * What it does: see engine.h.
 *
 * How it works: a tick applies the commands that control has queued (commands.c), lets every port yield a
 * frame, gives every port the sum of what is connected to it, and wakes control once if there is news.
 *
 * How to use it: see engine.h; a new kind of port needs port.h only. */

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "commands.h"
#include "frame.h"
#include "matrix.h"
#include "news.h"
#include "phase.h"
#include "port.h"

enum { MAX_PORTS = 2048 };

struct engine {
    /* Control's own. */
    uint32_t last_id;
    lanes *sender; /* whose thread is woken for what streams have made */
    media_clock clock;

    /* Shared. */
    commands commands;
    news news;
    counter ticks;

    /* The tick's own. */
    port *ports[MAX_PORTS];
    size_t used;
    phase phase;
    struct pollfd devices[MAX_PORTS];
    port *looked[MAX_PORTS]; /* whose these are */
};

/* ---- commands: control ---- */

port *engine_add(engine *e, port *p, const port_kind *kind) {
    size_t count = p->twin ? 2 : 1;
    command *c = commands_make(&e->commands, ADD, p);
    for (port *one = p; one; one = one->twin) {
        one->kind = kind;
        one->engine = e;
        one->id = ++e->last_id;
    }
    if (!c || e->commands.port_count + count > MAX_PORTS) {
        errno = c ? ENOBUFS : ENOMEM;
        free(c);
        kind->destroy(p);
        return NULL;
    }
    e->commands.port_count += count;
    commands_submit(&e->commands, c);
    return p;
}

int port_remove(port *p) {
    command *c = commands_make(&p->engine->commands, REMOVE, p);
    if (!c)
        return -1;
    commands_submit(&p->engine->commands, c);
    return 0;
}

int engine_connect(engine *e, port *source, port *sink, float gain) {
    if (source->sum && sink->sum) {
        errno = EINVAL;
        return -1;
    }
    command *c = commands_make(&e->commands, CONNECT, sink);
    connection *link = malloc(sizeof *link);
    if (!c || !link) {
        free(c);
        free(link);
        return -1;
    }
    *link = (connection){.source = source, .gain = gain, .to = gain};
    c->connections = link;
    commands_submit(&e->commands, c);
    return 0;
}

int engine_disconnect(engine *e, port *source, port *sink) {
    command *c = commands_make(&e->commands, DISCONNECT, sink);
    if (!c)
        return -1;
    c->source = source;
    commands_submit(&e->commands, c);
    return 0;
}

int engine_effect(port *p, int place, effect *x) {
    command *c = commands_make(&p->engine->commands, EFFECT, p);
    if (!c) {
        if (x)
            x->destroy(x);
        return -1;
    }
    c->place = place;
    c->effect = x;
    commands_submit(&p->engine->commands, c);
    return 0;
}

/* ---- commands: tick ---- */

static void remove_one(engine *e, port *p, connection **out) {
    for (size_t i = 0; i < e->used; i++)
        matrix_cut(e->ports[i], p, out);
    matrix_cut(p, NULL, out);
    size_t i = 0;
    while (e->ports[i] != p)
        i++;
    e->used--;
    memmove(&e->ports[i], &e->ports[i + 1], (e->used - i) * sizeof e->ports[0]);
}

static void apply(engine *e, command *c) {
    port *p = c->port;
    switch (c->action) {
    case ADD:
        for (; p; p = p->twin)
            e->ports[e->used++] = p;
        break;
    case REMOVE:
        for (; p; p = p->twin)
            remove_one(e, p, &c->connections);
        /* Control should free it soon, as it may hold a tty open. */
        e->news.some = true;
        break;
    case CONNECT:
        c->connections = matrix_put(p, c->connections);
        break;
    case DISCONNECT:
        matrix_cut(p, c->source, &c->connections);
        break;
    case EFFECT: {
        effect *old = p->effects[c->place];
        p->effects[c->place] = c->effect;
        c->effect = old;
        break;
    }
    }
}

static void apply_all(engine *e) {
    for (command *c; (c = commands_next(&e->commands)); commands_pass(&e->commands, c))
        apply(e, c);
}

/* ---- the tick ---- */

void engine_tell(engine *e, uint32_t kind, const port *p, int64_t value) {
    news_tell(&e->news, (event){.kind = kind, .port = p->id, .value = value});
}

void engine_wake(engine *e) {
    e->news.some = true;
}

void engine_made(engine *e) {
    e->news.made = true;
}

/* p's frame is new. */
static void examine(port *p, uint64_t number) {
    for (int place = 0; place < EFFECT_PLACES; place++)
        if (p->effects[place])
            p->effects[place]->yielded(p->effects[place], p);
    meter_note(&p->yielded, p->frame, number);
}

static void shut_mouth(port *p) {
    const int16_t *frame = gate_pass(&p->mouth, p->frame, p->frame);
    if (frame != p->frame)
        memcpy(p->frame, frame, sizeof p->frame);
}

static void tick(void *owner) {
    engine *e = owner;
    uint64_t number = counted(&e->ticks);
    int16_t mixed[FRAME_SAMPLES];
    apply_all(e);
    for (size_t i = 0; i < e->used; i++) {
        port *p = e->ports[i];
        if (!p->kind->yield)
            continue;
        p->kind->yield(p);
        examine(p, number);
        shut_mouth(p);
    }
    for (size_t i = 0; i < e->used; i++) {
        port *p = e->ports[i];
        if (!p->sum)
            continue;
        mix_conference(p);
        examine(p, number);
    }
    for (size_t i = 0; i < e->used; i++) {
        port *p = e->ports[i];
        if (!p->kind->take)
            continue;
        const int16_t *frame = gate_pass(&p->ears, mix(p->inputs, mixed), mixed);
        meter_note(&p->given, frame, number);
        if (p->effects[PLACE_ECHO])
            p->effects[PLACE_ECHO]->given(p->effects[PLACE_ECHO], frame);
        p->kind->take(p, frame);
    }
    count(&e->ticks, 1);
    news_send(&e->news);
}

/* ---- between ticks ---- */

/* How many devices there are. */
static nfds_t ask_devices(engine *e) {
    nfds_t count = 0;
    for (size_t i = 0; i < e->used; i++) {
        port *p = e->ports[i];
        int fd = p->kind->device ? p->kind->device(p) : -1;
        if (fd < 0)
            continue;
        e->looked[count] = p;
        e->devices[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    if (count)
        poll(e->devices, count, 0);
    return count;
}

static int64_t look(void *owner, int when) {
    engine *e = owner;
    nfds_t count = ask_devices(e);
    bool some = false;
    for (nfds_t i = 0; i < count; i++) {
        bool waits = e->devices[i].revents & POLLIN;
        some |= waits && (when == LOOK_AFTER || !e->looked[i]->seen);
        e->looked[i]->seen = waits;
    }
    switch (when) {
    case LOOK_FAR:
        return count > 0;
    case LOOK_NEAR:
        e->phase.soon |= some;
        return 0;
    case LOOK_DUE:
        e->phase.close |= some;
        return 0;
    default:
        e->phase.late |= some;
        return phase_verdict(&e->phase);
    }
}

/* ---- control ---- */

int64_t engine_look(engine *e, int when) {
    return look(e, when);
}

engine *engine_create(void) {
    engine *e = calloc(1, sizeof *e);
    if (!e || news_open(&e->news) < 0) {
        free(e);
        return NULL;
    }
    if (commands_open(&e->commands) < 0) {
        news_close(&e->news);
        free(e);
        return NULL;
    }
    e->clock.tick = tick;
    e->clock.look = look;
    e->clock.owner = e;
    return e;
}

void engine_destroy(engine *e) {
    if (!e)
        return;
    clock_stop(&e->clock);
    if (e->sender)
        lanes_stop(e->sender);
    apply_all(e);
    commands_close(&e->commands);
    for (size_t i = 0; i < e->used;) {
        port *p = e->ports[i];
        i += p->twin ? 2 : 1; /* a twin stands beside its owner */
        commands_free_port(p);
    }
    news_close(&e->news);
    free(e);
}

int engine_start(engine *e) {
    return clock_start(&e->clock);
}

void engine_stop(engine *e) {
    clock_stop(&e->clock);
}

int engine_tick(engine *e, int count) {
    if (e->clock.running) {
        errno = EBUSY;
        return -1;
    }
    for (int i = 0; i < count; i++)
        tick(e);
    commands_reclaim(&e->commands);
    return 0;
}

int engine_fd(const engine *e) {
    return e->news.fd;
}

int engine_divert(engine *e, lanes *to) {
    if (to && e->sender) {
        errno = EBUSY;
        return -1;
    }
    e->sender = to;
    atomic_store(&e->news.diverted, to != NULL);
    return 0;
}

int engine_made_fd(const engine *e) {
    return e->news.made_fd;
}

int engine_events(engine *e, event *out, int capacity) {
    int n = news_take(&e->news, out, capacity);
    commands_reclaim(&e->commands);
    return n;
}

void engine_read_stats(engine *e, engine_stats *out) {
    *out = (engine_stats){
        .ticks = counted(&e->ticks),
        .skipped = atomic_load(&e->clock.skipped),
        .lost_events = counted(&e->news.lost),
        .worst_late_us = atomic_exchange(&e->clock.worst_late_us, 0),
        .realtime = e->clock.running && atomic_load(&e->clock.realtime),
    };
}

void port_read_peaks(const port *p, port_peaks *out) {
    *out = (port_peaks){
        .yielded = meter_peak(&p->yielded),
        .given = meter_peak(&p->given),
        .most_yielded = atomic_load_explicit(&p->yielded.most, memory_order_relaxed),
        .most_given = atomic_load_explicit(&p->given.most, memory_order_relaxed),
    };
}

static int shut(gate *g, const port *p, bool on) {
    if (p->sum) {
        errno = EINVAL;
        return -1;
    }
    atomic_store_explicit(&g->shut, on, memory_order_relaxed);
    return 0;
}

int port_mute(port *p, bool on) {
    return shut(&p->mouth, p, on);
}

int port_deafen(port *p, bool on) {
    return shut(&p->ears, p, on);
}

uint32_t port_id(const port *p) {
    return p->id;
}
