/* A WebSocket that passes a lane, split anywhere: a lane that knows no message hands over all that comes but
 * a frame's unfinished head; one that does leaves whole messages out and nothing else, and keeps the order.
 */

#include "port.h"
#include "script.h"

enum { MOST_AT_ONCE = 4096 };

static const lane_pattern pattern = {
    .before = "{\"a\":\"",
    .after = "\"}",
    .before_bytes = 6,
    .after_bytes = 2,
    .codec = CODEC_PCMA,
    .rate_hz = RATE_HZ,
};

/* Feeds all of it; returns what was handed over, the caller's to free. */
static uint8_t *pass(lane *l, script s, bool obey, size_t *handed) {
    uint8_t *out = malloc((size_t)(s.end - s.at) + 1);
    *handed = 0;
    while (s.at < s.end) {
        size_t part = 1 + next_number(&s, MOST_AT_ONCE - 1), left = (size_t)(s.end - s.at);
        uint8_t *bytes = copied(s.at, part = part < left ? part : left);
        MUST(lane_feed(l, bytes, part) >= 0);
        free(bytes);
        s.at += part;
        while (lane_handed(l)) {
            *handed += lane_handed(l);
            lane_take(l, out + *handed - lane_handed(l), SIZE_MAX);
            /* What waited behind a message may be handed over now. */
            if (obey)
                lane_obeyed(l);
        }
    }
    return out;
}

/* The same without the lane. */
static uint8_t *plain(script s, size_t *size) {
    uint8_t *out = malloc((size_t)(s.end - s.at) + 1);
    *size = 0;
    while (s.at < s.end) {
        size_t part = 1 + next_number(&s, MOST_AT_ONCE - 1), left = (size_t)(s.end - s.at);
        memcpy(out + *size, s.at, part = part < left ? part : left);
        *size += part;
        s.at += part;
    }
    return out;
}

static size_t end_of(lane *l, uint8_t *out) {
    lane_end(l);
    size_t size = lane_handed(l);
    lane_take(l, out, size);
    return size;
}

static void must_hand_over_all(script s) {
    lane *l = lane_create(-1, true);
    size_t came, handed;
    uint8_t *all = plain(s, &came), *out = pass(l, s, true, &handed);
    MUST(handed <= came && came - handed < 14);
    handed += end_of(l, out + handed);
    MUST(handed == came && memcmp(out, all, came) == 0);
    free(all);
    free(out);
    lane_destroy(l);
}

static void must_keep_the_order(script s, bool obey) {
    static const char head[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    char scratch[sizeof head];
    engine *e = engine_create();
    port *stream = stream_create(
        e, &(stream_options){
               .prefix = "", .suffix = "", .codec = CODEC_PCMA, .rate_hz = RATE_HZ, .uplink = true});
    lane *l = lane_create(-1, true);
    MUST(stream && lane_join(l, stream) == 0);
    lane_learn(l, &pattern);
    lane_feed(l, head, sizeof head - 1);
    lane_take(l, scratch, sizeof scratch);
    size_t came, handed, at = 0;
    uint8_t *all = plain(s, &came), *out = pass(l, s, obey, &handed);
    handed += end_of(l, out + handed);
    for (size_t i = 0; i < came && at < handed; i++)
        at += all[i] == out[at];
    stream_stats stats;
    stream_read_stats(stream, &stats);
    MUST(at == handed);
    MUST((came == handed) == (stats.lane_messages == 0));
    engine_tick(e, 2);
    uint8_t *frame = malloc(lane_frame_bytes(l));
    while (lane_frame(l, frame))
        ;
    free(frame);
    free(all);
    free(out);
    lane_leave(l);
    lane_destroy(l);
    engine_destroy(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script s = {data, data + size};
    bool obey = next_number(&s, 1);
    must_hand_over_all(s);
    must_keep_the_order(s, obey);
    return 0;
}
