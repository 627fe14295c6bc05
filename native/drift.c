/* Measures a device's clock against the tick's.
 *
 * What it does: counts samples against ticks, and draws a straight line through the count. A device that
 * sends a few samples more or less each time is known to a few ppm after twenty seconds. One that sends
 * chunks of a fixed size shows its drift only when a chunk comes a tick earlier or later than those before,
 * every 20 ms of drift: it is known to 10 ppm after ten such steps, and to 30 after three.
 *
 * How it works: the device's clock is seen through what arrives, which may be late, but never early. So of
 * each second only the tick counts in which most was there: late chunks and hiccups are not seen at all. The
 * line is the least squares', in which a second weighs less the older it is, as clocks change with
 * temperature. A device that stalled and lost sound has not changed its clock: the line is moved, and not
 * turned.
 *
 * How to use it: zeroed is ready; drift_receive what came, drift_tick once a tick. */

#include "drift.h"

#include <stddef.h>

#include "engine.h"

enum {
    SECOND_TICKS = 1000 / TICK_MS,
    LEAST_SECONDS = 20,
    MEMORY_SECONDS = 900,
    STALL_TICKS = 10, /* twice the longest chunk of a modem */
    /* A chunk that begins to come a tick earlier or later is one frame. */
    MOST_JUMP = 2 * FRAME_SAMPLES,
};

void drift_receive(drift *d, uint32_t samples) {
    d->ahead += samples;
    d->begun = true;
    d->silent = 0;
}

/* Time is counted from this second back. */
static void grow_older(drift *d) {
    const double fading = 1 - 1.0 / MEMORY_SECONDS;
    d->tt = fading * (d->tt - 2 * d->t + d->n);
    d->ty = fading * (d->ty - d->y);
    d->t = fading * (d->t - d->n);
    d->y *= fading;
    d->n *= fading;
}

static void add_second(drift *d) {
    int64_t jump = d->seconds ? d->peak - d->last : 0;
    if (d->stalled || jump > MOST_JUMP || jump < -MOST_JUMP) {
        d->ty += d->t * (double)jump;
        d->y += d->n * (double)jump;
    }
    d->n += 1;
    d->y += (double)d->peak;
    d->last = d->peak;
    d->seconds++;
}

void drift_tick(drift *d) {
    if (!d->begun)
        return;
    d->ahead -= FRAME_SAMPLES;
    if (++d->silent > STALL_TICKS)
        d->stalled = 2; /* its jump may be seen in the next one only */
    if (d->ticks == 0 || d->ahead > d->peak)
        d->peak = d->ahead;
    if (++d->ticks < SECOND_TICKS)
        return;
    grow_older(d);
    if (d->silent <= SECOND_TICKS)
        add_second(d);
    d->stalled -= d->stalled > 0;
    d->ticks = 0;
}

double drift_measured(const drift *d) {
    if (d->seconds < LEAST_SECONDS)
        return 0;
    return (d->n * d->ty - d->t * d->y) / (d->n * d->tt - d->t * d->t) / RATE_HZ;
}
