#include "base/parse.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Splits "12.5ms" behind the number; returns its length, 0 when it does not begin with one. */
static size_t number_length(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len && ((s[i] >= '0' && s[i] <= '9') || s[i] == '.'))
        i++;
    return i;
}

int parse_int64(const char *s, size_t len, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = len && s[0] == '-';
    size_t i = negative || (len && s[0] == '+') ? 1 : 0;
    if (i == len)
        return -EINVAL;
    int64_t v = 0;
    bool overflow = false;
    for (; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -EINVAL;
        int digit = negative ? -(s[i] - '0') : s[i] - '0';
        overflow = overflow || __builtin_mul_overflow(v, (int64_t)10, &v) ||
                   __builtin_add_overflow(v, (int64_t)digit, &v);
    }
    if (overflow || v < min || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

/* Own reader: strtod follows the locale, accepts hexadecimal and skips blanks. */
int parse_double(const char *s, size_t len, double min, double max, double *ret)
{
    char buf[64];
    if (len == 0 || len >= sizeof(buf))
        return -EINVAL;
    for (size_t i = 0; i < len; i++)
        if (!strchr("0123456789.eE+-", s[i]) || s[i] == '\0')
            return -EINVAL;
    memcpy(buf, s, len);
    buf[len] = '\0';
    char *end = NULL;
    double v = strtod(buf, &end); /* the process never leaves the C locale */
    if (end != buf + len)
        return -EINVAL;
    if (!isfinite(v) || v < min || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

static bool equals(const char *s, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(s, word, len) == 0;
}

int parse_bool(const char *s, size_t len, bool *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (equals(s, len, yes[i]) || equals(s, len, no[i])) {
            *ret = equals(s, len, yes[i]);
            return 0;
        }
    }
    return -EINVAL;
}

struct unit {
    const char *name;
    double factor;
};

/* A number and a unit out of a table; the result is rounded to a whole count of the smallest unit.
 */
static int parse_with_unit(const char *s, size_t len, const struct unit *units, size_t unit_count,
                           double bare, int64_t min, int64_t max, int64_t *ret)
{
    size_t n = number_length(s, len);
    double v = 0;
    int r = parse_double(s, n, 0, 1e15, &v);
    if (r < 0)
        return r;
    while (n < len && s[n] == ' ')
        n++;
    double factor = 0;
    if (n == len)
        factor = bare;
    for (size_t i = 0; i < unit_count && n < len; i++)
        if (equals(s + n, len - n, units[i].name))
            factor = units[i].factor;
    if (factor <= 0)
        return -EINVAL;
    double product = v * factor;
    if (product > 9e18 || (double)min > product || product > (double)max)
        return -ERANGE;
    *ret = (int64_t)llround(product);
    return 0;
}

int parse_duration_ms(const char *s, size_t len, int64_t unit_ms, int64_t min, int64_t max,
                      int64_t *ret)
{
    static const struct unit units[] = {{"ms", 1},         {"s", 1000},    {"m", 60000},
                                        {"min", 60000},    {"h", 3600000}, {"d", 86400000},
                                        {"w", 7 * 86400e3}};
    /* Zero means the same in every unit. */
    if (len == 1 && s[0] == '0' && unit_ms == 0)
        unit_ms = 1;
    return parse_with_unit(s, len, units, ARRAY_LEN(units), (double)unit_ms, min, max, ret);
}

int parse_size(const char *s, size_t len, int64_t min, int64_t max, int64_t *ret)
{
    static const struct unit units[] = {
        {"b", 1},       {"k", 0x1p10},   {"kb", 0x1p10}, {"kib", 0x1p10}, {"m", 0x1p20},
        {"mb", 0x1p20}, {"mib", 0x1p20}, {"g", 0x1p30},  {"gb", 0x1p30},  {"gib", 0x1p30},
        {"t", 0x1p40},  {"tb", 0x1p40},  {"tib", 0x1p40}};
    return parse_with_unit(s, len, units, ARRAY_LEN(units), 1, min, max, ret);
}

int parse_choice(const char *s, size_t len, const char *const *names, size_t count, int *ret)
{
    for (size_t i = 0; i < count && names[i]; i++) {
        if (equals(s, len, names[i])) {
            *ret = (int)i;
            return 0;
        }
    }
    return -EINVAL;
}

bool parse_list_next(const char **cursor, const char **ret_item, size_t *ret_len)
{
    const char *p = *cursor;
    while (p && *p) {
        while (*p == ',' || is_space(*p))
            p++;
        const char *start = p;
        while (*p && *p != ',')
            p++;
        const char *end = p;
        while (end > start && is_space(end[-1]))
            end--;
        if (end > start) {
            *cursor = p;
            *ret_item = start;
            *ret_len = (size_t)(end - start);
            return true;
        }
    }
    *cursor = NULL;
    return false;
}

unsigned parse_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    unsigned d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
            unsigned best = MIN(d[i - 1][j] + 1, d[i][j - 1] + 1);
            best = MIN(best, d[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[n][m];
}
