#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "picture/bytes.h"
#include "picture/exif.h"
#include "picture/layout.h"
#include "picture/picture.h"

/* Headers are read by code of our own: it costs nothing before the limits have been asked, it is
 * the same for all formats, and a decoder that reads another size than we did is refused.
 *
 * JPEG: ITU T.81 annex B; PNG: W3C PNG 3; WebP: RFC 9649; GIF: GIF89a; BMP: Microsoft's
 * "Bitmap Storage". */

/* JPEG cannot have more than this; for the others it bounds a row to half a megabyte. */
#define SIDE_MAX 65535

const struct picture_limits picture_limits_default = {
    .bytes_max = 32 * 1024 * 1024, /* a camera's 48 megapixels at good quality have 25 MB */
    .pixels_max =
        120 * 1000 * 1000,          /* the largest camera sensors; scaled decoding makes it cheap */
    .memory_max = 60 * 1000 * 1000, /* 20 megapixels at full size, 6 in a progressive JPEG 4:4:4 */
    .scans_max = 64,                /* encoders write 10, optimisers up to 16 */
};

struct view {
    const uint8_t *p;
    size_t size;
};

static int probe_jpeg(struct view v, struct picture_layout *out, struct err *e);
static int probe_png(struct view v, struct picture_layout *out, struct err *e);
static int probe_webp(struct view v, struct picture_layout *out, struct err *e);
static int probe_bmp(struct view v, struct picture_layout *out, struct err *e);
static int probe_gif(struct view v, struct picture_layout *out, struct err *e);

static const struct {
    const char *name;
    int (*probe)(struct view v, struct picture_layout *out, struct err *e);
} formats[PICTURE_FORMAT_COUNT] = {
    [PICTURE_JPEG] = {"JPEG", probe_jpeg}, [PICTURE_PNG] = {"PNG", probe_png},
    [PICTURE_WEBP] = {"WebP", probe_webp}, [PICTURE_BMP] = {"BMP", probe_bmp},
    [PICTURE_GIF] = {"GIF", probe_gif},
};

static int check_size(const char *name, const struct picture_info *info,
                      const struct picture_limits *limits, struct err *e);

static void read_exif(struct picture_info *info, const uint8_t *p, size_t size)
{
    info->orientation = exif_orientation(p, size);
    info->taken_s = exif_time(p, size);
}

int picture_probe(const void *data, size_t size, const struct picture_limits *limits,
                  struct picture_info *ret, struct err *e)
{
    struct picture_layout layout;
    int r = picture_examine(data, size, limits, &layout, e);

    if (r < 0)
        return r;
    *ret = layout.info;
    return 0;
}

int picture_examine(const void *data, size_t size, const struct picture_limits *limits,
                    struct picture_layout *ret, struct err *e)
{
    struct picture_layout out = {.info = {.format = picture_sniff(data, size)}};
    struct picture_info *info = &out.info;
    int r;

    if (size > limits->bytes_max)
        return err_set(e, -EFBIG, ERR_NEVER,
                       "picture file of %.1f MB, more than the limit of %.1f MB (bytes_max)",
                       (double)size / 1e6, (double)limits->bytes_max / 1e6);
    if (info->format == PICTURE_UNKNOWN)
        return err_set(e, -EINVAL, ERR_NEVER, "not a picture: %s", picture_describe(data, size));

    r = formats[info->format].probe((struct view){data, size}, &out, e);
    if (r == 0)
        r = check_size(formats[info->format].name, info, limits, e);
    if (r < 0)
        return r;
    if (info->orientation < 1 || info->orientation > 8)
        info->orientation = 1;
    info->width = info->orientation >= 5 ? info->stored_height : info->stored_width;
    info->height = info->orientation >= 5 ? info->stored_width : info->stored_height;
    *ret = out;
    return 0;
}

static int check_size(const char *name, const struct picture_info *info,
                      const struct picture_limits *limits, struct err *e)
{
    int64_t pixels = (int64_t)info->stored_width * info->stored_height;

    if (info->stored_width < 1 || info->stored_height < 1)
        return err_set(e, -EINVAL, ERR_NEVER, "%s claims %dx%d pixels", name, info->stored_width,
                       info->stored_height);
    if (pixels > limits->pixels_max)
        return err_set(e, -EFBIG, ERR_NEVER,
                       "%s claims %dx%d = %.1f megapixels, more than the limit of %g (pixels_max)",
                       name, info->stored_width, info->stored_height, (double)pixels / 1e6,
                       (double)limits->pixels_max / 1e6);
    if (info->stored_width > SIDE_MAX || info->stored_height > SIDE_MAX)
        return err_set(e, -EFBIG, ERR_NEVER, "%s claims %dx%d pixels, more than %d on a side", name,
                       info->stored_width, info->stored_height, SIDE_MAX);
    return 0;
}

/* Sizes are read from up to 32 bits; what does not fit an int is far above every limit. */
static int side(uint32_t v)
{
    return v > INT32_MAX ? INT32_MAX : (int)v;
}

static int cut_header(const char *name, size_t size, struct err *e)
{
    return err_set(e, -EINVAL, ERR_NEVER, "%s ended inside its header, after %zu bytes", name,
                   size);
}

/* JPEG. */

enum {
    JPEG_TEM = 0x01,
    JPEG_SOF0 = 0xc0,
    JPEG_DHT = 0xc4,
    JPEG_JPG = 0xc8,
    JPEG_DAC = 0xcc,
    JPEG_SOF15 = 0xcf,
    JPEG_RST0 = 0xd0,
    JPEG_SOI = 0xd8,
    JPEG_EOI = 0xd9,
    JPEG_SOS = 0xda,
    JPEG_APP1 = 0xe1,
};

static bool is_frame(int marker)
{
    return marker >= JPEG_SOF0 && marker <= JPEG_SOF15 && marker != JPEG_DHT &&
           marker != JPEG_JPG && marker != JPEG_DAC;
}

/* Markers without a length. */
static bool is_bare(int marker)
{
    return marker == JPEG_TEM || (marker >= JPEG_RST0 && marker <= JPEG_EOI);
}

/* The next marker at or after *pos, or -1 at the end; *pos then stands behind it. Bytes that are
 * no marker are skipped as libjpeg does. */
static int next_marker(struct view v, size_t *pos)
{
    while (*pos < v.size) {
        const uint8_t *ff = memchr(v.p + *pos, 0xff, v.size - *pos);

        if (!ff)
            break;
        *pos = (size_t)(ff - v.p) + 1;
        if (*pos < v.size && v.p[*pos] != 0 && v.p[*pos] != 0xff) {
            int marker = v.p[*pos];

            (*pos)++;
            return marker;
        }
    }
    *pos = v.size;
    return -1;
}

static bool jpeg_ends(struct view v, size_t scan_at);

static int probe_jpeg(struct view v, struct picture_layout *out, struct err *e)
{
    struct picture_info *info = &out->info;
    size_t pos = 2;
    bool have_frame = false;

    while (true) {
        int marker = next_marker(v, &pos);
        size_t len;

        if (marker == JPEG_EOI)
            return err_set(e, -EINVAL, ERR_NEVER, "JPEG without a picture in it");
        if (marker >= 0 && is_bare(marker))
            continue;
        if (marker < 0 || v.size - pos < 2)
            break;
        len = be16(v.p + pos);
        if (len < 2)
            return err_set(e, -EINVAL, ERR_NEVER, "JPEG with a broken header (marker %02x)",
                           (unsigned)marker);
        if (len > v.size - pos)
            break;
        if (marker == JPEG_APP1 && info->orientation == 0 && len >= 8 &&
            memcmp(v.p + pos + 2, "Exif\0", 5) == 0)
            read_exif(info, v.p + pos + 2, len - 2);
        if (is_frame(marker) && !have_frame) {
            if (len < 8)
                return err_set(e, -EINVAL, ERR_NEVER, "JPEG with a broken frame header");
            info->stored_height = (int)be16(v.p + pos + 3);
            info->stored_width = (int)be16(v.p + pos + 5);
            have_frame = true;
        }
        pos += len;
        if (marker != JPEG_SOS)
            continue;
        if (!have_frame)
            return err_set(e, -EINVAL, ERR_NEVER, "JPEG with pixels before their size");
        info->incomplete = !jpeg_ends(v, pos);
        return 0;
    }
    if (have_frame)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "JPEG of %dx%d ended before its pixels, after %zu bytes", info->stored_width,
                       info->stored_height, v.size);
    return cut_header("JPEG", v.size, e);
}

/* Cameras put zeros, line ends or a boundary's rest behind the end marker. The tail answers for
 * nearly all files; only others are walked through. */
static bool jpeg_ends(struct view v, size_t scan_at)
{
    size_t end = v.size, pos = scan_at;

    while (end > scan_at && (v.p[end - 1] == 0 || v.p[end - 1] == '\r' || v.p[end - 1] == '\n'))
        end--;
    if (end - scan_at >= 2 && v.p[end - 2] == 0xff && v.p[end - 1] == JPEG_EOI)
        return true;
    while (true) {
        int marker = next_marker(v, &pos);

        if (marker == JPEG_EOI)
            return true;
        if (marker < 0)
            return false;
        if (is_bare(marker))
            continue;
        if (v.size - pos < 2)
            return false;
        pos += MIN(v.size - pos, (size_t)be16(v.p + pos));
    }
}

/* PNG. */

#define PNG_SIGNATURE 8
#define PNG_CHUNK 12 /* length, type, CRC */

static int probe_png(struct view v, struct picture_layout *out, struct err *e)
{
    struct picture_info *info = &out->info;
    size_t pos = PNG_SIGNATURE;

    if (v.size < PNG_SIGNATURE + PNG_CHUNK + 13)
        return cut_header("PNG", v.size, e);
    if (be32(v.p + pos) != 13 || memcmp(v.p + pos + 4, "IHDR", 4) != 0)
        return err_set(e, -EINVAL, ERR_NEVER, "PNG without its header chunk");
    info->stored_width = side(be32(v.p + pos + 8));
    info->stored_height = side(be32(v.p + pos + 12));
    info->incomplete = true;
    while (v.size - pos >= PNG_CHUNK) {
        size_t len = be32(v.p + pos);
        const uint8_t *type = v.p + pos + 4;

        if (memcmp(type, "IEND", 4) == 0) {
            info->incomplete = false;
            break;
        }
        if (len > v.size - pos - PNG_CHUNK)
            break;
        if (memcmp(type, "eXIf", 4) == 0)
            read_exif(info, v.p + pos + 8, len);
        pos += PNG_CHUNK + len;
    }
    return 0;
}

/* WebP: chunks of a four-letter type, a length and padding to an even size. */

#define RIFF_HEADER 12
#define RIFF_CHUNK 8
#define WEBP_FRAME_HEADER 16 /* in ANMF, before the frame's own chunks */

static int webp_frame(struct view v, size_t pos, struct picture_layout *out, struct err *e);

static int probe_webp(struct view v, struct picture_layout *out, struct err *e)
{
    size_t pos = RIFF_HEADER;
    size_t claimed = (size_t)le32(v.p + 4) + 8;

    out->info.incomplete = claimed > v.size;
    if (claimed < v.size)
        v.size = MAX(claimed, (size_t)RIFF_HEADER); /* what follows is not WebP's */
    while (v.size - pos >= RIFF_CHUNK) {
        const uint8_t *type = v.p + pos;
        size_t room = v.size - pos - RIFF_CHUNK, len = le32(v.p + pos + 4);
        bool frame = memcmp(type, "VP8 ", 4) == 0 || memcmp(type, "VP8L", 4) == 0;

        if (memcmp(type, "ANMF", 4) == 0 && out->frame_size == 0 &&
            room > WEBP_FRAME_HEADER + RIFF_CHUNK) {
            pos += RIFF_CHUNK + WEBP_FRAME_HEADER; /* step into the first frame */
            continue;
        }
        if (frame && out->frame_size == 0) {
            int r = webp_frame(v, pos, out, e);

            if (r < 0)
                return r;
        }
        if (len > room)
            break;
        if (memcmp(type, "EXIF", 4) == 0)
            read_exif(&out->info, v.p + pos + RIFF_CHUNK, len);
        len += len & 1;
        pos += RIFF_CHUNK + MIN(len, room);
    }
    if (out->frame_size == 0)
        return err_set(e, -EINVAL, ERR_NEVER, "WebP ended before its picture, after %zu bytes",
                       v.size);
    return 0;
}

/* The size stands in the bitstream; the canvas of the extended header may say anything. */
static int webp_frame(struct view v, size_t pos, struct picture_layout *out, struct err *e)
{
    const uint8_t *p = v.p + pos + RIFF_CHUNK;
    size_t room = v.size - pos - RIFF_CHUNK;
    bool lossless = v.p[pos + 3] == 'L';

    if (room < (lossless ? 5 : 10))
        return cut_header("WebP", v.size, e);
    if (lossless ? p[0] != 0x2f : memcmp(p + 3, "\x9d\x01\x2a", 3) != 0)
        return err_set(e, -EINVAL, ERR_NEVER, "WebP with a broken frame header");
    if (lossless) {
        uint32_t bits = le32(p + 1);

        out->info.stored_width = (int)(bits & 0x3fff) + 1;
        out->info.stored_height = (int)(bits >> 14 & 0x3fff) + 1;
    } else {
        out->info.stored_width = (int)(le16(p + 6) & 0x3fff);
        out->info.stored_height = (int)(le16(p + 8) & 0x3fff);
    }
    out->frame_at = pos;
    out->frame_size = MIN((size_t)le32(v.p + pos + 4), room) + RIFF_CHUNK;
    out->frame_lossless = lossless;
    return 0;
}

/* BMP. */

static int probe_bmp(struct view v, struct picture_layout *out, struct err *e)
{
    struct picture_info *info = &out->info;
    uint32_t header;
    uint64_t row;
    int bits;

    if (v.size < 26)
        return cut_header("BMP", v.size, e);
    header = le32(v.p + 14);
    if (header == 12) {
        info->stored_width = (int)le16(v.p + 18);
        info->stored_height = (int)le16(v.p + 20);
        bits = (int)le16(v.p + 24);
    } else if (v.size < 14 + 40) {
        return cut_header("BMP", v.size, e);
    } else {
        int32_t height = (int32_t)le32(v.p + 22);

        info->stored_width = side(le32(v.p + 18));
        info->stored_height = height == INT32_MIN ? INT32_MAX : height < 0 ? -height : height;
        bits = (int)le16(v.p + 28);
    }
    row = ((uint64_t)info->stored_width * (uint64_t)bits + 31) / 32 * 4;
    info->incomplete = le32(v.p + 10) + row * (uint64_t)info->stored_height > v.size;
    return 0;
}

/* GIF: a screen, then blocks; data stands in sub-blocks of up to 255 bytes, ended by an empty one.
 * The picture is the first frame, wherever on the screen it stands. */

static size_t gif_table(uint8_t flags)
{
    return flags & 0x80 ? (size_t)3 << ((flags & 7) + 1) : 0;
}

static bool gif_skip(struct view v, size_t *pos);

static int probe_gif(struct view v, struct picture_layout *out, struct err *e)
{
    struct picture_info *info = &out->info;
    bool have_frame = false;
    size_t pos = 13;

    info->incomplete = true;
    if (v.size < pos)
        return cut_header("GIF", v.size, e);
    pos += gif_table(v.p[10]);
    while (pos < v.size && v.p[pos] != ';') {
        if (v.p[pos] == '!') {
            pos += 2;
        } else if (v.p[pos] != ',') {
            break;
        } else {
            if (v.size - pos < 11)
                break;
            if (!have_frame) {
                info->stored_width = (int)le16(v.p + pos + 5);
                info->stored_height = (int)le16(v.p + pos + 7);
                have_frame = true;
            }
            pos += 10 + gif_table(v.p[pos + 9]) + 1;
        }
        if (!gif_skip(v, &pos))
            break;
    }
    info->incomplete = pos >= v.size || v.p[pos] != ';';
    if (!have_frame)
        return err_set(e, -EINVAL, ERR_NEVER, "GIF ended before its picture, after %zu bytes",
                       v.size);
    return 0;
}

static bool gif_skip(struct view v, size_t *pos)
{
    while (*pos < v.size && v.p[*pos] != 0)
        *pos += 1 + (size_t)v.p[*pos];
    (*pos)++;
    return *pos < v.size;
}
