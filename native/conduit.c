/* A non-blocking socket's two directions.
 *
 * What it does: reads what came, and keeps what goes until the socket takes it; what passes the socket is
 * under TLS (tls.c) if the server wants that.
 *
 * How it works: everything that is to go is put behind what waits, so that nothing mingles: TLS's own words,
 * a frame's rest. What cannot go any more is forgotten; the end is told when all is read that came before it,
 * as that may say why.
 *
 * How to use it: conduit_begin; with TLS conduit_shake_hands whenever the socket is readable, until it is
 * done. After conduit_put, and whenever the socket is writable, conduit_flush. */

#define _GNU_SOURCE
#include "conduit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    SEALED_BYTES = 16384, /* what a TLS record carries (RFC 8446 5.1) */
    SEALED_LOOKS = 4,
};

int conduit_begin(conduit *c, int fd, const tls_trust *trust, const char *host) {
    *c = (conduit){.fd = fd};
    arrival_begin(&c->came, fd);
    return trust && !(c->tls = tls_create(trust, host)) ? -1 : 0;
}

void conduit_free(conduit *c) {
    tls_destroy(c->tls);
    free(c->out);
}

void conduit_end(conduit *c) {
    c->ended = c->deaf = true;
    c->at = c->end = 0;
}

/* ---- what goes ---- */

uint8_t *conduit_reserve(conduit *c, size_t size) {
    size_t waiting = conduit_due(c), need = waiting + size;
    if (c->end + size > c->size && c->at) {
        memmove(c->out, c->out + c->at, waiting);
        c->at = 0;
        c->end = waiting;
    }
    if (need > c->size) {
        size_t larger = need > 2 * c->size ? need : 2 * c->size;
        uint8_t *out = realloc(c->out, larger);
        if (!out)
            return NULL;
        c->out = out;
        c->size = larger;
    }
    return c->out + c->end;
}

static bool put_plain(conduit *c, const void *bytes, size_t size) {
    uint8_t *to = conduit_reserve(c, size);
    if (!to)
        return false;
    memmove(to, bytes, size);
    c->end += size;
    return true;
}

/* What TLS has made. */
static bool put_owed(conduit *c) {
    size_t size = tls_owed(c->tls);
    if (!size)
        return true;
    uint8_t *to = conduit_reserve(c, size);
    if (!to)
        return false;
    tls_take_owed(c->tls, to, size);
    c->end += size;
    return true;
}

/* What it has made of its own accord. */
static void put_own(conduit *c) {
    if (!c->deaf && !put_owed(c))
        conduit_end(c);
}

void conduit_put(conduit *c, const void *bytes, size_t size) {
    if (c->deaf)
        return;
    bool done = c->tls ? tls_seal(c->tls, bytes, size) && put_owed(c) : put_plain(c, bytes, size);
    if (!done)
        conduit_end(c);
}

void conduit_farewell(conduit *c) {
    if (c->deaf || !c->tls)
        return;
    tls_farewell(c->tls);
    put_own(c);
}

void conduit_flush(conduit *c) {
    if (c->deaf || !conduit_due(c))
        return;
    ssize_t sent = send(c->fd, c->out + c->at, conduit_due(c), MSG_DONTWAIT | MSG_NOSIGNAL);
    c->deaf = sent < 0 && errno != EAGAIN && errno != EINTR;
    c->at += sent > 0 ? (size_t)sent : 0;
    if (c->deaf || !conduit_due(c))
        c->at = c->end = 0;
}

/* ---- what comes ---- */

/* 0: there was nothing, or the end. */
static size_t read_some(conduit *c, void *out, size_t size) {
    if (c->ended || c->looks == 0)
        return 0;
    ssize_t got = arrival_receive(&c->came, c->fd, out, size);
    c->ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    /* What fills it may have more behind it. */
    c->looks = got == (ssize_t)size ? c->looks - 1 : 0;
    return got > 0 ? (size_t)got : 0;
}

/* More for TLS; false: there is none. */
static bool fetch(conduit *c) {
    uint8_t sealed[SEALED_BYTES];
    size_t came = read_some(c, sealed, sizeof sealed);
    if (came && !tls_came(c->tls, sealed, came))
        c->ended = true;
    return came && !c->ended;
}

static size_t open_some(conduit *c, void *out, size_t size) {
    ssize_t got;
    while ((got = tls_open(c->tls, out, size)) == 0 && fetch(c))
        ;
    c->ended |= got < 0;
    put_own(c);
    return got > 0 ? (size_t)got : 0;
}

void conduit_look(conduit *c) {
    c->looks = c->tls ? SEALED_LOOKS : 1;
}

size_t conduit_receive(conduit *c, void *out, size_t size) {
    return c->tls ? open_some(c, out, size) : read_some(c, out, size);
}

int conduit_shake_hands(conduit *c) {
    int done;
    if (!c->tls)
        return 1;
    conduit_look(c);
    do {
        done = tls_shake_hands(c->tls);
        put_own(c);
        conduit_flush(c);
    } while (!done && fetch(c));
    return c->ended && !done ? -1 : done;
}
