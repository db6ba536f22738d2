#pragma once
/* Which detector looks at a picture: what the configuration plans, less what the flags take away.
 * Pure; decided anew with each configuration.
 *
 * `auto` is the rule of the program's predecessor: its local flag, else its cloud flag, else the
 * picture is published unexamined. A plan that is named is one for its detectors, and a flag
 * that is given and false takes its detector away: a cascade without the cloud is the local
 * detector, one without the local detector is the cloud. The master flag and `enabled` are above
 * all of it. */

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

/* Values of [detection] detector. */
enum detect_plan { PLAN_AUTO, PLAN_LOCAL, PLAN_CLOUD, PLAN_CASCADE, PLAN_COUNT };
extern const char *const detect_plan_names[PLAN_COUNT + 1]; /* NULL-terminated: choices */

enum detect_mode { DETECT_NONE, DETECT_LOCAL, DETECT_CLOUD, DETECT_CASCADE, DETECT_MODE_COUNT };
extern const char *const detect_mode_names[DETECT_MODE_COUNT]; /* "none", "local", ... */

struct detect_flag {
    bool value, given; /* given: by a file or a variable, not by default */
};
struct choice_facts {
    bool enabled; /* [detection] enabled */
    enum detect_plan plan;
    struct detect_flag master, local, cloud;
};

#define CHOICE_WHY_MAX 200
/* `why` names the key or flag that decided, in words. */
enum detect_mode detect_choose(const struct choice_facts *f, char why[CHOICE_WHY_MAX]);

static inline bool detect_mode_has_local(enum detect_mode m)
{
    return m == DETECT_LOCAL || m == DETECT_CASCADE;
}
static inline bool detect_mode_has_cloud(enum detect_mode m)
{
    return m == DETECT_CLOUD || m == DETECT_CASCADE;
}
