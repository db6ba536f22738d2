#pragma once
/* The kinds of storages and how those of a configuration are opened. A new kind is a file that
 * exports a `struct storage_kind`, a line in registry.c, and its section in app/config.c. */

#include "base/err.h"
#include "cfg/cfg.h"
#include "storage/storage.h"
#include "storage/storage_config.h"

/* More places for pictures than anybody pays for; each costs its threads. */
#define STORAGES_MAX 16
#define STORAGE_NAME_MAX 80 /* "directory:NAME" */

struct storage_open_options {
    const struct cfg *cfg;
    const void *values;   /* of the section's instance, the kind's own struct */
    const char *instance; /* NAME of [kind:NAME], NULL of a plain section */
    const char *name;     /* "s3:NAME"; lives as long as the storage */
    const char *data_dir;
};

struct storage_kind {
    const char *kind; /* name in the ledger; with ":NAME" when the section is a named one */
    const struct cfg_section *section;
    size_t common_offset; /* of struct storage_common in the section's struct */
    /* Whether the section says enough to be used, beside `enabled`. NULL = always. */
    bool (*configured)(const struct cfg *cfg, const void *values);
    /* Must not need the network: a place that is away is no failure, a wrong configuration is. */
    int (*open)(const struct storage_open_options *o, struct storage **ret, struct err *e);
};

/* NULL-terminated. */
const struct storage_kind *const *storage_kinds(void);

/* The plan for one storage of a configuration; strings are the cfg's but for the name. */
struct storage_plan {
    char name[STORAGE_NAME_MAX];
    const struct storage_kind *kind;
    const void *values;
    const char *instance; /* NULL of a plain section */
    const struct storage_common *common;
    bool paused; /* a flag says so for now: takes nothing new, and what waits goes on waiting */
    struct upload_rule rule; /* its `storage` is NULL: set it to the name where the plan stays */
};
/* Storages that the configuration wants, at most `max`; returns their count. `kinds` NULL = those
 * of the registry. */
size_t storage_plans(const struct storage_kind *const *kinds, const struct cfg *cfg,
                     struct storage_plan *ret, size_t max);
/* Opens all; on failure none is open. `ret` is NULL-terminated and has room for max + 1. */
int storage_open_all(const struct storage_plan *plans, size_t count, const struct cfg *cfg,
                     const char *data_dir, struct storage **ret, struct err *e);
void storage_close_all(struct storage **list);
