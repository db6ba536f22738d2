#include "detect/rekognition_picture.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/text.h"
#include "picture/annotate.h"

/* Of what is sent instead; Rekognition's own advice is not to compress hard. */
static const int qualities[] = {90, 80};
#define SMALLER_BY 0.75
#define ATTEMPTS_MAX 12 /* three hundredths of the side: noise of 100 megapixels fits by then */
#define BODY_FRAME_MAX 128

void rekognition_picture_done(struct rekognition_picture *p)
{
    blob_unref(p->bytes);
    *p = (struct rekognition_picture){0};
}

static int too_small(int width, int height, struct err *e)
{
    return err_set(e, -EINVAL, ERR_NEVER,
                   "%dx%d pixels: Rekognition examines nothing below %d on a side", width, height,
                   REKOGNITION_SIDE_MIN);
}

/* What the sides have to be multiplied by; 1 at most. A wish for less does not make a picture too
 * small. */
static double factor_for(const struct picture_info *info, int side_max)
{
    double longer = MAX(info->width, info->height), shorter = MIN(info->width, info->height);
    double factor = fmin(REKOGNITION_SIDE_MAX / longer, 1);
    if (side_max > 0)
        factor = fmin(factor, fmax(side_max / longer, REKOGNITION_SIDE_MIN / shorter));
    return factor;
}

static int probe(const struct blob *bytes, const struct picture_limits *limits, int side_max,
                 struct picture_info *ret, struct err *e)
{
    struct err why = {0};
    if (picture_probe(bytes->data, bytes->size, limits, ret, &why) < 0)
        return err_set(e, -EINVAL, ERR_NEVER, "%s", why.text);
    double least = MIN(ret->width, ret->height) * factor_for(ret, side_max);
    return least < REKOGNITION_SIDE_MIN - 1e-6 ? too_small(ret->width, ret->height, e) : 0;
}

/* EXIF's 2, 4, 5 and 7 mirror. */
static bool is_turned_there(const struct picture_info *info)
{
    if (info->orientation == 1)
        return true;
    return info->format == PICTURE_JPEG &&
           (info->orientation == 3 || info->orientation == 6 || info->orientation == 8);
}

int rekognition_picture_look(struct blob *bytes, const struct picture_limits *limits, int side_max,
                             struct rekognition_picture *ret, struct err *e)
{
    struct picture_info info;
    int r = probe(bytes, limits, side_max, &info, e);
    if (r < 0)
        return r;
    bool known = info.format == PICTURE_JPEG || info.format == PICTURE_PNG;
    if (!known || bytes->size > REKOGNITION_BYTES_MAX || factor_for(&info, side_max) < 1 ||
        !is_turned_there(&info) || info.incomplete)
        return 0;
    *ret = (struct rekognition_picture){
        .bytes = blob_ref(bytes), .width = info.width, .height = info.height};
    return 1;
}

int rekognition_picture_convert(struct blob *bytes, const struct picture_limits *limits,
                                int side_max, struct rekognition_picture *ret, struct err *e)
{
    static const struct detection_list nothing = {0};
    struct picture_info info, made;
    struct err why = {0};
    int r = probe(bytes, limits, side_max, &info, e);
    if (r < 0)
        return r;
    double factor = factor_for(&info, side_max);
    for (int i = 0; r == 0 && i < ATTEMPTS_MAX; i++) {
        AUTO(blob) jpeg = NULL;
        int quality = qualities[MIN((size_t)i, ARRAY_LEN(qualities) - 1)];
        int width = MAX((int)ceil(info.width * factor), 1);
        r = picture_annotate(bytes->data, bytes->size, limits, &nothing, width, quality, &jpeg,
                             &why);
        if (r == 0)
            r = picture_probe(jpeg->data, jpeg->size, limits, &made, &why);
        if (r < 0)
            break;
        if (MIN(made.width, made.height) < REKOGNITION_SIDE_MIN)
            return made.width < width /* drawn smaller, as there was no memory */
                       ? err_set(e, -ENOMEM, ERR_LATER, "no memory to make %dx%d pixels fit",
                                 info.width, info.height)
                       : too_small(made.width, made.height, e);
        if (jpeg->size <= REKOGNITION_BYTES_MAX &&
            MAX(made.width, made.height) <= REKOGNITION_SIDE_MAX) {
            *ret = (struct rekognition_picture){.bytes = STEAL(jpeg),
                                                .width = info.width,
                                                .height = info.height,
                                                .converted = true,
                                                .damaged = info.incomplete};
            return 0;
        }
        if (i > 0)
            factor *= SMALLER_BY;
    }
    if (r == -ENOMEM)
        return err_set(e, r, ERR_LATER, "make it fit for Rekognition: %s", why.text);
    return err_set(e, -EINVAL, ERR_NEVER, "cannot be made fit for Rekognition%s%s",
                   r < 0 ? ": " : "", why.text);
}

int rekognition_body(const struct blob *bytes, int labels_max, double confidence_min,
                     struct dynbuf *out, struct err *e)
{
    size_t coded = TEXT_BASE64_SIZE(bytes->size) - 1;
    dynbuf_init(out, coded + BODY_FRAME_MAX);
    /* In thousandths of a percent, since printf's point depends on the locale. */
    int milli = (int)lrint(confidence_min * 100000);
    int r = dynbuf_puts(out, "{\"Image\":{\"Bytes\":\"");
    char *at = r == 0 ? dynbuf_extend(out, coded) : NULL;
    if (at) {
        text_base64(bytes->data, bytes->size, at); /* its NUL is where the buffer has one */
        r = dynbuf_printf(out, "\"},\"MaxLabels\":%d,\"MinConfidence\":%d.%03d}", labels_max,
                          milli / 1000, milli % 1000);
    }
    if (!at || r < 0)
        return err_set(e, -ENOMEM, ERR_LATER, "no memory for a request of %zu bytes", coded);
    return 0;
}
