/* A customer's playback queue: any orders in any order, with audio of any size, codec and rate. A checkpoint
 * is told once or was cleared, a clear is told once, and what was queued comes to its end. */

#include "port.h"
#include "script.h"

enum { MOST_ORDERS = 64, MOST_BYTES = 2000, MOST_TICKS = 5, EVENTS = 64 };

/* By mark: the order's number. */
typedef struct {
    enum { NOTHING, CHECKPOINT, CLEAR } kind;
    int told;
} order;

static void listen(engine *e, order *orders) {
    event events[EVENTS];
    int count;
    while ((count = engine_events(e, events, EVENTS)) > 0) {
        for (int i = 0; i < count; i++) {
            order *o = &orders[events[i].value];
            MUST(o->kind == (events[i].kind == EVENT_CLEARED ? CLEAR : CHECKPOINT));
            o->told++;
        }
    }
}

static void play(port *stream, script *s) {
    static const uint32_t rates[] = {8000, 16000, 24000, 32000, 44100, 48000, 22050, 0};
    int codec = (int)next_number(s, 2);
    uint32_t rate_hz = rates[next_number(s, 7)], size = next_number(s, MOST_BYTES);
    uint8_t *audio = calloc(1, size + 1);
    size_t given = (size_t)(s->end - s->at) < size ? (size_t)(s->end - s->at) : size;
    memcpy(audio, s->at, given);
    uint8_t *exact = copied(audio, size);
    bool carried = codec == CODEC_L16 ? rate_hz >= 8000 && rate_hz != 22050 : rate_hz == 8000;
    bool whole = codec != CODEC_L16 || size % 2 == 0;
    MUST(stream_play(stream, exact, size, codec, rate_hz) == (carried && whole ? 1 : -1));
    free(exact);
    free(audio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script s = {data, data + size};
    order orders[MOST_ORDERS] = {0};
    engine *e = engine_create();
    stream_options options = {
        .prefix = "<", .suffix = ">", .prefix_bytes = 1, .suffix_bytes = 1, .uplink = true};
    options.codec = CODEC_L16;
    options.rate_hz = next_number(&s, 1) ? 44100 : 8000;
    port *stream = stream_create(e, &options);
    MUST(stream);
    engine_connect(e, stream, stream, 1);
    char *message = malloc(stream_message_bytes(stream));
    for (int mark = 0; mark < MOST_ORDERS && s.at < s.end; mark++) {
        switch (next_number(&s, 4)) {
        case 0:
            play(stream, &s);
            break;
        case 1:
            orders[mark].kind = CHECKPOINT;
            stream_checkpoint(stream, mark);
            break;
        case 2:
            orders[mark].kind = CLEAR;
            stream_clear(stream, mark);
            break;
        case 3:
            while (stream_take(stream, message))
                ;
            break;
        default:
            engine_tick(e, (int)next_number(&s, MOST_TICKS));
            listen(e, orders);
        }
    }
    stream_stats stats;
    for (stream_read_stats(stream, &stats); stats.queued_ms; stream_read_stats(stream, &stats))
        engine_tick(e, 1);
    engine_tick(e, 1);
    listen(e, orders);
    bool cleared = false;
    for (int i = MOST_ORDERS - 1; i >= 0; i--) {
        cleared = cleared || orders[i].kind == CLEAR;
        MUST(orders[i].told == (orders[i].kind != NOTHING) || (cleared && orders[i].told == 0));
        MUST(orders[i].kind != CLEAR || orders[i].told == 1);
    }
    free(message);
    engine_destroy(e);
    return 0;
}
