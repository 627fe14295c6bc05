/* What the tick tells control, and whom it wakes. See news.c. */
#pragma once

#include "port.h"

enum { EVENTS = 4096 /* a power of two */ };

typedef struct {
    int fd;      /* readable when control has something to do */
    int made_fd; /* readable when a stream has made a message; whose thread this wakes is said by diverted */
    atomic_bool diverted; /* false: control */
    event events[EVENTS];
    _Atomic uint32_t written, read;
    counter lost;
    bool some, made; /* the tick's own: in this tick */
} news;

int news_open(news *n); /* or -1 and errno; n is zero */
void news_close(news *n);

void news_tell(news *n, event told); /* tick */
void news_send(news *n);             /* tick: at its end */

int news_take(news *n, event *out, int capacity); /* control: how many; clears fd */
