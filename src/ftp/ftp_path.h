#pragma once
/* Virtual paths of an account, "/" being its folder. Pure; what is on the disk the jail sees to.
 *
 * `.`, `..`, repeated and trailing slashes and backslashes (which some cameras send) are resolved
 * here; `..` above "/" stays at "/". Spaces in front of the argument and at the end of each part
 * are dropped: cameras pad their fixed fields with them, and a name that really ends in a space is
 * a slip that nobody could see in a list.
 *
 * Refused with -EINVAL: control bytes, overlong UTF-8 of them and of '.', '/', '\', and names at
 * which nobody looks afterwards (push_name_is_hidden(), our unfinished uploads among them). With
 * -ENAMETOOLONG: names, paths and depths above their limit. */

#include <stdbool.h>
#include <stddef.h>

#include "model/push_name.h"

#define FTP_PATH_MAX 1024 /* bytes with NUL of a whole virtual path */
#define FTP_NAME_MAX 255
#define FTP_DEPTH_MAX 32
#define FTP_HIDDEN_PREFIX PUSH_HIDDEN_UPLOAD

/* `cwd` and the result are absolute and normal: "/", "/a/b". `ret` is written to in any case. */
int ftp_path_resolve(const char *cwd, const char *argument, size_t len, char ret[FTP_PATH_MAX]);
/* The same path relative to the account's folder: "." for "/". Points into `path` or a constant. */
const char *ftp_path_relative(const char *path);
