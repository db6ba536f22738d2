#pragma once
/* Whose picture a pushed file is, by the folder that it lies in: whole components of its path
 * count, the longest folder first. Pure. (The program's predecessor looked for substrings, so that
 * "uploads/front" took the pictures of "uploads/frontdoor", too.) */

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

/* A folder, relative to the watched root, and the camera that all below it belongs to. "" is the
 * root itself. */
struct push_folder {
    const char *directory;
    const char *camera;
};

struct push_route;
struct push_route *push_route_new(void) MUST_USE;
void push_route_free(struct push_route *r);
DEFINE_AUTO(push_route, push_route_free)

/* Copies. Doubled and trailing slashes do not count. Of two equal folders the first one counts;
 * false for the second when it names another camera. */
bool push_route_add(struct push_route *r, const char *directory, const char *camera);
/* The camera of a file's path, or NULL. Never the file's own name. */
const char *push_route_find(const struct push_route *r, const char *path);
size_t push_route_count(const struct push_route *r);
