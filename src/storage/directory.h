#pragma once
/* Pictures kept in a folder, as a rule one of another machine that is mounted here: a NAS.
 *
 * A file appears whole or not at all: hidden temporary in its folder, fsync, read back, rename,
 * fsync of the folder. It never replaces one that this program did not write itself: the same bytes
 * are taken as done, others make ours "NAME-2.jpg".
 *
 * A NAS that is not mounted leaves an empty folder on the system's disk, which pictures would fill.
 * So the folder must be a mount point or hold a marker file, looked at in the very folder that is
 * then written to, each time.
 *
 * A mount whose server is gone may hold a call for minutes or for good. That holds the session's
 * thread and nothing else: describe() never touches the folder and says since when it waits. */

#include <stdbool.h>

#include "storage/registry.h"

/* Made by `snapshotd directory --mark`: "this is the right folder". */
#define DIRECTORY_MARKER ".snapshotd-here"

enum directory_mount { DIRECTORY_MOUNT_AUTO, DIRECTORY_MOUNT_YES, DIRECTORY_MOUNT_NO };

struct directory_config { /* [directory:NAME] */
    struct storage_common common;
    const char *path;   /* absolute */
    const char *prefix; /* below it, or "" */
    const char *marker; /* name of the marker file */
    int require_mount;  /* enum directory_mount */
    int64_t reserve;    /* bytes that stay free */
};

extern const struct cfg_section directory_cfg_section;
extern const struct storage_kind directory_storage;

/* For the command line and tests; strings are copied. */
int directory_open(const struct directory_config *c, const char *name, struct storage **ret,
                   struct err *e);
/* Whether the folder is the right one and there, and what is free on it; it may block as the
 * storage may. Returns 0 or why pictures would wait; `ret_free` may be NULL. */
int directory_probe(const struct directory_config *c, int64_t *ret_free, struct storage_failure *f,
                    struct err *e);
/* Makes the marker file. -EEXIST: it is there already. */
int directory_mark(const struct directory_config *c, struct err *e);
