/* Kind push: a camera that is never asked. It sends its pictures by itself, by FTP or into a
 * watched folder; all that the program has to know is what they are called. */

#include <errno.h>

#include "camera/camera_kind.h"

static int validate(const struct camera *cam, struct err *e)
{
    return err_set(e, -ENOTSUP, ERR_NEVER,
                   "camera \"%s\" only pushes its pictures: it has no address to ask", cam->name);
}

static int request(const struct camera *cam, void *memory UNUSED, struct wall_time now UNUSED,
                   struct camera_request *ret UNUSED, struct err *e)
{
    return validate(cam, e);
}

extern const struct camera_kind camera_kind_push;
const struct camera_kind camera_kind_push = {
    .name = "push",
    .help = "Never asked: it sends its pictures by FTP or into a watched folder",
    .pushes = true,
    .validate = validate,
    .request = request,
};
