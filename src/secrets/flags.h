#pragma once
/* Feature flags. What a file, a variable or --set says of one counts; of the others 1Password is
 * asked at the path flags/<name>/value, and what it said last stays while it is silent or has none.
 * True is what is, trimmed and in lower case, "true", "1" or "yes"; all else is false, as with the
 * predecessor, and odd when it is not "false", "0" or "no".
 *
 * A thread of its own asks again and again; the main thread takes the changes. Nobody asks for a
 * picture's sake. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "secrets/secrets.h"

enum feature_flag {
    FLAG_OBJECT_DETECTION,
    FLAG_LOCAL_OBJECT_DETECTION,
    FLAG_CLOUD_OBJECT_DETECTION,
    FLAG_CLOUD_STORAGE_MANAGEMENT,
    FLAG_COUNT
};
extern const char *const flag_names[FLAG_COUNT]; /* "object-detection", ... */
extern const char *const flag_keys[FLAG_COUNT];  /* of [feature_flags]: "object_detection", ... */

#define FLAG_ITEM "flags"
#define FLAG_FIELD "value"
#define FLAG_PATH(name) FLAG_ITEM "/" name "/" FLAG_FIELD

bool flag_value(const char *text, bool *ret_odd);

struct flags_options {             /* copied, the strings of `access` too */
    struct secrets_options access; /* where to ask; its stop_fd, mode and keeps have no effect */
    int64_t interval_ms;
    bool watched[FLAG_COUNT]; /* the others are decided elsewhere */
    bool value[FLAG_COUNT];   /* in force now */
    int wake_fd;              /* an eventfd that becomes readable with a change; -1 = none */
};
struct flags;
void flags_register_metrics(void);
int flags_start(const struct flags_options *o, struct flags **ret, struct err *e);
/* Ends what is under way and waits. Accepts NULL. */
void flags_stop(struct flags *f);
/* The next change that was not taken yet. */
bool flags_take(struct flags *f, enum feature_flag *ret, bool *ret_value);
/* "" while 1Password answers. Any thread. */
void flags_trouble(struct flags *f, char ret[ERR_TEXT_MAX]);
