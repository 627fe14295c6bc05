/* A WebSocket that passes a lane, split anywhere: a lane that knows no message hands over all that comes but
 * a frame's unfinished head; one that does leaves whole messages out and nothing else, and keeps the order.
 */

#include <sys/socket.h>
#include <unistd.h>

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

/* A lane, and where its server writes. */
typedef struct {
    lane *lane;
    int near, far;
} ends;

static ends connect_lane(void) {
    int fds[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    return (ends){lane_create(fds[0], NULL, NULL), fds[0], fds[1]};
}

static void disconnect(ends c) {
    lane_destroy(c.lane);
    close(c.near);
    close(c.far);
}

/* Sends all of it; returns what was handed over, the caller's to free. */
static uint8_t *pass(ends c, script s, bool obey, size_t *handed) {
    lane *l = c.lane;
    uint8_t *out = malloc((size_t)(s.end - s.at) + 1);
    *handed = 0;
    while (s.at < s.end) {
        size_t part = 1 + next_number(&s, MOST_AT_ONCE - 1), left = (size_t)(s.end - s.at);
        part = part < left ? part : left;
        MUST(write(c.far, s.at, part) == (ssize_t)part);
        s.at += part;
        lane_receive(l);
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
    ends c = connect_lane();
    size_t came, handed;
    uint8_t *all = plain(s, &came), *out = pass(c, s, true, &handed);
    MUST(handed <= came && came - handed < 14);
    handed += end_of(c.lane, out + handed);
    MUST(handed == came && memcmp(out, all, came) == 0);
    free(all);
    free(out);
    disconnect(c);
}

static void must_keep_the_order(script s, bool obey) {
    static const char head[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    char scratch[sizeof head];
    engine *e = engine_create();
    port *stream = stream_create(
        e, &(stream_options){
               .prefix = "", .suffix = "", .codec = CODEC_PCMA, .rate_hz = RATE_HZ, .uplink = true});
    ends c = connect_lane();
    lane *l = c.lane;
    MUST(stream && lane_join(l, stream) == 0);
    lane_learn(l, &pattern);
    MUST(write(c.far, head, sizeof head - 1) == sizeof head - 1);
    lane_receive(l);
    lane_take(l, scratch, sizeof scratch);
    size_t came, handed, at = 0;
    uint8_t *all = plain(s, &came), *out = pass(c, s, obey, &handed);
    handed += end_of(l, out + handed);
    for (size_t i = 0; i < came && at < handed; i++)
        at += all[i] == out[at];
    stream_stats stats;
    stream_read_stats(stream, &stats);
    MUST(at == handed);
    MUST((came == handed) == (stats.lane_messages == 0));
    engine_tick(e, 2);
    free(all);
    free(out);
    lane_leave(l);
    disconnect(c);
    engine_destroy(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script s = {data, data + size};
    bool obey = next_number(&s, 1);
    must_hand_over_all(s);
    must_keep_the_order(s, obey);
    return 0;
}
