/* A socket's bytes, under TLS or not; one thread at a time for each. See conduit.c. */
#pragma once

#include <stdbool.h>

#include "arrival.h"
#include "tls.h"

typedef struct {
    int fd;         /* not to be touched when both have ended */
    tls *tls;       /* NULL: none */
    bool ended;     /* nothing more will come */
    bool deaf;      /* nothing more will go */
    arrival came;   /* what was read last */
    unsigned looks; /* at the socket, before others have their turn */

    size_t at, end, size; /* of out, which the socket has not taken */
    uint8_t *out;
} conduit;

int conduit_begin(conduit *c, int fd, const tls_trust *trust, const char *host); /* or -1 and errno */
void conduit_free(conduit *c);
void conduit_end(conduit *c); /* nothing more comes or goes */

/* tls_shake_hands; -1 also when the server was gone before. Without TLS it is done. */
int conduit_shake_hands(conduit *c);

/* Once before conduit_receive is called until it has no more (0). */
void conduit_look(conduit *c);
size_t conduit_receive(conduit *c, void *out, size_t size);

/* Where so many more bytes can stand behind what is unsent; NULL: there is no memory. */
uint8_t *conduit_reserve(conduit *c, size_t size);
void conduit_put(conduit *c, const void *bytes,
                 size_t size); /* they may stand where that said, if all is sent */
void conduit_farewell(conduit *c);
void conduit_flush(conduit *c);

/* Bytes that wait for the socket. */
static inline size_t conduit_due(const conduit *c) {
    return c->end - c->at;
}

/* These, and those that TLS can't send before more came. */
static inline size_t conduit_unsent(const conduit *c) {
    return conduit_due(c) + (c->tls && !c->ended && !c->deaf ? tls_kept(c->tls) : 0);
}
