#include "sys/hash.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"

static size_t digest(const EVP_MD *kind, const void *data, size_t size, unsigned char *ret)
{
    unsigned len = 0;
    int ok = EVP_Digest(data, size, ret, &len, kind, NULL);
    assert(ok == 1); /* only an unusable provider configuration could fail */
    return len;
}

void hash_md5_hex(const void *data, size_t size, char ret[HASH_MD5_HEX])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    text_hex(raw, digest(EVP_md5(), data, size, raw), ret);
}

void hash_sha256_hex(const void *data, size_t size, char ret[HASH_SHA256_HEX])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    text_hex(raw, digest(EVP_sha256(), data, size, raw), ret);
}

uint64_t hash_64(const void *data, size_t size)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    (void)digest(EVP_sha256(), data, size, raw);
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | raw[i];
    return v;
}

struct hash_stream {
    EVP_MD_CTX *ctx;
};

struct hash_stream *hash_stream_new(void)
{
    struct hash_stream *h = xmalloc(sizeof(*h));
    h->ctx = EVP_MD_CTX_new();
    int ok = h->ctx && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL);
    assert(ok == 1);
    return h;
}

void hash_stream_update(struct hash_stream *h, const void *data, size_t size)
{
    int ok = EVP_DigestUpdate(h->ctx, data, size);
    assert(ok == 1);
}

void hash_stream_end(struct hash_stream *h, char ret[HASH_SHA256_HEX])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int ok = EVP_DigestFinal_ex(h->ctx, raw, &len);
    assert(ok == 1);
    text_hex(raw, len, ret);
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void hash_random(void *ret, size_t size)
{
    int ok = RAND_bytes(ret, (int)size);
    assert(ok == 1);
}
