#include "web/zip.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define FLAG_UTF8 0x0800
#define VERSION_PLAIN 20
#define VERSION_ZIP64 45
#define MADE_BY_UNIX (3 << 8)
#define MODE_FILE (0100644u << 16)
#define TOO_LARGE_16 0xffff
#define TOO_LARGE_32 UINT32_C(0xffffffff)

static void put(struct dynbuf *out, uint64_t value, int bytes)
{
    uint8_t le[8];
    for (int i = 0; i < bytes; i++)
        le[i] = (uint8_t)(value >> (8 * i));
    (void)dynbuf_append(out, le, (size_t)bytes); /* the caller looks once, at the end */
}

/* Two seconds a step, from 1980 to 2107. */
static void put_time(struct dynbuf *out, struct wall_time at)
{
    time_t seconds = (time_t)wall_seconds(at);
    struct tm t;
    if (!gmtime_r(&seconds, &t) || t.tm_year < 80 || t.tm_year > 207)
        t = (struct tm){.tm_year = 80, .tm_mday = 1};
    put(out, (uint64_t)(t.tm_hour << 11 | t.tm_min << 5 | t.tm_sec / 2), 2);
    put(out, (uint64_t)((t.tm_year - 80) << 9 | (t.tm_mon + 1) << 5 | t.tm_mday), 2);
}

/* What both kinds of heads have in the middle. */
static void put_middle(struct dynbuf *out, const struct zip_entry *entry)
{
    put(out, FLAG_UTF8, 2);
    put(out, (uint64_t)entry->method, 2);
    put_time(out, entry->at);
    put(out, entry->crc, 4);
    put(out, entry->packed_size, 4);
    put(out, entry->size, 4);
    put(out, strlen(entry->name), 2);
}

static void add_to_directory(struct zip *z, const struct zip_entry *entry)
{
    struct dynbuf *d = &z->directory;
    bool far = z->offset >= TOO_LARGE_32;
    put(d, 0x02014b50, 4);
    put(d, MADE_BY_UNIX | VERSION_ZIP64, 2);
    put(d, far ? VERSION_ZIP64 : VERSION_PLAIN, 2);
    put_middle(d, entry);
    put(d, far ? 12 : 0, 2); /* extra field */
    put(d, 0, 2);            /* comment */
    put(d, 0, 2);            /* disk */
    put(d, 0, 2);            /* binary */
    put(d, MODE_FILE, 4);
    put(d, far ? TOO_LARGE_32 : z->offset, 4);
    (void)dynbuf_puts(d, entry->name); /* likewise */
    if (far) {
        put(d, 0x0001, 2);
        put(d, 8, 2);
        put(d, z->offset, 8);
    }
}

void zip_init(struct zip *z, size_t directory_max)
{
    *z = (struct zip){0};
    dynbuf_init(&z->directory, directory_max);
}

void zip_done(struct zip *z)
{
    dynbuf_done(&z->directory);
}

int zip_begin(struct zip *z, const struct zip_entry *entry, struct dynbuf *out)
{
    size_t before = out->len;
    if (strlen(entry->name) > TOO_LARGE_16)
        return -ENOSPC;
    add_to_directory(z, entry);
    put(out, 0x04034b50, 4);
    put(out, VERSION_PLAIN, 2);
    put_middle(out, entry);
    put(out, 0, 2); /* extra field */
    (void)dynbuf_puts(out, entry->name);
    z->offset += out->len - before + entry->packed_size;
    z->count++;
    return out->failed || z->directory.failed ? -ENOSPC : 0;
}

static void put_end64(struct zip *z, uint64_t size, struct dynbuf *out)
{
    uint64_t at = z->offset + size;
    put(out, 0x06064b50, 4);
    put(out, 44, 8); /* of what follows in this record */
    put(out, MADE_BY_UNIX | VERSION_ZIP64, 2);
    put(out, VERSION_ZIP64, 2);
    put(out, 0, 4); /* disks */
    put(out, 0, 4);
    put(out, z->count, 8);
    put(out, z->count, 8);
    put(out, size, 8);
    put(out, z->offset, 8);
    put(out, 0x07064b50, 4); /* where that record is */
    put(out, 0, 4);
    put(out, at, 8);
    put(out, 1, 4);
}

int zip_end(struct zip *z, struct dynbuf *out)
{
    uint64_t size = z->directory.len;
    bool large = z->count >= TOO_LARGE_16 || z->offset >= TOO_LARGE_32 || size >= TOO_LARGE_32;
    (void)dynbuf_append(out, dynbuf_str(&z->directory), z->directory.len);
    if (large)
        put_end64(z, size, out);
    uint64_t count = large ? TOO_LARGE_16 : z->count;
    put(out, 0x06054b50, 4);
    put(out, 0, 2); /* disks */
    put(out, 0, 2);
    put(out, count, 2);
    put(out, count, 2);
    put(out, large ? TOO_LARGE_32 : size, 4);
    put(out, large ? TOO_LARGE_32 : z->offset, 4);
    put(out, 0, 2); /* comment */
    return out->failed || z->directory.failed ? -ENOSPC : 0;
}
