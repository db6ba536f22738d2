#pragma once
/* Signatures, a door to OpenSSL's. Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SIGN_RSA_MAX 1024 /* bytes: a key of 8192 bits, more than any service gives */

/* RS256 (RFC 7518): RSASSA-PKCS1-v1_5 with SHA-256. The key is PEM, PKCS #8 or #1, without a pass
 * phrase. -EINVAL: it is no such key; `e` never holds any of it. */
int sign_rs256(const char *key_pem, const void *data, size_t size, uint8_t ret[SIGN_RSA_MAX],
               size_t *ret_size, struct err *e);
