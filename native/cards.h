/* What the files that call libasound share. See cards.c. */
#pragma once

#include <alsa/asoundlib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

/* ALSA's configuration, read now; snd_config_delete. NULL: why, SOUND_WORDS of it. What ALSA complains of in
 * this thread is remembered from then on. */
snd_config_t *sound_configuration(char *why);

/* As snd_pcm_open_lconf, without waiting for the device; one that is busy is tried again for half a second,
 * as another thread's look may have it for a moment. */
int sound_open(snd_pcm_t **pcm, const char *name, snd_pcm_stream_t way, int mode,
               snd_config_t *configuration);

/* What was tried, and what ALSA has said to it, or else its error's name. */
void sound_why(char *why, const char *tried, int error);
