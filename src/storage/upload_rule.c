#include "storage/upload_rule.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

const char *const upload_what_names[UPLOAD_WHAT_COUNT + 1] = {
    [UPLOAD_PERSONS] = "persons",
    [UPLOAD_DETECTIONS] = "detections",
    [UPLOAD_ALL] = "all",
    [UPLOAD_PUSHED] = "pushed",
};

static bool camera_wanted(const struct upload_rule *r, const char *camera)
{
    if (!r->cameras || !r->cameras[0])
        return true;
    for (size_t i = 0; r->cameras[i]; i++)
        if (strcmp(r->cameras[i], camera) == 0)
            return true;
    return false;
}

static bool label_wanted(const struct upload_rule *r, const struct verdict *v)
{
    if (!r->labels || !r->labels[0])
        return true;
    for (size_t i = 0; r->labels[i]; i++)
        for (size_t k = 0; k < v->found.count; k++)
            if (text_equal_nocase(r->labels[i], v->found.items[k].label))
                return true;
    return false;
}

static bool kind_wanted(enum upload_what what, const struct snapshot *s, const struct verdict *v)
{
    bool pushed = s->source == SNAPSHOT_PUSHED;
    switch (what) {
    case UPLOAD_PERSONS:
        return pushed || verdict_persons(v) > 0;
    case UPLOAD_DETECTIONS:
        return verdict_things(v) > 0;
    case UPLOAD_ALL:
        return true;
    case UPLOAD_PUSHED:
        return pushed;
    case UPLOAD_WHAT_COUNT:
        break;
    }
    assert(false); /* no such rule */
    return false;
}

struct upload_choice upload_rule_choose(const struct upload_rule *r, const struct snapshot *s,
                                        const struct verdict *v, bool has_copy)
{
    bool wanted = kind_wanted(r->what, s, v) && camera_wanted(r, s->camera) && label_wanted(r, v);
    return (struct upload_choice){.picture = wanted,
                                  .annotated = wanted && r->annotated && has_copy};
}
