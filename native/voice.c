/* A voice modem's tty in ITU-T V.253's duplex stream (+VTR), from the host's end or from the device's.
 *
 * What it does: audio of 8000 Hz in one of four formats, both ways, shielded by <DLE> (dle.c); tells the
 * modem's codes and keys; ends the stream and gives the tty back to the AT dialogue.
 *
 * How it works: the port is made when CONNECT was read, and is given what was read after that. A tick reads
 * all that is there, up to <DLE><ETX>: from then on it reads and writes nothing, and what it had read beyond
 * waits to be fetched. Audio waits as in pcm.c.
 *
 * FOLLOW: the modem's stream is the clock: an audio byte is sent for each one that it sent, so that its
 * buffer neither fills nor runs dry. A frame of silence is its margin, sent ahead when the stream begins, and
 * again when the modem says that it ran dry (<DLE>u): once in a second, and ten of them in all, as no jitter
 * needs more, and each is delay for the rest of the call.
 *
 * A wire full of noise is full of codes. They are told as from a bucket that holds more than the longest
 * report and fills slower than our reader empties it: what it has not is counted, and other ports' events
 * have their room.
 *
 * CLOCK: our ticks are the clock: we are the modem, and the stream ends with the last codes that we send.
 *
 * Codes are sent at the end of a sample, never within its shielded bytes. A short write may leave the rest of
 * a sample behind: it goes first next time.
 *
 * How to use it: see engine.h. */

#include <stdlib.h>
#include <string.h>

#include "dle.h"
#include "inlet.h"
#include "port.h"
#include "tty.h"

enum {
    MOST_READS = 64, /* a tick must end, whatever the other side writes */
    /* A modem that sends every 100 ms, and is 100 ms late. */
    LIMIT = RATE_HZ / 5,
    DEBOUNCE_SAMPLES = RATE_HZ / 10,
    SAMPLE_BYTES = 4, /* at most, shielded */
    MOST_AHEAD = LIMIT,
    AHEAD_AGAIN = RATE_HZ, /* samples that came since the last margin */
    MOST_NEWS = DLE_REPORT_BYTES + 64,
    NEWS_A_TICK = 16,
};

typedef struct {
    port base;
    tty tty;
    int format, pace;
    uint32_t sample_bytes; /* unshielded */
    bool over;             /* ended or failed */

    dle shield;
    inlet in;
    bool in_is_odd;
    uint8_t in_half; /* the first byte of a sample whose other one has not come */

    elastic out;
    uint32_t leave; /* samples that may be sent */
    uint32_t ahead; /* of silence that were, in all; samples that came since */
    uint32_t since_ahead;
    bool leaving; /* the last codes are sent */
    uint32_t rest_bytes;
    uint8_t rest[SAMPLE_BYTES + VOICE_CODES_BYTES]; /* to be sent before anything else */

    uint32_t news; /* in the bucket */
    counter received, sent, dropped_out, dropped_news, modem_underruns, modem_overruns;
    _Atomic uint32_t waiting; /* samples, after a tick */

    /* Control's, while `ordered` is false. */
    atomic_bool ordered;
    bool last;
    size_t codes_bytes;
    uint8_t codes[VOICE_CODES_BYTES];

    /* What was read before the port was made, or was resumed; once `ended`, what was read beyond the end, and
     * control's. */
    atomic_bool ended, resumed;
    size_t beyond_bytes;
    uint8_t beyond[VOICE_BEYOND_BYTES];
} voice;

static void stop(voice *v, uint32_t kind, int64_t value) {
    v->over = true;
    v->in.live = false;
    engine_tell(v->base.engine, kind, &v->base, value);
}

static void end(voice *v, const uint8_t *beyond, size_t size) {
    memmove(v->beyond, beyond, size);
    v->beyond_bytes = size;
    atomic_store_explicit(&v->ended, true, memory_order_release);
    stop(v, EVENT_ENDED, 0);
}

static void grant(voice *v, uint32_t samples) {
    v->leave = v->leave + samples < LIMIT ? v->leave + samples : LIMIT;
}

static void send_ahead(voice *v) {
    static const int16_t silence[FRAME_SAMPLES];
    if (v->ahead == MOST_AHEAD || (v->ahead && v->since_ahead < AHEAD_AGAIN))
        return;
    v->ahead += FRAME_SAMPLES;
    v->since_ahead = 0;
    count(&v->dropped_out, elastic_put(&v->out, silence, FRAME_SAMPLES));
    grant(v, FRAME_SAMPLES);
}

/* ---- from the modem ---- */

static void decode(const voice *v, int16_t *out, const uint8_t *in, size_t samples) {
    switch (v->format) {
    case VOICE_U8:
        for (size_t i = 0; i < samples; i++)
            out[i] = (int16_t)((in[i] - 128) * 256);
        break;
    case VOICE_L16:
        memcpy(out, in, 2 * samples);
        break;
    case VOICE_PCMU:
        ulaw_decode(out, in, samples);
        break;
    default:
        alaw_decode(out, in, samples);
    }
}

/* The audio stands from audio + 1 on: the first byte's place is for the odd one. */
static void hear(voice *v, uint8_t *audio, size_t size) {
    int16_t samples[VOICE_BEYOND_BYTES + 1];
    if (size == 0)
        return;
    bool first = !v->in.live;
    count(&v->received, size);
    audio[0] = v->in_half;
    const uint8_t *begin = audio + !v->in_is_odd;
    size += v->in_is_odd;
    v->in_is_odd = v->sample_bytes == 2 && size % 2;
    v->in_half = begin[size - 1];
    uint32_t whole = (uint32_t)(size / v->sample_bytes);
    decode(v, samples, begin, whole);
    inlet_put(&v->in, samples, whole);
    if (v->pace != PACE_FOLLOW)
        return;
    if (first)
        send_ahead(v);
    v->since_ahead += v->since_ahead < AHEAD_AGAIN ? whole : 0;
    grant(v, whole);
}

static void tell(voice *v, dle_news news) {
    static const uint32_t kinds[] = {
        [DLE_CODE] = EVENT_CODE,     [DLE_DIGIT] = EVENT_DTMF, [DLE_TEXT] = EVENT_TEXT,
        [DLE_REPORT] = EVENT_REPORT, [DLE_END] = EVENT_CODE,
    };
    bool from_modem = v->pace == PACE_FOLLOW && news.kind == DLE_CODE;
    if (from_modem && news.value == 'u') {
        count(&v->modem_underruns, 1);
        send_ahead(v);
    } else if (from_modem && news.value == 'o') {
        count(&v->modem_overruns, 1);
    } else if (news.kind != DLE_NONE && v->news == 0) {
        count(&v->dropped_news, 1);
    } else if (news.kind != DLE_NONE) {
        v->news--;
        engine_tell(v->base.engine, kinds[news.kind], &v->base, news.value);
    }
}

static void take_apart(voice *v, const uint8_t *bytes, size_t size) {
    size_t at = 0;
    while (at < size && !v->over) {
        uint8_t audio[1 + VOICE_BEYOND_BYTES + 1];
        size_t made = 0;
        dle_news news;
        at += dle_read(&v->shield, bytes + at, size - at, audio + 1, &made, &news);
        hear(v, audio, made);
        if (news.kind == DLE_END && v->pace == PACE_FOLLOW)
            end(v, bytes + at, size - at);
        else
            tell(v, news);
    }
}

static void begin(voice *v) {
    dle_begin(&v->shield, DEBOUNCE_SAMPLES * v->sample_bytes);
    v->in_is_odd = v->leaving = v->over = false;
    v->leave = v->rest_bytes = v->ahead = 0;
}

static void voice_yield(port *base) {
    voice *v = (voice *)base;
    if (atomic_exchange_explicit(&v->resumed, false, memory_order_acquire))
        begin(v);
    v->news = v->news + NEWS_A_TICK < MOST_NEWS ? v->news + NEWS_A_TICK : MOST_NEWS;
    size_t early = v->over ? 0 : v->beyond_bytes;
    if (early) {
        v->beyond_bytes = 0;
        take_apart(v, v->beyond, early);
    }
    for (int i = 0; i < MOST_READS && !v->over; i++) {
        uint8_t bytes[VOICE_BEYOND_BYTES];
        ptrdiff_t got = tty_read(&v->tty, bytes, sizeof bytes);
        if (got < 0)
            stop(v, EVENT_FAILED, errno);
        if (got <= 0)
            break;
        take_apart(v, bytes, (size_t)got);
    }
    inlet_yield(&v->in, base->frame);
}

/* ---- to the modem ---- */

static void encode(const voice *v, uint8_t *out, const int16_t *in, size_t samples) {
    switch (v->format) {
    case VOICE_U8:
        for (size_t i = 0; i < samples; i++) {
            int rounded = (in[i] + 128) >> 8;
            out[i] = (uint8_t)((rounded < 127 ? rounded : 127) + 128);
        }
        break;
    case VOICE_L16:
        memcpy(out, in, 2 * samples);
        break;
    case VOICE_PCMU:
        ulaw_encode(out, in, samples);
        break;
    default:
        alaw_encode(out, in, samples);
    }
}

/* Returns how many bytes the tty took. */
static size_t send(voice *v, const uint8_t *bytes, size_t size) {
    ptrdiff_t done = tty_write(&v->tty, bytes, size);
    if (done < 0)
        stop(v, EVENT_FAILED, errno);
    return done > 0 ? (size_t)done : 0;
}

static void append_codes(voice *v) {
    if (!atomic_load_explicit(&v->ordered, memory_order_acquire))
        return;
    if (v->rest_bytes + v->codes_bytes > sizeof v->rest)
        return;
    memcpy(v->rest + v->rest_bytes, v->codes, v->codes_bytes);
    v->rest_bytes += (uint32_t)v->codes_bytes;
    v->leaving = v->leaving || v->last;
    atomic_store_explicit(&v->ordered, false, memory_order_release);
}

static void send_rest(voice *v) {
    if (v->rest_bytes == 0)
        return;
    size_t done = send(v, v->rest, v->rest_bytes);
    v->rest_bytes -= (uint32_t)done;
    memmove(v->rest, v->rest + done, v->rest_bytes);
}

static uint32_t due(const voice *v) {
    uint32_t waiting = elastic_ready(&v->out);
    return waiting < v->leave ? waiting : v->leave;
}

static void send_samples(voice *v) {
    int16_t samples[LIMIT];
    uint8_t audio[2 * LIMIT], shielded[SAMPLE_BYTES * LIMIT];
    uint32_t n = due(v);
    if (n == 0)
        return;
    elastic_peek(&v->out, samples, n);
    encode(v, audio, samples, n);
    size_t done = send(v, shielded, dle_shield(shielded, audio, n * v->sample_bytes));
    size_t end_of_sample = 0;
    uint32_t sent = 0;
    while (end_of_sample < done) {
        uint8_t one[SAMPLE_BYTES];
        end_of_sample += dle_shield(one, audio + sent * v->sample_bytes, v->sample_bytes);
        sent++;
    }
    v->rest_bytes = (uint32_t)(end_of_sample - done);
    memcpy(v->rest, shielded + done, v->rest_bytes);
    count(&v->sent, sent * v->sample_bytes);
    v->leave -= sent;
    elastic_skip(&v->out, sent);
}

static void voice_take(port *base, const int16_t *frame) {
    voice *v = (voice *)base;
    if (v->over) {
        atomic_store_explicit(&v->ordered, false, memory_order_release);
        return;
    }
    append_codes(v);
    send_rest(v);
    if (v->leaving && v->rest_bytes == 0 && v->pace == PACE_CLOCK)
        end(v, v->beyond, 0);
    if (v->leaving || v->over)
        return;
    if (v->pace == PACE_FOLLOW && !v->in.live)
        return;
    count(&v->dropped_out, elastic_put(&v->out, frame, FRAME_SAMPLES));
    if (v->pace == PACE_CLOCK)
        grant(v, FRAME_SAMPLES);
    count(&v->dropped_out, elastic_settle(&v->out, v->rest_bytes ? 0 : due(v)));
    elastic_mirror(&v->out, &v->in.buffer);
    if (v->rest_bytes == 0)
        send_samples(v);
    atomic_store_explicit(&v->waiting, elastic_depth(&v->out), memory_order_relaxed);
}

/* ---- control ---- */

int voice_send(port *p, const uint8_t *codes, size_t size, bool last) {
    voice *v = (voice *)p;
    bool waits = atomic_load_explicit(&v->ordered, memory_order_acquire);
    if (size > VOICE_CODES_BYTES || waits) {
        errno = waits ? EBUSY : EINVAL;
        return -1;
    }
    memcpy(v->codes, codes, size);
    v->codes_bytes = size;
    v->last = last;
    atomic_store_explicit(&v->ordered, true, memory_order_release);
    return 0;
}

size_t voice_beyond(const port *p, uint8_t *out) {
    const voice *v = (const voice *)p;
    if (!atomic_load_explicit(&v->ended, memory_order_acquire))
        return 0;
    memcpy(out, v->beyond, v->beyond_bytes);
    return v->beyond_bytes;
}

int voice_resume(port *p, const uint8_t *early, size_t size) {
    voice *v = (voice *)p;
    if (!atomic_load_explicit(&v->ended, memory_order_acquire) || size > VOICE_BEYOND_BYTES) {
        errno = EINVAL;
        return -1;
    }
    memcpy(v->beyond, early, size);
    v->beyond_bytes = size;
    atomic_store_explicit(&v->ended, false, memory_order_relaxed);
    atomic_store_explicit(&v->resumed, true, memory_order_release);
    return 0;
}

void voice_read_stats(const port *p, voice_stats *out) {
    const voice *v = (const voice *)p;
    *out = (voice_stats){
        .received_bytes = counted(&v->received),
        .sent_bytes = counted(&v->sent),
        .dropped_uplink = counted(&v->dropped_out),
        .waiting_samples = atomic_load_explicit(&v->waiting, memory_order_relaxed),
        .dropped_codes = counted(&v->dropped_news),
        .modem_underruns = counted(&v->modem_underruns),
        .modem_overruns = counted(&v->modem_overruns),
    };
    inlet_read_stats(&v->in, &out->downlink);
}

static void voice_destroy(port *base) {
    voice *v = (voice *)base;
    inlet_free(&v->in);
    elastic_free(&v->out);
    tty_close(&v->tty);
    free(v);
}

port *voice_create(engine *e, int fd, int format, int pace, const uint8_t *early, size_t size) {
    static const port_kind kind = {.yield = voice_yield, .take = voice_take, .destroy = voice_destroy};
    if (size > VOICE_BEYOND_BYTES) {
        errno = EINVAL;
        return NULL;
    }
    voice *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->base.inlets[0] = &v->in;
    v->format = format;
    v->pace = pace;
    v->sample_bytes = format == VOICE_L16 ? 2 : 1;
    v->beyond_bytes = size;
    memcpy(v->beyond, early, size);
    v->news = MOST_NEWS;
    begin(v);
    bool ready = tty_open(&v->tty, fd) && inlet_init(&v->in, LIMIT, pace == PACE_FOLLOW);
    if (!ready || !elastic_init(&v->out, LIMIT)) {
        int error = errno;
        voice_destroy(&v->base);
        errno = error;
        return NULL;
    }
    return engine_add(e, &v->base, &kind);
}
