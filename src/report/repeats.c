#include "report/repeats.h"

#include <string.h>

static struct repeat *find(struct repeats *r, const char *id)
{
    for (unsigned i = 0; i < r->count; i++)
        if (strcmp(r->list[i].last.id, id) == 0)
            return &r->list[i];
    return NULL;
}

static struct repeat *room_for_one(struct repeats *r)
{
    if (r->count < REPEATS_MAX)
        return &r->list[r->count++];
    struct repeat *oldest = &r->list[0];
    for (unsigned i = 1; i < r->count; i++)
        if (r->list[i].until.us < oldest->until.us)
            oldest = &r->list[i];
    r->forgotten += oldest->held;
    return oldest;
}

bool repeats_take(struct repeats *r, const struct event_record *record, int64_t interval_ms,
                  struct mono_time now)
{
    struct repeat *one = find(r, record->id);
    if (one && (one->held || one->until.us > now.us)) {
        one->last = *record;
        one->held++;
        return false;
    }
    if (!one)
        one = room_for_one(r);
    *one = (struct repeat){.last = *record, .until = mono_add_ms(now, interval_ms)};
    return true;
}

static void take_out(struct repeat *one, struct event_record *ret, unsigned long long *ret_count)
{
    *ret = one->last;
    *ret_count = one->held;
    one->held = 0;
}

bool repeats_due(struct repeats *r, int64_t interval_ms, struct mono_time now,
                 struct event_record *ret, unsigned long long *ret_count)
{
    for (unsigned i = 0; i < r->count;) {
        struct repeat *one = &r->list[i];
        if (one->until.us > now.us) {
            i++;
        } else if (one->held) {
            take_out(one, ret, ret_count);
            one->until = mono_add_ms(now, interval_ms);
            return true;
        } else {
            *one = r->list[--r->count];
        }
    }
    return false;
}

bool repeats_flush(struct repeats *r, struct event_record *ret, unsigned long long *ret_count)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->list[i].held) {
            take_out(&r->list[i], ret, ret_count);
            return true;
        }
    return false;
}

bool repeats_next(const struct repeats *r, struct mono_time *ret)
{
    bool found = false;
    for (unsigned i = 0; i < r->count; i++)
        if (r->list[i].held && (!found || r->list[i].until.us < ret->us)) {
            *ret = r->list[i].until;
            found = true;
        }
    return found;
}
