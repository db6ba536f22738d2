#include "picture/jpeg_end.h"

#include <string.h>

#include "base/macros.h"

/* ITU T.81 annex B, walked as probe.c walks it: see there for what libjpeg skips. */

enum {
    AT_START, /* then 1 and 2 bytes of the magic were seen */
    AT_START_1,
    AT_START_2,
    AT_MARKER,   /* looks for the next ff */
    AT_MARKER_2, /* what follows an ff */
    AT_LENGTH,
    AT_LENGTH_2,
    AT_SKIP,
    AT_END,     /* of the picture */
    AT_NOTHING, /* that we could say anything about */
};

enum { TEM = 0x01, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, RST0 = 0xd0, EOI = 0xd9, SOS = 0xda };

static size_t feed_some(struct jpeg_end *j, const uint8_t *p, size_t size);
static void feed_byte(struct jpeg_end *j, uint8_t byte);
static void begin_marker(struct jpeg_end *j, uint8_t marker);
static void end_length(struct jpeg_end *j, uint16_t length);
static void end_part(struct jpeg_end *j);
static void follow_tail(struct jpeg_end *j, const uint8_t *p, size_t size);

void jpeg_end_feed(struct jpeg_end *j, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    size_t scan_at = j->scan ? 0 : size;
    for (size_t at = 0; at < size && j->state < AT_END;) {
        at += feed_some(j, p + at, size - at);
        if (j->scan && scan_at == size)
            scan_at = at;
    }
    if (size > scan_at && j->state < AT_END)
        follow_tail(j, p + scan_at, size - scan_at);
}

bool jpeg_end_is_known(const struct jpeg_end *j)
{
    return j->state >= AT_END;
}

bool jpeg_end_is_cut(const struct jpeg_end *j)
{
    return j->state != AT_START && j->state < AT_END && !(j->scan && j->tail_ends);
}

bool jpeg_end_is_whole(const struct jpeg_end *j)
{
    return j->state != AT_START && j->state != AT_NOTHING && !jpeg_end_is_cut(j);
}

/* Takes at least one byte. */
static size_t feed_some(struct jpeg_end *j, const uint8_t *p, size_t size)
{
    if (j->state == AT_SKIP) {
        size_t n = MIN(size, (size_t)j->skip);
        j->skip = (uint16_t)(j->skip - n);
        if (j->skip == 0)
            end_part(j);
        return n;
    }
    if (j->state == AT_MARKER) {
        const uint8_t *ff = memchr(p, 0xff, size);
        if (ff == NULL)
            return size;
        j->state = AT_MARKER_2;
        return (size_t)(ff - p) + 1;
    }
    feed_byte(j, *p);
    return 1;
}

static void feed_byte(struct jpeg_end *j, uint8_t byte)
{
    static const uint8_t magic[] = {0xff, 0xd8, 0xff};
    switch (j->state) {
    case AT_START:
    case AT_START_1:
    case AT_START_2:
        if (byte != magic[j->state])
            j->state = AT_NOTHING;
        else
            j->state = j->state == AT_START_2 ? AT_MARKER_2 : (uint8_t)(j->state + 1);
        break;
    case AT_MARKER_2:
        if (byte == 0)
            j->state = AT_MARKER;
        else if (byte != 0xff)
            begin_marker(j, byte);
        break;
    case AT_LENGTH:
        j->skip = (uint16_t)(byte << 8);
        j->state = AT_LENGTH_2;
        break;
    case AT_LENGTH_2:
        end_length(j, (uint16_t)(j->skip | byte));
        break;
    default:
        break;
    }
}

static bool is_frame(uint8_t marker)
{
    return (marker & 0xf0) == 0xc0 && marker != DHT && marker != JPG && marker != DAC;
}

static void begin_marker(struct jpeg_end *j, uint8_t marker)
{
    if (marker == EOI)
        j->state = AT_END;
    else if (marker == TEM || (marker >= RST0 && marker < EOI))
        j->state = AT_MARKER; /* nothing belongs to it */
    else
        j->state = AT_LENGTH;
    j->marker = marker;
}

static void end_length(struct jpeg_end *j, uint16_t length)
{
    if (!j->scan && (length < 2 || (is_frame(j->marker) && !j->frame && length < 8) ||
                     (j->marker == SOS && !j->frame))) {
        j->state = AT_NOTHING;
        return;
    }
    j->frame = j->frame || is_frame(j->marker);
    j->skip = (uint16_t)(length > 2 ? length - 2 : 0);
    if (j->skip > 0)
        j->state = AT_SKIP;
    else
        end_part(j);
}

static void end_part(struct jpeg_end *j)
{
    j->scan = j->scan || j->marker == SOS;
    j->state = AT_MARKER;
}

static bool is_padding(uint8_t byte)
{
    return byte == 0 || byte == '\r' || byte == '\n';
}

/* A picture with a broken part in the middle, over which the walk has stepped too far, still shows
 * its end at the very end. */
static void follow_tail(struct jpeg_end *j, const uint8_t *p, size_t size)
{
    size_t end = size;
    while (end > 0 && is_padding(p[end - 1]))
        end--;
    if (end > 0)
        j->tail_ends = p[end - 1] == EOI && (end > 1 ? p[end - 2] : j->last) == 0xff;
    j->last = p[size - 1];
}
