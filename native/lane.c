/* A stream's media messages on its WebSocket, past Python.
 *
 * What it does: sends what the stream hears, a masked text frame each, and plays what the server sends to be
 * played; everything else that comes is handed to Python, byte for byte and in order.
 *
 * How it works: all bytes that come pass here from the first one on, so that it is known where a frame
 * begins. After the empty line that ends the answer to the handshake these are the frames of RFC 6455. One of
 * them is played here if it is a whole text message that equals a pattern but for the base64 between the
 * pattern's two parts; patterns are learned: Python, which has understood a message, tells what stood before
 * and after its payload. So no cloud's words and no JSON are known here, and what is recognised can only mean
 * what Python found. All else is handed over; and until Python says that it has obeyed, what could be played
 * waits, so that no message overtakes another.
 *
 * in: what is handed over and not yet taken, then what waits. Nothing is read while something
 * waits to be taken: a slow reader holds up the server, not our memory.
 *
 * Frames go out as the stream made them (stream.c drops the oldest). What the socket does not take of a frame
 * is Python's to send, and the lane holds back until that has gone.
 *
 * A lane is control's and the lanes' thread's (lanes.c), one at a time: what is not static here takes its
 * lock.
 *
 * How to use it: see engine.h. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "codec.h"
#include "lane.h"
#include "realtime.h"
#include "stream.h"

enum {
    READ_BYTES = 65536,
    FEED_BYTES = 16384, /* what a TLS record carries (RFC 8446 5.1) */
    PATTERNS = 4,
    PATTERN_BYTES = 1024,
    MASKS = 64, /* 256 bytes are what getrandom gives without fail */
    OUT_HEAD = 14,
    OUT_TAIL = 7, /* masked with it, not sent: masking takes eight bytes at a time */
    /* RFC 6455 5.2: the first byte of a frame, without an extension's bits; the second's upper bit. */
    FINAL = 0x80,
    FINAL_TEXT = 0x81,
    PING = 0x89,
    PONG = 0x8A,
    FINAL_CLOSE = 0x88,
    MASKED = 0x80,
    MOST_CONTROL = 125,
};

/* Looks from one that asks the kernel when the bytes came to the next: it costs more than a tenth of what
 * playing them does. What comes after a pause is measured, and of a steady stream one frame in eight. */
enum { LOOKS = 16 };

/* Older than that is no byte that was left unread by us. */
static const int64_t MOST_AGE_NS = INT64_C(10000000000);

typedef struct {
    size_t before, after; /* bytes */
    int codec;
    uint32_t rate_hz;
    char text[PATTERN_BYTES];
} pattern;

struct lane {
    lanes *all;
    atomic_int told; /* in turns, and not yet taken note of by control */

    pthread_mutex_t lock; /* of all below */
    int fd;               /* -1: not to be touched */
    bool sealed;
    port *stream;
    bool ended, held;
    bool closed;             /* the server has said so: it reads no more */
    int64_t came_ns, due_ns; /* what was read last; sealed: the oldest that was not; 0: unknown, none */
    unsigned looks;          /* since the last that measured */
    bool on_its_way;         /* a frame, which the socket has not taken for all we know */

    bool in_head, line_is_empty; /* of the answer to the handshake */
    uint64_t passing;            /* bytes of the present frame that are still to be handed over */
    bool fragmented;             /* a message was begun that is not at its end */
    uint64_t unobeyed;           /* messages handed over */
    unsigned learned;
    pattern patterns[PATTERNS];
    size_t handed, used;

    size_t out_at, out_end; /* what the socket has not taken */
    unsigned masks_left;
    uint32_t masks[MASKS];
    uint8_t *out;

    uint8_t audio[LANE_MOST_BYTES];
    uint8_t in[4 + LANE_MOST_BYTES + READ_BYTES];
};

/* ---- what comes ---- */

/* JSON may write two of base64's characters otherwise: PHP the one, .NET the other. */
static size_t unescape(uint8_t *out, const uint8_t *in, size_t size) {
    uint8_t *begin = out;
    for (const uint8_t *end = in + size; in < end; out++) {
        size_t left = (size_t)(end - in);
        if (left >= 2 && memcmp(in, "\\/", 2) == 0) {
            *out = '/';
            in += 2;
        } else if (left >= 6 && (memcmp(in, "\\u002B", 6) == 0 || memcmp(in, "\\u002b", 6) == 0)) {
            *out = '+';
            in += 6;
        } else {
            *out = *in++;
        }
    }
    return (size_t)(out - begin);
}

/* The pattern that a message has; NULL: none. */
static const pattern *recognise(const lane *l, const uint8_t *text, size_t size) {
    for (unsigned i = 0; i < PATTERNS && i < l->learned; i++) {
        const pattern *p = &l->patterns[i];
        if (size > p->before + p->after && memcmp(text, p->text, p->before) == 0 &&
            memcmp(text + size - p->after, p->text + p->before, p->after) == 0)
            return p;
    }
    return NULL;
}

static bool play(lane *l, const pattern *p, const uint8_t *text, size_t size) {
    text += p->before;
    size -= p->before + p->after;
    if (memchr(text, '\\', size)) {
        size = unescape(l->audio, text, size);
        text = l->audio;
    }
    ssize_t bytes = base64_decode(l->audio, text, size);
    return bytes > 0 &&
           stream_offer(l->stream, l->audio, (size_t)bytes, p->codec, p->rate_hz, l->came_ns) == 1;
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

/* The size of a frame's head; 0: more of it must come. */
static size_t read_head(const uint8_t *in, size_t size, uint64_t *payload) {
    if (size < 2)
        return 0;
    size_t length = in[1] & 127, digits = length == 127 ? 8 : length == 126 ? 2 : 0;
    if (size < 2 + digits)
        return 0;
    *payload = digits ? 0 : length;
    for (size_t i = 0; i < digits; i++)
        *payload = *payload << 8 | in[2 + i];
    return 2 + digits + (in[1] & MASKED ? 4 : 0);
}

/* Whether a frame that is handed over is, or begins, what Python must obey before anything is played here. A
 * ping is not; what breaks RFC 6455 is, and will never be obeyed. */
static void note(lane *l, const uint8_t *in) {
    bool is_ping_or_pong = (in[0] == PING || in[0] == PONG) && in[1] <= MOST_CONTROL;
    bool continues = l->fragmented && !(in[0] & ~FINAL);
    if (continues) {
        l->fragmented = !(in[0] & FINAL);
    } else if (!is_ping_or_pong) {
        l->fragmented = !(in[0] & FINAL);
        l->unobeyed++;
        l->closed |= in[0] == FINAL_CLOSE;
        if (l->stream)
            stream_came(l->stream, l->came_ns);
    }
}

/* Bytes of in to keep for later (0), to hand over (*hand), or that were played. */
static size_t walk_on(lane *l, const uint8_t *in, size_t size, bool *hand) {
    *hand = true;
    if (l->in_head)
        return pass_head(l, in, size);
    if (!l->passing) {
        uint64_t payload;
        size_t head = read_head(in, size, &payload);
        if (!head)
            return 0;
        if (l->stream && !l->fragmented && in[0] == FINAL_TEXT && !(in[1] & MASKED) &&
            payload <= LANE_MOST_BYTES) {
            if (size < head + payload)
                return 0;
            const pattern *p = recognise(l, in + head, payload);
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
    return l->handed || l->ended ? 0 : sizeof l->in - l->used;
}

static int news(const lane *l) {
    return (l->handed ? LANE_HANDED : 0) | (l->ended ? LANE_ENDED : 0) |
           (l->out_at < l->out_end ? LANE_UNSENT : 0) | (room(l) < FEED_BYTES ? LANE_FULL : 0);
}

static void end(lane *l) {
    l->ended = true;
    l->handed = l->used;
    l->fd = -1;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* When the kernel had the newest of these bytes, by now_ns; now, when it does not say. Its clock is that of
 * the day, which somebody may just have set. */
static int64_t arrival_ns(struct msghdr *m) {
    int64_t now = now_ns(), age = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct timespec t;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&t, CMSG_DATA(c), sizeof t);
        age = clock_ns(CLOCK_REALTIME) - (t.tv_sec * INT64_C(1000000000) + t.tv_nsec);
    }
    return age > 0 && age < MOST_AGE_NS ? now - age : now;
}

static ssize_t receive_measured(lane *l, void *out, size_t size, int flags, int64_t *came_ns) {
    _Alignas(struct cmsghdr) char told[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {.iov_base = out, .iov_len = size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = told, .msg_controllen = sizeof told};
    ssize_t got = recvmsg(l->fd, &m, MSG_DONTWAIT | flags);
    if (got > 0)
        *came_ns = arrival_ns(&m);
    return got;
}

static ssize_t receive_some(lane *l, void *out, size_t size) {
    l->came_ns = 0;
    if (++l->looks < LOOKS)
        return recv(l->fd, out, size, MSG_DONTWAIT);
    ssize_t got = receive_measured(l, out, size, 0, &l->came_ns);
    if (got > 0)
        l->looks = 0;
    return got;
}

static void receive(lane *l) {
    size_t most = l->fd < 0 || l->sealed ? 0 : room(l);
    ssize_t got = most ? receive_some(l, l->in + l->used, most) : 0;
    if (got > 0)
        l->used += (size_t)got;
    else if (most && (got == 0 || (errno != EAGAIN && errno != EINTR)))
        end(l);
    walk(l);
}

static bool midway(const lane *l) {
    return l->passing && !l->ended;
}

static void lock(lane *l) {
    pthread_mutex_lock(&l->lock);
}

static int unlock(lane *l) {
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
    end(l);
    return unlock(l);
}

int lane_feed(lane *l, const void *bytes, size_t size) {
    lock(l);
    bool fits = size <= room(l);
    if (fits) {
        memcpy(l->in + l->used, bytes, size);
        l->used += size;
        l->came_ns = l->due_ns ? l->due_ns : now_ns();
        l->due_ns = 0;
        walk(l);
    }
    int now = unlock(l);
    errno = ENOBUFS;
    return fits ? now : -1;
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

static void learn(lane *l, const lane_pattern *p) {
    pattern *own = &l->patterns[l->learned++ % PATTERNS];
    own->before = p->before_bytes;
    own->after = p->after_bytes;
    own->codec = p->codec;
    own->rate_hz = p->rate_hz;
    memcpy(own->text, p->before, own->before);
    memcpy(own->text + own->before, p->after, own->after);
}

void lane_learn(lane *l, const lane_pattern *p) {
    if (p->before_bytes + p->after_bytes > PATTERN_BYTES)
        return;
    lock(l);
    learn(l, p);
    unlock(l);
}

/* ---- what goes ---- */

/* RFC 6455 10.3: nobody may foresee a mask. */
static uint32_t next_mask(lane *l) {
    if (l->masks_left == 0) {
        if (getrandom(l->masks, sizeof l->masks, 0) != sizeof l->masks)
            abort();
        l->masks_left = MASKS;
    }
    return l->masks[--l->masks_left];
}

/* Writes the head so that it ends where the payload begins; returns where it begins. */
static uint8_t *write_head(uint8_t *payload, size_t size, uint32_t mask) {
    uint8_t *head = payload - sizeof mask;
    memcpy(head, &mask, sizeof mask);
    if (size < 126) {
        *--head = (uint8_t)(MASKED | size);
    } else {
        size_t digits = size <= UINT16_MAX ? 2 : 8, left = size;
        for (size_t i = 0; i < digits; i++, left >>= 8)
            *--head = (uint8_t)left;
        *--head = MASKED | (digits == 2 ? 126 : 127);
    }
    *--head = FINAL_TEXT;
    return head;
}

/* Unless something is still to go before the frame's end. */
static void note_sent(lane *l) {
    if (!l->on_its_way || l->held || l->out_at < l->out_end)
        return;
    l->on_its_way = false;
    if (l->stream)
        stream_sent(l->stream);
}

/* The stream's next message as a frame in out. */
static bool compose(lane *l) {
    uint8_t *payload = l->out + OUT_HEAD;
    if (l->held || l->closed || l->out_at < l->out_end || !l->stream)
        return false;
    size_t size = stream_take(l->stream, (char *)payload);
    if (!size)
        return false;
    uint32_t mask = next_mask(l);
    uint64_t word, key = mask | (uint64_t)mask << 32;
    for (size_t i = 0; i < size; i += sizeof word) {
        memcpy(&word, payload + i, sizeof word);
        word ^= key;
        memcpy(payload + i, &word, sizeof word);
    }
    l->out_at = (size_t)(write_head(payload, size, mask) - l->out);
    l->out_end = OUT_HEAD + size;
    l->on_its_way = true;
    return true;
}

static void send_all(lane *l) {
    while (l->fd >= 0 && !l->sealed && compose(l)) {
        size_t size = l->out_end - l->out_at;
        ssize_t sent = send(l->fd, l->out + l->out_at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            end(l);
        l->out_at += sent > 0 ? (size_t)sent : 0;
        l->held = l->out_at < l->out_end;
        note_sent(l);
    }
}

size_t lane_frame_bytes(lane *l) {
    lock(l);
    size_t size = l->stream ? OUT_HEAD + stream_message_bytes(l->stream) : 0;
    unlock(l);
    return size;
}

/* Who asks for the next one has sent the last one, or holds. */
static size_t take_frame(lane *l, void *out) {
    note_sent(l);
    if (l->out_at == l->out_end && !compose(l))
        return 0;
    size_t size = l->out_end - l->out_at;
    memcpy(out, l->out + l->out_at, size);
    l->out_at = l->out_end;
    return size;
}

size_t lane_frame(lane *l, void *out) {
    lock(l);
    size_t size = take_frame(l, out);
    unlock(l);
    return size;
}

void lane_hold(lane *l, bool on) {
    lock(l);
    l->held = on;
    note_sent(l);
    unlock(l);
}

/* ---- both ---- */

static void turn(lane *l) {
    if (!midway(l))
        receive(l);
    send_all(l);
}

/* Whether there is something to be read, and room for it. */
static bool sealed_turn(lane *l) {
    uint8_t first;
    int64_t came_ns = 0;
    bool asks = l->fd >= 0 && room(l) >= FEED_BYTES && !midway(l);
    compose(l);
    bool due = asks && (receive_measured(l, &first, 1, MSG_PEEK, &came_ns) >= 0 || errno != EAGAIN);
    if (!l->due_ns)
        l->due_ns = came_ns;
    return due;
}

int lane_turn(lane *l) {
    bool due = false;
    lock(l);
    if (l->sealed)
        due = sealed_turn(l);
    else
        turn(l);
    int one = unlock(l) | (due ? LANE_DUE : 0);
    if (one)
        atomic_fetch_or(&l->told, one);
    return one;
}

lanes **lane_place(lane *l) {
    return &l->all;
}

int lane_told(lane *l) {
    int told = atomic_exchange(&l->told, 0);
    /* It may have been taken care of since; only a turn looks whether something is due. */
    return told ? lane_news(l) | (told & LANE_DUE) : 0;
}

static int join(lane *l, port *stream) {
    uint8_t *out = malloc(OUT_HEAD + stream_message_bytes(stream) + OUT_TAIL);
    if (!out)
        return -1;
    free(l->out);
    l->out = out;
    l->out_at = l->out_end = 0;
    l->on_its_way = false;
    l->stream = stream;
    stream_begin(stream);
    return 0;
}

int lane_join(lane *l, port *stream) {
    lock(l);
    int joined = join(l, stream);
    unlock(l);
    return joined;
}

void lane_leave(lane *l) {
    lock(l);
    l->stream = NULL;
    unlock(l);
}

lane *lane_create(int fd, bool sealed) {
    lane *l = calloc(1, sizeof *l); /* memory that was never touched is none */
    if (!l || realtime_lock_init(&l->lock) < 0) {
        free(l);
        return NULL;
    }
    l->fd = fd;
    l->sealed = sealed;
    l->in_head = true;
    l->looks = LOOKS;
    /* Of use only for a figure. */
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
    return l;
}

void lane_destroy(lane *l) {
    if (!l)
        return;
    lanes_remove(l);
    pthread_mutex_destroy(&l->lock);
    free(l->out);
    free(l);
}
