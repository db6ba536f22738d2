#include "sys/httpd_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "base/blob.h"
#include "base/fsutil.h"
#include "base/mem.h"

#define FILE_MAX ((size_t)256 << 10) /* a long chain has some 20 kB */
#define CHAIN_MAX 16

struct httpd_identity {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
};

/* The library gives its callback nothing to tell servers apart; each has a thread of its own. */
static _Thread_local const struct httpd_identity *in_use;

static int retrieve(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
                    const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                    gnutls_pcert_st **ret, unsigned *ret_count, gnutls_privkey_t *ret_key)
{
    (void)session;
    (void)names;
    (void)name_count;
    (void)algorithms;
    (void)algorithm_count;
    if (!in_use)
        return -1;
    struct httpd_identity *i = (struct httpd_identity *)(uintptr_t)in_use; /* only read */
    *ret = i->chain;
    *ret_count = i->count;
    *ret_key = i->key;
    return 0;
}

void *const httpd_identity_callback = (void *)retrieve;

void httpd_identity_use(const struct httpd_identity *i)
{
    in_use = i;
}

static int load_file(const char *path, const char *what, struct blob **ret, struct err *e)
{
    int r = fs_read_blob(AT_FDCWD, path, FILE_MAX, ret, e);
    return r < 0 ? err_prefix(e, "the %s %s", what, path) : 0;
}

static int fault(struct err *e, const char *path, int code)
{
    return err_set(e, -EINVAL, ERR_NEVER, "%s: %s", path, gnutls_strerror(code));
}

static bool fit(const struct httpd_identity *i)
{
    gnutls_pubkey_t public;
    uint8_t of_key[64], of_cert[64];
    size_t key_size = sizeof(of_key), cert_size = sizeof(of_cert);
    if (gnutls_pubkey_init(&public) < 0)
        return false;
    bool same = gnutls_pubkey_import_privkey(public, i->key, 0, 0) == 0 &&
                gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) == 0 &&
                gnutls_pubkey_get_key_id(i->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_cert,
                                         &cert_size) == 0 &&
                key_size == cert_size && memcmp(of_key, of_cert, key_size) == 0;
    gnutls_pubkey_deinit(public);
    return same;
}

int httpd_identity_load(const char *cert_file, const char *key_file, struct httpd_identity **ret,
                        struct err *e)
{
    AUTO(blob) cert = NULL;
    AUTO(blob) key = NULL;
    int r = load_file(cert_file, "certificate", &cert, e);
    if (r == 0)
        r = load_file(key_file, "key", &key, e);
    if (r < 0)
        return r;
    AUTO(httpd_identity) i = xcalloc(1, sizeof(*i));
    gnutls_datum_t pem = {.data = (unsigned char *)(uintptr_t)cert->data, /* only read */
                          .size = (unsigned)cert->size};
    unsigned count = CHAIN_MAX;
    int code = gnutls_pcert_list_import_x509_raw(i->chain, &count, &pem, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0)
        return fault(e, cert_file, code);
    i->count = count;
    pem = (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)key->data,
                           .size = (unsigned)key->size};
    code = gnutls_privkey_init(&i->key);
    if (code == 0)
        code = gnutls_privkey_import_x509_raw(i->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (code < 0)
        return fault(e, key_file, code);
    if (!fit(i))
        return err_set(e, -EINVAL, ERR_NEVER, "the key %s is not that of the certificate %s",
                       key_file, cert_file);
    *ret = STEAL(i);
    return 0;
}

void httpd_identity_free(struct httpd_identity *i)
{
    if (!i)
        return;
    for (unsigned n = 0; n < i->count; n++)
        gnutls_pcert_deinit(&i->chain[n]);
    if (i->key)
        gnutls_privkey_deinit(i->key);
    free(i);
}
