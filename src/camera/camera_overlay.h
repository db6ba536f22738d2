#pragma once
/* A camera whose address and login came with a trigger, as messages of the original have them. The
 * configuration counts more: they are for cameras that have no address there. And a stranger's
 * address is not for every host: see camera_host_judge(). */

#include "base/host_list.h"
#include "camera/camera_config.h"
#include "model/camera.h"
#include "model/trigger.h"

/* What may be asked because a message says so. */
enum camera_host_rule {
    CAMERA_HOST_ALLOWED,    /* listed by name, or the host of a configured camera */
    CAMERA_HOST_BY_ADDRESS, /* an address of the list, or a name: what it resolves to must be one */
    CAMERA_HOST_FORBIDDEN,  /* an address that is not in the list */
};
/* `address` is "host:port" or "[v6]:port". */
enum camera_host_rule camera_host_judge(const struct camera_set *set, const struct host_list *allow,
                                        const char *address);

struct camera_overlay {
    struct camera camera;
    char address[TRIGGER_ADDRESS_MAX];
    char user[TRIGGER_USER_MAX];
    char password[TRIGGER_PASSWORD_MAX];
};
/* Makes `ret->camera` of `cam` and of what came with the trigger. It borrows from both, `set`'s
 * camera and `allow`, and lies in *ret, which must not move. */
void camera_overlay_fill(struct camera_overlay *ret, const struct camera *cam,
                         const struct trigger *t, const struct camera_set *set,
                         const struct host_list *allow);
