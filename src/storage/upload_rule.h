#pragma once
/* Which files go to a storage. Pure; one per storage, made from its section. */

#include <stdbool.h>

#include "model/snapshot.h"
#include "model/verdict.h"

enum upload_what {
    UPLOAD_PERSONS,    /* with a person on it, picture and copy with boxes; and all that was pushed:
                          what the original uploads */
    UPLOAD_DETECTIONS, /* with anything on it */
    UPLOAD_ALL,
    UPLOAD_PUSHED,
    UPLOAD_WHAT_COUNT
};
extern const char *const upload_what_names[UPLOAD_WHAT_COUNT + 1]; /* NULL at the end */

struct upload_rule {
    const char *storage; /* its name in the ledger */
    enum upload_what what;
    bool annotated;             /* copies with boxes too */
    const char *const *labels;  /* of these one at least; NULL or empty = any */
    const char *const *cameras; /* NULL or empty = all */
};

struct upload_choice {
    bool picture, annotated;
};
/* `has_copy`: the record stage has promised a copy with boxes. */
struct upload_choice upload_rule_choose(const struct upload_rule *r, const struct snapshot *s,
                                        const struct verdict *v, bool has_copy);
