/* Makers that hand out a picture at one path, told apart by a row each. A camera's `command` that
 * is a path takes the place of the row's: older firmwares have others, and some take a size.
 *
 * Hikvision "ISAPI Developer Guide"; Dahua "HTTP API for IPC"; Axis VAPIX "Image"; Foscam "IPCamera
 * CGI User Guide" of the models before HD, whose parameter is `user` and not `usr`. */

#include "camera/makers.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

static int request(const struct camera *cam, void *memory, struct wall_time now,
                   struct camera_request *ret, struct err *e);
static int foscam_mjpeg_request(const struct camera *cam, void *memory, struct wall_time now,
                                struct camera_request *ret, struct err *e);
static int foscam_mjpeg_answer(const struct camera *cam, void *memory,
                               const struct camera_answer *a, struct wall_time now,
                               struct camera_request *ret_next, enum camera_fault *ret_fault,
                               struct err *e);

const struct camera_kind camera_kind_hikvision = {
    .name = "hikvision",
    .help = "Hikvision: ISAPI; channel 101 is the first camera's main stream, 102 its second",
    .path = "/ISAPI/Streaming/channels/{channel}/picture",
    .channel = "101",
    .validate = maker_validate,
    .request = request,
};

const struct camera_kind camera_kind_dahua = {
    .name = "dahua",
    .help = "Dahua and who builds on it (Amcrest, Lorex): snapshot.cgi; channels count from 1",
    .path = "/cgi-bin/snapshot.cgi?channel={channel}",
    .channel = "1",
    .validate = maker_validate,
    .request = request,
};

const struct camera_kind camera_kind_amcrest = {
    .name = "amcrest",
    .help = "the same as dahua",
    .path = "/cgi-bin/snapshot.cgi?channel={channel}",
    .channel = "1",
    .validate = maker_validate,
    .request = request,
};

const struct camera_kind camera_kind_axis = {
    .name = "axis",
    .help = "Axis: VAPIX image.cgi; the channel is its camera parameter",
    .path = "/axis-cgi/jpg/image.cgi?camera={channel}",
    .channel = "1",
    .validate = maker_validate,
    .request = request,
};

/* Some of these models have no still pictures, only the stream; found out once. */
struct foscam_memory {
    bool stream_only;
};
#define FOSCAM_STREAM "/videostream.cgi?user={user}&pwd={password}&resolution=32&rate=0"

const struct camera_kind camera_kind_foscam_mjpeg = {
    .name = "foscam-mjpeg",
    .help = "Foscam before HD (FI89xx) and its clones: snapshot.cgi, or the MJPEG stream",
    .path = "/snapshot.cgi?user={user}&pwd={password}",
    .channel = "",
    .stream = true,
    .memory_size = sizeof(struct foscam_memory),
    .validate = maker_validate,
    .request = foscam_mjpeg_request,
    .answer = foscam_mjpeg_answer,
};

int maker_validate(const struct camera *cam, struct err *e)
{
    if (!cam->address || !*cam->address)
        return err_set(e, -EINVAL, ERR_NEVER, "a camera of kind %s needs an address (host:port)",
                       cam->kind);
    const char *command = cam->command ? cam->command : "";
    if (*command && *command != '/')
        return err_set(e, -EINVAL, ERR_NEVER,
                       "for kind %s the command is a path that begins with /", cam->kind);
    for (const char *p = command; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == '#')
            return err_set(
                e, -EINVAL, ERR_NEVER,
                "the command holds a blank, a control character or #: percent-encode it");
    struct camera_request scratch = {0};
    const struct camera_kind *kind = camera_kind_find(cam->kind);
    int r = maker_request(cam, kind && kind->path ? kind->path : "/", (struct wall_time){0},
                          &scratch, e);
    camera_request_done(&scratch);
    return r;
}

int maker_request(const struct camera *cam, const char *path, struct wall_time now,
                  struct camera_request *ret, struct err *e)
{
    const struct camera_kind *kind = camera_kind_find(cam->kind);
    if (cam->command && *cam->command)
        path = cam->command;
    AUTO_FREE char *url = xasprintf("%s://{address}%s", cam->tls ? "https" : "http", path);
    return template_request(url, cam, kind && kind->channel ? kind->channel : "", now, ret, e);
}

static int request(const struct camera *cam, void *memory UNUSED, struct wall_time now,
                   struct camera_request *ret, struct err *e)
{
    int r = maker_validate(cam, e);
    return r < 0 ? r : maker_request(cam, camera_kind_find(cam->kind)->path, now, ret, e);
}

static int foscam_mjpeg_request(const struct camera *cam, void *memory, struct wall_time now,
                                struct camera_request *ret, struct err *e)
{
    const struct foscam_memory *m = memory;
    int r = maker_validate(cam, e);
    if (r == 0)
        r = maker_request(cam, m && m->stream_only ? FOSCAM_STREAM : camera_kind_foscam_mjpeg.path,
                          now, ret, e);
    if (r == 0)
        ret->stream = true;
    return r;
}

static int foscam_mjpeg_answer(const struct camera *cam, void *memory,
                               const struct camera_answer *a, struct wall_time now,
                               struct camera_request *ret_next, enum camera_fault *ret_fault,
                               struct err *e)
{
    struct foscam_memory *m = memory;
    *ret_fault = CAMERA_FAULT_OTHER;
    if (a->status != 404 || m->stream_only || (cam->command && *cam->command))
        return 0;
    m->stream_only = true;
    int r = foscam_mjpeg_request(cam, memory, now, ret_next, e);
    return r < 0 ? r : 1;
}
