/* A stream's media messages on its WebSocket, past Python.
 *
 * What it does: sends what the stream hears, a masked text frame each, and plays what the server sends to be
 * played; everything else that comes is handed to Python, byte for byte and in order. What Python has to say
 * goes out between the frames. All of it passes TLS (tls.c) where the server wants that.
 *
 * How it works: all bytes that come pass here from the first one on, so that it is known where a frame
 * begins. After the empty line that ends the answer to the handshake these are the frames of RFC 6455. One of
 * them is played here if it is a whole text message with a pattern that Python has found audio in
 * (pattern.c). All else is handed over; and until Python says that it has obeyed, what could be played waits,
 * so that no message overtakes another.
 *
 * in: what is handed over and not yet taken, then what waits. Nothing is read while something
 * waits to be taken: a slow reader holds up the server, not our memory.
 *
 * A frame is made when the socket has taken everything before it, by the stream, which drops the oldest
 * (stream.c): a server that does not read costs frames and no memory.
 *
 * A lane is control's and the lanes' thread's (lanes.c), one at a time: what is not static here takes its
 * lock.
 *
 * How to use it: see engine.h. */

#include <stdlib.h>
#include <string.h>

#include "conduit.h"
#include "lane.h"
#include "pattern.h"
#include "realtime.h"
#include "stream.h"
#include "websocket.h"

enum { READ_BYTES = 65536 };

struct lane {
    lanes *all;
    atomic_int told; /* in turns, and not yet taken note of by control */

    pthread_mutex_t lock; /* of all below */
    conduit way;
    port *stream;
    size_t message_bytes; /* of the stream's, as a frame, at most */
    bool closed;          /* the server has said so: it reads no more */
    bool held;            /* no frame before Python's next message */

    bool in_head, line_is_empty; /* of the answer to the handshake */
    uint64_t passing;            /* bytes of the present frame that are still to be handed over */
    bool fragmented;             /* a message was begun that is not at its end */
    uint64_t unobeyed;           /* messages handed over */
    patterns known;
    size_t handed, used; /* of in */

    bool on_its_way; /* a frame, which the socket has not taken for all we know */
    websocket_masks masks;

    uint8_t audio[LANE_MOST_BYTES];
    uint8_t in[4 + LANE_MOST_BYTES + READ_BYTES];
};

/* ---- what goes ---- */

/* The stream's next message, as a frame. */
static bool compose(lane *l) {
    if (l->held || l->closed || l->way.ended || l->way.deaf || !l->stream || conduit_unsent(&l->way))
        return false;
    uint8_t *payload = conduit_reserve(&l->way, l->message_bytes) + WEBSOCKET_HEAD;
    size_t size = stream_take(l->stream, (char *)payload);
    if (!size)
        return false;
    uint8_t *frame = websocket_text(&l->masks, payload, size);
    conduit_put(&l->way, frame, (size_t)(payload + size - frame));
    l->on_its_way = true;
    return true;
}

static void flush(lane *l) {
    conduit_flush(&l->way);
    if (!l->on_its_way || conduit_unsent(&l->way))
        return;
    l->on_its_way = false;
    if (l->stream && !l->way.deaf)
        stream_sent(l->stream);
}

static void send_all(lane *l) {
    flush(l);
    while (compose(l))
        flush(l);
}

/* ---- what comes ---- */

static bool play(lane *l, const pattern *p, const uint8_t *text, size_t size) {
    ssize_t bytes = pattern_audio(p, l->audio, text, size);
    return bytes > 0 &&
           stream_offer(l->stream, l->audio, (size_t)bytes, p->codec, p->rate_hz, l->way.came.ns) == 1;
}

/* How much of these belongs to the head of the handshake's answer, up to its empty line. */
static size_t pass_head(lane *l, const uint8_t *in, size_t size) {
    size_t n = 0;
    while (n < size && l->in_head) {
        uint8_t c = in[n++];
        if (c == '\n' && l->line_is_empty)
            l->in_head = false;
        else if (c != '\r')
            l->line_is_empty = c == '\n';
    }
    return n;
}

/* Whether a frame that is handed over is, or begins, what Python must obey before anything is played here. A
 * ping is not; what breaks RFC 6455 is, and will never be obeyed. */
static void note(lane *l, const uint8_t *in) {
    bool is_ping_or_pong =
        (in[0] == WEBSOCKET_PING || in[0] == WEBSOCKET_PONG) && in[1] <= WEBSOCKET_MOST_CONTROL;
    bool continues = l->fragmented && !(in[0] & ~WEBSOCKET_FINAL);
    if (continues) {
        l->fragmented = !(in[0] & WEBSOCKET_FINAL);
    } else if (!is_ping_or_pong) {
        l->fragmented = !(in[0] & WEBSOCKET_FINAL);
        l->unobeyed++;
        l->closed |= in[0] == WEBSOCKET_CLOSE;
        if (l->stream)
            stream_came(l->stream, l->way.came.ns);
    }
}

/* Bytes of in to keep for later (0), to hand over (*hand), or that were played. */
static size_t walk_on(lane *l, const uint8_t *in, size_t size, bool *hand) {
    *hand = true;
    if (l->in_head)
        return pass_head(l, in, size);
    if (!l->passing) {
        uint64_t payload;
        size_t head = websocket_head(in, size, &payload);
        if (!head)
            return 0;
        if (l->stream && !l->fragmented && in[0] == WEBSOCKET_TEXT && !(in[1] & WEBSOCKET_MASKED) &&
            payload <= LANE_MOST_BYTES) {
            if (size < head + payload)
                return 0;
            const pattern *p = patterns_find(&l->known, in + head, payload);
            if (p && l->unobeyed)
                return 0;
            if (p && play(l, p, in + head, payload)) {
                *hand = false;
                return head + payload;
            }
        }
        l->passing = head + (payload & INT64_MAX);
        note(l, in);
    }
    size_t n = l->passing < size ? (size_t)l->passing : size;
    l->passing -= n;
    return n;
}

static void walk(lane *l) {
    size_t at = l->handed, n;
    bool hand;
    while (at < l->used && (n = walk_on(l, l->in + at, l->used - at, &hand))) {
        if (hand) {
            memmove(l->in + l->handed, l->in + at, n);
            l->handed += n;
        }
        at += n;
    }
    memmove(l->in + l->handed, l->in + at, l->used - at);
    l->used -= at - l->handed;
}

static size_t room(const lane *l) {
    return l->handed || l->way.ended ? 0 : sizeof l->in - l->used;
}

static void receive(lane *l) {
    size_t got = 0;
    conduit_look(&l->way);
    do {
        l->used += got;
        walk(l);
    } while (room(l) && (got = conduit_receive(&l->way, l->in + l->used, room(l))));
}

static bool midway(const lane *l) {
    return l->passing && !l->way.ended;
}

/* ---- control's ---- */

static int news(const lane *l) {
    return (l->handed ? LANE_HANDED : 0) | (l->way.ended ? LANE_ENDED : 0) |
           (conduit_due(&l->way) ? LANE_UNSENT : 0);
}

static void lock(lane *l) {
    pthread_mutex_lock(&l->lock);
}

static int unlock(lane *l) {
    /* What waits for its rest waits in vain. */
    if (l->way.ended)
        l->handed = l->used;
    int now = news(l);
    pthread_mutex_unlock(&l->lock);
    return now;
}

static int lane_news(lane *l) {
    lock(l);
    return unlock(l);
}

int lane_end(lane *l) {
    lock(l);
    conduit_end(&l->way);
    return unlock(l);
}

int lane_shake_hands(lane *l) {
    lock(l);
    int done = conduit_shake_hands(&l->way);
    unlock(l);
    return done;
}

const char *lane_fault(lane *l) {
    lock(l);
    const char *fault = l->way.tls ? tls_fault(l->way.tls) : "";
    unlock(l);
    return fault;
}

int lane_receive(lane *l) {
    lock(l);
    receive(l);
    return unlock(l);
}

size_t lane_handed(lane *l) {
    lock(l);
    size_t handed = l->handed;
    unlock(l);
    return handed;
}

int lane_take(lane *l, void *out, size_t size) {
    lock(l);
    if (size > l->handed)
        size = l->handed;
    memcpy(out, l->in, size);
    l->used -= size;
    memmove(l->in, l->in + size, l->used);
    l->handed -= size;
    return unlock(l);
}

int lane_obeyed(lane *l) {
    lock(l);
    if (l->unobeyed && --l->unobeyed == 0)
        walk(l);
    return unlock(l);
}

bool lane_midway(lane *l) {
    lock(l);
    bool is = midway(l);
    unlock(l);
    return is;
}

void lane_learn(lane *l, const lane_pattern *p) {
    lock(l);
    patterns_learn(&l->known, p);
    unlock(l);
}

int lane_send(lane *l, const void *bytes, size_t size) {
    lock(l);
    conduit_put(&l->way, bytes, size);
    flush(l);
    return unlock(l);
}

int lane_farewell(lane *l) {
    lock(l);
    conduit_farewell(&l->way);
    flush(l);
    return unlock(l);
}

int lane_flush(lane *l) {
    lock(l);
    flush(l);
    return unlock(l);
}

size_t lane_unsent(lane *l) {
    lock(l);
    size_t size = conduit_unsent(&l->way);
    unlock(l);
    return size;
}

void lane_hold(lane *l, bool on) {
    lock(l);
    l->held = on;
    unlock(l);
}

/* ---- turns ---- */

int lane_turn(lane *l) {
    lock(l);
    bool waited = conduit_due(&l->way);
    if (!midway(l))
        receive(l);
    send_all(l);
    int now = unlock(l);
    /* Who was told once waits for the socket. */
    if (waited)
        now &= ~LANE_UNSENT;
    if (now)
        atomic_fetch_or(&l->told, now);
    return now;
}

lanes **lane_place(lane *l) {
    return &l->all;
}

int lane_told(lane *l) {
    /* It may have been taken care of since. */
    return atomic_exchange(&l->told, 0) ? lane_news(l) : 0;
}

int lane_join(lane *l, port *stream) {
    lock(l);
    l->message_bytes = WEBSOCKET_HEAD + stream_message_bytes(stream) + WEBSOCKET_TAIL;
    bool fits = conduit_reserve(&l->way, l->message_bytes);
    if (fits) {
        l->on_its_way = false;
        l->stream = stream;
        stream_begin(stream);
    }
    unlock(l);
    return fits ? 0 : -1;
}

void lane_leave(lane *l) {
    lock(l);
    l->stream = NULL;
    unlock(l);
}

lane *lane_create(int fd, const tls_trust *trust, const char *host) {
    lane *l = calloc(1, sizeof *l); /* memory that was never touched is none */
    if (!l || realtime_lock_init(&l->lock) < 0 || conduit_begin(&l->way, fd, trust, host) < 0) {
        free(l);
        return NULL;
    }
    l->in_head = true;
    return l;
}

void lane_destroy(lane *l) {
    if (!l)
        return;
    lanes_remove(l);
    pthread_mutex_destroy(&l->lock);
    conduit_free(&l->way);
    free(l);
}
