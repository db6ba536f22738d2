#include "cloudwatch/tally.h"

#include <string.h>

static struct tally_row *last_of(struct tally *t, int metric)
{
    for (size_t i = t->count; i-- > 0;)
        if (t->rows[i].metric == metric)
            return &t->rows[i];
    return NULL;
}

/* The row of this minute, perhaps a new one; NULL when there is no room for it. */
static struct tally_row *row_of(struct tally *t, int metric, struct wall_time now,
                                struct mono_time at)
{
    int64_t seconds = wall_seconds(now);
    int64_t minute = seconds / 60 - (seconds % 60 < 0);
    struct tally_row *row = last_of(t, metric);
    if (row && row->minute == minute)
        return row;
    if (t->count == TALLY_ROWS_MAX)
        return NULL;
    row = &t->rows[t->count++];
    *row = (struct tally_row){.metric = metric, .minute = minute, .at = at};
    return row;
}

bool tally_add(struct tally *t, int metric, double n, struct wall_time now, struct mono_time at)
{
    struct tally_row *row = row_of(t, metric, now, at);
    if (!row)
        row = last_of(t, metric);
    if (!row)
        return false;
    row->value += n;
    return true;
}

void tally_level(struct tally *t, int metric, double value, struct wall_time now,
                 struct mono_time at)
{
    struct tally_row *row = row_of(t, metric, now, at);
    if (!row)
        return;
    row->level = true;
    row->value = value;
}

double tally_expire(struct tally *t, struct mono_time before)
{
    size_t n = 0;
    while (n < t->count && t->rows[n].at.us < before.us)
        n++;
    return tally_shift(t, n);
}

static double sum(const struct tally_row *rows, size_t count)
{
    double counts = 0;
    for (size_t i = 0; i < count; i++)
        counts += rows[i].level ? 0 : rows[i].value;
    return counts;
}

double tally_shift(struct tally *t, size_t count)
{
    double counts = sum(t->rows, count);
    t->count -= count;
    memmove(t->rows, t->rows + count, t->count * sizeof(*t->rows));
    return counts;
}

double tally_counts(const struct tally *t)
{
    return sum(t->rows, t->count);
}
