#include "sys/tls_server.h"

#include "../sanitized.h"
#include "../test.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/mem.h"

/* A real client of OpenSSL at the other end of a socket pair. Both ends never wait, and one thread
 * drives them in turn, so nothing here depends on the clock. */

static char folder[64];
static int folder_fd;
static char cert_file[96], key_file[96];
static struct tls_server *server;

enum { TURNS_MAX = 100000 }; /* far more than any of it takes */

/* ---- certificates ---- */

static char *in_folder(char ret[96], const char *name)
{
    (void)snprintf(ret, 96, "%s/%s", folder, name);
    return ret;
}

static EVP_PKEY *make_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    return key;
}

static void write_key(const char *path, EVP_PKEY *key, const char *pass_phrase)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, pass_phrase ? EVP_aes_128_cbc() : NULL, NULL, 0,
                                          NULL, (void *)(uintptr_t)pass_phrase),
                     1);
    assert_int_equal(fclose(f), 0);
}

static void write_cert(const char *path, EVP_PKEY *key, long serial)
{
    X509 *x = X509_new();
    assert_non_null(x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"ftp.example", -1,
                               -1, 0);
    X509_set_issuer_name(x, name);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(x);
}

static int set_up(void **state UNUSED)
{
    folder_fd = test_folder_new(folder);
    EVP_PKEY *key = make_key();
    write_key(in_folder(key_file, "key.pem"), key, NULL);
    write_cert(in_folder(cert_file, "cert.pem"), key, 1);
    EVP_PKEY_free(key);
    struct err e = {0};
    if (tls_server_new(cert_file, key_file, &server, &e) < 0)
        fail_msg("%s", e.text);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    tls_server_free(server);
    server = NULL;
    test_folder_remove(folder, folder_fd);
    return 0;
}

/* ---- two ends ---- */

struct client_options {
    int version;          /* the only one; 0 = any */
    const char *ciphers;  /* of TLS 1.2; NULL = the default */
    const char *alpn;     /* wire format */
    SSL_SESSION *session; /* to resume */
    bool no_tickets;      /* of the client: it resumes by number */
    bool data;            /* the server sends no tickets */
    bool counts;          /* tickets_seen; its sessions can then be used only once */
};

struct ends {
    int fds[2]; /* client, server */
    SSL_CTX *context;
    SSL *client;
    struct tls_conn *conn;
    struct err error; /* of the server */
};

static int tickets_seen;
static int on_client_session(SSL *ssl UNUSED, SSL_SESSION *session UNUSED)
{
    tickets_seen++;
    return 0;
}

static struct ends connect_ends(const struct client_options *o)
{
    struct ends n = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, n.fds), 0);
    n.context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_options(n.context, o->no_tickets ? SSL_OP_NO_TICKET : 0);
    if (o->version) {
        SSL_CTX_set_security_level(n.context, 0); /* old versions want it so */
        assert_int_equal(SSL_CTX_set_min_proto_version(n.context, o->version), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(n.context, o->version), 1);
    }
    if (o->ciphers)
        assert_int_equal(SSL_CTX_set_cipher_list(n.context, o->ciphers), 1);
    SSL_CTX_set_session_cache_mode(n.context,
                                   o->counts ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                             : SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_new_cb(n.context, on_client_session);
    n.client = SSL_new(n.context);
    assert_int_equal(SSL_set_fd(n.client, n.fds[0]), 1);
    SSL_set_connect_state(n.client);
    if (o->alpn)
        assert_int_equal(SSL_set_alpn_protos(n.client, (const unsigned char *)o->alpn,
                                             (unsigned)strlen(o->alpn)),
                         0);
    if (o->session)
        assert_int_equal(SSL_set_session(n.client, o->session), 1);
    assert_int_equal(tls_conn_new(server, n.fds[1], &n.conn, &n.error), 0);
    if (o->data)
        tls_conn_without_tickets(n.conn);
    return n;
}

static void free_client(struct ends *n)
{
    if (n->client) /* else OpenSSL spoils its session, which another connection may use */
        SSL_set_shutdown(n->client, SSL_SENT_SHUTDOWN);
    SSL_free(n->client);
    SSL_CTX_free(n->context);
    n->client = NULL;
    n->context = NULL;
}

/* The client's end of the connection ends, and TLS knows nothing of it. */
static void cut(struct ends *n)
{
    assert_int_equal(shutdown(n->fds[0], SHUT_WR), 0);
}

static void free_ends(struct ends *n)
{
    tls_conn_free(n->conn);
    free_client(n);
    for (int i = 0; i < 2; i++)
        if (n->fds[i] >= 0)
            (void)close(n->fds[i]);
}

/* 0, or what the server said of a handshake that failed. */
static int shake_hands(struct ends *n)
{
    int s = -EAGAIN, c = 0;
    for (int i = 0; i < TURNS_MAX && (s == -EAGAIN || c != 1); i++) {
        ERR_clear_error();
        c = SSL_do_handshake(n->client);
        if (s == -EAGAIN)
            s = tls_conn_handshake(n->conn, &n->error);
        if (s < 0 && s != -EAGAIN)
            return s;
        if (c != 1 && SSL_get_error(n->client, c) == SSL_ERROR_SSL)
            break;
    }
    if (s == 0 && c == 1)
        return 0;
    fail_msg("client %d, server %d %s", c, s, n->error.text);
    return -EIO;
}

static struct ends connected(const struct client_options *o)
{
    struct ends n = connect_ends(o);
    int r = shake_hands(&n);
    if (r < 0)
        fail_msg("%s", n.error.text);
    return n;
}

static void client_sends(struct ends *n, const char *text)
{
    assert_int_equal(SSL_write(n->client, text, (int)strlen(text)), strlen(text));
}

/* One byte from the server, so that the client takes the tickets that come before it. */
static void client_hears(struct ends *n)
{
    char byte;
    assert_int_equal(tls_conn_write(n->conn, "!", 1, &n->error), 1);
    assert_int_equal(SSL_read(n->client, &byte, 1), 1);
}

static const struct client_options any = {0};
static const struct client_options tls12 = {.version = TLS1_2_VERSION};
static const struct client_options tls13 = {.version = TLS1_3_VERSION};
static const struct client_options counting = {.version = TLS1_3_VERSION, .counts = true};

/* ---- handshakes ---- */

static void tls_12_and_13_are_spoken(void **state UNUSED)
{
    struct ends old = connected(&tls12), new = connected(&tls13), best = connected(&any);
    assert_string_equal(tls_conn_version(old.conn), "TLSv1.2");
    assert_string_equal(tls_conn_version(new.conn), "TLSv1.3");
    assert_string_equal(tls_conn_version(best.conn), "TLSv1.3");
    assert_null(SSL_get_current_compression(old.client));
    assert_int_equal(SSL_get_secure_renegotiation_support(old.client), 1);
    free_ends(&old);
    free_ends(&new);
    free_ends(&best);
}

static void older_tls_is_refused_in_plain_words(void **state UNUSED)
{
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct client_options o = {.version = versions[i], .ciphers = "ALL:@SECLEVEL=0"};
        struct ends n = connect_ends(&o);
        assert_int_equal(shake_hands(&n), -EPROTO);
        assert_string_equal(n.error.text, "it speaks no TLS from 1.2 on");
        free_ends(&n);
    }
}

static void weak_ciphers_are_refused(void **state UNUSED)
{
    static const char *const cases[] = {"AES128-SHA:@SECLEVEL=0", "AES256-GCM-SHA384:@SECLEVEL=0",
                                        "aNULL:@SECLEVEL=0", "eNULL:@SECLEVEL=0"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client_options o = {.version = TLS1_2_VERSION, .ciphers = cases[i]};
        struct ends n = connect_ends(&o);
        assert_int_equal(shake_hands(&n), -EPROTO);
        test_expect_text(cases[i], n.error.text, "it knows none of our ciphers");
        free_ends(&n);
    }
    /* What cameras with an old TLS 1.2 have. */
    struct client_options o = {.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA"};
    struct ends n = connected(&o);
    free_ends(&n);
}

static void what_is_no_tls_is_told_apart(void **state UNUSED)
{
    static const char *const cases[] = {"USER camera\r\nPASS secret\r\n", "GET / HTTP/1.1\r\n\r\n",
                                        "POST / HTTP/1.1\r\n\r\n", "\r\n\r\n\r\n\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ends n = connect_ends(&any);
        assert_true(write(n.fds[0], cases[i], strlen(cases[i])) > 0);
        assert_int_equal(tls_conn_handshake(n.conn, &n.error), -EPROTO);
        test_expect_text(cases[i], n.error.text, "what it sent is no TLS");
        assert_int_equal(tls_conn_close(n.conn, &n.error), 0);
        free_ends(&n);
    }
}

static void a_connection_that_ends_within_the_handshake_says_so(void **state UNUSED)
{
    struct ends n = connect_ends(&any);
    assert_int_equal(SSL_do_handshake(n.client), -1);
    assert_int_equal(tls_conn_handshake(n.conn, &n.error), -EAGAIN);
    assert_int_equal(tls_conn_events(n.conn), POLLIN);
    cut(&n);
    assert_int_equal(tls_conn_handshake(n.conn, &n.error), -ECONNRESET);
    assert_string_equal(n.error.text, "TLS handshake: the other side closed the connection");
    free_ends(&n);
    n = connect_ends(&any);
    cut(&n);
    assert_int_equal(tls_conn_handshake(n.conn, NULL), -ECONNRESET);
    free_ends(&n);
}

static void who_asks_for_another_protocol_is_refused(void **state UNUSED)
{
    static const struct {
        const char *alpn, *chosen; /* NULL = refused */
    } cases[] = {
        {"\x03"
         "ftp",
         "ftp"},
        {"\x08"
         "ftp-data",
         "ftp-data"},
        {"\x08http/1.1\x03"
         "ftp",
         "ftp"},
        {"\x0fx-filezilla-ftp\x03"
         "ftp",
         "x-filezilla-ftp"},
        {"\x02h2\x08http/1.1", NULL},
        {"\x08http/1.1", NULL},
        {"\x04"
         "ftpx",
         NULL},
        {"\x02"
         "ft",
         NULL},
        {"\x04smtp", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client_options o = {.alpn = cases[i].alpn};
        struct ends n = connect_ends(&o);
        int r = shake_hands(&n);
        const unsigned char *got = NULL;
        unsigned len = 0;
        SSL_get0_alpn_selected(n.client, &got, &len);
        if (!cases[i].chosen) {
            assert_int_equal(r, -EPROTO);
            test_expect_text(cases[i].alpn, n.error.text,
                             "it wants another protocol than FTP (ALPN)");
        } else if (r < 0 || len != strlen(cases[i].chosen) || memcmp(got, cases[i].chosen, len)) {
            CASE_FAILS("%s: %.*s", cases[i].alpn, (int)len, (const char *)got);
        }
        free_ends(&n);
    }
}

static void renegotiation_is_refused(void **state UNUSED)
{
    struct ends n = connected(&tls12);
    char byte;
    assert_int_equal(SSL_renegotiate(n.client), 1);
    int c = SSL_do_handshake(n.client);
    for (int i = 0; i < 100 && c != 1; i++) {
        int64_t got = tls_conn_read(n.conn, &byte, 1, &n.error);
        assert_true(got == -EAGAIN || got < 0);
        if (got != -EAGAIN)
            break;
        c = SSL_do_handshake(n.client);
        if (c != 1 && SSL_get_error(n.client, c) == SSL_ERROR_SSL)
            break;
    }
    assert_int_not_equal(c, 1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    free_ends(&n);
}

static void a_client_that_distrusts_the_certificate_is_understood(void **state UNUSED)
{
    struct ends n = connect_ends(&tls12);
    SSL_set_verify(n.client, SSL_VERIFY_PEER, NULL);
    int s = -EAGAIN;
    for (int i = 0; i < 100 && s == -EAGAIN; i++) {
        (void)SSL_do_handshake(n.client); /* fails: nobody signed it */
        s = tls_conn_handshake(n.conn, &n.error);
    }
    ERR_clear_error();
    assert_int_equal(s, -EPROTO);
    assert_non_null(strstr(n.error.text, "it does not accept our certificate"));
    free_ends(&n);
}

/* ---- bytes ---- */

static void a_good_bye_is_told_apart_from_a_cut(void **state UNUSED)
{
    static const struct client_options *const versions[] = {&tls12, &tls13};
    char got[64];
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct ends polite = connected(versions[i]), rude = connected(versions[i]);
        client_sends(&polite, "picture");
        (void)SSL_shutdown(polite.client); /* waits for no answer */
        cut(&polite);
        assert_int_equal(tls_conn_read(polite.conn, got, sizeof(got), &polite.error), 7);
        assert_int_equal(tls_conn_read(polite.conn, got, sizeof(got), &polite.error), 0);
        assert_int_equal(tls_conn_read(polite.conn, got, sizeof(got), &polite.error), 0);

        client_sends(&rude, "picture");
        cut(&rude);
        assert_int_equal(tls_conn_read(rude.conn, got, sizeof(got), &rude.error), 7);
        assert_int_equal(tls_conn_read(rude.conn, got, sizeof(got), &rude.error), -ECONNRESET);
        assert_string_equal(rude.error.text, "the other side closed the connection");
        assert_false(tls_conn_pending(rude.conn));
        assert_int_equal(tls_conn_close(rude.conn, &rude.error), 0); /* says nothing more */

        struct ends rudest = connected(versions[i]);
        assert_int_equal(tls_conn_write(rudest.conn, "unread", 6, &rudest.error), 6);
        (void)close(rudest.fds[0]); /* with bytes unread: a reset */
        rudest.fds[0] = -1;
        assert_int_equal(tls_conn_read(rudest.conn, got, sizeof(got), &rudest.error), -ECONNRESET);
        free_ends(&rudest);
        free_ends(&polite);
        free_ends(&rude);
    }
}

/* Somebody on the way drops the end of a record, and closes properly as far as TCP knows. */
static void a_record_that_was_cut_is_no_end(void **state UNUSED)
{
    struct ends n = connected(&tls13);
    int wire[2];
    char record[256], got[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, wire), 0);
    assert_int_equal(SSL_set_wfd(n.client, wire[0]), 1);
    client_sends(&n, "a picture that is cut");
    ssize_t size = read(wire[1], record, sizeof(record));
    assert_true(size > 30);
    assert_int_equal(write(n.fds[0], record, (size_t)size - 5), size - 5);
    assert_int_equal(tls_conn_read(n.conn, got, sizeof(got), &n.error), -EAGAIN);
    assert_false(tls_conn_pending(n.conn)); /* there are bytes, but nothing comes of them */
    assert_int_equal(shutdown(n.fds[0], SHUT_WR), 0);
    assert_int_equal(tls_conn_read(n.conn, got, sizeof(got), &n.error), -ECONNRESET);
    (void)close(wire[0]);
    (void)close(wire[1]);
    free_ends(&n);
}

static void a_record_that_was_changed_is_refused(void **state UNUSED)
{
    struct ends n = connected(&tls13);
    int wire[2];
    char record[256], got[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, wire), 0);
    assert_int_equal(SSL_set_wfd(n.client, wire[0]), 1);
    client_sends(&n, "a picture that is changed");
    ssize_t size = read(wire[1], record, sizeof(record));
    assert_true(size > 30);
    record[20] = (char)(record[20] ^ 1);
    assert_int_equal(write(n.fds[0], record, (size_t)size), size);
    assert_int_equal(tls_conn_read(n.conn, got, sizeof(got), &n.error), -EPROTO);
    assert_non_null(strstr(n.error.text, "TLS broke: "));
    (void)close(wire[0]);
    (void)close(wire[1]);
    free_ends(&n);
}

static void our_good_bye_is_heard(void **state UNUSED)
{
    struct ends n = connected(&any);
    char got[8];
    assert_int_equal(tls_conn_write(n.conn, "bye", 3, &n.error), 3);
    assert_int_equal(tls_conn_close(n.conn, &n.error), 0);
    assert_int_equal(SSL_read(n.client, got, sizeof(got)), 3);
    int r = SSL_read(n.client, got, sizeof(got));
    assert_int_equal(SSL_get_error(n.client, r), SSL_ERROR_ZERO_RETURN);
    client_sends(&n, "late"); /* what was under way is still read */
    assert_int_equal(tls_conn_read(n.conn, got, sizeof(got), &n.error), 4);
    free_ends(&n);
}

static void what_poll_does_not_tell_is_pending(void **state UNUSED)
{
    struct ends n = connected(&tls12);
    char got[8];
    assert_false(tls_conn_pending(n.conn));
    client_sends(&n, "12345678");
    client_sends(&n, "abcdefgh"); /* another record, read along with the first */
    assert_int_equal(tls_conn_read(n.conn, got, 4, &n.error), 4);
    assert_true(tls_conn_pending(n.conn));
    assert_int_equal(tls_conn_read(n.conn, got, 8, &n.error), 4);
    struct pollfd p = {.fd = n.fds[1], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_true(tls_conn_pending(n.conn));
    assert_int_equal(tls_conn_read(n.conn, got, 8, &n.error), 8);
    assert_memory_equal(got, "abcdefgh", 8);
    assert_int_equal(tls_conn_read(n.conn, got, 8, &n.error), -EAGAIN);
    assert_false(tls_conn_pending(n.conn));
    assert_int_equal(tls_conn_events(n.conn), POLLIN);
    free_ends(&n);
}

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

enum { BIG = 8 << 20 };

static void a_big_file_arrives_whole(void **state UNUSED)
{
    static const struct client_options *const versions[] = {&tls12, &tls13};
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        struct ends n = connected(versions[v]);
        unsigned char *file = malloc(BIG), block[50000];
        size_t sent = 0, received = 0;
        assert_non_null(file);
        for (size_t i = 0; i < BIG; i++)
            file[i] = pattern(i);
        SSL_set_mode(n.client, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        for (int i = 0; i < TURNS_MAX && received < BIG; i++) {
            int w = sent < BIG
                        ? SSL_write(n.client, file + sent, (int)MIN(BIG - sent, (size_t)60000))
                        : 0;
            sent += w > 0 ? (size_t)w : 0;
            int64_t r = tls_conn_read(n.conn, block, sizeof(block), &n.error);
            if (r == -EAGAIN)
                continue;
            assert_true(r > 0);
            assert_memory_equal(block, file + received, (size_t)r);
            received += (size_t)r;
        }
        assert_int_equal(received, BIG);
        free(file);
        free_ends(&n);
    }
}

static void a_big_file_is_sent_whole_through_a_narrow_socket(void **state UNUSED)
{
    static const struct client_options *const versions[] = {&tls12, &tls13};
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        struct ends n = connected(versions[v]);
        unsigned char *file = malloc(BIG), block[5000];
        size_t sent = 0, received = 0;
        bool waited = false;
        const int narrow = 5000;
        assert_int_equal(setsockopt(n.fds[1], SOL_SOCKET, SO_SNDBUF, &narrow, sizeof(narrow)), 0);
        assert_non_null(file);
        for (size_t i = 0; i < BIG; i++)
            file[i] = pattern(i);
        for (int i = 0; i < TURNS_MAX && received < BIG; i++) {
            if (sent < BIG) {
                int64_t w =
                    tls_conn_write(n.conn, file + sent, MIN(BIG - sent, (size_t)65536), &n.error);
                assert_true(w > 0 || w == -EAGAIN);
                sent += w > 0 ? (size_t)w : 0;
                if (w == -EAGAIN) {
                    waited = true;
                    assert_int_equal(tls_conn_events(n.conn), POLLOUT);
                }
            }
            int r = SSL_read(n.client, block, sizeof(block));
            if (r <= 0)
                continue;
            assert_memory_equal(block, file + received, (size_t)r);
            received += (size_t)r;
        }
        assert_int_equal(received, BIG);
        assert_true(waited);
        free(file);
        free_ends(&n);
    }
}

/* ---- resuming ---- */

static const struct {
    const char *name;
    struct client_options options;
} ways[] = {
    {"TLS 1.3", {.version = TLS1_3_VERSION}},
    {"TLS 1.2 by ticket", {.version = TLS1_2_VERSION}},
    {"TLS 1.2 by number", {.version = TLS1_2_VERSION, .no_tickets = true}},
};

static struct ends connected_as_data(const struct client_options *o, SSL_SESSION *session)
{
    struct client_options data = *o;
    data.session = session;
    data.data = true;
    return connected(&data);
}

static void a_data_connection_that_resumes_is_known(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        const struct client_options *o = &ways[i].options;
        struct ends control = connected(o), other = connected(o);
        client_hears(&control);
        client_hears(&other);
        SSL_SESSION *session = SSL_get1_session(control.client);
        struct ends data = connected_as_data(o, session);
        struct ends again = connected_as_data(o, session);
        struct ends fresh = connected_as_data(o, NULL);
        if (!tls_conn_resumed_from(data.conn, control.conn) ||
            !tls_conn_resumed_from(again.conn, control.conn))
            CASE_FAILS("%s: not resumed", ways[i].name);
        if (tls_conn_resumed_from(fresh.conn, control.conn) ||
            tls_conn_resumed_from(data.conn, other.conn) ||
            tls_conn_resumed_from(control.conn, control.conn))
            CASE_FAILS("%s: anybody", ways[i].name);
        SSL_SESSION_free(session);
        free_ends(&data);
        free_ends(&again);
        free_ends(&fresh);
        free_ends(&control);
        free_ends(&other);
    }
}

/* Clients keep the newest session, which may be that of the last data connection. */
static void a_session_resumed_from_a_resumed_one_is_known(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct client_options o = ways[i].options;
        struct ends control = connected(&o);
        client_hears(&control);
        SSL_SESSION *session = SSL_get1_session(control.client);
        for (int k = 0; k < 4; k++) {
            o.session = session;
            struct ends data = connected(&o);
            client_hears(&data);
            if (!tls_conn_resumed_from(data.conn, control.conn))
                CASE_FAILS("%s: round %d", ways[i].name, k);
            SSL_SESSION_free(session);
            session = SSL_get1_session(data.client);
            free_ends(&data);
        }
        SSL_SESSION_free(session);
        free_ends(&control);
    }
}

static void a_session_of_yesterdays_connection_proves_the_same_client(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct client_options o = ways[i].options;
        struct ends yesterday = connected(&o);
        client_hears(&yesterday);
        SSL_SESSION *session = SSL_get1_session(yesterday.client);
        free_ends(&yesterday);
        o.session = session;
        struct ends control = connected(&o);
        client_hears(&control);
        SSL_SESSION *newest = SSL_get1_session(control.client);
        struct ends data = connected_as_data(&o, newest);
        if (!tls_conn_resumed_from(data.conn, control.conn))
            CASE_FAILS("%s", ways[i].name);
        free_ends(&data);
        free_ends(&control);
        SSL_SESSION_free(newest);
        SSL_SESSION_free(session);
    }
}

/* By us in its midst, or by the client. OpenSSL forgets a session by number that the client cut; it
 * is resumed by ticket all the same. */
static void a_connection_that_was_cut_spoils_no_session(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        const struct client_options *o = &ways[i].options;
        struct ends control = connected(o);
        client_hears(&control);
        SSL_SESSION *session = SSL_get1_session(control.client);
        for (int k = 0; k < 4; k++) {
            struct ends data = connected_as_data(o, session);
            char byte;
            if (!tls_conn_resumed_from(data.conn, control.conn))
                CASE_FAILS("%s: round %d", ways[i].name, k);
            if (k % 2 && !o->no_tickets) {
                cut(&data);
                assert_int_equal(tls_conn_read(data.conn, &byte, 1, &data.error), -ECONNRESET);
            }
            free_ends(&data);
        }
        SSL_SESSION_free(session);
        free_ends(&control);
    }
}

static void a_data_connection_gets_no_tickets_that_it_might_not_read(void **state UNUSED)
{
    tickets_seen = 0;
    struct ends control = connected(&counting);
    client_hears(&control);
    assert_true(tickets_seen > 0);
    SSL_SESSION *session = SSL_get1_session(control.client);
    tickets_seen = 0;
    struct ends fresh = connected_as_data(&counting, NULL);
    struct ends resumed = connected_as_data(&counting, session);
    client_hears(&fresh);
    client_hears(&resumed);
    assert_int_equal(tickets_seen, 0);
    SSL_SESSION_free(session);
    free_ends(&fresh);
    free_ends(&resumed);
    free_ends(&control);
}

/* ---- files ---- */

static void files_that_are_no_good_are_named(void **state UNUSED)
{
    char other_key[96], locked_key[96], text[96], missing[96];
    EVP_PKEY *key = make_key();
    write_key(in_folder(other_key, "other.pem"), key, NULL);
    write_key(in_folder(locked_key, "locked.pem"), key, "secret");
    EVP_PKEY_free(key);
    FILE *f = fopen(in_folder(text, "text.pem"), "w");
    assert_non_null(f);
    (void)fputs("no certificate\n", f);
    assert_int_equal(fclose(f), 0);
    const struct {
        const char *cert, *key, *words;
    } cases[] = {
        {in_folder(missing, "missing.pem"), key_file, "missing.pem' cannot be read"},
        {text, key_file, "text.pem' cannot be read or is none in PEM form"},
        {key_file, key_file, "key.pem' cannot be read or is none in PEM form"},
        {cert_file, missing, "our key '"},
        {cert_file, text, "our key '"},
        {cert_file, other_key, "belongs to another certificate"},
        {cert_file, locked_key, "has a pass phrase"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_server *t = NULL;
        struct err e = {0};
        int r = tls_server_new(cases[i].cert, cases[i].key, &t, &e);
        if (r != -EINVAL || t || !strstr(e.text, cases[i].words))
            CASE_FAILS("%s %s: %s", cases[i].cert, cases[i].key, e.text);
    }
}

static long serial_of(const struct ends *n)
{
    X509 *x = SSL_get1_peer_certificate(n->client);
    assert_non_null(x);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(x));
    X509_free(x);
    return serial;
}

/* As renewal does it: a new file beside it, and a rename. */
static void renew(long serial, bool with_key)
{
    char cert[96], key_path[96];
    EVP_PKEY *key = make_key();
    write_cert(in_folder(cert, "new-cert.pem"), key, serial);
    write_key(in_folder(key_path, "new-key.pem"), key, NULL);
    EVP_PKEY_free(key);
    assert_int_equal(rename(cert, cert_file), 0);
    if (with_key)
        assert_int_equal(rename(key_path, key_file), 0);
}

static void a_new_certificate_is_taken(void **state UNUSED)
{
    struct err e = {0};
    assert_int_equal(tls_server_refresh(server, &e), 0);
    struct ends before = connected(&any);
    client_hears(&before);
    assert_int_equal(serial_of(&before), 1);
    renew(2, true);
    assert_int_equal(tls_server_refresh(server, &e), 1);
    assert_int_equal(tls_server_refresh(server, &e), 0);
    struct ends after = connected(&any);
    assert_int_equal(serial_of(&after), 2);
    /* Sessions of before go on, and their data connections are theirs. */
    client_hears(&before);
    SSL_SESSION *session = SSL_get1_session(before.client);
    struct ends data = connected_as_data(&any, session);
    assert_true(tls_conn_resumed_from(data.conn, before.conn));
    SSL_SESSION_free(session);
    free_ends(&data);
    free_ends(&before);
    free_ends(&after);
}

static void a_certificate_that_is_no_good_changes_nothing(void **state UNUSED)
{
    struct err e = {0};
    renew(3, false); /* its key is not there yet */
    assert_int_equal(tls_server_refresh(server, &e), -EINVAL);
    assert_non_null(strstr(e.text, "belongs to another certificate"));
    assert_int_equal(tls_server_refresh(server, &e), 0); /* said once */
    struct ends n = connected(&any);
    assert_int_equal(serial_of(&n), 1);
    free_ends(&n);
    assert_int_equal(unlink(cert_file), 0);
    assert_int_equal(tls_server_refresh(server, &e), -EINVAL);
    renew(4, true);
    assert_int_equal(tls_server_refresh(server, &e), 1);
    n = connected(&any);
    assert_int_equal(serial_of(&n), 4);
    free_ends(&n);
}

/* ---- memory ---- */

enum { IDLE = 100, IDLE_BYTES_MAX = 24 << 10 };

static void an_idle_connection_is_small(void **state UNUSED)
{
    if (TEST_SANITIZED)
        skip(); /* its allocator keeps no such count */
    static struct ends idle[IDLE];
    struct ends warm = connected(&any); /* what is made once */
    client_hears(&warm);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < IDLE; i++) {
        char got[64];
        idle[i] = connected(&any);
        client_hears(&idle[i]);
        client_sends(&idle[i], "NOOP\r\n");
        assert_int_equal(tls_conn_read(idle[i].conn, got, sizeof(got), &idle[i].error), 6);
        assert_int_equal(tls_conn_read(idle[i].conn, got, sizeof(got), &idle[i].error), -EAGAIN);
        free_client(&idle[i]);
    }
    struct mallinfo2 after = mallinfo2();
    size_t each = (after.uordblks - before.uordblks) / IDLE;
    print_message("# an idle connection has %zu bytes\n", each);
    for (int i = 0; i < IDLE; i++)
        free_ends(&idle[i]);
    free_ends(&warm);
    assert_true(each > 0 && each <= IDLE_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define EACH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        EACH(tls_12_and_13_are_spoken),
        EACH(older_tls_is_refused_in_plain_words),
        EACH(weak_ciphers_are_refused),
        EACH(what_is_no_tls_is_told_apart),
        EACH(a_connection_that_ends_within_the_handshake_says_so),
        EACH(who_asks_for_another_protocol_is_refused),
        EACH(renegotiation_is_refused),
        EACH(a_client_that_distrusts_the_certificate_is_understood),
        EACH(a_good_bye_is_told_apart_from_a_cut),
        EACH(a_record_that_was_cut_is_no_end),
        EACH(a_record_that_was_changed_is_refused),
        EACH(our_good_bye_is_heard),
        EACH(what_poll_does_not_tell_is_pending),
        EACH(a_big_file_arrives_whole),
        EACH(a_big_file_is_sent_whole_through_a_narrow_socket),
        EACH(a_data_connection_that_resumes_is_known),
        EACH(a_session_resumed_from_a_resumed_one_is_known),
        EACH(a_session_of_yesterdays_connection_proves_the_same_client),
        EACH(a_connection_that_was_cut_spoils_no_session),
        EACH(a_data_connection_gets_no_tickets_that_it_might_not_read),
        EACH(files_that_are_no_good_are_named),
        EACH(a_new_certificate_is_taken),
        EACH(a_certificate_that_is_no_good_changes_nothing),
        EACH(an_idle_connection_is_small),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    return RUN_TESTS(tests);
}
