#pragma once
/* What the sections of all storages have in common: what goes there and how. Each kind has a
 * section of its own with these keys in front, and their values in a member `common`:
 *
 *     struct s3_config {
 *         struct storage_common common;
 *         const char *bucket;
 *     };
 *     static const struct cfg_key keys[] = {
 *         STORAGE_COMMON_KEYS(struct s3_config),
 *         {.name = "bucket", ...},
 *     };
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cfg/cfg.h"
#include "storage/upload_rule.h"

/* So many uploads at a time are more than any home line fills. Each holds one picture. */
#define STORAGE_PARALLEL_MAX 32

enum storage_order { STORAGE_NEWEST_FIRST, STORAGE_OLDEST_FIRST, STORAGE_ORDER_COUNT };
extern const char *const storage_order_names[STORAGE_ORDER_COUNT + 1];

struct storage_common {
    bool enabled;
    int upload; /* enum upload_what */
    bool annotated;
    const char *const *labels, *const *cameras;
    int order;        /* enum storage_order */
    int64_t parallel; /* of the start */
    int64_t rate;     /* files a minute, 0 = no limit */
};

#define STORAGE_COMMON_KEYS(STRUCT)                                                                \
    {.name = "enabled",                                                                            \
     .type = CFG_BOOL,                                                                             \
     .offset = offsetof(STRUCT, common.enabled),                                                   \
     .fallback = "yes",                                                                            \
     .help = "Keep pictures there"},                                                               \
        {.name = "upload",                                                                         \
         .type = CFG_CHOICE,                                                                       \
         .offset = offsetof(STRUCT, common.upload),                                                \
         .fallback = "persons",                                                                    \
         .choices = upload_what_names,                                                             \
         .flags = CFG_RELOAD,                                                                      \
         .help = "Which pictures go there",                                                        \
         .doc = "`persons`: those with a person on them, and all that cameras push, which is "     \
                "what the predecessor uploads. `detections`: those with anything on them. `all`; " \
                "`pushed`: those that cameras push, whatever is on them. `labels` and `cameras` "  \
                "narrow it."},                                                                     \
        {.name = "annotated",                                                                      \
         .type = CFG_BOOL,                                                                         \
         .offset = offsetof(STRUCT, common.annotated),                                             \
         .fallback = "yes",                                                                        \
         .flags = CFG_RELOAD,                                                                      \
         .help = "Their copies with boxes, too"},                                                  \
        {.name = "labels",                                                                         \
         .type = CFG_LIST,                                                                         \
         .offset = offsetof(STRUCT, common.labels),                                                \
         .flags = CFG_RELOAD,                                                                      \
         .help = "Only pictures that show one of these; empty = any",                              \
         .doc = "Names as the model gives them, in any case."},                                    \
        {.name = "cameras",                                                                        \
         .type = CFG_LIST,                                                                         \
         .offset = offsetof(STRUCT, common.cameras),                                               \
         .flags = CFG_RELOAD,                                                                      \
         .help = "Only pictures of these cameras; empty = all"},                                   \
        {.name = "order",                                                                          \
         .type = CFG_CHOICE,                                                                       \
         .offset = offsetof(STRUCT, common.order),                                                 \
         .fallback = "oldest",                                                                     \
         .choices = storage_order_names,                                                           \
         .flags = CFG_RELOAD,                                                                      \
         .help = "What goes first of pictures that wait",                                          \
         .doc = "Pictures that come while others wait go before them in any case, so that an "     \
                "outage of yesterday does not hold up the picture of now."},                       \
        {.name = "parallel",                                                                       \
         .type = CFG_INT,                                                                          \
         .offset = offsetof(STRUCT, common.parallel),                                              \
         .fallback = "4",                                                                          \
         .min = 1,                                                                                 \
         .max = STORAGE_PARALLEL_MAX,                                                              \
         .help = "Uploads at a time",                                                              \
         .doc = "They begin in order. With more than one, a small picture may be there before a "  \
                "larger one that began earlier, of the same camera, too; with 1 they also arrive " \
                "in order."},                                                                      \
    {                                                                                              \
        .name = "rate", .type = CFG_INT, .offset = offsetof(STRUCT, common.rate), .fallback = "0", \
        .min = 0, .max = 100000, .unit = "files a minute", .flags = CFG_RELOAD,                    \
        .help = "At most so many uploads a minute; 0 = as many as it takes"                        \
    }

/* The rule of a section's instance; borrows all strings. */
struct upload_rule storage_common_rule(const struct storage_common *c, const char *storage);
