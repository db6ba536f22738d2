#pragma once
/* Immutable, reference-counted bytes: a picture's content lives in memory once.
 * Any thread may hold a reference; the release hook runs on the thread that drops the last one. */

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct blob {
    const uint8_t *data;
    size_t size; /* bytes */
};

/* Copies `size` bytes. NULL only when the size exceeds what memory gives (sizes come from outside).
 */
struct blob *blob_new_copy(const void *data, size_t size) MUST_USE;
/* Takes a malloc()ed buffer; on NULL (no memory) the buffer is freed. */
struct blob *blob_new_take(void *data, size_t size) MUST_USE;
/* Wraps foreign memory; release(arg) is called once when the last reference goes. */
struct blob *blob_new_hook(const void *data, size_t size, void (*release)(void *arg),
                           void *arg) MUST_USE;
struct blob *blob_ref(struct blob *b); /* returns b; NULL stays NULL */
void blob_unref(struct blob *b);
size_t blob_live_count(void); /* tests: blobs alive in the process */
DEFINE_AUTO(blob, blob_unref)
