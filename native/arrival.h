/* When what a socket gives came; one thread at a time for each. See arrival.c. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

typedef struct {
    int64_t ns;     /* what was read last, of now_ns; 0: unknown */
    unsigned looks; /* since the last that measured */
} arrival;

void arrival_begin(arrival *a, int fd);
ssize_t arrival_receive(arrival *a, int fd, void *out, size_t size); /* recv, without waiting */
