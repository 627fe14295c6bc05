/* Knows audio messages again.
 *
 * What it does: finds the base64 in a message like one that was understood before.
 *
 * How it works: Python, which has understood a message, tells what stood before and after its payload. One
 * that equals this, but for the payload, can only mean what Python found: so no cloud's words and no JSON are
 * known here.
 *
 * How to use it: patterns_learn; then for each message patterns_find and pattern_audio. */

#include "pattern.h"

#include <stdbool.h>
#include <string.h>

#include "codec.h"

void patterns_learn(patterns *all, const lane_pattern *p) {
    if (p->before_bytes + p->after_bytes > PATTERN_BYTES)
        return;
    pattern *own = &all->list[all->learned++ % PATTERNS];
    own->before = p->before_bytes;
    own->after = p->after_bytes;
    own->codec = p->codec;
    own->rate_hz = p->rate_hz;
    memcpy(own->text, p->before, own->before);
    memcpy(own->text + own->before, p->after, own->after);
}

static bool has(const pattern *p, const uint8_t *text, size_t size) {
    return size > p->before + p->after && memcmp(text, p->text, p->before) == 0 &&
           memcmp(text + size - p->after, p->text + p->before, p->after) == 0;
}

const pattern *patterns_find(const patterns *all, const uint8_t *text, size_t size) {
    for (unsigned i = 0; i < PATTERNS && i < all->learned; i++)
        if (has(&all->list[i], text, size))
            return &all->list[i];
    return NULL;
}

/* JSON may write two of base64's characters otherwise: PHP the one, .NET the other. */
static size_t unescape(uint8_t *out, const uint8_t *in, size_t size) {
    uint8_t *begin = out;
    for (const uint8_t *end = in + size; in < end; out++) {
        size_t left = (size_t)(end - in);
        if (left >= 2 && memcmp(in, "\\/", 2) == 0) {
            *out = '/';
            in += 2;
        } else if (left >= 6 && (memcmp(in, "\\u002B", 6) == 0 || memcmp(in, "\\u002b", 6) == 0)) {
            *out = '+';
            in += 6;
        } else {
            *out = *in++;
        }
    }
    return (size_t)(out - begin);
}

ssize_t pattern_audio(const pattern *p, uint8_t *out, const uint8_t *text, size_t size) {
    text += p->before;
    size -= p->before + p->after;
    if (memchr(text, '\\', size)) {
        size = unescape(out, text, size);
        text = out;
    }
    return base64_decode(out, text, size);
}
