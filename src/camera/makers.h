#pragma once
/* What the kinds with an address and a path of their own have in common. */

#include "camera/camera_kind.h"
#include "camera/template.h"

/* An address, and a `command`, when there is one, that is a path. */
int maker_validate(const struct camera *cam, struct err *e);
/* A GET of `path` (a template) at the camera's address. */
int maker_request(const struct camera *cam, const char *path, struct wall_time now,
                  struct camera_request *ret, struct err *e);
