#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/fault.h"
#include "base/macros.h"

static struct wall_time (*wall_source)(void);
static struct mono_time (*mono_source)(void);

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    (void)clock_gettime(id, &ts); /* cannot fail for these two clocks */
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + fault_clock_shift_us();
}

struct wall_time clock_wall(void)
{
    return wall_source ? wall_source() : (struct wall_time){read_clock(CLOCK_REALTIME)};
}

struct mono_time clock_mono(void)
{
    return mono_source ? mono_source() : (struct mono_time){read_clock(CLOCK_MONOTONIC)};
}

void clock_set_wall_source(struct wall_time (*source)(void))
{
    wall_source = source;
}

void clock_set_mono_source(struct mono_time (*source)(void))
{
    mono_source = source;
}

int mono_until_ms(struct mono_time t)
{
    int64_t us = t.us - clock_mono().us;
    if (us <= 0)
        return 0;
    return (int)MIN((us + 999) / 1000, (int64_t)INT_MAX);
}

struct timespec clock_deadline(int64_t ms)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += (time_t)(ms / 1000);
    ts.tv_nsec += (long)(ms % 1000 * 1000000);
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

const char *wall_format_iso(struct wall_time t, bool millis, char buf[WALL_ISO_MAX])
{
    /* Bounds of the four-digit years, so that the text always has the same width. */
    static const int64_t first = -62167219200, last = 253402300799;
    int64_t seconds = MAX(first, MIN(last, wall_seconds(t)));
    time_t tt = (time_t)seconds;
    struct tm tm;
    (void)gmtime_r(&tt, &tm); /* in range by the clamp above */
    size_t n = strftime(buf, WALL_ISO_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    if (tm.tm_year + 1900 < 1000) /* strftime does not pad the year */
        n = (size_t)snprintf(buf, WALL_ISO_MAX, "%04d-%02d-%02dT%02d:%02d:%02d",
                             (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100, tm.tm_mday % 100,
                             tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
    if (millis) {
        int part = (int)(t.us % 1000000);
        n += (size_t)snprintf(buf + n, WALL_ISO_MAX - n, ".%03d",
                              (part < 0 ? part + 1000000 : part) / 1000);
    }
    if (n + 1 < WALL_ISO_MAX)
        memcpy(buf + n, "Z", 2);
    return buf;
}

static bool digits(const char *s, int count, int *ret)
{
    int v = 0;
    for (int i = 0; i < count; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (s[i] - '0');
    }
    *ret = v;
    return true;
}

/* "Z", "+hh:mm", "-hhmm": seconds east of Greenwich. */
static bool zone(const char *s, int *ret)
{
    if ((s[0] == 'Z' || s[0] == 'z') && s[1] == '\0') {
        *ret = 0;
        return true;
    }
    if (s[0] != '+' && s[0] != '-')
        return false;
    int hours = 0, minutes = 0;
    size_t rest = strlen(s);
    bool ok =
        (rest == 6 && s[3] == ':' && digits(s + 1, 2, &hours) && digits(s + 4, 2, &minutes)) ||
        (rest == 5 && digits(s + 1, 2, &hours) && digits(s + 3, 2, &minutes));
    if (!ok || hours > 14 || minutes > 59)
        return false;
    *ret = (hours * 3600 + minutes * 60) * (s[0] == '-' ? -1 : 1);
    return true;
}

int wall_parse_iso(const char *text, struct wall_time *ret)
{
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    if (strlen(text) < 20 || !digits(text, 4, &year) || text[4] != '-' ||
        !digits(text + 5, 2, &month) || text[7] != '-' || !digits(text + 8, 2, &day) ||
        (text[10] != 'T' && text[10] != 't' && text[10] != ' ') || !digits(text + 11, 2, &hour) ||
        text[13] != ':' || !digits(text + 14, 2, &minute) || text[16] != ':' ||
        !digits(text + 17, 2, &second))
        return -EINVAL;
    if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return -EINVAL;
    const char *p = text + 19;
    int64_t fraction_us = 0, unit = 100000;
    if (*p == '.') {
        if (p[1] < '0' || p[1] > '9')
            return -EINVAL;
        for (p++; *p >= '0' && *p <= '9'; p++) {
            fraction_us += (*p - '0') * unit;
            unit /= 10;
        }
    }
    int east = 0;
    if (!zone(p, &east))
        return -EINVAL;
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute};
    /* The second is added later: a leap second at midnight belongs to the next day. */
    int64_t seconds = (int64_t)timegm(&tm) + second;
    if (tm.tm_mday != day) /* 30 February became March */
        return -EINVAL;
    *ret = (struct wall_time){(seconds - east) * 1000000 + fraction_us};
    return 0;
}
