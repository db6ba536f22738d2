#pragma once
/* Digests, the one door to OpenSSL's. Lower-case hex, terminated. Any thread. */

#include <stddef.h>
#include <stdint.h>

#define HASH_MD5_HEX 33
#define HASH_SHA256_HEX 65

#define HASH_MD5_BYTES 16
#define HASH_SHA1_BYTES 20
#define HASH_SHA256_BYTES 32

void hash_md5_hex(const void *data, size_t size, char ret[HASH_MD5_HEX]);
void hash_sha256_hex(const void *data, size_t size, char ret[HASH_SHA256_HEX]);
void hash_sha1(const void *data, size_t size, uint8_t ret[HASH_SHA1_BYTES]);     /* raw */
void hash_sha256(const void *data, size_t size, uint8_t ret[HASH_SHA256_BYTES]); /* raw */
void hash_md5(const void *data, size_t size, uint8_t ret[HASH_MD5_BYTES]);       /* raw */
/* HMAC-SHA256 (RFC 2104), raw. `ret` may be the key. */
void hash_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                      uint8_t ret[HASH_SHA256_BYTES]);
uint64_t hash_64(const void *data,
                 size_t size); /* first 8 bytes of SHA-256, for change detection */

/* Incremental SHA-256 for downloads. */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_update(struct hash_stream *h, const void *data, size_t size);
/* Ends and frees the stream. */
void hash_stream_end(struct hash_stream *h, char ret[HASH_SHA256_HEX]);
void hash_random(void *ret, size_t size); /* cryptographic; aborts when the system has none */
