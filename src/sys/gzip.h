#pragma once
/* The one door to zlib. Pure, any thread. */

#include <stddef.h>

#include "base/dynbuf.h"

/* Appends `size` bytes, packed as a gzip file. 0, or -ENOSPC, -ENOMEM. */
int gzip_pack(const void *data, size_t size, struct dynbuf *out);
/* Appends the content of a whole gzip file, which must have exactly `size` bytes. 0; -EBADMSG when
 * it is none or has another size; -ENOSPC, -ENOMEM. */
int gzip_unpack(const void *data, size_t packed_size, size_t size, struct dynbuf *out);
