/* A customer's media stream.
 *
 * What it does: makes a ready message - text before, a frame in base64, text after - of every frame that the
 * port hears, with numbers in the texts where they are wanted, and yields what the customer has sent to be
 * played (playback.c).
 *
 * How it works: the tick writes into a ring and never waits for the reader. The reader keeps to the last 100
 * frames (two seconds), so it is 28 ticks away from what the tick writes; if it is stopped for longer within
 * one copy, it sees that the tick has come round, and throws the copy away. For that the ring's words are
 * atomic, each for itself; without order among them such an access is an ordinary move. The codec, base64 and
 * the texts are the reader's work, not the tick's. The reader is control, or a lane on the lanes' thread:
 * what both use is under a lock, which the tick does not know.
 *
 * A stream that keeps what it hears while no lane has joined it has a longer ring, and its reader takes no
 * more than some frames a tick: that is how much faster than real time it catches up, and neither the socket
 * nor the other streams of the same turn have to bear it all at once. The ring has samples, so that a minute
 * takes as much memory in every codec and rate.
 *
 * Rates above 8000 Hz are resampled, with the filter's state kept from frame to frame; every one of them has
 * a whole number of samples in 20 ms.
 *
 * How to use it: see engine.h. */

#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "hop.h"
#include "playback.h"
#include "realtime.h"
#include "stream.h"

enum {
    WAITING_FRAMES = 100, /* at least */
    MARGIN_FRAMES = 28,
    MOST_A_TICK = 4,    /* of a stream that keeps */
    MOST_SAMPLES = 960, /* 48000 Hz */
    FRAME_WORDS = FRAME_SAMPLES * sizeof(int16_t) / sizeof(uint64_t),
    SLOT_WORDS = FRAME_WORDS + 1, /* and when it was made */
    MOST_DIGITS = 20,             /* of 64 bits */
};

typedef struct {
    port base;
    int codec;
    bool uplink, keeps;
    playback queue;

    uint32_t frame_samples;
    size_t frame_bytes;
    _Atomic uint64_t written; /* frames since the beginning */
    uint64_t waiting_frames, ring_frames;
    _Atomic uint64_t *ring;

    /* Control's and its lane's, one at a time: what follows, and control's part of the queue. */
    pthread_mutex_t lock;
    resampler *up; /* NULL at 8000 Hz */
    uint64_t read, taken, kept, dropped, offered, refused_bytes, sequence;
    uint64_t gap_end; /* the first frame that was heard after it; 0: all that was heard before is sent */
    uint64_t paced_at, burst;
    int64_t made_ns; /* of the frame that is on its way; 0: not to be measured */
    int64_t came_ns; /* of what control is about to play; 0: not to be measured */
    hop to_socket;
    char *prefix, *suffix;
    size_t prefix_bytes, suffix_bytes, most_bytes;
} stream;

static void write_slot(stream *s, const uint64_t *words) {
    uint64_t written = atomic_load_explicit(&s->written, memory_order_relaxed);
    _Atomic uint64_t *slot = s->ring + written % s->ring_frames * SLOT_WORDS;
    /* A reader that sees a word of this frame must also see that all before it was written. */
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < SLOT_WORDS; i++)
        atomic_store_explicit(&slot[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&s->written, written + 1, memory_order_release);
}

static void stream_hear(port *base, const int16_t *frame) {
    stream *s = (stream *)base;
    if (!s->uplink)
        return;
    uint64_t words[SLOT_WORDS];
    memcpy(words, frame, FRAME_WORDS * sizeof words[0]);
    words[FRAME_WORDS] = (uint64_t)now_ns();
    write_slot(s, words);
    engine_made(base->engine);
}

static void stream_yield(port *base) {
    playback_yield(&((stream *)base)->queue, base);
}

/* Leaves out what is too old by now; returns how many frames were ever written. */
static uint64_t keep_up(stream *s) {
    uint64_t written = atomic_load_explicit(&s->written, memory_order_acquire);
    if (written - s->read > s->waiting_frames) {
        s->dropped += written - s->waiting_frames - s->read;
        s->read = written - s->waiting_frames;
    }
    return written;
}

/* Whether one more may be taken in this tick. */
static bool in_pace(stream *s, uint64_t written) {
    if (s->paced_at != written) {
        s->paced_at = written;
        s->burst = 0;
    }
    return !s->keeps || s->burst < MOST_A_TICK;
}

/* A text, with its numbers put in; returns where it ends. */
static char *put_text(char *out, const char *text, size_t size, const uint64_t *numbers) {
    for (const char *end = text + size; text < end; text++) {
        if (*text >= STREAM_SEQUENCE && *text <= STREAM_TIME) {
            char digits[MOST_DIGITS], *first = digits + sizeof digits;
            uint64_t left = numbers[*text - STREAM_SEQUENCE];
            do
                *--first = (char)('0' + left % 10);
            while (left /= 10);
            size_t count = (size_t)(digits + sizeof digits - first);
            memcpy(out, first, count);
            out += count;
        } else {
            *out++ = *text;
        }
    }
    return out;
}

/* Copies the oldest frame that is there; false: none, or not now. */
static bool copy_slot(stream *s, uint64_t *words) {
    while (true) {
        uint64_t written = keep_up(s);
        if (s->read == written) {
            s->gap_end = 0;
            return false;
        }
        if (!in_pace(s, written))
            return false;
        const _Atomic uint64_t *slot = s->ring + s->read % s->ring_frames * SLOT_WORDS;
        for (size_t i = 0; i < SLOT_WORDS; i++)
            words[i] = atomic_load_explicit(&slot[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&s->written, memory_order_relaxed) - s->read < s->ring_frames)
            return true;
    }
}

static char *put_audio(stream *s, char *out, const uint64_t *words) {
    int16_t frame[FRAME_SAMPLES], resampled[MOST_SAMPLES];
    uint8_t encoded[sizeof resampled];
    const int16_t *samples = frame;
    memcpy(frame, words, sizeof frame);
    if (s->up) {
        uint32_t count = FRAME_SAMPLES;
        resampler_run(s->up, resampled, s->frame_samples, frame, &count);
        samples = resampled;
    }
    codec_encode(s->codec, encoded, samples, s->frame_samples);
    base64_encode(out, encoded, s->frame_bytes);
    return out + base64_size(s->frame_bytes);
}

static size_t take(stream *s, char *out) {
    uint64_t words[SLOT_WORDS];
    if (!copy_slot(s, words))
        return 0;
    s->kept += s->read < s->gap_end;
    s->made_ns = s->gap_end ? 0 : (int64_t)words[FRAME_WORDS];
    s->read++;
    s->taken++;
    s->burst++;
    const uint64_t numbers[] = {++s->sequence, s->read, (s->read - 1) * TICK_MS};
    char *end = put_text(out, s->prefix, s->prefix_bytes, numbers);
    end = put_text(put_audio(s, end, words), s->suffix, s->suffix_bytes, numbers);
    return (size_t)(end - out);
}

static stream *locked(port *base) {
    stream *s = (stream *)base;
    pthread_mutex_lock(&s->lock);
    return s;
}

size_t stream_take(port *base, char *out) {
    stream *s = locked(base);
    size_t size = take(s, out);
    pthread_mutex_unlock(&s->lock);
    return size;
}

uint64_t stream_next(port *base) {
    stream *s = locked(base);
    uint64_t next = ++s->sequence;
    pthread_mutex_unlock(&s->lock);
    return next;
}

void stream_begin(port *base) {
    stream *s = locked(base);
    uint64_t written = atomic_load_explicit(&s->written, memory_order_acquire);
    if (s->keeps)
        s->gap_end = written;
    else
        s->read = written;
    pthread_mutex_unlock(&s->lock);
}

void stream_sent(port *base) {
    stream *s = locked(base);
    if (s->made_ns)
        hop_note(&s->to_socket, now_ns() - s->made_ns);
    s->made_ns = 0;
    pthread_mutex_unlock(&s->lock);
}

void stream_came(port *base, int64_t when_ns) {
    stream *s = locked(base);
    s->came_ns = when_ns;
    pthread_mutex_unlock(&s->lock);
}

size_t stream_message_bytes(const port *base) {
    return ((const stream *)base)->most_bytes;
}

int stream_play(port *base, const void *audio, size_t size, int codec, uint32_t rate_hz) {
    stream *s = locked(base);
    int queued = playback_play(&s->queue, audio, size, codec, rate_hz, s->came_ns);
    s->came_ns = 0;
    if (queued == 0)
        s->refused_bytes += size;
    pthread_mutex_unlock(&s->lock);
    return queued;
}

int stream_offer(port *base, const void *audio, size_t size, int codec, uint32_t rate_hz, int64_t came_ns) {
    stream *s = locked(base);
    int queued = playback_play(&s->queue, audio, size, codec, rate_hz, came_ns);
    s->offered += queued == 1;
    pthread_mutex_unlock(&s->lock);
    return queued;
}

int stream_clear(port *base, int64_t mark) {
    stream *s = locked(base);
    int queued = playback_clear(&s->queue, mark);
    pthread_mutex_unlock(&s->lock);
    return queued;
}

int stream_checkpoint(port *base, int64_t mark) {
    stream *s = locked(base);
    int queued = playback_checkpoint(&s->queue, mark);
    pthread_mutex_unlock(&s->lock);
    return queued;
}

void stream_read_stats(port *base, stream_stats *out) {
    stream *s = locked(base);
    uint64_t written = keep_up(s);
    *out = (stream_stats){
        .taken_frames = s->taken,
        .kept_frames = s->kept,
        .waiting_frames = written - s->read,
        .dropped_frames = s->dropped,
        .lane_messages = s->offered,
        .refused_bytes = s->refused_bytes,
        .queued_ms = playback_queued_ms(&s->queue),
        .to_socket = hop_read(&s->to_socket),
        .to_engine = hop_read(&s->queue.waited),
    };
    pthread_mutex_unlock(&s->lock);
}

static void stream_destroy(port *base) {
    stream *s = (stream *)base;
    playback_free(&s->queue);
    resampler_destroy(s->up);
    free(s->ring);
    free(s->prefix);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* The two texts stand in one block. */
static bool copy_texts(stream *s, const stream_options *o) {
    s->prefix = malloc(o->prefix_bytes + o->suffix_bytes + 1);
    if (!s->prefix)
        return false;
    s->prefix_bytes = o->prefix_bytes;
    s->suffix_bytes = o->suffix_bytes;
    s->suffix = s->prefix + o->prefix_bytes;
    memcpy(s->prefix, o->prefix, o->prefix_bytes);
    memcpy(s->suffix, o->suffix, o->suffix_bytes);
    for (size_t i = 0; i < o->prefix_bytes + o->suffix_bytes; i++)
        s->most_bytes += s->prefix[i] >= STREAM_SEQUENCE && s->prefix[i] <= STREAM_TIME ? MOST_DIGITS : 1;
    return true;
}

static bool prepare_uplink(stream *s, const stream_options *o) {
    s->frame_samples = o->rate_hz * TICK_MS / 1000;
    s->frame_bytes = s->frame_samples * codec_sample_bytes(s->codec);
    s->most_bytes += base64_size(s->frame_bytes);
    s->keeps = o->kept_frames;
    s->waiting_frames = o->kept_frames > WAITING_FRAMES ? o->kept_frames : WAITING_FRAMES;
    s->ring_frames = s->waiting_frames + MARGIN_FRAMES;
    s->ring = calloc(s->ring_frames * SLOT_WORDS, sizeof *s->ring);
    if (o->rate_hz != RATE_HZ)
        s->up = resampler_create(RATE_HZ, o->rate_hz);
    return s->ring && (s->up || o->rate_hz == RATE_HZ);
}

port *stream_create(engine *e, const stream_options *o) {
    static const port_kind kind = {.yield = stream_yield, .take = stream_hear, .destroy = stream_destroy};
    if (playback_rate_index(o->rate_hz) < 0 || (o->codec != CODEC_L16 && o->rate_hz != RATE_HZ) ||
        o->kept_frames > STREAM_MOST_KEPT) {
        errno = EINVAL;
        return NULL;
    }
    stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->codec = o->codec;
    s->uplink = o->uplink;
    if (realtime_lock_init(&s->lock) < 0) {
        free(s);
        return NULL;
    }
    if (playback_init(&s->queue) < 0 || !copy_texts(s, o) || !prepare_uplink(s, o)) {
        stream_destroy(&s->base);
        errno = ENOMEM;
        return NULL;
    }
    return engine_add(e, &s->base, &kind);
}
