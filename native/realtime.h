/* Threads that must not be late, and locks that do not make them so. See realtime.c. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

int64_t now_ns(void); /* of CLOCK_MONOTONIC */

/* 0, or -1 and errno. */
int realtime_start(pthread_t *thread, void *(*run)(void *), void *argument);

/* The new thread calls it first; the kernel takes 15 characters. Whether it is real-time now. */
bool realtime_begin(const char *name, int priority);

int realtime_lock_init(pthread_mutex_t *lock); /* 0, or -1 and errno */
