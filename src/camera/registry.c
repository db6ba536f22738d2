#include <stdlib.h>
#include <string.h>

#include "camera/camera_kind.h"

extern const struct camera_kind camera_kind_foscam;
extern const struct camera_kind camera_kind_http;

/* One line per kind. */
static const struct camera_kind *const kinds[] = {
    &camera_kind_foscam,
    &camera_kind_http,
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

void camera_request_done(struct camera_request *r)
{
    if (r->url)
        explicit_bzero(r->url, strlen(r->url)); /* it may hold a password */
    free(r->url);
    free(r->shown);
    *r = (struct camera_request){0};
}
