#pragma once
/* The one door to zlib. Pure, any thread. */

#include <stddef.h>

#include "base/dynbuf.h"

/* Appends `size` bytes, packed as a gzip file. 0, or -ENOSPC, -ENOMEM. */
int gzip_pack(const void *data, size_t size, struct dynbuf *out);
