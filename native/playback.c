/* The playback queue of a stream.
 *
 * What it does: keeps up to ten minutes of encoded audio, and up to 128 MiB, in pieces of any size, codec and
 * rate, with checkpoints in between; plays it frame by frame; forgets it when told to clear.
 *
 * How it works: a linked list. Control appends items, and frees those that the tick has passed; the tick only
 * follows the links, decodes and resamples, exactly as much as a frame needs. There is always one item that
 * was passed last, to which the next one is linked.
 *
 * A clear must not wait for the tick to walk there, so it is put on a second list, too, *before* it is linked
 * to the queue: the tick looks there first and jumps. A clear met while walking was queued during this tick,
 * and is left to the next one.
 *
 * More marks than MARKS_A_TICK that stand at one place are told in the ticks that follow: the engine's queue
 * of events is everybody's.
 *
 * A resampler holds some milliseconds of sound back. Pieces of one rate follow one another without a seam;
 * before anything else, and when the queue runs dry, the rest is pushed out with silence.
 *
 * How to use it: playback_init; the rest as in engine.h. */

#include "playback.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "realtime.h"

struct item {
    _Atomic(item *) next;
    item *older_clear;
    enum { START, AUDIO, CHECKPOINT, CLEAR } kind;
    int codec;
    uint32_t rate_hz;
    resampler *resampler; /* NULL at 8000 Hz */
    int64_t mark;
    uint64_t begin_ns, begin_bytes;
    int64_t came_ns; /* 0: unknown, or it waits for others, too */
    size_t size;
    _Alignas(int16_t) uint8_t audio[];
};

enum { MARKS_A_TICK = 128 };

static const uint32_t carried_rates[CARRIED_RATES] = {8000, 16000, 24000, 32000, 44100, 48000};
static const uint64_t limit_ns = 600 * UINT64_C(1000000000);
/* With what each item takes for itself: twice ten minutes of the largest samples, as what is being played
 * counts whole. Without it, ten minutes in pieces of one sample would be half a gigabyte. */
static const uint64_t limit_bytes = UINT64_C(128) << 20;

int playback_rate_index(uint32_t rate_hz) {
    for (int i = 0; i < CARRIED_RATES; i++)
        if (carried_rates[i] == rate_hz)
            return i;
    return -1;
}

/* ---- control ---- */

static item *make(const playback *q, int kind, size_t size) {
    item *i = malloc(sizeof *i + size);
    if (i)
        *i = (item){.kind = kind, .begin_ns = q->end_ns, .begin_bytes = q->end_bytes, .size = size};
    return i;
}

static void append(playback *q, item *i) {
    atomic_store_explicit(&q->newest->next, i, memory_order_release);
    q->newest = i;
    q->end_bytes += sizeof *i + i->size;
}

static void reclaim(playback *q) {
    item *current = atomic_load_explicit(&q->current, memory_order_acquire);
    while (q->oldest != current) {
        item *next = atomic_load_explicit(&q->oldest->next, memory_order_relaxed);
        free(q->oldest);
        q->oldest = next;
    }
}

int playback_init(playback *q) {
    item *start = make(q, START, 0);
    if (!start)
        return -1;
    q->oldest = q->newest = start;
    atomic_store(&q->current, start);
    return 0;
}

void playback_free(playback *q) {
    while (q->oldest) {
        item *next = atomic_load(&q->oldest->next);
        free(q->oldest);
        q->oldest = next;
    }
    for (int i = 0; i < CARRIED_RATES; i++)
        resampler_destroy(q->resamplers[i]);
}

static uint64_t duration_ns(const item *i, size_t bytes) {
    return bytes / codec_sample_bytes(i->codec) * UINT64_C(1000000000) / i->rate_hz;
}

/* What is there to be played, once all clears are obeyed. */
static uint64_t waiting_ns(const playback *q) {
    uint64_t played_ns = atomic_load_explicit(&q->played_ns, memory_order_relaxed);
    return q->end_ns - (played_ns > q->cleared_ns ? played_ns : q->cleared_ns);
}

/* The same, of memory. */
static uint64_t waiting_bytes(const playback *q) {
    uint64_t begin = q->oldest->begin_bytes;
    return q->end_bytes - (begin > q->cleared_bytes ? begin : q->cleared_bytes);
}

static resampler *resampler_for(playback *q, int rate) {
    if (!q->resamplers[rate])
        q->resamplers[rate] = resampler_create(carried_rates[rate], RATE_HZ);
    return q->resamplers[rate];
}

int playback_play(playback *q, const void *audio, size_t size, int codec, uint32_t rate_hz, int64_t came_ns) {
    int rate = playback_rate_index(rate_hz);
    if (size % codec_sample_bytes(codec) || rate < 0 || (codec != CODEC_L16 && rate_hz != RATE_HZ)) {
        errno = EINVAL;
        return -1;
    }
    reclaim(q);
    item *i = make(q, AUDIO, size);
    if (!i)
        return -1;
    i->codec = codec;
    i->rate_hz = rate_hz;
    uint64_t length_ns = duration_ns(i, size), before_ns = waiting_ns(q);
    i->came_ns = before_ns ? 0 : came_ns;
    if (before_ns + length_ns > limit_ns || waiting_bytes(q) + sizeof *i + size > limit_bytes) {
        free(i);
        return 0;
    }
    if (rate_hz != RATE_HZ && !(i->resampler = resampler_for(q, rate))) {
        free(i);
        errno = ENOMEM;
        return -1;
    }
    memcpy(i->audio, audio, size);
    append(q, i);
    q->end_ns += length_ns;
    return 1;
}

int playback_checkpoint(playback *q, int64_t mark) {
    reclaim(q);
    item *i = make(q, CHECKPOINT, 0);
    if (!i)
        return -1;
    i->mark = mark;
    append(q, i);
    return 0;
}

int playback_clear(playback *q, int64_t mark) {
    reclaim(q);
    item *i = make(q, CLEAR, 0);
    if (!i)
        return -1;
    i->mark = mark;
    i->older_clear = atomic_load(&q->clears);
    while (!atomic_compare_exchange_weak(&q->clears, &i->older_clear, i))
        ;
    append(q, i);
    q->cleared_ns = q->end_ns;
    q->cleared_bytes = q->end_bytes;
    return 0;
}

uint32_t playback_queued_ms(playback *q) {
    reclaim(q);
    return (uint32_t)(waiting_ns(q) / 1000000);
}

/* ---- tick ---- */

static void make_current(playback *q, item *i) {
    atomic_store_explicit(&q->current, i, memory_order_release);
    q->at = 0;
}

static void obey_clears(playback *q, port *p) {
    item *newest = atomic_exchange(&q->clears, NULL);
    if (!newest)
        return;
    item *turned = NULL; /* the oldest first */
    for (item *i = newest, *older; i; i = older) {
        older = i->older_clear;
        i->older_clear = turned;
        turned = i;
    }
    for (; turned; turned = turned->older_clear)
        engine_tell(p->engine, EVENT_CLEARED, p, turned->mark);
    make_current(q, newest);
    q->active = NULL;
    q->tail = 0;
}

/* Plays on in the current item; returns how many samples that gave, at most room. */
static uint32_t play_on(playback *q, const item *i, int16_t *out, uint32_t room) {
    size_t sample_bytes = codec_sample_bytes(i->codec), left = (i->size - q->at) / sample_bytes;
    uint32_t taken = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, given;
    const uint8_t *audio = i->audio + q->at;
    if (i->resampler) {
        given = resampler_run(i->resampler, out, room, (const int16_t *)audio, &taken);
        q->tail = resampler_delay(i->resampler);
    } else {
        taken = given = taken < room ? taken : room;
        codec_decode(i->codec, out, audio, given);
    }
    q->at += taken * sample_bytes;
    return given;
}

/* Pushes out what the resampler holds back; returns as play_on. */
static uint32_t play_tail(playback *q, int16_t *out, uint32_t room) {
    static const int16_t silence[FRAME_SAMPLES];
    uint32_t count = FRAME_SAMPLES;
    uint32_t given = resampler_run(q->active, out, q->tail < room ? q->tail : room, silence, &count);
    q->tail -= given;
    return given;
}

/* Steps to the next item. */
static void enter(playback *q, item *i, port *p) {
    if (i->kind == CHECKPOINT)
        engine_tell(p->engine, EVENT_PLAYED, p, i->mark);
    if (i->kind == AUDIO && i->came_ns)
        hop_note(&q->waited, now_ns() - i->came_ns);
    if (i->kind == AUDIO && i->resampler != q->active) {
        q->active = i->resampler;
        if (q->active)
            resampler_clear(q->active);
    }
    make_current(q, i);
}

/* The item behind the current one, once that is through; NULL: none for this tick. */
static item *following(const playback *q, const item *current) {
    if (current->kind == AUDIO && q->at < current->size)
        return NULL;
    item *next = atomic_load_explicit(&current->next, memory_order_acquire);
    return next && next->kind != CLEAR ? next : NULL;
}

void playback_yield(playback *q, port *p) {
    obey_clears(q, p);
    uint32_t filled = 0, marks = 0;
    item *i, *next;
    while (true) {
        i = atomic_load_explicit(&q->current, memory_order_relaxed);
        next = following(q, i);
        bool seam = next && (next->kind != AUDIO || next->resampler == q->active);
        uint32_t room = FRAME_SAMPLES - filled;
        int16_t *out = p->frame + filled;
        if (room && i->kind == AUDIO && q->at < i->size) {
            filled += play_on(q, i, out, room);
        } else if (room && q->tail && !seam) {
            filled += play_tail(q, out, room);
        } else if (next && (room || next->kind == CHECKPOINT) && marks < MARKS_A_TICK) {
            marks += next->kind == CHECKPOINT;
            enter(q, next, p);
        } else {
            break;
        }
    }
    memset(p->frame + filled, 0, 2 * (FRAME_SAMPLES - filled));
    uint64_t played_ns = i->begin_ns + (i->kind == AUDIO ? duration_ns(i, q->at) : 0);
    atomic_store_explicit(&q->played_ns, played_ns, memory_order_relaxed);
}
