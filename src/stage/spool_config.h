#pragma once
/* [spool] and [watch:NAME]: which folders are watched for pictures, and by which rules their files
 * become some. */

#include <stdbool.h>
#include <stdint.h>

#include "cfg/cfg.h"
#include "watch/watch.h"

/* Why a file is left where it is. */
enum spool_left {
    SPOOL_LEFT_VIDEO,
    SPOOL_LEFT_OTHER,      /* text and the like */
    SPOOL_LEFT_UNFINISHED, /* a name that says "not yet" and never changed */
    SPOOL_LEFT_UNKNOWN,    /* a picture in a folder of no camera */
    SPOOL_LEFT_OFF,        /* its camera is switched off */
    SPOOL_LEFT_COUNT
};
extern const char *const spool_left_names[SPOOL_LEFT_COUNT]; /* "video", "other", ... */

/* What a reload may change. */
struct spool_rules {
    int64_t clean_after_ms;   /* of videos and other files; 0 = never */
    int64_t clean_folders_ms; /* of empty folders; 0 = never */
    int64_t clock_behind_ms;  /* a time in a name is believed so far before the arrival */
    int64_t clock_ahead_ms;   /* and so far behind it */
    int64_t refused_max;      /* files kept per camera */
    int64_t refused_size;     /* bytes, likewise */
    int64_t refused_age_ms;
};

/* [spool] as it is written. */
struct spool_config {
    bool enabled;
    int64_t settle_ms, settle_unsure_ms, settle_unfinished_ms;
    int poll; /* enum watch_poll */
    int64_t poll_ms;
    struct spool_rules rules;
};
extern const struct cfg_section spool_cfg_section;

/* [watch:NAME] as it is written. */
enum watch_after { WATCH_AFTER_KEEP, WATCH_AFTER_REMOVE, WATCH_AFTER_COUNT };
struct watch_config {
    const char *path;
    const char *camera; /* "" = by folder */
    bool recursive;
    int after; /* enum watch_after */
    int poll;
    int64_t poll_ms, settle_ms, settle_unsure_ms, settle_unfinished_ms;
};
extern const struct cfg_section watch_cfg_section;

/* A folder as the spool stage takes it. Strings are borrowed and static for the process. */
struct spool_folder {
    const char *name; /* "ftp", or NAME */
    const char *root;
    const char *camera; /* all of it, or "" = by folder */
    bool ftp;  /* the FTP root: ours, so its files are linked, its empty folders and leftovers
                  cleaned */
    bool keep; /* files stay where they are */
    bool recursive;
    enum watch_poll poll;
    int64_t poll_ms, settle_ms, settle_unsure_ms, settle_unfinished_ms;
};

struct spool_options {
    const struct spool_folder *folders;
    size_t count;
    const char *upload_dir;   /* below the FTP root: it has a folder for each camera */
    const char *refused_path; /* where files go that are no pictures */
};

/* The folders of a configuration: the FTP root, unless [spool] is switched off, and one per
 * [watch:NAME]. Owned by the caller, the strings by `cfg` and the caller's. */
struct spool_folder *spool_config_folders(const struct cfg *cfg, const char *ftp_root,
                                          size_t *ret_count);
/* Some of them have `after = keep`: rows of pushed pictures keep their files from being taken
 * again. */
bool spool_config_keeps_files(const struct spool_folder *folders, size_t count);
