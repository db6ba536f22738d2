#include "storage/storage.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/text.h"

const char *const storage_trouble_names[STORAGE_TROUBLE_COUNT] = {
    [STORAGE_WELL] = "well",  [STORAGE_AWAY] = "away",   [STORAGE_RATE] = "slowed",
    [STORAGE_QUOTA] = "full", [STORAGE_LOGIN] = "login",
};

int storage_nth_path(const char *path, unsigned nth, char *ret, size_t size)
{
    if (nth <= 1)
        return text_copy(ret, size, path) ? 0 : -ENAMETOOLONG;
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t stem = dot != NULL && dot != name ? (size_t)(dot - path) : strlen(path);
    char number[16];
    (void)text_format(number, sizeof(number), "-%u", nth); /* fits */
    /* A name that is full already gives up its end. */
    size_t name_at = (size_t)(name - path), rest = strlen(path + stem) + strlen(number);
    if (rest < NAME_MAX && stem - name_at + rest > NAME_MAX)
        stem = name_at + text_cut_length(name, NAME_MAX - rest);
    const char *end = dot != NULL && dot != name ? dot : "";
    return text_format(ret, size, "%.*s%s%s", (int)stem, path, number, end) < 0 ? -ENAMETOOLONG : 0;
}
