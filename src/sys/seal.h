#pragma once
/* Sealed boxes: bytes that only who has the key can read or make (AES-256-GCM). A door to OpenSSL's
 * ciphers. Any thread.
 *
 * A box is nonce, cipher text and tag. The nonce is random: fine for some 2^32 boxes under one key,
 * and a box here is made when a configuration is read. */

#include <stddef.h>
#include <stdint.h>

#define SEAL_KEY_BYTES 32
#define SEAL_OVERHEAD 28 /* bytes that a box is longer than what is in it */

/* `about` is not hidden and not part of the box, but must be the same when it is opened. `ret` has
 * room for size + SEAL_OVERHEAD. */
void seal_close(const uint8_t key[SEAL_KEY_BYTES], const char *about, const void *data, size_t size,
                uint8_t *ret);
/* 0 and size - SEAL_OVERHEAD bytes in `ret`; -EBADMSG: another key's, or not as it was made. */
int seal_open(const uint8_t key[SEAL_KEY_BYTES], const char *about, const void *box, size_t size,
              uint8_t *ret);
