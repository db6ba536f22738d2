#pragma once
/* What is sent to Rekognition of a picture: its own bytes where they will do, else a JPEG that
 * fits. Pure.
 *
 * Rekognition takes JPEG and PNG of at most 5 MB, 80 to 10000 pixels a side. It turns a JPEG by its
 * EXIF orientation and its boxes are those of the upright picture; orientations that mirror are not
 * promised, and those of PNG files are ignored. So both are sent upright, as JPEG. */

#include "base/blob.h"
#include "base/dynbuf.h"
#include "base/err.h"
#include "picture/picture.h"

#define REKOGNITION_BYTES_MAX 5242880 /* before base64 */
#define REKOGNITION_SIDE_MIN 80
#define REKOGNITION_SIDE_MAX 10000

struct rekognition_picture {
    struct blob *bytes; /* owned reference */
    int width, height;  /* pixels of the upright original */
    bool converted;     /* `bytes` are not the original's */
    bool damaged;       /* the original ends early */
};
void rekognition_picture_done(struct rekognition_picture *p);

/* Reads the header and says whether the bytes will do as they are: then 1 and `ret` is filled; else
 * 0, and rekognition_picture_convert() comes next. -EINVAL, ERR_NEVER: it can never be examined
 * there. */
int rekognition_picture_look(struct blob *bytes, const struct picture_limits *limits, int side_max,
                             struct rekognition_picture *ret, struct err *e);
/* Makes the JPEG. Takes the memory that decoding takes, so do it for one picture at a time. Errors
 * as above, or -ENOMEM, ERR_LATER. */
int rekognition_picture_convert(struct blob *bytes, const struct picture_limits *limits,
                                int side_max, struct rekognition_picture *ret, struct err *e);

/* The request's body, base64 included; `out` is initialised here. 0 or -ENOMEM. */
int rekognition_body(const struct blob *bytes, int labels_max, double confidence_min,
                     struct dynbuf *out, struct err *e);
