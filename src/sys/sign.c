#include "sys/sign.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

static int no_pass_phrase(char *buf, int size, int writing, void *arg);
static EVP_PKEY *read_key(const char *pem);

int sign_rs256(const char *key_pem, const void *data, size_t size, uint8_t ret[SIGN_RSA_MAX],
               size_t *ret_size, struct err *e)
{
    EVP_PKEY *key = read_key(key_pem);
    int r = 0;
    if (!key)
        r = err_set(e, -EINVAL, ERR_NEVER, "not a private key in PEM form");
    else if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_size(key) > SIGN_RSA_MAX)
        r = err_set(e, -EINVAL, ERR_NEVER, "not an RSA key of at most %d bits", SIGN_RSA_MAX * 8);
    EVP_MD_CTX *c = r == 0 ? EVP_MD_CTX_new() : NULL;
    size_t len = SIGN_RSA_MAX;
    if (r == 0 && (!c || EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) != 1 ||
                   EVP_DigestSign(c, ret, &len, data, size) != 1))
        r = err_set(e, -EINVAL, ERR_NEVER, "this key cannot sign");
    else if (r == 0)
        *ret_size = len;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    ERR_clear_error(); /* the thread's queue is TLS's as well */
    return r;
}

static EVP_PKEY *read_key(const char *pem)
{
    size_t len = strlen(pem);
    BIO *b = len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, no_pass_phrase, NULL) : NULL;
    BIO_free(b);
    return key;
}

/* Without this OpenSSL asks on the terminal. */
static int no_pass_phrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return 0;
}
