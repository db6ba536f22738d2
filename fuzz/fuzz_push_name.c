/* Any bytes as the path of a pushed file. What it says must be a time, by a known rule, and a
 * folder in front must not change the answer. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/push_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_time(const struct push_time *t);
static void check_event(const struct push_time *t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *path = xstrndup((const char *)data, size);
    enum push_kind kind = push_name_kind(path);
    assert(kind >= 0 && kind < PUSH_KIND_COUNT);
    struct push_time t;
    int r = push_name_time(path, &t);
    assert(r == 0 || r == -ENOENT);
    if (r == 0) {
        check_time(&t);
        check_event(&t);
    }
    /* A folder in front may add a date, but takes none away. */
    AUTO_FREE char *below = xasprintf("cam/%s", path);
    struct push_time same;
    assert(push_name_kind(below) == kind);
    assert(r < 0 || (push_name_time(below, &same) == 0 && same.at.us == t.at.us));
    return 0;
}

static void check_time(const struct push_time *t)
{
    assert(t->at.us >= 0 && wall_seconds(t->at) <= 9999999999);
    assert(t->per_second == 0 || t->per_second == 1 || t->per_second == 100 ||
           t->per_second == 1000);
    assert(t->per_second == 0 || t->at.us % (1000000 / t->per_second) == 0);
    const char *const *rule = push_rule_names;
    while (*rule && strcmp(*rule, t->rule) != 0)
        rule++;
    assert(*rule);
}

static void check_event(const struct push_time *t)
{
    const struct wall_time arrived = wall_from_seconds(1767323045);
    bool off;
    struct wall_time at = push_event_time(t, arrived, 1000, 1000, &off);
    assert(off ? at.us == arrived.us : llabs(at.us - arrived.us) <= 1000000);
    (void)push_event_time(t, t->at, 86400000, 86400000, &off);
    assert(!off); /* no zone is a day away */
}
