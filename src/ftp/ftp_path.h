#pragma once
/* Virtual paths of an account, "/" being its folder. Pure; what is on the disk the jail sees to.
 *
 * `.`, `..`, repeated and trailing slashes and backslashes (which some cameras send) are resolved
 * here; `..` above "/" stays at "/". Control bytes, names above 255 bytes, names that begin with
 * FTP_HIDDEN_PREFIX (our unfinished uploads), invalid UTF-8 in the sense of overlong forms are
 * refused with -EINVAL, too deep or long ones with -ENAMETOOLONG. */

#include <stdbool.h>
#include <stddef.h>

#define FTP_PATH_MAX 1024 /* bytes with NUL of a whole virtual path */
#define FTP_NAME_MAX 255
#define FTP_DEPTH_MAX 32
#define FTP_HIDDEN_PREFIX ".incoming-"

/* `cwd` and the result are absolute and normal: "/", "/a/b". */
int ftp_path_resolve(const char *cwd, const char *argument, size_t len, char ret[FTP_PATH_MAX]);
/* The same path relative to the account's folder: "." for "/". Points into `path` or a constant. */
const char *ftp_path_relative(const char *path);
