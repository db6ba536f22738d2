#include <stdlib.h>
#include <string.h>

#include "camera/camera_kind.h"

extern const struct camera_kind camera_kind_amcrest, camera_kind_axis, camera_kind_command,
    camera_kind_dahua, camera_kind_foscam, camera_kind_foscam_mjpeg, camera_kind_hikvision,
    camera_kind_http, camera_kind_mjpeg, camera_kind_onvif, camera_kind_push, camera_kind_reolink;

/* One line per kind. */
static const struct camera_kind *const kinds[] = {
    &camera_kind_foscam,
    &camera_kind_foscam_mjpeg,
    &camera_kind_hikvision,
    &camera_kind_dahua,
    &camera_kind_amcrest,
    &camera_kind_axis,
    &camera_kind_reolink,
    &camera_kind_onvif,
    &camera_kind_mjpeg,
    &camera_kind_http,
    &camera_kind_command,
    &camera_kind_push,
    NULL,
};

const struct camera_kind *const *camera_kind_all(void)
{
    return kinds;
}

const struct camera_kind *camera_kind_find(const char *name)
{
    for (const struct camera_kind *const *k = kinds; *k; k++)
        if (strcmp((*k)->name, name) == 0)
            return *k;
    return NULL;
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void wipe_list(char **list)
{
    for (char **p = list; p && *p; p++)
        wipe(*p);
    free(list);
}

void camera_request_done(struct camera_request *r)
{
    wipe(r->url);
    wipe(r->body);
    wipe_list(r->argv);
    wipe_list(r->environment);
    free(r->shown);
    *r = (struct camera_request){0};
}
