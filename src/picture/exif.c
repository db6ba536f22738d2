#include "picture/exif.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "picture/bytes.h"

/* TIFF: 2 bytes byte order, 42, offset of the first directory. A directory: count, entries of 12
 * bytes (tag, type, count, value or its offset). Orientation stands in the first one. */
#define TIFF_HEADER 8
#define ENTRY_SIZE 12
#define TAG_ORIENTATION 0x0112
#define TAG_TIME 0x0132
#define TAG_EXIF 0x8769 /* offset of a second directory */
#define TAG_TIME_ORIGINAL 0x9003
#define TIME_BYTES 20
#define TYPE_ASCII 2
#define TYPE_SHORT 3
#define TYPE_LONG 4

static uint32_t get16(const uint8_t *p, bool little)
{
    return little ? le16(p) : be16(p);
}

static uint32_t get32(const uint8_t *p, bool little)
{
    return little ? le32(p) : be32(p);
}

/* A TIFF structure, and where its directory stands. */
struct tiff {
    const uint8_t *p;
    size_t size;
    bool little;
};

static bool tiff_open(const uint8_t *p, size_t size, struct tiff *ret)
{
    if (size >= 6 && memcmp(p, "Exif\0", 5) == 0) {
        p += 6;
        size -= 6;
    }
    if (size < TIFF_HEADER + 2)
        return false;
    bool little = p[0] == 'I';
    *ret = (struct tiff){p, size, little};
    return memcmp(p, little ? "II" : "MM", 2) == 0 && get16(p + 2, little) == 42;
}

/* The entry of a tag in the directory at `at`; NULL when there is none. */
static const uint8_t *find_entry(const struct tiff *t, size_t at, uint32_t tag)
{
    if (at < TIFF_HEADER || at > t->size - 2)
        return NULL;
    size_t entries = get16(t->p + at, t->little);
    at += 2;
    for (size_t i = 0; i < entries && t->size - at >= ENTRY_SIZE; i++, at += ENTRY_SIZE)
        if (get16(t->p + at, t->little) == tag)
            return t->p + at;
    return NULL;
}

/* The one number of an entry; 0 when it is none. */
static uint32_t entry_number(const struct tiff *t, const uint8_t *entry)
{
    if (!entry || get32(entry + 4, t->little) != 1)
        return 0;
    uint32_t type = get16(entry + 2, t->little);
    return type == TYPE_SHORT  ? get16(entry + 8, t->little)
           : type == TYPE_LONG ? get32(entry + 8, t->little)
                               : 0;
}

int exif_orientation(const uint8_t *p, size_t size)
{
    struct tiff t;
    if (!tiff_open(p, size, &t))
        return 0;
    uint32_t value = entry_number(&t, find_entry(&t, get32(t.p + 4, t.little), TAG_ORIENTATION));
    return value >= 1 && value <= 8 ? (int)value : 0;
}

/* "2026:01:02 03:04:05" with its NUL. */
static int64_t read_time(const struct tiff *t, const uint8_t *entry)
{
    if (!entry || get16(entry + 2, t->little) != TYPE_ASCII ||
        get32(entry + 4, t->little) != TIME_BYTES)
        return 0;
    uint32_t at = get32(entry + 8, t->little);
    if (at > t->size || t->size - at < TIME_BYTES)
        return 0;
    char iso[TIME_BYTES + 1];
    memcpy(iso, t->p + at, TIME_BYTES);
    iso[4] = iso[7] = '-';
    iso[10] = 'T';
    iso[TIME_BYTES - 1] = 'Z';
    iso[TIME_BYTES] = '\0';
    struct wall_time time;
    return wall_parse_iso(iso, &time) == 0 ? wall_seconds(time) : 0;
}

int64_t exif_time(const uint8_t *p, size_t size)
{
    struct tiff t;
    if (!tiff_open(p, size, &t))
        return 0;
    size_t first = get32(t.p + 4, t.little);
    uint32_t details = entry_number(&t, find_entry(&t, first, TAG_EXIF));
    int64_t time = read_time(&t, find_entry(&t, details, TAG_TIME_ORIGINAL));
    return time ? time : read_time(&t, find_entry(&t, first, TAG_TIME));
}
