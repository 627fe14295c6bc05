/* Reading and writing a descriptor that belongs to a tty, or plays one, and never waits. See tty.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int fd;
    bool is_tty;
} tty;

/* Duplicates fd. false and errno; EINVAL: it blocks. */
bool tty_open(tty *t, int fd);
void tty_close(tty *t);

/* How many bytes; 0: none now; -1: no more ever, errno says why, 0 for the end of the file. */
ptrdiff_t tty_read(const tty *t, void *out, size_t size);
ptrdiff_t tty_write(const tty *t, const void *in, size_t size);
