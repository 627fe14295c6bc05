/* A voice modem's stream: however its bytes are split, the same audio and the same news come of them; and
 * what was shielded comes back as it was. */

#include "dle.h"
#include "script.h"

/* Audio, and at each news its kind, its value, and how much audio there was before it. */
typedef struct {
    uint8_t *audio;
    size_t audio_bytes, news_count;
    struct {
        dle_news news;
        size_t after;
    } news[];
} transcript;

static transcript *read_in_parts(const uint8_t *bytes, size_t size, size_t part) {
    transcript *t = calloc(1, sizeof *t + (size + 1) * sizeof *t->news);
    t->audio = malloc(size + 1);
    dle d;
    dle_begin(&d, 800);
    for (size_t at = 0; at < size; at += part) {
        size_t left = size - at < part ? size - at : part;
        uint8_t *in = copied(bytes + at, left);
        for (size_t n = 0; n < left;) {
            uint8_t *out = malloc(left - n + 1);
            size_t made = 0;
            dle_news news = {0};
            n += dle_read(&d, in + n, left - n, out, &made, &news);
            memcpy(t->audio + t->audio_bytes, out, made);
            t->audio_bytes += made;
            if (news.kind != DLE_NONE) {
                t->news[t->news_count].news = news;
                t->news[t->news_count++].after = t->audio_bytes;
            }
            free(out);
        }
        free(in);
    }
    return t;
}

static void destroy(transcript *t) {
    free(t->audio);
    free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script s = {data, data + size};
    size_t part = 1 + next_number(&s, 255), left = (size_t)(s.end - s.at);

    transcript *whole = read_in_parts(s.at, left, left + 1), *parts = read_in_parts(s.at, left, part);
    MUST(whole->audio_bytes == parts->audio_bytes);
    MUST(memcmp(whole->audio, parts->audio, whole->audio_bytes) == 0);
    MUST(whole->news_count == parts->news_count);
    for (size_t i = 0; i < whole->news_count; i++) {
        MUST(whole->news[i].news.kind == parts->news[i].news.kind);
        MUST(whole->news[i].news.value == parts->news[i].news.value);
        MUST(whole->news[i].after == parts->news[i].after);
    }
    destroy(whole);
    destroy(parts);

    uint8_t *shielded = malloc(2 * left + 1);
    transcript *again = read_in_parts(shielded, dle_shield(shielded, s.at, left), part);
    MUST(again->audio_bytes == left && again->news_count == 0);
    MUST(left == 0 || memcmp(again->audio, s.at, left) == 0);
    destroy(again);
    free(shielded);
    return 0;
}
