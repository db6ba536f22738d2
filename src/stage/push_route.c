#include "stage/push_route.h"

#include <string.h>

#include "base/mem.h"

struct entry {
    char *directory; /* normal: no slash at either end, none doubled */
    char *camera;
};

struct push_route {
    struct entry *entries; /* longest directory first */
    size_t count;
};

struct push_route *push_route_new(void)
{
    return xcalloc(1, sizeof(struct push_route));
}

void push_route_free(struct push_route *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++) {
        free(r->entries[i].directory);
        free(r->entries[i].camera);
    }
    free(r->entries);
    free(r);
}

/* Without the slashes that say nothing. */
static char *normal(const char *directory)
{
    char *ret = xmalloc(strlen(directory) + 1), *out = ret;
    for (const char *p = directory; *p; p++)
        if (*p != '/' || (out > ret && out[-1] != '/'))
            *out++ = *p;
    while (out > ret && out[-1] == '/')
        out--;
    *out = '\0';
    return ret;
}

bool push_route_add(struct push_route *r, const char *directory, const char *camera)
{
    AUTO_FREE char *folder = normal(directory);
    size_t len = strlen(folder), at = 0;
    for (; at < r->count && strlen(r->entries[at].directory) >= len; at++)
        if (strcmp(r->entries[at].directory, folder) == 0)
            return strcmp(r->entries[at].camera, camera) == 0;
    r->entries = xrealloc(r->entries, (r->count + 1) * sizeof(struct entry));
    memmove(r->entries + at + 1, r->entries + at, (r->count - at) * sizeof(struct entry));
    r->entries[at] = (struct entry){.directory = STEAL(folder), .camera = xstrdup(camera)};
    r->count++;
    return true;
}

const char *push_route_find(const struct push_route *r, const char *path)
{
    for (size_t i = 0; i < r->count; i++) {
        const char *directory = r->entries[i].directory;
        size_t len = strlen(directory);
        if (len == 0 || (strncmp(path, directory, len) == 0 && path[len] == '/'))
            return r->entries[i].camera;
    }
    return NULL;
}

size_t push_route_count(const struct push_route *r)
{
    return r->count;
}
