#include "detect/choice.h"

#include "base/text.h"

const char *const detect_plan_names[PLAN_COUNT + 1] = {"auto", "local", "cloud", "cascade", NULL};
const char *const detect_mode_names[DETECT_MODE_COUNT] = {"none", "local", "cloud", "cascade"};

#define LOCAL_FLAG "FEATURE_FLAG_LOCAL_OBJECT_DETECTION"
#define CLOUD_FLAG "FEATURE_FLAG_CLOUD_OBJECT_DETECTION"

static enum detect_mode say(enum detect_mode mode, char why[CHOICE_WHY_MAX], const char *text)
{
    (void)text_copy(why, CHOICE_WHY_MAX, text); /* fits */
    return mode;
}

static enum detect_mode choose_by_flags(const struct choice_facts *f, char why[CHOICE_WHY_MAX])
{
    if (f->local.value)
        return say(DETECT_LOCAL, why,
                   f->local.given ? LOCAL_FLAG " is true" : LOCAL_FLAG " is true by default");
    if (f->cloud.value)
        return say(DETECT_CLOUD, why, LOCAL_FLAG " is false and " CLOUD_FLAG " is true");
    return say(DETECT_NONE, why, LOCAL_FLAG " is false, and so is " CLOUD_FLAG);
}

enum detect_mode detect_choose(const struct choice_facts *f, char why[CHOICE_WHY_MAX])
{
    if (!f->enabled)
        return say(DETECT_NONE, why, "[detection] enabled (OBJECT_DETECTION_ENABLED) is false");
    if (!f->master.value)
        return say(DETECT_NONE, why, "FEATURE_FLAG_OBJECT_DETECTION is false");
    if (f->plan == PLAN_AUTO)
        return choose_by_flags(f, why);
    bool local = f->plan != PLAN_CLOUD && (f->local.value || !f->local.given);
    bool cloud = f->plan != PLAN_LOCAL && (f->cloud.value || !f->cloud.given);
    const char *plan = detect_plan_names[f->plan];
    enum detect_mode mode = local && cloud ? DETECT_CASCADE
                            : local        ? DETECT_LOCAL
                            : cloud        ? DETECT_CLOUD
                                           : DETECT_NONE;
    bool cut = (f->plan != PLAN_CLOUD && !local) || (f->plan != PLAN_LOCAL && !cloud);
    const char *without = mode == DETECT_NONE && f->plan == PLAN_CASCADE ? LOCAL_FLAG
                              " and " CLOUD_FLAG " are"
                          : f->plan != PLAN_CLOUD && !local ? LOCAL_FLAG " is"
                                                            : CLOUD_FLAG " is";
    (void)text_format(why, CHOICE_WHY_MAX, "[detection] detector is %s%s%s%s", plan,
                      cut ? ", but " : "", cut ? without : "", cut ? " false" : ""); /* fits */
    return mode;
}
