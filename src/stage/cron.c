#include "stage/cron.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/macros.h"
#include "base/parse.h"

#define EVERY_HOUR ((UINT32_C(1) << 24) - 1)
#define MINUTES_A_DAY 1440

struct field {
    const char *name;
    int min, max;
    const char *const *names; /* from `min` on, or NULL */
    int name_count;
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const struct field fields[] = {
    {"minute", 0, 59, NULL, 0},
    {"hour", 0, 23, NULL, 0},
    {"day of month", 1, 31, NULL, 0},
    {"month", 1, 12, month_names, 12},
    {"day of week", 0, 7, weekday_names, 7},
};

static int parse_value(const struct field *f, const char *s, size_t len, int *ret)
{
    for (int i = 0; i < f->name_count; i++) {
        if (len == 3 && strncasecmp(s, f->names[i], 3) == 0) {
            *ret = f->min + i;
            return 0;
        }
    }
    int64_t v = 0;
    int r = parse_int64(s, len, f->min, f->max, &v);
    *ret = (int)v;
    return r;
}

/* One item of a list: "*", "5", "1-5", each with "/step". */
static int parse_item(const struct field *f, const char *s, size_t len, uint64_t *bits)
{
    const char *slash = memchr(s, '/', len);
    size_t range_len = slash ? (size_t)(slash - s) : len;
    int64_t step = 1;
    if (slash && parse_int64(slash + 1, len - range_len - 1, 1, f->max, &step) < 0)
        return -EINVAL;
    int from = f->min, to = f->max;
    if (!(range_len == 1 && s[0] == '*')) {
        const char *dash = memchr(s, '-', range_len);
        size_t first_len = dash ? (size_t)(dash - s) : range_len;
        if (parse_value(f, s, first_len, &from) < 0)
            return -EINVAL;
        to = slash && !dash ? f->max : from;
        if (dash && parse_value(f, dash + 1, range_len - first_len - 1, &to) < 0)
            return -EINVAL;
    }
    if (from > to)
        return -EINVAL;
    for (int v = from; v <= to; v += (int)step)
        *bits |= UINT64_C(1) << v;
    return 0;
}

static int parse_field(const struct field *f, const char *s, size_t len, uint64_t *ret_bits)
{
    uint64_t bits = 0;
    while (true) {
        const char *comma = memchr(s, ',', len);
        size_t item_len = comma ? (size_t)(comma - s) : len;
        if (item_len == 0 || parse_item(f, s, item_len, &bits) < 0)
            return -EINVAL;
        if (!comma)
            break;
        s = comma + 1;
        len -= item_len + 1;
    }
    *ret_bits = bits;
    return 0;
}

int cron_parse(const char *text, struct cron *ret, struct err *e)
{
    if (strcmp(text, "@hourly") == 0)
        text = "0 * * * *";
    else if (strcmp(text, "@daily") == 0 || strcmp(text, "@midnight") == 0)
        text = "0 0 * * *";
    uint64_t bits[ARRAY_LEN(fields)] = {0};
    bool star[ARRAY_LEN(fields)] = {false};
    const char *p = text;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        p += strspn(p, " \t");
        size_t len = strcspn(p, " \t");
        if (len == 0)
            return err_set(e, -EINVAL, ERR_NEVER,
                           "\"%s\": %zu of 5 fields: \"minute hour day month weekday\" is wanted",
                           text, i);
        if (parse_field(&fields[i], p, len, &bits[i]) < 0)
            return err_set(e, -EINVAL, ERR_NEVER,
                           "\"%s\": %s \"%.*s\": numbers %d-%d, ranges, lists and steps are known",
                           text, fields[i].name, (int)MIN(len, (size_t)32), p, fields[i].min,
                           fields[i].max);
        star[i] = p[0] == '*';
        p += len;
    }
    if (p[strspn(p, " \t")] != '\0')
        return err_set(e, -EINVAL, ERR_NEVER, "\"%s\": more than 5 fields", text);
    if (bits[4] & (UINT64_C(1) << 7)) /* Sunday has two numbers */
        bits[4] |= 1;
    *ret = (struct cron){.minutes = bits[0],
                         .hours = (uint32_t)bits[1],
                         .days = (uint32_t)bits[2],
                         .months = (uint16_t)bits[3],
                         .weekdays = (uint8_t)(bits[4] & 0x7f),
                         .any_day = star[2],
                         .any_weekday = star[4]};
    return 0;
}

static bool day_matches(const struct cron *c, const struct tm *tm)
{
    bool day = c->days >> tm->tm_mday & 1, weekday = c->weekdays >> tm->tm_wday & 1;
    if (c->any_day || c->any_weekday)
        return day && weekday;
    return day || weekday;
}

/* Whether the clock showed this hour of this day already, an hour ago: it was set back since. */
static bool is_shown_again(time_t t, const struct tm *tm)
{
    time_t before = t - 3600;
    struct tm b;
    return localtime_r(&before, &b) && b.tm_hour == tm->tm_hour && b.tm_mday == tm->tm_mday;
}

/* Whether a minute that matches lies in what the clock left out just before t. */
static bool was_left_out(const struct cron *c, time_t t, const struct tm *tm)
{
    time_t before = t - 60;
    struct tm b;
    if (!localtime_r(&before, &b))
        return false;
    int last = b.tm_hour * 60 + b.tm_min - (b.tm_mday == tm->tm_mday ? 0 : MINUTES_A_DAY);
    for (int m = MAX(last + 1, 0); m < tm->tm_hour * 60 + tm->tm_min; m++)
        if ((c->hours >> (m / 60) & 1) && (c->minutes >> (m % 60) & 1))
            return true;
    return false;
}

int cron_next(const struct cron *c, struct wall_time after, struct wall_time *ret)
{
    time_t t = (time_t)(wall_seconds(after) / 60 * 60 + 60);
    time_t last = t + 5 * 366 * (time_t)86400;
    while (t < last) {
        struct tm tm;
        if (!localtime_r(&t, &tm))
            return -ENOENT;
        if (!(c->months >> (tm.tm_mon + 1) & 1) || !day_matches(c, &tm)) {
            /* On to local midnight; mktime knows days of 23 and 25 hours. */
            tm.tm_mday++;
            tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
            tm.tm_isdst = -1;
            time_t next = mktime(&tm);
            t = next > t ? next : t + 3600;
        } else if (c->hours != EVERY_HOUR && was_left_out(c, t, &tm)) {
            *ret = wall_from_seconds(t);
            return 0;
        } else if (!(c->hours >> tm.tm_hour & 1) ||
                   (c->hours != EVERY_HOUR && is_shown_again(t, &tm))) {
            t += 3600 - tm.tm_min * 60 - tm.tm_sec;
        } else if (!(c->minutes >> tm.tm_min & 1)) {
            t += 60;
        } else {
            *ret = wall_from_seconds(t);
            return 0;
        }
    }
    return -ENOENT;
}
