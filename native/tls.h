/* TLS between bytes in memory; one thread at a time for each. See tls.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "port.h"

typedef struct tls tls;

/* A client's session. The host is a name, in ASCII, or an address; whom it trusts may go before it. */
tls *tls_create(const tls_trust *trust, const char *host);
void tls_destroy(tls *t); /* NULL is allowed */

int tls_shake_hands(tls *t);         /* 1: done; 0: more must come; -1: tls_fault says why not */
const char *tls_fault(const tls *t); /* empty: there was none */
void tls_farewell(tls *t);           /* says that nothing more will be sent (RFC 8446 6.1) */

bool tls_came(tls *t, const void *bytes, size_t size); /* from the socket; false: no memory */
ssize_t tls_open(tls *t, void *out, size_t size);      /* what it means; 0: more must come; -1: the end */
bool tls_seal(tls *t, const void *bytes, size_t size); /* to be sent; false: the session is over */
size_t tls_kept(const tls *t); /* bytes that were to be sealed, and can't be before more came */

/* For the socket; each of the above but tls_came may have made some. */
size_t tls_owed(const tls *t);
void tls_take_owed(tls *t, void *out, size_t size); /* no more than is owed */
