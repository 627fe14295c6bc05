/* The tick, the matrix, and the two queues between control and tick.
 *
 * What it does: see engine.h.
 *
 * How it works: a tick applies the commands that control has queued, lets every port yield a frame, gives
 * every port the sum of what is connected to it, and wakes control once if there is news.
 *
 * Commands are a linked list. Control appends; the tick follows, and publishes how far it got. What a command
 * carried, or took out of the matrix - a removed port, its connections, an old effect - stays in the
 * command: when control finds it passed, nobody else knows these any more, and control frees them. So memory
 * has one owner's thread.
 *
 * Events are a ring of fixed size: the tick must not wait for a reader, so a full ring loses events, and
 * counts them.
 *
 * How to use it: see engine.h; a new kind of port needs port.h only. */

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "phase.h"
#include "port.h"

enum { MAX_PORTS = 2048, EVENTS = 4096 /* a power of two */, RAMP_FRAMES = 5 };

/* 6 dB: what changes by more at once is heard as a click. */
static const float most_step = 1.9953f;

typedef struct command {
    _Atomic(struct command *) next;
    enum { ADD, REMOVE, CONNECT, DISCONNECT, EFFECT } action;
    port *port, *source;
    connection *connections; /* CONNECT: the new one; after the tick: those that it took out */
    int place;
    effect *effect; /* EFFECT: the new one; after the tick: the old one */
} command;

struct engine {
    /* Control's own. */
    command *oldest, *newest;
    uint32_t last_id;
    size_t port_count; /* commands not yet applied included */
    int fd, made_fd;
    lanes *sender; /* whose thread waits for made_fd */
    media_clock clock;

    /* Shared. */
    _Atomic(command *) passed; /* the last command that the tick has applied; written by the tick */
    event events[EVENTS];
    _Atomic uint32_t events_written, events_read;
    counter ticks, lost_events;
    atomic_bool diverted; /* there is a sender */

    /* The tick's own. */
    port *ports[MAX_PORTS];
    size_t used;
    bool news, made;
    phase phase;
    struct pollfd devices[MAX_PORTS];
    port *looked[MAX_PORTS]; /* whose these are */
};

/* ---- commands: control ---- */

static void destroy_effect(effect *x) {
    if (x)
        x->destroy(x);
}

static void destroy_port(port *p) {
    for (port *one = p; one; one = one->twin) {
        while (one->inputs) {
            connection *c = one->inputs;
            one->inputs = c->next;
            free(c);
        }
        for (int place = 0; place < EFFECT_PLACES; place++)
            destroy_effect(one->effects[place]);
    }
    p->kind->destroy(p);
}

static void release(engine *e, command *c) {
    while (c->connections) {
        connection *next = c->connections->next;
        free(c->connections);
        c->connections = next;
    }
    destroy_effect(c->effect);
    if (c->action == REMOVE) {
        e->port_count -= c->port->twin ? 2 : 1;
        destroy_port(c->port);
    }
}

/* Frees what the tick has passed. The last passed command itself must stay: the tick will read its `next`. */
static void reclaim(engine *e) {
    command *passed = atomic_load_explicit(&e->passed, memory_order_acquire);
    while (e->oldest != passed) {
        command *next = atomic_load_explicit(&e->oldest->next, memory_order_relaxed);
        free(e->oldest);
        e->oldest = next;
        /* A CONNECT's connection is in the matrix now, or was handed on. */
        release(e, next);
    }
}

static command *order(engine *e, int action, port *p) {
    reclaim(e);
    command *c = calloc(1, sizeof *c);
    if (c) {
        c->action = action;
        c->port = p;
    }
    return c;
}

static void submit(engine *e, command *c) {
    atomic_store_explicit(&e->newest->next, c, memory_order_release);
    e->newest = c;
}

port *engine_add(engine *e, port *p, const port_kind *kind) {
    size_t count = p->twin ? 2 : 1;
    command *c = order(e, ADD, p);
    for (port *one = p; one; one = one->twin) {
        one->kind = kind;
        one->engine = e;
        one->id = ++e->last_id;
    }
    if (!c || e->port_count + count > MAX_PORTS) {
        errno = c ? ENOBUFS : ENOMEM;
        free(c);
        kind->destroy(p);
        return NULL;
    }
    e->port_count += count;
    submit(e, c);
    return p;
}

int port_remove(port *p) {
    command *c = order(p->engine, REMOVE, p);
    if (!c)
        return -1;
    submit(p->engine, c);
    return 0;
}

int engine_connect(engine *e, port *source, port *sink, float gain) {
    if (source->sum && sink->sum) {
        errno = EINVAL;
        return -1;
    }
    command *c = order(e, CONNECT, sink);
    connection *link = malloc(sizeof *link);
    if (!c || !link) {
        free(c);
        free(link);
        return -1;
    }
    *link = (connection){.source = source, .gain = gain, .to = gain};
    c->connections = link;
    submit(e, c);
    return 0;
}

int engine_disconnect(engine *e, port *source, port *sink) {
    command *c = order(e, DISCONNECT, sink);
    if (!c)
        return -1;
    c->source = source;
    submit(e, c);
    return 0;
}

int engine_effect(port *p, int place, effect *x) {
    command *c = order(p->engine, EFFECT, p);
    if (!c) {
        destroy_effect(x);
        return -1;
    }
    c->place = place;
    c->effect = x;
    submit(p->engine, c);
    return 0;
}

/* ---- commands: tick ---- */

/* Moves every connection from source (NULL: any) to sink out of the matrix, to *out. */
static void cut(port *sink, const port *source, connection **out) {
    for (connection **link = &sink->inputs; *link;) {
        connection *c = *link;
        if (source && c->source != source) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        c->next = *out;
        *out = c;
    }
}

static connection *find(const port *sink, const port *source) {
    connection *c = sink->inputs;
    while (c && c->source != source)
        c = c->next;
    return c;
}

/* Sets in the conference's connection to a party which one the party talks by. */
static void note_own(port *conference, port *party) {
    connection *heard = find(party, conference);
    if (heard)
        heard->own = find(conference, party);
}

/* After anything was changed between these two. */
static void note_conference(port *source, port *sink) {
    if (sink->sum)
        note_own(sink, source);
    else if (source->sum)
        note_own(source, sink);
}

static bool clicks(float before, float after) {
    float least = before < after ? before : after, most = before < after ? after : before;
    return most > most_step * least;
}

/* Returns the connection that the new one has taken the place of, or NULL. */
static connection *put(port *sink, connection *link) {
    connection *old = NULL;
    cut(sink, link->source, &old);
    if (old && old->heard && clicks(old->to, link->gain)) {
        link->to = old->to;
        link->ramp = RAMP_FRAMES;
    }
    link->next = sink->inputs;
    sink->inputs = link;
    return old;
}

static void add_one(engine *e, port *p) {
    e->ports[e->used++] = p;
}

static void remove_one(engine *e, port *p, connection **out) {
    for (size_t i = 0; i < e->used; i++)
        cut(e->ports[i], p, out);
    cut(p, NULL, out);
    size_t i = 0;
    while (e->ports[i] != p)
        i++;
    e->used--;
    memmove(&e->ports[i], &e->ports[i + 1], (e->used - i) * sizeof e->ports[0]);
}

static void apply(engine *e, command *c) {
    port *p = c->port;
    connection *link = c->connections;
    switch (c->action) {
    case ADD:
        for (; p; p = p->twin)
            add_one(e, p);
        break;
    case REMOVE:
        for (; p; p = p->twin)
            remove_one(e, p, &c->connections);
        /* Control should free it soon, as it may hold a tty open. */
        e->news = true;
        break;
    case CONNECT:
        c->connections = put(p, link);
        note_conference(link->source, p);
        break;
    case DISCONNECT:
        cut(p, c->source, &c->connections);
        note_conference(c->source, p);
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
    command *passed = atomic_load_explicit(&e->passed, memory_order_relaxed);
    command *next;
    while ((next = atomic_load_explicit(&passed->next, memory_order_acquire))) {
        apply(e, next);
        passed = next;
    }
    atomic_store_explicit(&e->passed, passed, memory_order_release);
}

/* ---- the tick ---- */

void engine_tell(engine *e, uint32_t kind, const port *p, int64_t value) {
    uint32_t written = atomic_load_explicit(&e->events_written, memory_order_relaxed);
    e->news = true;
    if (written - atomic_load_explicit(&e->events_read, memory_order_acquire) == EVENTS) {
        count(&e->lost_events, 1);
        return;
    }
    e->events[written % EVENTS] = (event){.kind = kind, .port = p->id, .value = value};
    atomic_store_explicit(&e->events_written, written + 1, memory_order_release);
}

void engine_wake(engine *e) {
    e->news = true;
}

void engine_made(engine *e) {
    e->made = true;
}

/* A write fails only when nobody has read it 2^64 times. */
static void tell_news(engine *e) {
    bool diverted = atomic_load_explicit(&e->diverted, memory_order_relaxed);
    if (e->made && diverted)
        (void)!eventfd_write(e->made_fd, 1);
    if (e->news || (e->made && !diverted))
        (void)!eventfd_write(e->fd, 1);
    e->news = e->made = false;
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
    tell_news(e);
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
    /* Has nothing to do: the tick needs a last command to have passed. */
    command *first = calloc(1, sizeof *first);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), made_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!e || !first || fd < 0 || made_fd < 0) {
        int error = errno;
        free(e);
        free(first);
        if (fd >= 0)
            close(fd);
        if (made_fd >= 0)
            close(made_fd);
        errno = error;
        return NULL;
    }
    e->oldest = e->newest = first;
    atomic_store(&e->passed, first);
    e->fd = fd;
    e->made_fd = made_fd;
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
    reclaim(e);
    for (size_t i = 0; i < e->used;) {
        port *p = e->ports[i];
        i += p->twin ? 2 : 1; /* a twin stands beside its owner */
        destroy_port(p);
    }
    free(e->oldest);
    close(e->fd);
    close(e->made_fd);
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
    reclaim(e);
    return 0;
}

int engine_fd(const engine *e) {
    return e->fd;
}

int engine_divert(engine *e, lanes *to) {
    if (to && e->sender) {
        errno = EBUSY;
        return -1;
    }
    e->sender = to;
    atomic_store(&e->diverted, to != NULL);
    return 0;
}

int engine_made_fd(const engine *e) {
    return e->made_fd;
}

int engine_events(engine *e, event *out, int capacity) {
    eventfd_t news;
    (void)!eventfd_read(e->fd, &news); /* before looking, so that what comes later is told again */
    uint32_t read = atomic_load_explicit(&e->events_read, memory_order_relaxed);
    uint32_t written = atomic_load_explicit(&e->events_written, memory_order_acquire);
    int n = 0;
    while (read != written && n < capacity)
        out[n++] = e->events[read++ % EVENTS];
    atomic_store_explicit(&e->events_read, read, memory_order_release);
    reclaim(e);
    return n;
}

void engine_read_stats(engine *e, engine_stats *out) {
    *out = (engine_stats){
        .ticks = counted(&e->ticks),
        .skipped = atomic_load(&e->clock.skipped),
        .lost_events = counted(&e->lost_events),
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
