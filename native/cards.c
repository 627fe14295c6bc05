/* The sound cards that there are, as libasound knows them.
 *
 * What it does: names the machine's own cards and the devices that its ALSA configuration defines, and tries
 * which way a device goes.
 *
 * How it works: with a configuration of its own for each look, which nobody else has, so that what was
 * plugged in or written a second ago is found whatever else is open, and no thread waits for another's. Cards
 * are asked over their control device, which is free while they play. ALSA complains through one function of
 * the process, to the standard error unless it is told otherwise: here to the thread that asked.
 *
 * How to use it: see engine.h. */

#define _GNU_SOURCE
#include "cards.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What ALSA has to complain of comes from within to without: the first two say it. */
enum { MOST_SAID = 2, BUSY_TRIES = 10, BUSY_NS = 50 * 1000 * 1000 };

static _Thread_local struct {
    char text[SOUND_WORDS];
    int count;
} said;

static void listen(const char *file, int line, const char *function, int error, const char *format, ...) {
    (void)file, (void)line, (void)function, (void)error;
    size_t at = strlen(said.text);
    if (said.count++ >= MOST_SAID || at + 3 > sizeof said.text)
        return;
    if (at) {
        strcpy(said.text + at, "; ");
        at += 2;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(said.text + at, sizeof said.text - at, format, arguments);
    va_end(arguments);
    said.text[strcspn(said.text, "\n")] = 0;
}

static void listen_once(void) {
    snd_lib_error_set_handler(listen);
}

void sound_why(char *why, const char *tried, int error) {
    snprintf(why, SOUND_WORDS, "%s: %.200s", tried, *said.text ? said.text : snd_strerror(error));
}

snd_config_t *sound_configuration(char *why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, listen_once);
    memset(&said, 0, sizeof said);
    snd_config_t *top = NULL;
    snd_config_update_t *update = NULL;
    int error = snd_config_update_r(&top, &update, NULL);
    if (update)
        snd_config_update_free(update);
    if (error >= 0)
        return top;
    if (top)
        snd_config_delete(top);
    sound_why(why, "ALSA cannot read its configuration", error);
    return NULL;
}

/* ---- what there is ---- */

typedef struct {
    sound_device *out;
    int capacity, count;
} look;

static void add(look *l, const char *name, const char *pcm, bool own) {
    if (l->count == l->capacity || strlen(pcm) >= sizeof l->out->pcm)
        return;
    sound_device *d = &l->out[l->count++];
    *d = (sound_device){.configured = own};
    snprintf(d->name, sizeof d->name, "%s", name);
    snprintf(d->pcm, sizeof d->pcm, "%s", pcm);
}

/* One direction is enough to be named. */
static bool ask(snd_ctl_t *control, snd_pcm_info_t *info) {
    snd_pcm_info_set_stream(info, SND_PCM_STREAM_CAPTURE);
    if (snd_ctl_pcm_info(control, info) >= 0)
        return true;
    snd_pcm_info_set_stream(info, SND_PCM_STREAM_PLAYBACK);
    return snd_ctl_pcm_info(control, info) >= 0;
}

static void add_card(look *l, int card, snd_ctl_t *control) {
    snd_ctl_card_info_t *about = NULL;
    snd_pcm_info_t *info = NULL;
    if (snd_ctl_card_info_malloc(&about) >= 0 && snd_pcm_info_malloc(&info) >= 0 &&
        snd_ctl_card_info(control, about) >= 0) {
        for (int device = -1; snd_ctl_pcm_next_device(control, &device) >= 0 && device >= 0;) {
            char name[sizeof l->out->name], pcm[sizeof l->out->pcm];
            snd_pcm_info_set_device(info, (unsigned)device);
            snd_pcm_info_set_subdevice(info, 0);
            if (!ask(control, info))
                continue;
            snprintf(name, sizeof name, "%s: %s (hw:%d,%d)", snd_ctl_card_info_get_name(about),
                     snd_pcm_info_get_name(info), card, device);
            snprintf(pcm, sizeof pcm, "plughw:%d,%d", card, device);
            add(l, name, pcm, false);
        }
    }
    snd_pcm_info_free(info);
    snd_ctl_card_info_free(about);
}

static void add_cards(look *l, snd_config_t *configuration) {
    for (int card = -1; snd_card_next(&card) >= 0 && card >= 0;) {
        char name[16];
        snd_ctl_t *control;
        snprintf(name, sizeof name, "hw:%d", card);
        if (snd_ctl_open_lconf(&control, name, SND_CTL_NONBLOCK, configuration) >= 0) {
            add_card(l, card, control);
            snd_ctl_close(control);
        }
    }
}

/* What ALSA's own configuration defines is parts to build with, or a card's loudspeakers. */
static bool is_no_device(const char *name) {
    static const char *const names[] = {
        "hw",         "plughw", "plug",       "dmix",       "dsnoop",       "tee",        "file",
        "null",       "shm",    "cards",      "empty",      "rate_convert", "center_lfe", "front",
        "rear",       "side",   "surround21", "surround40", "surround41",   "surround50", "surround51",
        "surround71", "iec958", "spdif",      "hdmi"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static void add_configured(look *l, snd_config_t *configuration) {
    snd_config_t *pcms;
    snd_config_iterator_t each, next;
    if (snd_config_search(configuration, "pcm", &pcms) < 0)
        return;
    snd_config_for_each(each, next, pcms) {
        const char *name;
        if (snd_config_get_id(snd_config_iterator_entry(each), &name) >= 0 && !is_no_device(name))
            add(l, name, name, true);
    }
}

int sound_look(sound_device *out, int capacity, char *why) {
    snd_config_t *configuration = sound_configuration(why);
    if (!configuration)
        return -1;
    look l = {.out = out, .capacity = capacity};
    add_cards(&l, configuration);
    add_configured(&l, configuration);
    snd_config_delete(configuration);
    return l.count;
}

int sound_open(snd_pcm_t **pcm, const char *name, snd_pcm_stream_t way, int mode,
               snd_config_t *configuration) {
    int error = -EBUSY;
    for (int tries = 0; error == -EBUSY && tries < BUSY_TRIES; tries++) {
        if (tries)
            nanosleep(&(struct timespec){.tv_nsec = BUSY_NS}, NULL);
        error = snd_pcm_open_lconf(pcm, name, way, SND_PCM_NONBLOCK | mode, configuration);
    }
    return error;
}

static bool opens(const char *pcm, snd_pcm_stream_t way, snd_config_t *configuration) {
    snd_pcm_t *opened;
    if (sound_open(&opened, pcm, way, 0, configuration) < 0)
        return false;
    snd_pcm_close(opened);
    return true;
}

int sound_ways(const char *pcm) {
    char why[SOUND_WORDS];
    snd_config_t *configuration = sound_configuration(why);
    if (!configuration)
        return 0;
    int ways = (opens(pcm, SND_PCM_STREAM_PLAYBACK, configuration) ? SOUND_PLAYS : 0) |
               (opens(pcm, SND_PCM_STREAM_CAPTURE, configuration) ? SOUND_CAPTURES : 0);
    snd_config_delete(configuration);
    return ways;
}
