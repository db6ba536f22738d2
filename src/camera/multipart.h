#pragma once
/* Pictures out of a multipart/x-mixed-replace stream (RFC 2046), as cameras send it and not as they
 * should. Pure: bytes in, places in them out.
 *
 * The delimiter is read off the body's first line and not off the Content-Type: servers quote the
 * parameter, leave it out, or put the two dashes into it and then send either two or four. A
 * Content-Length is believed when what it spans is a whole JPEG, for it may be missing or wrong;
 * else a frame goes from FF D8 to the next delimiter. The first FF D9 ends nothing: an EXIF
 * thumbnail holds one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum multipart_state {
    MULTIPART_MORE,    /* not yet a frame */
    MULTIPART_ONE,     /* one whole frame: it may be an old one out of the camera's buffer */
    MULTIPART_TWO,     /* the second frame is here: nothing better will come */
    MULTIPART_PLAIN,   /* no stream: an ordinary answer */
    MULTIPART_TOO_BIG, /* a frame, or an ordinary answer, is longer than allowed */
};

struct multipart {
    size_t frame_max; /* bytes */
    /* private */
    enum multipart_state state;
    int part;           /* enum part: where `at` stands */
    size_t at;          /* all before it was understood */
    size_t seen;        /* the search for a delimiter goes on here */
    size_t length;      /* of this part as announced, 0 = unknown */
    char delimiter[80]; /* as on the first line, dashes included; "" = none was there */
    size_t frame, frame_size;
    int frames;
};

void multipart_init(struct multipart *m, size_t frame_max);
/* `data` is all that came so far, from the first byte on; it may have moved since the last call.
 * What was looked at is not looked at again. */
enum multipart_state multipart_look(struct multipart *m, const uint8_t *data, size_t size);
/* No more will come: what stands behind the last header may be a frame without an end mark. */
enum multipart_state multipart_end(struct multipart *m, const uint8_t *data, size_t size);
/* Where the newest frame is; false when there is none. */
bool multipart_frame(const struct multipart *m, size_t *ret_at, size_t *ret_size);
