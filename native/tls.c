/* A lane's TLS.
 *
 * What it does: turns what came from a socket into what it means, and what is to be said into what goes
 * there; it touches no socket and never waits.
 *
 * How it works: OpenSSL between two buffers. A name is looked for in the certificate as RFC 6125 wants it,
 * and told to the server (RFC 6066 3); an address is looked for and not told. Below TLS 1.2, and with keys
 * that OpenSSL's second security level calls weak, there is no connection. A server of TLS 1.2 that wants to
 * begin anew is refused.
 *
 * While the rest of a message of TLS's own has not come, nothing can be sealed: OpenSSL is in a handshake
 * then. What was said meanwhile is kept. New keys cost a hundred times what a frame does, so a server may
 * want them as often as time passes or much is said, and no flood of them holds up the other lanes.
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

#include "realtime.h"

enum {
    SECURITY_LEVEL = 2,
    FAULT_BYTES = 200,
    /* Of TLS's own messages after the handshake (tickets, new keys) a server may send so many at once, and
     * one more with each so many ms, or bytes that either side says. */
    OWN_AT_ONCE = 64,
    OWN_MS = 20,
    OWN_BYTES = 16384,
};

struct tls_trust {
    SSL_CTX *context;
};

struct tls {
    SSL *session;
    BIO *came, *going; /* the session's */
    BIO *kept;         /* what could not be sealed yet */
    bool dry;          /* nothing can be opened before more came */
    unsigned own;      /* messages that were TLS's own, and have not been judged */
    int64_t own_ns;    /* till when those that were last, at one each OWN_MS */
    char fault[FAULT_BYTES];
};

/* ---- whom to trust ---- */

static void note_own(int sent, int version, int kind, const void *message, size_t size, SSL *s, void *own) {
    (void)version, (void)message, (void)size, (void)s;
    if (!sent && kind == SSL3_RT_HANDSHAKE)
        ++*(unsigned *)own;
}

static bool believe(SSL_CTX *context, const char *ca) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_msg_callback(context, note_own);
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
    t->kept = BIO_new(BIO_s_mem());
    if (!t->session || !t->came || !t->going || !t->kept) {
        ERR_clear_error();
        SSL_free(t->session);
        BIO_free(t->came);
        BIO_free(t->going);
        BIO_free(t->kept);
        free(t);
        errno = ENOMEM;
        return NULL;
    }
    BIO_set_mem_eof_return(t->came, -1);
    SSL_set_bio(t->session, t->came, t->going);
    SSL_set_msg_callback_arg(t->session, &t->own);
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
    BIO_free(t->kept);
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

/* ---- messages of TLS's own ---- */

static const int64_t OWN_NS = OWN_MS * INT64_C(1000000);

/* Whether what a server has said for TLS's sake is no flood. */
static bool bears_with(tls *t) {
    if (!t->own)
        return true;
    int64_t now = now_ns();
    t->own_ns = (t->own_ns > now ? t->own_ns : now) + t->own * OWN_NS;
    t->own = 0;
    if (t->own_ns - now <= OWN_AT_ONCE * OWN_NS)
        return true;
    snprintf(t->fault, sizeof t->fault, "TLS: new keys too often");
    return false;
}

/* What either side has said pays for some. */
static void pay(tls *t, size_t bytes) {
    t->own_ns -= (int64_t)bytes * (OWN_NS / OWN_BYTES);
}

/* ---- what is said ---- */

/* SSL_write_ex's outcome; what wants to read first was not begun. */
static int seal(tls *t, const void *bytes, size_t size) {
    size_t sealed;
    ERR_clear_error();
    int error = outcome(t, SSL_write_ex(t->session, bytes, size, &sealed));
    if (error == SSL_ERROR_NONE)
        pay(t, size);
    return error;
}

bool tls_seal(tls *t, const void *bytes, size_t size) {
    if (size == 0)
        return true;
    int error = tls_kept(t) ? SSL_ERROR_WANT_READ : seal(t, bytes, size);
    return error == SSL_ERROR_WANT_READ ? BIO_write(t->kept, bytes, (int)size) == (int)size
                                        : error == SSL_ERROR_NONE;
}

size_t tls_kept(const tls *t) {
    return BIO_pending(t->kept);
}

static bool seal_kept(tls *t) {
    char *bytes;
    size_t size = (size_t)BIO_get_mem_data(t->kept, &bytes);
    if (size == 0)
        return true;
    int error = seal(t, bytes, size);
    if (error == SSL_ERROR_NONE)
        BIO_reset(t->kept);
    return error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ;
}

/* ---- what it means ---- */

static ssize_t open_some(tls *t, void *out, size_t size) {
    size_t got;
    while (true) {
        ERR_clear_error();
        int error = outcome(t, SSL_read_ex(t->session, out, size, &got));
        bool more = BIO_pending(t->came);
        /* To ask once more for nothing costs as much as to open a frame. */
        t->dry = !more && !SSL_pending(t->session);
        if (error == SSL_ERROR_NONE) {
            pay(t, got);
            return (ssize_t)got;
        }
        if (error != SSL_ERROR_WANT_READ || !bears_with(t))
            return -1;
        if (!more)
            return 0;
    }
}

ssize_t tls_open(tls *t, void *out, size_t size) {
    if (t->dry)
        return 0;
    ssize_t got = open_some(t, out, size);
    return got < 0 || seal_kept(t) ? got : -1;
}

size_t tls_owed(const tls *t) {
    return BIO_pending(t->going);
}

void tls_take_owed(tls *t, void *out, size_t size) {
    BIO_read(t->going, out, (int)size);
}
