#include "camera/freshness.h"

/* Before this no camera of today was built: the time is one that was never set. */
#define PLAUSIBLE_FROM_S 1420070400LL /* 2015-01-01 */

const char *const camera_freshness_names[CAMERA_FRESHNESS_COUNT] = {"fresh", "unchanged", "old"};

/* True when a clock fell behind ours since the last picture. */
static bool fell_behind(int64_t then_s, int64_t now_s, const struct freshness *f,
                        const struct freshness_signs *signs)
{
    if (then_s < PLAUSIBLE_FROM_S || now_s < PLAUSIBLE_FROM_S)
        return false;
    int64_t ours = wall_seconds(signs->now) - wall_seconds(f->last.now);
    return ours - (now_s - then_s) > FRESHNESS_AGE_MAX_S;
}

/* By the camera's own clock when it tells it, so that it does not matter how wrong that is. */
static bool modified_long_ago(const struct freshness *f, const struct freshness_signs *signs)
{
    int64_t modified = signs->last_modified_s;
    int64_t now = signs->date_s >= 0 ? signs->date_s : wall_seconds(signs->now);
    if (modified < PLAUSIBLE_FROM_S || now - modified <= FRESHNESS_AGE_MAX_S)
        return false;
    /* Another picture under the same date: this header tells the age of something else. */
    return !f->known || modified != f->last.last_modified_s;
}

enum camera_freshness freshness_judge(struct freshness *f, const struct freshness_signs *signs)
{
    enum camera_freshness result = CAMERA_FRESH;
    if (f->known && signs->digest == f->last.digest)
        result = CAMERA_STALE_UNCHANGED;
    else if (modified_long_ago(f, signs))
        result = CAMERA_STALE_OLD;
    else if (f->known && (fell_behind(f->last.date_s, signs->date_s, f, signs) ||
                          fell_behind(f->last.taken_s, signs->taken_s, f, signs)))
        result = CAMERA_STALE_OLD;
    f->known = true;
    f->last = *signs;
    return result;
}
