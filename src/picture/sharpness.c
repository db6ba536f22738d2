#include "picture/sharpness.h"

#include <errno.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/mem.h"

/* What is decoded at least: enough to show the blur of a walking person in a camera's picture, and
 * a few milliseconds of work. */
#define COVER_WIDTH 640
#define COVER_HEIGHT 360

static uint8_t grey(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 77 + rgb[1] * 150 + rgb[2] * 29) >> 8); /* ITU-R BT.601 */
}

/* One row of brightness. */
static void read_row(const struct image *img, int y, uint8_t *row)
{
    const uint8_t *p = img->rgb + (size_t)y * (size_t)img->width * 3;
    for (int x = 0; x < img->width; x++, p += 3)
        row[x] = grey(p);
}

static double variance_of_laplacian(const struct image *img, uint8_t *rows)
{
    size_t w = (size_t)img->width;
    uint8_t *above = rows, *here = rows + w, *below = rows + 2 * w;
    double sum = 0, squares = 0;
    read_row(img, 0, above);
    read_row(img, 1, here);
    for (int y = 1; y + 1 < img->height; y++) {
        read_row(img, y + 1, below);
        int64_t row_sum = 0, row_squares = 0;
        for (size_t x = 1; x + 1 < w; x++) {
            int l = here[x - 1] + here[x + 1] + above[x] + below[x] - 4 * here[x];
            row_sum += l;
            row_squares += l * l;
        }
        sum += (double)row_sum;
        squares += (double)row_squares;
        uint8_t *oldest = above;
        above = here;
        here = below;
        below = oldest;
    }
    double n = (double)(img->width - 2) * (img->height - 2);
    return squares / n - (sum / n) * (sum / n);
}

int picture_sharpness(const void *data, size_t size, const struct picture_limits *limits,
                      double *ret, bool *ret_damaged, struct err *e)
{
    AUTO(image) img = NULL;
    struct picture_info info;
    int r = picture_decode(data, size, limits, COVER_WIDTH, COVER_HEIGHT, &img, &info, e);
    if (r < 0)
        return r;
    *ret_damaged = info.damaged;
    *ret = 0;
    if (img->width < 3 || img->height < 3)
        return 0;
    AUTO_FREE uint8_t *rows = mem_try_alloc((size_t)img->width, 3, limits->memory_max);
    if (!rows)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for the sharpness of a picture");
    *ret = variance_of_laplacian(img, rows);
    return 0;
}
