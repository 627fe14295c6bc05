/* What control orders of the tick. See commands.c. */
#pragma once

#include "port.h"

typedef struct command {
    _Atomic(struct command *) next;
    enum { ADD, REMOVE, CONNECT, DISCONNECT, EFFECT } action;
    port *port, *source;
    connection *connections; /* CONNECT: the new one; after the tick: those that it took out */
    int place;
    effect *effect; /* EFFECT: the new one; after the tick: the old one */
} command;

typedef struct {
    /* Control's own. */
    command *oldest, *newest;
    size_t port_count; /* commands not yet passed included */
    /* Shared. */
    _Atomic(command *) passed; /* the last one that the tick has applied; written by the tick */
} commands;

int commands_open(commands *c); /* or -1 and errno */
void commands_close(commands *c);

/* Control. */
command *commands_make(commands *c, int action, port *p); /* NULL: out of memory */
void commands_submit(commands *c, command *one);
void commands_reclaim(commands *c); /* frees what the tick has passed */
void commands_free_port(port *p);   /* one that no tick knows, with its twin, connections and effects */

/* Tick: the oldest one that is not passed, or NULL. */
command *commands_next(const commands *c);
void commands_pass(commands *c, command *one);
