/* A customer's media stream.
 *
 * What it does: makes a ready message - text before, a frame in base64, text after - of every frame that the
 * port hears, with numbers in the texts where they are wanted, and yields what the customer has sent to be
 * played (playback.c).
 *
 * How it works: the tick encodes into a ring of 128 frames and never waits for the reader. The reader keeps
 * to the last 100 (two seconds), so it is 28 ticks away from what the tick writes; if it is stopped for
 * longer within one copy, it sees that the tick has come round, and throws the copy away. For that the ring's
 * words are atomic, each for itself; without order among them such an access is an ordinary move. Base64 and
 * the texts are the reader's work, not the tick's. The reader is control, or a lane on the lanes' thread:
 * what both use is under a lock, which the tick does not know.
 *
 * Rates above 8000 Hz are resampled, with the filter's state kept from frame to frame; every one of them has
 * a whole number of samples in 20 ms.
 *
 * How to use it: see engine.h. */

#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "playback.h"
#include "realtime.h"
#include "stream.h"

enum {
    RING_FRAMES = 128,
    KEPT_FRAMES = 100,
    MOST_SAMPLES = 960, /* 48000 Hz */
    WORD = sizeof(uint64_t),
    MOST_WORDS = 2 * MOST_SAMPLES / WORD,
    MOST_DIGITS = 20, /* of 64 bits */
};

typedef struct {
    port base;
    int codec;
    bool uplink;
    playback queue;

    resampler *up; /* NULL at 8000 Hz */
    uint32_t frame_samples;
    size_t frame_bytes, frame_words;
    _Atomic uint64_t written; /* frames since the beginning */
    _Atomic uint64_t *ring;

    /* Control's and its lane's, one at a time: what follows, and control's part of the queue. */
    pthread_mutex_t lock;
    uint64_t read, taken, dropped, offered, refused_bytes, sequence;
    char *prefix, *suffix;
    size_t prefix_bytes, suffix_bytes, most_bytes;
} stream;

static void write_frame(stream *s, const uint64_t *words) {
    uint64_t written = atomic_load_explicit(&s->written, memory_order_relaxed);
    _Atomic uint64_t *slot = s->ring + written % RING_FRAMES * s->frame_words;
    /* A reader that sees a word of this frame must also see that all before it was written. */
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < s->frame_words; i++)
        atomic_store_explicit(&slot[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&s->written, written + 1, memory_order_release);
}

static void stream_hear(port *base, const int16_t *frame) {
    stream *s = (stream *)base;
    if (!s->uplink)
        return;
    int16_t resampled[MOST_SAMPLES];
    uint64_t words[MOST_WORDS];
    if (s->up) {
        uint32_t count = FRAME_SAMPLES;
        resampler_run(s->up, resampled, s->frame_samples, frame, &count);
        frame = resampled;
    }
    words[s->frame_words - 1] = 0; /* 44100 Hz ends within a word */
    codec_encode(s->codec, words, frame, s->frame_samples);
    write_frame(s, words);
    engine_made(base->engine);
}

static void stream_yield(port *base) {
    playback_yield(&((stream *)base)->queue, base);
}

/* Leaves out what is too old by now; returns how many frames were ever written. */
static uint64_t keep_up(stream *s) {
    uint64_t written = atomic_load_explicit(&s->written, memory_order_acquire);
    if (written - s->read > KEPT_FRAMES) {
        s->dropped += written - KEPT_FRAMES - s->read;
        s->read = written - KEPT_FRAMES;
    }
    return written;
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

static size_t take(stream *s, char *out) {
    uint64_t words[MOST_WORDS];
    while (true) {
        if (s->read == keep_up(s))
            return 0;
        const _Atomic uint64_t *slot = s->ring + s->read % RING_FRAMES * s->frame_words;
        for (size_t i = 0; i < s->frame_words; i++)
            words[i] = atomic_load_explicit(&slot[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&s->written, memory_order_relaxed) - s->read < RING_FRAMES)
            break;
    }
    s->read++;
    s->taken++;
    const uint64_t numbers[] = {++s->sequence, s->read, (s->read - 1) * TICK_MS};
    char *end = put_text(out, s->prefix, s->prefix_bytes, numbers);
    base64_encode(end, (const uint8_t *)words, s->frame_bytes);
    end = put_text(end + base64_size(s->frame_bytes), s->suffix, s->suffix_bytes, numbers);
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

void stream_skip(port *base) {
    stream *s = locked(base);
    s->read = atomic_load_explicit(&s->written, memory_order_acquire);
    pthread_mutex_unlock(&s->lock);
}

size_t stream_message_bytes(const port *base) {
    return ((const stream *)base)->most_bytes;
}

int stream_play(port *base, const void *audio, size_t size, int codec, uint32_t rate_hz) {
    stream *s = locked(base);
    int queued = playback_play(&s->queue, audio, size, codec, rate_hz);
    if (queued == 0)
        s->refused_bytes += size;
    pthread_mutex_unlock(&s->lock);
    return queued;
}

int stream_offer(port *base, const void *audio, size_t size, int codec, uint32_t rate_hz) {
    stream *s = locked(base);
    int queued = playback_play(&s->queue, audio, size, codec, rate_hz);
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
    keep_up(s);
    *out = (stream_stats){
        .taken_frames = s->taken,
        .dropped_frames = s->dropped,
        .lane_messages = s->offered,
        .refused_bytes = s->refused_bytes,
        .queued_ms = playback_queued_ms(&s->queue),
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

static bool prepare_uplink(stream *s, uint32_t rate_hz) {
    s->frame_samples = rate_hz * TICK_MS / 1000;
    s->frame_bytes = s->frame_samples * codec_sample_bytes(s->codec);
    s->frame_words = (s->frame_bytes + WORD - 1) / WORD;
    s->most_bytes += base64_size(s->frame_bytes);
    s->ring = calloc(RING_FRAMES * s->frame_words, sizeof *s->ring);
    if (rate_hz != RATE_HZ)
        s->up = resampler_create(RATE_HZ, rate_hz);
    return s->ring && (s->up || rate_hz == RATE_HZ);
}

port *stream_create(engine *e, const stream_options *o) {
    static const port_kind kind = {.yield = stream_yield, .take = stream_hear, .destroy = stream_destroy};
    if (playback_rate_index(o->rate_hz) < 0 || (o->codec != CODEC_L16 && o->rate_hz != RATE_HZ)) {
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
    if (playback_init(&s->queue) < 0 || !copy_texts(s, o) || !prepare_uplink(s, o->rate_hz)) {
        stream_destroy(&s->base);
        errno = ENOMEM;
        return NULL;
    }
    return engine_add(e, &s->base, &kind);
}
