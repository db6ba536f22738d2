#include "camera/camera_overlay.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "camera/camera_kind.h"

static bool copy_host(const char *authority, char *ret, size_t size);
static bool is_literal(const char *host);
static bool is_of_a_camera(const struct camera_set *set, const char *host);

enum camera_host_rule camera_host_judge(const struct camera_set *set, const struct host_list *allow,
                                        const char *address)
{
    char host[TRIGGER_ADDRESS_MAX];
    if (!copy_host(address, host, sizeof(host)))
        return CAMERA_HOST_FORBIDDEN;
    if (is_of_a_camera(set, host))
        return CAMERA_HOST_ALLOWED;
    if (!is_literal(host))
        return host_list_has(allow, host) ? CAMERA_HOST_ALLOWED : CAMERA_HOST_BY_ADDRESS;
    return host_list_has(allow, host) ? CAMERA_HOST_BY_ADDRESS : CAMERA_HOST_FORBIDDEN;
}

void camera_overlay_fill(struct camera_overlay *ret, const struct camera *cam,
                         const struct trigger *t, const struct camera_set *set,
                         const struct host_list *allow)
{
    assert(allow && t->address[0]);
    const struct camera_kind *kind = camera_kind_find(cam->kind);
    ret->camera = *cam;
    if (kind && kind->pushes) /* the predecessor's cameras do both, and are asked as this kind is */
        ret->camera.kind = "foscam";
    text_copy(ret->address, sizeof(ret->address), t->address);
    text_copy(ret->user, sizeof(ret->user), t->user);
    text_copy(ret->password, sizeof(ret->password), t->password);
    ret->camera.address = ret->address;
    ret->camera.user = ret->user;
    ret->camera.password = ret->password;
    /* Judged again: the configuration may have changed since the trigger was taken. What is no
     * longer allowed is refused when it is connected to. */
    bool any = camera_host_judge(set, allow, t->address) == CAMERA_HOST_ALLOWED;
    ret->camera.hosts = any ? NULL : allow;
    ret->camera.credentials_digest = camera_credentials_digest(&ret->camera);
}

/* The host out of "host", "host:port", "[v6]:port", perhaps with a path behind. (The configuration
 * takes no URL with a login in front.) */
static bool copy_host(const char *authority, char *ret, size_t size)
{
    const char *host = authority, *end = authority + strcspn(authority, "/?#");
    if (*host == '[') {
        host++;
        end = memchr(host, ']', (size_t)(end - host));
    } else {
        const char *colon = memchr(host, ':', (size_t)(end - host));
        end = colon ? colon : end;
    }
    if (!end || end == host || (size_t)(end - host) >= size)
        return false;
    memcpy(ret, host, (size_t)(end - host));
    ret[end - host] = '\0';
    return true;
}

static bool is_literal(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static bool is_at(const char *authority, const char *host)
{
    char own[TRIGGER_ADDRESS_MAX];
    return copy_host(authority, own, sizeof(own)) && text_equal_nocase(own, host);
}

static bool is_of_a_camera(const struct camera_set *set, const char *host)
{
    for (size_t i = 0; i < camera_set_count(set); i++) {
        const struct camera *cam = camera_set_at(set, i);
        if (cam->address && is_at(cam->address, host))
            return true;
        const char *place = cam->url ? strstr(cam->url, "://") : NULL;
        if (place && is_at(place + 3, host))
            return true;
    }
    return false;
}
