#pragma once
/* The one door to zlib. Pure, any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/dynbuf.h"
#include "base/macros.h"

/* Appends `size` bytes, packed as a gzip file. 0, or -ENOSPC, -ENOMEM. */
int gzip_pack(const void *data, size_t size, struct dynbuf *out);
/* Appends the content of a whole gzip file, which must have exactly `size` bytes. 0; -EBADMSG when
 * it is none or has another size; -ENOSPC, -ENOMEM. */
int gzip_unpack(const void *data, size_t packed_size, size_t size, struct dynbuf *out);

/* The checksum of zip and gzip over what `crc` (0 at first) was over, and these bytes. */
uint32_t gzip_crc32(uint32_t crc, const void *data, size_t size);

/* Text that grows, packed as it comes: raw deflate, as zip has it. Takes 256 kB of memory beside
 * what it has packed. */
struct gzip_text;
struct gzip_text *gzip_text_new(size_t packed_max);
void gzip_text_free(struct gzip_text *t);
DEFINE_AUTO(gzip_text, gzip_text_free)
/* 0, -ENOSPC, -ENOMEM; all fail after a failure. */
int gzip_text_add(struct gzip_text *t, const void *data, size_t size);
int gzip_text_puts(struct gzip_text *t, const char *s);
/* No more will be added. `ret` is the packed text, borrowed. */
int gzip_text_end(struct gzip_text *t, const struct dynbuf **ret, uint64_t *ret_size,
                  uint32_t *ret_crc);
