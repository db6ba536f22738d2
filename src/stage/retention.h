#pragma once
/* Removing pictures by the rules of [retention]: for the janitor stage, and for `snapshotd prune`
 * beside or without a running daemon. All state is in the ledger, so two runs at once only share
 * the work.
 *
 * The rules in their order, each over what those before left:
 *
 *   age         each class: older than its limit, by the time that a picture came here
 *   per_camera  each class and camera: the oldest beyond the limit
 *   size        each class: the oldest until the rest fits
 *   total_size  the oldest plain ones, then the oldest with persons, until all fits
 *   free_space  likewise, until so much is free; also when the disk is about to fill
 *   filling     only when the disk is about to fill and this run removed nothing else: plain ones
 *               that have not reached all they should, the oldest first, then those with persons.
 *               Never what waits for detection: nobody knows what is on it
 *   trash       what people deleted, when its time of grace is over
 *   history     rows of pictures that were removed long ago
 *
 * Some disks give back late what was removed (btrfs, XFS, NFS), or never (hard links, snapshots of
 * the file system). So a rule that brought no room is not gone on with, and `filling` waits for a
 * run that begins with all the room that the others made.
 *
 * The row says that the picture leaves, its files go, their folder is synced, then the row says
 * that they are gone: after a crash in between it is found again (`begun`), while a file without a
 * row would lie there for good. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "ledger/ledger_upload.h"
#include "ledger/store.h"
#include "ledger/thumbnails.h"
#include "stage/retention_config.h"

enum retention_rule {
    RETENTION_RULE_PLAIN_AGE, /* the classes in the order of enum retention_kind */
    RETENTION_RULE_PERSON_AGE,
    RETENTION_RULE_STARRED_AGE,
    RETENTION_RULE_PLAIN_PER_CAMERA,
    RETENTION_RULE_PERSON_PER_CAMERA,
    RETENTION_RULE_STARRED_PER_CAMERA,
    RETENTION_RULE_PLAIN_SIZE,
    RETENTION_RULE_PERSON_SIZE,
    RETENTION_RULE_STARRED_SIZE,
    RETENTION_RULE_TOTAL_SIZE,
    RETENTION_RULE_FREE_SPACE,
    RETENTION_RULE_FILLING,
    RETENTION_RULE_BEGUN, /* by a run that did not come to its end */
    RETENTION_RULE_TRASH,
    RETENTION_RULE_HISTORY,
    RETENTION_RULE_COUNT
};
extern const char *const retention_rule_names[RETENTION_RULE_COUNT]; /* "plain_age", ... */

/* For `without`. */
#define RETENTION_BIT(rule) (1u << (rule))
#define RETENTION_BITS_ALL (RETENTION_BIT(RETENTION_RULE_COUNT) - 1)
#define RETENTION_BITS_AGES                                                                        \
    (RETENTION_BIT(RETENTION_RULE_PLAIN_AGE) | RETENTION_BIT(RETENTION_RULE_PERSON_AGE) |          \
     RETENTION_BIT(RETENTION_RULE_STARRED_AGE))
#define RETENTION_BITS_TRASH                                                                       \
    (RETENTION_BIT(RETENTION_RULE_BEGUN) | RETENTION_BIT(RETENTION_RULE_TRASH))
#define RETENTION_BITS_SPACE                                                                       \
    (RETENTION_BIT(RETENTION_RULE_FREE_SPACE) | RETENTION_BIT(RETENTION_RULE_FILLING))

struct retention_options {
    struct ledger *ledger;
    struct store *store;
    struct thumbnails *thumbnails; /* go with their pictures; NULL = there are none */
    const struct retention_config *config;
    int64_t reserve;      /* [store] reserve */
    bool keeps_files;     /* a watched folder has after = keep */
    unsigned without;     /* RETENTION_BITs of rules that are left out; 0 = none */
    bool dry_run;         /* counts what would go */
    struct wall_time now; /* of the wall, which the times of pictures are of */
    /* Called between batches; true = stop. NULL = never. */
    bool (*progress)(void *arg);
    /* Called for each picture that went, in a dry run for each that would go. NULL = never. */
    void (*picture)(void *arg, enum retention_rule rule, const struct snapshot *s);
    void *arg;
    int64_t (*free_bytes)(void *arg); /* tests; NULL = the store's */
};

struct retention_report {
    int64_t files[RETENTION_RULE_COUNT]; /* pictures; history: rows */
    int64_t bytes[RETENTION_RULE_COUNT]; /* about: copies with boxes count as large as pictures */
    int64_t failed;                      /* files that could not be removed */
    char failure[ERR_TEXT_MAX];          /* the first of them */
    bool short_of_space;                 /* still about to fill afterwards, as far as can be seen */
};

/* 0 also when single files failed, see the report. Negative: the ledger could not be asked or told;
 * the report counts what was done before. */
int retention_run(const struct retention_options *o, struct retention_report *ret, struct err *e);
/* Below this much free the disk is about to fill: just above where pictures are refused. */
int64_t retention_filling_below(int64_t reserve);
