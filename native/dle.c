/* What it does: takes a voice modem's stream apart into audio, codes, keys, reports and its end, and shields
 * audio that is sent to one.
 *
 * How it works: every byte is audio except what follows a <DLE>, which may be the last byte of a read: the
 * state is kept from one to the next.
 *
 *     <DLE><DLE>          one 0x10 of audio
 *     <DLE><SUB>          two of them
 *     <DLE><ETX>          the end: what follows is the AT dialogue again
 *     <DLE>/ ... <DLE>~   a key is held; <DLE><digit>, repeated every 70 ms, stands between them
 *     <DLE>X ... <DLE>.   a report in lines of text, which is no audio
 *     <DLE>T              a timing mark, of no interest
 *     <DLE>c              a code
 *
 * A modem that does not bracket a press sends its digit once, or repeats it: without <DLE>/ a digit is a new
 * press when another one, or debounce_bytes of audio, came since it was last sent. Should the end of a report
 * get lost, so would all audio after it: no report is longer than DLE_REPORT_BYTES.
 *
 * How to use it: dle_begin; then dle_read what comes until all of it is read, or the end came. */

#include "dle.h"

#include <string.h>

enum { DLE = 0x10, ETX = 0x03, SUB = 0x1A };

void dle_begin(dle *d, uint32_t debounce_bytes) {
    *d = (dle){.debounce_bytes = debounce_bytes, .since = debounce_bytes};
}

static void heard(dle *d, uint32_t bytes) {
    d->since = d->since + bytes < d->debounce_bytes ? d->since + bytes : d->debounce_bytes;
}

static dle_kind press(dle *d, uint8_t digit) {
    bool again = d->in_press ? d->told : digit == d->digit && d->since < d->debounce_bytes;
    if (!d->in_press)
        d->digit = digit;
    d->told = d->in_press;
    d->since = 0;
    return again ? DLE_NONE : DLE_DIGIT;
}

/* One begins, or ends: what there was of another one ends then, too. */
static dle_kind report(dle *d, bool begins) {
    bool ends = !begins || d->report_bytes;
    d->in_report = begins;
    d->report_bytes = 0;
    return ends ? DLE_REPORT : DLE_NONE;
}

static dle_kind code(dle *d, uint8_t c) {
    switch (c) {
    case ETX:
        return DLE_END;
    case 'T':
        return DLE_NONE;
    case '/':
    case '~':
        d->in_press = c == '/';
        d->told = false;
        d->digit = 0;
        return DLE_NONE;
    case 'X':
    case '.':
        return report(d, c == 'X');
    }
    return c && strchr("0123456789*#ABCD", c) ? press(d, c) : DLE_CODE;
}

size_t dle_read(dle *d, const uint8_t *in, size_t size, uint8_t *out, size_t *made, dle_news *news) {
    size_t at = 0;
    news->kind = DLE_NONE;
    while (at < size && news->kind == DLE_NONE) {
        uint8_t c = in[at++];
        bool escaped = d->escaped;
        d->escaped = !escaped && c == DLE;
        if (d->escaped)
            continue;
        uint32_t bytes = !escaped || c == DLE ? 1 : c == SUB ? 2 : 0;
        news->value = c;
        if (bytes == 0) {
            news->kind = code(d, c);
        } else if (d->in_report) {
            news->kind = DLE_TEXT;
            d->in_report = ++d->report_bytes < DLE_REPORT_BYTES;
        } else {
            memset(out + *made, escaped ? DLE : c, bytes);
            *made += bytes;
            heard(d, bytes);
        }
    }
    return at;
}

size_t dle_shield(uint8_t *out, const uint8_t *in, size_t size) {
    size_t made = 0;
    for (size_t i = 0; i < size; i++) {
        out[made++] = in[i];
        if (in[i] == DLE)
            out[made++] = DLE;
    }
    return made;
}
