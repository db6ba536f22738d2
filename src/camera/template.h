#pragma once
/* Templates of addresses and arguments: {user} {password} {time} {random} {channel} {address}.
 * Pure but for {random}. */

#include "base/dynbuf.h"
#include "camera/camera_kind.h"

#define TEMPLATE_PLACEHOLDERS "{user} {password} {time} {random} {channel} {address}"
#define TEMPLATE_MAX 4096 /* bytes of a result: longer URLs no camera reads */

enum template_form {
    TEMPLATE_URL,   /* values are percent-encoded */
    TEMPLATE_SHOWN, /* the same, but {user} and {password} stay as they are: no secrets */
    TEMPLATE_PLAIN, /* values as they are */
};

/* Appends `text` with its placeholders filled in. `channel` is meant by {channel} when the camera
 * has none. `what` is what error texts call the template. */
int template_expand(const char *what, const char *text, const struct camera *cam,
                    const char *channel, struct wall_time now, enum template_form form,
                    struct dynbuf *out, struct err *e);

/* A GET of the expanded URL. The login goes by header unless the URL has a place for it; an
 * explicit `auth` wins. */
int template_request(const char *url, const struct camera *cam, const char *channel,
                     struct wall_time now, struct camera_request *ret, struct err *e);
