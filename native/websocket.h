/* RFC 6455's frames, a client's. See websocket.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* 5.2: the first byte of a frame, without an extension's bits. */
    WEBSOCKET_FINAL = 0x80,
    WEBSOCKET_TEXT = 0x81,
    WEBSOCKET_CLOSE = 0x88,
    WEBSOCKET_PING = 0x89,
    WEBSOCKET_PONG = 0x8A,
    WEBSOCKET_MASKED = 0x80, /* of the second byte */
    WEBSOCKET_MOST_CONTROL = 125,

    /* Room before and after a payload that becomes a frame. */
    WEBSOCKET_HEAD = 14,
    WEBSOCKET_TAIL = 7,
};

/* The size of a frame's head; 0: more of it must come. */
size_t websocket_head(const uint8_t *in, size_t size, uint64_t *payload);

enum { WEBSOCKET_MASKS = 64 }; /* 256 bytes are what getrandom gives without fail */
typedef struct {
    unsigned left;
    uint32_t list[WEBSOCKET_MASKS];
} websocket_masks;

/* Makes the payload a final text frame; returns where that begins. It ends where the payload does. */
uint8_t *websocket_text(websocket_masks *masks, uint8_t *payload, size_t size);
