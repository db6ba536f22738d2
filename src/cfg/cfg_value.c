#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "cfg/cfg_internal.h"

const char *const cfg_type_names[CFG_TYPE_COUNT] = {
    [CFG_STRING] = "text",
    [CFG_SECRET] = "secret",
    [CFG_BOOL] = "yes or no",
    [CFG_INT] = "whole number",
    [CFG_DOUBLE] = "number",
    [CFG_DURATION] = "duration",
    [CFG_SIZE] = "size",
    [CFG_CHOICE] = "choice",
    [CFG_LIST] = "list, separated by commas",
    [CFG_LINES] = "list, separated by semicolons",
    [CFG_ENDPOINT] = "host:port",
    [CFG_PATH] = "path",
};

enum { QUOTED_MAX = 120 }; /* of a faulty value in a message */

static int parse_scalar(const struct cfg_key *key, const char *text, void *field, char *why,
                        size_t why_size);
static int parse_choice_text(const struct cfg_key *key, const char *text, void *field, char *why,
                             size_t why_size);
static int parse_items(struct cfg *c, const struct cfg_key *key, const char *text, void *field,
                       char *why, size_t why_size);
static int check_endpoint(const char *text, char *why, size_t why_size);
static int say_range(const struct cfg_key *key, const char *text, bool outside, const char *what,
                     const char *example, char *why, size_t why_size);
static const char *quoted(const char *text, char *buf, size_t size);

int cfg_value_parse(struct cfg *c, const struct cfg_key *key, const char *text, void *field,
                    char *why, size_t why_size)
{
    int r = 0;

    switch (key->type) {
    case CFG_STRING:
    case CFG_SECRET:
    case CFG_PATH:
        break;
    case CFG_ENDPOINT:
        r = *text ? check_endpoint(text, why, why_size) : 0;
        break;
    case CFG_CHOICE:
        r = parse_choice_text(key, text, field, why, why_size);
        break;
    case CFG_LIST:
    case CFG_LINES:
        r = parse_items(c, key, text, field, why, why_size);
        break;
    case CFG_BOOL:
    case CFG_INT:
    case CFG_DOUBLE:
    case CFG_DURATION:
    case CFG_SIZE:
        r = parse_scalar(key, text, field, why, why_size);
        break;
    case CFG_TYPE_COUNT:
        abort();
    }
    if (r < 0)
        return r;
    if (field && (key->type == CFG_STRING || key->type == CFG_SECRET || key->type == CFG_PATH ||
                  key->type == CFG_ENDPOINT))
        *(const char **)field = text;
    if (field && key->validate) {
        char right[200] = "", shown[QUOTED_MAX];
        if (key->validate(field, right, sizeof right) < 0) {
            bool hidden = key->type == CFG_SECRET || key->flags & CFG_HIDDEN;
            (void)text_format(why, why_size, "%s%sis not accepted%s%s",
                              hidden ? "" : quoted(text, shown, sizeof shown), hidden ? "" : " ",
                              *right ? ": " : "", right);
            return -EINVAL;
        }
    }
    return 0;
}

/* An empty text without a default is zero; given as such it is a fault. */
static int parse_scalar(const struct cfg_key *key, const char *text, void *field, char *why,
                        size_t why_size)
{
    bool bounded = key->min < key->max;
    size_t len = strlen(text);
    int64_t whole = 0;
    double number = 0;
    bool yes = false;
    int r;

    switch (key->type) {
    case CFG_BOOL:
        r = parse_bool(text, len, &yes);
        if (r < 0)
            return say_range(key, text, false, "yes or no", "true or false", why, why_size);
        if (field)
            *(bool *)field = yes;
        return 0;
    case CFG_DOUBLE:
        r = parse_double(text, len, bounded ? key->min : -HUGE_VAL, bounded ? key->max : HUGE_VAL,
                         &number);
        if (r < 0)
            return say_range(key, text, r == -ERANGE, "number", "a number", why, why_size);
        if (field)
            *(double *)field = number;
        return 0;
    case CFG_INT:
        r = parse_int64(text, len, bounded ? (int64_t)key->min : INT64_MIN,
                        bounded ? (int64_t)key->max : INT64_MAX, &whole);
        if (r < 0)
            return say_range(key, text, r == -ERANGE, "whole number", "a whole number", why,
                             why_size);
        break;
    case CFG_DURATION:
        r = parse_duration_ms(text, len, key->bare_unit_ms, bounded ? (int64_t)key->min : 0,
                              bounded ? (int64_t)key->max : INT64_MAX / 2, &whole);
        if (r < 0)
            return say_range(key, text, r == -ERANGE, "duration",
                             "a duration such as 500ms, 5s, 10m or 2h", why, why_size);
        break;
    case CFG_SIZE:
        r = parse_size(text, len, bounded ? (int64_t)key->min : 0,
                       bounded ? (int64_t)key->max : INT64_MAX / 2, &whole);
        if (r < 0)
            return say_range(key, text, r == -ERANGE, "size", "a size such as 512KB or 10MB", why,
                             why_size);
        break;
    default:
        abort();
    }
    if (field)
        *(int64_t *)field = whole;
    return 0;
}

static int say_range(const struct cfg_key *key, const char *text, bool outside, const char *what,
                     const char *example, char *why, size_t why_size)
{
    char shown[QUOTED_MAX], bounds[80];

    (void)cfg_bounds_text(key, bounds, sizeof bounds);
    const char *in = *bounds ? ", within " : "";
    if (!*text)
        (void)text_format(why, why_size, "is empty; write %s%s%s", example, in, bounds);
    else if (outside)
        (void)text_format(why, why_size, "%s is outside; write %s%s%s",
                          quoted(text, shown, sizeof shown), example, in, bounds);
    else
        (void)text_format(why, why_size, "%s is not a %s; write %s%s%s",
                          quoted(text, shown, sizeof shown), what, example, in, bounds);
    return -EINVAL;
}

/* "true" where the choices are yes, no, and something between. */
static int parse_yes_or_no(const struct cfg_key *key, size_t count, const char *text, int *ret)
{
    bool yes;

    if (parse_bool(text, strlen(text), &yes) < 0)
        return -EINVAL;
    const char *word = yes ? "yes" : "no";
    return parse_choice(word, strlen(word), key->choices, count, ret);
}

static int parse_choice_text(const struct cfg_key *key, const char *text, void *field, char *why,
                             size_t why_size)
{
    struct cfg_nearest near = {.name = text};
    size_t count = 0, used;
    int index = 0;

    while (key->choices[count])
        cfg_nearest_try(&near, key->choices[count++]);
    if (parse_choice(text, strlen(text), key->choices, count, &index) == 0 ||
        parse_yes_or_no(key, count, text, &index) == 0) {
        if (field)
            *(int *)field = index;
        return 0;
    }
    char shown[QUOTED_MAX];
    if (!*text)
        (void)text_copy(why, why_size, "is empty; write one of ");
    else if (cfg_nearest_found(&near))
        (void)text_format(why, why_size, "%s is unknown; did you mean \"%s\"? It is one of ",
                          quoted(text, shown, sizeof shown), near.best);
    else
        (void)text_format(why, why_size, "%s is unknown; write one of ",
                          quoted(text, shown, sizeof shown));
    for (size_t i = 0; i < count; i++) {
        used = strlen(why);
        (void)text_format(why + used, why_size - used, "%s%s", i ? ", " : "", key->choices[i]);
    }
    return -EINVAL;
}

/* Next item of a list whose separator is `sep` or a line break; trimmed, empty ones skipped. */
static bool next_item(const char **cursor, char sep, const char **ret, size_t *ret_len)
{
    const char separators[] = {sep, '\n', '\0'};

    while (**cursor) {
        const char *start = *cursor + strspn(*cursor, " \t\r");
        const char *end = start + strcspn(start, separators);
        *cursor = *end ? end + 1 : end;
        while (end > start && strchr(" \t\r", end[-1]))
            end--;
        if (end > start) {
            *ret = start;
            *ret_len = (size_t)(end - start);
            return true;
        }
    }
    return false;
}

static int parse_items(struct cfg *c, const struct cfg_key *key, const char *text, void *field,
                       char *why, size_t why_size)
{
    char sep = key->type == CFG_LIST ? ',' : ';';
    const char *cursor = text, *item;
    size_t len, count = 0;

    while (next_item(&cursor, sep, &item, &len))
        count++;
    if (count > CFG_ITEMS_MAX) {
        (void)text_format(why, why_size, "has %zu items; at most %d are allowed", count,
                          CFG_ITEMS_MAX);
        return -EINVAL;
    }
    if (!field)
        return 0;
    const char **items = cfg_keep(c, count + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    cursor = text;
    for (size_t i = 0; i < count && next_item(&cursor, sep, &item, &len); i++) {
        items[i] = cfg_keep_text(c, item, len);
        if (!items[i])
            return -ENOMEM;
    }
    *(const char *const **)field = items;
    return 0;
}

/* "host:port", "[v6]:port"; names are resolved later, by whoever connects or listens. */
static int check_endpoint(const char *text, char *why, size_t why_size)
{
    const char *colon = strrchr(text, ':');
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    char shown[QUOTED_MAX];
    int64_t port = 0;
    int r = colon ? parse_int64(colon + 1, strlen(colon + 1), 0, 65535, &port) : -EINVAL;
    bool bracketed = host_len > 2 && text[0] == '[' && text[host_len - 1] == ']';
    const char *host = bracketed ? text + 1 : text;

    if (bracketed)
        host_len -= 2;
    if (r == -ERANGE) {
        (void)text_format(why, why_size, "%s has a port outside 0..65535",
                          quoted(text, shown, sizeof shown));
        return -EINVAL;
    }
    size_t good = strspn(host, bracketed ? "0123456789abcdefABCDEF:.%"
                                         : "0123456789abcdefghijklmnopqrstuvwxyz"
                                           "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_*");
    if (r < 0 || host_len == 0 || good < host_len) {
        (void)text_format(why, why_size, "%s is not an address; write host:port or [v6]:port",
                          quoted(text, shown, sizeof shown));
        return -EINVAL;
    }
    return 0;
}

bool cfg_value_equal(const struct cfg_key *key, const void *a, const void *b)
{
    switch (key->type) {
    case CFG_STRING:
    case CFG_SECRET:
    case CFG_ENDPOINT:
    case CFG_PATH:
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case CFG_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case CFG_INT:
    case CFG_DURATION:
    case CFG_SIZE:
        return *(const int64_t *)a == *(const int64_t *)b;
    case CFG_DOUBLE:
        return memcmp(a, b, sizeof(double)) == 0;
    case CFG_CHOICE:
        return *(const int *)a == *(const int *)b;
    case CFG_LIST:
    case CFG_LINES: {
        const char *const *x = *(const char *const *const *)a;
        const char *const *y = *(const char *const *const *)b;
        while (*x && *y && strcmp(*x, *y) == 0)
            x++, y++;
        return !*x && !*y;
    }
    case CFG_TYPE_COUNT:
        break;
    }
    abort();
}

const char *cfg_secret_scheme(const char *text)
{
    static const char *const schemes[] = {"env:", "file:", "credential:", "op://"};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (text_starts_with(text, schemes[i]))
            return schemes[i];
    return NULL;
}

struct unit {
    const char *name;
    int64_t factor;
};

/* In the largest unit that leaves a whole number. */
static const char *in_units(int64_t v, const struct unit *units, size_t count, char *buf,
                            size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (v != 0 && v % units[i].factor == 0) {
            (void)text_format(buf, size, "%" PRId64 "%s", v / units[i].factor, units[i].name);
            return buf;
        }
    }
    (void)text_format(buf, size, "%" PRId64, v);
    return buf;
}

const char *cfg_duration_text(int64_t ms, char *buf, size_t size)
{
    static const struct unit units[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

    return in_units(ms, units, ARRAY_LEN(units), buf, size);
}

const char *cfg_size_text(int64_t bytes, char *buf, size_t size)
{
    static const struct unit units[] = {
        {"TB", 1LL << 40}, {"GB", 1LL << 30}, {"MB", 1LL << 20}, {"KB", 1LL << 10}, {"", 1}};

    return in_units(bytes, units, ARRAY_LEN(units), buf, size);
}

const char *cfg_bounds_text(const struct cfg_key *key, char *buf, size_t size)
{
    char low[32], high[32];

    buf[0] = '\0';
    if (!(key->min < key->max))
        return buf;
    if (key->type == CFG_DURATION)
        (void)text_format(buf, size, "%s..%s",
                          cfg_duration_text((int64_t)key->min, low, sizeof low),
                          cfg_duration_text((int64_t)key->max, high, sizeof high));
    else if (key->type == CFG_SIZE)
        (void)text_format(buf, size, "%s..%s", cfg_size_text((int64_t)key->min, low, sizeof low),
                          cfg_size_text((int64_t)key->max, high, sizeof high));
    else if (key->type == CFG_INT || key->type == CFG_DOUBLE)
        (void)text_format(buf, size, "%.12g..%.12g", key->min, key->max);
    return buf;
}

static const char *quoted(const char *text, char *buf, size_t size)
{
    enum { LONGEST = 80 }; /* bytes of the value; what is behind does not help */
    size_t len = strlen(text);

    buf[0] = '"';
    (void)text_escape(text, len < LONGEST ? len : LONGEST, buf + 1, size - 6);
    len = strlen(buf);
    (void)text_format(buf + len, size - len, "%s\"", strlen(text) > LONGEST ? "..." : "");
    return buf;
}
