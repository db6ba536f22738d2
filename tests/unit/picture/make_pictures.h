#pragma once
/* Small pictures of every kind, made in memory by the libraries' encoders. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dynbuf.h"
#include "picture/picture.h"

struct bytes {
    uint8_t
        *data; /* malloc()ed, exactly `size` bytes, so that a sanitizer sees every step outside */
    size_t size;
};
void bytes_done(struct bytes *b);

/* The scene: four quarters, red and green above, blue and white below, told apart after any turn.
 */
void scene_row(uint8_t *rgb, int y, int width, int height);
enum quarter { RED, GREEN, BLUE, WHITE, QUARTER_COUNT };
/* Which quarter's colour this pixel has, -1 for none of them (within 60). */
int quarter_at(const struct image *img, int x, int y);
/* Whether the picture is the upright scene, seen at the middles of its quarters. */
bool is_scene(const struct image *img);

enum jpeg_kind {
    JPEG_PLAIN, /* 4:2:0 */
    JPEG_PROGRESSIVE,
    JPEG_444,
    JPEG_RESTARTS,
    JPEG_GREY,
    JPEG_CMYK, /* as Adobe writes it, inverted */
    JPEG_YCCK,
    JPEG_CMYK_PLAIN, /* no Adobe marker, not inverted */
    JPEG_RGB,
    JPEG_ARITHMETIC,
    JPEG_TWO_SCANS, /* baseline, yet each component on its own */
    JPEG_KIND_COUNT
};
struct bytes make_jpeg(enum jpeg_kind kind, int width, int height, int quality);
/* A copy with an EXIF block behind the start marker. */
struct bytes with_orientation(struct bytes jpeg, int orientation, bool little_endian);

enum png_kind {
    PNG_RGB,
    PNG_RGBA,
    PNG_GREY,
    PNG_GREY_ALPHA,
    PNG_PALETTE,
    PNG_PALETTE_2_BIT,
    PNG_ONE_BIT,
    PNG_GREY_16,
    PNG_RGB_16,
    PNG_INTERLACED,
    PNG_KIND_COUNT
};
struct bytes make_png(enum png_kind kind, int width, int height);

enum webp_kind { WEBP_LOSSY, WEBP_LOSSLESS, WEBP_ALPHA, WEBP_ANIMATED, WEBP_KIND_COUNT };
struct bytes make_webp(enum webp_kind kind, int width, int height);

enum bmp_kind {
    BMP_24,
    BMP_32,
    BMP_8,
    BMP_4,
    BMP_1,
    BMP_16_555,
    BMP_16_565,
    BMP_TOP_DOWN,
    BMP_OS2,
    BMP_KIND_COUNT
};
struct bytes make_bmp(enum bmp_kind kind, int width, int height);

enum gif_kind { GIF_PLAIN, GIF_INTERLACED, GIF_ANIMATED, GIF_KIND_COUNT };
struct bytes make_gif(enum gif_kind kind, int width, int height);
