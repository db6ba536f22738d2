/* Any bytes into sniffing, probing, decoding and the resize. Limits are small, so that a target
 * that obeys them is quick; breaking them is a finding. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "picture/letterbox.h"
#include "picture/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct picture_limits limits = {
    .bytes_max = 1 << 20,
    .pixels_max = 1 << 20,
    .memory_max = 4 << 20,
    .scans_max = 20,
};

static void check_decode(const uint8_t *data, size_t size, const struct picture_info *probed,
                         int cover);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct picture_info info = {0};
    struct err e = {0};
    int r;

    assert(picture_describe(data, size)[0] != '\0');
    r = picture_probe(data, size, &limits, &info, &e);
    if (r < 0) {
        assert(e.text[0] != '\0' && e.code == r);
        return 0;
    }
    assert(info.width > 0 && info.height > 0 && info.orientation >= 1 && info.orientation <= 8);
    assert((int64_t)info.width * info.height <= limits.pixels_max);
    check_decode(data, size, &info, 0);
    check_decode(data, size, &info, 16);
    check_decode(data, size, &info, 5); /* the seeds at 1/4 */
    check_decode(data, size, &info, 2); /* and at 1/8 */
    return 0;
}

static void check_decode(const uint8_t *data, size_t size, const struct picture_info *probed,
                         int cover)
{
    static float tensor[3 * 32 * 32];
    static const struct tensor_format format = {.scale = 1, .std = {1, 1, 1}, .fill = 114};
    AUTO(image) img = NULL;
    struct picture_info info = {0};
    struct err e = {0};
    struct letterbox lb;
    int r = picture_decode(data, size, &limits, cover, cover, &img, &info, &e);

    if (r < 0) {
        assert(!img && e.text[0] != '\0');
        return;
    }
    assert(info.width == probed->width && info.height == probed->height);
    assert(img->width >= 1 && img->height >= 1);
    assert(img->width <= info.width && img->height <= info.height);
    assert(img->width >= cover || img->width == info.width);
    assert((size_t)img->width * (size_t)img->height * 3 <= limits.memory_max);
    lb = letterbox_compute(LETTERBOX_CENTRE, info.width, info.height, 32, 32);
    r = letterbox_fill(&lb, &format, img, tensor);
    assert(r == 0);
    for (size_t i = 0; i < sizeof tensor / sizeof *tensor; i++)
        assert(tensor[i] >= 0 && tensor[i] <= 255);
}
