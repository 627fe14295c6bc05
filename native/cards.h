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

/* What was tried, and what ALSA has said to it, or else its error's name. */
void sound_why(char *why, const char *tried, int error);
