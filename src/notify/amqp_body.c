#include "notify/amqp_body.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "picture/annotate.h"

/* A first guess of the width comes from the sizes; a picture of noise needs a few steps more. */
#define SHRINK_TRIES 8
#define SHRINK_FIRST 0.95
#define SHRINK_MORE 0.7
#define SHRINK_QUALITY 85
#define SHRINK_WIDTH_MIN 32

static int shrink_until_it_fits(const struct amqp_body *b, const struct image_event *whole,
                                struct message_body *ret, struct err *e);

int amqp_body_make(const struct amqp_body *b, const struct event *ev, struct wall_time now,
                   struct message_body *ret, bool *ret_smaller, struct err *e)
{
    AUTO_FREE char *url = NULL;
    const char *id = strstr(b->image_url, "{id}");
    if (id)
        url = xasprintf("%.*s%s%s", (int)(id - b->image_url), b->image_url, ev->snapshot->id,
                        id + strlen("{id}"));
    struct image_event ie = {.event = ev,
                             .format = b->format,
                             .published_at = now,
                             .store_root = b->store_root,
                             .image_url = url,
                             .storage_url = ev->storage_url,
                             .size_max = b->size_max};
    int r = image_event_encode(&ie, ret, e);
    *ret_smaller = r == -EMSGSIZE && ie.format != EVENT_FORMAT_CLAIM_CHECK;
    if (!*ret_smaller)
        return r;
    if (b->too_large == AMQP_DOWNSCALE)
        return shrink_until_it_fits(b, &ie, ret, e);
    ie.format = EVENT_FORMAT_CLAIM_CHECK;
    return image_event_encode(&ie, ret, e);
}

static int shrink_until_it_fits(const struct amqp_body *b, const struct image_event *whole,
                                struct message_body *ret, struct err *e)
{
    static const struct detection_list no_marks = {0};
    const struct blob *bytes = whole->event->bytes;
    struct event smaller = *whole->event;
    struct image_event ie = *whole;
    double factor = SHRINK_FIRST * fmin(1, sqrt((double)b->size_max / (double)bytes->size));
    int r = -EMSGSIZE;
    ie.event = &smaller;
    for (int i = 0; i < SHRINK_TRIES && r == -EMSGSIZE; i++, factor *= SHRINK_MORE) {
        AUTO(blob) copy = NULL;
        int width = MAX((int)(smaller.snapshot->width * factor), SHRINK_WIDTH_MIN);
        r = picture_annotate(bytes->data, bytes->size, &b->limits, &no_marks, width, SHRINK_QUALITY,
                             &copy, e);
        if (r < 0)
            return err_prefix(e, "a picture of %zu bytes, to be made smaller", bytes->size);
        smaller.bytes = copy;
        r = image_event_encode(&ie, ret, e);
    }
    return r;
}
