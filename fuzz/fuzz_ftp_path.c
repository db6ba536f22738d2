/* Any path of a client: the folder that it is in up to the first NUL, then what it asks for. What
 * comes out must be a normal path below "/" that stands for itself, whatever spelling went in. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "ftp/ftp_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(const char *part, size_t len)
{
    assert(len > 0 && len <= FTP_NAME_MAX);
    assert(!(len == 1 && part[0] == '.') && !(len == 2 && memcmp(part, "..", 2) == 0));
    assert(part[len - 1] != ' ');
    size_t hidden = strlen(FTP_HIDDEN_PREFIX);
    assert(len < hidden || memcmp(part, FTP_HIDDEN_PREFIX, hidden) != 0);
    for (size_t i = 0; i < len; i++)
        assert((uint8_t)part[i] >= 0x20 && part[i] != 0x7f && part[i] != '\\');
}

static void check_normal(const char *path)
{
    size_t len = strlen(path);
    assert(len > 0 && len < FTP_PATH_MAX && path[0] == '/');
    int depth = 0;
    for (const char *at = path; len > 1 && *at; depth++) {
        size_t n = strcspn(at + 1, "/");
        check_part(at + 1, n);
        at += 1 + n;
    }
    assert(depth <= FTP_DEPTH_MAX);
    char again[FTP_PATH_MAX];
    int r = ftp_path_resolve("/other", path, len, again);
    assert(r == 0 && strcmp(again, path) == 0);
    r = ftp_path_resolve(path, "", 0, again);
    assert(r == 0 && strcmp(again, path) == 0);
    r = ftp_path_resolve(path, ".", 1, again);
    assert(r == 0 && strcmp(again, path) == 0);
    const char *relative = ftp_path_relative(path);
    assert(relative[0] && relative[0] != '/');
    assert(strcmp(relative, ".") == 0 ? len == 1 : strcmp(relative, path + 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t first = size ? strnlen(text, size) : 0;
    char cwd[FTP_PATH_MAX], path[FTP_PATH_MAX];
    if (ftp_path_resolve("/", text, first, cwd) < 0)
        memcpy(cwd, "/", 2);
    else
        check_normal(cwd);
    size_t from = MIN(first + 1, size);
    int r = ftp_path_resolve(cwd, text + from, size - from, path);
    assert(r == 0 || r == -EINVAL || r == -ENAMETOOLONG);
    if (r == 0)
        check_normal(path);
    return 0;
}
