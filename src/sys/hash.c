/* The library's plain functions and not its EVP interface: those need no memory and no providers,
 * so they cannot fail, and a start does not pay for loading what nobody uses. They are marked as
 * deprecated because they cannot be replaced by another provider's, which is what we want. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "sys/hash.h"

#include <assert.h>
#include <errno.h>
#include <openssl/md5.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/text.h"

void hash_md5(const void *data, size_t size, uint8_t ret[HASH_MD5_BYTES])
{
    MD5_CTX c;
    int ok = MD5_Init(&c) && MD5_Update(&c, data, size) && MD5_Final(ret, &c);
    assert(ok);
}

void hash_md5_hex(const void *data, size_t size, char ret[HASH_MD5_HEX])
{
    unsigned char raw[MD5_DIGEST_LENGTH];
    hash_md5(data, size, raw);
    text_hex(raw, sizeof(raw), ret);
}

void hash_sha256(const void *data, size_t size, uint8_t ret[HASH_SHA256_BYTES])
{
    SHA256_CTX c;
    int ok = SHA256_Init(&c) && SHA256_Update(&c, data, size) && SHA256_Final(ret, &c);
    assert(ok);
}

void hash_sha256_hex(const void *data, size_t size, char ret[HASH_SHA256_HEX])
{
    unsigned char raw[SHA256_DIGEST_LENGTH];
    hash_sha256(data, size, raw);
    text_hex(raw, sizeof(raw), ret);
}

void hash_sha1(const void *data, size_t size, uint8_t ret[HASH_SHA1_BYTES])
{
    SHA_CTX c;
    int ok = SHA1_Init(&c) && SHA1_Update(&c, data, size) && SHA1_Final(ret, &c);
    assert(ok);
}

void hash_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                      uint8_t ret[HASH_SHA256_BYTES])
{
    unsigned char block[SHA256_CBLOCK] = {0}, inner[SHA256_CBLOCK], outer[SHA256_CBLOCK];
    if (key_size > sizeof(block))
        hash_sha256(key, key_size, block);
    else if (key_size)
        memcpy(block, key, key_size);
    for (size_t i = 0; i < sizeof(block); i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    SHA256_CTX c;
    int ok = SHA256_Init(&c) && SHA256_Update(&c, inner, sizeof(inner)) &&
             SHA256_Update(&c, data, size) && SHA256_Final(ret, &c) && SHA256_Init(&c) &&
             SHA256_Update(&c, outer, sizeof(outer)) && SHA256_Update(&c, ret, HASH_SHA256_BYTES) &&
             SHA256_Final(ret, &c);
    assert(ok);
    explicit_bzero(block, sizeof(block));
    explicit_bzero(inner, sizeof(inner));
    explicit_bzero(outer, sizeof(outer));
}

uint64_t hash_64(const void *data, size_t size)
{
    unsigned char raw[SHA256_DIGEST_LENGTH];
    hash_sha256(data, size, raw);
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | raw[i];
    return v;
}

struct hash_stream {
    SHA256_CTX context;
};

struct hash_stream *hash_stream_new(void)
{
    struct hash_stream *h = xmalloc(sizeof(*h));
    int ok = SHA256_Init(&h->context);
    assert(ok);
    return h;
}

void hash_stream_update(struct hash_stream *h, const void *data, size_t size)
{
    int ok = SHA256_Update(&h->context, data, size);
    assert(ok);
}

void hash_stream_end(struct hash_stream *h, char ret[HASH_SHA256_HEX])
{
    unsigned char raw[SHA256_DIGEST_LENGTH];
    int ok = SHA256_Final(raw, &h->context);
    assert(ok);
    text_hex(raw, sizeof(raw), ret);
    free(h);
}

void hash_random(void *ret, size_t size)
{
    unsigned char *p = ret;
    while (size) {
        ssize_t n = getrandom(p, size, 0);
        assert(n > 0 || errno == EINTR);
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        }
    }
}
