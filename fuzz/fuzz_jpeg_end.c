/* A JPEG in blocks: the answer is the same for every cut into blocks, and the probe's for the
 * whole. The first byte is the size of a block. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "picture/jpeg_end.h"
#include "picture/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jpeg_end whole = {0}, parts = {0};
    struct picture_info info;
    if (size < 1)
        return 0;
    size_t block = (size_t)data[0] + 1;
    data++;
    size--;
    jpeg_end_feed(&whole, data, size);
    for (size_t at = 0; at < size; at += block)
        jpeg_end_feed(&parts, data + at, MIN(block, size - at));
    assert(jpeg_end_is_cut(&whole) == jpeg_end_is_cut(&parts));
    assert(jpeg_end_is_known(&whole) == jpeg_end_is_known(&parts));
    if (picture_probe(data, size, &picture_limits_default, &info, NULL) == 0 &&
        info.format == PICTURE_JPEG)
        assert(jpeg_end_is_cut(&whole) == info.incomplete);
    return 0;
}
