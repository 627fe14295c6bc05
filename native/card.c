/* A sound card at work: a thread of its own between libasound and a device port's line.
 *
 * What it does: every 10 ms gives the line what the card has captured, and writes what the line says until
 * the latency that was asked for lies in the card.
 *
 * How it works: neither side waits in the driver, and the thread's own clock says when to look again, so that
 * a side that stands still holds up nothing, and one that fails without end costs nothing until it is given
 * up. The two are not linked (snd_pcm_link): the kernel would stop both for an xrun in one. After an xrun a
 * side is prepared and begun anew. Playing begins with silence, as much as is to lie in the card.
 *
 * A card that is not mono is opened with the fewest channels it has: the first is heard, all of them play.
 * Its sample format is plughw's to convert, its rate the port's.
 *
 * How to use it: see engine.h. */

#define _GNU_SOURCE
#include "cards.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "realtime.h"

enum {
    STEP_MS = 10,
    /* What a thread that is late does not lose; costs no latency, as all of it is read each time. */
    CAPTURE_MS = 160,
    /* Beyond the latency asked for: a step, and as much again for a thread that is late. */
    MARGIN_MS = 2 * STEP_MS,
    /* One after the other with no sample between them, a second of them: it will not recover. */
    MOST_FAULTS = 100,
    /* Below the tick, which must not wait for a driver. */
    PRIORITY = 19,
};

typedef struct {
    snd_pcm_t *pcm;
    uint32_t channels;
    snd_pcm_uframes_t buffer, target; /* frames; playing: how many are to lie in it */
    uint32_t piece;                   /* frames that are moved at once */
    int16_t *samples;                 /* a piece, of all channels */
    uint32_t at, left;                /* playing: of the piece, what is not written yet */
    uint32_t faults;
} side;

struct card {
    device_line *line;
    side ear, mouth;
    pthread_t thread;
    bool running;
    atomic_bool stop;
};

/* ---- its thread ---- */

static bool is_mouth(const side *s) {
    return snd_pcm_stream(s->pcm) == SND_PCM_STREAM_PLAYBACK;
}

static int fill_with_silence(side *s) {
    memset(s->samples, 0, s->piece * s->channels * sizeof *s->samples);
    for (snd_pcm_uframes_t filled = 0; filled < s->target;) {
        snd_pcm_uframes_t rest = s->target - filled;
        snd_pcm_sframes_t n = snd_pcm_writei(s->pcm, s->samples, rest < s->piece ? rest : s->piece);
        if (n <= 0)
            return n == -EAGAIN ? 0 : (int)n;
        filled += (snd_pcm_uframes_t)n;
    }
    return 0;
}

/* 0 or a negative errno, as libasound's. */
static int begin(side *s) {
    s->left = 0;
    int error = snd_pcm_prepare(s->pcm);
    if (error >= 0 && is_mouth(s))
        error = fill_with_silence(s);
    if (error >= 0 && snd_pcm_state(s->pcm) == SND_PCM_STATE_PREPARED)
        error = snd_pcm_start(s->pcm);
    return error;
}

static void first_channel(side *s, uint32_t n) {
    if (s->channels > 1)
        for (uint32_t i = 0; i < n; i++)
            s->samples[i] = s->samples[i * s->channels];
}

static void all_channels(side *s, uint32_t n) {
    if (s->channels > 1)
        for (uint32_t i = n; i-- > 0;) {
            int16_t sample = s->samples[i];
            for (uint32_t channel = 0; channel < s->channels; channel++)
                s->samples[i * s->channels + channel] = sample;
        }
}

/* What is there is heard; 0 or a negative errno. */
static int hear(card *c) {
    side *s = &c->ear;
    snd_pcm_sframes_t there = snd_pcm_avail(s->pcm);
    while (there > 0) {
        snd_pcm_sframes_t n =
            snd_pcm_readi(s->pcm, s->samples, there < s->piece ? (snd_pcm_uframes_t)there : s->piece);
        if (n <= 0)
            return (int)n;
        s->faults = 0;
        there -= n;
        first_channel(s, (uint32_t)n);
        device_call(c->line, s->samples, NULL, (uint32_t)n);
    }
    return (int)there;
}

/* What there is room for is said; 0 or a negative errno. */
static int say(card *c) {
    side *s = &c->mouth;
    snd_pcm_sframes_t room = snd_pcm_avail(s->pcm);
    if (room < 0)
        return (int)room;
    for (room -= (snd_pcm_sframes_t)(s->buffer - s->target); room > 0;) {
        if (!s->left) {
            s->at = 0;
            s->left = room < s->piece ? (uint32_t)room : s->piece;
            device_call(c->line, NULL, s->samples, s->left);
            all_channels(s, s->left);
        }
        snd_pcm_sframes_t n = snd_pcm_writei(s->pcm, s->samples + s->at * s->channels, s->left);
        if (n <= 0)
            return (int)n;
        s->faults = 0;
        s->at += (uint32_t)n;
        s->left -= (uint32_t)n;
        room -= n;
    }
    return 0;
}

/* Whether it may be gone on with. */
static bool mend(card *c, side *s, int error) {
    if (error >= 0 || error == -EAGAIN || error == -EINTR)
        return true;
    if (error != -EPIPE && error != -ESTRPIPE)
        return false;
    if (++s->faults > MOST_FAULTS)
        return false;
    /* The machine slept; the driver may want to be asked again. */
    if (error == -ESTRPIPE && snd_pcm_resume(s->pcm) == -EAGAIN)
        return true;
    if (error == -EPIPE)
        device_xrun(c->line, is_mouth(s));
    error = begin(s);
    return error >= 0 || error == -EPIPE || error == -ESTRPIPE || error == -EAGAIN;
}

static void wait_for(int64_t *due) {
    *due += STEP_MS * 1000000;
    int64_t now = now_ns();
    if (*due < now)
        *due = now;
    struct timespec t = {.tv_sec = *due / 1000000000, .tv_nsec = *due % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static void *run(void *argument) {
    card *c = argument;
    realtime_begin("branchline-card", PRIORITY);
    int64_t due = now_ns();
    do
        wait_for(&due);
    while (!atomic_load_explicit(&c->stop, memory_order_relaxed) && device_wanted(c->line) &&
           mend(c, &c->ear, hear(c)) && mend(c, &c->mouth, say(c)));
    device_finish(c->line);
    return NULL;
}

/* ---- control ---- */

static int set_hardware(side *s, snd_pcm_hw_params_t *p, uint32_t rate_hz, uint32_t buffer_ms) {
    snd_pcm_uframes_t period = rate_hz * STEP_MS / 1000;
    int error = snd_pcm_hw_params_any(s->pcm, p);
    s->channels = 1;
    s->buffer = rate_hz * buffer_ms / 1000;
    if (error >= 0)
        error = snd_pcm_hw_params_set_access(s->pcm, p, SND_PCM_ACCESS_RW_INTERLEAVED);
    if (error >= 0)
        error = snd_pcm_hw_params_set_format(s->pcm, p, SND_PCM_FORMAT_S16);
    if (error >= 0)
        error = snd_pcm_hw_params_set_channels_near(s->pcm, p, &s->channels);
    if (error >= 0)
        error = snd_pcm_hw_params_set_rate(s->pcm, p, rate_hz, 0);
    if (error >= 0)
        error = snd_pcm_hw_params_set_period_size_near(s->pcm, p, &period, NULL);
    if (error >= 0)
        error = snd_pcm_hw_params_set_buffer_size_near(s->pcm, p, &s->buffer);
    return error < 0 ? error : snd_pcm_hw_params(s->pcm, p);
}

/* It begins when it is told to, not by how much is in it. */
static int set_software(side *s, snd_pcm_sw_params_t *p) {
    snd_pcm_uframes_t never;
    int error = snd_pcm_sw_params_current(s->pcm, p);
    if (error >= 0)
        error = snd_pcm_sw_params_get_boundary(p, &never);
    if (error >= 0)
        error = snd_pcm_sw_params_set_start_threshold(s->pcm, p, never);
    return error < 0 ? error : snd_pcm_sw_params(s->pcm, p);
}

static int set_up(side *s, uint32_t rate_hz, uint32_t buffer_ms) {
    snd_pcm_hw_params_t *hardware = NULL;
    snd_pcm_sw_params_t *software = NULL;
    int error = -ENOMEM;
    if (snd_pcm_hw_params_malloc(&hardware) >= 0 && snd_pcm_sw_params_malloc(&software) >= 0) {
        error = set_hardware(s, hardware, rate_hz, buffer_ms);
        if (error >= 0)
            error = set_software(s, software);
    }
    snd_pcm_hw_params_free(hardware);
    snd_pcm_sw_params_free(software);
    if (error < 0)
        return error;
    s->target = rate_hz * buffer_ms / 1000;
    s->target = s->target < s->buffer ? s->target : s->buffer;
    s->piece = rate_hz * STEP_MS / 1000;
    s->samples = calloc(s->piece * s->channels, sizeof *s->samples);
    return s->samples ? begin(s) : -ENOMEM;
}

static bool open_side(side *s, snd_config_t *configuration, const char *pcm, snd_pcm_stream_t way,
                      uint32_t rate_hz, uint32_t buffer_ms, char *why) {
    char tried[40];
    snprintf(tried, sizeof tried, "%s at %u Hz", way == SND_PCM_STREAM_CAPTURE ? "capturing" : "playing",
             rate_hz);
    /* The rate is our resampler's, who does it well, and the channels are ours. What somebody has configured
     * himself stays as he wants it. */
    int own = strncmp(pcm, "plughw:", 7) ? 0 : SND_PCM_NO_AUTO_RESAMPLE | SND_PCM_NO_AUTO_CHANNELS;
    int error = sound_open(&s->pcm, pcm, way, own, configuration);
    if (error >= 0)
        error = set_up(s, rate_hz, buffer_ms);
    if (error < 0)
        sound_why(why, tried, error);
    return error >= 0;
}

static void close_side(side *s) {
    if (s->pcm)
        snd_pcm_close(s->pcm);
    free(s->samples);
}

static bool open_both(card *c, const char *pcm, uint32_t rate_hz, uint32_t latency_ms, char *why) {
    snd_config_t *configuration = sound_configuration(why);
    if (!configuration)
        return false;
    bool opened = open_side(&c->ear, configuration, pcm, SND_PCM_STREAM_CAPTURE, rate_hz, CAPTURE_MS, why) &&
                  open_side(&c->mouth, configuration, pcm, SND_PCM_STREAM_PLAYBACK, rate_hz,
                            latency_ms + MARGIN_MS, why);
    snd_config_delete(configuration);
    return opened;
}

card *card_open(device_line *line, const char *pcm, uint32_t rate_hz, uint32_t latency_ms, char *why) {
    card *c = calloc(1, sizeof *c);
    if (!c) {
        snprintf(why, SOUND_WORDS, "%s", strerror(ENOMEM));
        return NULL;
    }
    device_hold(line);
    c->line = line;
    if (open_both(c, pcm, rate_hz, latency_ms, why)) {
        c->running = realtime_start(&c->thread, run, c) == 0;
        if (c->running)
            return c;
        snprintf(why, SOUND_WORDS, "%s", strerror(errno));
    }
    card_close(c);
    return NULL;
}

void card_close(card *c) {
    atomic_store_explicit(&c->stop, true, memory_order_relaxed);
    if (c->running)
        pthread_join(c->thread, NULL);
    close_side(&c->ear);
    close_side(&c->mouth);
    device_release(c->line);
    free(c);
}
