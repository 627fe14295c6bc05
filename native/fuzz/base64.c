/* Base64: what is taken is exactly what base64_encode writes, and means what it was made of. */

#include <sys/types.h>

#include "codec.h"
#include "script.h"

static void must_be_canonical(const uint8_t *text, size_t size) {
    uint8_t *in = copied(text, size), *out = malloc(size);
    ssize_t bytes = base64_decode(out, in, size);
    if (bytes >= 0) {
        char *again = malloc(base64_size((size_t)bytes));
        base64_encode(again, out, (size_t)bytes);
        MUST(base64_size((size_t)bytes) == size);
        MUST(memcmp(again, text, size) == 0);
        free(again);
    }
    free(out);
    free(in);
}

static void must_come_back(const uint8_t *bytes, size_t size) {
    uint8_t *in = copied(bytes, size), *text = malloc(base64_size(size));
    base64_encode((char *)text, in, size);
    /* In place, as a lane does it. */
    MUST(base64_decode(text, text, base64_size(size)) == (ssize_t)size);
    MUST(memcmp(text, bytes, size) == 0);
    free(text);
    free(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    must_be_canonical(data, size);
    must_come_back(data, size);
    return 0;
}
