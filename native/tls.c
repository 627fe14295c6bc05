/* A lane's TLS.
 *
 * What it does: turns what came from a socket into what it means, and what is to be said into what goes
 * there; it touches no socket and never waits.
 *
 * How it works: OpenSSL between two buffers. A name is looked for in the certificate as RFC 6125 wants it,
 * and told to the server (RFC 6066 3); an address is looked for and not told. Below TLS 1.2, and with keys
 * that OpenSSL's second security level calls weak, there is no connection. A server of TLS 1.2 that wants to
 * begin anew is refused. New keys cost a hundred times what a frame does, so a server may want them as often
 * as it has much to say, and no flood of them holds up the other lanes.
 *
 * OpenSSL's list of errors is the thread's: Python's ssl would take for its own what is left in it.
 *
 * How to use it: see tls.h; of trust, engine.h. */

#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SECURITY_LEVEL = 2,
    FAULT_BYTES = 200,
    /* TLS's own messages after the handshake: tickets, new keys. */
    OWN_MOST = 32,
    OWN_EVERY_BYTES = 16384, /* one more */
};

struct tls_trust {
    SSL_CTX *context;
};

struct tls {
    SSL *session;
    BIO *came, *going; /* the session's */
    bool dry;          /* nothing can be opened before more came */
    uint64_t opened;   /* bytes */
    unsigned own;      /* messages that were TLS's own */
    char fault[FAULT_BYTES];
};

/* ---- whom to trust ---- */

static bool believe(SSL_CTX *context, const char *ca) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    /* To be back after each message of TLS's own. */
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) &&
           SSL_CTX_set_default_verify_paths(context) && (!ca || SSL_CTX_load_verify_file(context, ca));
}

tls_trust *tls_trust_create(const char *ca) {
    tls_trust *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    ERR_clear_error();
    t->context = SSL_CTX_new(TLS_client_method());
    if (!t->context || !believe(t->context, ca)) {
        ERR_clear_error();
        tls_trust_destroy(t);
        errno = EINVAL;
        return NULL;
    }
    return t;
}

void tls_trust_destroy(tls_trust *t) {
    if (!t)
        return;
    SSL_CTX_free(t->context);
    free(t);
}

/* ---- a session ---- */

static bool name_server(SSL *session, const char *host) {
    /* To OpenSSL no name is any name, and a dot before it any before that. */
    if (!*host || *host == '.')
        return false;
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host);
    SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(session, host) && SSL_set_tlsext_host_name(session, host);
}

tls *tls_create(const tls_trust *trust, const char *host) {
    tls *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->session = SSL_new(trust->context);
    t->came = BIO_new(BIO_s_mem());
    t->going = BIO_new(BIO_s_mem());
    if (!t->session || !t->came || !t->going) {
        ERR_clear_error();
        SSL_free(t->session);
        BIO_free(t->came);
        BIO_free(t->going);
        free(t);
        errno = ENOMEM;
        return NULL;
    }
    BIO_set_mem_eof_return(t->came, -1);
    SSL_set_bio(t->session, t->came, t->going);
    SSL_set_connect_state(t->session);
    if (!name_server(t->session, host)) {
        ERR_clear_error();
        tls_destroy(t);
        errno = EINVAL;
        return NULL;
    }
    return t;
}

void tls_destroy(tls *t) {
    if (!t)
        return;
    SSL_free(t->session);
    free(t);
}

/* ---- what passes ---- */

static void note_fault(tls *t) {
    long verdict = SSL_get_verify_result(t->session);
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    if (verdict != X509_V_OK)
        snprintf(t->fault, sizeof t->fault, "certificate verify failed: %s",
                 X509_verify_cert_error_string(verdict));
    else
        snprintf(t->fault, sizeof t->fault, "TLS: %s", reason ? reason : "failed");
}

/* SSL_get_error, of what was done with an empty list of errors; it is empty again. */
static int outcome(tls *t, int done) {
    int error = SSL_get_error(t->session, done);
    if (error == SSL_ERROR_SSL && !*t->fault)
        note_fault(t);
    ERR_clear_error();
    return error;
}

int tls_shake_hands(tls *t) {
    ERR_clear_error();
    int error = outcome(t, SSL_do_handshake(t->session));
    return error == SSL_ERROR_NONE ? 1 : error == SSL_ERROR_WANT_READ ? 0 : -1;
}

const char *tls_fault(const tls *t) {
    return t->fault;
}

void tls_farewell(tls *t) {
    SSL_shutdown(t->session);
    ERR_clear_error();
}

bool tls_came(tls *t, const void *bytes, size_t size) {
    t->dry = false;
    return BIO_write(t->came, bytes, (int)size) == (int)size;
}

/* Whether a server may say one more that is TLS's own. */
static bool bears_with(tls *t) {
    if (t->own++ < OWN_MOST + t->opened / OWN_EVERY_BYTES)
        return true;
    snprintf(t->fault, sizeof t->fault, "TLS: new keys too often");
    return false;
}

ssize_t tls_open(tls *t, void *out, size_t size) {
    size_t got;
    if (t->dry)
        return 0;
    while (true) {
        ERR_clear_error();
        int error = outcome(t, SSL_read_ex(t->session, out, size, &got));
        bool more = BIO_pending(t->came);
        /* To ask once more for nothing costs as much as to open a frame. */
        t->dry = !more && !SSL_pending(t->session);
        if (error == SSL_ERROR_NONE) {
            t->opened += got;
            return (ssize_t)got;
        }
        if (error != SSL_ERROR_WANT_READ || (more && !bears_with(t)))
            return -1;
        if (!more)
            return 0;
    }
}

bool tls_seal(tls *t, const void *bytes, size_t size) {
    size_t sealed;
    ERR_clear_error();
    return size == 0 || outcome(t, SSL_write_ex(t->session, bytes, size, &sealed)) == SSL_ERROR_NONE;
}

size_t tls_owed(const tls *t) {
    return BIO_pending(t->going);
}

void tls_take_owed(tls *t, void *out, size_t size) {
    BIO_read(t->going, out, (int)size);
}
