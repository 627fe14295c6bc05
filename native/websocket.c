/* A WebSocket client's frames (RFC 6455): their heads read, texts made into them.
 *
 * How it works: a text is masked where it stands, eight bytes at a time, which may go seven bytes too far;
 * its head is written before it. Masks come from the kernel, many at once.
 *
 * How to use it: see websocket.h. */

#include "websocket.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

size_t websocket_head(const uint8_t *in, size_t size, uint64_t *payload) {
    if (size < 2)
        return 0;
    size_t length = in[1] & 127, digits = length == 127 ? 8 : length == 126 ? 2 : 0;
    if (size < 2 + digits)
        return 0;
    *payload = digits ? 0 : length;
    for (size_t i = 0; i < digits; i++)
        *payload = *payload << 8 | in[2 + i];
    return 2 + digits + (in[1] & WEBSOCKET_MASKED ? 4 : 0);
}

/* 10.3: nobody may foresee a mask. */
static uint32_t next_mask(websocket_masks *masks) {
    if (masks->left == 0) {
        if (getrandom(masks->list, sizeof masks->list, 0) != sizeof masks->list)
            abort();
        masks->left = WEBSOCKET_MASKS;
    }
    return masks->list[--masks->left];
}

static uint8_t *write_head(uint8_t *payload, size_t size, uint32_t mask) {
    uint8_t *head = payload - sizeof mask;
    memcpy(head, &mask, sizeof mask);
    if (size < 126) {
        *--head = (uint8_t)(WEBSOCKET_MASKED | size);
    } else {
        size_t digits = size <= UINT16_MAX ? 2 : 8, left = size;
        for (size_t i = 0; i < digits; i++, left >>= 8)
            *--head = (uint8_t)left;
        *--head = WEBSOCKET_MASKED | (digits == 2 ? 126 : 127);
    }
    *--head = WEBSOCKET_TEXT;
    return head;
}

uint8_t *websocket_text(websocket_masks *masks, uint8_t *payload, size_t size) {
    uint32_t mask = next_mask(masks);
    uint64_t word, key = mask | (uint64_t)mask << 32;
    for (size_t i = 0; i < size; i += sizeof word) {
        memcpy(&word, payload + i, sizeof word);
        word ^= key;
        memcpy(payload + i, &word, sizeof word);
    }
    return write_head(payload, size, mask);
}
