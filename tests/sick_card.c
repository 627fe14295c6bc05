/* A sound card of ALSA's own kind, for a configuration: it keeps real time, and fails as it is told to.
 *
 *     pcm_type.sick { lib "/tmp/sick_card.so" }
 *     pcm.card { type sick rate 8000 channels 2 fault "xruns" }
 *
 * With the path of a FIFO as fault it hangs, as soon as it plays, until somebody opens the other end.
 *
 * It captures 100 on its first channel and -1 on the others, and takes what it plays only if all channels are
 * equal. */

#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* A tenth of a second, in frames. */
#define SOON(io) ((int64_t)(io)->rate / 10)

typedef struct {
    snd_pcm_ioplug_t io;
    char fault[256];
    int64_t began_ns;
    int64_t moved; /* frames since it began */
    int begun;
} sick;

static int is(const sick *s, const char *fault) {
    return !strcmp(s->fault, fault);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int start(snd_pcm_ioplug_t *io) {
    sick *s = io->private_data;
    s->began_ns = now_ns();
    s->begun++;
    return 0;
}

static int stop(snd_pcm_ioplug_t *io) {
    (void)io;
    return 0;
}

static int prepare(snd_pcm_ioplug_t *io) {
    sick *s = io->private_data;
    s->moved = s->began_ns = 0;
    return 0;
}

static snd_pcm_sframes_t pointer(snd_pcm_ioplug_t *io) {
    sick *s = io->private_data;
    if (!s->began_ns || is(s, "still"))
        return 0;
    int64_t played = (now_ns() - s->began_ns) * io->rate / 1000000000;
    if (is(s, "xruns") && s->begun < 4 && played > SOON(io))
        return -EPIPE;
    if (is(s, "sick") && (s->begun > 1 || played > SOON(io)))
        return -EPIPE;
    if (*s->fault == '/') {
        close(open(s->fault, O_RDONLY));
        *s->fault = 0;
    }
    int64_t most = s->moved + (io->stream == SND_PCM_STREAM_CAPTURE ? (int64_t)io->buffer_size : 0);
    return played >= most ? -EPIPE : played % (int64_t)io->buffer_size;
}

static int16_t *sample(const snd_pcm_channel_area_t *area, snd_pcm_uframes_t at) {
    return (int16_t *)((char *)area->addr + (area->first + at * area->step) / 8);
}

static snd_pcm_sframes_t transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                  snd_pcm_uframes_t offset, snd_pcm_uframes_t size) {
    sick *s = io->private_data;
    if (is(s, "gone") && s->moved > SOON(io))
        return -ENODEV;
    if (is(s, "short") && size > 7)
        size = 7;
    for (snd_pcm_uframes_t i = offset; i < offset + size; i++)
        for (unsigned channel = 0; channel < io->channels; channel++) {
            if (io->stream == SND_PCM_STREAM_CAPTURE)
                *sample(areas + channel, i) = channel ? -1 : 100;
            else if (*sample(areas + channel, i) != *sample(areas, i))
                return -EIO;
        }
    s->moved += (int64_t)size;
    return (snd_pcm_sframes_t)size;
}

static int end(snd_pcm_ioplug_t *io) {
    free(io->private_data);
    return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
    .start = start, .stop = stop, .pointer = pointer, .transfer = transfer, .prepare = prepare, .close = end};

static int limit(snd_pcm_ioplug_t *io, unsigned rate, unsigned channels) {
    static const unsigned access[] = {SND_PCM_ACCESS_RW_INTERLEAVED}, format[] = {SND_PCM_FORMAT_S16};
    int error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, access);
    error = error < 0 ? error : snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, format);
    error = error < 0 ? error
                      : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, channels, channels);
    error = error < 0 ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, rate, rate);
    error =
        error < 0 ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64, 65536);
    return error < 0 ? error
                     : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 128, 262144);
}

SND_PCM_PLUGIN_DEFINE_FUNC(sick) {
    (void)root;
    long rate = 8000, channels = 1;
    const char *fault = "";
    snd_config_t *n;
    if (snd_config_search(conf, "rate", &n) >= 0)
        snd_config_get_integer(n, &rate);
    if (snd_config_search(conf, "channels", &n) >= 0)
        snd_config_get_integer(n, &channels);
    if (snd_config_search(conf, "fault", &n) >= 0)
        snd_config_get_string(n, &fault);
    sick *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    strncpy(s->fault, fault, sizeof s->fault - 1);
    s->io = (snd_pcm_ioplug_t){
        .version = SND_PCM_IOPLUG_VERSION, .name = "sick", .callback = &callbacks, .private_data = s};
    int error = snd_pcm_ioplug_create(&s->io, name, stream, mode);
    if (error < 0) {
        free(s);
        return error;
    }
    error = limit(&s->io, (unsigned)rate, (unsigned)channels);
    if (error < 0) {
        snd_pcm_ioplug_delete(&s->io);
        return error;
    }
    *pcmp = s->io.pcm;
    return 0;
}
SND_PCM_PLUGIN_SYMBOL(sick)
