/* Caller id on a line: any samples are heard without harm; a message that was sent in FSK is taken as it was,
 * and what is taken of a disturbed one is never longer than a message can be. */

#include "port.h"
#include "script.h"

enum { MOST_SAMPLES = 3 * RATE_HZ, MOST_MESSAGE = 64, MOST_DISTURBED = 20, TYPE_AND_LENGTH = 2 };

/* How long the first message was that came, of those that must be in out; -1: none came. */
static int heard(int kind, const int16_t *samples, size_t count, uint8_t *out) {
    engine *e = engine_create();
    port *line = player_create(e, samples, count, false);
    MUST(line && port_detect_caller_id(line, kind) == 0);
    engine_tick(e, (int)(count / FRAME_SAMPLES) + 10);
    int size = port_take_caller_id(line, out);
    uint8_t *others = malloc(CALLER_ID_BYTES);
    for (int other = size; other; other = port_take_caller_id(line, others))
        MUST(other > 0 && other <= CALLER_ID_BYTES);
    free(others);
    engine_destroy(e);
    return size ? size : -1;
}

static void hear_anything(int kind, const script *s) {
    size_t count = (size_t)(s->end - s->at) / sizeof(int16_t);
    int16_t *samples = malloc(count * sizeof *samples + 1);
    uint8_t *out = malloc(CALLER_ID_BYTES);
    if (count)
        memcpy(samples, s->at, count * sizeof *samples);
    heard(kind, samples, count, out);
    free(out);
    free(samples);
}

static void hear_message(int kind, script *s) {
    static const char keys[] = "0123456789ABCD*#";
    int16_t *samples = malloc(MOST_SAMPLES * sizeof *samples);
    uint8_t message[MOST_MESSAGE], *out = malloc(CALLER_ID_BYTES);
    uint32_t size = 1 + next_number(s, MOST_MESSAGE - 1), disturbed = next_number(s, MOST_DISTURBED);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t byte = next_number(s, UINT8_MAX);
        message[i] = (uint8_t)(kind == CALLER_ID_KEYS ? keys[byte % 16] : byte);
    }
    size_t count = caller_id_make(kind, message, size, samples, MOST_SAMPLES);
    for (uint32_t i = 0; i < disturbed && count; i++)
        samples[next_number(s, (uint32_t)count - 1)] = (int16_t)next_number(s, UINT16_MAX);
    int came = heard(kind, samples, count, out);
    if (count && count < MOST_SAMPLES && !disturbed && kind != CALLER_ID_KEYS && size > TYPE_AND_LENGTH) {
        MUST(came == (int)size && out[0] == message[0] && out[1] == size - TYPE_AND_LENGTH);
        MUST(memcmp(out + TYPE_AND_LENGTH, message + TYPE_AND_LENGTH, size - TYPE_AND_LENGTH) == 0);
    }
    free(out);
    free(samples);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script s = {data, data + size};
    int kind = CALLER_ID_BELL202 + (int)next_number(&s, 2);
    if (next_number(&s, 1))
        hear_message(kind, &s);
    else
        hear_anything(kind, &s);
    return 0;
}
