#include "stage/retention_config.h"

#include "base/macros.h"

#define FIELD(name) .offset = offsetof(struct retention_config, name)
#define MINUTE 60e3
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define YEARS_20 (20 * 365 * DAY)
#define PICTURES_MAX 1e9
#define BYTES_MAX (1024.0 * 1099511627776.0)

#define AGE_KEY(NAME, KIND, DEFAULT, WORDS)                                                        \
    {                                                                                              \
        .name = NAME "_age", .type = CFG_DURATION, FIELD(age_ms[KIND]), .fallback = DEFAULT,       \
        .min = 0, .max = YEARS_20, .bare_unit_ms = 1000, .unit = "s", .flags = CFG_RELOAD,         \
        .help = "Pictures " WORDS " are removed when they are so old; 0 = never"                   \
    }
#define PER_CAMERA_KEY(NAME, KIND, WORDS)                                                          \
    {                                                                                              \
        .name = NAME "_per_camera", .type = CFG_INT, FIELD(per_camera[KIND]), .fallback = "0",     \
        .min = 0, .max = PICTURES_MAX, .unit = "pictures", .flags = CFG_RELOAD,                    \
        .help = "So many pictures " WORDS " of each camera stay; 0 = no limit"                     \
    }
#define SIZE_KEY(NAME, KIND, WORDS)                                                                \
    {                                                                                              \
        .name = NAME "_size", .type = CFG_SIZE, FIELD(size[KIND]), .fallback = "0", .min = 0,      \
        .max = BYTES_MAX, .unit = "bytes", .flags = CFG_RELOAD,                                    \
        .help = "So much room for pictures " WORDS "; 0 = no limit"                                \
    }
#define ON_PLAIN "without persons"
#define ON_PERSON "with persons"
#define ON_STARRED "with a star"

static const struct cfg_key keys[] = {
    {.name = "enabled",
     .type = CFG_BOOL,
     FIELD(enabled),
     .fallback = "yes",
     .flags = CFG_RELOAD,
     .help = "Whether old pictures are removed from this machine",
     .doc = "What is kept elsewhere stays there. A picture that has not reached all it should "
            "(events, storages) stays, whatever the limits say; only when the disk is about to "
            "fill it goes, too. Pictures with a star go by the limits for those alone."},
    {.name = "interval",
     .type = CFG_DURATION,
     FIELD(interval_ms),
     .fallback = "1h",
     .min = MINUTE,
     .max = DAY,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "Between two looks; free space is looked at every few seconds"},
    AGE_KEY("plain", RETENTION_PLAIN, "48h", ON_PLAIN),
    AGE_KEY("person", RETENTION_PERSON, "48h", ON_PERSON),
    AGE_KEY("starred", RETENTION_STARRED, "0", ON_STARRED),
    PER_CAMERA_KEY("plain", RETENTION_PLAIN, ON_PLAIN),
    PER_CAMERA_KEY("person", RETENTION_PERSON, ON_PERSON),
    PER_CAMERA_KEY("starred", RETENTION_STARRED, ON_STARRED),
    SIZE_KEY("plain", RETENTION_PLAIN, ON_PLAIN),
    SIZE_KEY("person", RETENTION_PERSON, ON_PERSON),
    SIZE_KEY("starred", RETENTION_STARRED, ON_STARRED),
    {.name = "total_size",
     .type = CFG_SIZE,
     FIELD(total_size),
     .fallback = "0",
     .min = 0,
     .max = BYTES_MAX,
     .unit = "bytes",
     .flags = CFG_RELOAD,
     .help = "So much room for all pictures; 0 = no limit",
     .doc = "The oldest without persons go first, then the oldest with persons."},
    {.name = "free_space",
     .type = CFG_SIZE,
     FIELD(free_space),
     .fallback = "0",
     .min = 0,
     .max = BYTES_MAX,
     .unit = "bytes",
     .flags = CFG_RELOAD,
     .help = "So much is to be free on the disk; 0 = what [store] reserve says, and some more",
     .doc = "In the order of `total_size`."},
    {.name = "history_age",
     .type = CFG_DURATION,
     FIELD(history_age_ms),
     .fallback = "0",
     .min = 0,
     .max = YEARS_20,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "What is known of a removed picture is forgotten so long after its removal; 0 = never",
     .doc = "While a watched folder has `after = keep`, what is known of pushed pictures stays: it "
            "keeps their files from being taken a second time."},
    {.name = "trash_keep",
     .type = CFG_DURATION,
     FIELD(trash_keep_ms),
     .fallback = "10m",
     .min = 0,
     .max = 30 * DAY,
     .bare_unit_ms = 1000,
     .unit = "s",
     .flags = CFG_RELOAD,
     .help = "So long a picture that somebody deleted can be taken back; then its files go",
     .doc = "Also with `enabled = no`. What storages have of it stays there; what waits to be "
            "uploaded is until then, and given up afterwards."},
};

const struct cfg_section retention_cfg_section = {
    .name = "retention",
    .struct_size = sizeof(struct retention_config),
    .keys = keys,
    .key_count = ARRAY_LEN(keys),
    .help = "How long pictures stay on this machine.",
};
