#include "storage/directory.h"

#include <errno.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/text.h"

#define FIELD(name) offsetof(struct directory_config, name)
#define TB 1099511627776.0

static const char *const mount_choices[] = {"auto", "yes", "no", NULL};

/* Relative to what would depend on where the program was started, and an unmounted folder that is
 * found somewhere else is the very thing to be kept apart. */
static int check_path(const void *value, char *why, size_t why_size)
{
    const char *path = *(const char *const *)value;
    if (path[0] == '/' || path[0] == '\0')
        return 0;
    (void)text_copy(why, why_size, "right would be a whole path, such as /mnt/nas"); /* fits */
    return -EINVAL;
}

static int check_prefix(const void *value, char *why, size_t why_size)
{
    const char *prefix = *(const char *const *)value;
    if (prefix[0] == '\0' || fs_path_is_plain(prefix))
        return 0;
    (void)text_copy(why, why_size,
                    "right would be folders below path, such as cameras/porch"); /* fits */
    return -EINVAL;
}

static int check_marker(const void *value, char *why, size_t why_size)
{
    const char *marker = *(const char *const *)value;
    if (fs_path_is_plain(marker) && strchr(marker, '/') == NULL)
        return 0;
    (void)text_copy(why, why_size, "right would be a file name, such as " DIRECTORY_MARKER);
    return -EINVAL;
}

static const struct cfg_key keys[] = {
    STORAGE_COMMON_KEYS(struct directory_config),
    {.name = "path",
     .type = CFG_PATH,
     .offset = FIELD(path),
     .flags = CFG_REQUIRED,
     .validate = check_path,
     .help = "The folder, as a rule a mount point",
     .doc = "Pictures lie in it as in the store: camera folder, year, month, day, name."},
    {.name = "prefix",
     .type = CFG_STRING,
     .offset = FIELD(prefix),
     .validate = check_prefix,
     .help = "Folders below `path` that pictures go to; made when they are missing"},
    {.name = "require_mount",
     .type = CFG_CHOICE,
     .offset = FIELD(require_mount),
     .fallback = "auto",
     .choices = mount_choices,
     .help = "How to know that the folder is the right one and not the empty one under a mount",
     .doc = "`auto`: `path` is a mount point, or the marker file lies in it. `yes`: it is a mount "
            "point. `no`: any folder will do, also one on this machine's own disk. Until it is the "
            "right one, pictures wait; the system's disk is never filled instead."},
    {.name = "marker",
     .type = CFG_STRING,
     .offset = FIELD(marker),
     .fallback = DIRECTORY_MARKER,
     .validate = check_marker,
     .help = "Name of the marker file; `snapshotd directory --mark NAME` makes it"},
    {.name = "reserve",
     .type = CFG_SIZE,
     .offset = FIELD(reserve),
     .fallback = "1GB",
     .min = 0,
     .max = 1024 * TB,
     .unit = "bytes",
     .help = "So much stays free there; below it pictures wait"},
};

const struct cfg_section directory_cfg_section = {
    .name = "directory",
    .named = true,
    .struct_size = sizeof(struct directory_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "Pictures kept in a folder, such as a mounted NAS; any number, each with a name.",
};
