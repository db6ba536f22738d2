#include "picture/picture.h"

#include <string.h>
#include <strings.h>

#include "base/macros.h"

const char *const picture_format_names[PICTURE_FORMAT_COUNT] = {
    [PICTURE_UNKNOWN] = "unknown", [PICTURE_JPEG] = "jpeg", [PICTURE_PNG] = "png",
    [PICTURE_WEBP] = "webp",       [PICTURE_BMP] = "bmp",   [PICTURE_GIF] = "gif",
};

static bool begins(const uint8_t *p, size_t size, size_t at, const char *magic, size_t len)
{
    return size >= at && size - at >= len && memcmp(p + at, magic, len) == 0;
}
#define BEGINS(at, magic) begins(p, size, at, magic, sizeof(magic) - 1)

enum picture_format picture_sniff(const void *data, size_t size)
{
    const uint8_t *p = data;

    if (BEGINS(0, "\xff\xd8\xff"))
        return PICTURE_JPEG;
    if (BEGINS(0, "\x89PNG\r\n\x1a\n"))
        return PICTURE_PNG;
    if (BEGINS(0, "RIFF") && BEGINS(8, "WEBP"))
        return PICTURE_WEBP;
    if (BEGINS(0, "GIF87a") || BEGINS(0, "GIF89a"))
        return PICTURE_GIF;
    /* "BM" alone begins many texts; the second reserved word is zero in every bitmap and the
     * header's size is small. */
    if (BEGINS(0, "BM") && size >= 18 && p[15] == 0 && p[16] == 0 && p[17] == 0 && p[14] >= 12)
        return PICTURE_BMP;
    return PICTURE_UNKNOWN;
}

/* What cameras, proxies and people send instead of a picture. */
static const struct {
    size_t at;
    const char *magic;
    size_t len;
    const char *words;
} strangers[] = {
#define STRANGER(at, magic, words)                                                                 \
    {                                                                                              \
        at, magic, sizeof(magic) - 1, words                                                        \
    }
    STRANGER(4, "ftypheic", "a HEIC picture, which is not supported"),
    STRANGER(4, "ftypheix", "a HEIC picture, which is not supported"),
    STRANGER(4, "ftypmif1", "a HEIF picture, which is not supported"),
    STRANGER(4, "ftypavif", "an AVIF picture, which is not supported"),
    STRANGER(4, "ftyp", "an MP4 or QuickTime video"),
    STRANGER(0, "II*\0", "a TIFF picture, which is not supported"),
    STRANGER(0, "MM\0*", "a TIFF picture, which is not supported"),
    STRANGER(0, "\0\0\x01\0", "an icon file"),
    STRANGER(0, "\0\0\0\x0cjP  ", "a JPEG 2000 picture, which is not supported"),
    STRANGER(0, "\xff\x0a", "a JPEG XL picture, which is not supported"),
    STRANGER(0, "PK\x03\x04", "a ZIP archive"),
    STRANGER(0, "\x1f\x8b", "gzip-compressed data"),
    STRANGER(0, "%PDF", "a PDF document"),
    STRANGER(0, "RIFF", "a RIFF file that is not WebP (a video or sound)"),
    STRANGER(0, "\x1a\x45\xdf\xa3", "a Matroska video"),
    STRANGER(0, "FLV", "a Flash video"),
    STRANGER(0,
             "\x7f"
             "ELF",
             "a program"),
    STRANGER(0, "--", "a multipart stream, not a single picture"),
#undef STRANGER
};

static const char *describe_text(const uint8_t *p, size_t size);

const char *picture_describe(const void *data, size_t size)
{
    const uint8_t *p = data;
    size_t zeros = 0;

    if (size == 0)
        return "empty";
    if (picture_sniff(data, size) != PICTURE_UNKNOWN)
        return "a picture";
    if (size <= 3 && memcmp(p, "\xff\xd8\xff", size) == 0)
        return "a JPEG that ends after its first bytes";
    if (size < 8 && memcmp(p, "\x89PNG\r\n\x1a\n", size) == 0)
        return "a PNG that ends after its first bytes";
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        if (begins(p, size, strangers[i].at, strangers[i].magic, strangers[i].len))
            return strangers[i].words;
    }
    while (zeros < size && p[zeros] == 0)
        zeros++;
    if (zeros == size)
        return "nothing but zeros";
    return describe_text(p, size);
}

/* Looks at the beginning only: the rest of a page says nothing more. */
static const char *describe_text(const uint8_t *p, size_t size)
{
    static const char *const html[] = {"<!doctype html", "<html", "<head", "<body", "<script"};
    size_t at = 0, look;

    if (size >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        at = 3;
    while (at < size && strchr(" \t\r\n", p[at]) && p[at] != 0)
        at++;
    for (size_t i = 0; i < ARRAY_LEN(html); i++) {
        size_t len = strlen(html[i]);

        if (size - at >= len && strncasecmp((const char *)p + at, html[i], len) == 0)
            return "an HTML page";
    }
    look = MIN(size, (size_t)512);
    for (size_t i = 0; i < look; i++) {
        if ((p[i] < 0x20 && !strchr("\t\r\n\f", p[i])) || p[i] == 0 || p[i] == 0x7f)
            return "unknown binary data";
    }
    if (at < size && p[at] == '<')
        return "an XML document";
    if (at < size && (p[at] == '{' || p[at] == '['))
        return "JSON text";
    return "text";
}
