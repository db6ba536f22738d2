#pragma once
/* The bytes of recent pictures, least recently used out first, bounded by bytes. Detection,
 * notifiers and the API are served from here without reading the disk again. Thread-safe: a mutex
 * around a few pointer moves; the bytes themselves are shared by reference. */

#include "base/blob.h"
#include "model/snapshot.h"

struct picture_cache;

struct picture_cache *picture_cache_new(size_t bytes_max); /* 0 keeps nothing */
void picture_cache_free(struct picture_cache *c);
void picture_cache_put(struct picture_cache *c, const char *id, struct blob *bytes);
/* A new reference, or NULL. */
struct blob *picture_cache_get(struct picture_cache *c, const char *id);
size_t picture_cache_bytes(struct picture_cache *c);
