/* Any bytes as a stream, in one piece and in many: both find the same frame, inside the bytes. */

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "camera/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t frame_max = (size_t)data[0] * 64 + 16, piece = (size_t)data[1] + 1;
    data += 2;
    size -= 2;
    struct multipart whole, parts;
    multipart_init(&whole, frame_max);
    multipart_init(&parts, frame_max);
    for (size_t n = piece; n < size; n += piece) {
        AUTO_FREE uint8_t *copy = xmemdup(data, n); /* a step beyond its end is seen */
        enum multipart_state state = multipart_look(&parts, copy, n);
        size_t at, len;
        assert(state != MULTIPART_TWO || multipart_frame(&parts, &at, &len));
        if (multipart_frame(&parts, &at, &len)) {
            assert(at <= n && len <= n - at && len > 0);
            assert(copy[at] == 0xff && copy[at + 1] == 0xd8);
        }
    }
    (void)multipart_end(&parts, data, size);
    (void)multipart_end(&whole, data, size);
    size_t at = 0, len = 0;
    if (multipart_frame(&whole, &at, &len))
        assert(at <= size && len <= size - at && len >= 3);
    return 0;
}
