#include "ftp_rig.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>

#define PICTURE_SIZE 100000

static char *picture;
static char folder[64], cert_file[96], key_file[96];
static int folder_fd;
static SSL_CTX *context;

static void write_pair(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_non_null(key);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(cert_file, "we");
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(fclose(f), 0);
    f = fopen(key_file, "we");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(x);
    EVP_PKEY_free(key);
}

static int set_up(void **state UNUSED)
{
    signal(SIGPIPE, SIG_IGN);
    picture = make_picture(PICTURE_SIZE);
    folder_fd = test_folder_new(folder);
    (void)text_format(cert_file, sizeof(cert_file), "%s/cert.pem", folder);
    (void)text_format(key_file, sizeof(key_file), "%s/key.pem", folder);
    write_pair();
    context = SSL_CTX_new(TLS_client_method());
    return context == NULL;
}

static int tear_down(void **state UNUSED)
{
    SSL_CTX_free(context);
    test_folder_remove(folder, folder_fd);
    free(picture);
    return 0;
}

static struct rig *start(const char *more)
{
    AUTO_FREE char *text =
        xasprintf("tls_cert_file = %s\ntls_key_file = %s\n%s", cert_file, key_file, more);
    return rig_start(text, NULL);
}

/* ---- a client in TLS: replies are one line each here ---- */

struct secure {
    struct client c;
    SSL *ssl;
    char line[1024];
};

static SSL *shake(int fd, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    if (session)
        SSL_set_session(ssl, session);
    if (SSL_connect(ssl) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

static int reply(struct secure *s)
{
    size_t n = 0;
    while (n < sizeof(s->line) - 1 && SSL_read(s->ssl, s->line + n, 1) == 1)
        if (s->line[n++] == '\n')
            break;
    s->line[n] = '\0';
    return n > 3 ? (s->line[0] - '0') * 100 + (s->line[1] - '0') * 10 + s->line[2] - '0' : 0;
}

static void say_(struct secure *s, int code, const char *text, int line)
{
    AUTO_FREE char *command = xasprintf("%s\r\n", text);
    assert_true(SSL_write(s->ssl, command, (int)strlen(command)) > 0);
    int got = reply(s);
    if (got != code)
        fail_msg("line %d: %s: wanted %d, got \"%s\"", line, text, code, s->line);
}
#define say(s, code, text) say_(s, code, text, __LINE__)

static struct secure open_explicit(struct rig *r)
{
    struct secure s = {.c = client_open(r, "127.0.0.1")};
    client_expect(&s.c, 220);
    client_say(&s.c, 234, "AUTH TLS");
    s.ssl = shake(s.c.fd, NULL);
    assert_non_null(s.ssl);
    return s;
}

static struct secure login(struct rig *r)
{
    struct secure s = open_explicit(r);
    say(&s, 331, "USER cam");
    say(&s, 230, "PASS " RIG_PASSWORD);
    say(&s, 200, "PBSZ 0");
    say(&s, 200, "PROT P");
    return s;
}

static void quit(struct secure *s)
{
    SSL_free(s->ssl);
    client_close(&s->c);
}

static int passive(struct secure *s)
{
    int port = 0;
    say(s, 229, "EPSV");
    assert_int_equal(sscanf(strstr(s->line, "(|||"), "(|||%d|)", &port), 1);
    int fd = rig_connect_from("127.0.0.1", port);
    assert_true(fd >= 0);
    return fd;
}

/* `session` NULL = a new one. Returns the code of the answer to an upload that ends as told. */
static int upload(struct secure *s, SSL_SESSION *session, bool notify)
{
    int fd = passive(s);
    say(s, 125, "STOR a.jpg");
    SSL *ssl = shake(fd, session);
    if (ssl) {
        for (int done = 0; done < PICTURE_SIZE;) {
            int n = SSL_write(ssl, picture + done, PICTURE_SIZE - done);
            if (n <= 0)
                break; /* refused behind the handshake */
            done += n;
        }
        if (notify)
            (void)SSL_shutdown(ssl);
        SSL_free(ssl);
    }
    (void)shutdown(fd, SHUT_WR);
    int code = reply(s);
    (void)close(fd);
    return code;
}

static void stores_a_picture_over_tls(void **state UNUSED)
{
    struct rig *r = start("");
    struct secure s = login(r);
    assert_int_equal(upload(&s, NULL, true), 226);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    assert_int_equal(upload(&s, NULL, false), 226); /* many cameras just close */
    say(&s, 221, "QUIT");
    assert_int_equal(reply(&s), 0);
    quit(&s);
    rig_end(r);
}

static void an_end_without_a_word_is_none_when_strict(void **state UNUSED)
{
    struct rig *r = start("tls_strict = yes");
    struct secure s = login(r);
    assert_int_equal(upload(&s, NULL, false), 451);
    assert_int_equal(rig_count_files(r), 0);
    assert_int_equal(upload(&s, NULL, true), 226);
    quit(&s);
    rig_end(r);
}

static void asks_for_the_session_of_the_control_connection(void **state UNUSED)
{
    struct rig *r = start("tls_reuse = yes");
    struct secure s = login(r);
    assert_int_equal(upload(&s, NULL, true), 522);
    assert_int_equal(rig_count_files(r), 0);
    SSL_SESSION *session = SSL_get1_session(s.ssl);
    assert_int_equal(upload(&s, session, true), 226);
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    SSL_SESSION_free(session);
    quit(&s);
    rig_end(r);
}

/* CVE-2011-1575: what a third party put behind AUTH TLS is not run inside. */
static void forgets_what_came_in_clear_behind_auth(void **state UNUSED)
{
    struct rig *r = start("");
    struct secure s = {.c = client_open(r, "127.0.0.1")};
    client_expect(&s.c, 220);
    client_send(&s.c, "AUTH TLS\r\nUSER cam\r\nPASS " RIG_PASSWORD "\r\nNOOP\r\nMKD");
    client_expect(&s.c, 234);
    s.ssl = shake(s.c.fd, NULL);
    assert_non_null(s.ssl);
    say(&s, 503, "PASS " RIG_PASSWORD); /* no USER before it */
    say(&s, 331, "USER cam");
    say(&s, 230, "PASS " RIG_PASSWORD);
    assert_int_equal(rig_count_files(r), 0);
    quit(&s);
    rig_end(r);
}

static void a_login_before_tls_does_not_count(void **state UNUSED)
{
    struct rig *r = start("");
    struct secure s = {.c = client_login(r)};
    client_say(&s.c, 234, "AUTH TLS");
    s.ssl = shake(s.c.fd, NULL);
    assert_non_null(s.ssl);
    say(&s, 530, "PWD");
    quit(&s);
    rig_end(r);
}

static void no_password_in_clear_where_tls_is_required(void **state UNUSED)
{
    struct rig *r = start("tls = required");
    struct client c = client_open(r, "127.0.0.1");
    client_expect(&c, 220);
    client_send(&c, "USER cam\r\n");
    assert_in_range(client_reply(&c), 500, 599);
    client_close(&c);
    struct secure s = open_explicit(r);
    say(&s, 331, "USER cam");
    say(&s, 230, "PASS " RIG_PASSWORD);
    say(&s, 229, "EPSV");
    AUTO_FREE char *command = xasprintf("STOR a.jpg\r\n");
    assert_true(SSL_write(s.ssl, command, (int)strlen(command)) > 0);
    assert_in_range(reply(&s), 500, 599); /* PROT P first */
    quit(&s);
    rig_end(r);
}

static void garbage_instead_of_a_handshake_ends_it(void **state UNUSED)
{
    struct rig *r = start("");
    struct client c = client_open(r, "127.0.0.1");
    client_expect(&c, 220);
    client_say(&c, 234, "AUTH TLS");
    client_send(&c, "USER cam\r\nPASS x\r\n");
    expect_closed(c.fd);
    client_close(&c);
    struct secure s = login(r);
    int fd = passive(&s);
    say(&s, 125, "STOR a.jpg");
    send_all(fd, picture, PICTURE_SIZE);
    assert_int_equal(reply(&s), 522);
    (void)close(fd);
    assert_int_equal(rig_count_files(r), 0);
    quit(&s);
    rig_end(r);
}

static void a_handshake_that_stops_ends(void **state UNUSED)
{
    struct rig *r = start("");
    struct client c = client_open(r, "127.0.0.1");
    client_expect(&c, 220);
    client_say(&c, 234, "AUTH TLS");
    rig_pass(r, 31000);
    expect_closed(c.fd);
    client_close(&c);
    struct secure s = login(r);
    int fd = passive(&s);
    say(&s, 125, "STOR a.jpg");
    rig_pass(r, 61000);
    assert_int_equal(reply(&s), 522);
    (void)close(fd);
    quit(&s);
    rig_end(r);
}

static void lists_end_with_close_notify(void **state UNUSED)
{
    struct rig *r = start("");
    struct secure s = login(r);
    assert_int_equal(upload(&s, NULL, true), 226);
    int fd = passive(&s);
    say(&s, 125, "NLST");
    SSL *ssl = shake(fd, NULL);
    char got[64] = "";
    assert_non_null(ssl);
    assert_int_equal(SSL_read(ssl, got, sizeof(got)), strlen("a.jpg\r\n"));
    assert_int_equal(SSL_read(ssl, got, sizeof(got)), 0);
    assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN);
    SSL_free(ssl);
    (void)close(fd);
    assert_int_equal(reply(&s), 226);
    quit(&s);
    rig_end(r);
}

/* The first listener is in clear; the other one's port stands in the status. */
static void serves_implicit_tls(void **state UNUSED)
{
    struct rig *r = start("tls_listen = 127.0.0.1:0");
    struct ftp_server_status st;
    int port = 0;
    ftp_server_status(r->server, &st);
    assert_int_equal(sscanf(strstr(st.listen, ", "), ", 127.0.0.1:%d", &port), 1);
    struct secure s = {.c = {.rig = r, .fd = rig_connect_from("127.0.0.1", port)}};
    s.ssl = shake(s.c.fd, NULL);
    assert_non_null(s.ssl);
    assert_int_equal(reply(&s), 220);
    say(&s, 331, "USER cam");
    say(&s, 230, "PASS " RIG_PASSWORD);
    assert_int_equal(upload(&s, NULL, true), 226); /* protected without being asked */
    assert_true(rig_has(r, "a.jpg", picture, PICTURE_SIZE));
    quit(&s);
    rig_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_a_picture_over_tls),
        cmocka_unit_test(an_end_without_a_word_is_none_when_strict),
        cmocka_unit_test(asks_for_the_session_of_the_control_connection),
        cmocka_unit_test(forgets_what_came_in_clear_behind_auth),
        cmocka_unit_test(a_login_before_tls_does_not_count),
        cmocka_unit_test(no_password_in_clear_where_tls_is_required),
        cmocka_unit_test(garbage_instead_of_a_handshake_ends_it),
        cmocka_unit_test(a_handshake_that_stops_ends),
        cmocka_unit_test(lists_end_with_close_notify),
        cmocka_unit_test(serves_implicit_tls),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
