#include "wire/event_time.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"

/* Behind the last second of the four-digit years, which all our forms of time can write. */
#define SECONDS_MAX 253402300799
#define EXT_TIMESTAMP (-1)

static int from_seconds(int64_t seconds, int64_t ns, struct wall_time *ret);
static int from_real(double seconds, struct wall_time *ret);
static int from_ext(const uint8_t *b, size_t size, struct wall_time *ret);

int event_time_read(const struct msgpack_value *v, struct wall_time now, struct wall_time *ret,
                    char note[EVENT_TIME_NOTE_MAX], struct err *e)
{
    char what[64] = "the number";
    int r = -EINVAL;
    note[0] = '\0';
    switch (v->type) {
    case MSGPACK_INT:
        r = from_seconds(v->integer, 0, ret);
        break;
    case MSGPACK_BIG:
        break;
    case MSGPACK_FLOAT:
        r = from_real(v->real, ret);
        break;
    case MSGPACK_STR: {
        char shown[48];
        text_escape((const char *)v->bytes, MIN(v->size, sizeof(shown) / 4), shown, sizeof(shown));
        (void)text_format(what, sizeof(what), "\"%s\"", shown); /* has room for both quotes */
        r = event_time_parse((const char *)v->bytes, v->size, ret);
        break;
    }
    case MSGPACK_EXT:
        if (v->ext_type != EXT_TIMESTAMP)
            return err_set(e, -EINVAL, ERR_NEVER, "an extension of type %d is no time",
                           v->ext_type);
        text_copy(what, sizeof(what), "the extension");
        r = from_ext(v->bytes, v->size, ret);
        break;
    case MSGPACK_NIL:
    case MSGPACK_BOOL:
    case MSGPACK_BIN:
    case MSGPACK_ARRAY:
    case MSGPACK_MAP:
    case MSGPACK_TYPE_COUNT:
        return err_set(e, -EINVAL, ERR_NEVER, "%s is no time", msgpack_type_names[v->type]);
    }
    if (r < 0) {
        *ret = now;
        (void)text_format(note, EVENT_TIME_NOTE_MAX,
                          "%s is no time that we know, so the time of arrival counts", what);
    }
    return 0;
}

static int from_seconds(int64_t seconds, int64_t ns, struct wall_time *ret)
{
    if (seconds < 0 || seconds > SECONDS_MAX || ns < 0 || ns > 999999999)
        return -EINVAL;
    *ret = (struct wall_time){seconds * 1000000 + ns / 1000};
    return 0;
}

static int from_real(double seconds, struct wall_time *ret)
{
    if (!(seconds >= 0 && seconds <= (double)SECONDS_MAX)) /* nor is it "no number" */
        return -EINVAL;
    *ret = (struct wall_time){llround(seconds * 1e6)};
    return 0;
}

static uint64_t big_endian(const uint8_t *b, size_t size)
{
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++)
        v = v << 8 | b[i];
    return v;
}

static int from_ext(const uint8_t *b, size_t size, struct wall_time *ret)
{
    switch (size) {
    case 4:
        return from_seconds((int64_t)big_endian(b, 4), 0, ret);
    case 8: { /* 30 bits of nanoseconds, 34 bits of seconds */
        uint64_t both = big_endian(b, 8);
        return from_seconds((int64_t)(both & 0x3ffffffff), (int64_t)(both >> 34), ret);
    }
    case 12:
        return from_seconds((int64_t)big_endian(b + 4, 8), (int64_t)big_endian(b, 4), ret);
    default:
        return -EINVAL;
    }
}

/* A cursor over the text; each step takes what it knows and says whether it did. */
struct cursor {
    const char *at, *end;
};

static bool take(struct cursor *c, const char *any_of)
{
    if (c->at == c->end || *c->at == '\0' || !strchr(any_of, *c->at))
        return false;
    c->at++;
    return true;
}

static bool take_digits(struct cursor *c, int count, int *ret)
{
    int v = 0;
    if (c->end - c->at < count)
        return false;
    for (int i = 0; i < count; i++) {
        if (c->at[i] < '0' || c->at[i] > '9')
            return false;
        v = v * 10 + c->at[i] - '0';
    }
    c->at += count;
    *ret = v;
    return true;
}

/* "03:04", "03:04:05", "03:04:05.678"; the separator may be missing throughout. */
static bool take_clock(struct cursor *c, struct tm *tm, int64_t *us)
{
    if (!take_digits(c, 2, &tm->tm_hour))
        return false;
    bool colon = take(c, ":");
    if (!take_digits(c, 2, &tm->tm_min))
        return false;
    bool seconds = colon ? take(c, ":") : c->at < c->end && *c->at >= '0' && *c->at <= '9';
    if (seconds && !take_digits(c, 2, &tm->tm_sec))
        return false;
    if (seconds && take(c, ".,")) {
        int digit = 0;
        if (!take_digits(c, 1, &digit))
            return false;
        int64_t unit = 100000;
        do {
            *us += digit * unit;
            unit /= 10;
        } while (take_digits(c, 1, &digit));
    }
    return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

/* "Z", "UTC", "+01", "+01:30", "-0130", a blank before it. True also when there is none, then
 * `east` stays as it was. */
static bool take_zone(struct cursor *c, bool *zoned, int *east)
{
    (void)take(c, " ");
    size_t left = (size_t)(c->end - c->at);
    *zoned = left > 0;
    if ((left == 3 && (memcmp(c->at, "UTC", 3) == 0 || memcmp(c->at, "GMT", 3) == 0)) ||
        (left == 1 && take(c, "Zz"))) {
        c->at = c->end;
        *east = 0;
        return true;
    }
    if (left == 0)
        return true;
    int sign = *c->at == '-' ? -1 : 1, hours = 0, minutes = 0;
    if (!take(c, "+-") || !take_digits(c, 2, &hours))
        return false;
    bool more = take(c, ":") || c->at < c->end;
    if ((more && !take_digits(c, 2, &minutes)) || hours > 14 || minutes > 59)
        return false;
    *east = sign * (hours * 3600 + minutes * 60);
    return true;
}

static int from_calendar(const char *text, size_t len, struct wall_time *ret)
{
    struct cursor c = {text, text + len};
    struct tm tm = {.tm_isdst = -1}; /* the zone's own rules say whether it is summer */
    int64_t us = 0;
    int year = 0, month = 0, east = 0;
    bool zoned = false;
    if (!take_digits(&c, 4, &year))
        return -EINVAL;
    bool dash = take(&c, "-");
    if (!take_digits(&c, 2, &month) || take(&c, "-") != dash || !take_digits(&c, 2, &tm.tm_mday))
        return -EINVAL;
    bool separator = take(&c, "Tt ") || (dash ? false : c.at < c.end);
    if (separator && !take_clock(&c, &tm, &us))
        return -EINVAL;
    if (!take_zone(&c, &zoned, &east) || c.at != c.end)
        return -EINVAL;
    int day = tm.tm_mday, second = tm.tm_sec;
    if (month < 1 || month > 12 || day < 1 || day > 31)
        return -EINVAL;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_sec = 0; /* a leap second is added later, it belongs to the next minute */
    int64_t seconds = zoned ? timegm(&tm) : mktime(&tm);
    if (tm.tm_mday != day) /* 30 February became March */
        return -EINVAL;
    return from_seconds(seconds + second - east, us * 1000, ret);
}

int event_time_parse(const char *text, size_t len, struct wall_time *ret)
{
    bool digits = len > 0;
    for (size_t i = 0; i < len; i++)
        digits = digits && text[i] >= '0' && text[i] <= '9';
    bool calendar = !digits || len == 8 || len == 12 || len == 14;
    if (calendar && from_calendar(text, len, ret) == 0)
        return 0;
    int64_t seconds = 0;
    if (!digits || parse_int64(text, len, 0, SECONDS_MAX, &seconds) < 0)
        return -EINVAL;
    return from_seconds(seconds, 0, ret);
}
