/* Any camera with a URL that answers with a picture, or with a multipart stream of them: the escape
 * hatch for makers that we do not know. */

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "camera/camera_kind.h"
#include "camera/template.h"

static int validate(const struct camera *cam, struct err *e);
static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e);

const struct camera_kind camera_kind_http = {
    .name = "http",
    .help = "any camera with a URL for a picture; needs url, which may hold " TEMPLATE_PLACEHOLDERS,
    .channel = "1",
    .validate = validate,
    .request = request,
};

const struct camera_kind camera_kind_mjpeg = {
    .name = "mjpeg",
    .help = "any camera with a URL for an MJPEG stream, of which a frame is taken; needs url",
    .channel = "1",
    .stream = true,
    .validate = validate,
    .request = request,
};

static int validate(const struct camera *cam, struct err *e)
{
    const char *url = cam->url ? cam->url : "";
    if (!*url)
        return err_set(e, -EINVAL, ERR_NEVER,
                       "a camera of kind %s needs a url, for example http://host/snapshot.jpg",
                       cam->kind);
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the url must begin with http:// or https://");
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= ' ')
            return err_set(e, -EINVAL, ERR_NEVER,
                           "the url holds a blank or a control character: write it as %%20");
    const char *host = strstr(url, "://") + 3;
    if (memchr(host, '@', strcspn(host, "/?#")))
        return err_set(e, -EINVAL, ERR_NEVER,
                       "user and password belong into their own keys, not into the url");
    if (strcspn(host, "/?#") == 0)
        return err_set(e, -EINVAL, ERR_NEVER, "the url has no host");
    if (strstr(url, "{address}") && (!cam->address || !*cam->address))
        return err_set(e, -EINVAL, ERR_NEVER, "the url holds {address}, but address is not set");
    AUTO_DONE(dynbuf) scratch;
    dynbuf_init(&scratch, TEMPLATE_MAX);
    return template_expand("url", url, cam, "1", (struct wall_time){0}, TEMPLATE_URL, &scratch, e);
}

static int request(const struct camera *cam, void *memory UNUSED, struct wall_time now,
                   struct camera_request *ret, struct err *e)
{
    int r = validate(cam, e);
    if (r == 0)
        r = template_request(cam->url, cam, "1", now, ret, e);
    if (r == 0)
        ret->stream = camera_kind_find(cam->kind)->stream;
    return r;
}
