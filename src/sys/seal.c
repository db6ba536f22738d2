#include "sys/seal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "sys/hash.h"

enum { NONCE = 12, TAG = 16 };
_Static_assert(NONCE + TAG == SEAL_OVERHEAD, "what a box has besides");

void seal_close(const uint8_t key[SEAL_KEY_BYTES], const char *about, const void *data, size_t size,
                uint8_t *ret)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t *cipher = ret + NONCE;
    int len = 0, rest = 0;

    assert(size < INT_MAX);
    hash_random(ret, NONCE);
    if (!c || EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, ret) != 1 ||
        EVP_EncryptUpdate(c, NULL, &len, (const uint8_t *)about, (int)strlen(about)) != 1 ||
        EVP_EncryptUpdate(c, cipher, &len, data, (int)size) != 1 ||
        EVP_EncryptFinal_ex(c, cipher + len, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, cipher + size) != 1)
        abort(); /* no memory, or a library without this cipher */
    EVP_CIPHER_CTX_free(c);
}

int seal_open(const uint8_t key[SEAL_KEY_BYTES], const char *about, const void *box, size_t size,
              uint8_t *ret)
{
    if (size < SEAL_OVERHEAD || size >= INT_MAX)
        return -EBADMSG;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    const uint8_t *nonce = box, *cipher = nonce + NONCE;
    size_t inside = size - SEAL_OVERHEAD;
    uint8_t tag[TAG];
    int len = 0, rest = 0;

    memcpy(tag, cipher + inside, TAG);
    int good = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
               EVP_DecryptUpdate(c, NULL, &len, (const uint8_t *)about, (int)strlen(about)) == 1 &&
               EVP_DecryptUpdate(c, ret, &len, cipher, (int)inside) == 1 &&
               EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
               EVP_DecryptFinal_ex(c, ret + len, &rest) == 1;
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error(); /* the thread's queue is TLS's as well */
    if (!good)
        explicit_bzero(ret, inside);
    return good ? 0 : -EBADMSG;
}
