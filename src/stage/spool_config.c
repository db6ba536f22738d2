#include "stage/spool_config.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define SPOOL(field) .offset = offsetof(struct spool_config, field)
#define WATCH(field) .offset = offsetof(struct watch_config, field)
#define MINUTE 60e3
#define DAY (24 * 60 * MINUTE)
#define YEARS_20 (20 * 365 * DAY)

const char *const spool_left_names[SPOOL_LEFT_COUNT] = {
    [SPOOL_LEFT_VIDEO] = "video",           [SPOOL_LEFT_OTHER] = "other",
    [SPOOL_LEFT_UNFINISHED] = "unfinished", [SPOOL_LEFT_UNKNOWN] = "without a camera",
    [SPOOL_LEFT_OFF] = "camera off",
};

static const char *const poll_choices[] = {"auto", "always", "never", NULL};
static_assert(ARRAY_LEN(poll_choices) == WATCH_POLL_COUNT + 1, "a choice per watch_poll");
static const char *const after_choices[] = {"keep", "remove", NULL};
static_assert(ARRAY_LEN(after_choices) == WATCH_AFTER_COUNT + 1, "a choice per watch_after");

#define SETTLE_HELP "How long a file is left alone after its last change before it is taken"
#define UNSURE_HELP "The same where nobody told that its writer is done"
#define UNFINISHED_HELP "The same for names that say \"not yet\""
#define UNFINISHED_DOC                                                                             \
    "`x.jpg.part`, `x.tmp`, `tmp_x.jpg`, in the FTP root also `.in.x.jpg`. Such a file is taken "  \
    "under the name that it gets in the end. When it gets none within this time, one that ends "   \
    "as a picture does is taken as it is; another is left alone and counted."
#define POLL_HELP "Look again and again instead of being told by the kernel"
#define POLL_DOC                                                                                   \
    "`auto` looks again and again where the kernel does not tell what others write: NFS, SMB, "    \
    "FUSE."
#define POLL_INTERVAL_HELP "Between two looks, where it has to be looked"

static const struct cfg_key spool_keys[] = {
    {.name = "enabled",
     .type = CFG_BOOL,
     SPOOL(enabled),
     .fallback = "yes",
     .help = "Whether pictures in the FTP root are taken",
     .doc = "The FTP root is [snapshots] root_dir, or `ftp` in data_dir. A picture belongs to the "
            "camera of the FTP account in whose folder it lies, else to the camera whose "
            "`directory` it is in: `<root>/<upload_dir>/<directory>/...`. It is taken whoever put "
            "it there, and removed once it is safe."},
    {.name = "settle",
     .type = CFG_DURATION,
     SPOOL(settle_ms),
     .fallback = "300ms",
     .max = 10 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = SETTLE_HELP,
     .doc = "A camera that uploads under one name and renames to another within this time has "
            "pushed one picture."},
    {.name = "settle_unsure",
     .type = CFG_DURATION,
     SPOOL(settle_unsure_ms),
     .fallback = "2s",
     .max = 10 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = UNSURE_HELP},
    {.name = "settle_unfinished",
     .type = CFG_DURATION,
     SPOOL(settle_unfinished_ms),
     .fallback = "60s",
     .max = 60 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = UNFINISHED_HELP,
     .doc = UNFINISHED_DOC},
    {.name = "poll",
     .type = CFG_CHOICE,
     SPOOL(poll),
     .fallback = "auto",
     .choices = poll_choices,
     .help = POLL_HELP,
     .doc = POLL_DOC},
    {.name = "poll_interval",
     .type = CFG_DURATION,
     SPOOL(poll_ms),
     .fallback = "2s",
     .min = 100,
     .max = 60 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = POLL_INTERVAL_HELP},
    {.name = "clean_after",
     .type = CFG_DURATION,
     SPOOL(rules.clean_after_ms),
     .fallback = "0",
     .max = YEARS_20,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "Videos and other files in the FTP root are removed when so old; 0 = never",
     .doc = "What is no picture by its name is left alone and counted, as is what is none by its "
            "content and has no room among the refused ones. Pictures in folders of no camera are "
            "never removed."},
    {.name = "clean_folders",
     .type = CFG_DURATION,
     SPOOL(rules.clean_folders_ms),
     .fallback = "1h",
     .max = YEARS_20,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "Empty folders in the FTP root are removed when so old; 0 = never",
     .doc = "Cameras make a folder a day, or an hour. Folders of accounts and of cameras, and "
            "those of create_dirs, stay."},
    {.name = "clock_behind",
     .type = CFG_DURATION,
     SPOOL(rules.clock_behind_ms),
     .fallback = "366d",
     .max = YEARS_20,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "A time in a file name is believed when it is at most so long before the arrival",
     .doc = "Else the camera's clock is off (1970 is common), which is told in the log, and the "
            "time of arrival counts."},
    {.name = "clock_ahead",
     .type = CFG_DURATION,
     SPOOL(rules.clock_ahead_ms),
     .fallback = "25h",
     .max = YEARS_20,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "The same for times behind the arrival; 25 hours leave room for any time zone"},
    {.name = "refused_files",
     .type = CFG_INT,
     SPOOL(rules.refused_max),
     .fallback = "100",
     .min = 0,
     .max = 100000,
     .flags = CFG_RELOAD,
     .help = "Files called pictures that are none, kept per camera in data_dir/refused",
     .doc =
         "A file that cannot be read as a picture is not tried for ever, and not thrown away "
         "at once: it is moved there, the log says why. The oldest go first. One for which there "
         "is no room at all stays where it is until clean_after."},
    {.name = "refused_size",
     .type = CFG_SIZE,
     SPOOL(rules.refused_size),
     .fallback = "256MB",
     .max = 1099511627776.0,
     .unit = "bytes",
     .flags = CFG_RELOAD,
     .help = "Room for them, per camera"},
    {.name = "refused_age",
     .type = CFG_DURATION,
     SPOOL(rules.refused_age_ms),
     .fallback = "30d",
     .max = YEARS_20,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "How long they are kept"},
};

const struct cfg_section spool_cfg_section = {
    .name = "spool",
    .struct_size = sizeof(struct spool_config),
    .keys = spool_keys,
    .key_count = ARRAY_LEN(spool_keys),
    .help = "Pictures that cameras push into the FTP root",
};

static void check_watch(const void *values, const char *instance, struct cfg_faults *faults);

static const struct cfg_key watch_keys[] = {
    {.name = "path",
     .type = CFG_PATH,
     WATCH(path),
     .flags = CFG_REQUIRED,
     .help = "The folder; it may come and go",
     .doc = "Files are copied out of it, never linked. It must not be, hold, or lie in the store, "
            "data_dir's own folders or the FTP root."},
    {.name = "camera",
     .type = CFG_STRING,
     WATCH(camera),
     .help = "NAME of the [camera:NAME] that all its pictures belong to; empty = by folder",
     .doc = "By folder means: the folder below `path` is the camera's `directory`."},
    {.name = "recursive",
     .type = CFG_BOOL,
     WATCH(recursive),
     .fallback = "yes",
     .help = "Whether folders in it are watched, too"},
    {.name = "after",
     .type = CFG_CHOICE,
     WATCH(after),
     .fallback = "keep",
     .choices = after_choices,
     .help = "What becomes of a file when its picture is safe: keep it there, or remove it",
     .doc = "With `keep` a file is known by its path, size and time of change, also after a "
            "restart, and is not taken twice."},
    {.name = "poll",
     .type = CFG_CHOICE,
     WATCH(poll),
     .fallback = "auto",
     .choices = poll_choices,
     .help = POLL_HELP,
     .doc = POLL_DOC},
    {.name = "poll_interval",
     .type = CFG_DURATION,
     WATCH(poll_ms),
     .fallback = "2s",
     .min = 100,
     .max = 60 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = POLL_INTERVAL_HELP},
    {.name = "settle",
     .type = CFG_DURATION,
     WATCH(settle_ms),
     .fallback = "300ms",
     .max = 10 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = SETTLE_HELP},
    {.name = "settle_unsure",
     .type = CFG_DURATION,
     WATCH(settle_unsure_ms),
     .fallback = "2s",
     .max = 10 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = UNSURE_HELP},
    {.name = "settle_unfinished",
     .type = CFG_DURATION,
     WATCH(settle_unfinished_ms),
     .fallback = "60s",
     .max = 60 * MINUTE,
     .bare_unit_ms = 1000,
     .unit = "s",
     .help = UNFINISHED_HELP,
     .doc = UNFINISHED_DOC},
};

const struct cfg_section watch_cfg_section = {
    .name = "watch",
    .named = true,
    .struct_size = sizeof(struct watch_config),
    .keys = watch_keys,
    .key_count = ARRAY_LEN(watch_keys),
    .help = "Another folder whose pictures are taken; any number of them",
    .check = check_watch,
};

static void check_watch(const void *values, const char *instance, struct cfg_faults *faults)
{
    const struct watch_config *w = values;
    (void)w;
    if (strcmp(instance, "ftp") == 0)
        cfg_fault(faults, "watch", instance, NULL,
                  "is what the FTP root is called in the status; choose another name");
}

struct spool_folder *spool_config_folders(const struct cfg *cfg, const char *ftp_root,
                                          size_t *ret_count)
{
    const struct spool_config *spool = cfg_values(cfg, &spool_cfg_section);
    size_t instances = cfg_instance_count(cfg, &watch_cfg_section), n = 0;
    struct spool_folder *list = xcalloc(instances + 1, sizeof(*list));
    if (spool->enabled)
        list[n++] = (struct spool_folder){.name = "ftp",
                                          .root = ftp_root,
                                          .camera = "",
                                          .ftp = true,
                                          .recursive = true,
                                          .poll = (enum watch_poll)spool->poll,
                                          .poll_ms = spool->poll_ms,
                                          .settle_ms = spool->settle_ms,
                                          .settle_unsure_ms = spool->settle_unsure_ms,
                                          .settle_unfinished_ms = spool->settle_unfinished_ms};
    for (size_t i = 0; i < instances; i++) {
        const struct watch_config *w = cfg_instance_values(cfg, &watch_cfg_section, i);
        list[n++] = (struct spool_folder){.name = cfg_instance_name(cfg, &watch_cfg_section, i),
                                          .root = w->path,
                                          .camera = w->camera,
                                          .keep = w->after == WATCH_AFTER_KEEP,
                                          .recursive = w->recursive,
                                          .poll = (enum watch_poll)w->poll,
                                          .poll_ms = w->poll_ms,
                                          .settle_ms = w->settle_ms,
                                          .settle_unsure_ms = w->settle_unsure_ms,
                                          .settle_unfinished_ms = w->settle_unfinished_ms};
    }
    *ret_count = n;
    return list;
}

bool spool_config_keeps_files(const struct spool_folder *folders, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (folders[i].keep)
            return true;
    return false;
}
