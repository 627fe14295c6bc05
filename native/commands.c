/* The queue of what control orders.
 *
 * What it does: carries commands from control to the tick, and frees what they leave behind.
 *
 * How it works: a linked list. Control appends; the tick follows, and publishes how far it got. What a
 * command carried, or took out of the matrix - a removed port, its connections, an old effect - stays in the
 * command: when control finds it passed, nobody else knows these any more, and control frees them. So memory
 * has one owner's thread.
 *
 * How to use it: commands_make, fill it in, commands_submit; the tick takes commands_next, applies it and
 * says commands_pass, until there is none. */

#include "commands.h"

#include <stdlib.h>

int commands_open(commands *c) {
    /* Has nothing to do: the tick needs a last command to have passed. */
    command *first = calloc(1, sizeof *first);
    if (!first)
        return -1;
    c->oldest = c->newest = first;
    atomic_store(&c->passed, first);
    return 0;
}

void commands_close(commands *c) {
    commands_reclaim(c);
    free(c->oldest);
}

/* ---- control ---- */

static void free_connections(connection *c) {
    while (c) {
        connection *next = c->next;
        free(c);
        c = next;
    }
}

static void free_effect(effect *x) {
    if (x)
        x->destroy(x);
}

void commands_free_port(port *p) {
    for (port *one = p; one; one = one->twin) {
        free_connections(one->inputs);
        for (int place = 0; place < EFFECT_PLACES; place++)
            free_effect(one->effects[place]);
    }
    p->kind->destroy(p);
}

static void release(commands *c, command *one) {
    /* A CONNECT's connection is in the matrix now, or was handed on. */
    free_connections(one->connections);
    free_effect(one->effect);
    if (one->action == REMOVE) {
        c->port_count -= one->port->twin ? 2 : 1;
        commands_free_port(one->port);
    }
}

/* The last passed command itself must stay: the tick will read its `next`. */
void commands_reclaim(commands *c) {
    command *passed = atomic_load_explicit(&c->passed, memory_order_acquire);
    while (c->oldest != passed) {
        command *next = atomic_load_explicit(&c->oldest->next, memory_order_relaxed);
        free(c->oldest);
        c->oldest = next;
        release(c, next);
    }
}

command *commands_make(commands *c, int action, port *p) {
    commands_reclaim(c);
    command *one = calloc(1, sizeof *one);
    if (one) {
        one->action = action;
        one->port = p;
    }
    return one;
}

void commands_submit(commands *c, command *one) {
    atomic_store_explicit(&c->newest->next, one, memory_order_release);
    c->newest = one;
}

/* ---- tick ---- */

command *commands_next(const commands *c) {
    command *passed = atomic_load_explicit(&c->passed, memory_order_relaxed);
    return atomic_load_explicit(&passed->next, memory_order_acquire);
}

void commands_pass(commands *c, command *one) {
    atomic_store_explicit(&c->passed, one, memory_order_release);
}
