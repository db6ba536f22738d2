#include "picture/exif.h"

#include <stdbool.h>
#include <string.h>

#include "picture/bytes.h"

/* TIFF: 2 bytes byte order, 42, offset of the first directory. A directory: count, entries of 12
 * bytes (tag, type, count, value or its offset). Orientation stands in the first one. */
#define TIFF_HEADER 8
#define ENTRY_SIZE 12
#define TAG_ORIENTATION 0x0112
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

int exif_orientation(const uint8_t *p, size_t size)
{
    bool little;
    size_t at, entries;

    if (size >= 6 && memcmp(p, "Exif\0", 5) == 0) {
        p += 6;
        size -= 6;
    }
    if (size < TIFF_HEADER + 2)
        return 0;
    little = p[0] == 'I';
    if (memcmp(p, little ? "II" : "MM", 2) != 0 || get16(p + 2, little) != 42)
        return 0;
    at = get32(p + 4, little);
    if (at < TIFF_HEADER || at > size - 2)
        return 0;
    entries = get16(p + at, little);
    at += 2;
    for (size_t i = 0; i < entries && size - at >= ENTRY_SIZE; i++, at += ENTRY_SIZE) {
        uint32_t type = get16(p + at + 2, little), value;

        if (get16(p + at, little) != TAG_ORIENTATION)
            continue;
        if (get32(p + at + 4, little) != 1 || (type != TYPE_SHORT && type != TYPE_LONG))
            return 0;
        value = type == TYPE_SHORT ? get16(p + at + 8, little) : get32(p + at + 8, little);
        return value >= 1 && value <= 8 ? (int)value : 0;
    }
    return 0;
}
