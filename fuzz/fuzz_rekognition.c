/* What comes from Rekognition, or from whoever is in its place: any answer gives a list within its
 * bounds, or an error that says never. */

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "detect/rekognition_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { WIDTH = 640, HEIGHT = 480 };
    AUTO(blob) body = blob_new_copy(data, size);
    AUTO_DONE(detection_list) found = {0};
    char version[REKOGNITION_VERSION_MAX];
    struct err e = {0};
    int r = rekognition_answer_read(body, 0.5, WIDTH, HEIGHT, &found, version, &e);
    if (r < 0) {
        assert(r == -EBADMSG && e.retry == ERR_NEVER && !found.items);
        return 0;
    }
    assert(found.count <= DETECTION_COUNT_MAX && strlen(version) < sizeof(version));
    for (size_t i = 0; i < found.count; i++) {
        const struct detection *d = &found.items[i];
        assert(d->label[0] && memchr(d->label, '\0', sizeof(d->label)));
        assert(isfinite(d->confidence) && d->confidence >= 0.499F && d->confidence <= 1);
        assert(!i || found.items[i - 1].confidence >= d->confidence);
        if (d->has_box)
            assert(d->box.x1 >= 0 && d->box.x1 < d->box.x2 && d->box.x2 <= WIDTH &&
                   d->box.y1 >= 0 && d->box.y1 < d->box.y2 && d->box.y2 <= HEIGHT);
    }
    return 0;
}
