/* The matrix: each port's list of what it hears.
 *
 * How it works: a port hears another by one connection at most. A connection from a conference knows by which
 * one its sink talks in that conference, as this is to be taken out again (frame.c). Where a new gain would
 * be heard as a click it is reached over some frames.
 *
 * How to use it: see matrix.h; between two ticks. */

#include "matrix.h"

enum { RAMP_FRAMES = 5 };

/* 6 dB: what changes by more at once is heard as a click. */
static const float most_step = 1.9953f;

static connection *find(const port *sink, const port *source) {
    connection *c = sink->inputs;
    while (c && c->source != source)
        c = c->next;
    return c;
}

static void note_own(port *conference, port *party) {
    connection *heard = find(party, conference);
    if (heard)
        heard->own = find(conference, party);
}

/* After anything was changed between these two. */
static void note_conference(port *source, port *sink) {
    if (sink->sum)
        note_own(sink, source);
    else if (source->sum)
        note_own(source, sink);
}

static void cut(port *sink, const port *source, connection **out) {
    for (connection **link = &sink->inputs; *link;) {
        connection *c = *link;
        if (source && c->source != source) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        c->next = *out;
        *out = c;
    }
}

static bool clicks(float before, float after) {
    float least = before < after ? before : after, most = before < after ? after : before;
    return most > most_step * least;
}

connection *matrix_put(port *sink, connection *link) {
    connection *old = NULL;
    cut(sink, link->source, &old);
    if (old && old->heard && clicks(old->to, link->gain)) {
        link->to = old->to;
        link->ramp = RAMP_FRAMES;
    }
    link->next = sink->inputs;
    sink->inputs = link;
    note_conference(link->source, sink);
    return old;
}

void matrix_cut(port *sink, port *source, connection **out) {
    cut(sink, source, out);
    if (source)
        note_conference(source, sink);
}
