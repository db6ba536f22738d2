#pragma once
/* Pictures from outside: what a file is, whether it is whole, and its pixels for a detector.
 * Types are told by magic bytes, never by name. Everything is bounded before memory is spent.
 * All functions are pure and may be called from any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

enum picture_format {
    PICTURE_UNKNOWN,
    PICTURE_JPEG,
    PICTURE_PNG,
    PICTURE_WEBP,
    PICTURE_BMP,
    PICTURE_GIF,
    PICTURE_FORMAT_COUNT
};
extern const char *const picture_format_names[PICTURE_FORMAT_COUNT]; /* "unknown", "jpeg", ... */

struct picture_limits {
    size_t bytes_max;   /* file size */
    int64_t pixels_max; /* width * height as the header claims */
    size_t memory_max;  /* bytes that decoding may take beside the input */
    int scans_max;      /* progressive JPEG */
};
extern const struct picture_limits picture_limits_default;

struct picture_info {
    enum picture_format format;
    int width, height;               /* upright: after orientation */
    int stored_width, stored_height; /* as the file has it */
    int orientation;                 /* EXIF 1..8; 1 when absent or nonsense */
    int64_t taken_s; /* EXIF: seconds since 1970, local time read as UTC; 0: absent */
    bool damaged;    /* ended early or broken data, yet some pixels are there (decode sets it) */
    bool incomplete; /* probe: no end marker where the format has one (JPEG EOI, PNG IEND, GIF ';',
                        sizes) */
};

/* RGB, 8 bit, interleaved, rows without padding. May be smaller than the picture (scaled decode).
 */
struct image {
    int width, height; /* pixels */
    double scale;      /* pixels of this per pixel of the picture, 1 or less; 0: width / width */
    uint8_t *rgb;      /* width * height * 3 bytes, owned */
};
void image_free(struct image *img);
DEFINE_AUTO(image, image_free)

enum picture_format picture_sniff(const void *data, size_t size);
/* Words for an error message when it is no picture: "an HTML page", "empty", "text", ... Static. */
const char *picture_describe(const void *data, size_t size);

/* Reads headers only: format, size, orientation, completeness; enforces bytes_max and pixels_max.
 * -EINVAL not a picture (text says what it is instead) or a broken header, -EFBIG over a limit. */
int picture_probe(const void *data, size_t size, const struct picture_limits *limits,
                  struct picture_info *ret, struct err *e);

/* Decodes upright. The result is the picture itself or a smaller version of it that still has at
 * least cover_width x cover_height pixels; pass the size that the picture is going to have
 * (letterbox.resized_*), not the model's square. JPEG uses the smallest scaled DCT of 1/8, 1/4, 1/2
 * that covers, other formats shrink by an integer factor. cover 0,0: full size. First frame of
 * animations; alpha is dropped; 16 bit becomes 8; CMYK and grey become RGB. A truncated file gives
 * what was there (rest grey) with ret_info->damaged. -ENOMEM over memory_max.
 */
int picture_decode(const void *data, size_t size, const struct picture_limits *limits,
                   int cover_width, int cover_height, struct image **ret,
                   struct picture_info *ret_info, struct err *e);
