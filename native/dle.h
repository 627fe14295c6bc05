/* ITU-T V.253's shielded stream of bytes: audio, with codes between. See dle.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DLE_REPORT_BYTES = 1024 /* at most, in one */ };

typedef enum {
    DLE_NONE,   /* nothing but audio */
    DLE_CODE,   /* value: the character after <DLE> */
    DLE_DIGIT,  /* value: a key, once for each press */
    DLE_TEXT,   /* value: a character of a report */
    DLE_REPORT, /* its end */
    DLE_END,    /* <DLE><ETX> */
} dle_kind;

typedef struct {
    dle_kind kind;
    uint8_t value;
} dle_news;

typedef struct {
    uint32_t debounce_bytes;
    bool escaped; /* a <DLE> was read, what follows it was not */
    bool in_report;
    uint32_t report_bytes;
    bool in_press, told; /* between <DLE>/ and <DLE>~; its digit was told */
    uint8_t digit;       /* the last one, outside of these */
    uint32_t since;      /* audio bytes since then, up to debounce_bytes */
} dle;

void dle_begin(dle *d, uint32_t debounce_bytes); /* as much audio as parts two presses of one key */

/* Reads up to the first news, and with it: returns how many bytes. The audio in them is appended to out,
 * which has room for size + 1 bytes more. */
size_t dle_read(dle *d, const uint8_t *in, size_t size, uint8_t *out, size_t *made, dle_news *news);

/* Writes up to 2 * size bytes; returns how many. */
size_t dle_shield(uint8_t *out, const uint8_t *in, size_t size);
