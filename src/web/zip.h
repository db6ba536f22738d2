#pragma once
/* The records of a zip file (APPNOTE 6.3), for one that is written from front to back and never
 * looked at again: all sizes are known before their entry, so every reader takes it, streaming ones
 * included. Zip64 where it is needed. Pure: records into buffers. */

#include <stdint.h>

#include "base/clock.h"
#include "base/dynbuf.h"

#define ZIP_STORED 0
#define ZIP_DEFLATED 8

struct zip_entry {
    const char *name; /* UTF-8, with '/', at most 65535 bytes */
    int method;       /* ZIP_... */
    uint32_t crc;
    uint32_t size, packed_size; /* bytes; a single file is below 4 GB */
    struct wall_time at;        /* shown in UTC */
};

struct zip {
    uint64_t offset; /* of what comes next */
    uint64_t count;
    struct dynbuf directory;
};
/* The directory, some 150 bytes an entry, is kept until the end. */
void zip_init(struct zip *z, size_t directory_max);
void zip_done(struct zip *z);
/* The head of an entry; its `packed_size` bytes come right behind. 0, -ENOSPC, -ENOMEM. */
int zip_begin(struct zip *z, const struct zip_entry *entry, struct dynbuf *out);
/* What comes behind the last entry. */
int zip_end(struct zip *z, struct dynbuf *out);
