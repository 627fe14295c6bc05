/* What it does: moves the ticks to shortly after the devices' chunks.
 *
 * How it works: what a device sends waits for the next tick, 10 ms on average; but nobody but us says when
 * that is. So every third tick has a look at its devices, LOOK_FAR and LOOK_NEAR before its time and
 * LOOK_AFTER behind it (clock.c): chunks of 20, 40 and 100 ms have all been seen after ten of these. If
 * nothing came soon before the tick, the ticks come earlier. If something came too close before it, they come
 * a little later, so that a chunk which is late once is still in time; if something came close behind it, a
 * little earlier, so that this chunk is not in time by chance; if both, they stay.
 *
 * So no chunk is overtaken, no sound lost or doubled, and a device whose clock drifts pulls the ticks along.
 * Of two that drift apart one has to pass the ticks in the end; that is what it would have done anyway.
 * The ticks are not moved past a chunk to where the others would wait less: whoever is passed loses a frame,
 * and what measures his clock (drift.c) takes that for the clock's, which costs more delay than was won.
 *
 * How to use it: set what was seen; phase_verdict after each look. */

#include "phase.h"

enum {
    LOOKS = 10,
    EARLIER_NS = 1500 * 1000, /* less than lies between LOOK_FAR and LOOK_NEAR */
    STEP_NS = 250 * 1000,
};

static int64_t shift(const phase *p) {
    if (p->close && p->late)
        return 0;
    if (p->close)
        return STEP_NS;
    if (p->late)
        return -STEP_NS;
    return p->soon ? 0 : -EARLIER_NS;
}

int64_t phase_verdict(phase *p) {
    if (++p->looks < LOOKS)
        return 0;
    int64_t by = shift(p);
    *p = (phase){0};
    return by;
}
